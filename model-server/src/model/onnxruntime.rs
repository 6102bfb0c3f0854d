//! ONNX models through ONNX Runtime, on the CPU or a GPU. Its library is loaded when the program starts; a build
//! needs none.

mod error;
mod library;
mod values;
mod words;

use std::borrow::Cow;
use std::path::PathBuf;
use std::sync::Arc;

use ort::ep;
use ort::logging::LogLevel;
use ort::session::builder::SessionBuilder;
use ort::session::{HasSelectedOutputs, OutputSelector, RunOptions, Session};
use ort::value::{Outlet, ValueType};
use serve::error_chain;

pub use self::error::LibraryError;
use self::error::{DeviceError, SessionError};
pub use self::library::{Library, locate};
use self::words::plain;
use super::cause::{Cause, cause_of};
use super::{Chosen, InferError, Loader, Model, ModelError};
use crate::config::{self, ModelConfig};
use crate::repository::Found;
use crate::tensor::{Dim, Signature, Tensor, TensorSpec};

/// Loads ONNX files. Each model that is loaded has its own copy of the weights.
pub struct OnnxRuntimeLoader {
    library: Arc<Library>,
    /// The built-in model when `None`.
    path: Option<PathBuf>,
    device: Device,
    threads: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Device {
    Cpu,
    Cuda(u32),
}

struct OnnxRuntime {
    session: Session,
    signature: Signature,
    device: Device,
    /// Named if the model gives something besides tensors, which is left out.
    outputs: Option<RunOptions<HasSelectedOutputs>>,
}

/// The device that is asked for, or the best there is.
pub(super) fn choose(found: &Found, config: &ModelConfig, library: Library) -> Result<Chosen, ModelError> {
    let library = Arc::new(library);
    let threads = config.intra_op_threads.get();
    let on = |device| OnnxRuntimeLoader {
        library: Arc::clone(&library),
        path: found.path.clone(),
        device,
        threads,
    };
    let loader = match config.device {
        config::Device::Cuda(number) => {
            library.can_use_cuda().map_err(ModelError::backend)?;
            on(Device::Cuda(number.unwrap_or(0)))
        }
        config::Device::Auto if library.can_use_cuda().is_ok() => match on(Device::Cuda(0)).builder() {
            Ok(_) => on(Device::Cuda(0)),
            Err(error) => {
                tracing::info!(error = %error_chain(&error), "computing on the CPU");
                on(Device::Cpu)
            }
        },
        config::Device::Cpu | config::Device::Auto => on(Device::Cpu),
    };
    tracing::info!(library = %library.path().display(), version = library.version(), "ONNX Runtime loaded");
    let device = match loader.device {
        Device::Cpu => "cpu".to_owned(),
        Device::Cuda(number) => format!("cuda:{number}"),
    };
    Ok(Chosen { loader: Arc::new(loader), backend: "onnxruntime", device })
}

impl OnnxRuntimeLoader {
    /// Of a file, or of the built-in model when `None`, on the CPU.
    pub fn on_cpu(library: Library, path: Option<PathBuf>) -> OnnxRuntimeLoader {
        OnnxRuntimeLoader { library: Arc::new(library), path, device: Device::Cpu, threads: 1 }
    }

    fn builder(&self) -> Result<SessionBuilder, ModelError> {
        self.options().map_err(|error| {
            let device = match self.device {
                Device::Cpu => "the CPU".to_owned(),
                Device::Cuda(number) => format!("GPU {number}"),
            };
            ModelError::backend(DeviceError { device, words: plain(error.message()) })
        })
    }

    fn options(&self) -> ort::Result<SessionBuilder> {
        let builder = Session::builder(self.library.environment())?
            .with_log_level(LogLevel::Fatal)?
            .with_intra_threads(self.threads)?
            .with_inter_threads(1)?
            // Threads that wait for work must not take the time of others.
            .with_intra_op_spinning(false)?;
        match self.device {
            Device::Cpu => Ok(builder),
            Device::Cuda(number) => {
                let cuda = ep::CUDA::default().with_device_id(i32::try_from(number).unwrap_or(i32::MAX));
                Ok(builder.with_execution_providers([cuda.build().error_on_failure()])?)
            }
        }
    }

    fn unusable(&self, error: SessionError) -> ModelError {
        ModelError::unusable(self.name(), "an ONNX model", error)
    }
}

impl Loader for OnnxRuntimeLoader {
    fn load(&self) -> Result<Box<dyn Model>, ModelError> {
        let mut builder = self.builder()?;
        let session = match &self.path {
            // By its path: weights may lie in files beside it.
            Some(path) => {
                std::fs::File::open(path).map_err(ModelError::read(path))?;
                builder.commit_from_file(path)
            }
            None => builder.commit_from_memory(super::onnx::LINEAR),
        };
        let session = session.map_err(|error| self.unusable(runtime_error(&error)))?;
        let model = OnnxRuntime::new(session, self.device).map_err(|error| self.unusable(error))?;
        Ok(Box::new(model))
    }

