//! Kubernetes resources, and which of them a series' labels speak of.

mod built_in;
mod kind;
mod labels;

use std::sync::Arc;

pub use kind::{GroupResource, Kind};
pub use labels::{ResolvedLabels, ResourceLabels, ResourceLabelsError};

/// What a cluster knows of its resources: the part of upstream's REST mapper that rules need.
pub trait ResourceMapper: Send + Sync {
    /// The kind of a resource given in singular or plural, in any case; an empty group means any, the core group
    /// first. `None` when it does not exist.
    fn kind_for(&self, resource: &str, group: &str) -> Option<Arc<Kind>>;
}

/// A mapper over a fixed list of kinds.
#[derive(Debug, Clone)]
pub struct StaticMapper {
    /// In order of preference.
    kinds: Vec<Arc<Kind>>,
}

impl StaticMapper {
    /// A mapper over `kinds`, the preferred of equal names first.
    pub fn new(kinds: Vec<Kind>) -> StaticMapper {
        StaticMapper { kinds: kinds.into_iter().map(Arc::new).collect() }
    }

    /// A mapper over kinds that others hold too.
    pub fn from_shared(kinds: Vec<Arc<Kind>>) -> StaticMapper {
        StaticMapper { kinds }
    }

    /// The kinds, in order of preference.
    pub fn kinds(&self) -> &[Arc<Kind>] {
        &self.kinds
    }

    /// The kinds that every Kubernetes cluster serves.
    pub fn built_in() -> StaticMapper {
        StaticMapper::new(built_in::kinds())
    }

    fn find(&self, matches: impl Fn(&Kind) -> bool) -> Option<Arc<Kind>> {
        self.kinds.iter().find(|kind| matches(kind)).cloned()
    }
}

impl ResourceMapper for StaticMapper {
    /// Upstream's mapper takes a group by its beginning when no group has exactly that name; so does this one
    /// (`k8s.io/apimachinery/pkg/api/meta/restmapper.go`).
    fn kind_for(&self, resource: &str, group: &str) -> Option<Arc<Kind>> {
        let resource = resource.to_lowercase();
        if resource.is_empty() {
            return None;
        }
        let named = |kind: &Kind| kind.plural == resource || kind.singular == resource;
        if group.is_empty() {
            return self.find(named);
        }
        self.find(|kind| named(kind) && kind.group == group)
            .or_else(|| self.find(|kind| named(kind) && kind.group.starts_with(group)))
    }
}

#[cfg(test)]
mod tests {
    use testkit::rows::each_row;

    use super::*;

    #[test]
    fn resolves_as_a_rest_mapper() {
        let mapper = StaticMapper::built_in();
        let rows = [
            ("pods", "", Some("pods")),
            ("Pod", "", Some("pods")),
            ("deployment", "", Some("deployments.apps")),
            ("ingress", "", Some("ingresses.networking.k8s.io")),
            ("ingresses", "networking", Some("ingresses.networking.k8s.io")),
            ("events", "", Some("events")),
            ("events", "events.k8s.io", Some("events.events.k8s.io")),
            ("job", "", Some("jobs.batch")),
            ("deployments", "v1.apps", None),
            ("widgets", "", None),
            ("", "", None),
        ];
        each_row(rows, |(resource, group, expected)| {
            let found = mapper.kind_for(resource, group).map(|kind| kind.group_resource().to_string());
            assert_eq!(found.as_deref(), expected, "{resource} {group}");
        });
        assert!(!mapper.kind_for("node", "").expect("nodes").namespaced);
        assert_eq!(mapper.kind_for("deployment", "").expect("deployments").api_version(), "apps/v1");
    }
}
