//! Models of plain rows: one row of FP32 numbers in, one tensor that JSON has a form for out. `/predict` and KServe's
//! first protocol know no others.

use super::served::Served;
use crate::tensor::{DataType, Signature, Tensor};

/// The numbers in a row that the model takes, if it is such a model.
///
/// # Errors
/// Which path serves this model instead of the one that was asked.
pub(super) fn row_width(served: &Served, signature: &Signature, path: &str) -> Result<usize, String> {
    let outputs = &signature.outputs[..];
    let plain =
        matches!(outputs, [output] if output.datatype.in_json() && output.datatype != DataType::Bytes);
    signature.row_width().filter(|_| plain).ok_or_else(|| {
        let list = |tensors: &[crate::tensor::TensorSpec]| {
            let tensors: Vec<String> = tensors.iter().map(ToString::to_string).collect();
            tensors.join(", ")
        };
        let model = &served.settings.identity.model;
        format!(
            "{path} expects a model with one input of FP32 [-1, N] and one output of numbers, found inputs {} and outputs {}; \
             POST /v2/models/{model}/infer serves it",
            list(&signature.inputs),
            list(outputs)
        )
    })
}

/// Rows of that width as the model's inputs.
pub(super) fn rows(numbers: &[f32], rows: usize, width: usize) -> Vec<Option<Tensor>> {
    let tensor = Tensor::of(vec![rows, width], numbers);
    debug_assert!(tensor.is_ok(), "as many numbers as the rows have");
    vec![tensor.ok()]
}

/// The one output of such a model.
///
/// # Errors
/// There are more or fewer.
pub(super) fn only(outputs: &[Tensor]) -> Result<&Tensor, String> {
    match outputs {
        [output] => Ok(output),
        _ => Err(format!("expected one output of the model, found {}", outputs.len())),
    }
}
