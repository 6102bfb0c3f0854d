//! What computes. One thread owns a model; the rest of the server only knows this trait.

pub mod backend;
pub mod cause;
mod error;
pub mod file;
pub mod onnx;
#[cfg(feature = "onnxruntime")]
pub mod onnxruntime;
#[cfg(feature = "torch")]
pub mod torch;

use std::path::Path;
use std::sync::Arc;

pub use self::error::{BackendError, InferError, ModelError};
use crate::tensor::{Signature, Tensor};

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
