//! Metrics of rules' policies: values that they made, and values that are kept for them.

use std::sync::{Arc, OnceLock};

use prometheus::{IntCounter, IntCounterVec, IntGauge};
use serve::Registrar;

use crate::last_values::{LastValues, LastValuesStats};
use crate::values::MadeBy;

/// Handles on the metrics of policies.
pub(super) struct PolicyMetrics {
    pub(super) last_values: OnceLock<Arc<LastValues>>,
    made: IntCounterVec,
    kept: IntGauge,
    bytes: IntGauge,
    evicted: IntCounter,
}

impl PolicyMetrics {
    pub(super) fn new(r: &Registrar<'_>) -> PolicyMetrics {
        let metrics = PolicyMetrics {
            last_values: OnceLock::new(),
            made: r.counters(
                "adapter_policy_values_total",
                "Values that a rule's onNaN or onEmpty made, by policy.",
                &["policy"],
            ),
            kept: r.gauge("adapter_last_values", "Answers kept for onEmpty: last(...)."),
            bytes: r.gauge(
                "adapter_last_values_bytes",
                "Memory of the answers kept for onEmpty: last(...), in bytes.",
            ),
            evicted: r.counter(
                "adapter_last_values_evicted_total",
                "Answers kept for onEmpty: last(...) that were dropped before their age, to make room for newer ones.",
            ),
        };
        for policy in MadeBy::POLICIES.into_iter().filter_map(MadeBy::label) {
            metrics.made.with_label_values(&[policy]);
        }
        metrics
    }

    pub(super) fn made(&self, by: MadeBy) {
        if let Some(policy) = by.label() {
            self.made.with_label_values(&[policy]).inc();
        }
    }

    /// Takes over what others count. Not to be called twice at the same time.
    pub(super) fn collect(&self) {
        let Some(values) = self.last_values.get() else { return };
        let LastValuesStats { kept, bytes, evicted } = values.stats();
        self.kept.set(kept as i64);
        self.bytes.set(bytes as i64);
        self.evicted.inc_by(evicted.saturating_sub(self.evicted.get()));
    }
}
