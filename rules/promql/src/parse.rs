//! PromQL text to a tree.

use promql_parser::parser::{self, Expr};

/// Why text has no tree.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ParseError {
    /// Prometheus refuses it too.
    #[error("{0}")]
    Invalid(String),
}

/// The tree of a PromQL expression.
///
/// # Errors
/// Text that is not PromQL, with the place if it is known.
pub fn parse(text: &str) -> Result<Expr, ParseError> {
    parser::parse(text).map_err(ParseError::Invalid)
}
