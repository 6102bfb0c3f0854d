//! What a target exposes: Prometheus' text format 0.0.4 and OpenMetrics 1.0, parsed line by line without copies.
//!
//! Written here because the maintained parsers at hand are of a licence that does not fit (LGPL) or take neither
//! OpenMetrics nor are strict. Exemplars and metadata are skipped: only samples count.

use std::borrow::Cow;

use memchr::{memchr, memchr2};

/// A form of exposition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// `text/plain; version=0.0.4`. Timestamps are in milliseconds.
    Text,
    /// `application/openmetrics-text`. Timestamps are in seconds, and the text ends in `# EOF`.
    OpenMetrics,
}

/// One sample of an exposition.
#[derive(Debug, Clone, PartialEq)]
pub struct Exposed<'a> {
    /// The metric's name.
    pub name: &'a str,
    /// Labels in the order of the text, each name once.
    pub labels: Vec<(&'a str, Cow<'a, str>)>,
    /// The number.
    pub value: f64,
    /// When the target says it was taken, in milliseconds since the epoch; usually it does not say.
    pub time_ms: Option<i64>,
}

/// Why a text is not an exposition.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}, column {column}: {message}")]
pub struct ExpositionError {
    /// 1-based.
    pub line: usize,
    /// 1-based, in bytes.
    pub column: usize,
    /// What was expected and what was found.
    pub message: String,
}

/// The form that a `Content-Type` names; text when it names none that is known, as Prometheus falls back.
pub fn format_of(content_type: &str) -> Format {
    let media_type = content_type.split(';').next().unwrap_or_default().trim();
    if media_type.eq_ignore_ascii_case("application/openmetrics-text") {
        Format::OpenMetrics
    } else {
        Format::Text
    }
}

/// The samples of a text. After an error there is nothing more.
pub fn samples(text: &str, format: Format) -> impl Iterator<Item = Result<Exposed<'_>, ExpositionError>> {
    Samples { rest: text, line: 0, format, ended: false, done: false }
}

struct Samples<'a> {
    rest: &'a str,
    line: usize,
    format: Format,
    /// `# EOF` was seen.
    ended: bool,
    done: bool,
}

impl<'a> Iterator for Samples<'a> {
    type Item = Result<Exposed<'a>, ExpositionError>;

    fn next(&mut self) -> Option<Self::Item> {
        while !self.done {
            if self.rest.is_empty() {
                self.done = true;
                if self.format == Format::OpenMetrics && !self.ended {
                    // An empty text has a first line all the same.
                    self.line = self.line.max(1);
                    return Some(Err(
                        self.error(1, "expected \"# EOF\" at the end, found the end of the text")
                    ));
                }
                return None;
            }
            let end = memchr(b'\n', self.rest.as_bytes());
            let line = &self.rest[..end.unwrap_or(self.rest.len())];
            self.rest = end.map_or("", |end| &self.rest[end + 1..]);
            self.line += 1;
            if self.ended {
                self.done = true;
                return Some(Err(self.error(1, "expected nothing after \"# EOF\"")));
            }
            let line = if self.format == Format::Text { line.trim_matches([' ', '\t', '\r']) } else { line };
            if line == "# EOF" && self.format == Format::OpenMetrics {
                self.ended = true;
            } else if !line.is_empty() && !line.starts_with('#') {
                let sample = Line { text: line, position: 0 }.sample(self.format);
                return Some(sample.map_err(|(position, message)| {
                    self.done = true;
                    self.error(position + 1, &message)
                }));
            }
        }
        None
    }
}

impl Samples<'_> {
    fn error(&self, column: usize, message: &str) -> ExpositionError {
        ExpositionError { line: self.line, column, message: message.to_owned() }
    }
}

/// A position in bytes from 0, and a message.
type Fault = (usize, String);

struct Line<'a> {
    text: &'a str,
    position: usize,
}

