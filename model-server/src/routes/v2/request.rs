//! A request to infer: JSON, with its tensors inside or, in binary, behind it.

use std::time::Duration;

use axum::http::HeaderMap;
use serde::Deserialize;

use super::numbers::{Datatype, Numbers};
use crate::model::Shape;
use crate::routes::excerpt::Excerpt;
use crate::routes::json::{First, Flag, Object, Whole, explain};

/// What is asked for.
#[derive(Debug, PartialEq)]
pub(super) struct Asked {
    pub(super) id: Option<String>,
    pub(super) input: Vec<f32>,
    pub(super) rows: usize,
    /// How long it may wait for its execution.
    pub(super) timeout: Option<Duration>,
    /// Whether the model's output is wanted, and whether in binary.
    pub(super) output: Wanted,
}

/// How an output is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wanted {
    Json,
    Binary,
}

#[derive(Deserialize)]
struct Request {
    id: Option<String>,
    parameters: Option<Object<RequestParameters>>,
    inputs: First<1, Object<Input>>,
    outputs: Option<First<1, Object<Output>>>,
}

#[derive(Default, Deserialize)]
struct RequestParameters {
    /// Microseconds.
    timeout: Option<Whole>,
    binary_data_output: Option<Flag>,
}

#[derive(Deserialize)]
struct Input {
    name: String,
    shape: First<MOST_DIMENSIONS, Whole>,
    datatype: String,
    parameters: Option<Object<InputParameters>>,
    data: Option<Numbers>,
}

#[derive(Default, Deserialize)]
struct InputParameters {
    binary_data_size: Option<Whole>,
}

#[derive(Deserialize)]
struct Output {
    name: String,
    parameters: Option<Object<OutputParameters>>,
}

#[derive(Default, Deserialize)]
struct OutputParameters {
    binary_data: Option<Flag>,
    classification: Option<Whole>,
}

/// Dimensions of a shape that are kept; no model here has so many.
const MOST_DIMENSIONS: usize = 8;
/// Bytes of a request's id, which the answer repeats.
const LONGEST_ID: usize = 1024;

/// How long the JSON before binary tensors is.
pub(super) const HEADER_LENGTH: &str = "inference-header-content-length";

/// Reads a request for this model; says what was expected and found where it is none.
pub(super) fn parse(
    headers: &HeaderMap,
    body: &[u8],
    shape: &Shape,
    max_rows: usize,
) -> Result<Asked, String> {
    let (json, binary) = match headers.get(HEADER_LENGTH) {
        None => (body, None),
        Some(length) => {
            let number = length.to_str().ok().and_then(|length| length.trim().parse::<usize>().ok());
            let split = number.and_then(|length| body.split_at_checked(length));
            let (json, binary) = split.ok_or_else(|| {
                format!(
                    "expected Inference-Header-Content-Length to be a number of bytes up to {}, found {}",
                    body.len(),
                    Excerpt(&String::from_utf8_lossy(length.as_bytes()))
                )
            })?;
            (json, Some(binary))
        }
    };
    if let Some(binary) = binary
        && json.is_empty()
    {
        return raw(binary, shape, max_rows);
    }
    let Object(request): Object<Request> = serde_json::from_slice(json)
        .map_err(|error| format!("expected a request to infer: {}", explain(&error)))?;
    let Request { id, parameters, inputs, outputs } = request;
    if let Some(id) = &id
        && id.len() > LONGEST_ID
    {
        return Err(format!("expected an id of at most {LONGEST_ID} bytes, found {}", id.len()));
    }
    let found = inputs.count;
    let [Object(input)] = <[Object<Input>; 1]>::try_from(inputs.items)
        .ok()
        .filter(|_| found == 1)
        .ok_or_else(|| format!("expected one input, {:?}, found {found}", shape.input.name))?;
    let rows = rows(&input, shape, max_rows)?;
    let Object(parameters) = parameters.unwrap_or_default();
    let Flag(all_binary) = parameters.binary_data_output.unwrap_or_default();
    let output = wanted(outputs, shape, all_binary)?;
    let input = numbers(input, binary.unwrap_or_default(), rows * shape.input.width)?;
    let timeout = parameters.timeout.filter(|Whole(micros)| *micros > 0);
    let timeout = timeout.map(|Whole(micros)| Duration::from_micros(micros));
    Ok(Asked { id, input, rows, timeout, output })
}

/// A body without JSON is the one input as it lies in memory; the answer is binary, too.
fn raw(binary: &[u8], shape: &Shape, max_rows: usize) -> Result<Asked, String> {
    let row = shape.input.width * Datatype::Fp32.size();
    if binary.is_empty() || !binary.len().is_multiple_of(row) {
        return Err(format!("expected rows of {row} bytes, found {} bytes", binary.len()));
    }
    let rows = binary.len() / row;
    fits(rows, max_rows)?;
    let input = finite(Datatype::Fp32.decode(binary))?;
    Ok(Asked { id: None, input, rows, timeout: None, output: Wanted::Binary })
}

