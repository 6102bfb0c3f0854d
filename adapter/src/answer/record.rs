//! What the steps of one request note down for its explanation. A request that does not ask for one notes nothing and
//! makes nothing to be noted.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use rules::RuleId;
use rules::catalog::{Ignored, Origin};
use rules::plan::{PlanError, Query};
use rules::policy::Policy;
use rules::resource::{Kind, ResourceMapper};

use super::bounded::{LONGEST_ASKED, LONGEST_QUERY, LONGEST_WHY, bounded};
use super::candidates::{self, Candidate};
use super::empty::Found;

use crate::explanation::{
    Explanation, ListingSeen, MOST_LISTED, ObjectsSelected, QueryAsked, Reason, RuleUsed, SampleSeen,
    SamplesSeen,
};
use crate::relist::Snapshot;
use crate::source::{QueryResult, Sample, Samples, SourceError, SourceErrorClass};
use crate::values::{Fate, InNamespace, Joined, ObjectValue};

/// A request as an explanation names it.
pub(super) fn noted(group: &str, asked: &dyn fmt::Display) -> String {
    bounded(&format!("{group} {asked}"), LONGEST_ASKED).into_owned()
}

/// The notes of one request.
pub(super) struct Record(Option<Box<Notes>>);

/// What was noted, and what may be.
pub(super) struct Notes {
    pub(super) explanation: Explanation,
    /// Whether the caller may see the texts of rules, queries and the source's messages.
    pub(super) sees_rules: bool,
    /// The message of the answer, where that of the answer itself holds what may not be shown.
    pub(super) message: Option<String>,
    /// The policy that made each of the values shown; `None` for a sample.
    pub(super) policies: Vec<Option<String>>,
    /// The rule that would make the metric, and whose series query found nothing.
    pub(super) finds_no_series: Option<RuleId>,
}

impl Record {
    /// Notes nothing.
    pub(super) fn off() -> Record {
        Record(None)
    }

    /// Notes everything that the caller may see.
    pub(super) fn on(sees_rules: bool) -> Record {
        let explanation = Explanation::default();
        let (message, policies, finds_no_series) = (None, Vec::new(), None);
        Record(Some(Box::new(Notes { explanation, sees_rules, message, policies, finds_no_series })))
    }

    /// Whether an explanation is asked for.
    pub(super) fn is_on(&self) -> bool {
        self.0.is_some()
    }

    /// Calls `note` if an explanation is asked for.
    pub(super) fn note(&mut self, note: impl FnOnce(&mut Notes)) {
        if let Some(notes) = &mut self.0 {
            note(notes);
        }
    }

    /// Notes the cause, unless an earlier step did.
    pub(super) fn cause(&mut self, reason: Reason, message: impl FnOnce() -> String) {
        self.note(|notes| notes.cause(reason, message));
    }

    /// The notes, where an explanation is asked for.
    pub(super) fn notes(&mut self) -> Option<&mut Notes> {
        self.0.as_deref_mut()
    }

    pub(super) fn into_explanation(self) -> Option<Explanation> {
        Some(self.0?.explanation)
    }
}

impl Notes {
    pub(super) fn cause(&mut self, reason: Reason, message: impl FnOnce() -> String) {
        self.explanation.caused_by(reason, || bounded(&message(), LONGEST_WHY).into_owned());
    }

    pub(super) fn warn(&mut self, warning: &str) {
        if self.explanation.warnings.len() < MOST_LISTED {
            self.explanation.warnings.push(bounded(warning, LONGEST_WHY).into_owned());
        }
    }

    pub(super) fn has_cause(&self) -> bool {
        !self.explanation.cause.message.is_empty()
    }

