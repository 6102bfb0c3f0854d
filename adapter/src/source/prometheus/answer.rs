//! What Prometheus answered: the samples, or why there are none (contract, section 11.2; D19, D27).

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use reqwest::{Response, StatusCode};
use serde::Deserialize;
use serde::de::{self, DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use super::text::Text;
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
    let envelope: Envelope<QueryData> =
        serde_json::from_slice(body).map_err(|error| no_answer(status, &error))?;
    let envelope = envelope.checked(status)?;
    let Some(data) = envelope.data else {
        return Err(unavailable("the answer of Prometheus has no data".to_owned()));
    };
    let mut histograms_dropped = 0;
    let value = match data.result {
        ResultData::Vector(Vector { samples, histograms }) => {
            histograms_dropped = histograms;
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

struct QueryData {
    result: ResultData,
}

enum ResultData {
    Vector(Vector),
    Scalar(Point),
    /// `matrix`, `string`: not looked into.
    Other(String),
}

/// `resultType` says what `result` is, and may come behind it: then the raw text is kept until it is known.
impl<'de> Deserialize<'de> for QueryData {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<QueryData, D::Error> {
        #[derive(Deserialize)]
        #[serde(field_identifier, rename_all = "camelCase")]
        enum Field {
            ResultType,
            Result,
            #[serde(other)]
            Other,
        }

        struct DataVisitor;

        impl<'de> Visitor<'de> for DataVisitor {
            type Value = QueryData;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("the result of a query")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<QueryData, A::Error> {
                let (mut result_type, mut result, mut raw) = (None::<String>, None, None::<&RawValue>);
                while let Some(field) = map.next_key()? {
                    match (field, result_type.as_deref()) {
                        (Field::ResultType, _) => result_type = Some(map.next_value()?),
                        (Field::Result, None) => raw = Some(map.next_value()?),
                        (Field::Result, Some("vector")) => {
                            result = Some(ResultData::Vector(map.next_value()?));
                        }
                        (Field::Result, Some("scalar")) => {
                            result = Some(ResultData::Scalar(map.next_value()?));
                        }
                        (Field::Result, Some(other)) => {
                            result = Some(ResultData::Other(other.to_owned()));
                            map.next_value::<IgnoredAny>()?;
                        }
                        (Field::Other, _) => {
                            map.next_value::<IgnoredAny>()?;
                        }
                    }
                }
                let result_type = result_type.ok_or_else(|| de::Error::missing_field("resultType"))?;
                let result = match (result, raw.map(RawValue::get), result_type.as_str()) {
                    (Some(result), ..) => result,
                    (None, None, _) => return Err(de::Error::missing_field("result")),
                    (None, Some(text), "vector") => ResultData::Vector(read(text)?),
                    (None, Some(text), "scalar") => ResultData::Scalar(read(text)?),
                    (None, Some(_), _) => ResultData::Other(result_type),
                };
                Ok(QueryData { result })
            }
        }

        fn read<'de, T: Deserialize<'de>, E: de::Error>(text: &'de str) -> Result<T, E> {
            serde_json::from_str(text).map_err(E::custom)
        }

        deserializer.deserialize_map(DataVisitor)
    }
}

/// Samples, and how many native histograms were among them, which are no numbers.
struct Vector {
    samples: Vec<Sample>,
    histograms: usize,
}

impl<'de> Deserialize<'de> for Vector {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Vector, D::Error> {
        struct VectorVisitor;

        impl<'de> Visitor<'de> for VectorVisitor {
            type Value = Vector;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list of samples")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut sequence: A) -> Result<Vector, A::Error> {
                let mut vector = Vector { samples: Vec::new(), histograms: 0 };
                while let Some(sample) = sequence.next_element_seed(SampleSeed(vector.samples.last()))? {
                    match sample {
                        Some(sample) => vector.samples.push(sample),
                        None => vector.histograms += 1,
                    }
                }
                Ok(vector)
            }
        }
        deserializer.deserialize_seq(VectorVisitor)
    }
}

/// One sample; `None` for a native histogram. Samples of one answer have most texts in common with the one before them:
/// those are shared.
struct SampleSeed<'a>(Option<&'a Sample>);

impl<'de> DeserializeSeed<'de> for SampleSeed<'_> {
    type Value = Option<Sample>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Option<Sample>, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for SampleSeed<'_> {
    type Value = Option<Sample>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a sample with its labels")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Option<Sample>, A::Error> {
        #[derive(Deserialize)]
        #[serde(field_identifier, rename_all = "camelCase")]
        enum Field {
            Metric,
            Value,
            Histogram,
            #[serde(other)]
            Other,
        }

        let (mut labels, mut point, mut histogram) = (None, None::<Point>, false);
        while let Some(field) = map.next_key()? {
            match field {
                Field::Metric => {
                    let before = self.0.map(|sample| &*sample.labels).unwrap_or_default();
                    labels = Some(map.next_value_seed(LabelsSeed(before))?);
                }
                Field::Value => point = Some(map.next_value()?),
                Field::Histogram => {
                    map.next_value::<IgnoredAny>()?;
                    histogram = true;
                }
                Field::Other => {
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        let labels = labels.ok_or_else(|| de::Error::missing_field("metric"))?;
        let point = point.filter(|_| !histogram);
        Ok(point.map(|Point { timestamp_ms, value }| Sample { labels, timestamp_ms, value }))
    }
}

type Label = (Arc<str>, Arc<str>);

/// The labels of a sample, sorted by name as [`Sample`] has them, beside those of the sample before it.
struct LabelsSeed<'a>(&'a [Label]);

impl<'de> DeserializeSeed<'de> for LabelsSeed<'_> {
    type Value = Vec<Label>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Vec<Label>, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for LabelsSeed<'_> {
    type Value = Vec<Label>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("labels")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Vec<Label>, A::Error> {
        let mut labels: Vec<Label> = Vec::with_capacity(self.0.len());
        loop {
            let before = self.0.get(labels.len());
            let (name_before, value_before) = before.map(|(name, value)| (name, value)).unzip();
            let Some(name) = map.next_key_seed(Text(|text: &str| like(name_before, text)))? else { break };
            labels.push((name, map.next_value_seed(Text(|text: &str| like(value_before, text)))?));
        }
        // Prometheus sorts them; others may not, and a name that comes twice has its last value, as in any JSON object.
        if !labels.is_sorted_by(|(one, _), (next, _)| one < next) {
            labels = labels.into_iter().collect::<BTreeMap<_, _>>().into_iter().collect();
        }
        Ok(labels)
    }
}

