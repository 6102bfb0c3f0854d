//! Why text has no tree, and where.

use std::fmt;

/// A place in a query. Both numbers count from 1; a column counts bytes, as in Prometheus' own errors.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Position {
    /// The line.
    pub line: usize,
    /// The byte within the line.
    pub column: usize,
}

impl fmt::Display for Position {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}:{}", self.line, self.column)
    }
}

/// Why text has no tree.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ParseError {
    /// Prometheus refuses it too, whatever its feature flags.
    #[error("{position}: parse error: {reason}")]
    Invalid {
        /// Where the fault is.
        position: Position,
        /// The fault.
        reason: String,
    },
    /// A Prometheus may take it, but this program does not understand it.
    #[error("{position}: {construct}")]
    Unsupported {
        /// Where the construct is.
        position: Position,
        /// What it is called.
        construct: String,
    },
}

/// An error at a byte of the text, before it is known in which line that is.
#[derive(Debug)]
pub(crate) struct Fault {
    pub(crate) at: usize,
    pub(crate) cause: Cause,
}

#[derive(Debug)]
pub(crate) enum Cause {
    Invalid(String),
    Unsupported(String),
}

impl Fault {
    pub(crate) fn invalid(at: usize, reason: impl Into<String>) -> Self {
        Self { at, cause: Cause::Invalid(reason.into()) }
    }

    pub(crate) fn unsupported(at: usize, construct: impl Into<String>) -> Self {
        Self { at, cause: Cause::Unsupported(construct.into()) }
    }

    pub(crate) fn is_invalid(&self, reason: &str) -> bool {
        matches!(&self.cause, Cause::Invalid(found) if found == reason)
    }

    pub(crate) fn locate(self, text: &str) -> ParseError {
        let before = &text.as_bytes()[..self.at.min(text.len())];
        let position = Position {
            line: before.split(|byte| *byte == b'\n').count(),
            column: 1 + before.rsplit(|byte| *byte == b'\n').next().map_or(0, <[u8]>::len),
        };
        match self.cause {
            Cause::Invalid(reason) => ParseError::Invalid { position, reason },
            Cause::Unsupported(construct) => ParseError::Unsupported { position, construct },
        }
    }
}
