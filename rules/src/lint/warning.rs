//! Warnings of the lints.

use std::fmt;

use crate::fault::Fault;

/// Something that a rule file is allowed to say and hardly means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Warning {
    /// What it is, and where.
    pub fault: Fault,
    /// Whether the rule never answers as it stands: it makes no metric, or every request for one will fail.
    pub never_answers: bool,
}

impl From<Fault> for Warning {
    fn from(fault: Fault) -> Warning {
        Warning { fault, never_answers: false }
    }
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.fault.fmt(f)
    }
}

/// What a message starts with when the rule is of no use.
pub(super) const NO_METRIC: &str = "this rule makes no metric";
