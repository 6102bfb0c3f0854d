//! A query's template, rendered for objects and a namespace that stand for all.

use std::borrow::Cow;
use std::sync::Arc;

use promql::ParseError;
use promql_parser::parser::Expr;
use promql_parser::parser::value::ValueType;

use super::exported::EXPORTED;
use super::labels::Fate;
use super::series_query::Selected;
use super::settings::LintSettings;
use super::{carried, counter, exported, namespace, range, unit};
use crate::config::Place;
use crate::duration;
use crate::quoting;
use crate::resource::{ResolvedLabels, StaticMapper};
use crate::rule::{QueryTemplate, Rule, RuleId};
use crate::sample::{SAMPLE_NAMESPACE, Sample, Uses, each_name};
use crate::warning::{Lint, Rendered, Warning};

/// A template and what is known of its requests.
pub(super) struct Subject<'a> {
    pub(super) rule: RuleId,
    pub(super) template: &'a QueryTemplate,
    /// The field of the rule.
    pub(super) field: &'static str,
    pub(super) place: &'a Place,
    /// Which requests it answers: `every request`, `requests for pods`.
    pub(super) requests: &'static str,
    /// Whether the rule is of no use when they fail.
    pub(super) fails_all: bool,
    /// Whether requests may have a metric selector.
    pub(super) selects: bool,
    pub(super) yields: Yields,
    pub(super) settings: LintSettings,
    /// `None` for `resourceRules`, which find no series.
    pub(super) discovery: Option<Discovery<'a>>,
}

/// What a query's rule says of its series.
#[derive(Clone, Copy)]
pub(super) struct Discovery<'a> {
    pub(super) rule: &'a Rule,
    pub(super) selected: &'a Selected,
    pub(super) mapper: &'a StaticMapper,
}

/// What a query has to yield.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Yields {
    /// Samples with a label that names an object.
    Vector,
    /// Samples, or one number.
    VectorOrScalar,
}

/// A label by which a request may name its objects.
#[derive(Debug, Clone)]
pub(super) struct Candidate {
    /// `None` for an external metric.
    pub(super) label: Option<Arc<str>>,
    /// A second label that samples must have.
    pub(super) more: Option<Arc<str>>,
    pub(super) namespace_label: Option<Arc<str>>,
    /// `None` for a resource that is not known here.
    pub(super) namespaced: Option<bool>,
    pub(super) is_namespace: bool,
}

impl Candidate {
    pub(super) fn new(label: Arc<str>, namespaced: Option<bool>) -> Candidate {
        Candidate { label: Some(label), more: None, namespace_label: None, namespaced, is_namespace: false }
    }

    pub(super) fn external(namespace_label: Option<Arc<str>>) -> Candidate {
        Candidate { label: None, more: None, namespaced: None, is_namespace: false, namespace_label }
    }

    /// Whether the file itself says that the label names objects, other than namespaces: hardly anything asks for a
    /// namespace's own metric.
    fn is_mapped(&self, known: &ResolvedLabels) -> bool {
        !self.is_namespace && known.overrides().any(|(label, _)| Some(label) == self.label.as_ref())
    }

    fn labels(&self) -> impl Iterator<Item = &str> {
        self.label.iter().chain(&self.more).map(|label| &**label)
    }
}

