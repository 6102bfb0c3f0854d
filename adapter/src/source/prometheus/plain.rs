//! An instant vector exactly as Prometheus writes it, read in one pass: such answers are nearly all, and most of what a
//! request costs this server is to read them. At the first sign of anything else this gives up, and `answer` reads
//! with care.

use std::sync::Arc;

use memchr::memchr2;

use super::number::number;
use super::sample::sorted;
use super::text::like;
use crate::source::Sample;

/// The samples of an answer; `None` where anything in it is not as Prometheus writes it.
pub(super) fn samples(body: &[u8]) -> Option<Vec<Sample>> {
    let mut rest = Rest(str::from_utf8(body).ok()?);
    rest.skip(START)?;
    let mut samples: Vec<Sample> = Vec::new();
    if rest.skip(END).is_some() {
        return Some(samples);
    }
    loop {
        samples.push(rest.sample(samples.last())?);
        if rest.skip(",").is_none() {
            // What follows is not looked at, as in `answer`.
            return rest.skip(END).map(|()| samples);
        }
    }
}

/// What was not read yet.
struct Rest<'a>(&'a str);

impl<'a> Rest<'a> {
    fn skip(&mut self, text: &str) -> Option<()> {
        self.0 = self.0.strip_prefix(text)?;
        Some(())
    }

    fn sample(&mut self, before: Option<&Sample>) -> Option<Sample> {
        self.skip(r#"{"metric":{"#)?;
        let labels = self.labels(before.map(|sample| &*sample.labels).unwrap_or_default())?;
        self.skip(r#","value":["#)?;
        let timestamp_ms = self.milliseconds()?;
        self.skip(",")?;
        let value = number(self.text()?)?;
        self.skip("]}")?;
        Some(Sample { labels, timestamp_ms, value })
    }

    /// Most texts are those of the sample before: they are shared.
    fn labels(&mut self, before: &[(Arc<str>, Arc<str>)]) -> Option<Vec<(Arc<str>, Arc<str>)>> {
        let mut labels = Vec::with_capacity(before.len());
        if self.skip("}").is_some() {
            return Some(labels);
        }
        loop {
            let (name_before, value_before) =
                before.get(labels.len()).map(|(name, value)| (name, value)).unzip();
            let name = like(name_before, self.text()?);
            self.skip(":")?;
            labels.push((name, like(value_before, self.text()?)));
            if self.skip(",").is_none() {
                break;
            }
        }
        self.skip("}")?;
        let is_sorted = labels.is_sorted_by(|(one, _), (next, _)| one < next);
        Some(if is_sorted { labels } else { sorted(labels.into_iter()) })
    }

    /// A text without escapes.
    fn text(&mut self) -> Option<&'a str> {
        self.skip("\"")?;
        let end = memchr2(b'"', b'\\', self.0.as_bytes())?;
        let (text, rest) = self.0.split_at(end);
        self.0 = rest;
        self.skip("\"")?;
        Some(text)
    }

    /// Seconds with three digits behind the point, or none.
    fn milliseconds(&mut self) -> Option<i64> {
        let digits = |text: &str| text.bytes().take_while(u8::is_ascii_digit).count();
        let (seconds, rest) = self.0.split_at(digits(self.0));
        let (fraction, rest) = match rest.strip_prefix('.') {
            Some(rest) => rest.split_at(digits(rest)),
            None => ("000", rest),
        };
        // A leading 0 is an error, except where it stands alone.
        let is_plain =
            (1..=MOST_DIGITS).contains(&seconds.len()) && (seconds == "0" || !seconds.starts_with('0'));
        if !is_plain || fraction.len() != 3 {
            return None;
        }
        self.0 = rest;
        Some(seconds.parse::<i64>().ok()? * 1000 + fraction.parse::<i64>().ok()?)
    }
}

const START: &str = r#"{"status":"success","data":{"resultType":"vector","result":["#;
const END: &str = "]}}";
/// Of seconds since the epoch: far beyond any sample's, and exact in milliseconds as a float.
const MOST_DIGITS: usize = 12;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use reqwest::StatusCode;
    use testkit::rows::each_row;