/// A text, shared with one that may be equal.
fn like(before: Option<&Arc<str>>, text: &str) -> Arc<str> {
    match before {
        Some(before) if **before == *text => Arc::clone(before),
        _ => Arc::from(text),
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

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<QueryResult, SourceError> {
        read_result(StatusCode::OK, text.as_bytes())
    }

    fn sample(labels: &[(&str, &str)], timestamp_ms: i64, value: f64) -> Sample {
        let labels = labels.iter().map(|&(name, value)| (name.into(), value.into())).collect();
        Sample { labels, timestamp_ms, value }
    }

    #[test]
    fn the_type_may_come_behind_the_result() {
        let result = r#"[{"value":[1.5,"2"],"metric":{"a":"b"}}]"#;
        for data in [
            format!(r#"{{"resultType":"vector","result":{result}}}"#),
            format!(r#"{{"result":{result},"explanation":{{}},"resultType":"vector"}}"#),
        ] {
            let read = read(&format!(r#"{{"status":"success","data":{data}}}"#)).expect("a vector");
            assert_eq!(read.value, Samples::Vector(vec![sample(&[("a", "b")], 1500, 2.0)]));
        }
        let scalar = read(r#"{"status":"success","data":{"result":[1,"2"],"resultType":"scalar"}}"#);
        assert_eq!(scalar.expect("a scalar").value, Samples::Scalar { timestamp_ms: 1000, value: 2.0 });
        for data in [r#"{"resultType":"matrix","result":[]}"#, r#"{"result":[],"resultType":"matrix"}"#] {
            let error = read(&format!(r#"{{"status":"success","data":{data}}}"#)).expect_err("no value");
            assert_eq!(error.class, SourceErrorClass::WrongType);
        }
        for data in ["{}", r#"{"resultType":"vector"}"#, r#"{"result":[]}"#, "[]"] {
            let error = read(&format!(r#"{{"status":"success","data":{data}}}"#)).expect_err("no result");
            assert_eq!(error.class, SourceErrorClass::Unavailable, "{error}");
        }
    }

    #[test]
    fn labels_are_sorted_whatever_the_samples_before_had() {
        let entry = |labels: &str| format!(r#"{{"metric":{{{labels}}},"value":[1,"3"]}}"#);
        let entries = [
            entry(r#""a":"1","b":"2""#),
            entry(r#""a":"1","b":"3","c":"4""#),
            entry(r#""b":"3""#),
            entry(r#""c":"4","a":"1","c":"5""#),
            entry(""),
        ];
        let text = format!(
            r#"{{"status":"success","data":{{"resultType":"vector","result":[{}]}}}}"#,
            entries.join(",")
        );
        let expected: [&[(&str, &str)]; 5] = [
            &[("a", "1"), ("b", "2")],
            &[("a", "1"), ("b", "3"), ("c", "4")],
            &[("b", "3")],
            &[("a", "1"), ("c", "5")],
            &[],
        ];
        let expected = expected.map(|labels| sample(labels, 1000, 3.0)).to_vec();
        assert_eq!(read(&text).expect("a vector").value, Samples::Vector(expected));
    }
}