/// `known` tells which further labels may name objects.
pub(super) fn lint(
    subject: &Subject<'_>,
    candidates: Vec<Candidate>,
    known: Option<&ResolvedLabels>,
    warnings: &mut Vec<Warning>,
) {
    let text = &subject.template.text;
    if text.contains("{{") && text.contains("}}") {
        let message = format!(
            "what is between {{{{ and }}}} in {} is sent as it is; its templates are written between << and >>",
            subject.field
        );
        warnings.push(Warning::new(Lint::BracesInQuery, subject.place.fault(message)));
    }
    let (mut rendered, mut failed) = (Vec::new(), None);
    for candidate in candidates {
        match subject.render(&candidate) {
            Ok((text, uses)) => rendered.push((candidate, text, uses)),
            Err(error) => failed = failed.or(Some(error)),
        }
    }
    let Some((_, sample, _)) = rendered.first() else {
        // Another kind of object may fare better, so one failure among others is passed over.
        if let Some(error) = failed {
            subject.fails(Lint::TemplateFails, error, warnings);
        }
        return;
    };
    subject.ignores(&rendered, warnings);
    let tree = match promql::parse(sample) {
        Ok(tree) => tree,
        Err(error) => {
            // It is sent all the same, for a proxy that rewrites it or a Prometheus that knows more.
            let (lint, found) = match error {
                ParseError::Invalid { .. } => (Lint::NotPromql, "text that Prometheus refuses"),
                ParseError::Unsupported { .. } => (Lint::UnknownPromql, "PromQL that is not understood here"),
            };
            let message = format!("this renders {found}, {sample:?}: {error}; it is sent unchanged");
            let rendered = Some(Box::new(Rendered::of(sample, &error)));
            warnings.push(Warning { rendered, ..Warning::new(lint, subject.place.fault(message)) });
            return;
        }
    };
    subject.ignores_in_part(&rendered, warnings);
    let expected = match (tree.value_type(), subject.yields) {
        (ValueType::Vector, _) | (ValueType::Scalar, Yields::VectorOrScalar) => None,
        (found, Yields::Vector) => Some((found, "an instant vector with a sample for each object")),
        (found, Yields::VectorOrScalar) => Some((found, "an instant vector or a scalar")),
    };
    let name = |found: ValueType| {
        if found == ValueType::Matrix { "range vector".to_owned() } else { found.to_string() }
    };
    if let Some((found, expected)) = expected {
        let cause = format!("the query yields a {}, expected {expected}", name(found));
        subject.fails(Lint::WrongResultType, cause, warnings);
        return;
    }
    subject.misreads(&tree, known, warnings);
    if subject.yields == Yields::Vector {
        subject.loses(tree, &rendered, known, warnings);
    }
}

