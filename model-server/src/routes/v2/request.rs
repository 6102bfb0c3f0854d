//! A request to infer: JSON, with its tensors inside or, in binary, behind it.

use std::borrow::Cow;
use std::time::Duration;

use axum::http::HeaderMap;
use serde::Deserialize;
use serde::de::DeserializeSeed as _;
use serde_json::value::RawValue;

use crate::routes::elements::Elements;
use crate::routes::excerpt::Excerpt;
use crate::routes::features;
use crate::routes::json::{First, Flag, Object, Whole, explain};
use crate::tensor::{self, BatchAxis, DataType, Dim, Signature, Tensor, TensorSpec};

/// What is asked for.
#[derive(Debug, PartialEq)]
pub(super) struct Asked {
    pub(super) id: Option<String>,
    /// One for each input of the model, in its order.
    pub(super) inputs: Vec<Option<Tensor>>,
    pub(super) rows: usize,
    /// How long it may wait for its execution.
    pub(super) timeout: Option<Duration>,
    /// In the order in which they are asked for.
    pub(super) outputs: Vec<Wanted>,
}

/// An output that is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Wanted {
    /// Its place among the model's.
    pub(super) number: usize,
    /// Behind the JSON, as it lies in memory.
    pub(super) binary: bool,
}

#[derive(Deserialize)]
struct Request<'a> {
    id: Option<String>,
    parameters: Option<Object<RequestParameters>>,
    #[serde(borrow)]
    inputs: First<MOST_TENSORS, Object<Input<'a>>>,
    outputs: Option<First<MOST_TENSORS, Object<Output<'a>>>>,
}

#[derive(Default, Deserialize)]
struct RequestParameters {
    /// Microseconds.
    timeout: Option<Whole>,
    binary_data_output: Option<Flag>,
}

#[derive(Deserialize)]
struct Input<'a> {
    #[serde(borrow)]
    name: Cow<'a, str>,
    shape: First<MOST_DIMENSIONS, Whole>,
    datatype: Cow<'a, str>,
    parameters: Option<Object<InputParameters>>,
    /// Read when it is known what it should be.
    data: Option<&'a RawValue>,
}

#[derive(Default, Deserialize)]
struct InputParameters {
    binary_data_size: Option<Whole>,
}

#[derive(Deserialize)]
struct Output<'a> {
    #[serde(borrow)]
    name: Cow<'a, str>,
    parameters: Option<Object<OutputParameters>>,
}

#[derive(Default, Deserialize)]
struct OutputParameters {
    binary_data: Option<Flag>,
    classification: Option<Whole>,
}

/// Inputs and outputs of a request that are kept; no model has more.
const MOST_TENSORS: usize = 1024;
/// Dimensions of a shape that are kept; no model here has more.
const MOST_DIMENSIONS: usize = 16;
/// Bytes of a request's id, which the answer repeats.
const LONGEST_ID: usize = 1024;

/// How long the JSON before binary tensors is.
pub(super) const HEADER_LENGTH: &str = "inference-header-content-length";

/// Reads a request for this model; says what was expected and found where it is none.
pub(super) fn parse(
    headers: &HeaderMap,
    body: &[u8],
    signature: &Signature,
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
        return raw(binary, signature, max_rows);
    }
    let Object(request): Object<Request<'_>> = serde_json::from_slice(json)
        .map_err(|error| format!("expected a request to infer: {}", explain(&error)))?;
    let Request { id, parameters, inputs, outputs } = request;
    if let Some(id) = &id
        && id.len() > LONGEST_ID
    {
        return Err(format!("expected an id of at most {LONGEST_ID} bytes, found {}", id.len()));
    }
    let Object(parameters) = parameters.unwrap_or_default();
    let Flag(all_binary) = parameters.binary_data_output.unwrap_or_default();
    let outputs = wanted(outputs, &signature.outputs, all_binary)?;
    let inputs = tensors(inputs, binary.unwrap_or_default(), &signature.inputs)?;
    let rows = rows(&inputs, signature, max_rows)?;
    let timeout = parameters.timeout.filter(|Whole(micros)| *micros > 0);
    let timeout = timeout.map(|Whole(micros)| Duration::from_micros(micros));
    Ok(Asked { id, inputs, rows, timeout, outputs })
}

