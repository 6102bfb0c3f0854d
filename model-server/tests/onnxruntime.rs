//! ONNX Runtime's library by `ORT_DYLIB_PATH`, which `scripts/onnxruntime` prints: what it computes, and what is said
//! of files, inputs and libraries that are none.

use std::path::{Path, PathBuf};
use std::process::Command;

use model_server::config::{Backend, Device, ModelConfig, ModelSource};
use model_server::model::onnxruntime::{Library, OnnxRuntimeLoader};
use model_server::model::{InferError, Loader, Model, ModelError, backend};
use model_server::repository::Found;
use model_server::tensor::{BatchAxis, DataType, Tensor};
use serve::error_chain;
use testkit::onnx::{FLOAT, INT64, Size, file, floats, input, node, of_opset, output, with_weights_beside};

const BATCH: Size = Size::Named("batch");
const TIME: Size = Size::Named("time");
const TWO: Size = Size::Fixed(2);

fn path() -> PathBuf {
    std::env::var_os("ORT_DYLIB_PATH").expect("ORT_DYLIB_PATH, as scripts/onnxruntime prints it").into()
}

fn load_from(folder: &Path, content: &[u8]) -> Result<Box<dyn Model>, ModelError> {
    let model = folder.join("model.onnx");
    std::fs::write(&model, content).expect("writable");
    OnnxRuntimeLoader::on_cpu(Library::load(&path()).expect("a library"), Some(model)).load()
}

fn load(content: &[u8]) -> Result<Box<dyn Model>, ModelError> {
    load_from(tempfile::tempdir().expect("a folder").path(), content)
}

fn refused(content: &[u8]) -> String {
    error_chain(&load(content).err().expect("no model"))
}

#[test]
fn tensors_of_every_type_and_rank_come_back_as_they_were_given() {
    // ONNX's numbers of types.
    for (kind, datatype) in [
        (1, DataType::Fp32),
        (2, DataType::Uint8),
        (3, DataType::Int8),
        (4, DataType::Uint16),
        (5, DataType::Int16),
        (6, DataType::Int32),
        (7, DataType::Int64),
        (8, DataType::Bytes),
        (9, DataType::Bool),
        (10, DataType::Fp16),
        (11, DataType::Fp64),
        (12, DataType::Uint32),
        (13, DataType::Uint64),
        (16, DataType::Bf16),
    ] {
        for (sizes, shape) in [
            (&[][..], &[][..]),
            (&[BATCH], &[3]),
            (&[BATCH, TWO], &[3, 2]),
            (&[BATCH, TWO, TIME], &[1, 2, 4]),
        ] {
            let identity =
                [input("x", kind, sizes), output("y", kind, sizes), node("Identity", &["x"], "y", &[])];
            let mut model = load(&file(&identity)).expect("it loads");
            let signature = model.signature();
            assert_eq!(signature.inputs[0].datatype, datatype);
            let elements: usize = shape.iter().product();
            let given = match datatype.size() {
                Some(size) => {
                    let bytes: Vec<u8> = (0..elements * size).map(|place| place as u8 % 2).collect();
                    // A part of a request begins anywhere.
                    for offset in 0..size {
                        let mut whole = vec![0; offset];
                        whole.extend(&bytes);
                        let part = bytes::Bytes::from(whole).slice(offset..);
                        let tensor = Tensor::new(datatype, shape.to_vec(), part).expect("a tensor");
                        let answer = model.infer(&[Some(tensor.clone())]).expect("it computes");
                        assert_eq!(answer, [tensor], "{datatype:?} {shape:?} at {offset}");
                    }
                    Tensor::new(datatype, shape.to_vec(), bytes)
                }
                None => {
                    let texts: Vec<String> = (0..elements).map(|place| "é".repeat(place)).collect();
                    Tensor::of_strings(shape.to_vec(), &texts)
                }
            };
            let given = given.expect("a tensor");
            assert_eq!(model.infer(&[Some(given.clone())]).expect("it computes"), [given]);
        }
    }
}

#[test]
fn texts_that_onnx_cannot_hold_are_refused() {
    let identity =
        file(&[input("x", 8, &[BATCH]), output("y", 8, &[BATCH]), node("Identity", &["x"], "y", &[])]);
    let mut model = load(&identity).expect("it loads");
    for bytes in [&b"\xff"[..], b"a\0b"] {
        let texts = Tensor::of_strings(vec![2], &[&b"a"[..], bytes]).expect("a tensor");
        let error = model.infer(&[Some(texts)]).expect_err("no text");
        let expected = "expected UTF-8 without zeros in input \"x\", found something else at 1";
        assert_eq!(error.to_string(), expected);
        assert!(matches!(error, InferError::Invalid(_)), "{error:?}");
    }
}

