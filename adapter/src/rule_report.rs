//! What became of each rule, in the log: after the start, after a reload, and when a rule begins or ceases to make
//! metrics.

use std::collections::HashMap;
use std::sync::Arc;

use rules::catalog::RuleStats;
use rules::{RuleId, RuleSet};

use crate::relist::Snapshot;

/// Remembers what was logged of each rule.
#[derive(Default)]
pub struct RuleReport {
    rules: Option<Arc<RuleSet>>,
    logged: HashMap<RuleId, Outcome>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outcome {
    MakesMetrics,
    MakesNothing,
    Unlisted,
}

impl RuleReport {
    /// Logs a line for each rule whose outcome has changed.
    pub fn log(&mut self, snapshot: &Snapshot) {
        let Snapshot { rules, catalog, unlisted, .. } = snapshot;
        if !self.rules.as_ref().is_some_and(|logged| Arc::ptr_eq(logged, rules)) {
            self.rules = Some(Arc::clone(rules));
            self.logged.clear();
            if rules.resource.is_some() {
                tracing::info!(rule = "resourceRules", "rules loaded; their series are queried by requests");
            }
        }
        let causes: HashMap<&str, &str> = unlisted.iter().map(|of| (&*of.series_query, &*of.cause)).collect();
        // A catalog counts in the order of the file.
        for (rule, (_, counts)) in rules.custom.iter().chain(&rules.external).zip(catalog.rule_stats()) {
            let unlisted = causes.get(&*rule.series_query);
            let why = why_barren(counts);
            let outcome = match (&why, unlisted) {
                (None, _) => Outcome::MakesMetrics,
                (Some(_), None) => Outcome::MakesNothing,
                (Some(_), Some(_)) => Outcome::Unlisted,
            };
            if self.logged.insert(rule.id, outcome) == Some(outcome) {
                continue;
            }
            let RuleStats { series, metrics, .. } = *counts;
            match (why, unlisted) {
                (None, _) => tracing::info!(rule = %rule.id, series, metrics, "rule produces metrics"),
                (Some(why), None) => {
                    tracing::info!(rule = %rule.id, series, metrics, why, "rule produces no metric");
                }
                (Some(_), Some(cause)) => {
                    let why = format!("cannot list its series: {cause}");
                    tracing::info!(rule = %rule.id, why, "rule produces no metric yet");
                }
            }
        }
    }
}

/// At which point of discovery a rule stops; `None` for one that makes metrics.
pub fn why_barren(counts: &RuleStats) -> Option<String> {
    let RuleStats { series, dropped, unmapped, metrics } = counts;
    if *metrics > 0 {
        None
    } else if *series == 0 {
        // The rule is right more often than what is scraped.
        Some(
            "its series query finds no series: no scraped target exports one; with the Prometheus Operator, \
             serviceMonitorSelector must match the labels of the ServiceMonitor"
                .to_owned(),
        )
    } else if *unmapped == 0 && *dropped > 0 {
        Some(format!("its filters or its name template drop all {series} series"))
    } else if *unmapped > 0 {
        Some(format!("{unmapped} kinds of series have no label that maps to a resource"))
    } else {
        Some("an earlier rule produces all of its metrics".to_owned())
    }
}
