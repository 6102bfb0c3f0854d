//! Rules that do not answer for a metric and might be meant to: each says why it does not, by the functions that the
//! catalog is made with, over the series that were listed.

use std::collections::{BTreeSet, HashMap};

use rules::catalog::{Catalog, Origin, Series};
use rules::resource::{Kind, ResourceMapper};
use rules::{Naming, Rule, RuleId};

use super::bounded::{LONGEST_ASKED, LONGEST_WHY, bounded};
use super::missing;
use crate::explanation::{MOST_LISTED, OtherRule, Reason};
use crate::relist::Snapshot;
use crate::rule_report::why_barren;

/// A rule that does not answer, and why.
pub(super) struct Candidate {
    nearness: Nearness,
    pub(super) rule: RuleId,
    /// The kind of cause, if this is why there is no metric.
    pub(super) reason: Reason,
    /// What the rule does instead: a sentence without its subject.
    why: String,
}

/// How near a rule is to answering, the nearest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Nearness {
    MakesIt,
    MakesItOfNothing,
    MakesItForOthers,
    NamesItOtherwise,
    MakesNear,
    LeftOut,
    MakesNothing,
}

/// What is asked for.
#[derive(Clone, Copy)]
pub(super) struct Wanted<'a> {
    /// The metric's name in the API.
    pub(super) metric: &'a str,
    /// The kind of its objects; `None` for an external metric.
    pub(super) kind: Option<&'a Kind>,
    /// The rule that answers.
    pub(super) used: Option<&'a Origin>,
    /// Whether texts of rules may be shown.
    pub(super) sees_rules: bool,
}

/// The rules that do not answer, the nearest first, and whether all series could be looked at.
pub(super) fn candidates(
    snapshot: &Snapshot,
    mapper: &dyn ResourceMapper,
    wanted: Wanted<'_>,
) -> (Vec<Candidate>, bool) {
    let mut search = Search { snapshot, mapper, wanted, left: MOST_SERIES };
    let rules = if wanted.kind.is_some() { &snapshot.rules.custom } else { &snapshot.rules.external };
    let others = rules.iter().filter(|rule| wanted.used.is_none_or(|used| used.rule() != rule.id));
    let mut found: Vec<Candidate> = others.filter_map(|rule| search.look_at(rule)).collect();
    if wanted.used.is_none() {
        found.extend(search.near_names());
        found.extend(search.left_out());
        found.extend(search.without_metrics(&found));
    }
    found.sort_by_key(|candidate| (candidate.nearness, candidate.rule));
    found.truncate(MOST_LISTED);
    (found, search.left > 0)
}

impl Candidate {
    /// Whether it explains by itself that there is no metric.
    pub(super) fn is_near(&self) -> bool {
        self.nearness <= Nearness::MakesNear
    }

    /// The rule and what it does instead.
    pub(super) fn sentence(&self) -> String {
        format!("{} {}", self.rule, self.why)
    }

    pub(super) fn other(&self) -> OtherRule {
        OtherRule {
            id: self.rule.to_string(),
            why: self.why.clone(),
            makes_it: self.nearness == Nearness::MakesIt,
        }
    }
}

struct Search<'a> {
    snapshot: &'a Snapshot,
    mapper: &'a dyn ResourceMapper,
    wanted: Wanted<'a>,
    /// Series that may still be looked at.
    left: usize,
}

