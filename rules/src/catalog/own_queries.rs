//! Queries of our own about the series of a metric: how many samples they have, how old these are, and which labels
//! hold what. They say where the samples end when a rule's query finds none.

use std::time::Duration;

use selector::labels::Selector;

use super::Origin;
use crate::plan::PlanError;
use crate::query_parts::QueryParts;
use crate::quoted_names::name_matcher;
use crate::quoting;
use crate::rule::Rule;

/// How far back a query of our own looks, and in which steps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LookBack {
    /// How far back, in whole seconds.
    pub range: Duration,
    /// The time between two looks, in whole seconds: a series that ended is seen up to this long before its end.
    pub step: Duration,
}

/// How many samples the series of a namespace that a metric selector leaves have within a range, the most of each
/// object that the label `by` names; without a range, how many such series have a value.
pub fn samples_within(
    origin: &Origin,
    range: Option<Duration>,
    limits: (Option<&str>, &Selector),
    by: Option<&str>,
) -> Result<String, PlanError> {
    let (selector, by) = (limited_series(origin, limits)?, grouped(by));
    Ok(match range {
        // PromQL has no fractions of a unit.
        Some(range) if range.subsec_millis() == 0 => {
            format!("max{by} (count_over_time({selector}[{}s]))", range.as_secs())
        }
        Some(range) => format!("max{by} (count_over_time({selector}[{}ms]))", range.as_millis()),
        None => format!("count{by} ({selector})"),
    })
}

/// When the newest sample was taken, in seconds since the epoch, of each object that the label `by` names: of the
/// series that have a value now, or that had one when it is looked back.
pub fn newest_sample(
    origin: &Origin,
    back: Option<LookBack>,
    limits: (Option<&str>, &Selector),
    by: Option<&str>,
) -> Result<String, PlanError> {
    let (selector, by) = (limited_series(origin, limits)?, grouped(by));
    Ok(match back {
        Some(back) => format!("max{by} ({})", back.newest(&selector)),
        None => format!("max{by} (timestamp({selector}))"),
    })
}

/// The `most` values of a label that most series of a namespace have now, with the label of namespaces beside them;
/// `None` when the rule has no label for namespaces.
pub fn values_of(origin: &Origin, key: &str, namespace: &str, most: usize) -> Option<String> {
    let selector = limited_series(origin, (Some(namespace), &Selector::everything())).ok()?;
    let of_namespaces = quoting::label(origin.label_of_namespaces()?);
    Some(format!("topk({most}, count by ({of_namespaces}, {}) ({selector}))", quoting::label(key)))
}

/// For each of some labels, how many series, of any namespace, have one of `values` in it; a label that has none of
/// them is left out. The label [`PLACE`] of a sample is the place of the label in `labels`. `also` is a further
/// label, and the values that it must have one of.
pub fn held_by(
    origin: &Origin,
    labels: &[&str],
    values: &[&str],
    also: Option<(&str, &[&str])>,
) -> Result<String, PlanError> {
    let name = name_matcher(origin.series());
    let one = |(place, label): (usize, &&str)| {
        let mut parts = QueryParts::default();
        parts.objects(label, values)?;
        if let Some((label, values)) = also {
            parts.objects(label, values)?;
        }
        let matchers = parts.matchers();
        Ok(format!(r#"label_replace(count({{{name},{matchers}}}), "{PLACE}", "{place}", "", "")"#))
    };
    let all: Result<Vec<String>, PlanError> = labels.iter().enumerate().map(one).collect();
    Ok(all?.join(" or "))
}

/// How many series of a metric there are now for each combination of values of labels.
pub fn series_by(origin: &Origin, labels: &[&str]) -> String {
    let by: Vec<_> = labels.iter().map(|label| quoting::label(label)).collect();
    format!("count by ({}) ({{{}}})", by.join(", "), name_matcher(origin.series()))
}

/// How old the newest sample of a metric's series is, in seconds.
pub fn newest_age(origin: &Origin) -> String {
    format!("time() - max(timestamp({{{}}}))", name_matcher(origin.series()))
}

/// The series of a namespace that a metric selector leaves.
fn limited_series(
    origin: &Origin,
    (namespace, selector): (Option<&str>, &Selector),
) -> Result<String, PlanError> {
    let mut parts = QueryParts::default();
    parts.selector(selector, origin.labels())?;
    if let Some(namespace) = namespace {
        let no_label = PlanError::NoLabel { rule: origin.rule(), resource: "namespaces" };
        parts.namespaces(origin.label_of_namespaces().ok_or(no_label)?, &[namespace])?;
    }
    let comma = if parts.matchers().is_empty() { "" } else { "," };
    Ok(format!("{{{}{comma}{}}}", name_matcher(origin.series()), parts.matchers()))
}

/// One of the series that have the name of the rule's series, whatever else its series query demands; `None` for a
/// series query that does not fix the name.
pub fn one_series_of_the_name(rule: &Rule) -> Option<String> {
    Some(format!("topk(1, {{{}}})", name_matcher(&rule.literal_series()?)))
}

/// When the newest sample that the rule's series have now was taken, in seconds since the epoch.
pub fn newest_sample_now(rule: &Rule) -> String {
    format!("max(timestamp({}))", rule.series_query)
}

/// When the newest sample of a series of that name was taken that ended since, in seconds since the epoch.
pub fn newest_sample_of_the_name(rule: &Rule, back: LookBack) -> Option<String> {
    Some(format!("max({})", back.newest(&format!("{{{}}}", name_matcher(&rule.literal_series()?)))))
}

impl LookBack {
    fn newest(self, selector: &str) -> String {
        let (range, step) = (self.range.as_secs(), self.step.as_secs());
        format!("max_over_time(timestamp({selector})[{range}s:{step}s])")
    }
}

fn grouped(by: Option<&str>) -> String {
    by.map(|label| format!(" by ({})", quoting::label(label))).unwrap_or_default()
}

/// The label of an answer to [`held_by`].
pub const PLACE: &str = "place";
