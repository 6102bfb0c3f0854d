//! Writes small ONNX models. Their format is protobuf, of which this is as much as they need.

/// A number of a message.
fn number(field: u64, number: u64) -> Vec<u8> {
    [varint(field << 3), varint(number)].concat()
}

/// Bytes, a text or a message of a message.
fn message(field: u64, parts: &[&[u8]]) -> Vec<u8> {
    let body = parts.concat();
    [varint(field << 3 | 2), varint(body.len() as u64), body].concat()
}

fn varint(mut number: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    while number > 127 {
        bytes.push(number as u8 | 128);
        number >>= 7;
    }
    bytes.push(number as u8);
    bytes
}

/// The type of 32-bit floats, as ONNX numbers types.
pub const FLOAT: u64 = 1;
/// The type of 32-bit integers.
pub const INT32: u64 = 6;
/// The type of 64-bit integers.
pub const INT64: u64 = 7;
/// The type of 16-bit brain floats.
pub const BFLOAT16: u64 = 16;
const INPUT: u64 = 11;
const OUTPUT: u64 = 12;
const INNER: u64 = 13;

/// The size of a dimension in a file.
#[derive(Debug, Clone, Copy)]
pub enum Size {
    /// A number.
    Fixed(u64),
    /// Requests choose it; those of one name are equal.
    Named(&'static str),
    /// Requests choose it.
    Unnamed,
}

fn tensor_info(field: u64, name: &str, kind: u64, sizes: &[Size]) -> Vec<u8> {
    let dim = |size: &Size| match size {
        Size::Fixed(size) => message(1, &[&number(1, *size)]),
        Size::Named(name) => message(1, &[&message(2, &[name.as_bytes()])]),
        Size::Unnamed => message(1, &[]),
    };
    let shape = message(2, &[&sizes.iter().map(dim).collect::<Vec<_>>().concat()]);
    let kind = message(1, &[&number(1, kind), &shape]);
    message(field, &[&message(1, &[name.as_bytes()]), &message(2, &[&kind])])
}

/// An input of a type and a shape.
pub fn input(name: &str, kind: u64, sizes: &[Size]) -> Vec<u8> {
    tensor_info(INPUT, name, kind, sizes)
}

/// An output of a type and a shape.
pub fn output(name: &str, kind: u64, sizes: &[Size]) -> Vec<u8> {
    tensor_info(OUTPUT, name, kind, sizes)
}

/// What an exporter notes of a tensor inside.
pub fn inner(name: &str, kind: u64, sizes: &[Size]) -> Vec<u8> {
    tensor_info(INNER, name, kind, sizes)
}

/// A model of these inputs, outputs, nodes and weights.
pub fn file(parts: &[Vec<u8>]) -> Vec<u8> {
    of_opset(13, parts)
}

/// One of another version of ONNX's operators.
pub fn of_opset(version: u64, parts: &[Vec<u8>]) -> Vec<u8> {
    let graph = [&parts.concat()[..], &message(2, &[b"test"])];
    let opset = message(8, &[&message(1, &[b""]), &number(2, version)]);
    [number(1, 8), message(7, &graph), opset].concat()
}

/// Weights in a file beside the model.
fn external(name: &str, dims: &[usize], file: &str) -> Vec<u8> {
    let dims: Vec<_> = dims.iter().map(|dim| number(1, *dim as u64)).collect();
    let place = message(13, &[&message(1, &[b"location"]), &message(2, &[file.as_bytes()])]);
    let name = message(8, &[name.as_bytes()]);
    message(5, &[&dims.concat(), &number(2, FLOAT), &name, &place, &number(14, 1)])
}

/// A model `y = x * w` of rows of two, and the content of the file `model.onnx.data` beside it, where its weights lie.
pub fn with_weights_beside() -> (Vec<u8>, Vec<u8>) {
    let rows = [Size::Named("batch"), Size::Fixed(2)];
    let model = file(&[
        input("x", FLOAT, &rows),
        output("y", FLOAT, &rows),
        external("w", &[2], "model.onnx.data"),
        node("Mul", &["x", "w"], "y", &[]),
    ]);
    (model, [3.0_f32, 5.0].iter().flat_map(|number| number.to_le_bytes()).collect())
}

/// A node, by the name of its operator.
pub fn node(kind: &str, inputs: &[&str], output: &str, attributes: &[Vec<u8>]) -> Vec<u8> {
    let inputs: Vec<_> = inputs.iter().map(|name| message(1, &[name.as_bytes()])).collect();
    let [out, name] = [2, 3].map(|field| message(field, &[output.as_bytes()]));
    message(1, &[&inputs.concat(), &out, &name, &message(4, &[kind.as_bytes()]), &attributes.concat()])
}

/// A whole number beside a node.
pub fn attribute(name: &str, value: u64) -> Vec<u8> {
    message(5, &[&message(1, &[name.as_bytes()]), &number(3, value), &number(20, 2)])
}

/// Whole numbers beside a node.
pub fn attribute_list(name: &str, values: &[u64]) -> Vec<u8> {
    let values: Vec<_> = values.iter().map(|value| number(8, *value)).collect();
    message(5, &[&message(1, &[name.as_bytes()]), &values.concat(), &number(20, 7)])
}

fn tensor(name: &str, dims: &[usize], kind: u64, numbers: &[u8]) -> Vec<u8> {
    let dims: Vec<_> = dims.iter().map(|dim| number(1, *dim as u64)).collect();
    message(5, &[&dims.concat(), &number(2, kind), &message(8, &[name.as_bytes()]), &message(9, &[numbers])])
}

/// Weights inside the file.
pub fn floats(name: &str, dims: &[usize], numbers: &[f32]) -> Vec<u8> {
    let bytes: Vec<u8> = numbers.iter().flat_map(|number| number.to_le_bytes()).collect();
    tensor(name, dims, FLOAT, &bytes)
}

fn rows(field: u64, name: &str, width: usize) -> Vec<u8> {
    let batch = message(1, &[&message(2, &[b"N"])]);
    let width = message(1, &[&number(1, width as u64)]);
    let kind = message(1, &[&number(1, FLOAT), &message(2, &[&batch, &width])]);
    message(field, &[&message(1, &[name.as_bytes()]), &message(2, &[&kind])])
}

fn model(inputs: usize, outputs: usize, graph: &[Vec<u8>]) -> Vec<u8> {
    let graph =
        [&graph.concat()[..], &message(2, &[b"test"]), &rows(11, "x", inputs), &rows(12, "y", outputs)];
    let opset = message(8, &[&message(1, &[b""]), &number(2, 13)]);
    [number(1, 8), message(7, &graph), opset].concat()
}

/// Looks up a number for each of two, which may be 0 to 4 after `offset` is added; it panics on others.
pub fn lookup(offset: f32) -> Vec<u8> {
    model(
        2,
        2,
        &[
            node("Add", &["x", "offset"], "moved", &[]),
            node("Cast", &["moved"], "index", &[attribute("to", INT64)]),
            node("Gather", &["table", "index"], "y", &[]),
            floats("offset", &[1], &[offset]),
            floats("table", &[5], &[10.0, 11.0, 12.0, 13.0, 14.0]),
        ],
    )
}

/// Computes with `numbers` numbers for each row, and gives back one.
pub fn greedy(numbers: usize) -> Vec<u8> {
    model(
        1,
        1,
        &[
            node("MatMul", &["x", "spread"], "wide", &[]),
            node("Sigmoid", &["wide"], "curved", &[]),
            node("ReduceMax", &["curved"], "y", &[attribute_list("axes", &[1]), attribute("keepdims", 1)]),
            floats("spread", &[1, numbers], &vec![0.5; numbers]),
        ],
    )
}

/// Gives back the largest of `numbers` numbers.
pub fn wide(numbers: usize) -> Vec<u8> {
    let attributes = [attribute_list("axes", &[1]), attribute("keepdims", 1)];
    model(numbers, 1, &[node("ReduceMax", &["x"], "y", &attributes)])
}