impl Search<'_> {
    /// What a rule makes of its series, where that has to do with the metric.
    fn look_at(&mut self, rule: &Rule) -> Option<Candidate> {
        let Wanted { metric, kind, used, .. } = self.wanted;
        let listing = self.snapshot.listings.get(&rule.series_query);
        let series = listing.map_or(&[][..], |listing| &listing.series[..]);
        let series = &series[..series.len().min(self.left)];
        self.left -= series.len();
        let mut names: HashMap<&str, Naming> = HashMap::new();
        let mut making: Vec<&Series> = Vec::new();
        let mut otherwise = None;
        for one in series {
            let naming = names.entry(&one.name).or_insert_with(|| rule.naming_of(&one.name));
            match naming {
                Naming::Metric(made) if made == metric => making.push(one),
                naming if &*one.name == metric => otherwise = Some(naming.clone()),
                _ => {}
            }
        }
        if let Some(series) = making.first() {
            let made_for_it = self.is_made_for_it(rule, &making);
            return Some(match (used, kind) {
                (Some(first), _) if made_for_it => {
                    let why = format!(
                        "makes it too, of the series {}; {} comes first in the file",
                        series.name,
                        first.rule()
                    );
                    candidate(Nearness::MakesIt, rule.id, Reason::Answered, &why)
                }
                (_, Some(kind)) if !made_for_it => {
                    let (reason, why) = self.for_others(rule, kind, &making);
                    candidate(Nearness::MakesItForOthers, rule.id, reason, &why)
                }
                _ => {
                    let why = format!(
                        "drops the series {}, whose name needs quotes in PromQL: its metricsQuery has no place for them",
                        series.name
                    );
                    candidate(Nearness::MakesItForOthers, rule.id, Reason::SeriesDropped, &why)
                }
            });
        }
        if used.is_some() {
            return None;
        }
        if let Some(naming) = otherwise {
            let (reason, why) = match naming {
                Naming::Metric(made) => (Reason::NoRule, format!("makes {made:?} of the series {metric}")),
                Naming::Filtered(filter) => {
                    (Reason::SeriesDropped, format!("drops the series {metric} by seriesFilters[{filter}]"))
                }
                Naming::DoesNotFit => {
                    let why = format!("drops the series {metric}, whose name does not fit name.matches");
                    (Reason::SeriesDropped, why)
                }
            };
            return Some(candidate(Nearness::NamesItOtherwise, rule.id, reason, &why));
        }
        let literal = rule.literal_series()?;
        if series.is_empty() && rule.metric_of(&literal).as_deref() == Some(metric) {
            let (reason, why) = self.of_nothing(rule, &literal);
            return Some(candidate(Nearness::MakesItOfNothing, rule.id, reason, &why));
        }
        None
    }

    /// Whether a label of the series names objects of the kind; an external metric has no objects.
    fn is_made_for_it(&self, rule: &Rule, making: &[&Series]) -> bool {
        let Some(kind) = self.wanted.kind else { return true };
        let Some(label) = rule.labels_in(self.mapper).label_of(kind) else { return false };
        making.iter().any(|series| series.label_names.contains(&label))
    }

    /// The rule makes the metric, and not for the resource.
    fn for_others(&self, rule: &Rule, kind: &Kind, making: &[&Series]) -> (Reason, String) {
        let labels = rule.labels_in(self.mapper);
        let carried: BTreeSet<&str> =
            making.iter().flat_map(|series| series.label_names.iter()).map(|label| &**label).collect();
        let mut others: Vec<String> = carried
            .iter()
            .filter_map(|label| labels.kind_of(label, self.mapper))
            .map(|other| other.group_resource().to_string())
            .collect();
        others.sort();
        others.dedup();
        others.truncate(missing::SHOWN);
        let mut they_have = listed(carried.iter().copied());
        let resource = kind.group_resource();
        let like =
            labels.label_of(kind).and_then(|label| carried.iter().find(|other| other.contains(&*label)));
        if let Some(like) = like {
            they_have = format!("{they_have}; if {like:?} names {resource}, say so in resources.overrides");
        }
        match (labels.label_of(kind), others.is_empty()) {
            (None, _) => (
                Reason::OtherResource,
                format!("makes it for {} only: it has no label that names {resource}", others.join(", ")),
            ),
            (Some(label), true) => (
                Reason::OtherResource,
                format!(
                    "makes it for no resource: none of its series has the label {label:?}, by which it names {resource}; they have {they_have}"
                ),
            ),
            (Some(label), false) => (
                Reason::OtherResource,
                format!(
                    "makes it for {} only: none of its series has the label {label:?}, by which it names {resource}; they have {they_have}",
                    others.join(", ")
                ),
            ),
        }
    }

    /// The rule would make the metric if there were series.
    fn of_nothing(&self, rule: &Rule, series: &str) -> (Reason, String) {
        let unlisted =
            self.snapshot.unlisted.iter().find(|unlisted| unlisted.series_query == rule.series_query);
        match unlisted {
            Some(unlisted) => {
                let cause = if self.wanted.sees_rules {
                    bounded(&unlisted.cause, LONGEST_ASKED).into_owned()
                } else {
                    "the cause is in the adapter's log".to_owned()
                };
                (
                    Reason::NotListed,
                    format!("makes it of the series {series}, which could not be listed: {cause}"),
                )
            }
            None => (
                Reason::NoSeries,
                format!(
                    "makes it of the series {series}, and the metric source has no such series: no target that it scrapes exports one"
                ),
            ),
        }
    }

    /// Metrics of the resource with a name like it.
    fn near_names(&self) -> Vec<Candidate> {
        let Wanted { metric, kind, .. } = self.wanted;
        let catalog = &self.snapshot.catalog;
        let near = match kind {
            Some(kind) => {
                missing::nearest(metric, catalog.metrics_of(&kind.group_resource()).map(str::to_owned))
            }
            None => missing::nearest(metric, catalog.external_metrics().map(str::to_owned)),
        };
        let origin = |name: &str| rule_of(catalog, kind, name);
        near.into_iter()
            .filter_map(|name| {
                let why = format!("makes {name}, a name like it");
                Some(candidate(Nearness::MakesNear, origin(&name)?, Reason::NoRule, &why))
            })
            .collect()
    }

    /// Rules that are not valid.
    fn left_out(&self) -> Vec<Candidate> {
        let refused = self.snapshot.rules.refused.iter().take(missing::SHOWN);
        refused
            .filter_map(|(rule, faults)| {
                let fault = faults.iter().next()?;
                let why = if self.wanted.sees_rules {
                    format!("is left out, as it is not valid: {fault}")
                } else {
                    "is left out, as it is not valid".to_owned()
                };
                Some(candidate(Nearness::LeftOut, *rule, Reason::NoRule, &why))
            })
            .collect()
    }

    /// Rules that make nothing at all.
    fn without_metrics(&self, found: &[Candidate]) -> Vec<Candidate> {
        let is_custom = self.wanted.kind.is_some();
        let stats = self.snapshot.catalog.rule_stats().iter();
        stats
            .filter(|(rule, _)| (rule.section == rules::Section::Custom) == is_custom)
            .filter(|(rule, _)| !found.iter().any(|found| found.rule == *rule))
            .filter_map(|(rule, counts)| {
                let why = format!("makes no metric: {}", why_barren(counts)?);
                Some(candidate(Nearness::MakesNothing, *rule, Reason::NoRule, &why))
            })
            .take(missing::SHOWN)
            .collect()
    }
}

