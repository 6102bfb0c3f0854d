//! A series as discovery keeps it, and the name that a rule gives it.

use std::sync::Arc;

use crate::rule::Rule;

/// What discovery keeps of a series: its name and the names of its labels. Values do not matter here.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Series {
    /// The metric's name in Prometheus.
    pub name: Arc<str>,
    /// The names of the series' labels.
    pub label_names: Arc<[Arc<str>]>,
}

/// The API's name for a series of a rule; `None` when the rule drops it.
pub(super) fn metric_of(rule: &Rule, series: &Arc<str>) -> Option<Arc<str>> {
    let metric = rule.metric_of(series).filter(|metric| !metric.is_empty())?;
    // Most metrics are called as their series.
    Some(if *metric == **series { Arc::clone(series) } else { metric.into() })
}
