//! Which series a rule's query can be written for.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use crate::quoted_names::{Form, Written};
use crate::quoting::{is_label_name, is_metric_name};
use crate::rule::Rule;
use crate::sample::Sample;

/// How one rule's query writes the names it is about.
#[derive(Default)]
pub(super) struct Speller {
    /// By the labels of the namespace and of the objects.
    forms: HashMap<Labels, Form>,
    /// Series whose name the query cannot hold.
    unwritable: BTreeSet<Arc<str>>,
}

type Labels = (Option<Arc<str>>, Option<Arc<str>>);

impl Speller {
    pub(super) fn write(
        &mut self,
        rule: &Rule,
        series: &Arc<str>,
        namespace_label: Option<&Arc<str>>,
        object_label: Option<&Arc<str>>,
    ) -> Option<Written> {
        let labels = [namespace_label, object_label];
        if is_metric_name(series) && labels.into_iter().flatten().all(|label| is_label_name(label)) {
            return Some(Written::plainly(series));
        }
        let group_by: Vec<&str> = object_label.iter().map(|label| &***label).collect();
        let sample = Sample {
            rule: rule.id,
            template: &rule.metrics_query,
            namespace_label: namespace_label.map(|label| &**label),
            object_label: object_label.map(|label| &**label),
            group_by: &group_by,
        };
        let key = (namespace_label.cloned(), object_label.cloned());
        let written = self.forms.entry(key).or_insert_with(|| sample.form()).write(series);
        if written.is_none() {
            self.unwritable.insert(Arc::clone(series));
        }
        written
    }

    /// The series that make no metric for their names.
    pub(super) fn warning(self, rule: &Rule) -> Option<String> {
        let first = self.unwritable.first()?;
        Some(format!(
            "{}: {} series like {first:?} make no metric: their names need quotes in PromQL, and metricsQuery has no place for \
             them; write <<.Series>>{{<<.LabelMatchers>>}} or {{\"<<.Series>>\",<<.LabelMatchers>>}}",
            rule.id,
            self.unwritable.len()
        ))
    }
}
