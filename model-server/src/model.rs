//! What computes. One thread owns a model; the rest of the server only knows this trait.

pub mod backend;
pub mod cause;
pub mod file;
pub mod onnx;
#[cfg(feature = "torch")]
pub mod torch;

use std::sync::Arc;

/// A loaded model.
pub trait Model: Send {
    /// What it takes and gives.
    fn shape(&self) -> &Shape;

    /// The outputs of `rows` rows that lie behind one another in `input`; as many rows of outputs.
    ///
    /// # Errors
    /// What the model refuses, or has no memory for.
    fn infer(&mut self, input: &[f32], rows: usize) -> Result<Vec<f32>, InferError>;
}

/// What a model takes and gives: rows of numbers, any number of them at a time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shape {
    /// What it takes.
    pub input: TensorShape,
    /// What it gives.
    pub output: TensorShape,
}

/// One tensor, a batch of rows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TensorShape {
    /// Its name in the model's file.
    pub name: String,
    /// Numbers in a row.
    pub width: usize,
}

/// Why a model cannot be loaded or does not compute.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct ModelError(pub String);

/// Why a model does not compute.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InferError {
    /// It refuses these rows, alone or together.
    #[error(transparent)]
    Refused(#[from] ModelError),
    /// There is no memory for so many rows; fewer may do.
    #[error("out of memory: {0}")]
    OutOfMemory(String),
    /// The device seems to be broken.
    #[error("the device failed: {0}")]
    Device(String),
}

impl From<InferError> for ModelError {
    fn from(error: InferError) -> ModelError {
        ModelError(error.to_string())
    }
}

/// Makes a model for each worker, and a new one after a panic.
pub trait Loader: Send + Sync + 'static {
    /// Loads one more copy.
    ///
    /// # Errors
    /// A file that cannot be read or holds something else.
    fn load(&self) -> Result<Box<dyn Model>, ModelError>;
}

/// What computes, and where.
pub struct Chosen {
    /// Makes models.
    pub loader: Arc<dyn Loader>,
    /// The backend's name: `onnx` or `torch`.
    pub backend: &'static str,
    /// The device's name: `cpu`, or `cuda:N`.
    pub device: String,
}
