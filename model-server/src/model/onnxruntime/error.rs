//! Why ONNX Runtime cannot be used, or cannot serve a file, or not compute inputs.

use std::error::Error;
use std::io;
use std::path::PathBuf;

/// Why ONNX Runtime's library cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum LibraryError {
    /// The file cannot be read.
    #[error("cannot read ONNX Runtime's library {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The operating system's reason.
        #[source]
        cause: io::Error,
    },
    /// The file is not a library that can be loaded.
    #[error("cannot load ONNX Runtime's library {}", path.display())]
    Load {
        /// The file.
        path: PathBuf,
        /// The loader's reason.
        #[source]
        cause: libloading::Error,
    },
    /// A process has one library of ONNX Runtime, and has another one already.
    #[error("cannot load {}: ONNX Runtime is loaded from {} already", path.display(), first.display())]
    Second {
        /// The file.
        path: PathBuf,
        /// The library that is loaded.
        first: PathBuf,
    },
    /// ONNX Runtime does not start.
    #[error("cannot use ONNX Runtime's library {}", path.display())]
    Start {
        /// The file.
        path: PathBuf,
        /// ONNX Runtime's reason.
        #[source]
        cause: Box<dyn Error + Send + Sync>,
    },
    /// A library of something else.
    #[error("expected ONNX Runtime's library, found {} without OrtGetApiBase", .0.display())]
    Other(PathBuf),
    /// A library that gives no interface.
    #[error("expected ONNX Runtime's interface in {}, found none", .0.display())]
    NoInterface(PathBuf),
    /// The library is too old.
    #[error("expected ONNX Runtime 1.{} or later, found {version} in {}", ort::MINOR_VERSION, path.display())]
    Old {
        /// The library's version.
        version: String,
        /// The file.
        path: PathBuf,
    },
    /// The library was not built for NVIDIA's GPUs.
    #[error("expected ONNX Runtime with its CUDA execution provider, as in PyPI's onnxruntime-gpu, found one without it: {}", .0.display())]
    WithoutCuda(PathBuf),
}

/// Why ONNX Runtime cannot serve a file.
#[derive(Debug, thiserror::Error)]
pub(super) enum SessionError {
    #[error("expected an output that is a tensor, found {}", .0.join(", "))]
    NoTensor(Vec<String>),
    #[error("expected {place} {name:?} to be a tensor, found {found}")]
    NotATensor { place: &'static str, name: String, found: String },
    #[error("expected {place} {name:?} of a type that requests can have, found {found}")]
    Type { place: &'static str, name: String, found: String },
    /// Anything else, in ONNX Runtime's words.
    #[error("{0}")]
    Runtime(String),
}

/// A device that ONNX Runtime cannot use.
#[derive(Debug, thiserror::Error)]
#[error("ONNX Runtime cannot use {device}: {words}")]
pub(super) struct DeviceError {
    pub(super) device: String,
    pub(super) words: String,
}

/// Why inputs cannot be given to ONNX Runtime.
#[derive(Debug, thiserror::Error)]
pub(super) enum InputError {
    #[error("expected bytes of 0 or 1 in input {0:?}")]
    NotBools(String),
    #[error("expected UTF-8 without zeros in input {input:?}, found something else at {place}")]
    NotText { input: String, place: usize },
}