fn rows(input: &Input, shape: &Shape, max_rows: usize) -> Result<usize, String> {
    if input.name != shape.input.name {
        return Err(format!("expected input {:?}, found {}", shape.input.name, Excerpt(&input.name)));
    }
    let width = shape.input.width;
    match (&input.shape.items[..], input.shape.count) {
        ([Whole(rows), Whole(found)], 2) if *found == width as u64 && *rows > 0 => {
            let rows = usize::try_from(*rows).unwrap_or(usize::MAX);
            fits(rows, max_rows)?;
            Ok(rows)
        }
        (_, count) if count > MOST_DIMENSIONS => Err(format!(
            "expected shape [-1, {width}] of input {:?}, found {count} dimensions",
            shape.input.name
        )),
        (dimensions, _) => {
            let found: Vec<u64> = dimensions.iter().map(|Whole(dimension)| *dimension).collect();
            Err(format!("expected shape [-1, {width}] of input {:?}, found {found:?}", shape.input.name))
        }
    }
}

fn fits(rows: usize, max_rows: usize) -> Result<(), String> {
    if rows <= max_rows { Ok(()) } else { Err(format!("expected at most {max_rows} rows, found {rows}")) }
}

fn wanted(
    outputs: Option<First<1, Object<Output>>>,
    shape: &Shape,
    all_binary: bool,
) -> Result<Wanted, String> {
    let mut binary = all_binary;
    if let Some(First { items, count }) = outputs {
        if count > 1 {
            return Err(format!("expected one output, {:?}, found {count}", shape.output.name));
        }
        for Object(output) in items {
            if output.name != shape.output.name {
                let (expected, found) = (&shape.output.name, Excerpt(&output.name));
                return Err(format!("expected output {expected:?}, found {found}"));
            }
            let Object(parameters) = output.parameters.unwrap_or_default();
            if parameters.classification.is_some_and(|Whole(classes)| classes > 0) {
                return Err(format!("expected output {:?} without classification, found some", output.name));
            }
            binary = parameters.binary_data.map_or(all_binary, |Flag(binary)| binary);
        }
    }
    Ok(if binary { Wanted::Binary } else { Wanted::Json })
}

fn numbers(input: Input, binary: &[u8], expected: usize) -> Result<Vec<f32>, String> {
    let name = &input.name;
    let datatype = Datatype::of(&input.datatype).ok_or_else(|| {
        let found = Excerpt(&input.datatype);
        format!("expected datatype {} of input {name:?}, found {found}", Datatype::KNOWN)
    })?;
    let size = input.parameters.and_then(|Object(parameters)| parameters.binary_data_size);
    let numbers = match (input.data, size) {
        (Some(Numbers { numbers, fraction }), None) => {
            if let (Some(position), Datatype::Int { .. }) = (fraction, datatype) {
                return Err(format!(
                    "expected whole numbers in input {name:?} of datatype {}, found a fraction at {position}",
                    input.datatype
                ));
            }
            if !binary.is_empty() {
                return Err(format!("expected nothing behind the JSON, found {} bytes", binary.len()));
            }
            numbers
        }
        (None, Some(Whole(size))) => {
            if size != binary.len() as u64 {
                return Err(format!(
                    "expected {size} bytes of input {name:?} behind the JSON, found {}",
                    binary.len()
                ));
            }
            if size != (expected * datatype.size()) as u64 {
                return Err(format!(
                    "expected {} bytes of input {name:?}, found {size}",
                    expected * datatype.size()
                ));
            }
            datatype.decode(binary)
        }
        (Some(_), Some(_)) => {
            return Err(format!("expected data or binary_data_size of input {name:?}, found both"));
        }
        (None, None) => {
            return Err(format!("expected data or binary_data_size of input {name:?}, found neither"));
        }
    };
    if numbers.len() != expected {
        return Err(format!("expected {expected} numbers in input {name:?}, found {}", numbers.len()));
    }
    finite(numbers)
}

