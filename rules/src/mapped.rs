//! Which resources the rules of a file make metrics of.

use std::collections::{BTreeMap, BTreeSet};

use crate::RuleSet;
use crate::resource::{GroupResource, ResourceLabels, ResourceMapper};
use crate::rule::RuleId;

/// The resources of a file's rules. External rules have none.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct MappedResources {
    /// Resources that labels are mapped to, each with the rules that map it. One that the mapper does not know is as
    /// the file names it.
    pub resources: BTreeMap<GroupResource, BTreeSet<RuleId>>,
    /// Rules with `resources.template`, which maps whichever labels series have.
    pub by_template: BTreeSet<RuleId>,
}

impl RuleSet {
    /// The resources that the rules make metrics of.
    pub fn mapped_resources(&self, mapper: &dyn ResourceMapper) -> MappedResources {
        let mut mapped = MappedResources::default();
        for rule in &self.custom {
            mapped.add(rule.id, &rule.labels, mapper);
        }
        if let Some(resource) = &self.resource {
            for queries in [&resource.cpu, &resource.memory] {
                // Namespaces only limit these queries.
                for name in ["pods", "nodes"] {
                    if let Some(kind) = mapper.kind_for(name, "") {
                        mapped.resources.entry(kind.group_resource()).or_default().insert(queries.rule);
                    }
                }
            }
        }
        mapped
    }
}

impl MappedResources {
    fn add(&mut self, rule: RuleId, labels: &std::sync::Arc<ResourceLabels>, mapper: &dyn ResourceMapper) {
        let labels = labels.resolve(mapper);
        if labels.has_template() {
            self.by_template.insert(rule);
        }
        let known =
            labels.overrides().filter_map(|(_, kind)| kind).map(crate::resource::Kind::group_resource);
        let unknown = labels.unknown.iter().map(|(_, resource)| resource.clone());
        for resource in known.chain(unknown) {
            self.resources.entry(resource).or_default().insert(rule);
        }
    }
}