#[test]
fn rows_are_joined_unless_a_name_says_that_they_are_something_else() {
    for (first, second, expected) in [
        ([BATCH, TIME], [BATCH, TIME], BatchAxis::Dynamic),
        ([Size::Unnamed, TWO], [Size::Unnamed, TWO], BatchAxis::Dynamic),
        ([BATCH, TWO], [Size::Named("other"), TWO], BatchAxis::Dynamic),
        ([BATCH, TIME], [TIME, BATCH], BatchAxis::None),
        ([BATCH, TIME], [TIME, Size::Unnamed], BatchAxis::None),
        ([BATCH, TIME], [Size::Unnamed, BATCH], BatchAxis::None),
        ([Size::Fixed(1), TWO], [Size::Fixed(1), TWO], BatchAxis::Fixed(1)),
    ] {
        let transpose = matches!(expected, BatchAxis::None);
        let kind = if transpose { "Transpose" } else { "Relu" };
        let content =
            file(&[input("x", FLOAT, &first), output("y", FLOAT, &second), node(kind, &["x"], "y", &[])]);
        assert_eq!(load(&content).expect("it loads").signature().batch, expected);
    }
}

#[test]
fn weights_may_lie_in_a_file_beside_the_model() {
    let dir = tempfile::tempdir().expect("a folder");
    let (content, weights) = with_weights_beside();
    let error = error_chain(&load_from(dir.path(), &content).err().expect("no weights"));
    assert!(error.contains("does not exist") && error.contains("model.onnx.data"), "{error}");
    std::fs::write(dir.path().join("model.onnx.data"), &weights[..4]).expect("writable");
    let error = error_chain(&load_from(dir.path(), &content).err().expect("half of the weights"));
    assert!(error.contains("size to read: 8") && error.contains("file_length: 4"), "{error}");
    std::fs::write(dir.path().join("model.onnx.data"), weights).expect("writable");
    let mut model = load_from(dir.path(), &content).expect("it loads");
    let outputs = model.infer(&[Tensor::of(vec![1, 2], &[1.0_f32, 2.0]).ok()]).expect("it computes");
    assert_eq!(outputs, [Tensor::of(vec![1, 2], &[3.0_f32, 10.0]).expect("a tensor")]);
}

#[test]
fn constants_that_a_request_may_replace_are_optional_inputs() {
    let content = file(&[
        input("x", FLOAT, &[BATCH, TWO]),
        input("scale", FLOAT, &[Size::Fixed(1)]),
        floats("scale", &[1], &[2.0]),
        output("y", FLOAT, &[BATCH, TWO]),
        node("Mul", &["x", "scale"], "y", &[]),
    ]);
    let mut model = load(&content).expect("it loads");
    let signature = model.signature().clone();
    assert_eq!(signature.batch, BatchAxis::Dynamic);
    assert_eq!(signature.inputs[1].to_string(), "\"scale\" FP32 [1] (optional)");
    let x = Tensor::of(vec![1, 2], &[1.0_f32, 2.0]).expect("a tensor");
    let scale = Tensor::of(vec![1], &[10.0_f32]).expect("a tensor");
    for (scale, expected) in [(None, [2.0_f32, 4.0]), (Some(scale), [10.0, 20.0])] {
        let outputs = model.infer(&[Some(x.clone()), scale]).expect("it computes");
        assert_eq!(outputs, [Tensor::of(vec![1, 2], &expected).expect("a tensor")]);
    }
}

#[test]
fn an_index_out_of_range_is_the_clients_fault_and_named() {
    let content = file(&[
        input("i", INT64, &[BATCH]),
        output("y", FLOAT, &[BATCH]),
        floats("table", &[5], &[10.0, 11.0, 12.0, 13.0, 14.0]),
        node("Gather", &["table", "i"], "y", &[]),
    ]);
    let mut model = load(&content).expect("it loads");
    let error = model.infer(&[Tensor::of(vec![2], &[1_i64, 7]).ok()]).expect_err("out of range");
    assert!(matches!(error, InferError::Invalid(_)), "{error:?}");
    assert!(error.to_string().contains("idx=7 must be within the inclusive range [-5,4]"), "{error}");
    let outputs = model.infer(&[Tensor::of(vec![2], &[1_i64, -1]).ok()]).expect("it computes");
    assert_eq!(outputs, [Tensor::of(vec![2], &[11.0_f32, 14.0]).expect("a tensor")]);
}

