//! Which labels a rule's series carry, and which of those that requests will ask by they lack.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use super::series::Series;
use crate::resource::{Kind, ResolvedLabels, ResourceMapper};
use crate::rule::{Rule, RuleId};

/// By the name of series, the names of labels that any of them carries, sorted.
pub(super) fn carried_labels<'a>(
    series: impl IntoIterator<Item = &'a Series>,
) -> HashMap<&'a str, Arc<[Arc<str>]>> {
    let mut carried: HashMap<&str, Arc<[Arc<str>]>> = HashMap::new();
    for Series { name, label_names } in series {
        let all = carried.entry(name).or_insert_with(|| Arc::new([]));
        let lacks = label_names.iter().any(|label| all.binary_search(label).is_err());
        if lacks && all.is_empty() && label_names.is_sorted() {
            *all = Arc::clone(label_names);
        } else if lacks {
            let together: BTreeSet<&Arc<str>> = all.iter().chain(label_names.iter()).collect();
            *all = together.into_iter().cloned().collect();
        }
    }
    carried
}

/// The labels of the series that a rule makes metrics of.
pub(super) struct Carried<'a> {
    rule: RuleId,
    labels: BTreeSet<&'a str>,
    /// Without any series there is nothing to be said of their labels.
    is_empty: bool,
}

impl<'a> Carried<'a> {
    pub(super) fn of(rule: &Rule, by_name: &'a HashMap<&str, Arc<[Arc<str>]>>) -> Carried<'a> {
        let kept: Vec<_> = by_name
            .iter()
            .filter(|(name, _)| rule.metric_of(name).is_some_and(|metric| !metric.is_empty()))
            .collect();
        let labels = kept.iter().flat_map(|(_, labels)| labels.iter()).map(|label| &**label).collect();
        Carried { rule: rule.id, labels, is_empty: kept.is_empty() }
    }

    /// Labels of the rule that no series has, where that keeps requests from finding anything.
    pub(super) fn lacks(&self, labels: &ResolvedLabels, mapper: &dyn ResourceMapper) -> Vec<String> {
        let is_namespace = |kind: &Kind| kind.group.is_empty() && kind.plural == "namespaces";
        let objects: Vec<Arc<Kind>> = self
            .labels
            .iter()
            .filter_map(|label| labels.kind_of(label, mapper))
            .filter(|kind| !is_namespace(kind))
            .collect();
        let mut found = Vec::new();
        if (objects.is_empty() || objects.iter().any(|kind| kind.namespaced))
            && let Some(namespaces) = mapper.kind_for("namespaces", "")
            && let Some(label) = labels.label_of(&namespaces)
        {
            found.extend(self.lacks_namespace(&label));
        }
        if objects.is_empty() {
            let others = labels.overrides().filter_map(|(label, kind)| Some((label, kind?)));
            for (label, kind) in others.filter(|(_, kind)| !is_namespace(kind)) {
                found.extend(self.lacks_label(label, &kind.group_resource().to_string()));
            }
        }
        found
    }

    pub(super) fn lacks_namespace(&self, label: &str) -> Option<String> {
        self.lacks_label(label, "namespaces")
    }

    fn lacks_label(&self, label: &str, resource: &str) -> Option<String> {
        if self.is_empty || self.labels.contains(label) {
            return None;
        }
        let is_near = |name: &&str| label.contains(name) || name.contains(label);
        let near: Vec<String> =
            self.labels.iter().copied().filter(is_near).take(SHOWN).map(|name| format!("{name:?}")).collect();
        let hint = if near.is_empty() { String::new() } else { format!("; they have {}", near.join(", ")) };
        Some(format!(
            "{}: no series that it finds has the label {label:?}, by which requests name {resource}{hint}",
            self.rule
        ))
    }
}

const SHOWN: usize = 3;
