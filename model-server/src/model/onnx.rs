//! ONNX models, on any CPU, through tract: pure Rust, nothing to install.

mod error;
mod indices;

use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use tract_onnx::model::ParseResult;
use tract_onnx::prelude::Framework as _;
use tract_onnx::prelude::*;
use tract_onnx::tract_hir::infer::Factoid as _;

use tract_linalg::multithread::{Executor, set_default_executor};

use self::error::{NEWEST_OPSET, OnnxError, words};
use self::indices::OutOfRange;
use super::cause::{Cause, cause_of};
use super::{InferError, Loader, Model, ModelError};
use crate::contain::contained;
use crate::tensor::{self, DataType, Dim, Signature, TensorSpec};

/// Loads ONNX files. The file is read once; all that is loaded shares its weights.
pub struct OnnxLoader {
    path: Option<PathBuf>,
    parsed: OnceLock<Result<Onnx, ModelError>>,
}

#[derive(Clone)]
struct Onnx {
    plan: Arc<TypedRunnableModel>,
    /// For one row alone, if it is worth a second copy of the weights.
    plan_of_one: Option<Arc<TypedRunnableModel>>,
    signature: Arc<Signature>,
}

/// Has each execution use this number of threads, in all models of the process.
///
/// # Errors
/// The operating system refuses them.
pub(super) fn use_threads(threads: usize) -> Result<(), ModelError> {
    if threads == 1 {
        return Ok(());
    }
    let executor = contained(|| Executor::multithread_with_name(threads, "intra-op"));
    let executor = executor.map_err(|panic| ModelError::Threads { threads, panic })?;
    set_default_executor(executor);
    Ok(())
}

impl OnnxLoader {
    /// Of a file, or of the built-in model when `None`.
    pub fn new(path: Option<PathBuf>) -> OnnxLoader {
        OnnxLoader { path, parsed: OnceLock::new() }
    }

    fn read(&self) -> Result<Onnx, ModelError> {
        // What the exporter noted of tensors between the inputs and the outputs holds for its example, often for that
        // alone.
        let onnx = tract_onnx::onnx().with_ignore_value_info(true);
        let model = match &self.path {
            None => onnx.model_for_read(&mut &*LINEAR).map_err(OnnxError::from),
            // By its path: weights may lie in files beside it.
            Some(path) => {
                std::fs::File::open(path).map_err(ModelError::read(path))?;
                parse(&onnx, path)
            }
        };
        let parsed = model.and_then(prepare);
        parsed.map_err(|error| ModelError::unusable(self.name(), "an ONNX model", error))
    }
}

impl Loader for OnnxLoader {
    fn load(&self) -> Result<Box<dyn Model>, ModelError> {
        let model = self.parsed.get_or_init(|| self.read()).clone()?;
        Ok(Box::new(model))
    }

    fn name(&self) -> String {
        super::name_of(self.path.as_deref())
    }
}

fn parse(onnx: &tract_onnx::Onnx, path: &Path) -> Result<InferenceModel, OnnxError> {
    let file =
        onnx.proto_model_for_path(path).map_err(|error| match error.downcast::<prost::DecodeError>() {
            Ok(_) => OnnxError::NotProtobuf,
            Err(error) => error.into(),
        })?;
    let opset = file.opset_import.iter().find(|opset| ["", "ai.onnx"].contains(&&*opset.domain));
    if let Some(found) = opset.map(|opset| opset.version).filter(|version| *version > NEWEST_OPSET) {
        return Err(OnnxError::NewerOpset(found));
    }
    let folder = path.parent().and_then(Path::to_str);
    let ParseResult { model, unresolved_inputs, .. } = onnx.parse(&file, folder)?;
    if unresolved_inputs.is_empty() {
        return Ok(model);
    }
    Err(OnnxError::NotComputed(unresolved_inputs))
}

fn prepare(model: InferenceModel) -> Result<Onnx, OnnxError> {
    refuse_unserved_operators(&model)?;
    let inputs = model.inputs.clone();
    let rows = model.symbols.new_with_prefix("rows");
    let mut facts = Vec::with_capacity(inputs.len());
    for (number, outlet) in inputs.iter().enumerate() {
        facts.push(Declared::of(&model, number, *outlet, &rows)?);
    }
    let of_one = model.clone();
    let model = typed(model, &facts)?;
    refuse_squares_of_integers(&model)?;
    let mut outputs = Vec::with_capacity(model.outputs.len());
    for (number, outlet) in model.outputs.clone().into_iter().enumerate() {
        let name = label(&model, outlet);
        let fact = model.output_fact(number)?;
        let datatype = named_datatype("output", &name, fact.datum_type)?;
        let dims = fact.shape.iter().cloned().collect();
        outputs.push(Declared { name, datatype, dims });
    }
    let batch = batch(&facts, &outputs);
    let plan_of_one = match &batch {
        Some(symbol) if weights(&model)? <= SMALL => {
            let mut facts = facts.clone();
            for declared in &mut facts {
                declared.dims[0] = 1.into();
            }
            debug_assert!(!matches!(symbol, TDim::Val(_)), "any number of rows");
            Some(typed(of_one, &facts).and_then(plan)?)
        }
        _ => None,
    };
    let plan = plan(model)?;
    let specs = |declared: &[Declared]| declared.iter().map(Declared::spec).collect();
    let mut signature = Signature::new(specs(&facts), specs(&outputs));
    signature.join_only_if(batch.is_some());
    Ok(Onnx { plan, plan_of_one, signature: Arc::new(signature) })
}

