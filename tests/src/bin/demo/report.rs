//! What a run comes to: the report, and whether it shows what it should.

use std::collections::BTreeMap;
use std::time::Duration;

use e2e::Failure;
use serde_json::{Value, json};

use crate::observation::{BOUNDS, DEPTH, GPU, LATENCY, Observation, Seen, pod_names};

/// A run that is over.
#[derive(Debug)]
pub(crate) struct Report<'a> {
    /// How long the adapter took to get ready.
    pub(crate) ready: Duration,
    /// Its resident memory before the load.
    pub(crate) idle_bytes: u64,
    /// Requests without an answer.
    pub(crate) failed: u64,
    /// The rounds.
    pub(crate) run: &'a [Observation],
}

impl Report<'_> {
    pub(crate) fn to_json(&self) -> Value {
        let peaks = self.peaks();
        let last = self.run.last();
        let metric = |metric: &'static str| {
            let pods = peaks.get(metric).into_iter().flatten();
            let pods: BTreeMap<&String, Value> = pods
                .map(|(pod, peak)| {
                    (pod, json!({"peak": peak, "final": last.and_then(|round| round.value(metric, pod))}))
                })
                .collect();
            (metric, pods)
        };
        json!({
            "metrics": BTreeMap::from([DEPTH.metric, LATENCY.metric, GPU].map(metric)),
            "replicas": {"peak": self.most_replicas(), "final": self.last_replicas()},
            "adapter": {"ready_ms": self.ready.as_millis() as u64, "idle_rss_bytes": self.idle_bytes},
        })
    }

    /// Whether the ramp was seen: up on every pod, and back to nothing.
    ///
    /// # Errors
    /// What was not seen.
    pub(crate) fn judge(&self) -> Result<(), Failure> {
        let mut missing = Vec::new();
        let peaks = self.peaks();
        for target in [DEPTH, LATENCY] {
            for pod in pod_names() {
                let peak = peaks.get(target.metric).and_then(|peaks| peaks.get(&pod));
                if peak.is_none_or(|peak| *peak <= target.average) {
                    missing.push(format!("{} of {pod} over its target (seen: {peak:?})", target.metric));
                }
            }
        }
        if !self.run.last().is_some_and(Observation::is_idle) {
            let last = self.run.last().map(|round| &round.seen);
            missing.push(format!("depth and latency of every pod back at 0 (seen: {last:?})"));
        }
        let (most, last) = (self.most_replicas(), self.last_replicas());
        if most <= BOUNDS.min || last != BOUNDS.min {
            missing.push(format!("replicas up and back to {} (seen: {most} and {last})", BOUNDS.min));
        }
        if self.failed > 0 {
            missing.push(format!("every request answered ({} failed)", self.failed));
        }
        if missing.is_empty() {
            println!("the ramp went up to {most} replicas and back to {last}: seen through the API");
            return Ok(());
        }
        Err(format!("not seen: {}", missing.join("; ")).into())
    }

    /// The highest value of each pod.
    fn peaks(&self) -> Seen {
        let mut peaks = Seen::new();
        for (metric, values) in self.run.iter().flat_map(|round| &round.seen) {
            let peaks = peaks.entry(metric).or_default();
            for (pod, value) in values {
                let peak = peaks.entry(pod.clone()).or_default();
                *peak = peak.max(*value);
            }
        }
        peaks
    }

    fn most_replicas(&self) -> u32 {
        self.run.iter().map(|round| round.replicas).max().unwrap_or_default()
    }

    fn last_replicas(&self) -> u32 {
        self.run.last().map_or(0, |round| round.replicas)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observation::two_rounds;

    #[test]
    fn a_run_that_does_not_come_back_to_nothing_fails_and_says_so() {
        let run = two_rounds();
        let report = Report { ready: Duration::ZERO, idle_bytes: 0, failed: 0, run: &run };
        let error = report.judge().unwrap_err().to_string();
        assert!(error.contains("depth and latency of every pod back at 0"), "{error}");
        assert!(error.contains("replicas up and back to 2 (seen: 5 and 5)"), "{error}");
        assert!(!error.contains("over its target"), "{error}");
    }

    #[test]
    fn a_run_up_and_down_passes_and_its_report_holds_peak_and_end() {
        let mut run = two_rounds();
        run.push(run[0].clone());
        let report = Report { ready: Duration::from_millis(70), idle_bytes: 1, failed: 0, run: &run };
        report.judge().unwrap();
        let json = report.to_json();
        assert_eq!(json["metrics"]["request_queue_depth"]["model-1"], json!({"peak": 16.0, "final": 0.0}));
        assert_eq!(json["replicas"], json!({"peak": 5, "final": 2}));
        assert_eq!(json["adapter"]["ready_ms"], 70);
    }
}
