//! What Prometheus answered: the samples, or why there are none (`docs/contract.md#answers-of-prometheus`; D19, D27).

use std::fmt;
use std::io::{self, Read as _};
use std::marker::PhantomData;
use std::time::Instant;

use flate2::read::MultiGzDecoder;
use reqwest::header::{CONTENT_ENCODING, HeaderMap};
use reqwest::{Response, StatusCode};
use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, Visitor};

use super::answer_memory::Place;
use super::failure::{LONGEST_ERROR, failure, no_answer, unavailable};
use super::frame::{Field, Frame, FrameSeed, OrNull, Part};
use super::plain;
use super::sample::{Point, PointSeed, Vector, VectorSeed};
use super::text::{Text, line};
use super::unreached::broken_off as transport;
use crate::source::{Held, QueryResult, Samples, SourceError, SourceErrorClass};

/// Reads a body to its end, into its place in the room for answers; what comes out of compression counts too.
pub(super) async fn body(
    mut response: Response,
    place: &mut Place,
    deadline: Instant,
) -> Result<(StatusCode, Vec<u8>), SourceError> {
    let status = response.status();
    let compressed = is_compressed(response.headers())?;
    // Of an error only the beginning is read.
    let most = if status.is_success() { usize::MAX } else { LONGEST_ERROR.min(place.largest() / 2) };
    let mut body = Vec::new();
    while body.len() < most
        && let Some(chunk) = response.chunk().await.map_err(|error| transport(&error))?
    {
        let wanted = chunk.len().min(most - body.len());
        place.fit(body.len() + wanted, deadline).await?;
        body.extend_from_slice(&chunk[..wanted]);
    }
    if !compressed || body.is_empty() {
        return Ok((status, body));
    }
    let mut decoder = MultiGzDecoder::new(&body[..]);
    let (mut text, mut step) = (Vec::new(), vec![0; STEP]);
    loop {
        let wanted = STEP.min(most - text.len());
        let count = match decoder.read(&mut step[..wanted]) {
            Ok(count) => count,
            // The beginning of an error says enough.
            Err(_) if most != usize::MAX && !text.is_empty() => 0,
            Err(error) => return Err(not_gzip(&error)),
        };
        if count == 0 {
            return Ok((status, text));
        }
        // Both are there until all is decompressed.
        place.fit(body.len() + text.len() + count, deadline).await?;
        text.extend_from_slice(&step[..count]);
        // Others are served between the steps.
        tokio::task::yield_now().await;
    }
}

/// The result of a query in the body of an answer with this status, which keeps the answer's place. Long ones are read
/// beside the threads that serve, to their end even when the caller has gone: the place is kept until then.
pub(super) async fn result_of(
    status: StatusCode,
    body: Vec<u8>,
    place: Place,
) -> Result<QueryResult, SourceError> {
    let long = body.len() > LONG;
    let read = move || {
        let result = read_result(status, &body)?;
        Ok(QueryResult { held: Held::new(place), ..result })
    };
    if !long {
        return read();
    }
    let read = tokio::task::spawn_blocking(read).await;
    read.map_err(|error| unavailable(format!("the answer of Prometheus could not be read: {error}")))?
}

/// Whether a body is gzip's. Nothing else is asked for; what a proxy compresses all the same is named.
pub(super) fn is_compressed(headers: &HeaderMap) -> Result<bool, SourceError> {
    let coding = headers.get(CONTENT_ENCODING).map_or(&b""[..], |coding| coding.as_bytes().trim_ascii());
    match coding.to_ascii_lowercase().as_slice() {
        b"" | b"identity" => Ok(false),
        b"gzip" | b"x-gzip" => Ok(true),
        other => Err(unavailable(format!(
            "the answer of Prometheus has the Content-Encoding {:?}, expected gzip or none",
            line(&String::from_utf8_lossy(other))
        ))),
    }
}

fn not_gzip(error: &io::Error) -> SourceError {
    if error.kind() == io::ErrorKind::UnexpectedEof {
        return unavailable("the compressed answer of Prometheus broke off".to_owned());
    }
    unavailable(format!("the answer of Prometheus is not gzip as it says: {error}"))
}

