//! Why libtorch cannot serve a file, or what it computes is not what is declared.

use std::path::PathBuf;
use std::sync::Arc;

use crate::model::cause::{Cause, cause_of, line_of};
use crate::model::{InferError, ModelError};
use crate::tensor::TensorSpec;

/// Why a TorchScript file cannot be served as it is configured.
#[derive(Debug, thiserror::Error)]
pub(super) enum ConfigError {
    #[error("expected a TorchScript file, found the built-in model")]
    BuiltInModel,
    #[error("expected a GPU number {number}, found {devices} GPUs")]
    NoSuchGpu { number: usize, devices: usize },
    #[error("expected a GPU, found none")]
    NoGpu(#[source] DeviceError),
    #[error(
        "expected --input-width or a configuration that declares inputs, found both: a width of {width}, and {inputs} inputs"
    )]
    WidthAndInputs { width: usize, inputs: usize },
    #[error(
        "expected a matrix of weights in {} to find the width of its input by, found none; --input-width says it, or a config.pbtxt beside it",
        .0.display()
    )]
    NoMatrix(PathBuf),
}

impl From<ConfigError> for ModelError {
    fn from(error: ConfigError) -> ModelError {
        ModelError::backend(error)
    }
}

/// Why a GPU cannot be used.
#[derive(Debug, thiserror::Error)]
pub(super) enum DeviceError {
    #[error("{library} cannot be loaded")]
    Library {
        library: &'static str,
        #[source]
        cause: Arc<libloading::Error>,
    },
    #[error("libtorch finds no GPU that it can use; nvidia-smi may say why")]
    NotAvailable,
    #[error("no GPU")]
    None,
    #[error("expected a number of a GPU, found {0}")]
    Number(usize),
    #[error(transparent)]
    Symbol(#[from] libloading::Error),
    #[error("CUDA error: {status} from cudaSetDevice({number})")]
    Select { status: i32, number: i32 },
}

/// Why a configuration beside a model cannot be used.
#[derive(Debug, thiserror::Error)]
pub(super) enum DeclaredError {
    #[error(transparent)]
    Read(#[from] std::io::Error),
    #[error(transparent)]
    Json(#[from] serde_json::Error),
    /// What the parser of `config.pbtxt` expected and found, and where.
    #[error("{0}")]
    Pbtxt(String),
    #[error("expected inputs, found none")]
    NoInputs,
    #[error("expected {0:?} once, found it twice")]
    Twice(String),
    #[error("expected a data_type of {name:?} as TYPE_FP32, found {found:?}")]
    DataType { name: String, found: String },
    #[error("expected dims of {name:?} of -1 or more, found {found}")]
    Dims { name: String, found: i64 },
}

/// Why inputs are not computed, or outputs not given.
#[derive(Debug, thiserror::Error)]
pub(super) enum OutputError {
    #[error("expected input {0:?}, found none")]
    NoInput(String),
    #[error("expected tensors as outputs, found none")]
    NoTensors,
    #[error("expected tensors as outputs, found {0}")]
    NotTensors(&'static str),
    #[error("expected texts and tensors in a dictionary of outputs, found {key} and {value}")]
    Dictionary { key: &'static str, value: &'static str },
    #[error("expected output {0:?} once, found it twice")]
    Twice(String),
    #[error("the protocol has no type for libtorch's {0:?}")]
    Type(tch::Kind),
    #[error("expected {expected} outputs, found {}: {found:?}", found.len())]
    Count { expected: usize, found: Vec<String> },
    #[error("expected output {name:?}, found {found:?}")]
    Missing { name: String, found: Vec<String> },
    #[error("expected output {expected}, found {datatype} {shape:?}")]
    Other { expected: Box<TensorSpec>, datatype: &'static str, shape: Vec<usize> },
}

impl From<OutputError> for InferError {
    fn from(error: OutputError) -> InferError {
        InferError::refused(error)
    }
}

/// libtorch has no classes of errors, only words.
pub(super) fn infer_error(error: &tch::TchError) -> InferError {
    let text = error.to_string();
    let line = line_of(&text).to_owned();
    match cause_of(&text) {
        Cause::OutOfMemory => InferError::OutOfMemory(line),
        Cause::Device => InferError::Device(line),
        // Of the inputs: the file was checked when it was loaded.
        Cause::Inputs | Cause::Other => InferError::invalid(line),
    }
}
