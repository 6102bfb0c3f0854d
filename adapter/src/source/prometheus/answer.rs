//! What Prometheus answered: the samples, or why there are none (contract, section 11.2; D19, D27).

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use reqwest::{Response, StatusCode};
use serde::Deserialize;
use serde::de::{self, Deserializer, IgnoredAny, SeqAccess, Visitor};

use super::transport;
use crate::source::{QueryResult, Sample, Samples, SourceError, SourceErrorClass};

/// The frame of every answer. `data` is left out of errors.
#[derive(Deserialize)]
pub(super) struct Envelope<T> {
    status: String,
    pub(super) data: Option<T>,
    #[serde(default, rename = "errorType")]
    error_type: String,
    #[serde(default)]
    error: String,
    #[serde(default)]
    pub(super) warnings: Vec<String>,
}

/// Reads a body to its end, up to a limit.
pub(super) async fn body(mut response: Response) -> Result<(StatusCode, Vec<u8>), SourceError> {
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(|error| transport(&error))? {
        if body.len() + chunk.len() > LARGEST_BODY {
            return Err(unavailable(format!("the answer of Prometheus is larger than {LARGEST_BODY} bytes")));
        }
        body.extend_from_slice(&chunk);
    }
    Ok((response.status(), body))
}

/// The result of a query in the body of an answer with this status.
///
/// # Errors
/// The body is an error, or none of Prometheus', or the result is of a kind that makes no values.
pub fn read_result(status: StatusCode, body: &[u8]) -> Result<QueryResult, SourceError> {
    check_status(status)?;
    let envelope: Envelope<QueryData<'_>> =
        serde_json::from_slice(body).map_err(|error| no_answer(status, &error))?;
    let envelope = envelope.checked(status)?;
    let Some(data) = envelope.data else {
        return Err(unavailable("the answer of Prometheus has no data".to_owned()));
    };
    let mut histograms_dropped = 0;
    let value = match data.result {
        ResultData::Vector(entries) => {
            let count = entries.len();
            let samples: Vec<Sample> = entries.into_iter().filter_map(VectorEntry::into_sample).collect();
            histograms_dropped = count - samples.len();
            Samples::Vector(samples)
        }
        ResultData::Scalar(Point { timestamp_ms, value }) => Samples::Scalar { timestamp_ms, value },
        ResultData::Other(name) => {
            return Err(SourceError::new(
                SourceErrorClass::WrongType,
                format!("the query yields a {name}, expected an instant vector or a scalar"),
            ));
        }
    };
    Ok(QueryResult { value, warnings: envelope.warnings, histograms_dropped })
}

/// Codes whose body is worth reading are the ones upstream reads.
pub(super) fn check_status(status: StatusCode) -> Result<(), SourceError> {
    match status.as_u16() {
        200..=299 | 400 | 422 | 500 | 503 => Ok(()),
        _ => Err(answered(status)),
    }
}

impl<T> Envelope<T> {
    /// The envelope of a success, or the error in it.
    pub(super) fn checked(self, status: StatusCode) -> Result<Envelope<T>, SourceError> {
        if self.status == "success" && status.is_success() {
            return Ok(self);
        }
        if self.error_type.is_empty() {
            return Err(answered(status));
        }
        let class = match self.error_type.as_str() {
            "timeout" => SourceErrorClass::Timeout,
            "bad_data" | "execution" => SourceErrorClass::BadQuery,
            _ => SourceErrorClass::Unavailable,
        };
        let error: String = self.error.chars().take(LONGEST_ERROR).collect();
        let rest = if error.len() < self.error.len() { "..." } else { "" };
        Err(SourceError::new(class, format!("Prometheus answered {}: {error}{rest}", self.error_type)))
    }
}

/// The body is none of Prometheus': a proxy's page, or cut off.
pub(super) fn no_answer(status: StatusCode, error: &serde_json::Error) -> SourceError {
    if !status.is_success() {
        return answered(status);
    }
    let what = if error.is_eof() { "broke off" } else { "is not what Prometheus answers" };
    unavailable(format!("the answer {what}: {error}"))
}

fn answered(status: StatusCode) -> SourceError {
    unavailable(format!("Prometheus answered {status}"))
}

pub(super) fn unavailable(message: String) -> SourceError {
    SourceError::new(SourceErrorClass::Unavailable, message)
}

struct QueryData<'a> {
    result: ResultData<'a>,
}

enum ResultData<'a> {
    Vector(Vec<VectorEntry<'a>>),
    Scalar(Point),
    /// `matrix`, `string`: not looked into.
    Other(String),
}

/// `resultType` says what `result` is, and may come behind it: then the raw text is kept until it is known.
impl<'de> Deserialize<'de> for QueryData<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        struct Raw<'a> {
            #[serde(rename = "resultType")]
            result_type: String,
            #[serde(borrow)]
            result: &'a serde_json::value::RawValue,
        }
        let raw = Raw::deserialize(deserializer)?;
        let text = raw.result.get();
        let result = match raw.result_type.as_str() {
            "vector" => ResultData::Vector(serde_json::from_str(text).map_err(de::Error::custom)?),
            "scalar" => ResultData::Scalar(serde_json::from_str(text).map_err(de::Error::custom)?),
            _ => ResultData::Other(raw.result_type),
        };
        Ok(QueryData { result })
    }
}

#[derive(Deserialize)]
struct VectorEntry<'a> {
    #[serde(borrow)]
    metric: BTreeMap<std::borrow::Cow<'a, str>, std::borrow::Cow<'a, str>>,
    value: Option<Point>,
    #[serde(default)]
    histogram: Option<IgnoredAny>,
}

impl VectorEntry<'_> {
    /// `None` for a native histogram, which is no number.
    fn into_sample(self) -> Option<Sample> {
        let Point { timestamp_ms, value } = self.value.filter(|_| self.histogram.is_none())?;
        let labels =
            self.metric.iter().map(|(name, value)| (Arc::from(&**name), Arc::from(&**value))).collect();
        Some(Sample { labels, timestamp_ms, value })
    }
}

/// `[1435781451.781, "1"]`
struct Point {
    timestamp_ms: i64,
    value: f64,
}

impl<'de> Deserialize<'de> for Point {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct PointVisitor;

        impl<'de> Visitor<'de> for PointVisitor {
            type Value = Point;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a time and a number in quotes")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut sequence: A) -> Result<Point, A::Error> {
                let seconds: f64 =
                    sequence.next_element()?.ok_or_else(|| de::Error::invalid_length(0, &self))?;
                let text: std::borrow::Cow<'de, str> =
                    sequence.next_element()?.ok_or_else(|| de::Error::invalid_length(1, &self))?;
                let value = number(&text)
                    .ok_or_else(|| de::Error::invalid_value(de::Unexpected::Str(&text), &self))?;
                Ok(Point { timestamp_ms: (seconds * 1000.0).round() as i64, value })
            }
        }
        deserializer.deserialize_seq(PointVisitor)
    }
}

/// A sample's number as Prometheus writes it: `NaN` and the infinities are numbers too.
fn number(text: &str) -> Option<f64> {
    match text {
        "NaN" => Some(f64::NAN),
        "+Inf" | "Inf" => Some(f64::INFINITY),
        "-Inf" => Some(f64::NEG_INFINITY),
        _ => text.parse().ok(),
    }
}

/// No query of an autoscaler yields more; the limit only keeps a broken server from exhausting the memory.
const LARGEST_BODY: usize = 64 << 20;
const LONGEST_ERROR: usize = 300;
