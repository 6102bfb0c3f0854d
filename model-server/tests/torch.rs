//! TorchScript models, as PyTorch wrote them or traced here: what they compute, and what is said of files that are
//! none. `parity.rs` compares what they compute with PyTorch.

use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

use model_server::config::{Backend, DeclaredTensors, Device, ModelConfig, ModelSource};
use model_server::model::backend::{self, Chosen};
use model_server::model::{InferError, Model, ModelError};
use model_server::repository::Found;
use model_server::tensor::{BatchAxis, DataType, Dim, Tensor as Numbers, TensorSpec};
use serve::error_chain;
use tch::{CModule, Kind, Tensor};

fn config(backend: Backend, device: Device) -> ModelConfig {
    ModelConfig {
        source: ModelSource::BuiltIn,
        name: "m".to_owned(),
        backend,
        device,
        onnxruntime: None,
        intra_op_threads: NonZeroUsize::MIN,
        signature: None,
        input_width: None,
    }
}

fn choose(path: &Path, config: &ModelConfig) -> Result<Chosen, ModelError> {
    let found = Found { path: Some(path.to_owned()), version: "1".to_owned() };
    backend::choose(&found, config)
}

/// A module that computes `softmax(x W + b)` of three numbers in and two out, and where it lies.
fn linear(dir: &Path) -> (PathBuf, [[f32; 3]; 2], [f32; 2]) {
    let (weights, bias) = ([[0.5, -1.0, 0.25], [1.5, 0.0, -0.75]], [0.125, -0.5]);
    // Made before the trace, which would take down how they are made, but not their numbers.
    let (w, b) = (Tensor::from_slice2(&weights), Tensor::from_slice(&bias));
    let mut trained = |inputs: &[Tensor]| vec![inputs[0].linear(&w, Some(&b)).softmax(-1, Kind::Float)];
    let example = Tensor::from_slice(&[1.0_f32, 2.0, 3.0]).view([1, 3]);
    let module =
        CModule::create_by_tracing("Linear", "forward", &[example], &mut trained).expect("it traces");
    let path = dir.join("model.pt");
    module.save(&path).expect("writable");
    (path, weights, bias)
}

fn expected(row: &[f32], weights: &[[f32; 3]; 2], bias: [f32; 2]) -> Vec<f64> {
    let product = |weights: &[f32; 3]| {
        weights.iter().zip(row).map(|(weight, x)| f64::from(*weight) * f64::from(*x)).sum::<f64>()
    };
    let scores: Vec<f64> =
        weights.iter().zip(bias).map(|(weights, bias)| (product(weights) + f64::from(bias)).exp()).collect();
    let sum: f64 = scores.iter().sum();
    scores.into_iter().map(|score| score / sum).collect()
}

/// A file that PyTorch wrote.
fn pytorch(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/pytorch").join(name)
}

/// What a model computes for `rows` rows of single precision.
fn infer(model: &mut dyn Model, numbers: &[f32], rows: usize) -> Result<Vec<f32>, InferError> {
    let input = Numbers::of(vec![rows, numbers.len() / rows], numbers).expect("whole rows");
    let outputs = model.infer(&[Some(input)])?;
    Ok(outputs[0].numbers().expect("single precision"))
}

