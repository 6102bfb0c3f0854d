//! Indices that requests bring, held to what they index. For some that are out of range tract computes with numbers
//! that lie elsewhere, perhaps those of another request, and at others it panics.

use tract_onnx::prelude::*;
use tract_onnx::tract_core::internal::{
    DimLike as _, EvalContext, EvalOp, Op, StaticName, TypedModelPatch, TypedNode, TypedOp,
};
use tract_onnx::tract_core::ops::array::{
    Gather, GatherElements, GatherNd, OneHot, ScatterElements, ScatterNd,
};
use tract_onnx::tract_core::ops::logic::IfThenElse;
use tract_onnx::tract_core::ops::scan::Scan;
use tract_onnx::tract_core::{as_op, op_as_typed_op, op_out_of_plan};

/// An index that a request brought, and what it may be.
#[derive(Debug, Clone, thiserror::Error)]
#[error("expected indices from -{size} to {} for the operator {operator}, found {found}", size - 1)]
pub(super) struct OutOfRange {
    operator: String,
    size: i64,
    found: i64,
}

/// The model with a check before each operator that takes indices, unless they are constant.
pub(super) fn checked(mut model: TypedModel) -> TractResult<TypedModel> {
    for id in 0..model.nodes.len() {
        if let Some(scan) = model.nodes[id].op_as_mut::<Scan>() {
            scan.body = checked(std::mem::take(&mut scan.body))?;
        }
        if let Some(branches) = model.nodes[id].op_as_mut::<IfThenElse>() {
            for body in [&mut branches.then_body, &mut branches.else_body] {
                *body = checked(std::mem::take(body))?;
            }
        }
        let Some(Indexing { data, indices, sizes, resolves }) = Indexing::of(&model, id)? else { continue };
        let node = model.node(id);
        let mut patch = TypedModelPatch::default();
        let mut inputs = patch.taps(&model, &node.inputs)?;
        let (sizes, mut taken) = match sizes {
            Sizes::Known(sizes) => (Ok(sizes), tvec!(inputs[indices])),
            Sizes::OfAxes(axes) => (Err(axes), tvec!(inputs[indices], inputs[data])),
        };
        let check = InRange { operator: label(node), sizes, resolves };
        taken = patch.wire_node(format!("{}.indices", node.name), check, &taken)?;
        inputs[indices] = taken[0];
        let outputs = patch.wire_node(&node.name, node.op.clone(), &inputs)?;
        patch.shunt_outside(&model, id.into(), outputs[0])?;
        patch.apply(&mut model)?;
    }
    Ok(model)
}

/// As people know it from the file.
fn label(node: &TypedNode) -> String {
    format!("{} {:?}", node.op.name(), node.name)
}

/// What an operator indexes.
struct Indexing {
    /// The inputs of the operator.
    data: usize,
    indices: usize,
    sizes: Sizes,
    /// tract does not count from the end by itself.
    resolves: bool,
}

/// The sizes that indices, in turn, must be below.
enum Sizes {
    Known(TVec<usize>),
    /// Of these axes of the data.
    OfAxes(TVec<usize>),
}

impl Indexing {
    fn of(model: &TypedModel, id: usize) -> TractResult<Option<Indexing>> {
        let node = model.node(id);
        let (data, indices) = if node.op_is::<OneHot>() { (0, 0) } else { (0, 1) };
        let Some(outlet) = node.inputs.get(indices) else { return Ok(None) };
        let fact = model.outlet_fact(*outlet)?;
        // Those that a graph makes of its own sizes have another type.
        let from_requests = [DatumType::I32, DatumType::I64].contains(&fact.datum_type);
        if fact.konst.is_some() || !from_requests {
            return Ok(None);
        }
        // Of operators that take several indices at a time, how many.
        let depth = |from: usize| -> TractResult<TVec<usize>> {
            let depth = fact.shape.last().map_or(Ok(0), TDim::to_usize)?;
            Ok((from..from + depth).collect())
        };
        let (axes, resolves) = if let Some(op) = node.op_as::<Gather>() {
            (tvec!(op.axis), false)
        } else if let Some(op) = node.op_as::<GatherElements>() {
            (tvec!(op.axis), false)
        } else if let Some(op) = node.op_as::<ScatterElements>() {
            (tvec!(op.axis), false)
        } else if let Some(op) = node.op_as::<GatherNd>() {
            (depth(op.batch_dims)?, true)
        } else if node.op_is::<ScatterNd>() {
            (depth(0)?, true)
        } else if let Some(op) = node.op_as::<OneHot>() {
            let sizes = Sizes::Known(tvec!(op.dim));
            return Ok(Some(Indexing { data, indices, sizes, resolves: false }));
        } else {
            return Ok(None);
        };
        let shape = &model.outlet_fact(node.inputs[data])?.shape;
        let known: Option<TVec<usize>> = axes.iter().map(|axis| shape[*axis].to_usize().ok()).collect();
        let sizes = known.map_or(Sizes::OfAxes(axes), Sizes::Known);
        Ok(Some(Indexing { data, indices, sizes, resolves }))
    }
}

/// Gives its first input back, if all of it are indices of something of these sizes, or of these axes of the second
/// input.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct InRange {
    operator: String,
    sizes: Result<TVec<usize>, TVec<usize>>,
    /// Indices that count from the end are given back counted from the beginning.
    resolves: bool,
}

impl Op for InRange {
    fn name(&self) -> StaticName {
        "InRange".into()
    }

    op_as_typed_op!();
}

impl EvalOp for InRange {
    op_out_of_plan!();

    fn eval(&self, _: &EvalContext, mut inputs: TVec<TValue>) -> TractResult<TVec<TValue>> {
        let sizes: TVec<usize> = match &self.sizes {
            Ok(sizes) => sizes.clone(),
            Err(axes) => axes.iter().map(|axis| inputs[1].shape()[*axis]).collect(),
        };
        inputs.truncate(1);
        let mut indices = inputs[0].cast_to::<i64>()?.into_owned();
        let mut from_the_end = false;
        let mut plain = indices.try_as_plain_ram_mut()?;
        for (place, index) in plain.as_slice_mut::<i64>()?.iter_mut().enumerate() {
            let size = i64::try_from(sizes[place % sizes.len()])?;
            if !(-size..size).contains(index) {
                return Err(OutOfRange { operator: self.operator.clone(), size, found: *index }.into());
            }
            if *index < 0 {
                from_the_end = true;
                *index += size;
            }
        }
        if self.resolves && from_the_end {
            let datum = inputs[0].datum_type();
            return Ok(tvec!(indices.cast_to_dt(datum)?.into_owned().into_tvalue()));
        }
        Ok(inputs)
    }
}

impl TypedOp for InRange {
    as_op!();

    fn output_facts(&self, inputs: &[&TypedFact]) -> TractResult<TVec<TypedFact>> {
        Ok(tvec!(inputs[0].datum_type.fact(inputs[0].shape.clone())))
    }
}
