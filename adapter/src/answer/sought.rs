//! Questions beyond the request's own, for an explanation. They are limited to the namespace of the request by the code
//! that limits rules' queries. What is read from their answers is numbers, names of objects that were asked for, names
//! of labels, and label values of samples that say they are of the namespace.

use std::time::{Duration, Instant};

use rules::catalog::Origin;
use selector::labels::Selector;

use super::{Answerer, QueryContext};
use crate::source::guard::Flow;
use crate::source::{Sample, Samples};

/// What was asked for.
pub(super) struct Sought<'a> {
    pub(super) origin: &'a Origin,
    /// `None` for objects that are in no namespace, and for a rule that does not look at it.
    pub(super) namespace: Option<&'a str>,
    pub(super) selector: &'a Selector,
    /// The label of the objects, and their names; `None` for an external metric.
    pub(super) objects: Option<(&'a str, &'a [&'a str])>,
    /// What the objects are called: `pods`.
    pub(super) what: &'a str,
    /// The time of the request's own query.
    pub(super) context: QueryContext<'a>,
}

impl Sought<'_> {
    /// Where the series were looked for, as the end of a sentence.
    pub(super) fn place(&self) -> String {
        self.namespace.map(|namespace| format!(" in the namespace {namespace}")).unwrap_or_default()
    }

    /// The label of the objects.
    pub(super) fn label(&self) -> Option<&str> {
        self.objects.map(|(label, _)| label)
    }

    /// Whether a sample is of an object asked for.
    pub(super) fn is_of(&self, sample: &Sample) -> bool {
        match self.objects {
            None => true,
            Some((label, names)) => sample.label(label).is_some_and(|name| names.contains(&name)),
        }
    }
}

impl Answerer {
    /// The samples of a further question; `None` without an answer.
    pub(super) async fn ask_further(&self, context: QueryContext<'_>, promql: &str) -> Option<Vec<Sample>> {
        let QueryContext { namespace, time, deadline } = context;
        let deadline = deadline.min(Instant::now() + LONGEST);
        match self.source.ask(Flow::Namespace(namespace), promql, time, deadline).await.ok()?.value {
            Samples::Vector(samples) => Some(samples),
            Samples::Scalar { .. } => None,
        }
    }
}

/// The most time for one of these questions.
pub(super) const LONGEST: Duration = Duration::from_secs(5);
