//! prometheus-adapter's rule files, from text to PromQL. Pure and synchronous: no I/O, no clock, no cluster.
//!
//! [`load`] compiles a file and reports every fault with its place. [`catalog::Catalog::build`] joins the rules with
//! the series that exist. [`catalog::CustomMatch::plan`] makes the query for objects, a [`plan::Plan`], which also says
//! by which label the answer's samples belong to which object.

pub mod catalog;
pub mod duration;
pub mod joined_queries;
pub mod plan;
pub mod policy;
pub mod presets;
pub mod resource;
pub mod usage;

mod allow;
mod compile;
mod config;
mod declared;
mod fault;
mod findings;
mod lint;
mod makers;
mod mapped;
mod name;
mod query_parts;
mod quoted_names;
mod quoting;
mod regrouped;
mod rule;
mod sample;
mod separable;
mod template;
mod warning;
mod yaml;

use std::sync::Arc;

use crate::usage::ResourceRules;
use compile::Compiled;
use findings::Findings;

pub use fault::{Fault, Faults, suggestion};
pub use lint::LintSettings;
pub use makers::Maker;
pub use mapped::MappedResources;
pub use name::{NameRule, NameRuleError};
pub use rule::{Naming, Rule, RuleId, Section};
pub use template::TemplateError;
pub use warning::{Lint, Rendered, Warning};

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
    let (rules, faults) = compiled(text, LintSettings::default());
    without_fault(rules, faults)
}

/// Reads and compiles a rule file as [`load`] does, and leaves out the rules with a fault. The others keep their place
/// in the file.
///
/// # Errors
/// Faults of the file as a whole: it is not YAML, sets a key twice, or its top level is not that of a rule file.
pub fn load_valid(text: &str) -> Result<RuleSet, Faults> {
    let (rules, faults) = compiled(text, LintSettings::default());
    if faults.is_empty() { Ok(rules) } else { without_fault(rules, faults) }
}

/// Reads and compiles a rule file as [`load_valid`] does, and says everything that is wrong with it: faults of the file
/// and of its rules beside the valid rules and their warnings.
pub fn inspect(text: &str, settings: LintSettings) -> (RuleSet, Option<Faults>) {
    let (mut rules, mut faults) = compiled(text, settings);
    faults.extend(rules.refused.drain(..).flat_map(|(_, faults)| faults));
    (rules, Faults::new(faults))
}

fn without_fault(mut rules: RuleSet, mut faults: Vec<Fault>) -> Result<RuleSet, Faults> {
    faults.extend(rules.refused.drain(..).flat_map(|(_, faults)| faults));
    match Faults::new(faults) {
        Some(faults) => Err(faults),
        None => Ok(rules),
    }
}

/// The rules without a fault, and the faults that are not of one rule.
fn compiled(text: &str, settings: LintSettings) -> (RuleSet, Vec<Fault>) {
    if text.len() > LARGEST_FILE {
        let message = format!("expected at most {LARGEST_FILE} bytes in a rule file, found {}", text.len());
        return (
            RuleSet::default(),
            vec![Fault { path: String::new(), line: 1, column: 1, width: 0, message }],
        );
    }
    let mut findings = Findings::default();
    let config = config::parse(text, &mut findings);
    let Findings { faults, mut warnings, allows } = findings;
    let Compiled { custom, external, resource, refused } = compile::compile(&config, settings, &mut warnings);
    allow::apply(&allows, &config.extents, &mut warnings);
    warnings.sort_by_key(|warning| (warning.fault.line, warning.fault.column));
    (RuleSet { custom, external, resource, refused, warnings, helm_values: config.helm_values }, faults)
}

fn append_from(first: usize, rules: &mut Vec<Arc<Rule>>, more: Vec<Arc<Rule>>) {
    for (index, mut rule) in more.into_iter().enumerate() {
        // A file that was just compiled shares its rules with nothing.
        if let Some(rule) = Arc::get_mut(&mut rule) {
            rule.id.index = first + index;
        }
        rules.push(rule);
    }
}

impl RuleSet {
    /// Adds the rules of another file after these. Their numbers go on from those of the same list here; resource rules
    /// are added where there are none.
    pub fn append(&mut self, other: RuleSet) {
        let RuleSet { custom, external, resource, refused: _, warnings, helm_values: _ } = other;
        let after = |section, rules: &[Arc<Rule>]| {
            let refused = self.refused.iter().map(|(id, _)| *id).filter(|id| id.section == section);
            refused.chain(rules.iter().map(|rule| rule.id)).map(|id| id.index + 1).max().unwrap_or_default()
        };
        let first = after(Section::Custom, &self.custom);
        let first_external = after(Section::External, &self.external);
        append_from(first, &mut self.custom, custom);
        append_from(first_external, &mut self.external, external);
        if self.resource.is_none() {
            self.resource = resource;
        }
        self.warnings.extend(warnings);
    }

    /// The series queries of the custom and external rules, each once, in the order of the file.
    pub fn series_queries(&self) -> impl Iterator<Item = &Arc<str>> {
        let mut seen = std::collections::HashSet::new();
        let rules = self.custom.iter().chain(&self.external);
        rules.map(|rule| &rule.series_query).filter(move |query| seen.insert(&***query))
    }
}
