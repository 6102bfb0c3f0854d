//! Why tract cannot serve an ONNX file.

use tract_onnx::prelude::{DatumType, TractError};

/// Why tract cannot serve an ONNX file.
#[derive(Debug, thiserror::Error)]
pub(super) enum OnnxError {
    #[error("expected ONNX, found something else: it is not protobuf")]
    NotProtobuf,
    #[error("expected operators of an opset up to {NEWEST_OPSET}, found {0}")]
    NewerOpset(i64),
    #[error("expected a node that computes each tensor, found none for {}", .0.join(", "))]
    NotComputed(Vec<String>),
    #[error("tract computes labels of the operator TreeEnsembleClassifier wrongly")]
    WrongLabels,
    #[error("tract does not know the {} {}", if .0.len() == 1 { "operator" } else { "operators" }, .0.join(", "))]
    UnknownOperators(Vec<String>),
    #[error("tract computes squares of {datum:?} in single precision ({node})")]
    IntegerSquares { datum: DatumType, node: String },
    #[error("{place} {name:?} is of type {datum:?}, which has no name")]
    UnnamedType { place: &'static str, name: String, datum: DatumType },
    #[error("input {0:?} has no type")]
    Untyped(String),
    #[error("input {0:?} has no number of dimensions, and tract needs one")]
    Unranked(String),
    /// Anything else, in tract's words.
    #[error("{0}")]
    Tract(String),
}

impl From<TractError> for OnnxError {
    fn from(error: TractError) -> OnnxError {
        OnnxError::Tract(words(&error))
    }
}

/// An error's words and those of its causes, without the values of tract's own types.
pub(super) fn words(error: &TractError) -> String {
    let text = format!("{error:#}");
    text.split(" (TurnState(").next().unwrap_or_default().to_owned()
}

/// The newest version of ONNX's operators; what a later one means by a name is not known.
pub(super) const NEWEST_OPSET: i64 = 28;
