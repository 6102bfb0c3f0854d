//! ONNX files as exporters write them, computed by tract.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use model_server::model::onnx::OnnxLoader;
use model_server::model::{InferError, Loader, Model, ModelError};
use model_server::tensor::{BatchAxis, Tensor};
use serde_json::json;
use serve::error_chain;
use testkit::onnx::{
    BFLOAT16, FLOAT, INT32, INT64, Size, attribute, attribute_list, file, inner, input, node, of_opset,
    output, with_weights_beside,
};

use crate::support::{self, Options, Server};

const BATCH: Size = Size::Named("batch");
const TWO: Size = Size::Fixed(2);

fn load_from(folder: &Path, content: &[u8]) -> Result<Box<dyn Model>, ModelError> {
    let path = folder.join("model.onnx");
    std::fs::write(&path, content).expect("writable");
    OnnxLoader::new(Some(path)).load()
}

fn load(content: &[u8]) -> Result<Box<dyn Model>, ModelError> {
    load_from(tempfile::tempdir().expect("a folder").path(), content)
}

/// `y = x + x`.
fn doubling(kind: u64, sizes: &[Size]) -> Vec<u8> {
    file(&[input("x", kind, sizes), output("y", kind, sizes), node("Add", &["x", "x"], "y", &[])])
}

#[test]
fn rows_may_be_named_or_not_whatever_the_exporter_noted_inside() {
    let noted = |sizes: &[Size]| {
        file(&[
            input("x", FLOAT, &[BATCH, TWO]),
            output("y", FLOAT, &[BATCH, TWO]),
            inner("sum", FLOAT, sizes),
            node("Add", &["x", "x"], "sum", &[]),
            node("Relu", &["sum"], "y", &[]),
        ])
    };
    for content in [
        doubling(FLOAT, &[BATCH, TWO]),
        doubling(FLOAT, &[Size::Unnamed, TWO]),
        noted(&[Size::Fixed(1), TWO]),
        noted(&[Size::Named("other"), TWO]),
    ] {
        let mut model = load(&content).expect("it loads");
        assert_eq!(model.signature().batch, BatchAxis::Dynamic);
        assert_eq!(model.signature().inputs[0].to_string(), "\"x\" FP32 [-1, 2]");
        for rows in [1, 3] {
            let numbers: Vec<f32> = (0..2 * rows).map(|number| number as f32).collect();
            let outputs = model.infer(&[Tensor::of(vec![rows, 2], &numbers).ok()]).expect("it computes");
            let doubled: Vec<f32> = numbers.iter().map(|number| number * 2.0).collect();
            assert_eq!(outputs, [Tensor::of(vec![rows, 2], &doubled).expect("a tensor")]);
        }
    }
}

#[test]
fn weights_may_lie_in_a_file_beside_the_model() {
    let dir = tempfile::tempdir().expect("a folder");
    let (content, weights) = with_weights_beside();
    let error = error_chain(&load_from(dir.path(), &content).err().expect("no weights"));
    assert!(error.contains("model.onnx.data"), "{error}");
    std::fs::write(dir.path().join("model.onnx.data"), weights).expect("writable");
    let mut model = load_from(dir.path(), &content).expect("it loads");
    let outputs = model.infer(&[Tensor::of(vec![1, 2], &[1.0_f32, 2.0]).ok()]).expect("it computes");
    assert_eq!(outputs[0].numbers(), Some(vec![3.0_f32, 10.0]));
}

#[test]
fn numbers_stay_of_the_type_that_the_file_declares() {
    let mut model = load(&file(&[
        input("x", INT64, &[BATCH]),
        output("y", INT64, &[BATCH]),
        node("Add", &["x", "x"], "sum", &[]),
        node("Sub", &["sum", "x"], "y", &[]),
    ]))
    .expect("it loads");
    // Neither single nor double precision can hold it.
    let exact = [9_007_199_254_740_993_i64];
    let outputs = model.infer(&[Tensor::of(vec![1], &exact).ok()]).expect("it computes");
    assert_eq!(outputs[0].numbers(), Some(exact.to_vec()));
    let mut model = load(&file(&[
        input("x", INT32, &[BATCH]),
        input("z", INT32, &[BATCH]),
        output("y", INT32, &[BATCH]),
        node("Mul", &["x", "z"], "y", &[]),
    ]))
    .expect("it loads");
    let inputs = [46_339, 46_339].map(|number: i32| Tensor::of(vec![1], &[number]).ok());
    // Single precision has 2147302912.
    assert_eq!(model.infer(&inputs).expect("it computes")[0].numbers(), Some(vec![2_147_302_921_i32]));
}

