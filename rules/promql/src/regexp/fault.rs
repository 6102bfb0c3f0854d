//! Why a pattern is refused, and where.

use std::fmt;

/// A fault of a pattern.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Fault {
    /// The byte of the text at which it is.
    at: usize,
    reason: String,
}

impl Fault {
    pub(super) fn new(at: usize, reason: impl Into<String>) -> Fault {
        Fault { at, reason: reason.into() }
    }

    /// The fault of a part that starts at a byte.
    pub(super) fn behind(self, start: usize) -> Fault {
        Fault { at: self.at + start, ..self }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at byte {}", self.reason, self.at)
    }
}