/// A body without JSON is the one input as it lies in memory; the answer is binary, too.
fn raw(binary: &[u8], signature: &Signature, max_rows: usize) -> Result<Asked, String> {
    let one = || {
        let [TensorSpec { datatype, shape: Some(shape), .. }] = &signature.inputs[..] else { return None };
        let open = shape.iter().filter(|dim| **dim == Dim::Dynamic).count();
        let fixed = shape.iter().map(|dim| if let Dim::Fixed(size) = dim { *size } else { 1 });
        let fixed: usize = tensor::elements(&fixed.collect::<Vec<_>>())?;
        let bytes = datatype.size()?.checked_mul(fixed)?;
        (open <= 1).then_some((*datatype, shape, bytes))
    };
    let (datatype, shape, bytes) = one().ok_or(
        "expected a request in JSON: only a single input, of whose dimensions at most one is not fixed, may come without",
    )?;
    if binary.is_empty() || !binary.len().is_multiple_of(bytes) {
        return Err(format!("expected rows of {bytes} bytes, found {} bytes", binary.len()));
    }
    let open = binary.len() / bytes;
    let shape = shape.iter().map(|dim| if let Dim::Fixed(size) = dim { *size } else { open });
    let tensor = Tensor::new(datatype, shape.collect(), binary.to_vec());
    let inputs = vec![Some(tensor.map_err(|error| error.to_string())?)];
    let rows = rows(&inputs, signature, max_rows)?;
    let outputs = (0..signature.outputs.len()).map(|number| Wanted { number, binary: true });
    Ok(Asked { id: None, inputs, rows, timeout: None, outputs: outputs.collect() })
}

/// How many rows a request has, if the model takes it.
fn rows(inputs: &[Option<Tensor>], signature: &Signature, max_rows: usize) -> Result<usize, String> {
    let rows = signature.rows(inputs).map_err(|error| error.to_string())?;
    // Where requests are not computed together, the model itself says how many rows there are.
    if signature.batch == BatchAxis::Dynamic && rows > max_rows {
        return Err(format!("expected at most {max_rows} rows, found {rows}"));
    }
    Ok(rows)
}

/// The inputs in the order in which the model takes them.
fn tensors(
    inputs: First<MOST_TENSORS, Object<Input<'_>>>,
    mut binary: &[u8],
    specs: &[TensorSpec],
) -> Result<Vec<Option<Tensor>>, String> {
    if inputs.count > specs.len() {
        return Err(format!("expected inputs {}, found {}", names(specs), inputs.count));
    }
    let mut tensors: Vec<Option<Tensor>> = specs.iter().map(|_| None).collect();
    for Object(input) in inputs.items {
        let Some(number) = specs.iter().position(|spec| spec.name == input.name) else {
            return Err(format!("expected input {}, found {}", names(specs), Excerpt(&input.name)));
        };
        if tensors[number].is_some() {
            return Err(format!("expected input {:?} once, found it twice", specs[number].name));
        }
        let tensor = tensor(&input, &mut binary, &specs[number])?;
        tensors[number] = Some(tensor);
    }
    if !binary.is_empty() {
        return Err(format!("expected nothing more behind the JSON, found {} bytes", binary.len()));
    }
    Ok(tensors)
}

/// Names of tensors, as far as an answer should be long.
fn names(specs: &[TensorSpec]) -> String {
    const MOST: usize = 20;
    let mut names: Vec<String> = specs.iter().take(MOST).map(|spec| format!("{:?}", spec.name)).collect();
    if specs.len() > MOST {
        names.push(format!("... ({} in all)", specs.len()));
    }
    match &names[..] {
        [] => "none".to_owned(),
        [first @ .., last] if !first.is_empty() => format!("{} and {last}", first.join(", ")),
        _ => names.concat(),
    }
}