    /// Step 5: the rule that answers, beside those that could.
    pub(super) fn found(
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
    pub(super) fn not_found(
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

    /// Step 9: the samples, and what is odd about them.
    pub(super) fn joined(&mut self, seen: SamplesSeen, joined: &Joined, rule: RuleId) {
        let SamplesSeen { of_other_namespaces, of_other_objects, without_object, .. } = seen;
        let total = seen.shown.len() + seen.more + of_other_namespaces + of_other_objects + without_object;
        let displaced = seen.shown.iter().find(|sample| sample.fate == Fate::Displaced.to_string());
        if let (Some(SampleSeen { object, .. }), false) = (displaced, joined.values.is_empty()) {
            self.cause(Reason::DuplicateSamples, || {
                let of_it: Vec<&SampleSeen> =
                    seen.shown.iter().filter(|sample| sample.object == *object).collect();
                let object = object.as_deref().unwrap_or_default();
                let differing = differing_labels(&of_it);
                let differ = if differing.is_empty() {
                    String::new()
                } else {
                    format!(", which differ in {},", differing.join(", "))
                };
                format!(
                    "the query of {rule} finds {} samples for {object}{differ} and uses the last: aggregate by <<.GroupBy>>",
                    of_it.len()
                )
            });
        }
        if of_other_namespaces > 0 {
            self.warn("the query finds samples of other namespaces: limit it by <<.LabelMatchers>>");
        }
        if joined.values.is_empty() {
            if let Some(dropped) = joined.dropped.first() {
                self.cause(Reason::NoNumber, || dropped.to_string());
            } else if total > 0 {
                self.cause(Reason::SamplesOfOthers, || {
                    let found =
                        format!("the query of {rule} finds {total} samples, none of what was asked for");
                    match (of_other_namespaces, of_other_objects, without_object) {
                        (_, 0, 0) => format!("{found}: they are of other namespaces"),
                        (0, 0, _) => {
                            format!("{found}: they do not have the object's label; aggregate by <<.GroupBy>>")
                        }
                        (0, _, 0) => format!("{found}: they are of other objects"),
                        _ => found,
                    }
                });
            }
        } else if let Some(dropped) = joined.dropped.first() {
            self.warn(&dropped.to_string());
        }
        self.explanation.samples = Some(seen);
    }

    /// Step 9: the values, in the order of the answer.
    pub(super) fn made<'v>(&mut self, values: impl Iterator<Item = &'v ObjectValue>, policy: Policy) {
        self.policies = values.take(MOST_LISTED).map(|value| value.made_by.policy(policy)).collect();
    }

    /// Step 9: the rule refuses an answer that may lack something.
    pub(super) fn partial(&mut self, query: &Query, warning: &str) {
        let warning = said(warning, &query.promql, self.sees_rules);
        let why = format!("the answer to the query of {} may be partial: {warning}", query.rule);
        self.message = Some(format!("unable to fetch metrics: {why}"));
        self.cause(Reason::PartialAnswer, || format!("{why}; the rule says onPartial: error"));
    }

    /// The answer holds no sample, for a reason that the request itself shows.
    pub(super) fn nothing(&mut self, found: &Found<'_>) {
        if found.samples.is_empty() && found.histograms > 0 {
            self.cause(Reason::OnlyHistograms, || found.nothing());
        } else if found.samples.is_empty() && found.lacks_labels() {
            self.cause(Reason::LabelNotCarried, || found.nothing());
        }
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
    pub(super) fn not_listed(&mut self, snapshot: &Snapshot) {
        let Some(unlisted) = snapshot.unlisted.first() else { return };
        let cause = said(&unlisted.cause, &unlisted.series_query, self.sees_rules);
        let count = snapshot.unlisted.len();
        self.cause(Reason::NotListed, || {
            format!("the metric is not known yet: {count} of the series queries have no result: {cause}")
        });
        self.message = Some(format!("{count} of the series queries have no result yet: {cause}"));
    }

    /// Step 7's failure.
    pub(super) fn no_query(&mut self, rule: RuleId, error: &PlanError) {
        let why = match error {
            PlanError::Template { .. } if !self.sees_rules => format!("the query template of {rule} failed"),
            error => error.to_string(),
        };
        self.message = Some(bounded(&format!("unable to fetch metrics: {why}"), LONGEST_WHY).into_owned());
        self.cause(Reason::NoQuery, || why);
    }

    /// Limits of the request that have no effect on the query.
    pub(super) fn ignored(&mut self, Ignored { namespace, selector }: Ignored) {
        for (is_ignored, what) in [(selector, "metric selector"), (namespace, "namespace")] {
            if is_ignored {
                self.warn(&format!(
                    "the {what} of the request has no effect: metricsQuery does not use <<.LabelMatchers>>"
                ));
            }
        }
    }

    /// Step 6: the objects.
    pub(super) fn objects(&mut self, by: &str, names: &[Arc<str>]) {
        let shown = names.iter().take(MOST_LISTED);
        self.explanation.objects = Some(ObjectsSelected {
            by: bounded(by, LONGEST_ASKED).into_owned(),
            count: names.len(),
            names: shown.map(|name| bounded(name, LONGEST_ASKED).into_owned()).collect(),
        });
    }

    /// Steps 7 and 8: the query and its answer.
    pub(super) fn asked(
        &mut self,
        source: &str,
        query: &Query,
        took: Duration,
        answer: Result<&QueryResult, &SourceError>,
    ) {
        let samples = answer.map_or(0, |answer| match &answer.value {
            Samples::Vector(samples) => samples.len(),
            Samples::Scalar { .. } => 1,
        });
        let said = |text: &str| said(text, &query.promql, self.sees_rules);
        if let Err(error) = answer {
            let failed = said(&error.message);
            self.message = Some(format!("unable to fetch metrics by {}: {failed}", query.rule));
            let (reason, what) = match error.class {
                SourceErrorClass::BadQuery | SourceErrorClass::WrongType => {
                    (Reason::QueryRefused, "refused the query")
                }
                SourceErrorClass::Unreachable | SourceErrorClass::Unavailable | SourceErrorClass::Busy => {
                    (Reason::SourceFailed, "did not answer the query")
                }
                SourceErrorClass::Silent | SourceErrorClass::Timeout => {
                    (Reason::SourceFailed, "did not answer in time the query")
                }
            };
            self.explanation.caused_by(reason, || format!("{source} {what} of {}: {failed}", query.rule));
        }
        let warnings = answer.map_or(&[][..], |answer| &answer.warnings);
        self.explanation.query = Some(QueryAsked {
            source: source.to_owned(),
            promql: self.sees_rules.then(|| bounded(&query.promql, LONGEST_QUERY).into_owned()),
            window_seconds: query.window.map(|window| window.as_secs()),
            took_seconds: took.as_secs_f64(),
            samples,
            histograms: answer.map_or(0, |answer| answer.histograms_dropped),
            error: answer.err().map(|error| said(&error.message)),
            warnings: warnings.iter().take(MOST_LISTED).map(|warning| said(warning)).collect(),
        });
    }
}

/// What a source says of a query. It may repeat labels of whatever it read: quoted text that the query does not quote
/// itself is left out, and all of it for a caller who may not see the query.
pub(super) fn said(text: &str, promql: &str, sees_rules: bool) -> String {
    if !sees_rules {
        return "the metric source's message is left out".to_owned();
    }
    let known: Vec<&str> = quoted(promql).into_iter().map(|(_, text)| text).collect();
    let mut shown = String::with_capacity(text.len());
    let mut end = 0;
    for (start, inside) in quoted(text) {
        shown.push_str(&text[end..start]);
        shown.push_str(if known.contains(&inside) { inside } else { "..." });
        end = start + inside.len();
    }
    shown.push_str(&text[end..]);
    bounded(&shown, LONGEST_WHY).into_owned()
}

/// The texts between double quotes, as written, and where each starts. One that does not end reaches to the end.
fn quoted(text: &str) -> Vec<(usize, &str)> {
    let (mut found, mut start, mut is_escaped) = (Vec::new(), None, false);
    for (at, c) in text.char_indices() {
        match start {
            None if c == '"' => start = Some(at + 1),
            Some(_) if is_escaped => is_escaped = false,
            Some(_) if c == '\\' => is_escaped = true,
            Some(from) if c == '"' => {
                found.push((from, &text[from..at]));
                start = None;
            }
            None | Some(_) => {}
        }
    }
    found.extend(start.map(|from| (from, &text[from..])));
    found
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

/// Gathers what becomes of samples, and shows those of what was asked for.
pub(super) struct SampleNotes<'a> {
    seen: SamplesSeen,
    /// The namespace that labels are shown of.
    pub(super) namespace: Option<InNamespace<'a>>,
    /// The label of objects, and the objects asked for; `None` for an external metric.
    pub(super) objects: Option<(&'a str, &'a [&'a str])>,
    pub(super) now_ms: i64,
    told: usize,
}

impl<'a> SampleNotes<'a> {
    pub(super) fn new(
        namespace: Option<InNamespace<'a>>,
        objects: Option<(&'a str, &'a [&'a str])>,
        now_ms: i64,
    ) -> SampleNotes<'a> {
        SampleNotes { seen: SamplesSeen::default(), namespace, objects, now_ms, told: 0 }
    }

    /// Takes a sample whose fate was decided.
    pub(super) fn add(&mut self, sample: &Sample, fate: &Fate) {
        self.told += 1;
        let is_foreign = self.namespace.is_some_and(|namespace| namespace.is_foreign(sample));
        let object = self.objects.and_then(|(label, _)| sample.label(label));
        match fate {
            Fate::WithoutObject => self.seen.without_object += 1,
            _ if is_foreign || *fate == Fate::OfAnotherNamespace => self.seen.of_other_namespaces += 1,
            _ if self.objects.is_some_and(|(_, names)| !names.iter().any(|name| Some(*name) == object)) => {
                self.seen.of_other_objects += 1;
            }
            _ if self.seen.shown.len() >= MOST_LISTED => self.seen.more += 1,
            fate => {
                let is_own = self.namespace.is_some_and(|namespace| namespace.is_own(sample));
                let labels = sample.labels.iter().filter(|_| is_own).take(MOST_LISTED);
                let text = |text: &str| bounded(text, LONGEST_ASKED).into_owned();
                self.seen.shown.push(SampleSeen {
                    object: object.map(text),
                    labels: labels
                        .map(|(label, value)| (text(label), text(value)))
                        .collect::<BTreeMap<_, _>>(),
                    value: number(sample.value),
                    age_seconds: (self.now_ms - sample.timestamp_ms) as f64 / 1000.0,
                    fate: fate.to_string(),
                });
            }
        }
    }

    /// What was gathered of this many samples: those that nothing was told of are of other objects.
    pub(super) fn finish(mut self, samples: usize) -> SamplesSeen {
        self.seen.of_other_objects += samples.saturating_sub(self.told);
        self.seen
    }
}

/// The labels that samples have with different values, as far as they are shown.
fn differing_labels(samples: &[&SampleSeen]) -> Vec<String> {
    let labels: BTreeSet<&String> = samples.iter().flat_map(|sample| sample.labels.keys()).collect();
    let differs =
        |label: &String| samples.windows(2).any(|two| two[0].labels.get(label) != two[1].labels.get(label));
    labels.into_iter().filter(|label| differs(label)).map(|label| format!("{label:?}")).collect()
}

/// As PromQL writes it.
pub(super) fn number(value: f64) -> String {
    if value.is_nan() {
        "NaN".to_owned()
    } else if value.is_infinite() {
        if value > 0.0 { "+Inf" } else { "-Inf" }.to_owned()
    } else {
        value.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_source_quotes_is_shown_only_if_the_query_has_it() {
        let promql = r#"depth{namespace="a"} / on (pod) size"#;
        let message =
            r#"found duplicate series for the match group {pod="x"}: [{namespace="b"}, {namespace="a"}]"#;
        assert_eq!(
            said(message, promql, true),
            r#"found duplicate series for the match group {pod="..."}: [{namespace="..."}, {namespace="a"}]"#
        );
        assert!(!said(message, promql, false).contains('x'));
        assert_eq!(said("timed out", promql, true), "timed out");
        // A quote within quotes does not end them, and quotes that do not end hide the rest.
        assert_eq!(
            said(r#"{pod="a\"b\\", x="c"} and "d e"#, promql, true),
            r#"{pod="...", x="..."} and "..."#
        );
    }
}