fn finite(numbers: Vec<f32>) -> Result<Vec<f32>, String> {
    match numbers.iter().position(|number| !number.is_finite()) {
        None => Ok(numbers),
        Some(position) => {
            Err(format!("expected finite numbers in single precision, found none at {position}"))
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::model::TensorShape;

    fn shape() -> Shape {
        let tensor = |name: &str, width| TensorShape { name: name.to_owned(), width };
        Shape { input: tensor("x", 2), output: tensor("y", 1) }
    }

    fn parse_json(request: &Value) -> Result<Asked, String> {
        parse(&HeaderMap::new(), request.to_string().as_bytes(), &shape(), 4)
    }

    fn parse_binary(request: &str, tail: &[u8]) -> Result<Asked, String> {
        let mut headers = HeaderMap::new();
        headers.insert(HEADER_LENGTH, request.len().into());
        parse(&headers, &[request.as_bytes(), tail].concat(), &shape(), 4)
    }

    #[test]
    fn json_may_be_flat_or_nested_and_of_any_datatype() {
        let request = json!({
            "id": "7", "parameters": {"timeout": 1500, "other": "x"}, "unknown": 1,
            "inputs": [{"name": "x", "shape": [2, 2], "datatype": "INT64", "data": [[1, 2], [3, 4]]}],
            "outputs": [{"name": "y", "parameters": {"binary_data": true}}],
        });
        let asked = parse_json(&request).expect("valid");
        assert_eq!(
            asked,
            Asked {
                id: Some("7".to_owned()),
                input: vec![1.0, 2.0, 3.0, 4.0],
                rows: 2,
                timeout: Some(Duration::from_micros(1500)),
                output: Wanted::Binary,
            }
        );
        let request =
            json!({"inputs": [{"name": "x", "shape": [1, 2], "datatype": "FP64", "data": [0.5, 2]}]});
        let asked = parse_json(&request).expect("valid");
        assert_eq!((asked.input, asked.rows, asked.output), (vec![0.5, 2.0], 1, Wanted::Json));
    }

    #[test]
    fn tensors_may_lie_behind_the_json() {
        let json = r#"{"parameters":{"binary_data_output":true},"inputs":[{"name":"x","shape":[1,2],"datatype":"FP32","parameters":{"binary_data_size":8}}]}"#;
        let tail: Vec<u8> = [1.5_f32, -2.0].iter().flat_map(|number| number.to_le_bytes()).collect();
        let asked = parse_binary(json, &tail).expect("valid");
        assert_eq!((asked.input, asked.output), (vec![1.5, -2.0], Wanted::Binary));
        let asked = parse_binary("", &tail.repeat(3)).expect("raw");
        assert_eq!((asked.rows, asked.output), (3, Wanted::Binary));
        for (json, tail, expected) in [
            (json, &tail[..7], "expected 8 bytes of input \"x\" behind the JSON, found 7"),
            ("", &tail[..7], "expected rows of 8 bytes, found 7 bytes"),
            ("", &[], "expected rows of 8 bytes, found 0 bytes"),
            ("", &tail.repeat(5), "expected at most 4 rows, found 5"),
            (json, &[255; 8], "expected finite numbers in single precision, found none at 0"),
        ] {
            assert_eq!(parse_binary(json, tail), Err(expected.to_owned()));
        }
    }

    #[test]
    fn a_header_that_points_beyond_the_body_is_refused() {
        for length in ["3", "-1", "x", "99999999999999999999"] {
            let mut headers = HeaderMap::new();
            headers.insert(HEADER_LENGTH, length.parse().expect("a header"));
            let problem = parse(&headers, b"{}", &shape(), 4).expect_err("refused");
            assert!(problem.contains("up to 2, found"), "{problem}");
        }
    }

    #[test]
    fn what_is_wrong_is_named() {
        let input = |change: Value| {
            let mut input = json!({"name": "x", "shape": [1, 2], "datatype": "FP32", "data": [1, 2]});
            for (key, value) in change.as_object().expect("an object") {
                input[key] = value.clone();
            }
            json!({"inputs": [input]})
        };
        for (request, expected) in [
            (json!({"inputs": []}), "expected one input, \"x\", found 0"),
            (input(json!({"name": "z"})), "expected input \"x\", found \"z\""),
            (input(json!({"shape": [2]})), "expected shape [-1, 2] of input \"x\", found [2]"),
            (input(json!({"shape": [0, 2]})), "expected shape [-1, 2] of input \"x\", found [0, 2]"),
            (input(json!({"shape": [5, 2]})), "expected at most 4 rows, found 5"),
            (input(json!({"data": [1]})), "expected 2 numbers in input \"x\", found 1"),
            (
                input(json!({"datatype": "BYTES"})),
                "expected datatype FP32, FP64, INT8 to INT64 or UINT8 to UINT64 of input \"x\", found \"BYTES\"",
            ),
            (
                input(json!({"datatype": "INT8", "data": [1, 1.5]})),
                "expected whole numbers in input \"x\" of datatype INT8, found a fraction at 1",
            ),
            (
                input(json!({"data": [1, 1e39]})),
                "expected finite numbers in single precision, found none at 1",
            ),
            (input(json!({"data": null})), "expected data or binary_data_size of input \"x\", found neither"),
            (
                input(json!({"parameters": {"binary_data_size": 8}})),
                "expected data or binary_data_size of input \"x\", found both",
            ),
        ] {
            assert_eq!(parse_json(&request), Err(expected.to_owned()));
        }
        let mut request = input(json!({}));
        request["outputs"] = json!([{"name": "z"}]);
        assert_eq!(parse_json(&request), Err("expected output \"y\", found \"z\"".to_owned()));
        let problem = parse(&HeaderMap::new(), b"{", &shape(), 4).expect_err("no JSON");
        assert!(problem.starts_with("expected a request to infer: EOF"), "{problem}");
    }
}
