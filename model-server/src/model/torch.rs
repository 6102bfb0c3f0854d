//! TorchScript models, on the CPU or a GPU, through libtorch. Built with the feature `torch`; needs libtorch 2.11, to build and to
//! run.

mod cuda;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use tch::{CModule, Device, Kind, Tensor};

use super::cause::{Cause, cause_of, line_of};
use super::{Chosen, InferError, Loader, Model, ModelError, Shape, TensorShape};
use crate::config::{self, ModelConfig};
use crate::repository::Found;

/// Loads TorchScript files with one input and one output, each a batch of rows.
pub struct TorchLoader {
    path: PathBuf,
    device: Device,
    /// Numbers in a row of input; found in the weights when `None`.
    input_width: Option<usize>,
}

struct Torch {
    module: CModule,
    device: Device,
    shape: Shape,
}

/// The device that is asked for, or the best there is.
pub(super) fn choose(found: &Found, config: &ModelConfig) -> Result<Chosen, ModelError> {
    let Some(path) = found.path.clone() else {
        return Err(ModelError("expected a TorchScript file, found the built-in model".to_owned()));
    };
    tch::set_num_threads(i32::try_from(config.intra_op_threads.get()).unwrap_or(i32::MAX));
    let device = match config.device {
        config::Device::Cpu => Device::Cpu,
        config::Device::Auto => match cuda::devices() {
            Ok(_) => Device::Cuda(0),
            Err(why) => {
                tracing::info!(reason = why, "computing on the CPU: no GPU can be used");
                Device::Cpu
            }
        },
        config::Device::Cuda(number) => {
            let number = number.unwrap_or(0) as usize;
            match cuda::devices() {
                Ok(devices) if number < devices => Device::Cuda(number),
                Ok(devices) => {
                    return Err(ModelError(format!("expected a GPU number {number}, found {devices} GPUs")));
                }
                Err(why) => return Err(ModelError(format!("expected a GPU, found none: {why}"))),
            }
        }
    };
    let name = match device {
        Device::Cuda(number) => format!("cuda:{number}"),
        _ => "cpu".to_owned(),
    };
    let loader = Arc::new(TorchLoader { path, device, input_width: config.input_width.map(Into::into) });
    Ok(Chosen { loader, backend: "torch", device: name })
}

impl TorchLoader {
    /// Of a file, on the CPU; the width of its input is found in its weights.
    pub fn on_cpu(path: &Path) -> TorchLoader {
        TorchLoader { path: path.to_owned(), device: Device::Cpu, input_width: None }
    }

    fn named(&self, error: &tch::TchError) -> ModelError {
        ModelError(format!(
            "{} is not usable as a TorchScript model: {}",
            self.path.display(),
            line_of(&error.to_string())
        ))
    }
}

impl Loader for TorchLoader {
    fn load(&self) -> Result<Box<dyn Model>, ModelError> {
        let named = |error| self.named(&error);
        let mut module = CModule::load_on_device(&self.path, self.device).map_err(named)?;
        module.f_set_eval().map_err(named)?;
        let width = match self.input_width {
            Some(width) => width,
            None => width_in(&module).ok_or_else(|| {
                ModelError(format!(
                    "expected a matrix of weights in {} to find the width of its input by, found none; --input-width says it",
                    self.path.display()
                ))
            })?,
        };
        let tensor = |name: &str, width| TensorShape { name: name.to_owned(), width };
        let mut shape = Shape { input: tensor("input__0", width), output: tensor("output__0", 0) };
        let output = forward(&module, self.device, &vec![0.0; width], 1, width).map_err(named)?;
        match output.size()[..] {
            [1, outputs] if outputs > 0 => shape.output.width = outputs as usize,
            ref other => {
                return Err(ModelError(format!(
                    "expected an output of one row for an input of one, found shape {other:?} in {}",
                    self.path.display()
                )));
            }
        }
        Ok(Box::new(Torch { module, device: self.device, shape }))
    }
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

fn forward(
    module: &CModule,
    device: Device,
    input: &[f32],
    rows: usize,
    width: usize,
) -> Result<Tensor, tch::TchError> {
    let _no_grad = tch::no_grad_guard();
    let input = Tensor::f_from_slice(input)?.f_view([rows as i64, width as i64])?.f_to_device(device)?;
    module.forward_ts(&[input])?.f_to_device(Device::Cpu)?.f_to_kind(Kind::Float)?.f_contiguous()
}

impl Model for Torch {
    fn shape(&self) -> &Shape {
        &self.shape
    }

    fn infer(&mut self, input: &[f32], rows: usize) -> Result<Vec<f32>, InferError> {
        let output = forward(&self.module, self.device, input, rows, self.shape.input.width)
            .map_err(|error| infer_error(&error))?;
        let expected = [rows as i64, self.shape.output.width as i64];
        if output.size() != expected {
            return Err(ModelError(format!(
                "expected outputs of shape {expected:?}, found {:?}",
                output.size()
            ))
            .into());
        }
        let mut numbers = vec![0.0; rows * self.shape.output.width];
        let count = numbers.len();
        output.f_copy_data(&mut numbers, count).map_err(|error| infer_error(&error))?;
        Ok(numbers)
    }
}

/// libtorch has no classes of errors, only words.
fn infer_error(error: &tch::TchError) -> InferError {
    let text = error.to_string();
    let line = line_of(&text).to_owned();
    match cause_of(&text) {
        Cause::OutOfMemory => InferError::OutOfMemory(line),
        Cause::Device => InferError::Device(line),
        Cause::Other => ModelError(line).into(),
    }
}