/// The result of a query in the body of an answer with this status.
///
/// # Errors
/// The body is an error, or none of Prometheus', or the result is of a kind that makes no values.
pub fn read_result(status: StatusCode, body: &[u8]) -> Result<QueryResult, SourceError> {
    if !status.is_success() {
        return Err(failure(status, body));
    }
    match plain::samples(body) {
        Some(samples) => Ok(QueryResult {
            value: Samples::Vector(samples),
            warnings: Vec::new(),
            histograms_dropped: 0,
            held: Held::default(),
        }),
        None => read_carefully(status, body),
    }
}

/// [`read_result`] of whatever is in the body of a success.
pub(super) fn read_carefully(status: StatusCode, body: &[u8]) -> Result<QueryResult, SourceError> {
    let frame = match read(body, None) {
        Ok(frame) if !matches!(&frame.data, Part::There(data) if data.is_misread()) => frame,
        first => {
            // Its type comes after the result, or it is an error beside which something stands: these looks find out,
            // and read no result.
            check_beside_data(status, body)?;
            let looked = read(body, Some("")).map_err(|error| no_answer(&error, body))?;
            match (looked.data.there().and_then(|data| data.result_type), first) {
                (Some(found), _) => read(body, Some(&found)).map_err(|error| no_answer(&error, body))?,
                (None, Ok(frame)) => frame,
                (None, Err(error)) => return Err(no_answer(&error, body)),
            }
        }
    };
    check(frame.status.as_deref(), status, body)?;
    result(frame)
}

/// A status that is there says `success`.
pub(super) fn check(claimed: Option<&str>, status: StatusCode, body: &[u8]) -> Result<(), SourceError> {
    match claimed {
        None | Some("success") => Ok(()),
        Some("error") => Err(failure(status, body)),
        Some(other) => Err(unavailable(format!(
            "expected an answer with the status \"success\", found {:?}",
            line(other)
        ))),
    }
}

/// As [`check`], whatever stands where data is expected; what cannot be read says nothing.
pub(super) fn check_beside_data(status: StatusCode, body: &[u8]) -> Result<(), SourceError> {
    let frame =
        FrameSeed(PhantomData::<IgnoredAny>).deserialize(&mut serde_json::Deserializer::from_slice(body));
    frame.map_or(Ok(()), |frame| check(frame.status.as_deref(), status, body))
}

fn result(frame: Frame<Data>) -> Result<QueryResult, SourceError> {
    let expected = "an instant vector or a scalar";
    let Frame { data, mut warnings, .. } = frame;
    let Some(Data { result_type, result, .. }) = data.there() else {
        return Err(unavailable("the answer of Prometheus has no data".to_owned()));
    };
    let Some(result_type) = result_type else {
        return Err(unavailable("the answer of Prometheus has no resultType".to_owned()));
    };
    match result {
        None => Err(unavailable("the answer of Prometheus has no result".to_owned())),
        Some(ResultData::Vector(vector)) => {
            let Vector { samples, histograms, valueless } = vector;
            if valueless > 0 {
                warnings.push(VALUELESS.to_owned());
            }
            Ok(QueryResult {
                value: Samples::Vector(samples),
                warnings,
                histograms_dropped: histograms,
                held: Held::default(),
            })
        }
        Some(ResultData::Scalar(Some(Point { timestamp_ms, value: Some(value) }))) => Ok(QueryResult {
            value: Samples::Scalar { timestamp_ms, value },
            warnings,
            histograms_dropped: 0,
            held: Held::default(),
        }),
        Some(ResultData::Scalar(_)) => {
            Err(unavailable("expected a time and a number in quotes in a scalar, found no number".to_owned()))
        }
        Some(ResultData::Unread) => Err(SourceError::new(
            SourceErrorClass::WrongType,
            format!("the query yields a {}, expected {expected}", line(&result_type)),
        )),
    }
}

