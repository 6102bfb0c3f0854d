//! What computes. One thread owns a model; the rest of the server only knows this trait.

pub mod onnx;

/// A loaded model.
pub trait Model: Send {
    /// Numbers in a row of input.
    fn inputs(&self) -> usize;

    /// Numbers in a row of output.
    fn outputs(&self) -> usize;

    /// The outputs of `rows` rows that lie behind one another in `input`; as many rows of outputs.
    ///
    /// # Errors
    /// What the model refuses.
    fn infer(&mut self, input: Vec<f32>, rows: usize) -> Result<Vec<f32>, ModelError>;
}

/// Why a model cannot be loaded or does not compute.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct ModelError(pub String);

/// Makes a model for each worker.
pub trait Loader: Send + Sync + 'static {
    /// Loads one more copy.
    ///
    /// # Errors
    /// A file that cannot be read or holds something else.
    fn load(&self) -> Result<Box<dyn Model>, ModelError>;
}
