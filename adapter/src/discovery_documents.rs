//! What the API says is there: the catalog as discovery documents.

use apiservice::discovery::{Discovery, GroupDescription, ResourceEntry};
use rules::RuleSet;
use rules::catalog::Catalog;

/// The documents for a catalog. A group without rules is not served at all.
pub fn discovery(rules: &RuleSet, catalog: &Catalog, port: u16) -> Discovery {
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
    Discovery::render(&groups, port)
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

fn custom(catalog: &Catalog) -> GroupDescription {
    let entry = |listed: &rules::catalog::CustomResource| ResourceEntry {
        name: format!("{}/{}", listed.resource, listed.metric),
        namespaced: listed.namespaced,
        kind: "MetricValueList",
        verbs: &["get"],
    };
    GroupDescription {
        name: CUSTOM_METRICS.to_owned(),
        versions: vec!["v1beta1".to_owned(), "v1beta2".to_owned()],
        resources: catalog.custom_resources().iter().map(entry).collect(),
    }
}

fn external(catalog: &Catalog) -> GroupDescription {
    let entry = |metric: &str| ResourceEntry {
        name: metric.to_owned(),
        namespaced: true,
        kind: "ExternalMetricValueList",
        verbs: &["get"],
    };
    GroupDescription {
        name: EXTERNAL_METRICS.to_owned(),
        versions: vec!["v1beta1".to_owned()],
        resources: catalog.external_metrics().map(entry).collect(),
    }
}

fn metrics() -> GroupDescription {
    let entry = |name: &str, namespaced, kind| ResourceEntry {
        name: name.to_owned(),
        namespaced,
        kind,
        verbs: &["get", "list"],
    };
    GroupDescription {
        name: METRICS.to_owned(),
        versions: vec!["v1beta1".to_owned()],
        resources: vec![entry("nodes", false, "NodeMetrics"), entry("pods", true, "PodMetrics")],
    }
}

/// The group of custom metrics: values for objects.
pub const CUSTOM_METRICS: &str = "custom.metrics.k8s.io";
/// The group of external metrics: values for series.
pub const EXTERNAL_METRICS: &str = "external.metrics.k8s.io";
/// The group of resource metrics: CPU and memory.
pub const METRICS: &str = "metrics.k8s.io";
