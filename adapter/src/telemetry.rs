//! Every metric of our own: names, units and handles in one place. They exist from the start, at 0, but for those of
//! requests that do not ask for metrics, which exist from the first such request.
//!
//! Names that dashboards of upstream know are kept (`docs/contract.md#server-metrics`).

mod buckets;
mod files;
mod policies;
mod route;
mod rules;
mod server;
mod source;
mod time;

#[cfg(test)]
mod tests;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use apiservice::accept::Stats;
use apiservice::audit::AuditStats;
use apiservice::authz::Decision;
use apiservice::review::ReviewStats;
use apiservice::server::{Authentication, Exchange, Kind, Observer};
use engine::Engine;
use prometheus::{
    Gauge, Histogram, HistogramVec, IntCounter, IntCounterVec, IntGauge, Registry, TextEncoder,
};
use serve::{FileStats, Registrar};

use self::buckets::LATENCIES;
use self::files::FileMetrics;
use self::policies::PolicyMetrics;
use self::rules::RuleMetrics;
use self::server::ServerMetrics;
use self::source::SourceMetrics;
use self::time::unix_seconds;
use crate::last_values::LastValues;
use crate::source::guard::Guard;
use crate::source::prometheus::AnswerStats;
use crate::values::MadeBy;
use crate::values::nan_and_infinity::DropReason;
use ::rules::catalog::Catalog;
use ::rules::{RuleId, RuleSet};

pub use self::rules::RuleFailure;

/// Handles on every metric.
pub struct Telemetry {
    registry: Registry,
    /// One text at a time: values that others count are taken over into counters of ours.
    gathering: Mutex<()>,
    server: ServerMetrics,
    rules: RuleMetrics,
    source: SourceMetrics,
    policies: PolicyMetrics,
    source_seconds: HistogramVec,
    source_warnings: IntCounter,
    queries_shared: IntCounterVec,
    samples_dropped: IntCounterVec,
    not_found: IntCounterVec,
    relists: IntCounterVec,
    relist_seconds: Histogram,
    relist_last_success: Gauge,
    series_queries_failing: IntGauge,
    config_refused_rules: IntGauge,
    files: FileMetrics,
}

impl Telemetry {
    /// Registers everything.
    ///
    /// # Panics
    /// Never: every name is registered once, right here.
    pub fn new(rules: &RuleSet) -> Telemetry {
        let registry = Registry::new();
        let r = Registrar::new(&registry);
        let telemetry = Telemetry {
            gathering: Mutex::default(),
            server: ServerMetrics::new(&r),
            rules: RuleMetrics::default(),
            source: SourceMetrics::new(&r),
            policies: PolicyMetrics::new(&r),
            source_seconds: r.histograms(
                "prometheus_adapter_prometheus_client_request_duration_seconds",
                "Duration of requests to the metric source, in seconds.",
                &["path", "server"],
                &LATENCIES,
            ),
            source_warnings: r.counter(
                "adapter_source_warnings_total",
                "Warnings in answers of the metric source, each of which may be partial.",
            ),
            queries_shared: r.counters(
                "adapter_shared_queries_total",
                "Requests whose rule can share its query, by outcome: sent a query, got the answer of another's, or asked alone.",
                &["outcome"],
            ),
            samples_dropped: r.counters(
                "adapter_samples_dropped_total",
                "Samples dropped, by reason.",
                &["reason"],
            ),
            not_found: r.counters(
                "adapter_metrics_not_found_total",
                "Requests for a metric answered without a value, by the step that found nothing.",
                &["step"],
            ),
            relists: r.counters("adapter_relists_total", "Series discovery rounds, by outcome.", &["outcome"]),
            relist_seconds: r.histogram(
                "adapter_relist_duration_seconds",
                "Duration of series discovery rounds, in seconds; a retry lists only what failed or was empty.",
                &LATENCIES,
            ),
            relist_last_success: r.float_gauge(
                "adapter_relist_last_success_timestamp_seconds",
                "Unix time of the last series discovery round without a failing query, in seconds; 0 before the first.",
            ),
            series_queries_failing: r.gauge(
                "adapter_series_queries_failing",
                "Series queries whose last run failed.",
            ),
            config_refused_rules: r.gauge(
                "adapter_config_refused_rules",
                "Rules of the loaded rule file that are left out because they are invalid.",
            ),
            files: FileMetrics::new(&r),
            registry: registry.clone(),
        };
        for outcome in SharingOutcome::ALL {
            telemetry.queries_shared.with_label_values(&[outcome.label()]);
        }
        for reason in ["infinite", "out_of_range", "not_a_number", "histogram", "other_namespace"] {
            telemetry.samples_dropped.with_label_values(&[reason]);
        }
        for step in Step::ALL {
            telemetry.not_found.with_label_values(&[step.label()]);
        }
        for outcome in ["success", "failure"] {
            telemetry.relists.with_label_values(&[outcome]);
        }
        telemetry.rules_changed(rules);
        #[cfg(target_os = "linux")]
        {
            let process = prometheus::process_collector::ProcessCollector::for_self();
            registry.register(Box::new(process)).expect("the process collector is registered once");
        }
        telemetry
    }