/// An input, from its JSON or from what lies behind that.
fn tensor(input: &Input<'_>, binary: &mut &[u8], spec: &TensorSpec) -> Result<Tensor, String> {
    let TensorSpec { name, datatype, .. } = spec;
    if DataType::named(&input.datatype) != Some(*datatype) {
        let (expected, found) = (datatype.name(), Excerpt(&input.datatype));
        return Err(format!("expected datatype {expected} of input {name:?}, found {found}"));
    }
    if input.shape.count > input.shape.items.len() {
        let found = input.shape.count;
        return Err(format!("expected {spec} as input, found {found} dimensions"));
    }
    let size = |Whole(size): &Whole| usize::try_from(*size).unwrap_or(usize::MAX);
    let shape: Vec<usize> = input.shape.items.iter().map(size).collect();
    spec.admits_shape(&shape).map_err(|error| error.to_string())?;
    let expected = tensor::elements(&shape)
        .ok_or_else(|| format!("expected a shape of input {name:?} that memory can hold, found {shape:?}"))?;
    let size = input.parameters.as_ref().and_then(|Object(parameters)| parameters.binary_data_size);
    let data = match (input.data, size) {
        (Some(_), None) if !datatype.in_json() => {
            return Err(format!(
                "expected binary_data_size of input {name:?}: JSON has no form for {}",
                datatype.name()
            ));
        }
        (Some(json), None) => elements(json, spec, expected)?,
        (None, Some(Whole(size))) => {
            let part = usize::try_from(size).ok().and_then(|size| binary.split_at_checked(size));
            let (part, rest) = part.ok_or_else(|| {
                format!("expected {size} bytes of input {name:?} behind the JSON, found {}", binary.len())
            })?;
            *binary = rest;
            part.to_vec()
        }
        (Some(_), Some(_)) => {
            return Err(format!("expected data or binary_data_size of input {name:?}, found both"));
        }
        (None, None) => {
            return Err(format!("expected data or binary_data_size of input {name:?}, found neither"));
        }
    };
    Tensor::new(*datatype, shape, data).map_err(|error| format!("input {name:?}: {error}"))
}

/// The expected number of elements of JSON as they lie in memory.
fn elements(json: &RawValue, spec: &TensorSpec, expected: usize) -> Result<Vec<u8>, String> {
    let TensorSpec { name, datatype, .. } = spec;
    let miscounted = |found| format!("expected {expected} values of input {name:?}, found {found}");
    // What most requests hold is read in one pass.
    if *datatype == DataType::Fp32
        && let Some(row) = features::numbers(json.get().as_bytes(), expected)
    {
        if row.count != expected {
            return Err(miscounted(row.count));
        }
        return Ok(row.numbers.iter().flat_map(|number| number.to_le_bytes()).collect());
    }
    let mut elements = Elements::new(*datatype, expected);
    let read = elements.deserialize(&mut serde_json::Deserializer::from_str(json.get()));
    read.map_err(|error| format!("expected values of input {name:?}: {} of its data", explain(&error)))?;
    let Elements { data, count, problem, .. } = elements;
    match problem {
        Some(problem) => Err(problem.of(format_args!("input {name:?}"))),
        None if count != expected => Err(miscounted(count)),
        None => Ok(data),
    }
}

