//! Why a metric has its value, or none: what each step of a request decided, as data. Text for people is made of it in
//! `text`; for programs it is JSON. Absent fields were not reached, or do not apply.
//!
//! An explanation holds label values of the namespace that was asked for only, and every list in it has a bound.

mod text;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// What became of a request for a metric, and why.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Explanation {
    /// Why there is a value or none.
    pub cause: Cause,
    /// The request: `custom.metrics.k8s.io namespaces/default/pods/*/queue_depth`.
    pub asked: String,
    /// What the same request is answered with when it does not ask for an explanation.
    pub answer: Outcome,
    /// The permission without which rule texts and queries are left out; `None` when they are not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub missing_permission: Option<String>,
    /// The rule that answers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rule: Option<RuleUsed>,
    /// Other rules that make the metric or might be meant to, the nearest first.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub other_rules: Vec<OtherRule>,
    /// The objects that the request is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub objects: Option<ObjectsSelected>,
    /// The question to the metric source and its answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub query: Option<QueryAsked>,
    /// The samples of the answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub samples: Option<SamplesSeen>,
    /// Values of the API's answer, the first of them.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub values: Vec<ValueShown>,
    /// Where the samples end, when the query found none.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub further: Vec<String>,
    /// What may be amiss though it does not keep the metric from having a value.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
}

/// The cause in one sentence, and its kind.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cause {
    /// The kind, for programs.
    pub reason: Reason,
    /// The sentence, for people.
    pub message: String,
}

/// Kinds of causes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Reason {
    /// There is a value.
    #[default]
    Answered,
    /// There is a value, and several samples were candidates for it.
    DuplicateSamples,
    /// The cluster does not know the resource, or serves it in another scope.
    UnknownResource,
    /// No rule makes a metric of this name for this resource.
    NoRule,
    /// A rule makes the metric for other resources only.
    OtherResource,
    /// The rule that would make the metric has no series.
    NoSeries,
    /// The series query, a filter or the name of the rule leaves the series out.
    SeriesDropped,
    /// The series were not listed yet.
    NotListed,
    /// The selector matches no objects.
    NoObjects,
    /// The adapter cannot list the objects.
    ObjectsNotListed,
    /// A namespace or an object cannot have such a name.
    InvalidName,
    /// The rule's template makes no query for this request.
    NoQuery,
    /// The metric source did not answer.
    SourceFailed,
    /// The answer of the metric source may be partial, and the rule refuses such answers.
    PartialAnswer,
    /// The metric source refused the query, or its result makes no values.
    QueryRefused,
    /// The query found native histograms alone, which are not numbers.
    OnlyHistograms,
    /// The query is limited by a label that no series carries.
    LabelNotCarried,
    /// Other labels of the series hold the objects or the namespace than those that the rule names.
    OtherLabel,
    /// The metric selector matches no series.
    SelectorMatchesNothing,
    /// The series have no recent sample, whether or not the metric source still serves an old one.
    StaleSamples,
    /// The range of the query holds too few samples.
    RangeTooShort,
    /// The objects have no series, while others do.
    NoSeriesOfObjects,
    /// The query found nothing.
    NoSamples,
    /// The samples found are of other objects.
    SamplesOfOthers,
    /// The samples found are NaN, infinite or too large.
    NoNumber,
    /// The request was refused.
    Refused,
}

/// An HTTP status and what goes with it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Outcome {
    /// The status.
    pub code: u16,
    /// The message of an error.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// How many values the answer has.
    pub values: usize,
}

/// A rule and the metric that it makes.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct RuleUsed {
    /// `rules[3]`.
    pub id: String,
    /// Why it answers and no other.
    pub why: String,
    /// The series in the metric source that the metric is made of.
    pub series: String,
    /// The names of labels that any of these series carries.
    pub labels: Vec<String>,
    /// The number of these labels.
    pub label_count: usize,
    /// The label that names the objects; `None` for external metrics.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub object_label: Option<String>,
    /// The label that names namespaces; `None` when the rule has none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub namespace_label: Option<String>,
    /// The rule's `seriesQuery`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub series_query: Option<String>,
    /// The rule's `metricsQuery`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub metrics_query: Option<String>,
    /// What its series query found.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub listing: Option<ListingSeen>,
}

/// The last listing of a series query.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ListingSeen {
    /// How long ago it was made.
    pub age_seconds: f64,
    /// Why the last attempt failed, so that an older one is used.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failed: Option<String>,
    /// Kinds of series that it found: names with different sets of labels, of all namespaces.
    pub found: usize,
    /// Of those, dropped by filters or names.
    pub dropped: usize,
    /// Of the rest, those without a label that names a resource.
    pub unmapped: usize,
    /// Metrics that the rule makes of the rest.
    pub metrics: usize,
}

impl Eq for ListingSeen {}

/// A rule that does not answer.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct OtherRule {
    /// `rules[3]`.
    pub id: String,
    /// Why it does not.
    pub why: String,
    /// Whether it would make the metric for the resource if no other rule came first.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub makes_it: bool,
}

/// The objects that a request is about.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ObjectsSelected {
    /// How they were chosen.
    pub by: String,
    /// How many there are.
    pub count: usize,
    /// The first of their names.
    pub names: Vec<String>,
}

/// A query and what the source said.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct QueryAsked {
    /// What the source is called: the host of a Prometheus, or `embedded`.
    pub source: String,
    /// The text that was sent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub promql: Option<String>,
    /// The widest range that the query looks at.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub window_seconds: Option<u64>,
    /// How long the source took.
    pub took_seconds: f64,
    /// The samples of its answer.
    pub samples: usize,
    /// Native histograms of its answer, which are left out.
    pub histograms: usize,
    /// Why it did not answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// What it says of its answer.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
}

/// The samples of an answer: those of the namespace asked for, and the number of the others.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct SamplesSeen {
    /// The first samples of what was asked for.
    pub shown: Vec<SampleSeen>,
    /// How many more there are of what was asked for.
    pub more: usize,
    /// Samples of other namespaces.
    pub of_other_namespaces: usize,
    /// Samples of objects that were not asked for.
    pub of_other_objects: usize,
    /// Samples without the label that names the object.
    pub without_object: usize,
}

/// One sample.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct SampleSeen {
    /// The object's name; `None` for an external metric.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub object: Option<String>,
    /// Its labels, if it says that it is of the namespace asked for.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// The number as PromQL writes it.
    pub value: String,
    /// How long before the query it was taken.
    pub age_seconds: f64,
    /// What became of it.
    pub fate: String,
}

/// One value of the API's answer.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ValueShown {
    /// The object's name; `None` for an external metric.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub object: Option<String>,
    /// The quantity: `3`, `1500m`.
    pub value: String,
    /// Its age.
    pub age_seconds: f64,
    /// The policy of the rule that made it: `onEmpty: zero`; `None` for a sample's value.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub policy: Option<String>,
}

impl Explanation {
    /// Sets the cause unless an earlier step did: the first step that found nothing is at fault.
    pub fn caused_by(&mut self, reason: Reason, message: impl FnOnce() -> String) {
        if self.cause.message.is_empty() {
            self.cause = Cause { reason, message: message() };
        }
    }
}

/// `3 values`, `1 value`.
pub fn counted(number: usize, what: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{number} {what}{plural}")
}

/// The most entries of a list.
pub const MOST_LISTED: usize = 20;