    /// The text of `/metrics`.
    pub fn text(&self) -> String {
        let _gathering = self.gathering.lock().unwrap_or_else(PoisonError::into_inner);
        self.server.collect();
        self.source.collect();
        self.policies.collect();
        self.files.collect();
        let mut text = String::new();
        if let Err(error) = TextEncoder::new().encode_utf8(&self.registry.gather(), &mut text) {
            tracing::error!(%error, "the metrics could not be written");
        }
        self.rules.write(&mut text);
        text
    }

    /// What the listener counts into.
    pub fn accept_stats(&self) -> Arc<Stats> {
        Arc::clone(&self.server.accept)
    }

    /// Shows what the audit log counts. Only the first one counts.
    pub fn watch_audit(&self, stats: Arc<AuditStats>) {
        let _ = self.server.audit.set(stats);
    }

    /// Shows what becomes of a followed file.
    pub fn watch_file(&self, stats: Arc<FileStats>) {
        self.files.files.lock().unwrap_or_else(PoisonError::into_inner).push(stats);
    }

    /// Shows what becomes of reviews of a kind.
    pub fn watch_reviews(&self, kind: &'static str, stats: Arc<ReviewStats>) {
        self.server.reviews.lock().unwrap_or_else(PoisonError::into_inner).push((kind, stats));
    }

    /// Shows the memory that answers of Prometheus take. Only the first one counts.
    pub fn watch_answers(&self, stats: Arc<AnswerStats>) {
        let _ = self.source.answers.set(stats);
    }

    /// Shows the queue and the circuit breaker before the metric source. Only the first one counts.
    pub fn watch_guard(&self, guard: Arc<Guard>) {
        let _ = self.source.guard.set(guard);
    }

    /// A query had its turn.
    pub fn source_waited(&self, waited: Duration) {
        self.source.queue_seconds.observe(waited.as_secs_f64());
    }

    /// Shows what the embedded engine keeps. Only the first one counts.
    pub fn watch_engine(&self, engine: Engine) {
        let _ = self.source.engine.set(engine);
    }

    /// Shows the values that are kept for rules that fall back on them. Only the first ones count.
    pub fn watch_last_values(&self, values: Arc<LastValues>) {
        let _ = self.policies.last_values.set(values);
    }

    /// A value was answered.
    pub fn value_made(&self, by: MadeBy) {
        self.policies.made(by);
    }

    /// There is a metric source, and questions to it will be timed.
    pub fn source_known(&self, paths: &[&str], server: &str) {
        for path in paths {
            self.source_seconds.with_label_values(&[*path, server]);
        }
    }

    /// The metric source answered, or failed to.
    pub fn source_asked(&self, path: &str, server: &str, took: Duration) {
        self.source_seconds.with_label_values(&[path, server]).observe(took.as_secs_f64());
    }

    /// An answer came with warnings.
    pub fn source_warnings(&self, count: usize) {
        self.source_warnings.inc_by(count as u64);
    }

    /// A request whose rule can share its query was answered.
    pub fn query_shared(&self, outcome: SharingOutcome) {
        self.queries_shared.with_label_values(&[outcome.label()]).inc();
    }

