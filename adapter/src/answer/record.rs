//! What the steps of one request note down for its explanation. A request that does not ask for one notes nothing and
//! makes nothing to be noted.

pub(super) mod outcome;
pub(super) mod query;
mod rule;
pub(super) mod samples;
mod targets;

use std::fmt;
use std::sync::Arc;

use rules::RuleId;

use super::bounded::{LONGEST_ASKED, LONGEST_WHY, bounded};
use crate::explanation::{Explanation, MOST_LISTED, ObjectsSelected, Reason};

/// A request as an explanation names it.
pub(super) fn noted(group: &str, asked: &dyn fmt::Display) -> String {
    bounded(&format!("{group} {asked}"), LONGEST_ASKED).into_owned()
}

/// The notes of one request.
pub(super) struct Record(Option<Box<Notes>>);

/// What was noted, and what may be.
pub(super) struct Notes {
    pub(super) explanation: Explanation,
    /// Whether the caller may see the texts of rules, queries and the source's messages.
    pub(super) sees_rules: bool,
    /// The message of the answer, where that of the answer itself holds what may not be shown.
    pub(super) message: Option<String>,
    /// The policy that made each of the values shown; `None` for a sample.
    pub(super) policies: Vec<Option<String>>,
    /// The rule that would make the metric, and whose series query found nothing.
    pub(super) finds_no_series: Option<RuleId>,
}

impl Record {
    /// Notes nothing.
    pub(super) fn off() -> Record {
        Record(None)
    }

    /// Notes everything that the caller may see.
    pub(super) fn on(sees_rules: bool) -> Record {
        let explanation = Explanation::default();
        let (message, policies, finds_no_series) = (None, Vec::new(), None);
        Record(Some(Box::new(Notes { explanation, sees_rules, message, policies, finds_no_series })))
    }

    /// Whether an explanation is asked for.
    pub(super) fn is_on(&self) -> bool {
        self.0.is_some()
    }

    /// Calls `note` if an explanation is asked for.
    pub(super) fn note(&mut self, note: impl FnOnce(&mut Notes)) {
        if let Some(notes) = &mut self.0 {
            note(notes);
        }
    }

    /// Notes the cause, unless an earlier step did.
    pub(super) fn cause(&mut self, reason: Reason, message: impl FnOnce() -> String) {
        self.note(|notes| notes.cause(reason, message));
    }

    /// The notes, where an explanation is asked for.
    pub(super) fn notes(&mut self) -> Option<&mut Notes> {
        self.0.as_deref_mut()
    }

    pub(super) fn into_explanation(self) -> Option<Explanation> {
        Some(self.0?.explanation)
    }
}

impl Notes {
    /// Adds a line on what was asked beyond the request's own question, while there is room.
    pub(super) fn further(&mut self, what: String) {
        if self.explanation.further.len() < MOST_LISTED {
            self.explanation.further.push(what);
        }
    }

    pub(super) fn cause(&mut self, reason: Reason, message: impl FnOnce() -> String) {
        self.explanation.caused_by(reason, || bounded(&message(), LONGEST_WHY).into_owned());
    }

    pub(super) fn warn(&mut self, warning: &str) {
        if self.explanation.warnings.len() < MOST_LISTED {
            self.explanation.warnings.push(bounded(warning, LONGEST_WHY).into_owned());
        }
    }

    pub(super) fn has_cause(&self) -> bool {
        !self.explanation.cause.message.is_empty()
    }

    /// Step 6: the objects.
    pub(super) fn objects(&mut self, by: &str, names: &[Arc<str>]) {
        let shown = names.iter().take(MOST_LISTED);
        self.explanation.objects = Some(ObjectsSelected {
            by: bounded(by, LONGEST_ASKED).into_owned(),
            count: names.len(),
            names: shown.map(|name| bounded(name, LONGEST_ASKED).into_owned()).collect(),
        });
    }
}
