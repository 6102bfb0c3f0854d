//! The health of each rule: whether its series are found, when they were last, what its queries take and why they fail.
//!
//! There can be thousands of rules, and each has fifteen series. They are counted in a few words for each rule, and
//! made into metrics while these are written, one family after another.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::{Duration, Instant, SystemTime};

use prometheus::TextEncoder;
use prometheus::proto::{Bucket, Counter, Gauge, Histogram, LabelPair, Metric, MetricFamily, MetricType};
use rules::catalog::{Catalog, RuleStats};
use rules::{RuleId, RuleSet, Section};

use super::buckets::ROUGH_LATENCIES;
use super::time::unix_seconds;
use crate::source::SourceErrorClass;

/// The counts of all rules. Each rule is a label value, by its place in the file.
#[derive(Default)]
pub(super) struct RuleMetrics {
    rules: RwLock<BTreeMap<RuleId, Arc<RuleCounts>>>,
}

/// What is counted of one rule.
struct RuleCounts {
    series: AtomicUsize,
    dropped: AtomicUsize,
    unmapped: AtomicUsize,
    metrics: AtomicUsize,
    /// When its series were last listed, in seconds since the epoch, as the bits of a float; and by the clock of this
    /// process: at the start, until they are.
    last_listed: AtomicU64,
    listed: Mutex<Instant>,
    errors: [AtomicU64; REASONS.len()],
    duplicates: AtomicU64,
    queries: [AtomicU64; ROUGH_LATENCIES.len()],
    queries_count: AtomicU64,
    queries_nanoseconds: AtomicU64,
}

impl RuleMetrics {
    /// New rules begin at 0; the series of removed rules are removed. Each listing calls it with the rules in force.
    pub(super) fn follow(&self, rules: &RuleSet) {
        let usage = rules.resource.iter().flat_map(|_| USAGE_RULES);
        let known = rules.custom.iter().chain(&rules.external).map(|rule| rule.id).chain(usage);
        let is_known = {
            let counts = self.rules.read().unwrap_or_else(PoisonError::into_inner);
            known.clone().count() == counts.len() && known.clone().all(|rule| counts.contains_key(&rule))
        };
        if is_known {
            return;
        }
        let mut counts = self.rules.write().unwrap_or_else(PoisonError::into_inner);
        let mut before = std::mem::take(&mut *counts);
        *counts = known.map(|rule| (rule, before.remove(&rule).unwrap_or_default())).collect();
    }

    /// Counts of a rule; nothing for one that was removed meanwhile.
    fn of(&self, rule: RuleId, count: impl FnOnce(&RuleCounts)) {
        if let Some(counts) = self.rules.read().unwrap_or_else(PoisonError::into_inner).get(&rule) {
            count(counts);
        }
    }

    pub(super) fn catalog(&self, catalog: &Catalog) {
        for (rule, found) in catalog.rule_stats() {
            let RuleStats { series, dropped, unmapped, metrics } = *found;
            self.of(*rule, |counts| {
                counts.series.store(series, Ordering::Relaxed);
                counts.dropped.store(dropped, Ordering::Relaxed);
                counts.unmapped.store(unmapped, Ordering::Relaxed);
                counts.metrics.store(metrics, Ordering::Relaxed);
            });
        }
    }

    pub(super) fn listed(&self, rule: RuleId, at: SystemTime) {
        self.of(rule, |counts| {
            *counts.listed.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
            counts.last_listed.store(unix_seconds(at).to_bits(), Ordering::Relaxed);
        });
    }

    pub(super) fn failed(&self, rule: RuleId, reason: RuleFailure) {
        self.of(rule, |counts| add(&counts.errors[reason.reason()], 1));
    }

    pub(super) fn duplicates(&self, rule: RuleId, count: usize) {
        self.of(rule, |counts| add(&counts.duplicates, count as u64));
    }