/// What tract cannot compute, and what it computes wrongly.
fn refuse_unserved_operators(model: &InferenceModel) -> Result<(), OnnxError> {
    let mut unknown = Vec::new();
    for node in &model.nodes {
        let name = node.op.name();
        if name == "TreeEnsembleClassifier" {
            return Err(OnnxError::WrongLabels);
        }
        if let Some(operator) = name.strip_prefix("Unimplemented(") {
            let operator = operator.trim_end_matches(')').to_owned();
            if !unknown.contains(&operator) {
                unknown.push(operator);
            }
        }
    }
    if unknown.is_empty() { Ok(()) } else { Err(OnnxError::UnknownOperators(unknown)) }
}

/// tract makes a square of a product of a number with itself, and computes it in single precision whatever it is of.
fn refuse_squares_of_integers(model: &TypedModel) -> Result<(), OnnxError> {
    for node in &model.nodes {
        let datum = node.outputs.first().map(|output| output.fact.datum_type);
        if let Some(datum) = datum.filter(DatumType::is_integer)
            && node.op.name() == "Square"
        {
            return Err(OnnxError::IntegerSquares { datum, node: node.name.clone() });
        }
    }
    Ok(())
}

/// The protocol's type for one of tract's.
fn named_datatype(place: &'static str, name: &str, datum: DatumType) -> Result<DataType, OnnxError> {
    datatype(datum).ok_or_else(|| OnnxError::UnnamedType { place, name: name.to_owned(), datum })
}

/// A tensor that a model takes or gives.
#[derive(Clone)]
struct Declared {
    name: String,
    datatype: DataType,
    dims: TVec<TDim>,
}

impl Declared {
    /// An input. A dimension without a name gets one: the first is the rows of all inputs that do not say otherwise.
    fn of(
        model: &InferenceModel,
        number: usize,
        outlet: OutletId,
        rows: &Symbol,
    ) -> Result<Declared, OnnxError> {
        let name = label(model, outlet);
        let fact = model.input_fact(number)?;
        let Some(declared) = fact.datum_type.concretize() else { return Err(OnnxError::Untyped(name)) };
        let datatype = named_datatype("input", &name, declared)?;
        if fact.shape.is_open() {
            return Err(OnnxError::Unranked(name));
        }
        let dims = fact.shape.dims().enumerate().map(|(axis, dim)| match dim.concretize() {
            Some(dim) => dim,
            None if axis == 0 => rows.into(),
            None => model.symbols.new_with_prefix("size").into(),
        });
        let dims = dims.collect();
        Ok(Declared { name, datatype, dims })
    }

    fn spec(&self) -> TensorSpec {
        let dim = |dim: &TDim| {
            let size = dim.as_i64().and_then(|size| usize::try_from(size).ok());
            size.map_or(Dim::Dynamic, Dim::Fixed)
        };
        TensorSpec {
            name: self.name.clone(),
            datatype: self.datatype,
            shape: Some(self.dims.iter().map(dim).collect()),
            optional: false,
        }
    }

    fn rows(&self) -> Option<&TDim> {
        self.dims.first().filter(|rows| rows.as_i64().is_none())
    }
}

/// The number of rows, if it is the first dimension of everything.
fn batch(inputs: &[Declared], outputs: &[Declared]) -> Option<TDim> {
    let rows = inputs.first()?.rows()?;
    let all = inputs.iter().chain(outputs).all(|declared| declared.rows() == Some(rows));
    all.then(|| rows.clone())
}

fn label<F: Fact + Clone + 'static, O>(model: &Graph<F, O>, outlet: OutletId) -> String
where
    O: std::fmt::Debug + std::fmt::Display + AsRef<dyn Op> + AsMut<dyn Op> + Clone + 'static,
{
    model.outlet_label(outlet).unwrap_or(model.nodes[outlet.node].name.as_str()).to_owned()
}

/// The protocol's type for one of tract's.
fn datatype(datum: DatumType) -> Option<DataType> {
    Some(match datum {
        DatumType::Bool => DataType::Bool,
        // Quantised numbers come with a scale that only the model knows.
        DatumType::U8 | DatumType::QU8(_) => DataType::Uint8,
        DatumType::U16 => DataType::Uint16,
        DatumType::U32 => DataType::Uint32,
        DatumType::U64 => DataType::Uint64,
        DatumType::I8 | DatumType::QI8(_) => DataType::Int8,
        DatumType::I16 => DataType::Int16,
        DatumType::I32 | DatumType::QI32(_) => DataType::Int32,
        // Sizes of dimensions, before they are known.
        DatumType::I64 | DatumType::TDim => DataType::Int64,
        DatumType::F16 => DataType::Fp16,
        DatumType::F32 => DataType::Fp32,
        DatumType::F64 => DataType::Fp64,
        DatumType::String => DataType::Bytes,
        DatumType::Blob => return None,
    })
}

