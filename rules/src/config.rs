//! The shape of a rule file: prometheus-adapter's fields by their names, each with its place in the file.
//!
//! Two forms are read: the one of the adapter's own ConfigMap (`rules: [...]`, `externalRules`, `resourceRules`) and
//! the Helm chart's values (`rules: {default, custom, external, resource}`, possibly below `prometheus-adapter:`), which
//! upstream refuses (D38). Either may be inside a Kubernetes object, as it is deployed. Source of the fields: upstream
//! `pkg/config/config.go`.

mod decode;
mod object;

use std::time::Duration;

use crate::fault::{Fault, bounded};
use crate::policy::{OnEmpty, OnNan};
use crate::yaml::{self, Budget, Node, Value};
use decode::Decoder;

/// A value and its place, so that a later check can name it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Placed<T> {
    pub(crate) value: T,
    pub(crate) place: Place,
}

/// A place in a rule file.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Place {
    pub(crate) path: String,
    pub(crate) line: usize,
    pub(crate) column: usize,
}

/// A rule file as written.
#[derive(Debug, Default)]
pub(crate) struct Config {
    pub(crate) rules: Vec<DiscoveryRule>,
    pub(crate) external_rules: Vec<DiscoveryRule>,
    pub(crate) resource_rules: Option<ResourceRules>,
    /// Whether it has the form of the Helm chart's values.
    pub(crate) helm_values: bool,
}

/// One rule of `rules` or `externalRules`.
#[derive(Debug)]
pub(crate) struct DiscoveryRule {
    pub(crate) place: Place,
    pub(crate) series_query: Placed<String>,
    pub(crate) series_filters: Vec<SeriesFilter>,
    pub(crate) resources: ResourceMapping,
    pub(crate) name: NameMapping,
    pub(crate) metrics_query: Placed<String>,
    pub(crate) on_nan: OnNan,
    pub(crate) on_empty: OnEmpty,
    /// What of the rule could not be read.
    pub(crate) faults: Vec<Fault>,
}

#[derive(Debug)]
pub(crate) struct SeriesFilter {
    pub(crate) place: Place,
    pub(crate) is: Option<Placed<String>>,
    pub(crate) is_not: Option<Placed<String>>,
}

#[derive(Debug, Default)]
pub(crate) struct ResourceMapping {
    pub(crate) template: Option<Placed<String>>,
    /// Label → resource, in the order of the file.
    pub(crate) overrides: Vec<(String, Placed<ResourceName>)>,
    /// Only external rules look at it; true when absent.
    pub(crate) namespaced: Option<bool>,
}

/// A resource as an override names it: singular or plural, the group may be left out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ResourceName {
    pub(crate) group: String,
    pub(crate) resource: String,
}

#[derive(Debug, Default)]
pub(crate) struct NameMapping {
    pub(crate) matches: Option<Placed<String>>,
    /// Empty means the default.
    pub(crate) r#as: Placed<String>,
}

#[derive(Debug)]
pub(crate) struct ResourceRules {
    pub(crate) place: Place,
    pub(crate) cpu: ResourceRule,
    pub(crate) memory: ResourceRule,
    /// What `window` says; one minute when absent or zero is the server's decision, not this file's.
    pub(crate) window: Option<Duration>,
    /// What of them could not be read.
    pub(crate) faults: Vec<Fault>,
}

#[derive(Debug, Default)]
pub(crate) struct ResourceRule {
    /// `None` when the file has none.
    pub(crate) place: Option<Place>,
    pub(crate) container_query: Placed<String>,
    pub(crate) node_query: Placed<String>,
    pub(crate) resources: ResourceMapping,
    pub(crate) container_label: String,
}

impl Default for Placed<String> {
    fn default() -> Self {
        Placed { value: String::new(), place: Place::default() }
    }
}

impl Place {
    pub(crate) fn fault(&self, message: impl Into<String>) -> Fault {
        Fault {
            path: self.path.clone(),
            line: self.line,
            column: self.column,
            message: bounded(message.into()),
        }
    }
}

/// Reads a file's text. Faults and warnings are collected, those of a rule with the rule; what could be read is returned
/// beside them.
pub(crate) fn parse(text: &str, faults: &mut Vec<Fault>, warnings: &mut Vec<Fault>) -> Config {
    let (path, root) = match root(text, faults, warnings) {
        Ok(found) => found,
        Err(fault) => {
            faults.push(fault);
            return Config::default();
        }
    };
    let mut decoder = Decoder { faults };
    if let Some((inner, values)) = helm_values(&root) {
        let path = below(&path, inner);
        let config = decoder.helm_values(&path, values, warnings);
        return Config { helm_values: true, ..config };
    }
    decoder.config(&path, &root)
}

/// The rule file, and its path when it is inside a Kubernetes object.
fn root(text: &str, faults: &mut Vec<Fault>, warnings: &mut Vec<Fault>) -> Result<(String, Node), Fault> {
    let mut budget = Budget::default();
    let root = yaml::parse(text, &mut budget, faults, warnings)?;
    match object::kind(&root) {
        Some(kind) => object::rule_file(kind, &root, text, &mut budget, faults, warnings),
        None => Ok((String::new(), root)),
    }
}

/// The path of a field of what is at `path`. It is repeated for everything below the field, so a long name is cut.
fn below(path: &str, field: &str) -> String {
    let field = match field.char_indices().nth(LONGEST_FIELD) {
        Some((end, _)) => &format!("{}…", &field[..end]),
        None => field,
    };
    if path.is_empty() { field.to_owned() } else { format!("{path}.{field}") }
}

/// The mapping below `rules` when the file has the form of Helm values.
fn helm_values(root: &Node) -> Option<(&'static str, &Node)> {
    let (path, rules) = match root.field("prometheus-adapter") {
        Some(nested) => ("prometheus-adapter.rules", nested.field("rules")?),
        None => ("rules", root.field("rules")?),
    };
    let Value::Mapping(entries) = &rules.value else { return None };
    let sections = ["default", "custom", "external", "resource", "existing"];
    entries.iter().any(|(key, _)| sections.contains(&key.text.as_str())).then_some((path, rules))
}

/// The fields of a rule file.
const SECTIONS: [&str; 3] = ["rules", "externalRules", "resourceRules"];
/// In characters; the longest name of anything in Kubernetes.
const LONGEST_FIELD: usize = 253;