/// The outputs that are asked for; all if none is named.
fn wanted(
    outputs: Option<First<MOST_TENSORS, Object<Output<'_>>>>,
    specs: &[TensorSpec],
    all_binary: bool,
) -> Result<Vec<Wanted>, String> {
    let named = outputs.filter(|outputs| outputs.count > 0);
    let mut wanted = Vec::with_capacity(specs.len());
    match named {
        None => wanted.extend((0..specs.len()).map(|number| Wanted { number, binary: all_binary })),
        Some(First { items, count }) => {
            if count > specs.len() {
                return Err(format!("expected outputs {}, found {count}", names(specs)));
            }
            for Object(output) in items {
                let Some(number) = specs.iter().position(|spec| spec.name == output.name) else {
                    return Err(format!("expected output {}, found {}", names(specs), Excerpt(&output.name)));
                };
                let Object(parameters) = output.parameters.unwrap_or_default();
                if parameters.classification.is_some_and(|Whole(classes)| classes > 0) {
                    return Err(format!(
                        "expected output {:?} without classification, found some",
                        output.name
                    ));
                }
                if wanted.iter().any(|other: &Wanted| other.number == number) {
                    return Err(format!("expected output {:?} once, found it twice", output.name));
                }
                let binary = parameters.binary_data.map_or(all_binary, |Flag(binary)| binary);
                wanted.push(Wanted { number, binary });
            }
        }
    }
    for Wanted { number, binary } in &wanted {
        let TensorSpec { name, datatype, .. } = &specs[*number];
        if !binary && !datatype.in_json() {
            return Err(format!(
                "expected \"binary_data\": true for output {name:?}: JSON has no form for {}",
                datatype.name()
            ));
        }
    }
    Ok(wanted)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn spec(name: &str, datatype: DataType, dims: &[Dim]) -> TensorSpec {
        TensorSpec { name: name.to_owned(), datatype, shape: Some(dims.to_vec()), optional: false }
    }

    fn rows_of_two() -> Signature {
        let tensor = |name, width| spec(name, DataType::Fp32, &[Dim::Dynamic, Dim::Fixed(width)]);
        Signature::new(vec![tensor("x", 2)], vec![tensor("y", 1)])
    }

    fn parse_json(request: &Value) -> Result<Asked, String> {
        parse(&HeaderMap::new(), request.to_string().as_bytes(), &rows_of_two(), 4)
    }

    fn parse_binary(request: &str, tail: &[u8], signature: &Signature) -> Result<Asked, String> {
        let mut headers = HeaderMap::new();
        headers.insert(HEADER_LENGTH, request.len().into());
        parse(&headers, &[request.as_bytes(), tail].concat(), signature, 4)
    }

    fn singles(asked: &Asked) -> Vec<f32> {
        asked.inputs[0].as_ref().expect("an input").numbers().expect("single precision")
    }

    #[test]
    fn json_may_be_flat_or_nested() {
        let request = json!({
            "id": "7", "parameters": {"timeout": 1500, "other": "x"}, "unknown": 1,
            "inputs": [{"data": [[1, 2], [3.5, 4]], "name": "x", "shape": [2, 2], "datatype": "FP32"}],
            "outputs": [{"name": "y", "parameters": {"binary_data": true}}],
        });
        let asked = parse_json(&request).expect("valid");
        assert_eq!(
            asked,
            Asked {
                id: Some("7".to_owned()),
                inputs: vec![Some(Tensor::of(vec![2, 2], &[1.0_f32, 2.0, 3.5, 4.0]).expect("a tensor"))],
                rows: 2,
                timeout: Some(Duration::from_micros(1500)),
                outputs: vec![Wanted { number: 0, binary: true }],
            }
        );
        let request =
            json!({"inputs": [{"name": "x", "shape": [1, 2], "datatype": "FP32", "data": [0.5, 2]}]});
        let asked = parse_json(&request).expect("valid");
        assert_eq!((singles(&asked), asked.rows), (vec![0.5, 2.0], 1));
        assert_eq!(asked.outputs, [Wanted { number: 0, binary: false }]);
    }

    #[test]
    fn tensors_may_lie_behind_the_json() {
        let json = r#"{"parameters":{"binary_data_output":true},"inputs":[{"name":"x","shape":[1,2],"datatype":"FP32","parameters":{"binary_data_size":8}}]}"#;
        let tail: Vec<u8> =
            [1.5_f32, f32::NEG_INFINITY].iter().flat_map(|number| number.to_le_bytes()).collect();
        let signature = rows_of_two();
        let binary = [Wanted { number: 0, binary: true }];
        let asked = parse_binary(json, &tail, &signature).expect("valid");
        assert_eq!((singles(&asked), &asked.outputs[..]), (vec![1.5, f32::NEG_INFINITY], &binary[..]));
        let asked = parse_binary("", &tail.repeat(3), &signature).expect("raw");
        assert_eq!((asked.rows, &asked.outputs[..]), (3, &binary[..]));
        for (json, tail, expected) in [
            (json, &tail[..7], "expected 8 bytes of input \"x\" behind the JSON, found 7"),
            (json, &tail.repeat(2), "expected nothing more behind the JSON, found 8 bytes"),
            ("", &tail[..7], "expected rows of 8 bytes, found 7 bytes"),
            ("", &[], "expected rows of 8 bytes, found 0 bytes"),
            ("", &tail.repeat(5), "expected at most 4 rows, found 5"),
        ] {
            assert_eq!(parse_binary(json, tail, &signature), Err(expected.to_owned()));
        }
    }

    #[test]
    fn several_inputs_of_several_types_come_in_any_order() {
        let half = spec("mask", DataType::Fp16, &[Dim::Dynamic, Dim::Dynamic]);
        let texts = spec("names", DataType::Bytes, &[Dim::Dynamic]);
        let mut optional = spec("scale", DataType::Fp64, &[]);
        optional.optional = true;
        let outputs = ["a", "b", "c"].map(|name| spec(name, DataType::Bf16, &[Dim::Dynamic]));
        let mut signature = Signature::new(vec![half, texts, optional], outputs.to_vec());
        signature.outputs[1].datatype = DataType::Bool;
        let json = json!({
            "inputs": [
                {"name": "names", "shape": [1], "datatype": "BYTES", "parameters": {"binary_data_size": 6}},
                {"name": "mask", "shape": [1, 3], "datatype": "FP16", "parameters": {"binary_data_size": 6}},
                {"name": "scale", "shape": [], "datatype": "FP64", "data": [0.5]},
            ],
            "outputs": [{"name": "c", "parameters": {"binary_data": true}}, {"name": "b"}],
        });
        let tail = [2, 0, 0, 0, b'h', b'i', 1, 2, 3, 4, 5, 6];
        let asked = parse_binary(&json.to_string(), &tail, &signature).expect("valid");
        assert_eq!(asked.rows, 1);
        let [Some(mask), Some(names), Some(scale)] = &asked.inputs[..] else { panic!("{asked:?}") };
        assert_eq!((mask.shape(), &mask.data()[..]), (&[1, 3][..], &[1, 2, 3, 4, 5, 6][..]));
        assert_eq!(names.strings().collect::<Vec<_>>(), [b"hi"]);
        assert_eq!((scale.shape(), scale.numbers::<f64>()), (&[][..], Some(vec![0.5])));
        assert_eq!(asked.outputs, [Wanted { number: 2, binary: true }, Wanted { number: 1, binary: false }]);
        let problem = |change: &dyn Fn(&mut Value)| {
            let mut json = json.clone();
            change(&mut json);
            parse_binary(&json.to_string(), &tail, &signature).expect_err("refused")
        };
        for (change, expected) in [
            (
                &(|json: &mut Value| json["outputs"] = Value::Null) as &dyn Fn(&mut Value),
                "expected \"binary_data\": true for output \"a\": JSON has no form for BF16",
            ),
            (
                &|json| {
                    json["inputs"][1] =
                        json!({"name": "mask", "shape": [1, 1], "datatype": "FP16", "data": [1]});
                },
                "expected binary_data_size of input \"mask\": JSON has no form for FP16",
            ),
            (
                &|json| {
                    json["inputs"][2]["name"] = "names".into();
                },
                "expected input \"names\" once, found it twice",
            ),
            (
                &|json| {
                    json["outputs"][1]["name"] = "c".into();
                },
                "expected output \"c\" once, found it twice",
            ),
            (
                &|json| {
                    json["outputs"][1]["name"] = "d".into();
                },
                "expected output \"a\", \"b\" and \"c\", found \"d\"",
            ),
            (
                &|json| json["inputs"][0]["shape"] = json!([2]),
                "input \"names\": expected 2 byte strings, found 1",
            ),
            (
                &|json| json["inputs"][1]["parameters"]["binary_data_size"] = 4.into(),
                "input \"mask\": expected 6 bytes, found 4",
            ),
        ] {
            assert_eq!(problem(change), expected);
        }
        let problem = parse_binary("", &tail, &signature).expect_err("three inputs");
        assert!(problem.starts_with("expected a request in JSON: only a single input"), "{problem}");
    }

    #[test]
    fn a_header_that_points_beyond_the_body_is_refused() {
        for length in ["3", "-1", "x", "99999999999999999999"] {
            let mut headers = HeaderMap::new();
            headers.insert(HEADER_LENGTH, length.parse().expect("a header"));
            let problem = parse(&headers, b"{}", &rows_of_two(), 4).expect_err("refused");
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
            (json!({"inputs": []}), "expected input \"x\", found none"),
            (
                json!({"inputs": [{"name": "x", "shape": [1, 2], "datatype": "FP32", "data": [1, 2]}, {"name": "z", "shape": [], "datatype": ""}]}),
                "expected inputs \"x\", found 2",
            ),
            (input(json!({"name": "z"})), "expected input \"x\", found \"z\""),
            (input(json!({"shape": [2]})), "expected shape [-1, 2] of input \"x\", found [2]"),
            (
                input(json!({"shape": [0, 2], "data": []})),
                "expected at least one row of input \"x\", found none",
            ),
            (input(json!({"shape": [5, 2], "data": vec![0; 10]})), "expected at most 4 rows, found 5"),
            (
                input(json!({"shape": [u64::MAX, 2]})),
                "expected a shape of input \"x\" that memory can hold, found [18446744073709551615, 2]",
            ),
            (input(json!({"data": [1]})), "expected 2 values of input \"x\", found 1"),
            (input(json!({"data": [[1], [2], [3]]})), "expected 2 values of input \"x\", found 3"),
            (input(json!({"datatype": "FP64"})), "expected datatype FP32 of input \"x\", found \"FP64\""),
            (input(json!({"data": [1, 1e39]})), "expected a number of FP32 at 1 of input \"x\", found 1e39"),
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
        let problem = parse(&HeaderMap::new(), b"{", &rows_of_two(), 4).expect_err("no JSON");
        assert!(problem.starts_with("expected a request to infer: EOF"), "{problem}");
    }
}
