//! Properties of the exposition parser: what a client library writes is read back to the letter, and whatever else
//! comes is an error with a place inside the text, never a panic.

use std::fmt::Write as _;

use engine::exposition::{Format, samples};
use proptest::prelude::*;

/// A sample as a client library holds it.
#[derive(Debug, Clone)]
struct Held {
    name: String,
    labels: Vec<(String, String)>,
    value: f64,
    time_ms: Option<i64>,
}

fn held() -> impl Strategy<Value = Held> {
    let labels = prop::collection::btree_map("[a-zA-Z_][a-zA-Z0-9_]{0,8}", any::<String>(), 0..4);
    let value = prop_oneof![any::<f64>(), Just(f64::NAN), Just(f64::INFINITY), Just(f64::NEG_INFINITY)];
    let time = prop::option::of(-4_000_000_000_000_i64..4_000_000_000_000);
    ("[a-zA-Z_:][a-zA-Z0-9_:]{0,12}", labels, value, time).prop_map(|(name, labels, value, time_ms)| Held {
        name,
        labels: labels.into_iter().collect(),
        value,
        time_ms,
    })
}

fn write(all: &[Held], format: Format) -> String {
    let mut text = String::new();
    for held in all {
        text.push_str(&held.name);
        if !held.labels.is_empty() {
            let pairs: Vec<String> = held
                .labels
                .iter()
                .map(|(name, value)| {
                    let value = value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
                    format!("{name}=\"{value}\"")
                })
                .collect();
            let _ = write!(text, "{{{}}}", pairs.join(","));
        }
        let _ = match held.value {
            value if value == f64::INFINITY => write!(text, " +Inf"),
            value if value == f64::NEG_INFINITY => write!(text, " -Inf"),
            value => write!(text, " {value:e}"),
        };
        let _ = match (held.time_ms, format) {
            (None, _) => Ok(()),
            (Some(ms), Format::Text) => write!(text, " {ms}"),
            (Some(ms), Format::OpenMetrics) => {
                let sign = if ms < 0 { "-" } else { "" };
                write!(text, " {sign}{}.{:03}", ms.abs() / 1000, ms.abs() % 1000)
            }
        };
        text.push('\n');
    }
    if format == Format::OpenMetrics {
        text.push_str("# EOF\n");
    }
    text
}

fn format() -> impl Strategy<Value = Format> {
    prop_oneof![Just(Format::Text), Just(Format::OpenMetrics)]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1024, ..ProptestConfig::default() })]

    #[test]
    fn what_is_written_is_read_back(all in prop::collection::vec(held(), 0..6), format in format()) {
        let text = write(&all, format);
        let read: Vec<_> = samples(&text, format).collect::<Result<_, _>>().expect("valid");
        prop_assert_eq!(read.len(), all.len());
        for (read, held) in read.iter().zip(&all) {
            prop_assert_eq!(read.name, &held.name);
            let labels: Vec<(String, String)> =
                read.labels.iter().map(|(name, value)| ((*name).to_owned(), value.to_string())).collect();
            prop_assert_eq!(&labels, &held.labels);
            prop_assert!(read.value.to_bits() == held.value.to_bits() || (read.value.is_nan() && held.value.is_nan()));
            prop_assert_eq!(read.time_ms, held.time_ms);
        }
    }

    #[test]
    fn damage_is_an_error_inside_the_text(
        all in prop::collection::vec(held(), 1..4),
        format in format(),
        at in any::<prop::sample::Index>(),
        instead in prop_oneof![any::<char>().prop_map(String::from), Just(String::new()), "[{}=\",# 0-9.]{1,3}"],
    ) {
        let text = write(&all, format);
        let at = text.char_indices().map(|(position, _)| position).nth(at.index(text.chars().count())).unwrap_or(0);
        let length = text[at..].chars().next().map_or(0, char::len_utf8);
        let damaged = format!("{}{instead}{}", &text[..at], &text[at + length..]);
        judge(&damaged, format)?;
    }

    #[test]
    fn any_text_is_read_or_refused(text in any::<String>(), format in format()) {
        judge(&text, format)?;
    }
}

/// Every sample has a name, and an error, which is the last thing said, names a place in the text.
fn judge(text: &str, format: Format) -> Result<(), TestCaseError> {
    let lines: Vec<&str> = text.split('\n').collect();
    let mut failed = false;
    for sample in samples(text, format) {
        prop_assert!(!failed, "nothing comes after an error");
        match sample {
            Ok(sample) => prop_assert!(!sample.name.is_empty()),
            Err(error) => {
                failed = true;
                let line = lines.get(error.line.saturating_sub(1)).copied().unwrap_or_default();
                prop_assert!(error.line <= lines.len(), "{error}");
                prop_assert!((1..=line.len() + 1).contains(&error.column), "{error} in {line:?}");
                prop_assert!(!error.message.is_empty());
            }
        }
    }
    Ok(())
}
