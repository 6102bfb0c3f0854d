//! TorchScript models, on the CPU or a GPU, through libtorch. Built with the feature `torch`; needs libtorch 2.11, to
//! build and to run.

mod cuda;
mod declared;
mod error;
mod memory;
mod pbtxt;
mod values;

use std::error::Error;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serve::error_chain;
use tch::{CModule, Device, IValue, TchError};

use self::declared::Declared;
use self::error::{ConfigError, OutputError, infer_error};
use super::cause::line_of;
use super::{Chosen, InferError, Loader, Model, ModelError};
use crate::config::{self, ModelConfig};
use crate::repository::Found;
use crate::tensor::{BatchAxis, DataType, Dim, Signature, Tensor, TensorSpec};

/// Loads TorchScript files. They do not say what they take and give: a configuration beside them does, or else their
/// input is rows of FP32 numbers. Outputs that no configuration declares are what executions show.
pub struct TorchLoader {
    path: PathBuf,
    device: Device,
    declared: Option<Declared>,
    /// Numbers in a row of input; found in the weights when `None`.
    input_width: Option<usize>,
}

struct Torch {
    module: CModule,
    device: Device,
    signature: Signature,
    /// Outputs of a dictionary have the names of its keys; others have those that are declared, in order.
    declares_outputs: bool,
}

/// The device that is asked for, or the best there is.
pub(super) fn choose(found: &Found, config: &ModelConfig) -> Result<Chosen, ModelError> {
    let Some(path) = found.path.clone() else {
        return Err(ConfigError::BuiltInModel.into());
    };
    tch::set_num_threads(i32::try_from(config.intra_op_threads.get()).unwrap_or(i32::MAX));
    let device = match config.device {
        config::Device::Cpu => Device::Cpu,
        config::Device::Auto => match cuda::devices() {
            Ok(_) => Device::Cuda(0),
            Err(why) => {
                let reason = error_chain(&why);
                tracing::info!(reason, "computing on the CPU: no GPU can be used");
                Device::Cpu
            }
        },
        config::Device::Cuda(number) => {
            let number = number.unwrap_or(0) as usize;
            match cuda::devices() {
                Ok(devices) if number < devices => Device::Cuda(number),
                Ok(devices) => return Err(ConfigError::NoSuchGpu { number, devices }.into()),
                Err(why) => return Err(ConfigError::NoGpu(why).into()),
            }
        }
    };
    let name = match device {
        Device::Cuda(number) => format!("cuda:{number}"),
        _ => "cpu".to_owned(),
    };
    let in_repository = matches!(config.source, config::ModelSource::Repository(..));
    let declared = match &config.signature {
        Some(declared) => {
            Some(Declared { inputs: declared.inputs.clone(), outputs: declared.outputs.clone() })
        }
        None => Declared::beside(&path, in_repository)?,
    };
    let input_width = config.input_width.map(Into::into);
    if let (Some(declared), Some(width)) = (&declared, input_width) {
        return Err(ConfigError::WidthAndInputs { width, inputs: declared.inputs.len() }.into());
    }
    let loader = Arc::new(TorchLoader { path, device, declared, input_width });
    Ok(Chosen { loader, backend: "torch", device: name })
}

impl TorchLoader {
    /// Of a file, on the CPU; the width of its input is found in its weights.
    pub fn on_cpu(path: &Path) -> TorchLoader {
        TorchLoader { path: path.to_owned(), device: Device::Cpu, declared: None, input_width: None }
    }

    fn unusable(&self, cause: impl Into<Box<dyn Error + Send + Sync>>) -> ModelError {
        ModelError::unusable(self.name(), "a TorchScript model", cause)
    }
}

impl Loader for TorchLoader {
    fn load(&self) -> Result<Box<dyn Model>, ModelError> {
        let refused = |error: TchError| self.unusable(line_of(&error.to_string()));
        select(self.device).map_err(|error| self.unusable(error))?;
        let mut module = CModule::load_on_device(&self.path, self.device).map_err(refused)?;
        module.f_set_eval().map_err(refused)?;
        let Declared { inputs, outputs } = match &self.declared {
            Some(declared) => declared.clone(),
            None => Declared { inputs: vec![self.row(&module)?], outputs: Vec::new() },
        };
        let declares_outputs = !outputs.is_empty();
        let signature = Signature::new(inputs, outputs);
        let mut torch = Torch { module, device: self.device, signature, declares_outputs };
        if !declares_outputs {
            torch.signature = torch.observed().map_err(|error| self.unusable(error))?;
        }
        Ok(Box::new(torch))
    }

    fn name(&self) -> String {
        super::name_of(Some(&self.path))
    }
}

impl TorchLoader {
    /// The input of a module that nothing is declared of.
    fn row(&self, module: &CModule) -> Result<TensorSpec, ModelError> {
        let width = match self.input_width {
            Some(width) => width,
            None => width_in(module).ok_or_else(|| ConfigError::NoMatrix(self.path.clone()))?,
        };
        Ok(TensorSpec {
            name: "input__0".to_owned(),
            datatype: DataType::Fp32,
            shape: Some(vec![Dim::Dynamic, Dim::Fixed(width)]),
            optional: false,
        })
    }
}

