//! Step 5 in an explanation: the rule that answers, or why none does.

use rules::catalog::Origin;
use rules::resource::{Kind, ResourceMapper};

use super::Notes;
use super::query::said;
use crate::answer::bounded::{LONGEST_ASKED, LONGEST_QUERY, bounded};
use crate::answer::candidates::{self, Candidate};
use crate::explanation::{ListingSeen, MOST_LISTED, Reason, RuleUsed};
use crate::relist::Snapshot;

impl Notes {
    /// Step 5: the rule that answers, beside those that could.
    pub(in crate::answer) fn found(
        &mut self,
        snapshot: &Snapshot,
        mapper: &dyn ResourceMapper,
        origin: &Origin,
        object_label: Option<&str>,
        (metric, kind): (&str, Option<&Kind>),
    ) {
        let wanted = candidates::Wanted { metric, kind, used: Some(origin), sees_rules: self.sees_rules };
        let others = self.others(snapshot, mapper, wanted);
        let why = candidates::why_used(origin, &others);
        self.rule(snapshot, origin, object_label, why);
    }

    /// Step 5: no rule makes the metric.
    pub(in crate::answer) fn not_found(
        &mut self,
        snapshot: &Snapshot,
        mapper: &dyn ResourceMapper,
        metric: &str,
        kind: Option<&Kind>,
    ) {
        let wanted = candidates::Wanted { metric, kind, used: None, sees_rules: self.sees_rules };
        let others = self.others(snapshot, mapper, wanted);
        let near = others.first().filter(|nearest| nearest.is_near());
        let whose = kind.map(|kind| format!(" for {}", kind.group_resource())).unwrap_or_default();
        if near.is_none() && !snapshot.unlisted.is_empty() {
            return;
        }
        let reason = near.map_or(Reason::NoRule, |nearest| nearest.reason);
        self.finds_no_series = near.filter(|_| reason == Reason::NoSeries).map(|nearest| nearest.rule);
        self.cause(reason, || match near {
            Some(nearest) => format!("no rule makes {metric}{whose}: {}", nearest.sentence()),
            None if others.is_empty() => {
                format!("no rule makes {metric}{whose}, nor a metric with a name like it")
            }
            None => {
                let count = others.len();
                let make = if count == 1 { "rule makes" } else { "rules make" };
                format!("no rule makes {metric}{whose}; {count} {make} nothing, see below")
            }
        });
    }

    fn others(
        &mut self,
        snapshot: &Snapshot,
        mapper: &dyn ResourceMapper,
        wanted: candidates::Wanted<'_>,
    ) -> Vec<Candidate> {
        let (others, all) = candidates::candidates(snapshot, mapper, wanted);
        self.explanation.other_rules = others.iter().map(Candidate::other).collect();
        if !all {
            self.warn(
                "there are more series than an explanation looks at: other rules may be missing from it",
            );
        }
        others
    }

    fn rule(&mut self, snapshot: &Snapshot, origin: &Origin, object_label: Option<&str>, why: String) {
        let rule = origin.made_by();
        let text = |text: &str| self.sees_rules.then(|| bounded(text, LONGEST_QUERY).into_owned());
        let labels = origin.labels().iter();
        self.explanation.rule = Some(RuleUsed {
            id: rule.id.to_string(),
            why,
            series: bounded(origin.series(), LONGEST_ASKED).into_owned(),
            labels: labels
                .take(MOST_LISTED)
                .map(|label| bounded(label, LONGEST_ASKED).into_owned())
                .collect(),
            label_count: origin.labels().len(),
            object_label: object_label.map(str::to_owned),
            namespace_label: origin.label_of_namespaces().map(str::to_owned),
            series_query: text(&rule.series_query),
            metrics_query: text(rule.template()),
            listing: listing(snapshot, origin, self.sees_rules),
        });
    }

    /// Step 5, when some series were not listed yet: the metric may be of these.
    pub(in crate::answer) fn not_listed(&mut self, snapshot: &Snapshot) {
        let Some(unlisted) = snapshot.unlisted.first() else { return };
        let cause = said(&unlisted.cause, &unlisted.series_query, self.sees_rules);
        let count = snapshot.unlisted.len();
        self.cause(Reason::NotListed, || {
            format!("the metric is not known yet: {count} of the series queries have no result: {cause}")
        });
        self.message = Some(format!("{count} of the series queries have no result yet: {cause}"));
    }
}

fn listing(snapshot: &Snapshot, origin: &Origin, sees_rules: bool) -> Option<ListingSeen> {
    let rule = origin.made_by();
    let listing = snapshot.listings.get(&rule.series_query)?;
    let (_, counts) = snapshot.catalog.rule_stats().iter().find(|(id, _)| *id == rule.id)?;
    Some(ListingSeen {
        age_seconds: listing.listed_at.elapsed().as_secs_f64(),
        failed: listing.failed.as_ref().map(|failed| said(failed, &rule.series_query, sees_rules)),
        found: counts.series,
        dropped: counts.dropped,
        unmapped: counts.unmapped,
        metrics: counts.metrics,
    })
}