fn candidate(nearness: Nearness, rule: RuleId, reason: Reason, why: &str) -> Candidate {
    Candidate { nearness, rule, reason, why: bounded(why, LONGEST_WHY).into_owned() }
}

fn rule_of(catalog: &Catalog, kind: Option<&Kind>, metric: &str) -> Option<RuleId> {
    match kind {
        Some(kind) => Some(catalog.custom(&kind.group_resource(), metric)?.origin().rule()),
        None => Some(catalog.external(metric)?.origin().rule()),
    }
}

/// Names of labels, the first of them.
fn listed<'a>(labels: impl Iterator<Item = &'a str>) -> String {
    let labels: Vec<&str> = labels.take(MOST_LISTED).collect();
    labels.join(", ")
}

/// Why the rule that answers does, of those that could.
pub(super) fn why_used(origin: &Origin, others: &[Candidate]) -> String {
    let rivals = others.iter().filter(|other| other.nearness == Nearness::MakesIt).count();
    let series = origin.series();
    match rivals {
        _ if !origin.has_series() => {
            format!("makes it of the series {series}, of which there is none: onEmpty keeps it listed")
        }
        0 => format!("makes it of the series {series}, and no other rule does"),
        _ => format!("makes it of the series {series}, and is the first in the file that does"),
    }
}

/// Series that are looked at for one explanation: some milliseconds.
const MOST_SERIES: usize = 50_000;
