//! Step 9 in an explanation: the samples, what becomes of each, and the values that they make.

use std::collections::{BTreeMap, BTreeSet};

use rules::RuleId;
use rules::plan::Query;
use rules::policy::Policy;

use super::Notes;
use super::query::said;
use crate::answer::bounded::{LONGEST_ASKED, bounded};
use crate::answer::empty::Found;
use crate::explanation::{MOST_LISTED, Reason, SampleSeen, SamplesSeen};
use crate::source::Sample;
use crate::values::{Fate, InNamespace, Joined, ObjectValue};

impl Notes {
    /// Step 9: the samples, and what is odd about them.
    pub(in crate::answer) fn joined(&mut self, seen: SamplesSeen, joined: &Joined, rule: RuleId) {
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
    pub(in crate::answer) fn made<'v>(
        &mut self,
        values: impl Iterator<Item = &'v ObjectValue>,
        policy: Policy,
    ) {
        self.policies = values.take(MOST_LISTED).map(|value| value.made_by.policy(policy)).collect();
    }

    /// Step 9: the rule refuses an answer that may lack something.
    pub(in crate::answer) fn partial(&mut self, query: &Query, warning: &str) {
        let warning = said(warning, &query.promql, self.sees_rules);
        let why = format!("the answer to the query of {} may be partial: {warning}", query.rule);
        self.message = Some(format!("unable to fetch metrics: {why}"));
        self.cause(Reason::PartialAnswer, || format!("{why}; the rule says onPartial: error"));
    }

    /// The answer holds no sample, for a reason that the request itself shows.
    pub(in crate::answer) fn nothing(&mut self, found: &Found<'_>) {
        if found.samples.is_empty() && found.histograms > 0 {
            self.cause(Reason::OnlyHistograms, || found.nothing());
        } else if found.samples.is_empty() && found.lacks_labels() {
            self.cause(Reason::LabelNotCarried, || found.nothing());
        }
    }
}

/// Gathers what becomes of samples, and shows those of what was asked for.
pub(in crate::answer) struct SampleNotes<'a> {
    seen: SamplesSeen,
    /// The namespace that labels are shown of.
    pub(in crate::answer) namespace: Option<InNamespace<'a>>,
    /// The label of objects, and the objects asked for; `None` for an external metric.
    pub(in crate::answer) objects: Option<(&'a str, &'a [&'a str])>,
    pub(in crate::answer) now_ms: i64,
    told: usize,
}

impl<'a> SampleNotes<'a> {
    pub(in crate::answer) fn new(
        namespace: Option<InNamespace<'a>>,
        objects: Option<(&'a str, &'a [&'a str])>,
        now_ms: i64,
    ) -> SampleNotes<'a> {
        SampleNotes { seen: SamplesSeen::default(), namespace, objects, now_ms, told: 0 }
    }

    /// Takes a sample whose fate was decided.
    pub(in crate::answer) fn add(&mut self, sample: &Sample, fate: &Fate) {
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
    pub(in crate::answer) fn finish(mut self, samples: usize) -> SamplesSeen {
        self.seen.of_other_objects += samples.saturating_sub(self.told);
        self.seen
    }
}

/// As PromQL writes it.
fn number(value: f64) -> String {
    if value.is_nan() {
        "NaN".to_owned()
    } else if value.is_infinite() {
        if value > 0.0 { "+Inf" } else { "-Inf" }.to_owned()
    } else {
        value.to_string()
    }
}

/// The labels that samples have with different values, as far as they are shown.
fn differing_labels(samples: &[&SampleSeen]) -> Vec<String> {
    let labels: BTreeSet<&String> = samples.iter().flat_map(|sample| sample.labels.keys()).collect();
    let differs =
        |label: &String| samples.windows(2).any(|two| two[0].labels.get(label) != two[1].labels.get(label));
    labels.into_iter().filter(|label| differs(label)).map(|label| format!("{label:?}")).collect()
}
