//! Why a query yields no value for what was asked, from what it was limited by and what it found. For the log: the
//! answer's words are upstream's, or the answer is an empty list.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::sync::Arc;

use rules::RuleId;
use rules::usage::UsagePlan;
use selector::labels::{Operator, Selector};

use super::missing::SHOWN;
use crate::source::Sample;

/// A query and what came of it.
pub(super) struct Found<'a> {
    /// The rule whose query it is.
    pub(super) rule: RuleId,
    /// The name of the series that the rule was listed for.
    pub(super) series: &'a str,
    /// The names of the labels of these series, as they were listed.
    pub(super) labels: &'a [Arc<str>],
    /// The labels and values that the query is limited by.
    pub(super) limits: Vec<(&'a str, Option<&'a str>)>,
    /// The metric selector that it is limited by besides.
    pub(super) selector: &'a Selector,
    /// The samples.
    pub(super) samples: &'a [Sample],
    /// Native histograms that were left out.
    pub(super) histograms: usize,
}

impl Found<'_> {
    /// The answer holds no sample.
    pub(super) fn nothing(&self) -> String {
        let Found { rule, series, histograms, .. } = self;
        if let Some(why) = only_histograms(*rule, *histograms) {
            return why;
        }
        let absent = self.absent_labels();
        if !absent.is_empty() {
            let absent: Vec<String> = absent.iter().map(|label| format!("{label:?}")).collect();
            let carried: Vec<&str> = self.labels.iter().map(|label| &**label).take(LABELS_SHOWN).collect();
            return format!(
                "the query of {rule} is limited by {}, which no series of {series} carries; they carry {}",
                absent.join(" and "),
                carried.join(", ")
            );
        }
        let mut limits = String::new();
        for (label, value) in self.limits.iter().filter_map(|(label, value)| Some((label, (*value)?))) {
            let _ = write!(limits, " and {label}={value:?}");
        }
        if !self.selector.is_empty() {
            let _ = write!(limits, " and the selector {}", self.selector);
        }
        let limits = limits.replacen(" and ", " with ", 1);
        format!("the query of {rule} found no sample{limits}")
    }

    /// Whether the query is limited by a label that no series carries.
    pub(super) fn lacks_labels(&self) -> bool {
        !self.absent_labels().is_empty()
    }

    /// There are samples, of which none is of an object asked for.
    pub(super) fn of_others(&self, join_label: &str, objects: &str) -> String {
        of_others(self.rule, self.samples, join_label, objects)
    }

    /// Labels that a sample must have and that no series carries.
    fn absent_labels(&self) -> BTreeSet<&str> {
        if self.labels.is_empty() {
            return BTreeSet::new();
        }
        let asked = self.selector.requirements().iter().filter(|requirement| {
            matches!(requirement.operator, Operator::Equals | Operator::In | Operator::Exists)
                && requirement.values.iter().all(|value| !value.is_empty())
        });
        let limits = self.limits.iter().map(|(label, _)| *label);
        let needed = limits.chain(asked.map(|requirement| requirement.key.as_str()));
        needed.filter(|label| !self.labels.iter().any(|carried| &**carried == *label)).collect()
    }
}

/// What an answer of native histograms alone lacks; `None` when there are none.
pub(super) fn only_histograms(rule: RuleId, histograms: usize) -> Option<String> {
    (histograms > 0).then(|| {
        format!(
            "the query of {rule} found {histograms} native histograms and no number; make one of them with \
             histogram_quantile, histogram_count or histogram_sum"
        )
    })
}

/// There are samples, of which none is of an object asked for.
pub(super) fn of_others(rule: RuleId, samples: &[Sample], label: &str, objects: &str) -> String {
    let count = samples.len();
    let held: BTreeSet<&str> = samples.iter().filter_map(|sample| sample.label(label)).collect();
    if held.is_empty() {
        return format!(
            "the query of {rule} found {count} samples, and none has the label {label:?}; aggregate by <<.GroupBy>>"
        );
    }
    let examples: Vec<String> = held.iter().take(SHOWN).map(|value| format!("{value:?}")).collect();
    format!(
        "the query of {rule} found {count} samples, and in none is the label {label:?} {objects}; it holds {}",
        examples.join(", ")
    )
}