#[test]
fn there_may_be_several_inputs_and_outputs_of_any_rank() {
    let image = [BATCH, Size::Fixed(3), Size::Named("height"), Size::Fixed(2)];
    let mut model = load(&file(&[
        input("image", FLOAT, &image),
        input("shift", FLOAT, &[]),
        output("moved", FLOAT, &image),
        output("largest", FLOAT, &[BATCH, Size::Fixed(3)]),
        node("Add", &["image", "shift"], "moved", &[]),
        node(
            "ReduceMax",
            &["image"],
            "largest",
            &[attribute_list("axes", &[2, 3]), attribute("keepdims", 0)],
        ),
    ]))
    .expect("it loads");
    let signature = model.signature();
    assert_eq!(signature.batch, BatchAxis::None, "a scalar has no rows");
    let declared: Vec<String> =
        signature.inputs.iter().chain(&signature.outputs).map(ToString::to_string).collect();
    assert_eq!(
        declared,
        [
            "\"image\" FP32 [-1, 3, -1, 2]",
            "\"shift\" FP32 []",
            "\"moved\" FP32 [-1, 3, -1, 2]",
            "\"largest\" FP32 [-1, 3]"
        ]
    );
    let numbers: Vec<f32> = (0..12).map(|number| number as f32).collect();
    let inputs = [Tensor::of(vec![1, 3, 2, 2], &numbers).ok(), Tensor::of(vec![], &[0.5_f32]).ok()];
    let outputs = model.infer(&inputs).expect("it computes");
    assert_eq!(
        (outputs[0].shape(), outputs[0].numbers::<f32>().expect("numbers")[11]),
        (&[1, 3, 2, 2][..], 11.5)
    );
    assert_eq!((outputs[1].shape(), outputs[1].numbers()), (&[1, 3][..], Some(vec![3.0_f32, 7.0, 11.0])));
}

#[test]
fn what_tract_cannot_compute_is_refused_by_name() {
    let rows = [BATCH, TWO];
    let by = |kinds: [&str; 2]| {
        file(&[
            input("x", FLOAT, &rows),
            output("y", FLOAT, &rows),
            node(kinds[0], &["x"], "inside", &[]),
            node(kinds[1], &["inside"], "y", &[]),
        ])
    };
    for (content, expected) in [
        (by(["Relu", "Scaler"]), "tract does not know the operator Scaler"),
        (by(["Scaler", "ZipMap"]), "tract does not know the operators Scaler, ZipMap"),
        (
            file(&[input("x", INT32, &rows), output("y", INT32, &rows), node("Mul", &["x", "x"], "y", &[])]),
            "tract computes squares of I32 in single precision",
        ),
        (doubling(BFLOAT16, &rows), "Unknown DatumType Bfloat16"),
        (
            of_opset(
                99,
                &[input("x", FLOAT, &rows), output("y", FLOAT, &rows), node("Relu", &["x"], "y", &[])],
            ),
            "model.onnx is not usable as an ONNX model: expected operators of an opset up to 28, found 99",
        ),
        (
            file(&[output("y", FLOAT, &rows), node("Relu", &["x"], "y", &[])]),
            "expected a node that computes each tensor, found none for x",
        ),
        (
            b"no model".to_vec(),
            "model.onnx is not usable as an ONNX model: expected ONNX, found something else: it is not protobuf",
        ),
    ] {
        let error = load(&content).err().map(|error| error_chain(&error));
        assert!(error.as_ref().is_some_and(|error| error.contains(expected)), "{expected}: {error:?}");
    }
}

/// What a model says of an index that is out of range.
fn refused(model: &mut dyn Model, inputs: &[Option<Tensor>]) -> String {
    match model.infer(inputs).expect_err("an index out of range") {
        InferError::Invalid(error) => error.to_string(),
        other => panic!("{other:?} is not the client's fault"),
    }
}

