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
    Discovery::render(&groups, port)
}

fn custom(catalog: &Catalog) -> GroupDescription {
    let entry = |listed: &rules::catalog::CustomResource| ResourceEntry {
        name: format!("{}/{}", listed.resource, listed.metric),
        namespaced: listed.namespaced,
        kind: "MetricValueList",
        verbs: &["get"],
    };
    GroupDescription {
        name: "custom.metrics.k8s.io".to_owned(),
        versions: vec!["v1beta1".to_owned(), "v1beta2".to_owned()],
        resources: catalog.custom_resources().iter().map(entry).collect(),
    }
}
