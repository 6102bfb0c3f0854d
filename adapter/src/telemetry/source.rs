//! Metrics of the metric source: its queue and circuit breaker, memory that answers of Prometheus take, and series that
//! the embedded engine keeps.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use engine::Engine;
use prometheus::{Histogram, IntCounter, IntCounterVec, IntGauge};
use serve::Registrar;

use super::buckets::LATENCIES;
use crate::source::guard::{Guard, GuardCounts};
use crate::source::prometheus::AnswerStats;

/// Handles on the source's metrics. They stay 0 for the source that is not in use.
pub(super) struct SourceMetrics {
    pub(super) answers: OnceLock<Arc<AnswerStats>>,
    pub(super) engine: OnceLock<Engine>,
    pub(super) guard: OnceLock<Arc<Guard>>,
    pub(super) queue_seconds: Histogram,
    in_flight: IntGauge,
    waiting: IntGauge,
    not_sent: IntCounterVec,
    breaker_open: IntGauge,
    breaker_openings: IntCounter,
    answer_bytes: IntGauge,
    answers_refused: IntCounterVec,
    series: IntGauge,
    series_refused: IntCounter,
    series_evicted: IntCounter,
}

impl SourceMetrics {
    pub(super) fn new(r: &Registrar<'_>) -> SourceMetrics {
        let metrics = SourceMetrics {
            answers: OnceLock::new(),
            engine: OnceLock::new(),
            guard: OnceLock::new(),
            queue_seconds: r.histogram(
                "adapter_source_queue_duration_seconds",
                "Time that queries waited for their turn before they were sent to the metric source, in seconds.",
                &LATENCIES,
            ),
            in_flight: r.gauge(
                "adapter_source_queries_in_flight",
                "Queries and series listings that the metric source works on.",
            ),
            waiting: r.gauge(
                "adapter_source_queries_waiting",
                "Queries and series listings that wait for their turn.",
            ),
            not_sent: r.counters(
                "adapter_source_queries_refused_total",
                "Queries and series listings not sent to the metric source, by reason: too many waiting, no turn in time, or an open circuit breaker.",
                &["reason"],
            ),
            breaker_open: r.gauge(
                "adapter_source_breaker_open",
                "1 while queries fail without being sent because the metric source does not answer, else 0.",
            ),
            breaker_openings: r.counter(
                "adapter_source_breaker_openings_total",
                "Times that the circuit breaker of the metric source opened.",
            ),
            answer_bytes: r.gauge(
                "adapter_source_answer_bytes",
                "Memory reserved for answers of Prometheus in flight, in bytes.",
            ),
            answers_refused: r.counters(
                "adapter_source_answers_refused_total",
                "Answers of Prometheus given up, by reason: too large for one answer, or no memory beside the others in time.",
                &["reason"],
            ),
            series: r.gauge("adapter_embedded_series", "Series in the embedded engine."),
            series_refused: r.counter(
                "adapter_embedded_series_refused_total",
                "New series refused by the full embedded engine, which fails the scrape of their target.",
            ),
            series_evicted: r.counter(
                "adapter_embedded_series_evicted_total",
                "Series that left their target and were dropped before their retention ended, to make room for new ones.",
            ),
        };
        for (reason, _) in REFUSALS {
            metrics.answers_refused.with_label_values(&[reason]);
        }
        for (reason, _) in NOT_SENT {
            metrics.not_sent.with_label_values(&[reason]);
        }
        metrics
    }

    /// Takes over what others count. Not to be called twice at the same time.
    pub(super) fn collect(&self) {
        let raise = |counter: &IntCounter, to: u64| counter.inc_by(to.saturating_sub(counter.get()));
        if let Some(answers) = self.answers.get() {
            self.answer_bytes.set(answers.bytes.load(Ordering::Relaxed) as i64);
            for (reason, count) in REFUSALS {
                let count = count(answers).load(Ordering::Relaxed);
                raise(&self.answers_refused.with_label_values(&[reason]), count);
            }
        }
        if let Some(guard) = self.guard.get() {
            let counts = guard.counts();
            self.in_flight.set(counts.in_flight as i64);
            self.waiting.set(counts.waiting as i64);
            self.breaker_open.set(counts.is_open.into());
            raise(&self.breaker_openings, counts.openings);
            for (reason, count) in NOT_SENT {
                raise(&self.not_sent.with_label_values(&[reason]), count(&counts));
            }
        }
        if let Some(engine) = self.engine.get() {
            let store = engine.store();
            self.series.set(store.series_count() as i64);
            raise(&self.series_refused, store.stats().refused.load(Ordering::Relaxed));
            raise(&self.series_evicted, store.stats().evicted.load(Ordering::Relaxed));
        }
    }
}

type NotSent = fn(&GuardCounts) -> u64;

const NOT_SENT: [(&str, NotSent); 3] = [
    ("queue_full", |counts| counts.full),
    ("no_turn", |counts| counts.late),
    ("breaker_open", |counts| counts.not_asked),
];

type Count = fn(&AnswerStats) -> &AtomicU64;

const REFUSALS: [(&str, Count); 2] =
    [("too_large", |answers| &answers.too_large), ("no_room", |answers| &answers.no_room)];
