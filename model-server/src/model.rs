//! What computes. One thread owns a model; the rest of the server only knows this trait.

pub mod backend;
pub mod cause;
pub mod file;
pub mod onnx;
#[cfg(feature = "onnxruntime")]
pub mod onnxruntime;
#[cfg(feature = "torch")]
pub mod torch;

use std::path::Path;
use std::sync::Arc;

use crate::tensor::{Signature, Tensor, TensorError};

/// A loaded model.
pub trait Model: Send {
    /// What it takes and gives.
    fn signature(&self) -> &Signature;

    /// Executes once. `inputs` has a tensor for each input of the signature, in its order, each as it is declared
    /// there; `None` for an optional one that is left out. The result has a tensor for each output, in order.
    ///
    /// # Errors
    /// What the model refuses, or has no memory for.
    fn infer(&mut self, inputs: &[Option<Tensor>]) -> Result<Vec<Tensor>, InferError>;
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
    /// It says what is wrong with these inputs, as an index that is out of range.
    #[error(transparent)]
    Invalid(ModelError),
    /// There is no memory for this number of rows; fewer may do.
    #[error("out of memory: {0}")]
    OutOfMemory(String),
    /// The device seems to be broken.
    #[error("the device failed: {0}")]
    Device(String),
}

/// A library that gives something else than it declares.
impl From<TensorError> for InferError {
    fn from(error: TensorError) -> InferError {
        InferError::Refused(error.into())
    }
}

impl From<TensorError> for ModelError {
    fn from(error: TensorError) -> ModelError {
        ModelError(error.to_string())
    }
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

    /// What it loads, for people: a file.
    fn name(&self) -> String {
        "the model".to_owned()
    }
}

/// A model, for people: its file, or the built-in one.
pub(crate) fn name_of(path: Option<&Path>) -> String {
    path.map_or_else(|| "the built-in model".to_owned(), |path| path.display().to_string())
}

/// What computes, and where.
pub struct Chosen {
    /// Makes models.
    pub loader: Arc<dyn Loader>,
    /// The backend's name: `onnxruntime`, `tract` or `torch`.
    pub backend: &'static str,
    /// The device's name: `cpu`, or `cuda:N`.
    pub device: String,
}