/// Inputs and outputs of a model, for people.
fn tensors(model: &dyn Model) -> String {
    let signature = model.signature();
    signature.inputs.iter().chain(&signature.outputs).map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

fn load(path: &Path, config: &ModelConfig) -> Box<dyn Model> {
    choose(path, config).expect("a backend").loader.load().expect("it loads")
}

#[test]
fn a_traced_model_computes_what_it_should() {
    let dir = tempfile::tempdir().expect("a folder");
    let (path, weights, bias) = linear(dir.path());
    let mut config = config(Backend::Auto, Device::Cpu);
    config.input_width = NonZeroUsize::new(3);
    let chosen = choose(&path, &config).expect("a backend");
    assert_eq!((chosen.backend, chosen.device.as_str()), ("torch", "cpu"));
    let mut model = chosen.loader.load().expect("it loads");
    assert_eq!(tensors(&*model), r#""input__0" FP32 [-1, 3], "output__0" FP32 [-1, 2]"#);
    let rows = [1.0, 2.0, 3.0, -0.5, 0.25, 8.0, 0.0, 0.0, 0.0];
    let output = infer(&mut *model, &rows, 3).expect("it computes");
    let wanted: Vec<f64> = rows.chunks(3).flat_map(|row| expected(row, &weights, bias)).collect();
    assert_eq!(output.len(), wanted.len());
    for (found, wanted) in output.iter().zip(&wanted) {
        assert!((f64::from(*found) - wanted).abs() < 1e-6, "{found} {wanted}");
    }
}

#[test]
fn predictions_are_those_of_libtorch_to_the_bit() {
    let path = pytorch("linear.pt");
    let mut model = load(&path, &config(Backend::Auto, Device::Auto));
    // The width is found in the weights.
    assert_eq!(tensors(&*model), r#""input__0" FP32 [-1, 768], "output__0" FP32 [-1, 2]"#);
    let module = CModule::load(&path).expect("it loads");
    for rows in [1, 2, 32, 33] {
        let input: Vec<f32> = (0..rows * 768).map(|n| ((n * 7919) % 2003) as f32 / 1000.0 - 1.0).collect();
        let tensor = Tensor::from_slice(&input).view([rows as i64, 768]);
        let wanted = Vec::<f32>::try_from(module.forward_ts(&[tensor]).expect("it computes").view([-1]));
        assert_eq!(
            infer(&mut *model, &input, rows).expect("it computes"),
            wanted.expect("numbers"),
            "{rows} rows"
        );
    }
}

#[test]
fn a_configuration_beside_the_file_says_what_it_takes_and_gives() {
    let dir = tempfile::tempdir().expect("a folder");
    let path = dir.path().join("model.pt");
    std::fs::copy(pytorch("named.pt"), &path).expect("writable");
    std::fs::write(
        dir.path().join("config.pbtxt"),
        r#"
            max_batch_size: 8
            input [
              { name: "ids" data_type: TYPE_INT64 dims: [ -1 ] },
              { name: "mask" data_type: TYPE_BOOL dims: [ -1 ] optional: true }
            ]
            output [
              { name: "chosen" data_type: TYPE_BOOL dims: [ -1 ] },
              { name: "half" data_type: TYPE_FP16 dims: [ -1 ] }
            ]
        "#,
    )
    .expect("writable");
    let mut model = load(&path, &config(Backend::Auto, Device::Cpu));
    assert_eq!(
        tensors(&*model),
        r#""ids" INT64 [-1, -1], "mask" BOOL [-1, -1] (optional), "chosen" BOOL [-1, -1], "half" FP16 [-1, -1]"#
    );
    let ids = Numbers::of(vec![1, 3], &[2_i64, -4, 6]).expect("a tensor");
    let truths = |bytes: [u8; 3]| Numbers::new(DataType::Bool, vec![1, 3], bytes.to_vec()).expect("a tensor");
    // Of 1, 2 and 3 in half precision, and 0.
    let half = |words: [u16; 3]| {
        let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
        Numbers::new(DataType::Fp16, vec![1, 3], bytes).expect("a tensor")
    };
    let outputs = model.infer(&[Some(ids.clone()), None]).expect("it computes");
    assert_eq!(outputs, [truths([1, 0, 1]), half([0x3c00, 0, 0x4200])]);
    let outputs = model.infer(&[Some(ids), Some(truths([0, 1, 0]))]).expect("it computes");
    assert_eq!(outputs, [truths([0, 1, 0]), half([0, 0xc000, 0])]);
}

#[test]
fn flags_declare_inputs_and_executions_show_outputs() {
    let double = TensorSpec {
        name: "x".to_owned(),
        datatype: DataType::Fp64,
        shape: Some(vec![Dim::Dynamic, Dim::Fixed(2)]),
        optional: false,
    };
    let mut config = config(Backend::Auto, Device::Cpu);
    let declared = |outputs| Some(DeclaredTensors { inputs: vec![double.clone()], outputs });
    config.signature = declared(Vec::new());
    let mut model = load(&pytorch("pairs.pt"), &config);
    let outputs = r#""output__0" FP64 [-1, 2], "output__1" INT64 [-1, 2], "output__2" INT32 [-1]"#;
    assert_eq!(tensors(&*model), format!(r#""x" FP64 [-1, 2], {outputs}"#));
    assert_eq!(model.signature().batch, BatchAxis::Dynamic);
    let input = Numbers::of(vec![2, 2], &[0.5, 1.0, -3.0, 7.5]).expect("a tensor");
    let outputs = model.infer(&[Some(input.clone())]).expect("it computes");
    assert_eq!(outputs[0].numbers(), Some(vec![1.0, 2.0, -6.0, 15.0]));
    assert_eq!(outputs[1].numbers(), Some(vec![0_i64, 1, -3, 7]));
    assert_eq!(outputs[2].numbers(), Some(vec![1_i32, 4]));
    config.signature = declared(vec![double.clone()]);
    let error = load(&pytorch("pairs.pt"), &config).infer(&[Some(input)]).expect_err("three outputs");
    assert!(error.to_string().starts_with("expected 1 outputs, found 3"), "{error}");
}

#[test]
fn a_width_that_the_model_does_not_take_is_told() {
    let dir = tempfile::tempdir().expect("a folder");
    let (path, ..) = linear(dir.path());
    let mut config = config(Backend::Torch, Device::Cpu);
    config.input_width = NonZeroUsize::new(5);
    let error = choose(&path, &config).expect("a backend").loader.load().err().expect("refused");
    // The cause, which is the last line of many.
    let cause = "RuntimeError: mat1 and mat2 shapes cannot be multiplied (1x5 and 3x2)";
    let expected = format!("{} is not usable as a TorchScript model: {cause}", path.display());
    assert_eq!(error_chain(&error), expected);
    // What was traced has constants, and no weights by their names.
    config.input_width = None;
    let error = choose(&path, &config).expect("a backend").loader.load().err().expect("refused");
    assert!(error.to_string().contains("--input-width says it"), "{error}");
}

#[test]
fn an_index_out_of_range_is_the_clients_fault() {
    let dir = tempfile::tempdir().expect("a folder");
    let path = dir.path().join("lookup.pt");
    let table = Tensor::from_slice(&[10.0_f32, 11.0, 12.0]);
    let mut lookup = |inputs: &[Tensor]| vec![table.index_select(0, &inputs[0])];
    CModule::create_by_tracing("Lookup", "forward", &[Tensor::from_slice(&[0_i64])], &mut lookup)
        .expect("it traces")
        .save(&path)
        .expect("writable");
    let mut config = config(Backend::Torch, Device::Cpu);
    let index = TensorSpec {
        name: "i".to_owned(),
        datatype: DataType::Int64,
        shape: Some(vec![Dim::Dynamic]),
        optional: false,
    };
    config.signature = Some(DeclaredTensors { inputs: vec![index], outputs: Vec::new() });
    let mut model = load(&path, &config);
    let error = model.infer(&[Numbers::of(vec![2], &[1_i64, 3]).ok()]).expect_err("out of range");
    assert!(
        matches!(&error, InferError::Invalid(cause) if cause.to_string().contains("out of range")),
        "{error:?}"
    );
    let outputs = model.infer(&[Numbers::of(vec![2], &[2_i64, 0]).ok()]).expect("it computes");
    assert_eq!(outputs[0].numbers(), Some(vec![12.0_f32, 10.0]));
}

#[test]
fn a_lack_of_memory_is_told_from_other_trouble() {
    let dir = tempfile::tempdir().expect("a folder");
    let path = dir.path().join("greedy.pt");
    // As much again as there is for each row but the first: no machine has that memory.
    let mut greedy = |inputs: &[Tensor]| {
        let rows = &inputs[0];
        let spread = rows.slice(0, 1, None, 1).sum_dim_intlist([1_i64].as_slice(), true, Kind::Float);
        let much = spread.expand([-1, 1 << 50], false) + 1.0;
        vec![rows + much.sum(Kind::Float)]
    };
    let example = Tensor::from_slice(&[1.0_f32, 2.0]).view([1, 2]);
    CModule::create_by_tracing("Greedy", "forward", &[example], &mut greedy)
        .expect("it traces")
        .save(&path)
        .expect("writable");
    let mut config = config(Backend::Torch, Device::Cpu);
    config.input_width = NonZeroUsize::new(2);
    let mut model = load(&path, &config);
    assert_eq!(infer(&mut *model, &[1.0, 2.0], 1).expect("it computes"), [1.0, 2.0]);
    let error = infer(&mut *model, &[1.0; 4], 2).expect_err("no memory");
    assert!(matches!(&error, InferError::OutOfMemory(text) if text.contains("memory")), "{error}");
    assert_eq!(infer(&mut *model, &[3.0, 4.0], 1).expect("it computes"), [3.0, 4.0]);
}

#[test]
fn other_files_are_told_by_what_they_are() {
    let onnx = Path::new(env!("CARGO_MANIFEST_DIR")).join("models/linear.onnx");
    let garbage = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(garbage.path(), b"no model").expect("writable");
    let damaged = tempfile::NamedTempFile::new().expect("a file");
    let whole = std::fs::read(pytorch("linear.pt")).expect("readable");
    std::fs::write(damaged.path(), &whole[..whole.len() / 2]).expect("writable");
    for (path, found) in [
        (pytorch("weights.pt").as_path(), "PyTorch weights without a program (torch.save"),
        (&pytorch("weights-1.5.pt"), "a Python pickle, which is never read"),
        (&pytorch("program.pt2"), "a torch.export archive"),
        (&onnx, "something that may be ONNX"),
        (garbage.path(), "something that may be ONNX"),
        (damaged.path(), "a zip archive that is no model"),
    ] {
        let error = choose(path, &config(Backend::Torch, Device::Cpu)).err().expect("refused").to_string();
        assert!(error.starts_with(&format!("expected a TorchScript file, found {found}")), "{error}");
        assert!(error.ends_with(&format!(" in {}", path.display())), "{error}");
    }
    let error = choose(&pytorch("weights.pt"), &config(Backend::Auto, Device::Cpu)).err().expect("refused");
    assert!(error.to_string().starts_with("expected an ONNX or TorchScript file, found"), "{error}");
}

#[test]
fn a_damaged_program_is_told() {
    let mut content = std::fs::read(pytorch("linear.pt")).expect("readable");
    let place = content.windows(7).position(|window| window == b"forward").expect("a program");
    content[place..place + 7].copy_from_slice(b"forwarx");
    let file = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(file.path(), content).expect("writable");
    let chosen = choose(file.path(), &config(Backend::Auto, Device::Cpu)).expect("a backend");
    let error = error_chain(&chosen.loader.load().err().expect("refused"));
    assert!(
        error.starts_with(&format!("{} is not usable as a TorchScript model: ", file.path().display())),
        "{error}"
    );
    assert!(!error.contains('\n'), "{error}");
}

#[test]
fn a_gpu_that_is_asked_for_is_used_or_its_absence_told() {
    let dir = tempfile::tempdir().expect("a folder");
    let (path, ..) = linear(dir.path());
    let mut config = config(Backend::Auto, Device::Cuda(None));
    config.input_width = NonZeroUsize::new(3);
    match choose(&path, &config) {
        Ok(chosen) => {
            assert_eq!(chosen.device, "cuda:0");
            config.device = Device::Cpu;
            let rows = vec![1.0, 2.0, 3.0];
            let mut on_gpu = chosen.loader.load().expect("it loads");
            let on_gpu = infer(&mut *on_gpu, &rows, 1).expect("it computes");
            let on_cpu = infer(&mut *load(&path, &config), &rows, 1).expect("it computes");
            for (gpu, cpu) in on_gpu.iter().zip(&on_cpu) {
                assert!((gpu - cpu).abs() < 1e-5, "{gpu} {cpu}");
            }
            config.device = Device::Cuda(Some(1000));
            let error = choose(&path, &config).err().expect("refused");
            assert!(error.to_string().starts_with("expected a GPU number 1000, found "), "{error}");
        }
        Err(error) => {
            assert!(error_chain(&error).starts_with("expected a GPU, found none: "), "{error}");
            config.device = Device::Auto;
            assert_eq!(choose(&path, &config).expect("the CPU").device, "cpu");
        }
    }
}

#[test]
fn the_program_checks_it() {
    let path = pytorch("linear.pt");
    let output = program(&["check", "--device=cpu", "--workers=2"], &path);
    let text = String::from_utf8(output.stdout).expect("text");
    let log = String::from_utf8(output.stderr).expect("text");
    assert!(output.status.success(), "{log}");
    for line in ["backend chosen by the file", "loading a TorchScript file runs its author's code"] {
        assert!(log.contains(line), "no {line:?} in {log}");
    }
    let tensors = r#"input "input__0" FP32 [-1, 768], output "output__0" FP32 [-1, 2]"#;
    let expected = format!("by torch on cpu: {tensors}, batches of up to 32 rows: ok");
    assert!(text.contains(&expected), "{text}");
}

#[test]
fn a_device_that_is_not_there_is_never_replaced_by_another() {
    for command in [vec!["check"], vec!["--listen=127.0.0.1:0"]] {
        let output = program(&[command, vec!["--device=cuda:1000"]].concat(), &pytorch("linear.pt"));
        let errors = String::from_utf8(output.stderr).expect("text");
        assert_eq!(output.status.code(), Some(2), "{errors}");
        assert!(errors.contains("expected a GPU"), "{errors}");
        assert!(!errors.contains("listening"), "{errors}");
    }
}

/// What the program says of a model, and how it ends.
fn program(arguments: &[&str], model: &Path) -> std::process::Output {
    let mut program = std::process::Command::new(env!("CARGO_BIN_EXE_model-server"));
    program.args(arguments).arg("--model").arg(model).output().expect("it runs")
}
