//! prometheus-adapter's rule files, from text to PromQL. Pure and synchronous: no I/O, no clock, no cluster.
//!
//! [`load`] compiles a file and reports every fault with its place. [`catalog::Catalog::build`] joins the rules with
//! the series that exist. [`catalog::CustomMatch::plan`] makes the query for objects, a [`plan::Plan`], which also says
//! by which label the answer's samples belong to which object.

pub mod catalog;
pub mod duration;
pub mod kubernetes;
pub mod plan;
pub mod policy;
pub mod resource;
pub mod selector;
pub mod usage;

mod compile;
mod config;
mod fault;
mod name;
mod separable;
mod template;
mod yaml;

use std::sync::Arc;

use crate::usage::ResourceRules;
pub use compile::{Rule, RuleId, Section};
pub use fault::{Fault, Faults};
pub use name::{NameRule, NameRuleError};
pub use template::TemplateError;

/// A compiled rule file.
#[derive(Debug)]
pub struct RuleSet {
    /// `rules`: what custom.metrics.k8s.io serves.
    pub custom: Vec<Arc<Rule>>,
    /// `externalRules`: what external.metrics.k8s.io serves.
    pub external: Vec<Arc<Rule>>,
    /// `resourceRules`: what metrics.k8s.io serves.
    pub resource: Option<ResourceRules>,
    /// What is allowed and probably not meant.
    pub warnings: Vec<Fault>,
}

/// Reads and compiles a rule file: YAML or JSON, the adapter's own form or the Helm chart's values.
///
/// # Errors
/// Every fault of the file, each with its place.
pub fn load(text: &str) -> Result<RuleSet, Faults> {
    let mut faults = Vec::new();
    let mut warnings = Vec::new();
    let config = config::parse(text, &mut faults, &mut warnings);
    let compiled = compile::compile(&config, &mut faults, &mut warnings);
    match Faults::new(faults) {
        Some(faults) => Err(faults),
        None => Ok(RuleSet {
            custom: compiled.custom,
            external: compiled.external,
            resource: compiled.resource,
            warnings,
        }),
    }
}

impl RuleSet {
    /// The series queries of the custom and external rules, each once, in the order of the file.
    pub fn series_queries(&self) -> impl Iterator<Item = &str> {
        let mut seen = std::collections::HashSet::new();
        let rules = self.custom.iter().chain(&self.external);
        rules.map(|rule| rule.series_query.as_str()).filter(move |query| seen.insert(*query))
    }
}
