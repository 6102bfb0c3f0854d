//! Models compute what PyTorch computes: `pytorch/generate.py` had it do so, alone, for ten thousand vectors.

use std::path::{Path, PathBuf};

use model_server::model::Model;
#[cfg(feature = "torch")]
use model_server::model::torch::TorchLoader;
use model_server::model::{Loader, onnx::OnnxLoader};
use model_server::tensor::{BatchAxis, Tensor};

/// The generator of `models/generate.py`.
struct Random(u64);

impl Random {
    /// From 0 to 1.
    fn single(&mut self) -> f32 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let centred = ((self.0 >> 11) as f64 / 2_f64.powi(53) - 0.5) as f32;
        (f64::from(centred) + 0.5) as f32
    }
}

fn vectors() -> Vec<f32> {
    let mut random = Random(SEED);
    (0..VECTORS * FEATURES).map(|_| random.single()).collect()
}

fn predictions() -> Vec<f32> {
    let bytes = std::fs::read(pytorch("predictions.f32")).expect("readable");
    let (numbers, rest) = bytes.as_chunks();
    assert_eq!((numbers.len(), rest.len()), (VECTORS * CLASSES, 0));
    numbers.iter().map(|number| f32::from_le_bytes(*number)).collect()
}

fn pytorch(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/pytorch").join(name)
}

/// What a model computes for all vectors, `rows` at a time.
fn computed(model: &mut dyn Model, vectors: &[f32], rows: usize) -> Vec<f32> {
    let batches = vectors.chunks(rows * FEATURES);
    let computed = batches.flat_map(|batch| {
        let input = Tensor::of(vec![batch.len() / FEATURES, FEATURES], batch).expect("whole rows");
        let outputs = model.infer(&[Some(input)]).expect("it computes");
        outputs[0].numbers::<f32>().expect("single precision")
    });
    computed.collect()
}

fn largest_difference(some: &[f32], others: &[f32]) -> f32 {
    assert_eq!(some.len(), others.len());
    some.iter().zip(others).map(|(some, other)| (some - other).abs()).fold(0.0, f32::max)
}

/// Alone, in full batches, and in batches that no width of a processor divides.
const ROWS: [usize; 3] = [1, 32, 7];

#[test]
fn onnx_computes_what_pytorch_does() {
    let (vectors, predictions) = (vectors(), predictions());
    let mut model = OnnxLoader::new(None).load().expect("the built-in model loads");
    let signature = model.signature().clone();
    assert_eq!(signature.inputs[0].to_string(), format!("\"features\" FP32 [-1, {FEATURES}]"));
    assert_eq!(signature.outputs[0].to_string(), format!("\"prediction\" FP32 [-1, {CLASSES}]"));
    assert_eq!(signature.batch, BatchAxis::Dynamic);
    for rows in ROWS {
        let difference = largest_difference(&computed(&mut *model, &vectors, rows), &predictions);
        assert!(difference <= TOLERANCE, "{difference:e} in batches of {rows}");
    }
}

#[cfg(feature = "torch")]
#[test]
fn torchscript_computes_what_pytorch_does() {
    let (vectors, predictions) = (vectors(), predictions());
    let mut model = TorchLoader::on_cpu(&pytorch("linear.pt")).load().expect("it loads");
    for rows in ROWS {
        let difference = largest_difference(&computed(&mut *model, &vectors, rows), &predictions);
        assert!(difference <= TOLERANCE, "{difference:e} in batches of {rows}");
    }
}

/// Predictions are up to 1.2, where neighbouring numbers are 0.12e-6 apart. PyTorch adds products in blocks, tract one
/// after the other, which loses a little more.
const TOLERANCE: f32 = 1e-6;
/// As in `pytorch/generate.py`.
const SEED: u64 = 10_000;
const VECTORS: usize = 10_000;
const FEATURES: usize = 768;
const CLASSES: usize = 2;
