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

use crate::fault::Fault;
use crate::yaml::{self, Budget, Node};
use decode::{Decoder, helm_values};
pub(crate) use fields::{
    Config, DiscoveryRule, ResourceMapping, ResourceName, ResourceRule, ResourceRules, SeriesFilter,
};
use place::below;
pub(crate) use place::{Place, Placed};

/// Reads a file's text. Faults and warnings are collected, those of a rule with the rule; what could be read is
/// returned beside them.
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