impl<'a> Line<'a> {
    fn sample(mut self, format: Format) -> Result<Exposed<'a>, Fault> {
        let name = self.take_while(|byte| is_name_byte(byte) || byte == b':');
        if name.is_empty() || name.as_bytes()[0].is_ascii_digit() {
            return Err((0, format!("expected a metric's name, found {:?}", shorten(self.text))));
        }
        self.skip_blanks();
        let labels = if self.peek() == Some(b'{') { self.labels()? } else { Vec::new() };
        self.skip_blanks();
        let at = self.position;
        let word = self.word();
        let value = number(word).ok_or_else(|| (at, format!("expected a number, found {word:?}")))?;
        self.skip_blanks();
        let mut time_ms = None;
        if self.peek().is_some_and(|byte| byte != b'#') {
            let at = self.position;
            let word = self.word();
            time_ms = timestamp(word, format);
            if time_ms.is_none() {
                return Err((at, format!("expected a timestamp, found {word:?}")));
            }
            self.skip_blanks();
        }
        match self.peek() {
            None => {}
            // An exemplar: it belongs to no series.
            Some(b'#') if format == Format::OpenMetrics => {}
            Some(_) => {
                let found = shorten(&self.text[self.position..]);
                return Err((self.position, format!("expected the end of the line, found {found:?}")));
            }
        }
        Ok(Exposed { name, labels, value, time_ms })
    }

    fn labels(&mut self) -> Result<Vec<(&'a str, Cow<'a, str>)>, Fault> {
        self.position += 1;
        let mut labels: Vec<(&'a str, Cow<'a, str>)> = Vec::new();
        loop {
            self.skip_blanks();
            if self.peek() == Some(b'}') {
                self.position += 1;
                return Ok(labels);
            }
            let at = self.position;
            let name = self.take_while(is_name_byte);
            if name.is_empty() || name.as_bytes()[0].is_ascii_digit() {
                return Err((at, "expected a label's name or \"}\"".to_owned()));
            }
            if labels.iter().any(|(other, _)| *other == name) {
                return Err((at, format!("the label {name:?} is given twice")));
            }
            self.skip_blanks();
            self.expect(b'=')?;
            self.skip_blanks();
            labels.push((name, self.quoted()?));
            self.skip_blanks();
            match self.peek() {
                Some(b',') => self.position += 1,
                Some(b'}') => {}
                _ => return Err((self.position, "expected \",\" or \"}\" after a label".to_owned())),
            }
        }
    }

    fn quoted(&mut self) -> Result<Cow<'a, str>, Fault> {
        self.expect(b'"')?;
        let start = self.position;
        let mut unescaped: Option<String> = None;
        loop {
            let rest = &self.text[self.position..];
            let Some(offset) = memchr2(b'"', b'\\', rest.as_bytes()) else {
                return Err((start, "expected a closing quote".to_owned()));
            };
            let plain = &rest[..offset];
            self.position += offset + 1;
            if rest.as_bytes()[offset] == b'"' {
                return Ok(match unescaped {
                    None => Cow::Borrowed(plain),
                    Some(text) => Cow::Owned(text + plain),
                });
            }
            let text = unescaped.get_or_insert_default();
            text.push_str(plain);
            let Some(escaped) = self.text[self.position..].chars().next() else {
                return Err((start, "expected a closing quote".to_owned()));
            };
            match escaped {
                'n' => text.push('\n'),
                '"' | '\\' => text.push(escaped),
                // Any other escape stands for itself, as in Prometheus.
                other => text.extend(['\\', other]),
            }
            self.position += escaped.len_utf8();
        }
    }

    fn expect(&mut self, byte: u8) -> Result<(), Fault> {
        if self.peek() != Some(byte) {
            return Err((self.position, format!("expected {:?}", char::from(byte))));
        }
        self.position += 1;
        Ok(())
    }

    fn word(&mut self) -> &'a str {
        self.take_while(|byte| !matches!(byte, b' ' | b'\t'))
    }

    fn take_while(&mut self, keep: impl Fn(u8) -> bool) -> &'a str {
        let rest = &self.text[self.position..];
        let length = rest.bytes().position(|byte| !keep(byte)).unwrap_or(rest.len());
        self.position += length;
        &rest[..length]
    }

    fn skip_blanks(&mut self) {
        self.take_while(|byte| matches!(byte, b' ' | b'\t'));
    }

    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.position).copied()
    }
}

fn is_name_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}

