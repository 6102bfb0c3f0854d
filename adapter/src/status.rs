//! The state of the server as data: what became of each rule, the metric source, the targets, what was slow and what
//! had no value. HTML for people is made of it in `html`; for programs it is JSON.

mod html;

use std::collections::BTreeMap;

use serde::Serialize;

/// The state at one moment. Every list in it has a bound.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Status {
    /// The program's version.
    pub version: String,
    /// How long it runs.
    pub uptime_seconds: u64,
    /// The rules, in the order of the file, custom rules first.
    pub rules: Vec<RuleStatus>,
    /// How many more rules there are.
    pub more_rules: usize,
    /// Rules that are left out of the file, and why.
    pub refused_rules: Vec<RefusedRule>,
    /// The metric source.
    pub source: SourceStatus,
    /// What the embedded engine scrapes; empty with a Prometheus.
    pub targets: Vec<TargetStatus>,
    /// How many more targets there are.
    pub more_targets: usize,
    /// The slowest queries of the last hour, the slowest first.
    pub slow_queries: Vec<SlowQuery>,
    /// The last answers without a value, the last first.
    pub without_value: Vec<WithoutValue>,
}

/// One rule.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RuleStatus {
    /// `rules[3]`.
    pub id: String,
    /// Its `seriesQuery`.
    pub series_query: String,
    /// Metrics that it makes.
    pub metrics: usize,
    /// Kinds of series that its query found.
    pub series: usize,
    /// Of those, dropped by filters or names.
    pub dropped: usize,
    /// Of the rest, without a label that names a resource.
    pub unmapped: usize,
    /// How long ago its series were listed; `None` when they never were.
    pub listed_seconds_ago: Option<f64>,
    /// Why the last listing failed.
    pub error: Option<String>,
    /// Why it makes no metric.
    pub why: Option<String>,
}

/// A rule that is left out.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RefusedRule {
    /// `rules[3]`.
    pub id: String,
    /// The first of its faults.
    pub fault: String,
}

/// The metric source.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct SourceStatus {
    /// The host of a Prometheus, or `embedded`.
    pub name: String,
    /// How long ago it answered; `None` before its first answer.
    pub answered_seconds_ago: Option<f64>,
    /// How long it does not answer; `None` while it does.
    pub silent_seconds: Option<f64>,
    /// Queries in flight.
    pub queries_in_flight: usize,
    /// Queries that wait for their turn.
    pub queries_waiting: usize,
    /// Maximum number of queries in flight.
    pub query_limit: usize,
    /// `closed` while it is asked, `open` while it is not, as it did not answer, `half-open` while one query tries it;
    /// `None` for the embedded engine.
    pub breaker: Option<String>,
}

/// A target of the embedded engine.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct TargetStatus {
    /// Where it is scraped, without credentials.
    pub url: String,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// Scrapes so far.
    pub scrapes: u64,
    /// Samples of the last scrape.
    pub samples: usize,
    /// Why the last scrape failed.
    pub error: Option<String>,
}

/// A query that took long.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct SlowQuery {
    /// The rule.
    pub rule: String,
    /// The query.
    pub promql: String,
    /// The longest that it took.
    pub seconds: f64,
    /// How long ago that was.
    pub seconds_ago: f64,
    /// Why it failed then.
    pub error: Option<String>,
}

/// An answer without a value.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct WithoutValue {
    /// The request.
    pub asked: String,
    /// The step that found nothing.
    pub step: String,
    /// Why.
    pub why: String,
    /// How long ago it was answered.
    pub seconds_ago: f64,
}

/// The most entries of a list of the status.
pub const MOST_SHOWN: usize = 500;
