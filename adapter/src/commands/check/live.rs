//! `--prometheus-url`: what the rules find in a Prometheus, and the values of some of their metrics.

use std::collections::BTreeSet;
use std::time::{Duration, Instant, SystemTime};

use rules::catalog::{CustomMatch, ExternalMatch, Objects, Origin, own_queries};
use rules::plan::PlanError;
use rules::resource::{GroupResource, StaticMapper};
use rules::{RuleId, RuleSet};
use selector::labels::Selector;
use serve::error_chain;

use super::diagnostic::{Diagnostic, FileReport, Severity};
use super::found::{MetricFound, RuleFound};
use crate::commands::listed;
use crate::relist::Unlisted;
use crate::rule_report::why_barren;
use crate::source::{MetricSource, Sample, Samples, SourceError};
use crate::values::{self, InNamespace};

/// Asks a Prometheus about the rules of all files together.
pub(super) async fn check(source: &dyn MetricSource, rules: &RuleSet) -> FileReport {
    let mut report = FileReport { name: format!("Prometheus {}", source.name()), ..FileReport::default() };
    let (mapper, since) = (StaticMapper::built_in(), SystemTime::now() - SERIES_SINCE);
    let (catalog, unlisted) = listed::catalog(source, rules, &mapper, since, LONGEST_QUERY).await;
    report.diagnostics.extend(unlisted.iter().map(|Unlisted { series_query, cause }| {
        let message = format!("cannot list the series of {series_query}: {cause}");
        finding(Severity::NeverAnswers, "live-series", message)
    }));
    for rule in rules.custom.iter().chain(&rules.external) {
        let counts = catalog.rule_stats().iter().find(|(id, _)| *id == rule.id).map(|(_, counts)| *counts);
        let counts = counts.unwrap_or_default();
        let is_listed = unlisted.iter().all(|unlisted| unlisted.series_query != rule.series_query);
        if let Some(why) = why_barren(&counts).filter(|_| is_listed) {
            report.diagnostics.push(warn("live-no-metric", format!("{} makes no metric: {why}", rule.id)));
        }
        report.live.push(RuleFound {
            rule: rule.id.to_string(),
            series: counts.series,
            metrics: Vec::new(),
            more: counts.metrics,
        });
    }
    let of_catalog = catalog.warnings().iter().map(|message| warn("live-labels", message.clone()));
    report.diagnostics.extend(of_catalog);
    let ask = Ask { source };
    for entry in catalog.custom_resources() {
        let Some(matched) = catalog.custom(entry.resource, entry.metric) else { continue };
        let name = format!("{}/{}", entry.resource, entry.metric);
        if let Some(found) = room(&mut report.live, matched.origin().rule()) {
            found.metrics.push(ask.custom(name, &matched, entry.resource, entry.namespaced).await);
            found.more -= 1;
        }
    }
    for metric in catalog.external_metrics() {
        let Some(matched) = catalog.external(metric) else { continue };
        if let Some(found) = room(&mut report.live, matched.origin().rule()) {
            found.metrics.push(ask.external(metric, &matched).await);
            found.more -= 1;
        }
    }
    report.summary = Some(format!(
        "{} custom and {} external metrics",
        catalog.custom_count(),
        catalog.external_metrics().len()
    ));
    report
}

fn finding(severity: Severity, name: &'static str, message: String) -> Diagnostic {
    Diagnostic { lint: Some(name), ..Diagnostic::unplaced(severity, message) }
}

fn warn(name: &'static str, message: String) -> Diagnostic {
    finding(Severity::Warning, name, message)
}

/// The rule's entry, while it has room for one more metric.
fn room(live: &mut [RuleFound], rule: RuleId) -> Option<&mut RuleFound> {
    let rule = rule.to_string();
    live.iter_mut().find(|found| found.rule == rule && found.metrics.len() < MOST_METRICS)
}

/// Why a metric's values are not known.
#[derive(Debug, thiserror::Error)]
enum AskError {
    #[error(transparent)]
    Plan(#[from] PlanError),
    #[error("{promql}")]
    Query {
        promql: String,
        #[source]
        cause: SourceError,
    },
}

struct Ask<'s> {
    source: &'s dyn MetricSource,
}

