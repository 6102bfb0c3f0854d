//! Odd answers of Prometheus are read as upstream reads them, or otherwise for a reason that the file of answers gives.
//! What upstream makes of each was found out by its own client (tests/components/prometheus-adapter/answers_test.go).

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use adapter::source::prometheus::{read_listing, read_result};
use adapter::source::{Samples, SourceErrorClass};
use http::StatusCode;
use serde::Deserialize;

#[derive(Deserialize)]
struct Entry {
    name: String,
    of: String,
    #[serde(default = "success")]
    code: u16,
    #[serde(default)]
    body: String,
    hex: Option<String>,
    upstream: Outcome,
    /// Where it differs.
    ours: Option<Outcome>,
    /// The deviation that it differs by.
    why: Option<String>,
}

#[derive(Deserialize, Debug)]
#[serde(rename_all = "lowercase")]
enum Outcome {
    Vector(Vec<Sample>),
    Scalar(Sample),
    Series(BTreeSet<Series>),
    Type(String),
    Error(String),
}

#[derive(Deserialize, Debug)]
struct Sample {
    #[serde(default)]
    labels: BTreeMap<String, String>,
    ms: i64,
    value: String,
    /// No sample with a number.
    odd: Option<String>,
}

#[derive(Deserialize, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Series {
    name: String,
    labels: Vec<String>,
}

#[test]
fn odd_answers_are_read_as_upstream_reads_them() {
    let text = include_str!("odd_answers.jsonl");
    let contract = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/contract.md");
    let contract = std::fs::read_to_string(contract).expect("the list of deviations");
    let (mut read, mut refused, mut unexplained) = (0, 0, Vec::new());
    let mut differing: BTreeMap<String, usize> = BTreeMap::new();
    for line in text.lines() {
        let entry: Entry = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
        let found = found(&entry);
        match (&entry.ours, &entry.why) {
            (None, None) if same(&found, &entry.upstream) => match found {
                Outcome::Error(_) => refused += 1,
                _ => read += 1,
            },
            (Some(ours), Some(why)) if same(&found, ours) && !same(ours, &entry.upstream) => {
                assert!(contract.contains(&format!("| {why} |")), "{why} is no deviation");
                *differing.entry(why.clone()).or_default() += 1;
            }
            _ => unexplained.push(format!(
                "{}: {}, upstream: {}",
                entry.name,
                shown(&found),
                shown(&entry.upstream)
            )),
        }
    }
    println!(
        "{} answers: read alike {read}, refused by both {refused}, otherwise on purpose {differing:?}, unexplained {}",
        text.lines().count(),
        unexplained.len()
    );
    assert_eq!(unexplained, Vec::<String>::new());
    assert!(read >= 80 && refused >= 40, "the file has lost answers");
}

fn success() -> u16 {
    200
}

fn found(entry: &Entry) -> Outcome {
    let body = entry.hex.as_ref().map_or(entry.body.clone().into_bytes(), |hex| {
        let digits: Vec<u32> = hex.chars().map(|digit| digit.to_digit(16).expect("hexadecimal")).collect();
        digits.chunks(2).map(|pair| (pair[0] * 16 + pair[1]) as u8).collect()
    });
    let status = StatusCode::from_u16(entry.code).expect("a status");
    if entry.of == "series" {
        return match read_listing(status, &*body, 1 << 20) {
            Ok(listing) => {
                let series = listing.series.iter().map(|series| Series {
                    name: series.name.to_string(),
                    labels: series.label_names.iter().map(ToString::to_string).collect(),
                });
                Outcome::Series(series.collect())
            }
            Err(error) => Outcome::Error(error.message),
        };
    }
    let sample = |labels: &[(std::sync::Arc<str>, std::sync::Arc<str>)], ms, value: f64| Sample {
        labels: labels.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect(),
        ms,
        value: value.to_string(),
        odd: None,
    };
    match read_result(status, &body).map(|result| result.value) {
        Ok(Samples::Vector(samples)) => {
            let samples = samples.iter().map(|one| sample(&one.labels, one.timestamp_ms, one.value));
            Outcome::Vector(samples.collect())
        }
        Ok(Samples::Scalar { timestamp_ms, value }) => Outcome::Scalar(sample(&[], timestamp_ms, value)),
        Err(error)
            if error.class == SourceErrorClass::WrongType && body.windows(6).any(|w| w == b"matrix") =>
        {
            Outcome::Type("matrix".to_owned())
        }
        Err(error) => Outcome::Error(error.message),
    }
}

fn shown(outcome: &Outcome) -> String {
    match outcome {
        Outcome::Error(error) => format!("refused, {error}"),
        other => format!("{other:?}"),
    }
}

/// Errors are alike whatever they say.
fn same(one: &Outcome, other: &Outcome) -> bool {
    let same_samples = |one: &Sample, other: &Sample| {
        let number = |sample: &Sample| sample.value.parse::<f64>().ok();
        let same_number = match (number(one), number(other)) {
            (Some(one), Some(other)) => one.to_bits() == other.to_bits() || one.is_nan() && other.is_nan(),
            _ => false,
        };
        one.labels == other.labels && one.ms == other.ms && same_number && one.odd == other.odd
    };
    match (one, other) {
        (Outcome::Vector(one), Outcome::Vector(other)) => {
            one.len() == other.len() && one.iter().zip(other).all(|(one, other)| same_samples(one, other))
        }
        (Outcome::Scalar(one), Outcome::Scalar(other)) => same_samples(one, other),
        (Outcome::Series(one), Outcome::Series(other)) => one == other,
        (Outcome::Type(one), Outcome::Type(other)) => one == other,
        (Outcome::Error(_), Outcome::Error(_)) => true,
        _ => false,
    }
}