    /// A sample could not be shown.
    pub fn sample_dropped(&self, reason: DropReason) {
        let reason = match reason {
            DropReason::Infinite => "infinite",
            DropReason::OutOfRange => "out_of_range",
            DropReason::NotANumber => "not_a_number",
        };
        self.samples_dropped.with_label_values(&[reason]).inc();
    }

    /// Native histograms were left out of an answer.
    pub fn histograms_dropped(&self, count: usize) {
        self.samples_dropped.with_label_values(&["histogram"]).inc_by(count as u64);
    }

    /// Samples of other namespaces than the one asked for were left out.
    pub fn foreign_samples(&self, count: usize) {
        self.samples_dropped.with_label_values(&["other_namespace"]).inc_by(count as u64);
    }

    /// A rule's query yields more than one sample for an object.
    pub fn duplicate_samples(&self, rule: RuleId, count: usize) {
        self.rules.duplicates(rule, count);
    }

    /// A step found nothing.
    pub fn not_found(&self, step: Step) {
        self.not_found.with_label_values(&[step.label()]).inc();
    }

    /// A rule's series were listed.
    pub fn rule_listed(&self, rule: RuleId, at: SystemTime) {
        self.rules.listed(rule, at);
    }

    /// A rule's query was answered, or failed.
    pub fn rule_queried(&self, rule: RuleId, took: Duration) {
        self.rules.queried(rule, took);
    }

    /// A rule gave nothing.
    pub fn rule_failed(&self, rule: RuleId, reason: RuleFailure) {
        self.rules.failed(rule, reason);
    }

    /// These rules are in force, the same as before or others.
    pub fn rules_changed(&self, rules: &RuleSet) {
        self.rules.follow(rules);
        self.config_refused_rules.set(rules.refused.len() as i64);
    }

    /// Series were listed; `failed` of the series queries had no answer.
    pub fn relisted(&self, catalog: &Catalog, failed: usize, took: Duration, at: SystemTime) {
        let outcome = if failed == 0 { "success" } else { "failure" };
        self.relists.with_label_values(&[outcome]).inc();
        self.relist_seconds.observe(took.as_secs_f64());
        self.series_queries_failing.set(failed as i64);
        if failed == 0 {
            self.relist_last_success.set(unix_seconds(at));
        }
        self.rules.catalog(catalog);
    }
}

impl Observer for Telemetry {
    fn in_flight(&self, kind: Kind, count: usize) {
        self.server.in_flight(kind, count);
    }

    fn authenticated(&self, outcome: Authentication, certificate_left: Option<Duration>) {
        self.server.authenticated(outcome, certificate_left);
    }

    fn authorized(&self, decision: Option<&Decision>) {
        self.server.authorized(decision);
    }

    fn answered(&self, exchange: &Exchange<'_>) {
        self.server.answered(exchange);
    }
}

/// How a request got the answer of a query that can be shared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SharingOutcome {
    /// By a query for it and others.
    Sent,
    /// By the query of another request.
    Shared,
    /// By a query of its own, as no answer could be shared.
    Alone,
}

impl SharingOutcome {
    /// All of them.
    pub const ALL: [SharingOutcome; 3] =
        [SharingOutcome::Sent, SharingOutcome::Shared, SharingOutcome::Alone];

    /// As metrics name it.
    pub fn label(self) -> &'static str {
        match self {
            SharingOutcome::Sent => "sent",
            SharingOutcome::Shared => "shared",
            SharingOutcome::Alone => "alone",
        }
    }
}

/// Steps of a request that may find nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Step {
    /// The resource does not exist, or not in the requested scope.
    Resource,
    /// No rule makes such a metric.
    Metric,
    /// The selector matches no object.
    Objects,
    /// The query finds no sample, or none of an object asked for.
    Sample,
    /// No quantity can hold what the samples say.
    Value,
}

impl Step {
    /// All of them.
    pub const ALL: [Step; 5] = [Step::Resource, Step::Metric, Step::Objects, Step::Sample, Step::Value];

    /// As metrics and logs name it.
    pub fn label(self) -> &'static str {
        match self {
            Step::Resource => "resource",
            Step::Metric => "metric",
            Step::Objects => "objects",
            Step::Sample => "sample",
            Step::Value => "value",
        }
    }
}
