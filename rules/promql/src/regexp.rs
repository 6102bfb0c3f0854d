//! Go's regular expressions (RE2) on the regex crate.

use regex::Regex;

/// Why a regular expression does not compile.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("expected a regular expression, found {pattern:?}: {cause}")]
pub struct RegexpError {
    /// The pattern as written.
    pub pattern: String,
    /// The reason, in one line.
    pub cause: String,
}

/// Compiles a pattern with the meaning that Go's `regexp` gives it.
///
/// # Errors
/// A pattern that Go refuses, or that has no equal here.
pub fn compile(pattern: &str) -> Result<Regex, RegexpError> {
    Regex::new(pattern).map_err(|error| RegexpError {
        pattern: pattern.to_owned(),
        cause: error.to_string().lines().last().unwrap_or_default().trim_start_matches("error: ").to_owned(),
    })
}
