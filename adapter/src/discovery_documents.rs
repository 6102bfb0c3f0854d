//! What the API says is there: the catalog as discovery documents.

use std::sync::Arc;

use apiservice::discovery::{Discovery, GroupDescription, Resource, ResourceEntry, Resources};
use rules::RuleSet;
use rules::catalog::Catalog;
use rules::resource::GroupResource;

/// The documents for a catalog. A group without rules is not served at all.
pub fn discovery(rules: &RuleSet, catalog: &Arc<Catalog>, port: u16) -> Discovery {
    let mut groups = Vec::new();
    if !rules.custom.is_empty() {
        groups.push(custom(catalog));
    }
    if !rules.external.is_empty() {
        groups.push(external(catalog));
    }
    if rules.resource.is_some() {
        groups.push(metrics());
    }
    Discovery::new(groups, port)
}

/// The APIServices by which the aggregator finds what these rules serve.
pub fn api_services(rules: &RuleSet) -> Vec<&'static str> {
    let mut names = Vec::new();
    if !rules.custom.is_empty() {
        names.extend(["v1beta1.custom.metrics.k8s.io", "v1beta2.custom.metrics.k8s.io"]);
    }
    if !rules.external.is_empty() {
        names.push("v1beta1.external.metrics.k8s.io");
    }
    if rules.resource.is_some() {
        names.push("v1beta1.metrics.k8s.io");
    }
    names
}

fn custom(catalog: &Arc<Catalog>) -> GroupDescription {
    GroupDescription {
        name: CUSTOM_METRICS.to_owned(),
        versions: vec!["v1beta1".to_owned(), "v1beta2".to_owned()],
        resources: Arc::new(CustomMetrics::of(catalog)),
    }
}

fn external(catalog: &Arc<Catalog>) -> GroupDescription {
    GroupDescription {
        name: EXTERNAL_METRICS.to_owned(),
        versions: vec!["v1beta1".to_owned()],
        resources: Arc::new(ExternalMetrics(Arc::clone(catalog))),
    }
}

fn metrics() -> GroupDescription {
    let entry = |name: &str, namespaced, kind| ResourceEntry {
        name: name.to_owned(),
        namespaced,
        kind,
        verbs: &["get", "list"],
    };
    let entries = vec![entry("nodes", false, "NodeMetrics"), entry("pods", true, "PodMetrics")];
    GroupDescription::of(METRICS, &["v1beta1"], entries)
}

/// Custom metrics are listed below the resources that have them.
#[derive(Debug)]
struct CustomMetrics {
    catalog: Arc<Catalog>,
    /// By name.
    resources: Vec<(String, GroupResource, bool)>,
}

impl CustomMetrics {
    fn of(catalog: &Arc<Catalog>) -> CustomMetrics {
        let resources = catalog.resources();
        let mut resources: Vec<_> = resources
            .map(|(resource, namespaced)| (resource.to_string(), resource.clone(), namespaced))
            .collect();
        resources.sort_by_cached_key(|(name, ..)| format!("{name}/"));
        CustomMetrics { catalog: Arc::clone(catalog), resources }
    }
}

impl Resources for CustomMetrics {
    fn resources(&self) -> Box<dyn Iterator<Item = Resource<'_>> + '_> {
        Box::new(self.resources.iter().map(|(name, _, namespaced)| Resource {
            name,
            has_subresources: true,
            namespaced: *namespaced,
            kind: "MetricValueList",
            verbs: &["get"],
        }))
    }

    fn subresources(&self, resource: &str) -> Box<dyn Iterator<Item = &str> + '_> {
        let found = self.resources.iter().find(|(name, ..)| name == resource);
        Box::new(found.into_iter().flat_map(|(_, resource, _)| self.catalog.metrics_of(resource)))
    }

    fn count(&self) -> usize {
        self.catalog.custom_count()
    }
}

/// Each external metric is a resource.
#[derive(Debug)]
struct ExternalMetrics(Arc<Catalog>);

impl Resources for ExternalMetrics {
    fn resources(&self) -> Box<dyn Iterator<Item = Resource<'_>> + '_> {
        Box::new(self.0.external_metrics().map(|name| Resource {
            name,
            has_subresources: false,
            namespaced: true,
            kind: "ExternalMetricValueList",
            verbs: &["get"],
        }))
    }

    fn subresources(&self, _: &str) -> Box<dyn Iterator<Item = &str> + '_> {
        Box::new(std::iter::empty())
    }

    fn count(&self) -> usize {
        self.0.external_metrics().len()
    }
}

/// The group of custom metrics: values for objects.
pub const CUSTOM_METRICS: &str = "custom.metrics.k8s.io";
/// The group of external metrics: values for series.
pub const EXTERNAL_METRICS: &str = "external.metrics.k8s.io";
/// The group of resource metrics: CPU and memory.
pub const METRICS: &str = "metrics.k8s.io";
