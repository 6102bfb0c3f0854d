//! ONNX models, on any CPU, through tract: pure Rust, nothing to install.

use std::path::PathBuf;
use std::sync::{Arc, OnceLock};

use tract_onnx::prelude::*;
use tract_onnx::tract_hir::infer::Factoid as _;
use tract_onnx::tract_hir::internal::DimLike as _;

use super::cause::{Cause, cause_of};
use super::{InferError, Loader, Model, ModelError, Shape, TensorShape};

/// Loads ONNX files: one row of numbers in, one row out, the first dimension being the batch. The file is read once; all that
/// is loaded shares its weights.
pub struct OnnxLoader {
    path: Option<PathBuf>,
    parsed: OnceLock<Result<Onnx, ModelError>>,
}

#[derive(Clone)]
struct Onnx {
    plan: Arc<TypedRunnableModel>,
    /// For one row alone, if it is worth a second copy of the weights.
    plan_of_one: Option<Arc<TypedRunnableModel>>,
    shape: Arc<Shape>,
}

impl OnnxLoader {
    /// Of a file, or of the built-in model when `None`.
    pub fn new(path: Option<PathBuf>) -> OnnxLoader {
        OnnxLoader { path, parsed: OnceLock::new() }
    }

    fn read(&self) -> Result<Onnx, ModelError> {
        let (name, bytes) = match &self.path {
            None => ("the built-in model".to_owned(), LINEAR.to_vec()),
            Some(path) => {
                let bytes = std::fs::read(path).map_err(|error| {
                    ModelError(format!("cannot read the model {}: {error}", path.display()))
                })?;
                (path.display().to_string(), bytes)
            }
        };
        parse(&bytes).map_err(|error| ModelError(format!("{name} is not usable as an ONNX model: {error}")))
    }
}

impl Loader for OnnxLoader {
    fn load(&self) -> Result<Box<dyn Model>, ModelError> {
        let model = self.parsed.get_or_init(|| self.read()).clone()?;
        Ok(Box::new(model))
    }
}

fn parse(bytes: &[u8]) -> Result<Onnx, String> {
    let text = |error: TractError| format!("{error:#}");
    let model = tract_onnx::onnx().model_for_read(&mut &*bytes).map_err(text)?;
    let (inputs, outlets) = (model.inputs.len(), model.outputs.len());
    if inputs != 1 || outlets != 1 {
        return Err(format!("expected one input and one output, found {inputs} and {outlets}"));
    }
    let name = |outlet: OutletId| {
        model.outlet_label(outlet).unwrap_or(model.nodes[outlet.node].name.as_str()).to_owned()
    };
    let (input_name, output_name) = (name(model.inputs[0]), name(model.outputs[0]));
    let width = |fact: &InferenceFact, what: &str| -> Result<usize, String> {
        let dims = fact.shape.concretize().ok_or_else(|| format!("the {what} has no shape"))?;
        match &dims[..] {
            [_, width] => width.to_usize().map_err(|_| format!("the {what} has no fixed width")),
            _ => Err(format!("expected the {what} to be a batch of rows, found {} dimensions", dims.len())),
        }
    };
    let inputs = width(model.input_fact(0).map_err(text)?, "input")?;
    let of_one = model.clone();
    let batch = model.symbols.sym("N");
    let model = typed(model, batch.into(), inputs).map_err(text)?;
    let outputs = width(&InferenceFact::from(model.output_fact(0).map_err(text)?), "output")?;
    let plan_of_one = if weights(&model).map_err(text)? <= SMALL {
        Some(typed(of_one, 1.into(), inputs).and_then(plan).map_err(text)?)
    } else {
        None
    };
    let plan = plan(model).map_err(text)?;
    let shape = Shape {
        input: TensorShape { name: input_name, width: inputs },
        output: TensorShape { name: output_name, width: outputs },
    };
    Ok(Onnx { plan, plan_of_one, shape: Arc::new(shape) })
}

/// For batches of so many rows: the library chooses how to compute by the sizes that it knows.
fn typed(mut model: InferenceModel, rows: TDim, inputs: usize) -> TractResult<TypedModel> {
    model.set_input_fact(0, f32::fact([rows, inputs.to_dim()]).into())?;
    model.analyse(false)?;
    model.into_typed()?.into_decluttered()
}

fn plan(model: TypedModel) -> TractResult<Arc<TypedRunnableModel>> {
    model.into_optimized()?.into_runnable()
}

/// Bytes of all constants, as often as they are used: a plan has a copy for each use.
fn weights(model: &TypedModel) -> TractResult<usize> {
    let mut bytes = 0;
    for input in model.nodes.iter().flat_map(|node| &node.inputs) {
        if let Some(constant) = &model.outlet_fact(*input)?.konst {
            bytes += constant.len() * constant.datum_type().size_of();
        }
    }
    Ok(bytes)
}

impl Model for Onnx {
    fn shape(&self) -> &Shape {
        &self.shape
    }

    fn infer(&mut self, input: &[f32], rows: usize) -> Result<Vec<f32>, InferError> {
        let text = |error: TractError| infer_error(format!("{error:#}"));
        let input = Tensor::from_shape(&[rows, self.shape.input.width], input).map_err(text)?;
        let plan = self.plan_of_one.as_ref().filter(|_| rows == 1).unwrap_or(&self.plan);
        let output = plan.run(tvec!(input.into())).map_err(text)?;
        let numbers = output[0].to_plain_array_view::<f32>().map_err(text)?;
        let numbers: Vec<f32> = numbers.iter().copied().collect();
        let expected = rows * self.shape.output.width;
        if numbers.len() == expected {
            Ok(numbers)
        } else {
            Err(ModelError(format!("expected {expected} outputs, found {}", numbers.len())).into())
        }
    }
}

fn infer_error(text: String) -> InferError {
    match cause_of(&text) {
        Cause::OutOfMemory => InferError::OutOfMemory(text),
        // It computes on the CPU.
        Cause::Device | Cause::Other => ModelError(text).into(),
    }
}

/// Bytes of weights up to which a model gets a plan for one row. Beyond them the computation outweighs all that the plan saves.
const SMALL: usize = 1 << 20;

/// `torch.nn.Linear(768, 2)`, what the tutorial serves.
const LINEAR: &[u8] = include_bytes!("../../models/linear.onnx");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_model_has_its_weights_twice_only_if_they_are_few() {
        assert!(parse(LINEAR).expect("a model").plan_of_one.is_some());
        // Its file holds one matrix, which it multiplies by again and again.
        let again = include_bytes!("../../models/demo-mlp.onnx");
        assert!(again.len() < SMALL && parse(again).expect("a model").plan_of_one.is_none());
    }
}
