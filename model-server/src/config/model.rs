//! Settings of the model: its source, its backend, its device.

use std::num::NonZeroUsize;
use std::path::PathBuf;

use crate::tensor::TensorSpec;

/// Where the model comes from, and what it is called.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModelConfig {
    /// The file or repository.
    pub source: ModelSource,
    /// Its name in requests and metrics.
    pub name: String,
    /// What computes.
    pub backend: Backend,
    /// Where to compute.
    pub device: Device,
    /// Where ONNX Runtime's library is; as the environment says or beside the program when `None`.
    pub onnxruntime: Option<PathBuf>,
    /// Threads of one execution, for backends that have any.
    pub intra_op_threads: NonZeroUsize,
    /// What the model takes and gives, for files that do not say; what lies beside them says it when `None`.
    pub signature: Option<DeclaredTensors>,
    /// Numbers in a row of input, for files that do not say; found in their weights when `None`.
    pub input_width: Option<NonZeroUsize>,
}

/// Tensors that flags declare, in the order of the model's arguments and results.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeclaredTensors {
    /// What it takes.
    pub inputs: Vec<TensorSpec>,
    /// What it gives; executions show it when there is none.
    pub outputs: Vec<TensorSpec>,
}

/// What computes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Backend {
    /// Whatever reads the file.
    Auto,
    /// ONNX, by ONNX Runtime if its library is there, else by tract.
    Onnx,
    /// ONNX, by ONNX Runtime; in builds with the feature `onnxruntime`.
    OnnxRuntime,
    /// ONNX, by tract, which is part of the program, on the CPU.
    Tract,
    /// TorchScript, through libtorch; in builds with the feature `torch`.
    Torch,
}

/// Where a model's file is found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ModelSource {
    /// In the program.
    BuiltIn,
    /// Here.
    File(PathBuf),
    /// In a folder `NAME/VERSION` of this folder.
    Repository(PathBuf, VersionPolicy),
}

/// Which version of a model is served.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum VersionPolicy {
    /// The one with the highest number.
    Latest,
    /// This one.
    Exactly(u64),
}

/// Where to compute.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Device {
    /// Wherever the backend can.
    Auto,
    /// On the CPU; whatever GPUs there are are none of the server's.
    Cpu,
    /// On a GPU, the one with this number if one is named.
    Cuda(Option<u32>),
}
