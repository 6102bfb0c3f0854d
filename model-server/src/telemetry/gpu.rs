//! The GPU's metrics. What is not known is absent: a 0 would tell an autoscaler that the GPU is idle.

use std::sync::{Mutex, MutexGuard};
use std::time::Instant;

use prometheus::{GaugeVec, IntCounterVec, IntGauge, IntGaugeVec};
use serve::Registrar;

use super::lock::lock;
use crate::gpu::{Reading, Reason};

/// Handles on the GPU's metrics; the collector's thread writes them.
pub struct GpuMetrics {
    utilization: GaugeVec,
    device_utilization: GaugeVec,
    memory_used: IntGaugeVec,
    memory_total: IntGaugeVec,
    up: IntGauge,
    errors: IntCounterVec,
    /// Until when what was measured is true. Held while series are dropped and set again, so that no scrape sees them
    /// gone in between.
    valid_until: Mutex<Option<Instant>>,
}

impl GpuMetrics {
    pub(super) fn new(r: &Registrar<'_>) -> GpuMetrics {
        let device = ["gpu", "uuid"];
        let metrics = GpuMetrics {
            utilization: r.float_gauges(
                "gpu_utilization_percent",
                "How busy the GPUs in use are, in percent, averaged over them and over the poll interval; 0 on a CPU by \
                 choice, absent when a GPU is expected and cannot be read.",
                &[],
            ),
            device_utilization: r.float_gauges(
                "gpu_device_utilization_percent",
                "Utilization of a GPU, in percent, averaged over the poll interval.",
                &device,
            ),
            memory_used: r.gauges("gpu_memory_used_bytes", "Memory of a GPU in use, in bytes.", &device),
            memory_total: r.gauges("gpu_memory_total_bytes", "Memory of a GPU, in bytes.", &device),
            up: r.gauge("gpu_metrics_up", "1 while every GPU in use can be read, else 0; 0 on a CPU."),
            errors: r.counters(
                "gpu_metrics_errors_total",
                "Failures to read a GPU, by reason.",
                &["reason"],
            ),
            valid_until: Mutex::new(None),
        };
        for reason in Reason::ALL {
            metrics.errors.with_label_values(&[reason.label()]);
        }
        metrics
    }

    /// There is no GPU, and none is expected: its use is 0.
    pub fn none_by_choice(&self) {
        let mut valid_until = self.hold();
        *valid_until = None;
        self.clear();
        self.utilization.with_label_values(NO_LABELS).set(0.0);
    }

    /// A GPU is expected and cannot be read; `zero` says that an unknown use is 0, as in the tutorial.
    pub fn unknown(&self, zero: bool) {
        let mut valid_until = self.hold();
        *valid_until = None;
        self.clear();
        if zero {
            self.utilization.with_label_values(NO_LABELS).set(0.0);
        }
    }

    /// A failure to read.
    pub fn failed(&self, reason: Reason) {
        self.errors.with_label_values(&[reason.label()]).inc();
    }

    /// What the devices in use say now; a device without a utilization has no such series, and then no mean is known.
    /// Nothing of it is shown after `valid_until`: a driver that hangs must not freeze what it said last.
    pub fn measured(&self, readings: &[Reading], zero: bool, valid_until: Instant) {
        let mut held = self.hold();
        *held = Some(valid_until);
        self.clear();
        let mut sum = Some(0.0);
        for reading in readings {
            let labels = [reading.index.as_str(), reading.uuid.as_str()];
            if let Some(utilization) = reading.utilization_percent {
                self.device_utilization.with_label_values(&labels).set(utilization);
            }
            sum = sum.zip(reading.utilization_percent).map(|(sum, utilization)| sum + utilization);
            if let Some(memory) = reading.memory {
                self.memory_used.with_label_values(&labels).set(to_gauge(memory.used_bytes));
                self.memory_total.with_label_values(&labels).set(to_gauge(memory.total_bytes));
            }
        }
        match sum {
            Some(sum) if !readings.is_empty() => {
                self.utilization.with_label_values(NO_LABELS).set(sum / readings.len() as f64);
                self.up.set(1);
            }
            _ if zero => self.utilization.with_label_values(NO_LABELS).set(0.0),
            _ => {}
        }
    }

    /// Nothing is published while the guard lives, and nothing is there that is not true any more.
    pub(super) fn current(&self, now: Instant) -> impl Drop + '_ {
        let mut valid_until = self.hold();
        if valid_until.is_some_and(|until| until < now) {
            *valid_until = None;
            self.clear();
            self.failed(Reason::Timeout);
        }
        valid_until
    }

    fn hold(&self) -> MutexGuard<'_, Option<Instant>> {
        lock(&self.valid_until)
    }

    fn clear(&self) {
        self.utilization.reset();
        self.device_utilization.reset();
        self.memory_used.reset();
        self.memory_total.reset();
        self.up.set(0);
    }
}

fn to_gauge(bytes: u64) -> i64 {
    i64::try_from(bytes).unwrap_or(i64::MAX)
}

const NO_LABELS: &[&str] = &[];
