//! Why workers cannot start, and why one does not compute a request.

use std::error::Error;
use std::io;
use std::path::PathBuf;

use crate::model::{BackendError, InferError, ModelError};
use crate::tensor::TensorError;

/// Why the workers cannot start.
#[derive(Debug, thiserror::Error)]
pub enum PoolError {
    /// There are none.
    #[error("expected at least one worker")]
    NoWorkers,
    /// The model cannot be loaded.
    #[error(transparent)]
    Load(#[from] ModelError),
    /// The model does not compute what it is warmed with.
    #[error(transparent)]
    Warmup(#[from] WarmupError),
    /// The operating system refuses a thread.
    #[error("no thread for a worker")]
    Thread(#[source] io::Error),
}

/// A model that cannot be warmed up.
#[derive(Debug, thiserror::Error)]
#[error("{model} cannot be warmed up")]
pub struct WarmupError {
    /// Its file, or the built-in model.
    pub model: String,
    /// The reason.
    #[source]
    pub fault: Box<WarmupFault>,
}

/// Why a model cannot be warmed up.
#[derive(Debug, thiserror::Error)]
pub enum WarmupFault {
    /// What it is to be warmed with cannot be used.
    #[error(transparent)]
    Input(#[from] WarmupInputError),
    /// Zeros in its shape cannot be made.
    #[error(transparent)]
    Zeros(#[from] TensorError),
    /// It does not compute.
    #[error(transparent)]
    Infer(#[from] InferError),
    /// It panicked, or is in an unknown state, and cannot be loaded again.
    #[error(transparent)]
    Reload(#[from] ModelError),
    /// Not even one row fits.
    #[error("there is no memory to compute one row: {0}")]
    NoMemory(String),
}

/// A warm-up input that cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("cannot use the warm-up input {}", path.display())]
pub struct WarmupInputError {
    /// The file.
    pub path: PathBuf,
    /// The reason.
    #[source]
    pub cause: Box<dyn Error + Send + Sync>,
}

/// A model that panicked while it was warmed.
#[derive(Debug, thiserror::Error)]
#[error("the model panicked: {0}")]
pub(super) struct Panicked(pub(super) String);

/// Why a request is not computed, by a fault of the model's or the request's.
#[derive(Debug, thiserror::Error)]
pub(super) enum RequestError {
    /// The model says so.
    #[error(transparent)]
    Model(BackendError),
    /// Requests cannot be joined, or outputs not be divided.
    #[error(transparent)]
    Tensor(#[from] TensorError),
    #[error("output {name:?}")]
    Output {
        name: String,
        #[source]
        cause: TensorError,
    },
    #[error("expected {expected} outputs of the model, found {found}")]
    OutputCount { expected: usize, found: usize },
    #[error("it divides an integer by zero")]
    DivisionByZero,
    #[error("it panicked: {0}")]
    Panicked(String),
    /// The device's words for a failure that it does not repeat on the warm-up input.
    #[error("{0}")]
    Device(String),
    #[error("it computes something that is not finite from the warm-up input")]
    NotFinite,
}
