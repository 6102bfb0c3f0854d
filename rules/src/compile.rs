//! Rules as written → rules that can be used, or every fault of the file.

use std::collections::HashMap;
use std::sync::Arc;

use promql::regexp::{self, CompileBudget, Regexp};

use crate::config::{Config, DiscoveryRule, Place, Placed, ResourceName, ResourceRule, SeriesFilter};
use crate::declared::Declared;
use crate::fault::{Fault, Faults};
use crate::lint::{self, LintSettings, Linter};
use crate::name::NameRule;
use crate::policy::{OnEmpty, Policy};
use crate::resource::{ResourceLabels, StaticMapper};
use crate::rule::{Filter, QueryTemplate, Rule, RuleId, Section};
use crate::template::Template;
use crate::usage::{ResourceQueries, ResourceRules};
use crate::warning::Warning;

/// What a file compiles to: the rules without a fault, and the others with theirs.
pub(crate) struct Compiled {
    pub(crate) custom: Vec<Arc<Rule>>,
    pub(crate) external: Vec<Arc<Rule>>,
    pub(crate) resource: Option<ResourceRules>,
    pub(crate) refused: Vec<(RuleId, Faults)>,
}

pub(crate) fn compile(config: &Config, settings: LintSettings, warnings: &mut Vec<Warning>) -> Compiled {
    let mapper = StaticMapper::built_in();
    let mut refused = Vec::new();
    let mut made =
        Made { budget: CompileBudget::new(MAX_EXPRESSIONS), queries: HashMap::new(), labels: HashMap::new() };
    let mut compile = |section, rules: &[DiscoveryRule]| -> Vec<Arc<Rule>> {
        let ids = (0..).map(|index| RuleId { section, index });
        let compiled = ids.zip(rules).filter_map(|(id, rule)| {
            let file = OfFile { refused: &mut refused, warnings, mapper: &mapper, made: &mut made, settings };
            accept(id, &rule.faults, file, |compiler| compiler.rule(id, rule))
        });
        compiled.map(Arc::new).collect()
    };
    let custom = compile(Section::Custom, &config.rules);
    let external = compile(Section::External, &config.external_rules);
    lint::duplicates(&custom, &config.rules, &mapper, warnings);
    lint::duplicates(&external, &config.external_rules, &mapper, warnings);
    // The APIs show CPU and memory together, so a fault of one takes the other with it.
    let resource = config.resource_rules.as_ref().and_then(|rules| {
        let id = RuleId { section: Section::Resource, index: 0 };
        let file = OfFile { refused: &mut refused, warnings, mapper: &mapper, made: &mut made, settings };
        accept(id, &rules.faults, file, |compiler| {
            let cpu = compiler.resource_queries(0, &rules.cpu);
            let memory = compiler.resource_queries(1, &rules.memory);
            let compiled = ResourceRules { cpu: cpu?, memory: memory?, window: rules.window };
            compiler.linter.resource(rules, &compiled);
            Some(compiled)
        })
    });
    Compiled { custom, external, resource, refused }
}

/// What the rules of a file share while they are compiled.
struct OfFile<'a> {
    refused: &'a mut Vec<(RuleId, Faults)>,
    warnings: &'a mut Vec<Warning>,
    mapper: &'a StaticMapper,
    made: &'a mut Made,
    settings: LintSettings,
}

/// What was compiled for a rule serves all rules of the file that say the same.
struct Made {
    budget: CompileBudget,
    queries: HashMap<String, QueryTemplate>,
    labels: HashMap<LabelsText, Arc<ResourceLabels>>,
}

/// Overrides and template of a label mapping, as written.
type LabelsText = (Vec<(String, ResourceName)>, Option<String>);

/// One rule's outcome: the rule and its warnings when neither reading nor compiling it found a fault, else its faults.
fn accept<T>(
    id: RuleId,
    read: &[Fault],
    file: OfFile<'_>,
    compile: impl FnOnce(&mut Compiler<'_>) -> Option<T>,
) -> Option<T> {
    let (mut faults, mut of_rule) = (read.to_vec(), Vec::new());
    let OfFile { refused, warnings, mapper, made, settings } = file;
    let linter = Linter { mapper, settings, warnings: &mut of_rule };
    let compiled = compile(&mut Compiler { faults: &mut faults, linter, made });
    if let Some(faults) = Faults::new(faults) {
        refused.push((id, faults));
        return None;
    }
    warnings.append(&mut of_rule);
    compiled
}

struct Compiler<'a> {
    faults: &'a mut Vec<Fault>,
    linter: Linter<'a>,
    made: &'a mut Made,
}

