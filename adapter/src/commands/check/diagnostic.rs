//! What `adapter check` found, before it is printed.

use rules::{Fault, Rendered, Warning};

use super::found::RuleFound;

/// What is to be said of one file, or of the Prometheus that its rules were tried on.
#[derive(Default)]
pub(super) struct FileReport {
    /// As it was given.
    pub(super) name: String,
    /// Its text; empty when it could not be read.
    pub(super) text: String,
    /// In the order of the file.
    pub(super) diagnostics: Vec<Diagnostic>,
    /// What the file holds; `None` for one that is not served.
    pub(super) summary: Option<String>,
    /// What each rule finds; empty for a file.
    pub(super) live: Vec<RuleFound>,
}

/// One finding.
pub(super) struct Diagnostic {
    pub(super) severity: Severity,
    /// The lint that it is of; `None` for a fault.
    pub(super) lint: Option<&'static str>,
    pub(super) message: String,
    pub(super) place: Option<Place>,
    pub(super) help: Option<String>,
    /// A query that the rule renders, with a place in it.
    pub(super) rendered: Option<Rendered>,
}

/// How bad a finding is, the worst last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Severity {
    /// It only says how the file is read.
    Note,
    /// It is allowed and hardly meant.
    Warning,
    /// The rule never answers.
    NeverAnswers,
    /// The file is not served.
    Refused,
}

/// A place in a file's text.
pub(super) struct Place {
    /// As a path of field names; empty for the file as a whole.
    pub(super) path: String,
    /// 1-based.
    pub(super) line: usize,
    /// 1-based, in characters.
    pub(super) column: usize,
    /// In characters; 0 for the rest of the line.
    pub(super) width: usize,
}

impl FileReport {
    /// A file that cannot be read.
    pub(super) fn unread(name: String, cause: String) -> FileReport {
        let diagnostics = vec![Diagnostic::unplaced(Severity::Refused, cause)];
        FileReport { name, diagnostics, ..FileReport::default() }
    }
}

impl Diagnostic {
    /// A finding that has no place in a file.
    pub(super) fn unplaced(severity: Severity, message: String) -> Diagnostic {
        Diagnostic { severity, lint: None, message, place: None, help: None, rendered: None }
    }

    /// A finding of a check that is not of a rule file alone.
    pub(super) fn new(severity: Severity, name: &'static str, message: String, place: Place) -> Diagnostic {
        Diagnostic { severity, lint: Some(name), message, place: Some(place), help: None, rendered: None }
    }

    pub(super) fn of_fault(fault: Fault) -> Diagnostic {
        let (message, place) = parts(fault);
        Diagnostic {
            severity: Severity::Refused,
            lint: None,
            message,
            place: Some(place),
            help: None,
            rendered: None,
        }
    }

    pub(super) fn of_warning(warning: &Warning) -> Diagnostic {
        let Warning { lint, fault, never_answers, rendered } = warning;
        let (message, place) = parts(fault.clone());
        let severity = match (never_answers, lint.is_note()) {
            (true, _) => Severity::NeverAnswers,
            (false, true) => Severity::Note,
            (false, false) => Severity::Warning,
        };
        Diagnostic {
            severity,
            lint: Some(lint.name()),
            message,
            place: Some(place),
            help: Some(lint.help().to_owned()),
            rendered: rendered.as_deref().cloned(),
        }
    }

    /// Where it stands in the file.
    pub(super) fn position(&self) -> (usize, usize) {
        self.place.as_ref().map_or((0, 0), |place| (place.line, place.column))
    }
}

impl Severity {
    /// As compilers call it.
    pub(super) fn name(self) -> &'static str {
        match self {
            Severity::Note => "note",
            Severity::Warning => "warning",
            Severity::NeverAnswers | Severity::Refused => "error",
        }
    }
}

fn parts(fault: Fault) -> (String, Place) {
    let Fault { path, line, column, width, message } = fault;
    (message, Place { path, line, column, width })
}