fn read(body: &[u8], known: Option<&str>) -> serde_json::Result<Frame<Data>> {
    // What follows the answer is not looked at, as upstream's decoder does not.
    FrameSeed(DataSeed(known)).deserialize(&mut serde_json::Deserializer::from_slice(body))
}

/// `resultType` says what `result` is.
#[derive(Debug, Default)]
struct Data {
    result_type: Option<String>,
    result: Option<ResultData>,
    /// The type that was known when the result was read.
    read_as: Option<String>,
}

#[derive(Debug)]
enum ResultData {
    Vector(Vector),
    Scalar(Option<Point>),
    /// `matrix`, `string`: not looked into.
    Unread,
}

impl Data {
    /// The type came after the result, or a second one did.
    fn is_misread(&self) -> bool {
        self.result.is_some() && self.read_as != self.result_type
    }
}

/// Reads data, as of the type that is known before.
#[derive(Clone, Copy)]
struct DataSeed<'a>(Option<&'a str>);

impl<'de> DeserializeSeed<'de> for DataSeed<'_> {
    type Value = Data;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Data, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for DataSeed<'_> {
    type Value = Data;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the result of a query")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Data, A::Error> {
        #[derive(Clone, Copy)]
        enum Name {
            ResultType,
            Result,
        }
        const NAMES: [(&str, Name); 2] = [("resultType", Name::ResultType), ("result", Name::Result)];

        let mut data = Data::default();
        while let Some(name) = map.next_key_seed(Field(&NAMES))? {
            match name {
                Some(Name::ResultType) => {
                    data.result_type = map.next_value_seed(OrNull(Text(str::to_owned)))?;
                }
                Some(Name::Result) => {
                    let read_as = self.0.or(data.result_type.as_deref());
                    let result = match read_as {
                        Some("vector") => {
                            let vector = map.next_value_seed(OrNull(VectorSeed))?;
                            ResultData::Vector(vector.unwrap_or_default())
                        }
                        Some("scalar") => ResultData::Scalar(map.next_value_seed(OrNull(PointSeed))?),
                        _ => {
                            map.next_value::<IgnoredAny>()?;
                            ResultData::Unread
                        }
                    };
                    data.read_as = read_as.map(str::to_owned);
                    data.result = Some(result);
                }
                None => {
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        Ok(data)
    }
}

const VALUELESS: &str = "samples without a value were left out";
/// Size of the chunks of decompression.
const STEP: usize = 32 << 10;
/// Reading less than this takes a few milliseconds.
const LONG: usize = 1 << 20;

#[cfg(test)]
mod tests {
    use testkit::rows::each_row;

    use super::*;
    use crate::source::Sample;

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
        let rows = [
            format!(r#"{{"resultType":"vector","result":{result}}}"#),
            format!(r#"{{"result":{result},"explanation":{{}},"resultType":"vector"}}"#),
        ];
        each_row(rows, |data| {
            let read = read(&format!(r#"{{"status":"success","data":{data}}}"#)).expect("a vector");
            assert_eq!(read.value, Samples::Vector(vec![sample(&[("a", "b")], 1500, 2.0)]));
        });
        let scalar = read(r#"{"status":"success","data":{"result":[1,"2"],"resultType":"scalar"}}"#);
        assert_eq!(scalar.expect("a scalar").value, Samples::Scalar { timestamp_ms: 1000, value: 2.0 });
        each_row(
            [r#"{"resultType":"matrix","result":[]}"#, r#"{"result":[],"resultType":"matrix"}"#],
            |data| {
                let error = read(&format!(r#"{{"status":"success","data":{data}}}"#)).expect_err("no value");
                assert_eq!(error.class, SourceErrorClass::WrongType);
            },
        );
        each_row(["{}", r#"{"resultType":"vector"}"#, r#"{"result":[]}"#, "[]"], |data| {
            let error = read(&format!(r#"{{"status":"success","data":{data}}}"#)).expect_err("no result");
            assert_eq!(error.class, SourceErrorClass::Unavailable, "{error}");
        });
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