    use super::super::answer::read_carefully;
    use super::*;
    use crate::source::Samples;

    fn body(samples: &str) -> String {
        format!("{START}{samples}{END}")
    }

    fn carefully(text: &str) -> Option<Vec<Sample>> {
        match read_carefully(StatusCode::OK, text.as_bytes()).ok()?.value {
            Samples::Vector(samples) => Some(samples),
            Samples::Scalar { .. } => None,
        }
    }

    #[test]
    fn plain_answers_are_read_and_equal_to_those_read_with_care() {
        let rows = [
            "",
            r#"{"metric":{},"value":[1435781451.781,"1"]}"#,
            r#"{"metric":{"a":"1","b":"é"},"value":[1435781451,"NaN"]},{"metric":{"a":"1","b":""},"value":[0.001,"-Inf"]}"#,
            r#"{"metric":{"b":"1","a":"2","b":"3"},"value":[0,"1e3"]}"#,
        ];
        each_row(rows, |row| {
            let read = samples(body(row).as_bytes()).expect("plain");
            let expected = carefully(&body(row)).expect("an answer");
            // NaN equals nothing.
            assert_eq!(format!("{read:?}"), format!("{expected:?}"), "{row}");
        });
    }

    #[test]
    fn anything_else_is_left_to_care() {
        let plain = r#"{"metric":{"a":"1"},"value":[1.500,"2"]}"#;
        assert!(samples(body(plain).as_bytes()).is_some());
        let rows = [
            body(&plain.replace("\"1\"", "\"\\u0031\"")),
            body(&plain.replace("1.500", "1.5006")),
            body(&plain.replace("1.500", "1e9")),
            body(&plain.replace("1.500", "01.500")),
            body(&plain.replace("1.500", "-1.500")),
            body(&plain.replace("1.500", "1234567890123.000")),
            body(&plain.replace("\"2\"", "\"two\"")),
            body(&plain.replace("\"value\"", "\"histogram\"")),
            body(&plain.replace(":[", ": [")),
            body(&format!("{plain},")),
            body(plain).replace("vector", "matrix"),
            body(plain).replace("]}}", r#"]},"warnings":["partial"]}"#),
            body(plain)[..40].to_owned(),
        ];
        each_row(rows, |row| assert_eq!(samples(row.as_bytes()), None, "{row}"));
        let broken = [body(plain).as_bytes(), b"\xff"].concat();
        assert_eq!(samples(&broken), None, "not UTF-8");
    }

    proptest! {
        #[test]
        fn what_is_read_is_what_care_reads(
            entries in prop::collection::vec(
                (prop::collection::vec(("[a-c]{1,2}", "[a-c\"\\\\{},:é]{0,3}"), 0..4), "[0-9.]{1,6}", "[0-9.eN-]{1,4}"),
                0..4,
            ),
            cut in 0..200_usize,
            by in "[]{}\",:0 \\[]{0,2}",
        ) {
            let entry = |(labels, time, value): &(Vec<(String, String)>, String, String)| {
                let labels: Vec<String> = labels.iter().map(|(name, value)| format!("\"{name}\":\"{value}\"")).collect();
                format!(r#"{{"metric":{{{}}},"value":[{time},"{value}"]}}"#, labels.join(","))
            };
            let mut text = body(&entries.iter().map(entry).collect::<Vec<_>>().join(","));
            if text.is_char_boundary(cut) && cut % 4 == 0 {
                text.insert_str(cut.min(text.len()), &by);
            }
            if let Some(read) = samples(text.as_bytes()) {
                prop_assert_eq!(format!("{:?}", Some(read)), format!("{:?}", carefully(&text)), "{}", text);
            }
        }
    }
}
