//! Whether what was asked for is scraped at all, for an explanation: by the list of targets where the source has one,
//! else by the series `up`. Only the targets of the namespace asked for are shown; of others their number.

use std::time::{Instant, SystemTime};

use super::record::Notes;
use super::record::query::said;
use super::sought::LONGEST;
use super::{Answerer, QueryContext};
use crate::source::MetricSource as _;
use crate::source::targets::{Health, ScrapedTarget};

impl Answerer {
    /// Notes whether the namespace, and the pods asked for, are among what is scraped, and how their scrapes fail.
    pub(super) async fn look_at_targets(&self, namespace: &str, deadline: Instant, notes: &mut Notes) {
        if !selector::names::is_dns_label(namespace) {
            return;
        }
        let deadline = deadline.min(Instant::now() + LONGEST);
        match self.source.targets(deadline).await {
            Ok(Some(targets)) => return notes.targets(namespace, &targets, true),
            Ok(None) => {}
            Err(error) => {
                notes.further(format!(
                    "the metric source does not list its targets: {}",
                    said(&error.message, "", notes.sees_rules)
                ));
            }
        }
        match self.targets_by_up(namespace, deadline).await {
            Some(targets) => notes.targets(namespace, &targets, false),
            None => notes.further("the metric source did not say which targets it scrapes".to_owned()),
        }
    }

    /// Every target has a series `up`, with the labels that a Prometheus Operator gives it.
    async fn targets_by_up(&self, namespace: &str, deadline: Instant) -> Option<Vec<ScrapedTarget>> {
        let context = QueryContext { namespace, time: SystemTime::now(), deadline };
        let samples = self.ask_further(context, &format!("up{{namespace=\"{namespace}\"}}")).await?;
        let targets = samples.iter().map(|sample| ScrapedTarget {
            // Not what was asked for: a source may answer with more.
            namespace: sample.label("namespace").map(str::to_owned),
            pod: sample.label("pod").map(str::to_owned),
            health: if sample.value == 0.0 { Health::Down } else { Health::Up },
            last_error: None,
        });
        Some(targets.collect())
    }
}