/// One of the two queries for what objects use.
pub(super) struct Used<'a> {
    pub(super) plan: &'a UsagePlan,
    pub(super) samples: &'a [Sample],
    pub(super) histograms: usize,
}

impl Used<'_> {
    fn is_of(&self, name: &str) -> bool {
        self.samples.iter().any(|sample| sample.label(&self.plan.object_label) == Some(name))
    }

    fn why(&self, plural: &str, names: &[&str]) -> String {
        let rule = self.plan.query.rule;
        let example = names.first().copied().unwrap_or_default();
        let one = format!("one of the {} {plural} asked for, as {example:?} is", names.len());
        if self.samples.is_empty() {
            only_histograms(rule, self.histograms).unwrap_or_else(|| {
                format!(
                    "the query of {rule} found no sample whose label {:?} is {one}",
                    self.plan.object_label
                )
            })
        } else {
            of_others(rule, self.samples, &self.plan.object_label, &one)
        }
    }
}

/// None of the objects asked for has a sample of both CPU and memory. Answers with the query at fault, too.
pub(super) fn usage<'a>(queries: [&Used<'a>; 2], plural: &str, names: &[&str]) -> (&'a UsagePlan, String) {
    let at_fault = queries.into_iter().find(|used| !names.iter().any(|name| used.is_of(name)));
    match at_fault {
        Some(used) => (used.plan, used.why(plural, names)),
        None => (
            queries[0].plan,
            format!("none of the {} {plural} asked for has samples of both CPU and memory", names.len()),
        ),
    }
}

const LABELS_SHOWN: usize = 10;

#[cfg(test)]
mod tests {
    use rules::Section;

    use super::*;

    fn found<'a>(labels: &'a [Arc<str>], selector: &'a Selector, samples: &'a [Sample]) -> Found<'a> {
        Found {
            rule: RuleId { section: Section::External, index: 2 },
            series: "backlog",
            labels,
            limits: vec![("namespace", Some("default"))],
            selector,
            samples,
            histograms: 0,
        }
    }

    fn sample(label: &str, value: &str) -> Sample {
        Sample { labels: vec![(label.into(), value.into())], timestamp_ms: 0, value: 1.0 }
    }

    #[test]
    fn a_label_that_no_series_carries_is_named() {
        let labels = ["pod", "topic"].map(Arc::from);
        let selector = Selector::parse("topic=a,queue=b,zone!=c,!gone,empty=").expect("valid");
        assert_eq!(
            found(&labels, &selector, &[]).nothing(),
            "the query of externalRules[2] is limited by \"namespace\" and \"queue\", which no series of backlog carries; \
             they carry pod, topic"
        );
    }

    #[test]
    fn a_query_that_finds_nothing_says_what_limited_it() {
        let labels = ["namespace", "topic"].map(Arc::from);
        let selector = Selector::parse("topic in (a,b)").expect("valid");
        assert_eq!(
            found(&labels, &selector, &[]).nothing(),
            "the query of externalRules[2] found no sample with namespace=\"default\" and the selector topic in (a,b)"
        );
        let of_histograms = Found { histograms: 2, ..found(&labels, &selector, &[]) };
        assert!(of_histograms.nothing().contains("2 native histograms and no number"));
    }

    #[test]
    fn samples_of_others_show_what_their_label_holds() {
        let samples = ["b", "a", "a", "c", "d"].map(|value| sample("pod", value));
        let nothing = Selector::everything();
        let found = found(&[], &nothing, &samples);
        assert_eq!(
            found.of_others("pod", "a pod asked for"),
            "the query of externalRules[2] found 5 samples, and in none is the label \"pod\" a pod asked for; it holds \
             \"a\", \"b\", \"c\""
        );
        assert!(
            found.of_others("node", "a node").ends_with("has the label \"node\"; aggregate by <<.GroupBy>>")
        );
    }
}
