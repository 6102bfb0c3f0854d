//! What the server serves: `/apis` and below, published as a whole (`docs/contract.md#discovery`). Documents are
//! rendered when they are first asked for.
//!
//! The aggregator asks for this every few seconds. It never depends on anything outside the process: a discovery
//! document that fails makes a cluster's namespaces impossible to delete.

mod aggregated;
mod legacy;

use std::collections::BTreeMap;
use std::sync::Arc;

use arc_swap::ArcSwap;

pub use crate::document::{Document, Rendered, RenderedBody};
use crate::encode;
pub use crate::groups::{GroupDescription, Resource, ResourceEntry, Resources};
use crate::openapi::OpenApi;
pub use aggregated::AggregatedVersion;
use legacy::{ApiGroup, ApiGroupList, ApiResourceList, ServerAddress, TypedGroup};

/// Every discovery document. Immutable.
#[derive(Debug)]
pub struct Discovery {
    described: Arc<[GroupDescription]>,
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

    /// Replaces the documents. What was rendered of those that say the same is kept.
    pub fn publish(&self, mut discovery: Discovery) {
        discovery.replacing(&self.load());
        self.0.store(Arc::new(discovery));
    }

    /// The current documents.
    pub fn load(&self) -> Arc<Discovery> {
        self.0.load_full()
    }
}

impl Discovery {
    /// The documents of groups, in their order. `port` is where the server listens.
    pub fn new(groups: Vec<GroupDescription>, port: u16) -> Discovery {
        let openapi = OpenApi::render(&groups);
        let described: Arc<[GroupDescription]> = groups.into();
        let list = Arc::clone(&described);
        let groups = Document::new(described.len(), move |form, to| {
            let address = [ServerAddress::of(port)];
            let groups = list.iter().map(|group| ApiGroup::of(group, &address)).collect();
            encode::write(&ApiGroupList::of(groups), form, to)
        });
        let by_group = described
            .iter()
            .cloned()
            .map(|group| {
                let name = group.name.clone();
                (name, Document::new(1, move |form, to| encode::write(&TypedGroup::of(&group), form, to)))
            })
            .collect();
        let by_version = described
            .iter()
            .flat_map(|group| group.versions.iter().map(move |version| (group, version)))
            .map(|(group, version)| {
                let key = (group.name.clone(), version.clone());
                let (group, version) = (group.clone(), version.clone());
                let document = Document::new(group.resources.count(), move |form, to| {
                    encode::write(&ApiResourceList::of(&group, &version), form, to)
                });
                (key, document)
            })
            .collect();
        let entries = described.iter().map(|group| group.resources.count() * group.versions.len()).sum();
        let aggregated = AggregatedVersion::ALL.map(|version| {
            let groups = Arc::clone(&described);
            Document::new(entries, move |form, to| {
                encode::write(&aggregated::list(&groups, version), form, to)
            })
        });
        Discovery { described, groups, by_group, by_version, aggregated, openapi }
    }

    /// Takes over what was rendered of the documents that these replace, where they say the same.
    fn replacing(&mut self, older: &Discovery) {
        self.openapi.replacing(&older.openapi);
        let mut all_same = self.described.len() == older.described.len();
        for (index, group) in self.described.iter().enumerate() {
            let same = older.described.get(index).is_some_and(|older| group.is_same(older));
            all_same &= same;
            for version in group.versions.iter().filter(|_| same) {
                if let (Some(document), Some(older)) =
                    (self.version(&group.name, version), older.version(&group.name, version))
                {
                    document.take_over(older);
                }
            }
        }
        if all_same {
            for (document, older) in self.aggregated.iter().zip(&older.aggregated) {
                document.take_over(older);
            }
        }
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
        let group = |name: &str, metric: &str| {
            let entry = ResourceEntry {
                name: metric.to_owned(),
                namespaced: true,
                kind: "MetricValueList",
                verbs: &["get"],
            };
            GroupDescription::of(name, &["v1beta1"], vec![entry])
        };
        let old = HeaderValue::from_static("Thu, 01 Jan 2026 00:00:00 GMT");
        let mut first = Discovery::new(vec![group("custom.metrics.k8s.io", "pods/a")], 443);
        first.openapi.last_modified = old.clone();
        let handle = DiscoveryHandle::new(first);
        // Metrics come and go; the documents know only kinds.
        handle.publish(Discovery::new(vec![group("custom.metrics.k8s.io", "pods/b")], 443));
        assert_eq!(handle.load().openapi().last_modified, old);
        handle.publish(Discovery::new(vec![group("external.metrics.k8s.io", "b")], 443));
        assert_ne!(handle.load().openapi().last_modified, old);
    }
}
