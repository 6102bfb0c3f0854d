//! TorchScript models, made here by tracing: what they compute, and what is said of files that are none.

use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

use model_server::config::{Backend, Device, ModelConfig, ModelSource};
use model_server::model::backend::{self, Chosen};
use model_server::model::{Model, ModelError};
use model_server::repository::Found;
use tch::{CModule, Tensor};

fn config(backend: Backend, device: Device) -> ModelConfig {
    ModelConfig {
        source: ModelSource::BuiltIn,
        name: "m".to_owned(),
        backend,
        device,
        intra_op_threads: NonZeroUsize::MIN,
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
    let mut trained = |inputs: &[Tensor]| vec![inputs[0].linear(&w, Some(&b)).softmax(-1, tch::Kind::Float)];
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
    assert_eq!((model.shape().input.width, model.shape().output.width), (3, 2));
    let rows = [1.0, 2.0, 3.0, -0.5, 0.25, 8.0, 0.0, 0.0, 0.0];
    let output = model.infer(rows.to_vec(), 3).expect("it computes");
    let wanted: Vec<f64> = rows.chunks(3).flat_map(|row| expected(row, &weights, bias)).collect();
    assert_eq!(output.len(), wanted.len());
    for (found, wanted) in output.iter().zip(&wanted) {
        assert!((f64::from(*found) - wanted).abs() < 1e-6, "{found} {wanted}");
    }
}

#[test]
fn a_width_that_the_model_does_not_take_is_told() {
    let dir = tempfile::tempdir().expect("a folder");
    let (path, ..) = linear(dir.path());
    let mut config = config(Backend::Torch, Device::Cpu);
    config.input_width = NonZeroUsize::new(5);
    let error = choose(&path, &config).expect("a backend").loader.load().err().expect("refused");
    assert!(error.to_string().contains("is not usable as a TorchScript model"), "{error}");
    assert!(!error.to_string().contains('\n'), "{error}");
    // What was traced has constants, and no weights by their names.
    config.input_width = None;
    let error = choose(&path, &config).expect("a backend").loader.load().err().expect("refused");
    assert!(error.to_string().contains("--input-width says it"), "{error}");
}

#[test]
fn other_files_are_told_by_what_they_are() {
    let dir = tempfile::tempdir().expect("a folder");
    let path = dir.path().join("model");
    std::fs::write(&path, b"\x80\x02}q").expect("writable");
    let error = choose(&path, &config(Backend::Torch, Device::Cpu)).err().expect("refused");
    assert!(error.to_string().starts_with("expected a TorchScript file, found a Python pickle"), "{error}");
    let error = choose(&path, &config(Backend::Auto, Device::Cpu)).err().expect("refused");
    assert!(error.to_string().starts_with("expected an ONNX or TorchScript file, found"), "{error}");
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
            let on_gpu = chosen.loader.load().expect("it loads").infer(rows.clone(), 1).expect("it computes");
            let on_cpu = load(&path, &config).infer(rows, 1).expect("it computes");
            for (gpu, cpu) in on_gpu.iter().zip(&on_cpu) {
                assert!((gpu - cpu).abs() < 1e-5, "{gpu} {cpu}");
            }
            config.device = Device::Cuda(Some(1000));
            let error = choose(&path, &config).err().expect("refused");
            assert!(error.to_string().starts_with("expected a GPU number 1000, found "), "{error}");
        }
        Err(error) => {
            assert!(error.to_string().starts_with("expected a GPU, found none: "), "{error}");
            config.device = Device::Auto;
            assert_eq!(choose(&path, &config).expect("the CPU").device, "cpu");
        }
    }
}

#[test]
fn the_program_serves_it() {
    let dir = tempfile::tempdir().expect("a folder");
    let (path, ..) = linear(dir.path());
    let path = path.to_str().expect("text");
    let run = |device: &str| {
        let arguments = ["check", "--model", path, "--input-width=3", "--device", device, "--workers=2"];
        std::process::Command::new(env!("CARGO_BIN_EXE_model-server"))
            .args(arguments)
            .output()
            .expect("it runs")
    };
    let output = run("cpu");
    let text = String::from_utf8(output.stdout).expect("text");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(
        text.contains(r#"by torch on cpu: input "input__0" [-1, 3], output "output__0" [-1, 2]: ok"#),
        "{text}"
    );
    // A device that is not there is never replaced by another.
    let output = run("cuda:1000");
    let errors = String::from_utf8(output.stderr).expect("text");
    assert_eq!(output.status.code(), Some(2), "{errors}");
    assert!(errors.contains("expected a GPU"), "{errors}");
}
