//! What one round of the demo saw through the API, and what an autoscaler makes of it.

use std::collections::BTreeMap;

use e2e::hpa::{self, Bounds, Target};

/// The targets of the tutorial's autoscaler, and the third metric of its rules.
pub(crate) const LATENCY: Target = Target { metric: "inference_latency_seconds_avg", average: 0.2 };
pub(crate) const DEPTH: Target = Target { metric: "request_queue_depth", average: 10.0 };
pub(crate) const GPU: &str = "gpu_utilization_percent";
pub(crate) const BOUNDS: Bounds = Bounds { min: 2, max: 10 };
pub(crate) const PODS: usize = 3;

/// Each pod's value of each metric.
pub(crate) type Seen = BTreeMap<&'static str, BTreeMap<String, f64>>;

/// One round.
#[derive(Debug, Clone)]
pub(crate) struct Observation {
    /// Since the demo's start.
    pub(crate) second: u64,
    /// Clients that sent requests meanwhile.
    pub(crate) clients: usize,
    /// What the API answered.
    pub(crate) seen: Seen,
    /// How many replicas an autoscaler would want.
    pub(crate) replicas: u32,
}

impl Observation {
    pub(crate) fn new(second: u64, clients: usize, seen: Seen) -> Observation {
        let replicas = wanted(&seen);
        Observation { second, clients, seen, replicas }
    }

    pub(crate) fn value(&self, metric: &str, pod: &str) -> Option<f64> {
        self.seen.get(metric)?.get(pod).copied()
    }

    /// Whether every pod reports neither waiting requests nor latency.
    pub(crate) fn is_idle(&self) -> bool {
        [DEPTH.metric, LATENCY.metric].iter().all(|metric| {
            self.seen
                .get(metric)
                .is_some_and(|values| values.len() == PODS && values.values().all(|value| *value == 0.0))
        })
    }
}

pub(crate) fn pod_names() -> impl Iterator<Item = String> {
    (0..PODS).map(|number| format!("model-{number}"))
}

/// What an autoscaler over these pods would make of the values.
fn wanted(seen: &Seen) -> u32 {
    let wish = |target: Target| {
        let values = seen.get(target.metric)?;
        let average = values.values().sum::<f64>() / values.len().max(1) as f64;
        (!values.is_empty()).then(|| hpa::desired(values.len() as u32, average, target.average))
    };
    hpa::replicas([DEPTH, LATENCY].into_iter().filter_map(wish), BOUNDS)
}

/// Two rounds: no load, then 16 requests waiting and 320 ms on every pod.
#[cfg(test)]
pub(crate) fn two_rounds() -> Vec<Observation> {
    let seen = |depth: f64, latency: f64| {
        let each = |value: f64| pod_names().map(|pod| (pod, value)).collect();
        Seen::from([(DEPTH.metric, each(depth)), (LATENCY.metric, each(latency)), (GPU, each(0.0))])
    };
    vec![Observation::new(0, 0, seen(0.0, 0.0)), Observation::new(2, 48, seen(16.0, 0.32))]
}