#[test]
fn an_index_out_of_range_is_the_clients_fault_and_never_reads_from_elsewhere() {
    let (rows, one) = ([BATCH, Size::Named("width")], [BATCH, Size::Fixed(1)]);
    let lookup = |kind: &str, index: &[Size], of: &[Size], attributes: &[Vec<u8>]| {
        file(&[
            input("x", FLOAT, of),
            input("i", INT64, index),
            output("y", FLOAT, &[BATCH, Size::Unnamed]),
            node(kind, &["x", "i"], "y", attributes),
        ])
    };
    let numbers = Tensor::of(vec![2, 3], &[0.0_f32, 1.0, 2.0, 10.0, 11.0, 12.0]).expect("a tensor");
    let index = |shape: &[usize], index: &[i64]| Tensor::of(shape.to_vec(), index).ok();
    for (content, valid, found, invalid, expected) in [
        // An index of 3 in the first row would be the first of the second row, which may be another client's.
        (
            lookup("Gather", &[Size::Fixed(1)], &rows, &[attribute("axis", 1)]),
            index(&[1], &[-1]),
            vec![2.0_f32, 12.0],
            index(&[1], &[3]),
            "expected indices from -3 to 2 for the operator Gather \"y\", found 3",
        ),
        (
            lookup("Gather", &[Size::Fixed(1)], &rows, &[attribute("axis", 1)]),
            index(&[1], &[0]),
            vec![0.0, 10.0],
            index(&[1], &[-4]),
            "expected indices from -3 to 2 for the operator Gather \"y\", found -4",
        ),
        (
            lookup("GatherElements", &one, &rows, &[attribute("axis", 0)]),
            index(&[2, 1], &[1, -2]),
            vec![10.0, 0.0],
            index(&[2, 1], &[1, 2]),
            "expected indices from -2 to 1 for the operator GatherElements \"y\", found 2",
        ),
        (
            lookup("GatherND", &[Size::Fixed(1), TWO], &[BATCH, Size::Fixed(3)], &[]),
            index(&[1, 2], &[-1, 1]),
            vec![11.0],
            index(&[1, 2], &[1, -4]),
            "expected indices from -3 to 2 for the operator GatherNd \"y\", found -4",
        ),
    ] {
        let mut model = load(&content).expect("it loads");
        let outputs = model.infer(&[Some(numbers.clone()), valid]).expect("it computes");
        assert_eq!(outputs[0].numbers(), Some(found));
        assert_eq!(refused(&mut *model, &[Some(numbers.clone()), invalid]), expected);
    }
}

#[test]
fn an_index_out_of_range_is_refused_where_numbers_are_written_too() {
    let five = [Size::Fixed(5)];
    for (kind, index, expected) in [
        ("ScatterElements", &[Size::Fixed(1)][..], "ScatterElements"),
        ("ScatterND", &[Size::Fixed(1), Size::Fixed(1)], "ScatterNd"),
    ] {
        let content = file(&[
            input("x", FLOAT, &five),
            input("i", INT64, index),
            input("u", FLOAT, &[Size::Fixed(1)]),
            output("y", FLOAT, &five),
            node(kind, &["x", "i", "u"], "y", &[]),
        ]);
        let mut model = load(&content).expect("it loads");
        let shape = vec![1; index.len()];
        let inputs = |index: i64| {
            [
                Tensor::of(vec![5], &[0.0_f32, 1.0, 2.0, 3.0, 4.0]).ok(),
                Tensor::of(shape.clone(), &[index]).ok(),
                Tensor::of(vec![1], &[9.0_f32]).ok(),
            ]
        };
        let outputs = model.infer(&inputs(-1)).expect("it computes");
        assert_eq!(outputs[0].numbers(), Some(vec![0.0_f32, 1.0, 2.0, 3.0, 9.0]), "{kind}");
        let expected = format!("expected indices from -5 to 4 for the operator {expected} \"y\", found 5");
        assert_eq!(refused(&mut *model, &inputs(5)), expected);
    }
}

#[test]
fn sizes_that_do_not_fit_together_are_told_without_types_of_the_library() {
    let sizes = [BATCH, Size::Named("time")];
    let mut model = load(&file(&[
        input("a", FLOAT, &sizes),
        input("b", FLOAT, &sizes),
        output("y", FLOAT, &sizes),
        node("Add", &["a", "b"], "y", &[]),
    ]))
    .expect("it loads");
    let tensor = |width: usize| Tensor::of(vec![1, width], &vec![1.0_f32; width]).ok();
    let error = refused(&mut *model, &[tensor(2), tensor(3)]);
    assert_eq!(error, "Clashing resolution for expression. time=2 != 3.");
    assert_eq!(model.infer(&[tensor(2), tensor(2)]).expect("it computes")[0].shape(), [1, 2]);
}

/// Serves a model of a file, warmed.
fn serve(content: &[u8]) -> Server {
    let dir = tempfile::tempdir().expect("a folder");
    let path = dir.path().join("model.onnx");
    std::fs::write(&path, content).expect("writable");
    let loader: Arc<dyn Loader> = Arc::new(OnnxLoader::new(Some(path)));
    let options = Options { max_batch_size: 2, ..Options::default() };
    let loading = Server::loading(options);
    loading.load_by(&loader, &options, 1);
    loading.server
}