    pub(super) fn queried(&self, rule: RuleId, took: Duration) {
        let seconds = took.as_secs_f64();
        self.of(rule, |counts| {
            if let Some(bucket) = ROUGH_LATENCIES.iter().position(|bound| seconds <= *bound) {
                add(&counts.queries[bucket], 1);
            }
            add(&counts.queries_count, 1);
            add(&counts.queries_nanoseconds, u64::try_from(took.as_nanos()).unwrap_or(u64::MAX));
        });
    }

    /// Writes all of it.
    pub(super) fn write(&self, text: &mut String) {
        let rules: Vec<(RuleId, Arc<RuleCounts>)> = {
            let rules = self.rules.read().unwrap_or_else(PoisonError::into_inner);
            rules.iter().map(|(rule, counts)| (*rule, Arc::clone(counts))).collect()
        };
        for Family { name, help, of, is_counter, read } in FAMILIES {
            let rules = rules.iter().filter(|(rule, _)| of(rule.section));
            let metrics = rules.map(|(rule, counts)| {
                let metric = labelled(&[("rule", &rule.to_string())]);
                number(metric, *is_counter, read(counts))
            });
            let kind = if *is_counter { MetricType::COUNTER } else { MetricType::GAUGE };
            write_family(text, (name, help, kind), metrics.collect());
        }
        let errors = rules.iter().flat_map(|(rule, counts)| {
            let rule = rule.to_string();
            REASONS.iter().zip(&counts.errors).map(move |(reason, count)| {
                number(labelled(&[("reason", reason), ("rule", &rule)]), true, get(count))
            })
        });
        let help = "Failed series queries and queries of a rule, by reason.";
        write_family(text, ("adapter_rule_errors_total", help, MetricType::COUNTER), errors.collect());
        let seconds = rules.iter().map(|(rule, counts)| {
            let mut metric = labelled(&[("rule", &rule.to_string())]);
            metric.set_histogram(counts.seconds());
            metric
        });
        let help = "Duration of a rule's queries, in seconds.";
        let name = "adapter_rule_query_duration_seconds";
        write_family(text, (name, help, MetricType::HISTOGRAM), seconds.collect());
    }
}

impl Default for RuleCounts {
    fn default() -> RuleCounts {
        RuleCounts {
            series: AtomicUsize::default(),
            dropped: AtomicUsize::default(),
            unmapped: AtomicUsize::default(),
            metrics: AtomicUsize::default(),
            last_listed: AtomicU64::default(),
            listed: Mutex::new(Instant::now()),
            errors: Default::default(),
            duplicates: AtomicU64::default(),
            queries: Default::default(),
            queries_count: AtomicU64::default(),
            queries_nanoseconds: AtomicU64::default(),
        }
    }
}

impl RuleCounts {
    fn seconds(&self) -> Histogram {
        let mut below = 0;
        let buckets = ROUGH_LATENCIES.iter().zip(&self.queries).map(|(bound, count)| {
            below += count.load(Ordering::Relaxed);
            let mut bucket = Bucket::default();
            bucket.set_upper_bound(*bound);
            bucket.set_cumulative_count(below);
            bucket
        });
        let mut histogram = Histogram::default();
        histogram.set_bucket(buckets.collect());
        histogram.set_sample_count(self.queries_count.load(Ordering::Relaxed));
        histogram.set_sample_sum(get(&self.queries_nanoseconds) / 1e9);
        histogram
    }
}

/// A metric that is one number for each rule.
struct Family {
    name: &'static str,
    help: &'static str,
    /// Which rules have it.
    of: fn(Section) -> bool,
    is_counter: bool,
    read: fn(&RuleCounts) -> f64,
}

/// Rules about use are not listed.
const LISTED: fn(Section) -> bool = |section| section != Section::Resource;

