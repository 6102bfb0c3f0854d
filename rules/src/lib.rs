//! prometheus-adapter's rule files, from text to PromQL. Pure and synchronous: no I/O, no clock, no cluster.
//!
//! [`load`] compiles a file and reports every fault with its place. [`catalog::Catalog::build`] joins the rules with
//! the series that exist. [`catalog::CustomMatch::plan`] makes the query for objects, a [`plan::Plan`], which also says
//! by which label the answer's samples belong to which object.

pub mod catalog;
pub mod duration;
pub mod plan;
pub mod policy;
pub mod resource;
pub mod usage;

mod compile;
mod config;
mod fault;
mod lint;
mod name;
mod query_parts;
mod quoted_names;
mod quoting;
mod rule;
mod sample;
mod separable;
mod template;
mod yaml;

use std::sync::Arc;

use crate::usage::ResourceRules;
use compile::Compiled;

pub use fault::{Fault, Faults};
pub use lint::Warning;
pub use name::{NameRule, NameRuleError};
pub use rule::{Naming, Rule, RuleId, Section};
pub use template::TemplateError;

/// A compiled rule file.
#[derive(Debug, Default)]
pub struct RuleSet {
    /// `rules`: what custom.metrics.k8s.io serves.
    pub custom: Vec<Arc<Rule>>,
    /// `externalRules`: what external.metrics.k8s.io serves.
    pub external: Vec<Arc<Rule>>,
    /// `resourceRules`: what metrics.k8s.io serves.
    pub resource: Option<ResourceRules>,
    /// Rules that [`load_valid`] left out, each with what is wrong with it; a fault of `resourceRules` leaves all of
    /// them out, as `resourceRules.cpu`.
    pub refused: Vec<(RuleId, Faults)>,
    /// Warnings: what is allowed and probably not meant.
    pub warnings: Vec<Warning>,
    /// Whether the file has the form of the Helm chart's values, which prometheus-adapter itself refuses (D38).
    pub helm_values: bool,
}

/// The largest text of a rule file, in bytes. A ConfigMap holds a quarter of it.
pub const LARGEST_FILE: usize = 4 << 20;

/// Reads and compiles a rule file: YAML or JSON, the adapter's own form or the Helm chart's values.
///
/// # Errors
/// Every fault of the file, each with its place.
pub fn load(text: &str) -> Result<RuleSet, Faults> {
    let (rules, faults) = compiled(text);
    without_fault(rules, faults)
}

/// Reads and compiles a rule file as [`load`] does, and leaves out the rules with a fault. The others keep their place
/// in the file.
///
/// # Errors
/// Faults of the file as a whole: it is not YAML, sets a key twice, or its top level is not that of a rule file.
pub fn load_valid(text: &str) -> Result<RuleSet, Faults> {
    let (rules, faults) = compiled(text);
    if faults.is_empty() { Ok(rules) } else { without_fault(rules, faults) }
}

fn without_fault(mut rules: RuleSet, mut faults: Vec<Fault>) -> Result<RuleSet, Faults> {
    faults.extend(rules.refused.drain(..).flat_map(|(_, faults)| faults));
    match Faults::new(faults) {
        Some(faults) => Err(faults),
        None => Ok(rules),
    }
}

/// The rules without a fault, and the faults that are not of one rule.
fn compiled(text: &str) -> (RuleSet, Vec<Fault>) {
    let (mut faults, mut of_text) = (Vec::new(), Vec::new());
    if text.len() > LARGEST_FILE {
        let message = format!("expected at most {LARGEST_FILE} bytes in a rule file, found {}", text.len());
        return (RuleSet::default(), vec![Fault { path: String::new(), line: 1, column: 1, message }]);
    }
    let config = config::parse(text, &mut faults, &mut of_text);
    let mut warnings: Vec<Warning> = of_text.into_iter().map(Warning::from).collect();
    let Compiled { custom, external, resource, refused } = compile::compile(&config, &mut warnings);
    warnings.sort_by_key(|warning| (warning.fault.line, warning.fault.column));
    (RuleSet { custom, external, resource, refused, warnings, helm_values: config.helm_values }, faults)
}

impl RuleSet {
    /// The series queries of the custom and external rules, each once, in the order of the file.
    pub fn series_queries(&self) -> impl Iterator<Item = &str> {
        let mut seen = std::collections::HashSet::new();
        let rules = self.custom.iter().chain(&self.external);
        rules.map(|rule| rule.series_query.as_str()).filter(move |query| seen.insert(*query))
    }
}