#[tokio::test]
async fn what_the_inputs_make_impossible_is_answered_400_and_the_next_request_is_served() {
    let content = file(&[
        input("x", INT32, &[BATCH]),
        input("z", INT32, &[BATCH]),
        output("y", INT32, &[BATCH]),
        node("Div", &["x", "z"], "y", &[]),
    ]);
    let server = serve(&content);
    let ask = |x: &str, z: &str| {
        let tensor = |name: &str, data: &str| {
            let numbers: Vec<i32> = data.split(' ').map(|number| number.parse().expect("a number")).collect();
            json!({"name": name, "shape": [numbers.len()], "datatype": "INT32", "data": numbers})
        };
        json!({"inputs": [tensor("x", x), tensor("z", z)]}).to_string()
    };
    let answer = server.send("POST", "/v2/models/m/infer", &ask("6 7", "2 7")).await;
    assert_eq!((answer.code, answer.json()["outputs"][0]["data"].clone()), (200, json!([3, 1])));
    let answer = server.send("POST", "/v2/models/m/infer", &ask("6 7", "2 0")).await;
    assert_eq!(
        (answer.code, answer.json()["error"].as_str()),
        (400, Some("the model refuses the inputs: it divides an integer by zero"))
    );
    let answer = server.send("POST", "/v2/models/m/infer", &ask("6 8", "2 2")).await;
    assert_eq!((answer.code, answer.json()["outputs"][0]["data"].clone()), (200, json!([3, 4])));
    assert_eq!(server.send("GET", "/v2/health/live", "").await.code, 200);
}

/// `y = x - mean(x)` over all rows: each request that is computed together shows in the answers of all.
fn mixing(rows: Size) -> Vec<u8> {
    file(&[
        input("x", FLOAT, &[rows, TWO]),
        output("y", FLOAT, &[rows, TWO]),
        node("ReduceMean", &["x"], "mean", &[attribute_list("axes", &[0]), attribute("keepdims", 1)]),
        node("Sub", &["x", "mean"], "y", &[]),
    ])
}

#[tokio::test]
async fn where_the_number_of_rows_is_fixed_requests_are_computed_alone() {
    let dir = tempfile::tempdir().expect("a folder");
    for rows in [1, 2] {
        let path = dir.path().join(format!("{rows}.onnx"));
        std::fs::write(&path, mixing(Size::Fixed(rows))).expect("writable");
        let loader: Arc<dyn Loader> = Arc::new(OnnxLoader::new(Some(path)));
        let options =
            Options { max_batch_size: 32, max_batch_delay: Duration::from_millis(5), ..Options::default() };
        let loading = Server::loading(options);
        loading.load_by(&loader, &options, 1);
        let server = loading.server;
        let clients = (0..8).map(|client| {
            let router = server.router.clone();
            tokio::spawn(async move {
                let numbers: Vec<f64> =
                    (0..2 * rows).map(|number| f64::from(client) + number as f64).collect();
                let input = json!({"name": "x", "shape": [rows, 2], "datatype": "FP32", "data": numbers});
                let body = json!({"inputs": [input]}).to_string();
                let request =
                    axum::http::Request::post("/v2/models/m/infer").body(body.into()).expect("valid");
                support::ask(router, request).await.json()["outputs"][0]["data"].clone()
            })
        });
        let expected = if rows == 1 { json!([0.0, 0.0]) } else { json!([-1.0, -1.0, 1.0, 1.0]) };
        for client in clients.collect::<Vec<_>>() {
            assert_eq!(client.await.expect("no panic"), expected);
        }
        let wrong = server.send("POST", "/v2/models/m/infer", &body_of(3)).await;
        assert_eq!(
            (wrong.code, wrong.json()["error"].as_str().map(|text| text.contains("[3, 2]"))),
            (400, Some(true))
        );
        assert_eq!(server.metric("inference_max_batch_size"), rows as f64);
        let predict = server.send("POST", "/predict", r#"{"features":[1,2]}"#).await;
        if rows == 1 {
            assert_eq!(predict.code, 200, "{}", predict.text());
        } else {
            assert_eq!(predict.code, 400);
            assert!(predict.text().contains("POST /v2/models/m/infer serves it"), "{}", predict.text());
        }
    }
}

fn body_of(rows: usize) -> String {
    let input = json!({"name": "x", "shape": [rows, 2], "datatype": "FP32", "data": vec![0; 2 * rows]});
    json!({"inputs": [input]}).to_string()
}