const FAMILIES: &[Family] = &[
    Family {
        name: "adapter_rule_series",
        help: "Series found by the last run of a rule's series query.",
        of: LISTED,
        is_counter: false,
        read: |counts| counts.series.load(Ordering::Relaxed) as f64,
    },
    Family {
        name: "adapter_rule_series_dropped",
        help: "Series of a rule that its filters or its name template drop.",
        of: LISTED,
        is_counter: false,
        read: |counts| counts.dropped.load(Ordering::Relaxed) as f64,
    },
    Family {
        name: "adapter_rule_series_unmapped",
        help: "Series of a rule without a label that maps to a resource of the cluster.",
        of: LISTED,
        is_counter: false,
        read: |counts| counts.unmapped.load(Ordering::Relaxed) as f64,
    },
    Family {
        name: "adapter_rule_metrics",
        help: "API metrics that a rule produces.",
        of: LISTED,
        is_counter: false,
        read: |counts| counts.metrics.load(Ordering::Relaxed) as f64,
    },
    Family {
        name: "adapter_rule_listing_last_success_timestamp_seconds",
        help: "Unix time of the last successful series query of a rule, in seconds; 0 before the first.",
        of: LISTED,
        is_counter: false,
        read: |counts| f64::from_bits(counts.last_listed.load(Ordering::Relaxed)),
    },
    Family {
        name: "adapter_rule_listing_age_seconds",
        help: "Seconds since the last successful series query of a rule, or since the start while there was none.",
        of: LISTED,
        is_counter: false,
        read: |counts| counts.listed.lock().unwrap_or_else(PoisonError::into_inner).elapsed().as_secs_f64(),
    },
    Family {
        name: "adapter_duplicate_samples_total",
        help: "Duplicate samples for one object; the last one is used.",
        // An external metric has no objects.
        of: |section| section != Section::External,
        is_counter: true,
        read: |counts| get(&counts.duplicates),
    },
];

fn write_family(text: &mut String, (name, help, kind): (&str, &str, MetricType), metrics: Vec<Metric>) {
    // The encoder refuses a family without metrics.
    if metrics.is_empty() {
        return;
    }
    let mut family = MetricFamily::default();
    family.set_name(name.to_owned());
    family.set_help(help.to_owned());
    family.set_field_type(kind);
    family.set_metric(metrics);
    if let Err(error) = TextEncoder::new().encode_utf8(&[family], text) {
        tracing::error!(%error, name, "cannot write a metric");
    }
}

fn labelled(labels: &[(&str, &str)]) -> Metric {
    let label = |(name, value): &(&str, &str)| {
        let mut label = LabelPair::default();
        label.set_name((*name).to_owned());
        label.set_value((*value).to_owned());
        label
    };
    Metric::from_label(labels.iter().map(label).collect())
}

fn number(mut metric: Metric, is_counter: bool, value: f64) -> Metric {
    if is_counter {
        let mut counter = Counter::default();
        counter.set_value(value);
        metric.set_counter(counter);
    } else {
        let mut gauge = Gauge::default();
        gauge.set_value(value);
        metric.set_gauge(gauge);
    }
    metric
}

fn add(counter: &AtomicU64, count: u64) {
    counter.fetch_add(count, Ordering::Relaxed);
}

fn get(counter: &AtomicU64) -> f64 {
    counter.load(Ordering::Relaxed) as f64
}

/// Why a rule gave nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RuleFailure {
    /// No query could be made of it.
    Plan,
    /// The source's answer may be partial, and the rule says `onPartial: error`.
    Partial,
    /// The source failed.
    Source(SourceErrorClass),
}

impl RuleFailure {
    /// Its place in [`REASONS`].
    fn reason(self) -> usize {
        match self {
            RuleFailure::Plan => 0,
            RuleFailure::Source(SourceErrorClass::Unreachable | SourceErrorClass::Unavailable) => 1,
            RuleFailure::Source(SourceErrorClass::Silent | SourceErrorClass::Timeout) => 2,
            RuleFailure::Source(SourceErrorClass::Busy) => 3,
            RuleFailure::Source(SourceErrorClass::BadQuery) => 4,
            RuleFailure::Source(SourceErrorClass::WrongType) => 5,
            RuleFailure::Partial => 6,
        }
    }
}

const REASONS: [&str; 7] = ["plan", "unavailable", "timeout", "busy", "bad_query", "wrong_type", "partial"];
const USAGE_RULES: [RuleId; 2] =
    [RuleId { section: Section::Resource, index: 0 }, RuleId { section: Section::Resource, index: 1 }];
