//! Metrics of followed files. Those of the rule file have names of their own.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};

use prometheus::{Gauge, IntCounterVec, IntGauge, IntGaugeVec};
use serve::{FileStats, Registrar};

use super::time::unix_seconds;
use crate::rules_file::LABEL as RULES;

/// Handles on the metrics of followed files.
pub(super) struct FileMetrics {
    pub(super) files: Mutex<Vec<Arc<FileStats>>>,
    config_success: IntGauge,
    config_last_success: Gauge,
    success: IntGaugeVec,
    reloads: IntCounterVec,
}

impl FileMetrics {
    pub(super) fn new(r: &Registrar<'_>) -> FileMetrics {
        let metrics = FileMetrics {
            files: Mutex::default(),
            config_success: r.gauge(
                "adapter_config_last_reload_successful",
                "1 if the last load of the rule file succeeded, else 0.",
            ),
            config_last_success: r.float_gauge(
                "adapter_config_last_reload_success_timestamp_seconds",
                "Unix time of the last successful load of the rule file, in seconds.",
            ),
            success: r.gauges(
                "adapter_file_last_reload_successful",
                "1 if the last load of the file succeeded, else 0, which keeps its previous content in use.",
                &["file"],
            ),
            reloads: r.counters(
                "adapter_file_reloads_total",
                "Reloads of changed files, by result; each fault counts once.",
                &["file", "result"],
            ),
        };
        metrics.rules(&FileStats::new(RULES));
        metrics
    }

    /// Takes over what the files count. Not to be called twice at the same time.
    pub(super) fn collect(&self) {
        // Several files may have one label: certificates for different names.
        let mut labels: BTreeMap<&str, (bool, u64, u64)> = BTreeMap::new();
        for stats in &*self.files.lock().unwrap_or_else(PoisonError::into_inner) {
            if stats.label == RULES {
                self.rules(stats);
            }
            let (is_valid, reloaded, refused) = labels.entry(stats.label).or_insert((true, 0, 0));
            *is_valid &= stats.is_valid();
            *reloaded += stats.reloaded.load(Ordering::Relaxed);
            *refused += stats.refused.load(Ordering::Relaxed);
        }
        for (label, (is_valid, reloaded, refused)) in labels {
            self.success.with_label_values(&[label]).set(i64::from(is_valid));
            for (result, count) in [("success", reloaded), ("failure", refused)] {
                let counter = self.reloads.with_label_values(&[label, result]);
                counter.inc_by(count.saturating_sub(counter.get()));
            }
        }
    }

    fn rules(&self, stats: &FileStats) {
        self.config_success.set(i64::from(stats.is_valid()));
        self.config_last_success.set(unix_seconds(stats.last_success()));
    }
}
