//! Chooses what computes a model, and where.

use std::fs::File;
use std::path::Path;
use std::sync::Arc;

pub use super::Chosen;
use super::ModelError;
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
            kind.map_err(|error| ModelError(format!("cannot read the model {}: {error}", path.display())))?
        }
    };
    match (config.backend, kind) {
        (Backend::Auto | Backend::Onnx, Kind::MaybeOnnx) => onnx(found, config.device),
        (Backend::Auto | Backend::Torch, Kind::TorchScript) => {
            let chosen = torch(found, config)?;
            let file = found.path.as_deref().unwrap_or(Path::new("")).display();
            if config.backend == Backend::Auto {
                tracing::info!(backend = chosen.backend, %file, "backend chosen by the file");
            }
            tracing::warn!(%file, "loading a TorchScript file runs its author's code; serve only files that you trust");
            Ok(chosen)
        }
        (backend, _) => {
            let expected = match backend {
                Backend::Auto if cfg!(feature = "torch") => "an ONNX or TorchScript file",
                Backend::Auto | Backend::Onnx => "an ONNX file",
                Backend::Torch => "a TorchScript file",
            };
            let path = found.path.as_deref().unwrap_or(Path::new("the built-in model"));
            Err(ModelError(format!("expected {expected}, found {} in {}", kind.describe(), path.display())))
        }
    }
}

fn onnx(found: &Found, device: Device) -> Result<Chosen, ModelError> {
    match device {
        Device::Auto | Device::Cpu => {
            let loader = Arc::new(OnnxLoader::new(found.path.clone()));
            Ok(Chosen { loader, backend: "onnx", device: "cpu".to_owned() })
        }
        Device::Cuda(_) => Err(ModelError(
            "expected a model that computes on a GPU, found ONNX, which this build computes on the CPU"
                .to_owned(),
        )),
    }
}

#[cfg(feature = "torch")]
fn torch(found: &Found, config: &ModelConfig) -> Result<Chosen, ModelError> {
    super::torch::choose(found, config)
}

#[cfg(not(feature = "torch"))]
fn torch(found: &Found, _config: &ModelConfig) -> Result<Chosen, ModelError> {
    let path = found.path.as_deref().unwrap_or(Path::new("the built-in model"));
    Err(ModelError(format!(
        "expected an ONNX file, found {} in {}; torch.onnx.export writes ONNX, and a build with --features torch reads \
         TorchScript",
        Kind::TorchScript.describe(),
        path.display()
    )))
}
