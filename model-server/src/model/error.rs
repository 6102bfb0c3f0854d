//! Why a model cannot be loaded, and why it does not compute.

use std::error::Error;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use crate::tensor::TensorError;

/// An error of a backend, or the words of a library that it calls.
pub type BackendError = Arc<dyn Error + Send + Sync>;

/// Why a model cannot be loaded.
#[derive(Debug, Clone, thiserror::Error)]
pub enum ModelError {
    /// Its file cannot be read.
    #[error("cannot read the model {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The operating system's reason.
        #[source]
        cause: Arc<io::Error>,
    },
    /// Its file is not one that the backend reads.
    #[error("expected {expected}, found {found} in {}", path.display())]
    WrongFile {
        /// What the backend reads.
        expected: &'static str,
        /// What the file looks like.
        found: &'static str,
        /// The file.
        path: PathBuf,
    },
    /// The backend reads such files, but cannot use this one.
    #[error("{model} is not usable as {format}")]
    Unusable {
        /// The file, or the built-in model.
        model: String,
        /// What it would have to be.
        format: &'static str,
        /// The backend's reason.
        #[source]
        cause: BackendError,
    },
    /// A TorchScript file, and a build without libtorch.
    #[error("expected an ONNX file, found {found} in {}; torch.onnx.export writes ONNX, and a build with --features torch reads TorchScript", path.display())]
    BuiltWithoutTorch {
        /// What the file looks like.
        found: &'static str,
        /// The file.
        path: PathBuf,
    },
    /// A library of ONNX Runtime is named, and the build does not load any.
    #[error("expected a build with --features onnxruntime for --onnxruntime={}, found one without", .0.display())]
    BuiltWithoutOnnxRuntime(PathBuf),
    /// ONNX Runtime is asked for, and its library is not found.
    #[error("expected {ONNX_RUNTIME}, found none")]
    NoOnnxRuntime,
    /// ONNX on a GPU is asked for, and ONNX Runtime's library is not found.
    #[error("expected {ONNX_RUNTIME}, for ONNX on a GPU, found none")]
    NoOnnxRuntimeForGpu,
    /// A GPU is asked for, of a backend that uses none.
    #[error("expected a backend that computes on a GPU, found tract")]
    TractOnGpu,
    /// Threads to compute with cannot be started.
    #[error("cannot start {threads} threads: {panic}")]
    Threads {
        /// How many.
        threads: usize,
        /// What the library panicked with.
        panic: String,
    },
    /// A backend cannot be used.
    #[error(transparent)]
    Backend(BackendError),
}

impl ModelError {
    /// The file of a model that cannot be read.
    pub(crate) fn read(path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> ModelError {
        move |error| ModelError::Read { path: path.into(), cause: Arc::new(error) }
    }

    /// A file that the backend reads, and cannot use.
    pub(crate) fn unusable(
        model: String,
        format: &'static str,
        cause: impl Into<Box<dyn Error + Send + Sync>>,
    ) -> ModelError {
        ModelError::Unusable { model, format, cause: cause.into().into() }
    }

    /// A backend's reason.
    pub fn backend(error: impl Into<Box<dyn Error + Send + Sync>>) -> ModelError {
        ModelError::Backend(error.into().into())
    }
}

/// Why a model does not compute.
#[derive(Debug, Clone, thiserror::Error)]
pub enum InferError {
    /// It refuses these rows, alone or together.
    #[error(transparent)]
    Refused(BackendError),
    /// It says what is wrong with these inputs, as an index that is out of range.
    #[error(transparent)]
    Invalid(BackendError),
    /// There is no memory for this number of rows; fewer may do.
    #[error("out of memory: {0}")]
    OutOfMemory(String),
    /// The device seems to be broken.
    #[error("the device failed: {0}")]
    Device(String),
}

impl InferError {
    /// These rows are refused.
    pub fn refused(error: impl Into<Box<dyn Error + Send + Sync>>) -> InferError {
        InferError::Refused(error.into().into())
    }

    /// Something is wrong with these inputs.
    pub fn invalid(error: impl Into<Box<dyn Error + Send + Sync>>) -> InferError {
        InferError::Invalid(error.into().into())
    }
}

/// A library that gives something else than it declares.
impl From<TensorError> for InferError {
    fn from(error: TensorError) -> InferError {
        InferError::refused(error)
    }
}

/// Where ONNX Runtime's library is looked for.
pub(super) const ONNX_RUNTIME: &str =
    "a library of ONNX Runtime, by --onnxruntime, ORT_DYLIB_PATH or beside the program";