    fn name(&self) -> String {
        super::name_of(self.path.as_deref())
    }
}

impl OnnxRuntime {
    fn new(session: Session, device: Device) -> Result<OnnxRuntime, SessionError> {
        let inputs = session.inputs().iter().map(|input| spec("input", input.name(), input.dtype()));
        let mut inputs = inputs.collect::<Result<Vec<_>, SessionError>>()?;
        let (tensors, others): (Vec<&Outlet>, Vec<&Outlet>) =
            session.outputs().iter().partition(|output| matches!(output.dtype(), ValueType::Tensor { .. }));
        let outputs = tensors.iter().map(|output| spec("output", output.name(), output.dtype()));
        let outputs = outputs.collect::<Result<Vec<_>, SessionError>>()?;
        if outputs.is_empty() {
            return Err(SessionError::NoTensor(others.into_iter().map(described).collect()));
        }
        for output in &others {
            let output = described(output);
            tracing::warn!(
                output,
                "leaving out an output that is not a tensor; skl2onnx writes one without its option zipmap"
            );
        }
        let selected = if others.is_empty() {
            None
        } else {
            let selector =
                outputs.iter().fold(OutputSelector::no_default(), |all, output| all.with(&output.name));
            Some(RunOptions::new().map_err(|error| runtime_error(&error))?.with_outputs(selector))
        };
        let mut signature = Signature::new(inputs.clone(), outputs);
        signature.join_only_if(Axes::of(&session).agree());
        // Constants that a request may replace. What they are says nothing of rows.
        for constant in session.overridable_initializers() {
            inputs.push(TensorSpec { optional: true, ..spec("input", constant.name(), constant.dtype())? });
        }
        signature.inputs = inputs;
        Ok(OnnxRuntime { session, signature, device, outputs: selected })
    }
}

impl Model for OnnxRuntime {
    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn infer(&mut self, inputs: &[Option<Tensor>]) -> Result<Vec<Tensor>, InferError> {
        let device = self.device;
        let failed = |error: ort::Error| infer_error(&error, device);
        let mut values = Vec::with_capacity(inputs.len());
        for (spec, input) in self.signature.inputs.iter().zip(inputs) {
            if let Some(input) = input {
                values.push((Cow::Borrowed(&*spec.name), values::taken(&spec.name, input, failed)?));
            }
        }
        let outputs = match &self.outputs {
            None => self.session.run(values),
            Some(options) => self.session.run_with_options(values, options),
        };
        let outputs = outputs.map_err(failed)?;
        let specs = self.signature.outputs.iter();
        outputs.values().zip(specs).map(|(output, spec)| values::given(&output, spec, failed)).collect()
    }
}

fn spec(place: &'static str, name: &str, kind: &ValueType) -> Result<TensorSpec, SessionError> {
    let name = name.to_owned();
    let ValueType::Tensor { ty, shape, .. } = kind else {
        return Err(SessionError::NotATensor { place, name, found: kind.to_string() });
    };
    let Some(datatype) = values::datatype(*ty) else {
        return Err(SessionError::Type { place, name, found: ty.to_string() });
    };
    let dims = shape.iter().map(|size| usize::try_from(*size).map_or(Dim::Dynamic, Dim::Fixed)).collect();
    Ok(TensorSpec { name, datatype, shape: Some(dims), optional: false })
}

fn runtime_error(error: &ort::Error) -> SessionError {
    SessionError::Runtime(plain(error.message()))
}

fn described(outlet: &Outlet) -> String {
    format!("{:?} of type {}", outlet.name(), outlet.dtype())
}

/// The names of dimensions, as far as a file gives them.
struct Axes<'a> {
    inputs: Vec<&'a [String]>,
    outputs: Vec<&'a [String]>,
}

impl<'a> Axes<'a> {
    fn of(session: &'a Session) -> Axes<'a> {
        let names = |outlets: &'a [Outlet]| -> Vec<&'a [String]> {
            let symbols = outlets.iter().filter_map(|outlet| match outlet.dtype() {
                ValueType::Tensor { dimension_symbols, .. } => Some(&dimension_symbols[..]),
                _ => None,
            });
            symbols.collect()
        };
        Axes { inputs: names(session.inputs()), outputs: names(session.outputs()) }
    }

    /// Whether the first dimension may be the rows of all tensors. It is not where a name says otherwise: the first
    /// of an input is another one of an output, or the first of an output is another one of an input, as where time
    /// goes first.
    fn agree(&self) -> bool {
        let first = |tensors: &[&'a [String]]| -> Vec<&'a str> {
            tensors
                .iter()
                .filter_map(|axes| axes.first())
                .map(|name| &**name)
                .filter(|name| !name.is_empty())
                .collect()
        };
        let others = |tensors: &[&'a [String]]| -> Vec<&'a str> {
            tensors.iter().flat_map(|axes| axes.iter().skip(1)).map(|name| &**name).collect()
        };
        let [firsts, lasts] = [(&self.inputs, &self.outputs), (&self.outputs, &self.inputs)]
            .map(|(of, within)| (first(of), others(within)));
        [firsts, lasts].iter().all(|(firsts, others)| firsts.iter().all(|name| !others.contains(name)))
    }
}

fn infer_error(error: &ort::Error, device: Device) -> InferError {
    let text = plain(error.message());
    match cause_of(&text) {
        Cause::OutOfMemory => InferError::OutOfMemory(text),
        Cause::Device if device != Device::Cpu => InferError::Device(text),
        // Of the inputs: the file was checked when it was loaded.
        Cause::Inputs | Cause::Device | Cause::Other => InferError::invalid(text),
    }
}
