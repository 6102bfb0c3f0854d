//! The health of each rule: whether its series are found, when they were last, what its queries take and why they fail.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use prometheus::{GaugeVec, HistogramVec, IntCounterVec};
use rules::catalog::{Catalog, RuleStats};
use rules::{RuleId, RuleSet, Section};
use serve::Registrar;

use super::buckets::ROUGH_LATENCIES;
use super::time::unix_seconds;
use crate::source::SourceErrorClass;

/// Handles on the metrics of rules. Each rule is a label value, by its place in the file.
pub(super) struct RuleMetrics {
    series: GaugeVec,
    dropped: GaugeVec,
    unmapped: GaugeVec,
    metrics: GaugeVec,
    last_listed: GaugeVec,
    listing_age: GaugeVec,
    errors: IntCounterVec,
    duplicates: IntCounterVec,
    query_seconds: HistogramVec,
    /// When the series of each rule were last listed: at the start, until they are.
    listed: Mutex<HashMap<RuleId, Instant>>,
}

impl RuleMetrics {
    pub(super) fn new(r: &Registrar<'_>) -> RuleMetrics {
        let rule = &["rule"];
        RuleMetrics {
            series: r.float_gauges("adapter_rule_series", "Series found by the last run of a rule's series query.", rule),
            dropped: r.float_gauges(
                "adapter_rule_series_dropped",
                "Series of a rule that its filters or its name template drop.",
                rule,
            ),
            unmapped: r.float_gauges(
                "adapter_rule_series_unmapped",
                "Series of a rule without a label that maps to a resource of the cluster.",
                rule,
            ),
            metrics: r.float_gauges("adapter_rule_metrics", "API metrics that a rule produces.", rule),
            last_listed: r.float_gauges(
                "adapter_rule_listing_last_success_timestamp_seconds",
                "Unix time of the last successful series query of a rule, in seconds; 0 before the first.",
                rule,
            ),
            listing_age: r.float_gauges(
                "adapter_rule_listing_age_seconds",
                "Seconds since the last successful series query of a rule, or since the start while there was none.",
                rule,
            ),
            errors: r.counters(
                "adapter_rule_errors_total",
                "Failed series queries and queries of a rule, by reason.",
                &["rule", "reason"],
            ),
            duplicates: r.counters(
                "adapter_duplicate_samples_total",
                "Duplicate samples for one object; the last one is used.",
                rule,
            ),
            query_seconds: r.histograms(
                "adapter_rule_query_duration_seconds",
                "Duration of a rule's queries, in seconds.",
                rule,
                &ROUGH_LATENCIES,
            ),
            listed: Mutex::default(),
        }
    }

    /// New rules begin at 0; the series of removed rules are removed.
    pub(super) fn follow(&self, rules: &RuleSet) {
        let listed: BTreeSet<RuleId> =
            rules.custom.iter().chain(&rules.external).map(|rule| rule.id).collect();
        let usage = rules.resource.iter().flat_map(|_| USAGE_RULES);
        let known: BTreeSet<RuleId> = listed.iter().copied().chain(usage).collect();
        let mut listings = self.listings();
        let gone: Vec<RuleId> = listings.keys().filter(|rule| !known.contains(rule)).copied().collect();
        for rule in gone {
            listings.remove(&rule);
            self.forget(rule);
        }
        for rule in known {
            if listings.contains_key(&rule) {
                continue;
            }
            listings.insert(rule, Instant::now());
            let label = rule.to_string();
            let label = label.as_str();
            self.query_seconds.with_label_values(&[label]);
            // An external metric has no objects.
            if rule.section != Section::External {
                self.duplicates.with_label_values(&[label]);
            }
            for reason in REASONS {
                self.errors.with_label_values(&[label, reason]);
            }
            if listed.contains(&rule) {
                for gauges in self.listing_gauges() {
                    gauges.with_label_values(&[label]);
                }
            }
        }
    }

    fn forget(&self, rule: RuleId) {
        let label = rule.to_string();
        // Removing what was never there fails, and may: rules about use have no listing.
        let _ = self.duplicates.remove_label_values(&[label.as_str()]);
        let _ = self.query_seconds.remove_label_values(&[label.as_str()]);
        for reason in REASONS {
            let _ = self.errors.remove_label_values(&[label.as_str(), reason]);
        }
        for gauges in self.listing_gauges() {
            let _ = gauges.remove_label_values(&[label.as_str()]);
        }
    }

    fn listing_gauges(&self) -> [&GaugeVec; 6] {
        [&self.series, &self.dropped, &self.unmapped, &self.metrics, &self.last_listed, &self.listing_age]
    }

    pub(super) fn catalog(&self, catalog: &Catalog) {
        for (rule, counts) in catalog.rule_stats() {
            let label = rule.to_string();
            let RuleStats { series, dropped, unmapped, metrics } = *counts;
            for (gauges, count) in [
                (&self.series, series),
                (&self.dropped, dropped),
                (&self.unmapped, unmapped),
                (&self.metrics, metrics),
            ] {
                gauges.with_label_values(&[label.as_str()]).set(count as f64);
            }
        }
    }

    pub(super) fn listed(&self, rule: RuleId, at: SystemTime) {
        self.listings().insert(rule, Instant::now());
        self.last_listed.with_label_values(&[rule.to_string()]).set(unix_seconds(at));
    }

    pub(super) fn failed(&self, rule: RuleId, reason: RuleFailure) {
        self.errors.with_label_values(&[rule.to_string().as_str(), reason.label()]).inc();
    }

    pub(super) fn duplicates(&self, rule: RuleId, count: usize) {
        if count > 0 {
            self.duplicates.with_label_values(&[rule.to_string()]).inc_by(count as u64);
        }
    }

    pub(super) fn queried(&self, rule: RuleId, took: Duration) {
        self.query_seconds.with_label_values(&[rule.to_string()]).observe(took.as_secs_f64());
    }

    /// Ages are of the moment in which they are asked for.
    pub(super) fn collect(&self) {
        for (rule, since) in self.listings().iter().filter(|(rule, _)| rule.section != Section::Resource) {
            let age = since.elapsed().as_secs_f64();
            self.listing_age.with_label_values(&[rule.to_string()]).set(age);
        }
    }

    fn listings(&self) -> MutexGuard<'_, HashMap<RuleId, Instant>> {
        // No code panics while it holds the lock: metrics are literals of this folder.
        self.listed.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Why a rule gave nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RuleFailure {
    /// No query could be made of it.
    Plan,
    /// The source failed.
    Source(SourceErrorClass),
}

impl RuleFailure {
    fn label(self) -> &'static str {
        match self {
            RuleFailure::Plan => "plan",
            RuleFailure::Source(SourceErrorClass::Unavailable) => "unavailable",
            RuleFailure::Source(SourceErrorClass::Timeout) => "timeout",
            RuleFailure::Source(SourceErrorClass::Busy) => "busy",
            RuleFailure::Source(SourceErrorClass::BadQuery) => "bad_query",
            RuleFailure::Source(SourceErrorClass::WrongType) => "wrong_type",
        }
    }
}

const REASONS: [&str; 6] = ["plan", "unavailable", "timeout", "busy", "bad_query", "wrong_type"];
const USAGE_RULES: [RuleId; 2] =
    [RuleId { section: Section::Resource, index: 0 }, RuleId { section: Section::Resource, index: 1 }];
