//! The shape of a rule file: prometheus-adapter's fields by their names, each with its place in the file.
//!
//! Two forms are read: the one of the adapter's own ConfigMap (`rules: [...]`, `externalRules`, `resourceRules`) and
//! the Helm chart's values (`rules: {default, custom, external, resource}`, possibly below `prometheus-adapter:`),
//! which upstream refuses (D38). Either may be inside a Kubernetes object, as it is deployed. Source of the fields:
//! upstream `pkg/config/config.go`.

mod decode;
mod fields;
mod object;
mod place;

use crate::allow::Extent;
use crate::fault::Fault;
use crate::findings::Findings;
use crate::yaml::{self, Budget, Node, Value};
use decode::{Decoder, helm_values};
pub(crate) use fields::{
    Config, DiscoveryRule, ResourceMapping, ResourceName, ResourceRule, ResourceRules, SeriesFilter,
};
use place::below;
pub(crate) use place::{Place, Placed};

/// Reads a file's text. Faults and warnings are collected, those of a rule with the rule; what could be read is
/// returned beside them.
pub(crate) fn parse(text: &str, findings: &mut Findings) -> Config {
    let (path, root) = match root(text, findings) {
        Ok(found) => found,
        Err(fault) => {
            findings.faults.push(fault);
            return Config::default();
        }
    };
    let mut decoder = Decoder { faults: &mut findings.faults };
    if let Some((inner, values)) = helm_values(&root) {
        let path = below(&path, inner);
        let config = decoder.helm_values(&path, values, &mut findings.warnings);
        return Config { helm_values: true, extents: extents(&path, values), ..config };
    }
    let config = decoder.config(&path, &root);
    Config { extents: extents(&path, &root), ..config }
}

/// The lines of each rule, then those of each section.
fn extents(path: &str, sections: &Node) -> Vec<Extent> {
    let Value::Mapping(entries) = &sections.value else { return Vec::new() };
    let (mut of_rules, mut of_sections) = (Vec::new(), Vec::new());
    for (key, node) in entries {
        let path = below(path, &key.text);
        if let Value::Sequence(rules) = &node.value {
            of_rules.extend(rules.iter().enumerate().map(|(index, rule)| Extent {
                path: format!("{path}[{index}]"),
                first_line: rule.line,
                last_line: rule.last_line,
            }));
        }
        of_sections.push(Extent { path, first_line: key.line, last_line: node.last_line });
    }
    of_rules.append(&mut of_sections);
    of_rules
}

/// The rule file, and its path when it is inside a Kubernetes object.
fn root(text: &str, findings: &mut Findings) -> Result<(String, Node), Fault> {
    let mut budget = Budget::default();
    let root = yaml::parse(text, &mut budget, findings)?;
    match object::kind(&root) {
        Some(kind) => object::rule_file(kind, &root, text, &mut budget, findings),
        None => Ok((String::new(), root)),
    }
}