/// Rust reads "infinity" and "nan" in any case; Prometheus does too.
fn number(text: &str) -> Option<f64> {
    text.parse().ok()
}

fn timestamp(text: &str, format: Format) -> Option<i64> {
    match format {
        Format::Text => text.parse().ok(),
        Format::OpenMetrics => {
            let seconds: f64 = text.parse().ok()?;
            seconds.is_finite().then(|| (seconds * 1000.0).round() as i64)
        }
    }
}

fn shorten(text: &str) -> String {
    text.chars().take(40).collect()
}

#[cfg(test)]
mod tests {
    use testkit::rows::each_row;

    use super::*;

    fn all(text: &str, format: Format) -> Result<Vec<Exposed<'_>>, ExpositionError> {
        samples(text, format).collect()
    }

    #[test]
    fn both_formats_are_read() {
        let text = "# HELP a b\n# TYPE a counter\na 1\n\na{x=\"y\",z=\"\\\"\\\\\\n\\q\",} +Inf 1500\n b { l = \"v\" } NaN\r\n";
        let found = all(text, Format::Text).expect("valid");
        assert_eq!(found.len(), 3);
        assert_eq!((found[0].name, found[0].value, found[0].time_ms), ("a", 1.0, None));
        assert_eq!(found[1].labels, [("x", "y".into()), ("z", "\"\\\n\\q".into())]);
        assert_eq!((found[1].value, found[1].time_ms), (f64::INFINITY, Some(1500)));
        assert!(found[2].value.is_nan());
        let text = "# TYPE a counter\na_total{x=\"y\"} 5 1.5 # {trace=\"z\"} 3 4\n# EOF\n";
        let found = all(text, Format::OpenMetrics).expect("valid");
        assert_eq!((found[0].name, found[0].value, found[0].time_ms), ("a_total", 5.0, Some(1500)));
    }

    #[test]
    fn errors_have_a_place() {
        let rows = [
            ("a 1\n1b 2\n", Format::Text, "line 2, column 1: expected a metric's name, found \"1b 2\""),
            ("a\n", Format::Text, "line 1, column 2: expected a number, found \"\""),
            ("a x\n", Format::Text, "line 1, column 3: expected a number, found \"x\""),
            ("a 1 z\n", Format::Text, "line 1, column 5: expected a timestamp, found \"z\""),
            ("a 1 2 3\n", Format::Text, "line 1, column 7: expected the end of the line, found \"3\""),
            ("a{x=\"y} 1\n", Format::Text, "line 1, column 6: expected a closing quote"),
            ("a{x=\"y\\", Format::Text, "line 1, column 6: expected a closing quote"),
            ("a{x=y} 1\n", Format::Text, "line 1, column 5: expected '\"'"),
            ("a{x \"y\"} 1\n", Format::Text, "line 1, column 5: expected '='"),
            (
                "a{x=\"y\" z=\"1\"} 1\n",
                Format::Text,
                "line 1, column 9: expected \",\" or \"}\" after a label",
            ),
            ("a{x=\"1\",x=\"2\"} 1\n", Format::Text, "line 1, column 9: the label \"x\" is given twice"),
            ("a{", Format::Text, "line 1, column 3: expected a label's name or \"}\""),
            ("<html>\n", Format::Text, "line 1, column 1: expected a metric's name, found \"<html>\""),
            (
                "a 1\n",
                Format::OpenMetrics,
                "line 1, column 1: expected \"# EOF\" at the end, found the end of the text",
            ),
            (
                "",
                Format::OpenMetrics,
                "line 1, column 1: expected \"# EOF\" at the end, found the end of the text",
            ),
            ("# EOF\na 1\n", Format::OpenMetrics, "line 2, column 1: expected nothing after \"# EOF\""),
        ];
        each_row(rows, |(text, format, expected)| {
            assert_eq!(all(text, format).expect_err(text).to_string(), expected, "{text:?}");
        });
    }

    #[test]
    fn content_types_choose_the_format() {
        assert_eq!(
            format_of("application/openmetrics-text; version=1.0.0; charset=utf-8"),
            Format::OpenMetrics
        );
        assert_eq!(format_of("text/plain; version=0.0.4"), Format::Text);
        assert_eq!(format_of(""), Format::Text);
    }
}
