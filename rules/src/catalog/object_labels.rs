//! Which labels of a rule's series name objects, and of which resources.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, OnceLock};

use super::matched::RuleQuery;
use crate::resource::{GroupResource, Kind, ResolvedLabels, ResourceMapper};

/// A resource that a rule has metrics for, and the labels that say of which object.
pub(super) struct ObjectLabel {
    pub(super) resource: GroupResource,
    pub(super) namespaced: bool,
    /// The label that names the objects.
    pub(super) label: Arc<str>,
    pub(super) namespace_label: Option<Arc<str>>,
    /// The rule's query for such objects, once a series has a metric of them.
    pub(super) query: OnceLock<Arc<RuleQuery>>,
}

/// The resources of one rule's series. Most series have the same labels.
pub(super) struct ObjectLabels<'a> {
    labels: &'a ResolvedLabels,
    mapper: &'a dyn ResourceMapper,
    namespace_label: Option<Arc<str>>,
    /// By the names of labels.
    known: HashMap<Arc<[Arc<str>]>, Arc<[ObjectLabel]>>,
}

impl<'a> ObjectLabels<'a> {
    pub(super) fn of(labels: &'a ResolvedLabels, mapper: &'a dyn ResourceMapper) -> ObjectLabels<'a> {
        let namespace_label = namespace_label(labels, mapper);
        ObjectLabels { labels, mapper, namespace_label, known: HashMap::new() }
    }

    /// Sorted by resource.
    pub(super) fn of_series(&mut self, label_names: &Arc<[Arc<str>]>) -> Arc<[ObjectLabel]> {
        if let Some(known) = self.known.get(label_names) {
            return Arc::clone(known);
        }
        let kinds: BTreeMap<GroupResource, Arc<Kind>> = label_names
            .iter()
            .filter_map(|label| self.labels.kind_of(label, self.mapper))
            .map(|kind| (kind.group_resource(), kind))
            .collect();
        let found = kinds.into_iter().filter_map(|(resource, kind)| {
            Some(ObjectLabel {
                resource,
                namespaced: kind.namespaced,
                label: self.labels.label_of(&kind)?,
                namespace_label: self.namespace_label.clone(),
                query: OnceLock::new(),
            })
        });
        let found: Arc<[ObjectLabel]> = found.collect();
        self.known.insert(Arc::clone(label_names), Arc::clone(&found));
        found
    }
}

/// The label that names namespaces; `None` when the rule has none.
pub(super) fn namespace_label(labels: &ResolvedLabels, mapper: &dyn ResourceMapper) -> Option<Arc<str>> {
    mapper.kind_for("namespaces", "").and_then(|namespace| labels.label_of(&namespace))
}
