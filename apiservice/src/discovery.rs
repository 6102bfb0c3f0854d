//! What the server serves: `/apis` and below, rendered once and published as a whole (`docs/contract.md#discovery`).
//!
//! The aggregator asks for this every few seconds. It never depends on anything outside the process: a discovery
//! document that fails makes a cluster's namespaces impossible to delete.

mod aggregated;
mod legacy;

use std::collections::BTreeMap;
use std::sync::Arc;

use arc_swap::ArcSwap;

pub use crate::document::{Document, Rendered};
pub use crate::groups::{GroupDescription, ResourceEntry};
use crate::openapi::OpenApi;
pub use aggregated::AggregatedVersion;
use legacy::{ApiGroup, ApiGroupList, ApiResourceList, ServerAddress, TypedGroup};

/// Every discovery document. Immutable.
#[derive(Debug)]
pub struct Discovery {
    groups: Document,
    by_group: BTreeMap<String, Document>,
    by_version: BTreeMap<(String, String), Document>,
    aggregated: [Document; 2],
    openapi: OpenApi,
}

/// The current discovery documents. Cheap to clone.
#[derive(Debug, Clone)]
pub struct DiscoveryHandle(Arc<ArcSwap<Discovery>>);

impl DiscoveryHandle {
    /// A handle on given documents.
    pub fn new(discovery: Discovery) -> DiscoveryHandle {
        DiscoveryHandle(Arc::new(ArcSwap::from_pointee(discovery)))
    }

    /// Replaces the documents.
    pub fn publish(&self, mut discovery: Discovery) {
        discovery.openapi.replacing(&self.load().openapi);
        self.0.store(Arc::new(discovery));
    }

    /// The current documents.
    pub fn load(&self) -> Arc<Discovery> {
        self.0.load_full()
    }
}

impl Discovery {
    /// Renders the documents of groups, in their order. `port` is where the server listens.
    pub fn render(groups: &[GroupDescription], port: u16) -> Discovery {
        let groups: Vec<GroupDescription> = groups
            .iter()
            .cloned()
            .map(|mut group| {
                group.resources.sort();
                group.resources.dedup();
                group
            })
            .collect();
        let address = [ServerAddress::of(port)];
        let list = ApiGroupList::of(groups.iter().map(|group| ApiGroup::of(group, &address)).collect());
        let by_group =
            groups.iter().map(|group| (group.name.clone(), Document::of(&TypedGroup::of(group)))).collect();
        let by_version = groups
            .iter()
            .flat_map(|group| group.versions.iter().map(move |version| (group, version)))
            .map(|(group, version)| {
                let document = Document::of(&ApiResourceList::of(group, version));
                ((group.name.clone(), version.clone()), document)
            })
            .collect();
        let aggregated =
            AggregatedVersion::ALL.map(|version| Document::of(&aggregated::list(&groups, version)));
        let openapi = OpenApi::render(&groups);
        Discovery { groups: Document::of(&list), by_group, by_version, aggregated, openapi }
    }

    /// `/apis`.
    pub fn groups(&self) -> &Document {
        &self.groups
    }

    /// `/apis/GROUP`.
    pub fn group(&self, name: &str) -> Option<&Document> {
        self.by_group.get(name)
    }

    /// `/apis/GROUP/VERSION`.
    pub fn version(&self, group: &str, version: &str) -> Option<&Document> {
        self.by_version.get(&(group.to_owned(), version.to_owned()))
    }

    /// `/apis` in the aggregated form.
    pub fn aggregated(&self, version: AggregatedVersion) -> &Document {
        &self.aggregated[version as usize]
    }

    /// `/openapi/`.
    pub fn openapi(&self) -> &OpenApi {
        &self.openapi
    }

    /// The paths that lead to discovery documents.
    pub fn paths(&self) -> impl Iterator<Item = String> {
        let groups = self.by_group.keys().map(|group| format!("/apis/{group}"));
        let versions = self.by_version.keys().map(|(group, version)| format!("/apis/{group}/{version}"));
        let openapi = ["/openapi/v2", "/openapi/v3", "/openapi/v3/"].map(str::to_owned);
        std::iter::once("/apis".to_owned()).chain(groups).chain(versions).chain(openapi)
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn openapi_keeps_its_age_while_it_says_the_same() {
        let group = |name: &str, metric: &str| GroupDescription {
            name: name.to_owned(),
            versions: vec!["v1beta1".to_owned()],
            resources: vec![ResourceEntry {
                name: metric.to_owned(),
                namespaced: true,
                kind: "MetricValueList",
                verbs: &["get"],
            }],
        };
        let old = HeaderValue::from_static("Thu, 01 Jan 2026 00:00:00 GMT");
        let mut first = Discovery::render(&[group("custom.metrics.k8s.io", "pods/a")], 443);
        first.openapi.last_modified = old.clone();
        let handle = DiscoveryHandle::new(first);
        // Metrics come and go; the documents know only kinds.
        handle.publish(Discovery::render(&[group("custom.metrics.k8s.io", "pods/b")], 443));
        assert_eq!(handle.load().openapi().last_modified, old);
        handle.publish(Discovery::render(&[group("external.metrics.k8s.io", "b")], 443));
        assert_ne!(handle.load().openapi().last_modified, old);
    }
}
