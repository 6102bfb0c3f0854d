//! Chooses what computes a model, and where.

use std::fs::File;
use std::path::Path;
use std::sync::Arc;

pub use super::Chosen;
use super::ModelError;
use super::error::ONNX_RUNTIME;
use super::file::Kind;
use super::onnx::OnnxLoader;
use crate::config::{Backend, Device, ModelConfig};
use crate::repository::Found;

/// The backend for a file: the one that is named, or the one that reads such files.
///
/// # Errors
/// A file that no backend reads, or a device that the backend does not have.
pub fn choose(found: &Found, config: &ModelConfig) -> Result<Chosen, ModelError> {
    let kind = match &found.path {
        None => Kind::MaybeOnnx,
        Some(path) => {
            let kind = File::open(path).and_then(|mut file| Kind::of(&mut file));
            kind.map_err(ModelError::read(path))?
        }
    };
    match (config.backend, kind) {
        (Backend::Auto | Backend::Onnx | Backend::OnnxRuntime | Backend::Tract, Kind::MaybeOnnx) => {
            onnx(found, config)
        }
        (Backend::Auto | Backend::Torch, Kind::TorchScript) => {
            let chosen = torch(found, config)?;
            let file = found.path.as_deref().unwrap_or(Path::new("")).display();
            if config.backend == Backend::Auto {
                tracing::info!(backend = chosen.backend, %file, "backend chosen by the file");
            }
            tracing::warn!(%file, "loading a TorchScript file runs its author's code; serve only trusted files");
            Ok(chosen)
        }
        (backend, _) => {
            let expected = match backend {
                Backend::Auto if cfg!(feature = "torch") => "an ONNX or TorchScript file",
                Backend::Auto | Backend::Onnx | Backend::OnnxRuntime | Backend::Tract => "an ONNX file",
                Backend::Torch => "a TorchScript file",
            };
            let path = found.path.as_deref().unwrap_or(Path::new("the built-in model")).to_owned();
            Err(ModelError::WrongFile { expected, found: kind.describe(), path })
        }
    }
}

/// By ONNX Runtime if it is there, unless tract is asked for. A library that is named and cannot be used is an error:
/// tract would serve the model slower, or not at all.
fn onnx(found: &Found, config: &ModelConfig) -> Result<Chosen, ModelError> {
    if config.backend != Backend::Tract
        && let Some(chosen) = onnxruntime(found, config)?
    {
        return Ok(chosen);
    }
    if config.backend == Backend::OnnxRuntime {
        return Err(ModelError::NoOnnxRuntime);
    }
    match config.device {
        Device::Auto | Device::Cpu => {
            if config.backend != Backend::Tract && found.path.is_some() {
                tracing::info!(
                    "serving by tract, which knows fewer operators and is often slower: there is not {ONNX_RUNTIME}"
                );
            }
            super::onnx::use_threads(config.intra_op_threads.get())?;
            let loader = Arc::new(OnnxLoader::new(found.path.clone()));
            Ok(Chosen { loader, backend: "tract", device: "cpu".to_owned() })
        }
        Device::Cuda(_) if config.backend == Backend::Tract => Err(ModelError::TractOnGpu),
        Device::Cuda(_) => Err(ModelError::NoOnnxRuntimeForGpu),
    }
}

#[cfg(feature = "onnxruntime")]
fn onnxruntime(found: &Found, config: &ModelConfig) -> Result<Option<Chosen>, ModelError> {
    use super::onnxruntime::{Library, choose, locate};
    let Some(path) = locate(config.onnxruntime.as_deref()) else { return Ok(None) };
    choose(found, config, Library::load(&path).map_err(ModelError::backend)?).map(Some)
}

#[cfg(not(feature = "onnxruntime"))]
fn onnxruntime(_found: &Found, config: &ModelConfig) -> Result<Option<Chosen>, ModelError> {
    match &config.onnxruntime {
        None => Ok(None),
        Some(path) => Err(ModelError::BuiltWithoutOnnxRuntime(path.clone())),
    }
}

#[cfg(feature = "torch")]
fn torch(found: &Found, config: &ModelConfig) -> Result<Chosen, ModelError> {
    super::torch::choose(found, config)
}

#[cfg(not(feature = "torch"))]
fn torch(found: &Found, _config: &ModelConfig) -> Result<Chosen, ModelError> {
    let path = found.path.as_deref().unwrap_or(Path::new("the built-in model")).to_owned();
    Err(ModelError::BuiltWithoutTorch { found: Kind::TorchScript.describe(), path })
}