fn datum(datatype: DataType) -> Option<DatumType> {
    Some(match datatype {
        DataType::Bool => DatumType::Bool,
        DataType::Uint8 => DatumType::U8,
        DataType::Uint16 => DatumType::U16,
        DataType::Uint32 => DatumType::U32,
        DataType::Uint64 => DatumType::U64,
        DataType::Int8 => DatumType::I8,
        DataType::Int16 => DatumType::I16,
        DataType::Int32 => DatumType::I32,
        DataType::Int64 => DatumType::I64,
        DataType::Fp16 => DatumType::F16,
        DataType::Fp32 => DatumType::F32,
        DataType::Fp64 => DatumType::F64,
        DataType::Bytes => DatumType::String,
        DataType::Bf16 => return None,
    })
}

/// With inputs of these dimensions: the library chooses how to compute by the sizes that it knows.
fn typed(mut model: InferenceModel, inputs: &[Declared]) -> TractResult<TypedModel> {
    for (number, declared) in inputs.iter().enumerate() {
        let Some(datum) = datum(declared.datatype) else { continue };
        model.set_input_fact(number, InferenceFact::dt_shape(datum, declared.dims.clone()))?;
    }
    model.analyse(false)?;
    indices::checked(model.into_typed()?.into_decluttered()?)
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
    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn infer(&mut self, inputs: &[Option<tensor::Tensor>]) -> Result<Vec<tensor::Tensor>, InferError> {
        let alone = |input: &tensor::Tensor| input.shape().first() == Some(&1);
        let one = inputs.iter().flatten().all(alone);
        let plan = self.plan_of_one.as_ref().filter(|_| one).unwrap_or(&self.plan);
        let values = inputs.iter().flatten().map(|input| Ok(taken(input)?.into()));
        let values = values.collect::<TractResult<TVec<TValue>>>().map_err(infer_error)?;
        let outputs = plan.run(values).map_err(infer_error)?;
        let specs = self.signature.outputs.iter();
        outputs.iter().zip(specs).map(|(output, spec)| given(output, spec.datatype)).collect()
    }
}

fn taken(tensor: &tensor::Tensor) -> TractResult<Tensor> {
    let Some(datum) = datum(tensor.datatype()) else {
        return Err(TractError::msg(format!("tract has no type {}", tensor.datatype().name())));
    };
    if tensor.datatype() == DataType::Bytes {
        let texts: Result<Vec<String>, _> =
            tensor.strings().map(|bytes| std::str::from_utf8(bytes).map(str::to_owned)).collect();
        return tract_onnx::tract_core::internal::tensor1(&texts?).into_shape(tensor.shape());
    }
    let mut taken = Tensor::zero_dt(datum, tensor.shape())?;
    taken.as_bytes_mut().copy_from_slice(tensor.data());
    Ok(taken)
}

fn given(tensor: &Tensor, datatype: DataType) -> Result<tensor::Tensor, InferError> {
    let shape = tensor.shape().to_vec();
    if datatype == DataType::Bytes {
        let texts = tensor.to_plain_array_view::<String>().map_err(infer_error)?;
        let texts: Vec<&[u8]> = texts.iter().map(String::as_bytes).collect();
        return Ok(tensor::Tensor::of_strings(shape, &texts)?);
    }
    let plain = match tensor.datum_type() {
        DatumType::TDim => tensor.cast_to::<i64>().map_err(infer_error)?,
        _ => std::borrow::Cow::Borrowed(tensor),
    };
    Ok(tensor::Tensor::new(datatype, shape, plain.as_bytes().to_vec())?)
}

#[allow(clippy::needless_pass_by_value, reason = "it maps errors")]
fn infer_error(error: TractError) -> InferError {
    if let Some(fault) = error.downcast_ref::<OutOfRange>() {
        return InferError::invalid(fault.clone());
    }
    let text = words(&error);
    match cause_of(&text) {
        Cause::OutOfMemory => InferError::OutOfMemory(text),
        // Of the inputs: the file was checked when it was loaded, and it computes on the CPU.
        Cause::Inputs | Cause::Device | Cause::Other => InferError::invalid(text),
    }
}

/// Bytes of weights up to which a model gets a plan for one row. Beyond them the computation outweighs all that the
/// plan saves.
const SMALL: usize = 1 << 20;

/// `torch.nn.Linear(768, 2)`, what the tutorial serves.
pub(super) const LINEAR: &[u8] = include_bytes!("../../models/linear.onnx");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_model_has_its_weights_twice_only_if_they_are_few() {
        let parse = |mut bytes: &[u8]| {
            prepare(tract_onnx::onnx().model_for_read(&mut bytes).expect("ONNX")).expect("a model")
        };
        assert!(parse(LINEAR).plan_of_one.is_some());
        // Its file holds one matrix, which it multiplies by again and again.
        let again = include_bytes!("../../models/demo-mlp.onnx");
        assert!(again.len() < SMALL && parse(again).plan_of_one.is_none());
    }
}