impl Ask<'_> {
    async fn custom(
        &self,
        metric: String,
        matched: &CustomMatch,
        resource: &GroupResource,
        namespaced: bool,
    ) -> MetricFound {
        let origin = matched.origin();
        let mut found =
            MetricFound { metric, values: Vec::new(), age_seconds: self.age(origin).await, problem: None };
        let is_namespace = *resource == GroupResource::new("", "namespaces");
        let namespace_label = matched.namespace_label().filter(|_| namespaced && !is_namespace);
        match self.objects(origin, namespace_label, matched.object_label()).await {
            Err(error) => found.problem = Some(error_chain(&error)),
            Ok(None) => {
                found.problem =
                    Some(format!("no series has a value of the label {:?} now", matched.object_label()));
            }
            Ok(Some((namespace, names))) => {
                let names: Vec<&str> = names.iter().map(String::as_str).collect();
                match self.values(matched, namespace.as_deref(), &names).await {
                    Ok(values) if values.is_empty() => {
                        found.problem = Some(format!("no value for {}", names.join(", ")));
                    }
                    Ok(values) => found.values = values,
                    Err(error) => found.problem = Some(error_chain(&error)),
                }
            }
        }
        found
    }

    async fn values(
        &self,
        matched: &CustomMatch,
        namespace: Option<&str>,
        names: &[&str],
    ) -> Result<Vec<(String, String)>, AskError> {
        let plan = matched.plan(&Objects { namespace, names }, &Selector::everything())?;
        let samples = self.vector(&plan.query.promql).await?;
        let limit = namespace
            .zip(matched.namespace_label())
            .map(|(namespace, label)| InNamespace { label, namespace });
        let joined = values::join(&samples, &plan.join_label, (limit, names), matched.origin().policy(), 0);
        let named = |name: &str| namespace.map_or(name.to_owned(), |namespace| format!("{namespace}/{name}"));
        Ok(joined.values.iter().map(|(at, value)| (named(names[*at]), value.quantity.to_string())).collect())
    }

    async fn external(&self, metric: &str, matched: &ExternalMatch) -> MetricFound {
        let origin = matched.origin();
        let mut found = MetricFound {
            metric: metric.to_owned(),
            values: Vec::new(),
            age_seconds: self.age(origin).await,
            problem: None,
        };
        let namespace = match matched.namespace_label() {
            None => Ok(Some("default".to_owned())),
            Some(label) => self
                .objects(origin, None, label)
                .await
                .map(|found| found.and_then(|(_, names)| names.into_iter().next())),
        };
        let namespace = match namespace {
            Ok(Some(namespace)) => namespace,
            Ok(None) => {
                found.problem = Some("no series has a namespace now".to_owned());
                return found;
            }
            Err(error) => {
                found.problem = Some(error_chain(&error));
                return found;
            }
        };
        let values = match matched.plan(&namespace, &Selector::everything()) {
            Err(error) => Err(AskError::from(error)),
            Ok(query) => self
                .vector(&query.promql)
                .await
                .map(|samples| values::each(&samples, metric, origin.policy(), 0, |_, _| {})),
        };
        match values {
            Err(error) => found.problem = Some(error_chain(&error)),
            Ok(picked) if picked.values.is_empty() => {
                found.problem = Some(format!("no value in the namespace {namespace}"));
            }
            Ok(picked) => {
                let shown = picked.values.iter().take(MOST_OBJECTS);
                found.values =
                    shown.map(|(_, value)| (namespace.clone(), value.quantity.to_string())).collect();
            }
        }
        found
    }

    /// Some objects of one namespace that the series speak of now.
    async fn objects(
        &self,
        origin: &Origin,
        namespace_label: Option<&str>,
        label: &str,
    ) -> Result<Option<(Option<String>, Vec<String>)>, AskError> {
        let labels: Vec<&str> = namespace_label.into_iter().chain([label]).collect();
        let samples = self.vector(&own_queries::series_by(origin, &labels)).await?;
        let objects: BTreeSet<(Option<&str>, &str)> = samples
            .iter()
            .filter_map(|sample| {
                let namespace = match namespace_label {
                    Some(namespace) => Some(sample.label(namespace).filter(|name| !name.is_empty())?),
                    None => None,
                };
                Some((namespace, sample.label(label).filter(|name| !name.is_empty())?))
            })
            .collect();
        let Some((namespace, _)) = objects.first() else { return Ok(None) };
        let of_one = objects.iter().filter(|(other, _)| other == namespace).take(MOST_OBJECTS);
        Ok(Some((namespace.map(str::to_owned), of_one.map(|(_, name)| (*name).to_owned()).collect())))
    }

    /// How old the newest sample of a metric's series is.
    async fn age(&self, origin: &Origin) -> Option<u64> {
        let samples = self.vector(&own_queries::newest_age(origin)).await.ok()?;
        samples.first().map(|sample| sample.value.max(0.0).round() as u64)
    }

    async fn vector(&self, promql: &str) -> Result<Vec<Sample>, AskError> {
        let deadline = Instant::now() + LONGEST_QUERY;
        let result = self.source.query(promql, SystemTime::now(), deadline).await;
        let result = result.map_err(|cause| AskError::Query { promql: promql.to_owned(), cause })?;
        match result.value {
            Samples::Vector(samples) => Ok(samples),
            Samples::Scalar { timestamp_ms, value } => {
                Ok(vec![Sample { labels: Vec::new(), timestamp_ms, value }])
            }
        }
    }
}

/// How far back series are looked for, as the server does by default.
const SERIES_SINCE: Duration = Duration::from_mins(10);
const LONGEST_QUERY: Duration = Duration::from_secs(30);
/// Of one rule, that are asked for values.
const MOST_METRICS: usize = 20;
const MOST_OBJECTS: usize = 3;