impl Subject<'_> {
    fn render(&self, candidate: &Candidate) -> Result<(String, Uses), String> {
        let group_by: Vec<&str> = candidate.labels().collect();
        let sample = Sample {
            rule: self.rule,
            template: self.template,
            // A namespace's own metric is not asked for in a namespace.
            namespace_label: candidate.namespace_label.as_deref().filter(|_| !candidate.is_namespace),
            object_label: candidate.label.as_deref(),
            group_by: &group_by,
        };
        let text = sample.render(&sample.written(&self.series())).map_err(|error| error.to_string())?;
        let uses = Uses::of(&text);
        Ok((text, uses))
    }

    /// The name of a series: the rule's, as far as the rule says it.
    fn series(&self) -> Cow<'_, str> {
        let Some(Discovery { selected, .. }) = self.discovery else { return SAMPLE_SERIES.into() };
        match (&selected.name, &selected.suffix) {
            (Some(name), _) if quoting::is_metric_name(name) => name.into(),
            (None, Some(suffix)) => format!("{SAMPLE_SERIES}_{}", suffix.trim_start_matches('_')).into(),
            _ => SAMPLE_SERIES.into(),
        }
    }

    fn fails(&self, lint: Lint, cause: impl std::fmt::Display, warnings: &mut Vec<Warning>) {
        let fault = self.place.fault(format!("{} will fail: {cause}", self.requests));
        warnings.push(Warning { never_answers: self.fails_all, ..Warning::new(lint, fault) });
    }

    /// What the query reads otherwise than its author hardly means.
    fn misreads(&self, tree: &Expr, known: Option<&ResolvedLabels>, warnings: &mut Vec<Warning>) {
        let mut warn = |lint, message: String| {
            warnings.push(Warning::new(lint, self.place.fault(message)));
        };
        if let Some((function, range)) = range::short(tree, self.settings.scrape_interval) {
            let (range, interval) = (duration::text(range), duration::text(self.settings.scrape_interval));
            warn(
                Lint::ShortRange,
                format!("{function} over {range} holds fewer than four scrapes, {interval} apart"),
            );
        }
        if let Some(counter) = counter::raw(tree) {
            warn(
                Lint::CounterAsGauge,
                format!("{counter} is a counter by its name, and the query reads it without a rate"),
            );
        }
        let Some(Discovery { rule, selected, mapper }) = self.discovery else { return };
        let series = self.series();
        if let Some(matcher) = carried::forgotten(tree, &series, &selected.matchers) {
            warn(
                Lint::MatchersNotCarried,
                format!(
                    "seriesQuery finds series with {matcher} alone, and {} reads those with any {}",
                    self.field, matcher.name
                ),
            );
        }
        if let Some(label) =
            known.and_then(|known| exported::shadowed(tree, &selected.matchers, (known, mapper)))
        {
            warn(
                Lint::ExportedLabel,
                format!(
                    "the series have {EXPORTED}{label:?} beside {label:?}, which names the scrape target; the rule tells \
                     objects apart by {label:?}"
                ),
            );
        }
        let metric = rule.metric_of(&series);
        if let Some((metric, made)) =
            metric.and_then(|metric| unit::mismatch(&metric, tree).map(|made| (metric, made)))
        {
            warn(Lint::UnitMismatch, format!("the metric is called {metric:?}, and the query makes {made}"));
        }
    }

    /// What a request says and the query does not repeat.
    fn ignores(&self, rendered: &[(Candidate, String, Uses)], warnings: &mut Vec<Warning>) {
        let has_namespace =
            |candidate: &Candidate| candidate.namespace_label.is_some() && !candidate.is_namespace;
        let namespace = rendered.iter().any(|(candidate, ..)| has_namespace(candidate))
            && rendered.iter().all(|(candidate, _, uses)| !has_namespace(candidate) || !uses.namespace);
        // A template may look up a label that callers are known to select by.
        let selector = self.selects
            && rendered.iter().all(|(_, _, uses)| !uses.selector)
            && !self.template.text.contains(".LabelValuesByName");
        let what = match (namespace, selector) {
            (true, true) => "namespace and the metric selector of a request have",
            (true, false) => "namespace of a request has",
            (false, true) => "metric selector of a request has",
            (false, false) => return,
        };
        let reason = if selector { "it does not use <<.LabelMatchers>>" } else { "it is not in the query" };
        let message = format!("the {what} no effect on {}: {reason}", self.field);
        let lint = if namespace { Lint::NamespaceIgnored } else { Lint::SelectorIgnored };
        warnings.push(Warning::new(lint, self.place.fault(message)));
    }

    /// A part of the result that the namespace of a request does not limit, though it limits another.
    fn ignores_in_part(&self, rendered: &[(Candidate, String, Uses)], warnings: &mut Vec<Warning>) {
        let limited = |(candidate, _, uses): &&(Candidate, String, Uses)| {
            candidate.namespace_label.is_some() && uses.namespace
        };
        let Some(tree) = rendered.iter().find(limited).and_then(|(_, text, _)| promql::parse(text).ok())
        else {
            return;
        };
        if let Some(part) = namespace::unlimited(&tree, SAMPLE_NAMESPACE) {
            let message = format!(
                "the namespace of a request has no effect on {part}, a part of {}: the result has samples of every \
                 namespace beside those of the one asked for",
                self.field
            );
            warnings.push(Warning::new(Lint::NamespaceIgnored, self.place.fault(message)));
        }
    }

    /// Whether no label is left that tells whose each sample is.
    fn loses(
        &self,
        mut tree: Expr,
        rendered: &[(Candidate, String, Uses)],
        known: Option<&ResolvedLabels>,
        warnings: &mut Vec<Warning>,
    ) {
        let (mut lost, mut some_kept, mut of_override) = (Vec::new(), false, None);
        for (candidate, text, _) in rendered {
            let Ok(tree) = promql::parse(text) else { return };
            let before = lost.len();
            let is_lost = |label: &&str| Fate::of(label, &tree) == Fate::Lost;
            lost.extend(candidate.labels().filter(is_lost).map(|label| format!("{label:?}")));
            if lost.len() == before {
                some_kept = true;
            } else if known.is_some_and(|known| candidate.is_mapped(known)) {
                of_override = of_override.or(lost.last().cloned());
            }
        }
        if some_kept {
            if let Some(label) = of_override {
                let message = format!(
                    "the rule maps the label {label}, and no sample of the query has it: requests for its objects will fail"
                );
                warnings.push(Warning::new(Lint::GroupIgnored, self.place.fault(message)));
            }
            return;
        }
        if let Some(labels) = known {
            let mut named = Vec::new();
            each_name(&mut tree, &mut |name| named.push(name.to_owned()));
            let may_name = |name: &String| labels.may_name_objects(name);
            if named.iter().filter(|name| may_name(name)).any(|name| Fate::of(name, &tree) != Fate::Lost) {
                return;
            }
        }
        let shown = &lost[..lost.len().min(SHOWN)];
        let labels = match shown {
            [label] => format!("the label {label}"),
            labels => format!("the labels {}", labels.join(", ")),
        };
        let which = if self.fails_all && lost.len() > 1 { " any of" } else { "" };
        self.fails(
            Lint::ObjectLabelLost,
            format!(
                "no sample has{which} {labels}, by which objects are told apart; aggregate by (<<.GroupBy>>)"
            ),
            warnings,
        );
    }
}

/// The name of a series that the rule does not tell.
const SAMPLE_SERIES: &str = "series";
const SHOWN: usize = 5;