impl Compiler<'_> {
    /// Every part is compiled before the rule is given up, so that every fault is found.
    fn rule(&mut self, id: RuleId, rule: &DiscoveryRule) -> Option<Rule> {
        let filters: Vec<Option<Filter>> =
            rule.series_filters.iter().map(|filter| self.filter(filter)).collect();
        let labels = self.labels(&rule.resources);
        let name = self.name(rule);
        let metrics_query = self.query(&rule.metrics_query);
        if rule.series_query.value.trim().is_empty() {
            self.faults.push(
                rule.series_query.place.fault("expected a series selector in seriesQuery, found nothing"),
            );
        }
        let mut compiled = Rule {
            id,
            series_query: rule.series_query.value.as_str().into(),
            policy: Policy { on_nan: rule.on_nan, on_empty: rule.on_empty, on_partial: rule.on_partial },
            namespaced: rule.resources.namespaced.unwrap_or(true),
            labels: labels?,
            metrics_query: metrics_query?,
            filters: filters.into_iter().collect::<Option<Vec<Filter>>>()?,
            name: name?,
            declared: None,
        };
        if rule.on_empty != OnEmpty::NotFound {
            let metric_of = |series: &str| compiled.metric_of(series);
            compiled.declared = Declared::read(&compiled.series_query, &compiled.labels, metric_of);
        }
        if id.section == Section::External {
            self.linter.external(rule, &compiled);
        } else {
            self.linter.custom(rule, &compiled);
        }
        Some(compiled)
    }

    fn filter(&mut self, filter: &SeriesFilter) -> Option<Filter> {
        match (&filter.is, &filter.is_not) {
            (Some(is), None) => self.regex(is).map(Filter::Is),
            (None, Some(is_not)) => self.regex(is_not).map(Filter::IsNot),
            (Some(_), Some(_)) => {
                self.refuse(&filter.place, "expected one of \"is\" and \"isNot\", found both")
            }
            (None, None) => self.refuse(&filter.place, "expected one of \"is\" and \"isNot\", found neither"),
        }
    }

    fn regex(&mut self, pattern: &Placed<String>) -> Option<Regexp> {
        match regexp::compile_within(&pattern.value, &mut self.made.budget) {
            Ok(regex) => Some(regex),
            Err(error) => self.refuse(&pattern.place, error.to_string()),
        }
    }

    fn labels(&mut self, mapping: &crate::config::ResourceMapping) -> Option<Arc<ResourceLabels>> {
        for (label, name) in &mapping.overrides {
            if name.value.resource.is_empty() {
                self.faults.push(name.place.fault(format!(
                    "expected {{resource: NAME}} for the label {label:?}, found no resource"
                )));
            }
        }
        let overrides =
            mapping.overrides.iter().map(|(label, name)| (label.clone(), name.value.clone())).collect();
        let text = (overrides, mapping.template.as_ref().map(|text| text.value.clone()));
        if let Some(labels) = self.made.labels.get(&text) {
            return Some(Arc::clone(labels));
        }
        match ResourceLabels::compile(mapping, &mut self.made.budget) {
            Ok(labels) => Some(Arc::clone(self.made.labels.entry(text).or_insert(Arc::new(labels)))),
            Err(error) => {
                let place = mapping.template.as_ref().map(|text| text.place.clone()).unwrap_or_default();
                self.refuse(&place, error.to_string())
            }
        }
    }

    fn name(&mut self, rule: &DiscoveryRule) -> Option<NameRule> {
        let matches = rule.name.matches.as_ref();
        let pattern = matches.map(|text| text.value.as_str());
        match NameRule::new(pattern, &rule.name.r#as.value, &mut self.made.budget) {
            Ok(name) => Some(name),
            Err(error) => {
                let place = matches.map_or(&rule.place, |text| &text.place).clone();
                self.refuse(&place, error.to_string())
            }
        }
    }

    fn query(&mut self, text: &Placed<String>) -> Option<QueryTemplate> {
        if let Some(query) = self.made.queries.get(&text.value) {
            return Some(query.clone());
        }
        match Template::query(&text.value) {
            Ok(template) => {
                let query = QueryTemplate { text: text.value.as_str().into(), template: Arc::new(template) };
                self.made.queries.insert(text.value.clone(), query.clone());
                Some(query)
            }
            Err(error) => self.refuse(&text.place, format!("invalid Go template, {error}")),
        }
    }

    fn resource_queries(&mut self, index: usize, rule: &ResourceRule) -> Option<ResourceQueries> {
        let container_query = self.query(&rule.container_query);
        let node_query = self.query(&rule.node_query);
        let labels = self.labels(&rule.resources);
        Some(ResourceQueries {
            rule: RuleId { section: Section::Resource, index },
            container_query: container_query?,
            node_query: node_query?,
            labels: labels?,
            container_label: rule.container_label.as_str().into(),
        })
    }

    fn refuse<T>(&mut self, place: &Place, message: impl Into<String>) -> Option<T> {
        self.faults.push(place.fault(message));
        None
    }
}

/// The compiled expressions of a file: thousands of the usual kind.
const MAX_EXPRESSIONS: usize = 32 << 20;