#[test]
fn a_division_of_an_integer_by_zero_is_the_clients_fault() {
    let content = file(&[
        input("x", INT64, &[BATCH]),
        input("z", INT64, &[BATCH]),
        output("y", INT64, &[BATCH]),
        node("Div", &["x", "z"], "y", &[]),
    ]);
    let mut model = load(&content).expect("it loads");
    let mut divide = |by: i64| model.infer(&[6, by].map(|number| Tensor::of(vec![1], &[number]).ok()));
    let error = divide(0).expect_err("by zero");
    assert!(matches!(error, InferError::Invalid(_)), "{error:?}");
    assert!(error.to_string().ends_with("Status Message: Integer division by zero"), "{error}");
    assert_eq!(divide(2).expect("it computes")[0].numbers(), Some(vec![3_i64]));
}

#[test]
fn files_that_cannot_be_served_are_refused_with_the_reason() {
    let doubled = |kind: &str, numbers: u64| {
        [input("x", numbers, &[BATCH]), output("y", numbers, &[BATCH]), node(kind, &["x"], "y", &[])]
    };
    for (content, expected) in [
        (b"hello world\n".to_vec(), "expected ONNX, found something else: it is not protobuf"),
        (of_opset(99, &doubled("Relu", FLOAT)), "Opset 99 is under development"),
        (file(&doubled("Frobnicate", FLOAT)), "No Op registered for Frobnicate"),
        (file(&[input("x", FLOAT, &[BATCH]), output("y", FLOAT, &[BATCH])]), "y"),
        // Of complex numbers.
        (file(&doubled("Identity", 14)), "complex64"),
    ] {
        let error = refused(&content);
        assert!(error.contains("model.onnx is not usable as an ONNX model: "), "{error}");
        assert!(error.contains(expected) && !error.contains("onnxruntime_src"), "{error}");
    }
}

#[test]
fn libraries_that_are_missing_or_something_else_or_too_old_are_refused() {
    let dir = tempfile::tempdir().expect("a folder");
    let text = dir.path().join("text.so");
    std::fs::write(&text, "text").expect("writable");
    let compiled = |name: &str, source: &str| {
        let (code, library) = (dir.path().join(format!("{name}.c")), dir.path().join(name));
        std::fs::write(&code, source).expect("writable");
        let status = Command::new("cc").args(["-shared", "-fPIC", "-o"]).arg(&library).arg(&code).status();
        assert!(status.expect("a C compiler").success());
        library
    };
    let other = compiled("other.so", "int other(void) { return 1; }");
    let old = "static const void *api(unsigned version) { return version > 16 ? 0 : \"\"; }\n\
               static const char *version(void) { return \"1.16.3\"; }\n\
               static const struct { const void *(*api)(unsigned); const char *(*version)(void); } base = { api, version };\n\
               const void *OrtGetApiBase(void) { return &base; }";
    let old = compiled("old.so", old);
    for (path, expected) in [
        (
            Path::new("/none/libonnxruntime.so"),
            "cannot read ONNX Runtime's library /none/libonnxruntime.so: No such file",
        ),
        (&text, "text.so"),
        (&other, "without OrtGetApiBase"),
        (&old, "expected ONNX Runtime 1.20 or later, found 1.16.3 in "),
    ] {
        let error = error_chain(&Library::load(path).err().expect("no library"));
        assert!(error.contains(expected), "{error}");
    }
}

fn config(device: Device, backend: Backend, onnxruntime: Option<PathBuf>) -> ModelConfig {
    ModelConfig {
        source: ModelSource::BuiltIn,
        name: "m".to_owned(),
        backend,
        device,
        onnxruntime,
        intra_op_threads: std::num::NonZeroUsize::MIN,
        signature: None,
        input_width: None,
    }
}

#[test]
fn the_library_is_used_where_it_is_named_and_tract_where_that_is_asked_for() {
    let found = Found { path: None, version: "1".to_owned() };
    let chosen = |backend, onnxruntime| {
        backend::choose(&found, &config(Device::Auto, backend, onnxruntime))
            .map(|chosen| (chosen.backend, chosen.device))
    };
    let runtime = ("onnxruntime", "cpu".to_owned());
    assert_eq!(chosen(Backend::Auto, None).expect("by the environment"), runtime);
    assert_eq!(chosen(Backend::OnnxRuntime, Some(path())).expect("by its name"), runtime);
    assert_eq!(chosen(Backend::Tract, None).expect("in the program"), ("tract", "cpu".to_owned()));
    let error = chosen(Backend::Auto, Some("/none.so".into())).expect_err("named and missing").to_string();
    assert!(error.contains("/none.so"), "{error}");
}

#[test]
fn a_gpu_needs_a_library_for_gpus() {
    let found = Found { path: None, version: "1".to_owned() };
    let error = backend::choose(&found, &config(Device::Cuda(Some(0)), Backend::Auto, None));
    let error = error.err().expect("a library for the CPU").to_string();
    let expected = "expected ONNX Runtime with its CUDA execution provider, as in PyPI's onnxruntime-gpu, found one without it: ";
    assert!(error.starts_with(expected), "{error}");
}
