//! What rules find in a Prometheus.

use serde::Serialize;

/// What a rule finds and makes.
#[derive(Debug, Serialize)]
pub(super) struct RuleFound {
    pub(super) rule: String,
    /// Kinds of series: names with the names of their labels.
    pub(super) series: usize,
    pub(super) metrics: Vec<MetricFound>,
    /// Metrics beyond those that are listed.
    pub(super) more: usize,
}

/// A metric, and its values for some objects.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct MetricFound {
    /// `pods/queue_depth`, or the name of an external metric.
    pub(super) metric: String,
    /// By `NAMESPACE/NAME`; an external metric's have no name.
    pub(super) values: Vec<(String, String)>,
    /// How old the newest sample of its series is.
    pub(super) age_seconds: Option<u64>,
    /// Why there is no value.
    pub(super) problem: Option<String>,
}

/// The report, for people.
pub(super) fn text(live: &[RuleFound]) -> String {
    use std::fmt::Write as _;
    let mut text = String::new();
    for found in live {
        // Writing to memory does not fail.
        let _ = writeln!(text, "{}: {} kinds of series", found.rule, found.series);
        for metric in &found.metrics {
            let values: Vec<String> =
                metric.values.iter().map(|(object, value)| format!("{object} = {value}")).collect();
            let problem = metric.problem.as_deref().unwrap_or_default();
            let age =
                metric.age_seconds.map(|age| format!(" (newest sample {age} s old)")).unwrap_or_default();
            let _ = writeln!(text, "  {}: {}{problem}{age}", metric.metric, values.join(", "));
        }
        if found.more > 0 {
            let _ = writeln!(text, "  and {} more metrics", found.more);
        }
    }
    text
}
