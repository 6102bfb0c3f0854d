//! Puts the status page together out of what the parts of the server know.

use std::sync::Arc;
use std::time::Instant;

use apiservice::server::{Page, PageForm};

use crate::history::History;
use crate::relist::{CatalogHandle, Snapshot};
use crate::rule_report::why_barren;
use crate::source::guarded::Guarded;
use crate::status::{MOST_SHOWN, RefusedRule, RuleStatus, Status, TargetStatus};

/// The targets of the embedded engine; none with a Prometheus.
pub type Targets = Arc<dyn Fn() -> Vec<TargetStatus> + Send + Sync>;

/// What the page is made of.
pub struct StatusPage {
    /// The rules and what they make.
    pub catalog: CatalogHandle,
    /// The metric source.
    pub source: Arc<Guarded>,
    /// What it scrapes itself.
    pub targets: Targets,
    /// What requests met lately.
    pub history: Arc<History>,
    /// When the program started.
    pub started: Instant,
}

impl StatusPage {
    /// The page at `/debug/status`.
    pub fn into_page(self) -> Page {
        let make = move |form| match form {
            PageForm::Html => self.status().html(),
            // Strings, numbers and lists of them are always written.
            PageForm::Json => serde_json::to_string(&self.status()).unwrap_or_default(),
        };
        Page { path: "/debug/status", make: Arc::new(make) }
    }

    fn status(&self) -> Status {
        let snapshot = self.catalog.load();
        let mut targets = (self.targets)();
        let more_targets = targets.len().saturating_sub(MOST_SHOWN);
        targets.truncate(MOST_SHOWN);
        let all = snapshot.rules.custom.len() + snapshot.rules.external.len();
        Status {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            uptime_seconds: self.started.elapsed().as_secs(),
            rules: rules(&snapshot),
            more_rules: all.saturating_sub(MOST_SHOWN),
            refused_rules: refused(&snapshot),
            source: self.source.status(),
            targets,
            more_targets,
            slow_queries: self.history.slow_queries(),
            without_value: self.history.without_value(),
        }
    }
}

fn rules(snapshot: &Snapshot) -> Vec<RuleStatus> {
    // A catalog counts in the order of the file.
    let rules = snapshot.rules.custom.iter().chain(&snapshot.rules.external);
    let counted = rules.zip(snapshot.catalog.rule_stats()).take(MOST_SHOWN);
    counted
        .map(|(rule, (_, counts))| {
            let listing = snapshot.listings.get(&rule.series_query);
            let unlisted = snapshot.unlisted.iter().find(|one| one.series_query == rule.series_query);
            let failed = listing.and_then(|listing| listing.failed.as_ref());
            let error = failed.or_else(|| unlisted.map(|unlisted| &unlisted.cause));
            RuleStatus {
                id: rule.id.to_string(),
                series_query: rule.series_query.to_string(),
                metrics: counts.metrics,
                series: counts.series,
                dropped: counts.dropped,
                unmapped: counts.unmapped,
                listed_seconds_ago: listing.map(|listing| listing.listed_at.elapsed().as_secs_f64()),
                error: error.map(ToString::to_string),
                why: why_barren(counts).filter(|_| unlisted.is_none()),
            }
        })
        .collect()
}

fn refused(snapshot: &Snapshot) -> Vec<RefusedRule> {
    let refused = snapshot.rules.refused.iter().take(MOST_SHOWN);
    refused
        .map(|(id, faults)| RefusedRule {
            id: id.to_string(),
            fault: faults.iter().next().map(ToString::to_string).unwrap_or_default(),
        })
        .collect()
}
