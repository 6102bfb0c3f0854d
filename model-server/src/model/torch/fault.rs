//! Errors of libtorch.

use crate::model::cause::{Cause, cause_of, line_of};
use crate::model::{InferError, ModelError};

/// libtorch has no classes of errors, only words.
pub(super) fn infer_error(error: &tch::TchError) -> InferError {
    let text = error.to_string();
    let line = line_of(&text).to_owned();
    match cause_of(&text) {
        Cause::OutOfMemory => InferError::OutOfMemory(line),
        Cause::Device => InferError::Device(line),
        // Of the inputs: the file was checked when it was loaded.
        Cause::Inputs | Cause::Other => InferError::Invalid(ModelError(line)),
    }
}
