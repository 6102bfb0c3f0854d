//! What a rule file may say and hardly means: warnings that can be known before the first request.
//!
//! Each looks at a compiled rule and at the tree of its query, rendered with sample names. None is raised on a guess:
//! what is not understood here is passed over.

mod carried;
mod counter;
mod duplicate;
mod exported;
mod labels;
mod name;
mod namespace;
mod parts;
mod query;
mod range;
mod series_query;
mod settings;
mod unit;

use std::sync::Arc;

use crate::config::{DiscoveryRule, Place, ResourceRule, ResourceRules};
use crate::resource::{Kind, ResolvedLabels, ResourceMapper as _, StaticMapper};
use crate::rule::Rule;
use crate::usage::{self, ResourceQueries};
use crate::warning::{Lint, NO_METRIC, Warning};
pub(crate) use duplicate::duplicates;
use query::{Candidate, Yields};
use series_query::Selected;
pub use settings::LintSettings;

/// The kinds that labels are looked up by, and what was found.
pub(crate) struct Linter<'w> {
    pub(crate) mapper: &'w StaticMapper,
    pub(crate) settings: LintSettings,
    pub(crate) warnings: &'w mut Vec<Warning>,
}

impl Linter<'_> {
    /// A rule of `rules`.
    pub(crate) fn custom(&mut self, written: &DiscoveryRule, rule: &Rule) {
        let selected = self.discovery(written, rule);
        let labels = rule.labels.resolve(self.mapper);
        self.two_labels(written, &labels);
        let mut candidates = self.candidates(&labels, OBJECTS);
        if candidates.is_empty() {
            self.useless(
                Lint::NoResource,
                &written.place,
                NO_METRIC,
                "no label names a Kubernetes object; expected resources.overrides or resources.template",
            );
            return;
        }
        let namespace_label = self.label_of(&labels, "namespaces");
        if namespace_label.is_none() {
            self.no_namespace_label(written, rule, &candidates);
        }
        if written.metrics_query.value.trim().is_empty() {
            self.missing(Lint::MissingField, &written.place, EVERY_REQUEST, "metricsQuery", true);
            return;
        }
        for candidate in &mut candidates {
            if candidate.namespaced != Some(false) {
                candidate.namespace_label.clone_from(&namespace_label);
            }
        }
        let subject = metrics_query(written, rule, (&selected, self.mapper), self.settings, Yields::Vector);
        query::lint(&subject, candidates, Some(&labels), self.warnings);
    }

    /// A rule of `externalRules`.
    pub(crate) fn external(&mut self, written: &DiscoveryRule, rule: &Rule) {
        let selected = self.discovery(written, rule);
        let labels = rule.labels.resolve(self.mapper);
        let namespace_label = self.label_of(&labels, "namespaces").filter(|_| rule.namespaced);
        if rule.namespaced && namespace_label.is_none() {
            let message = format!("{}; or set resources.namespaced to false", no_label(rule, "namespaces"));
            self.useless(Lint::NoNamespaceLabel, &written.place, EVERY_REQUEST, &message);
        }
        if written.metrics_query.value.trim().is_empty() {
            self.missing(Lint::MissingField, &written.place, EVERY_REQUEST, "metricsQuery", true);
            return;
        }
        let yields = Yields::VectorOrScalar;
        let subject = metrics_query(written, rule, (&selected, self.mapper), self.settings, yields);
        query::lint(&subject, vec![Candidate::external(namespace_label)], None, self.warnings);
    }

    /// `resourceRules`.
    pub(crate) fn resource(&mut self, written: &ResourceRules, rules: &usage::ResourceRules) {
        for (field, rule, queries) in
            [("cpu", &written.cpu, &rules.cpu), ("memory", &written.memory, &rules.memory)]
        {
            match &rule.place {
                Some(place) => self.resource_queries(place, rule, queries),
                None => self.incomplete(&written.place, EVERY_REQUEST, field, true),
            }
        }
    }

    fn resource_queries(&mut self, place: &Place, written: &ResourceRule, rule: &ResourceQueries) {
        let labels = rule.labels.resolve(self.mapper);
        let namespace_label = self.label_of(&labels, "namespaces");
        let container = &written.container_label;
        if written.container_query.value.trim().is_empty() {
            self.incomplete(place, "requests for pods", "containerQuery", false);
        } else {
            if container.is_empty() {
                let message = "the field containerLabel is missing: containers cannot be told apart";
                self.warnings.push(Warning::new(Lint::ResourceRulesIncomplete, place.fault(message)));
            }
            let pods = self.label_of(&labels, "pods");
            for (resource, label) in [("namespaces", &namespace_label), ("pods", &pods)] {
                if label.is_none() {
                    let message =
                        format!("requests for pods will fail: {}", no_label_for(rule.rule, resource));
                    self.warnings.push(Warning::new(Lint::ResourceRulesIncomplete, place.fault(message)));
                }
            }
            let candidates = pods.map(|label| Candidate {
                namespace_label: namespace_label.clone(),
                more: Some(rule.container_label.clone()).filter(|label| !label.is_empty()),
                ..Candidate::new(label, Some(true))
            });
            let subject = query::Subject {
                rule: rule.rule,
                template: &rule.container_query,
                field: "containerQuery",
                place: &written.container_query.place,
                requests: "requests for pods",
                fails_all: false,
                selects: false,
                yields: Yields::Vector,
                settings: self.settings,
                discovery: None,
            };
            query::lint(&subject, candidates.into_iter().collect(), None, self.warnings);
        }
        if written.node_query.value.trim().is_empty() {
            self.incomplete(place, "requests for nodes", "nodeQuery", false);
        } else {
            let nodes = self.label_of(&labels, "nodes");
            if nodes.is_none() {
                let message = format!("requests for nodes will fail: {}", no_label_for(rule.rule, "nodes"));
                self.warnings.push(Warning::new(Lint::ResourceRulesIncomplete, place.fault(message)));
            }
            let subject = query::Subject {
                rule: rule.rule,
                template: &rule.node_query,
                field: "nodeQuery",
                place: &written.node_query.place,
                requests: "requests for nodes",
                fails_all: false,
                selects: false,
                yields: Yields::Vector,
                settings: self.settings,
                discovery: None,
            };
            let candidates = nodes.map(|label| Candidate::new(label, Some(false)));
            query::lint(&subject, candidates.into_iter().collect(), None, self.warnings);
        }
    }

    /// What rules of both lists have.
    fn discovery(&mut self, written: &DiscoveryRule, rule: &Rule) -> Selected {
        name::lint(written, rule, self.warnings);
        series_query::lint(&written.series_query, self.warnings)
    }

    /// Two overrides for one resource.
    fn two_labels(&mut self, written: &DiscoveryRule, labels: &ResolvedLabels) {
        let mut first_of: Vec<(&Kind, &Arc<str>)> = Vec::new();
        for (position, (label, kind)) in labels.overrides().enumerate() {
            let Some(kind) = kind else { continue };
            let Some((_, first)) = first_of.iter().find(|(other, _)| *other == kind) else {
                first_of.push((kind, label));
                continue;
            };
            let message = format!(
                "the labels {first:?} and {label:?} both name {}; queries use {first:?} alone",
                kind.plural
            );
            // Labels come in the order of the overrides.
            let place = &written.resources.overrides[position].1.place;
            self.warnings.push(Warning::new(Lint::DuplicateResourceLabel, place.fault(message)));
        }
    }

    /// The labels that may name the objects of a request: each override's, and the template's for some kinds.
    fn candidates(&self, labels: &ResolvedLabels, template_for: &[&str]) -> Vec<Candidate> {
        let mut candidates: Vec<Candidate> = labels
            .overrides()
            .map(|(label, kind)| {
                let mut candidate = Candidate::new(Arc::clone(label), kind.map(|kind| kind.namespaced));
                candidate.is_namespace = kind.is_some_and(is_namespace);
                candidate
            })
            .collect();
        if labels.has_template() {
            for kind in template_for.iter().filter_map(|resource| self.mapper.kind_for(resource, "")) {
                candidates.extend(labels.label_of(&kind).map(|label| Candidate {
                    is_namespace: is_namespace(&kind),
                    ..Candidate::new(label, Some(kind.namespaced))
                }));
            }
        }
        // Most rules are written for pods.
        candidates.sort_by_key(|candidate| candidate.is_namespace);
        candidates
    }

    fn label_of(&self, labels: &ResolvedLabels, resource: &str) -> Option<Arc<str>> {
        labels.label_of(&*self.mapper.kind_for(resource, "")?)
    }

    fn no_namespace_label(&mut self, written: &DiscoveryRule, rule: &Rule, candidates: &[Candidate]) {
        let namespaced = candidates.iter().filter(|candidate| candidate.namespaced == Some(true)).count();
        if namespaced == candidates.len() {
            self.useless(
                Lint::NoNamespaceLabel,
                &written.place,
                EVERY_REQUEST,
                &no_label(rule, "namespaces"),
            );
        } else if namespaced > 0 {
            let message =
                format!("requests for objects in a namespace will fail: {}", no_label(rule, "namespaces"));
            self.warnings.push(Warning::new(Lint::NoNamespaceLabel, written.place.fault(message)));
        }
    }

    fn missing(&mut self, lint: Lint, place: &Place, requests: &str, field: &str, never_answers: bool) {
        let fault = place.fault(format!("{requests} will fail: the field {field} is missing"));
        self.warnings.push(Warning { never_answers, ..Warning::new(lint, fault) });
    }

    fn incomplete(&mut self, place: &Place, requests: &str, field: &str, never_answers: bool) {
        self.missing(Lint::ResourceRulesIncomplete, place, requests, field, never_answers);
    }

    fn useless(&mut self, lint: Lint, place: &Place, consequence: &str, message: &str) {
        let verb = if consequence == EVERY_REQUEST { " will fail" } else { "" };
        let fault = place.fault(format!("{consequence}{verb}: {message}"));
        self.warnings.push(Warning::never_answers(lint, fault));
    }
}

/// The query of a rule of `rules` or `externalRules`.
fn metrics_query<'a>(
    written: &'a DiscoveryRule,
    rule: &'a Rule,
    (selected, mapper): (&'a Selected, &'a StaticMapper),
    settings: LintSettings,
    yields: Yields,
) -> query::Subject<'a> {
    query::Subject {
        rule: rule.id,
        template: &rule.metrics_query,
        field: "metricsQuery",
        place: &written.metrics_query.place,
        requests: EVERY_REQUEST,
        fails_all: true,
        selects: true,
        yields,
        settings,
        discovery: Some(query::Discovery { rule, selected, mapper }),
    }
}

fn no_label(rule: &Rule, resource: &'static str) -> String {
    no_label_for(rule.id, resource)
}

fn no_label_for(rule: crate::RuleId, resource: &'static str) -> String {
    crate::plan::PlanError::NoLabel { rule, resource }.to_string()
}

fn is_namespace(kind: &Kind) -> bool {
    kind.group.is_empty() && kind.plural == "namespaces"
}

const EVERY_REQUEST: &str = "every request";
/// A template names a label for every kind; these stand for all.
const OBJECTS: &[&str] = &["pods", "services", "deployments", "nodes", "namespaces"];
