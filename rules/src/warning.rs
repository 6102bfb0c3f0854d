//! Warnings: what a rule file is allowed to say and hardly means, each by the name of its lint.

mod lints;

use std::fmt;

use promql::ParseError;

use crate::fault::{Fault, bounded};
pub use lints::Lint;

/// Something that a rule file is allowed to say and hardly means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Warning {
    /// What kind of thing it is.
    pub lint: Lint,
    /// What it is, and where.
    pub fault: Fault,
    /// Whether the rule never answers as it stands: it makes no metric, or every request for one will fail.
    pub never_answers: bool,
    /// The query that the fault is in, when it is in what the rule renders.
    pub rendered: Option<Box<Rendered>>,
}

/// A query that a rule renders for sample names, and a place in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rendered {
    /// The query.
    pub text: String,
    /// 1-based line.
    pub line: usize,
    /// 1-based column, in bytes.
    pub column: usize,
    /// What is wrong there.
    pub message: String,
}

impl Rendered {
    /// The place of a parser's error.
    pub(crate) fn of(text: &str, error: &ParseError) -> Rendered {
        let (position, message) = match error {
            ParseError::Invalid { position, reason } => (position, reason),
            ParseError::Unsupported { position, construct } => (position, construct),
        };
        let (line, column) = (position.line, position.column);
        Rendered { text: bounded(text.to_owned()), line, column, message: bounded(message.clone()) }
    }
}

impl Warning {
    /// A warning of a rule that may answer.
    pub(crate) fn new(lint: Lint, fault: Fault) -> Warning {
        Warning { lint, fault, never_answers: false, rendered: None }
    }

    /// A warning of a rule that never answers.
    pub(crate) fn never_answers(lint: Lint, fault: Fault) -> Warning {
        Warning { never_answers: true, ..Warning::new(lint, fault) }
    }
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.fault.fmt(f)
    }
}

/// What a message starts with when the rule is of no use.
pub(crate) const NO_METRIC: &str = "this rule makes no metric";