impl Torch {
    /// The signature with outputs as one row and two rows show them. A module that takes one row alone keeps to that.
    fn observed(&self) -> Result<Signature, InferError> {
        let rows = self.signature.clone();
        let takes_rows = rows.batch == BatchAxis::Dynamic;
        let one = self.execute(&rows.zeros(1, 1)?)?;
        let two = self.execute(&rows.zeros(if takes_rows { 2 } else { 1 }, 1)?);
        let short_of_memory = matches!(two, Err(InferError::OutOfMemory(_)));
        let two = two.ok().filter(|two| two.len() == one.len());
        let mut inputs = rows.inputs;
        if two.is_none() && !short_of_memory && takes_rows {
            for dim in inputs.iter_mut().filter_map(|input| input.shape.as_mut()?.first_mut()) {
                *dim = Dim::Fixed(1);
            }
        }
        let mut outputs = Vec::with_capacity(one.len());
        for (number, (name, output)) in one.iter().enumerate() {
            let other = two.as_ref().map_or(output.shape(), |two| two[number].1.shape());
            let dims = output.shape().iter().zip(other).enumerate().map(|(axis, (one, two))| {
                let rows = axis == 0 && *one == 1 && short_of_memory && takes_rows;
                if one == two && !rows { Dim::Fixed(*one) } else { Dim::Dynamic }
            });
            outputs.push(TensorSpec {
                name: name.clone(),
                datatype: output.datatype(),
                shape: (output.shape().len() == other.len()).then(|| dims.collect()),
                optional: false,
            });
        }
        Ok(Signature::new(inputs, outputs))
    }

    fn execute(&self, inputs: &[Option<Tensor>]) -> Result<Vec<(String, Tensor)>, InferError> {
        select(self.device)?;
        let _no_grad = tch::no_grad_guard();
        let mut values = Vec::with_capacity(inputs.len());
        for (input, spec) in inputs.iter().zip(&self.signature.inputs) {
            values.push(match input {
                Some(input) => {
                    IValue::Tensor(values::taken(input, self.device).map_err(|error| infer_error(&error))?)
                }
                None if spec.optional => IValue::None,
                None => return Err(OutputError::NoInput(spec.name.clone()).into()),
            });
        }
        let output = self.module.forward_is(&values).map_err(|error| infer_error(&error))?;
        let mut outputs = Vec::new();
        values::given(output, &mut outputs)?;
        if outputs.is_empty() {
            return Err(OutputError::NoTensors.into());
        }
        Ok(outputs)
    }
}

/// Makes the device the one of this thread, where it is not already.
fn select(device: Device) -> Result<(), InferError> {
    match device {
        Device::Cuda(number) if number > 0 => {
            cuda::select(number).map_err(|error| InferError::Device(error.to_string()))
        }
        _ => Ok(()),
    }
}

fn names(outputs: &[(String, Tensor)]) -> Vec<String> {
    outputs.iter().map(|(name, _)| name.clone()).collect()
}

/// A file does not say how wide its input is; the first matrix that it multiplies by does, in most models.
fn width_in(module: &CModule) -> Option<usize> {
    let parameters = module.named_parameters().ok()?;
    let matrix = parameters.into_iter().find_map(|(_, tensor)| match tensor.size()[..] {
        [_, width] => usize::try_from(width).ok(),
        _ => None,
    });
    matrix.filter(|width| *width > 0)
}

impl Model for Torch {
    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn infer(&mut self, inputs: &[Option<Tensor>]) -> Result<Vec<Tensor>, InferError> {
        let mut outputs = self.execute(inputs)?;
        let specs = &self.signature.outputs;
        let by_place =
            self.declares_outputs && outputs.iter().all(|(name, _)| name.starts_with(values::PLACE));
        if outputs.len() != specs.len() {
            return Err(OutputError::Count { expected: specs.len(), found: names(&outputs) }.into());
        }
        let mut computed = Vec::with_capacity(specs.len());
        for (number, spec) in specs.iter().enumerate() {
            let place =
                if by_place { Some(number) } else { outputs.iter().position(|(name, _)| *name == spec.name) };
            let Some(place) = place else {
                let name = spec.name.clone();
                return Err(OutputError::Missing { name, found: names(&outputs) }.into());
            };
            let output = std::mem::replace(&mut outputs[place].1, Tensor::zeros(DataType::Bool, vec![0])?);
            if output.datatype() != spec.datatype || spec.admits_shape(output.shape()).is_err() {
                let (datatype, shape) = (output.datatype().name(), output.shape().to_vec());
                return Err(OutputError::Other { expected: Box::new(spec.clone()), datatype, shape }.into());
            }
            computed.push(output);
        }
        Ok(computed)
    }
}
