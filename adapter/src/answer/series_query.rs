//! A metric that no rule makes as the rule's series query finds nothing: whether the metric source has series of the
//! name all the same, or had.

use std::time::{Instant, SystemTime};

use rules::catalog::own_queries;
use rules::{Rule, RuleId};

use super::age;
use super::bounded::{LONGEST_WHY, bounded};
use super::record::Notes;
use super::{Answerer, QueryContext};
use crate::explanation::{Cause, MOST_LISTED, Reason};
use crate::relist::Snapshot;
use crate::source::Sample;

impl Answerer {
    /// Asks for series of the name whatever their labels, and notes what was found in place of the cause.
    pub(super) async fn look_past_series_query(
        &self,
        snapshot: &Snapshot,
        (namespace, deadline): (&str, Instant),
        notes: &mut Notes,
    ) {
        let Some(rule) = notes.finds_no_series.and_then(|id| rule(snapshot, id)) else { return };
        let Some(promql) = own_queries::one_series_of_the_name(rule) else { return };
        let context = QueryContext { namespace, time: SystemTime::now(), deadline };
        let Some(samples) = self.ask_further(context, &promql).await else { return };
        let found = match samples.first() {
            Some(sample) => match lacking_labels(rule, sample, notes.sees_rules) {
                Some(why) => Some((Reason::SeriesDropped, why)),
                None => Some(self.not_listed_now(rule, context).await),
            },
            None => self.age_of_the_name(rule, context).await.map(|seconds| {
                let why = format!(
                    "the last sample of such a series is {} old, and the metric source no longer serves it; its target is \
                     gone, does not answer, or no longer exports it",
                    age::written(seconds)
                );
                (Reason::StaleSamples, why)
            }),
        };
        let Some((reason, why)) = found else { return };
        let series = rule.literal_series().unwrap_or_default();
        let before = &notes.explanation.cause.message;
        let whose = before.split_once(": ").map_or(before.as_str(), |(no_rule, _)| no_rule);
        let why = format!("makes it of the series {series}, and {why}");
        let message = bounded(&format!("{whose}: {} {why}", rule.id), LONGEST_WHY).into_owned();
        notes.explanation.cause = Cause { reason, message };
        let id = rule.id.to_string();
        for other in notes.explanation.other_rules.iter_mut().filter(|other| other.id == id) {
            other.why = bounded(&why, LONGEST_WHY).into_owned();
        }
    }

    /// Why a series query found nothing when series were listed, though there are series with all of its labels.
    async fn not_listed_now(&self, rule: &Rule, context: QueryContext<'_>) -> (Reason, String) {
        let samples =
            self.ask_further(context, &own_queries::newest_sample_now(rule)).await.unwrap_or_default();
        match samples.first().map(|newest| age::of(context, newest.value)) {
            Some(seconds) if age::is_old(seconds) => (
                Reason::StaleSamples,
                format!(
                    "the newest sample of such a series is {} old: those are listed that have one within --metrics-max-age",
                    age::written(seconds)
                ),
            ),
            Some(_) => (
                Reason::NotListed,
                "such series are there since the last listing: the next is after --metrics-relist-interval"
                    .to_owned(),
            ),
            None => (
                Reason::SeriesDropped,
                "its seriesQuery leaves out every series of this name by its labels' values".to_owned(),
            ),
        }
    }
}

fn rule(snapshot: &Snapshot, id: RuleId) -> Option<&Rule> {
    let rules = &snapshot.rules;
    rules.custom.iter().chain(&rules.external).map(|rule| &**rule).find(|rule| rule.id == id)
}

/// How a series query leaves out a series of the name that lacks labels which the query demands.
/// Which these are is part of the rule's text.
fn lacking_labels(rule: &Rule, sample: &Sample, sees_rules: bool) -> Option<String> {
    let mut carried: Vec<&str> = sample.labels.iter().map(|(label, _)| &**label).collect();
    carried.retain(|label| *label != "__name__");
    let lacking = rule.demanded_labels().into_iter().filter(|label| !carried.contains(&label.as_str()));
    let mut lacking: Vec<String> = lacking.map(|label| format!("{label:?}")).take(MOST_LISTED).collect();
    if !sees_rules && !lacking.is_empty() {
        lacking = vec!["a label that it demands".to_owned()];
    }
    carried.truncate(MOST_LISTED);
    (!lacking.is_empty()).then(|| {
        format!(
            "its seriesQuery leaves out the series of this name: one lacks {}, and has the labels {}",
            lacking.join(" and "),
            carried.join(", ")
        )
    })
}
