//! What a rule file says of series before there is any: their name and labels, where it spells them out.

use std::collections::BTreeSet;
use std::sync::Arc;

use promql_parser::label::{METRIC_NAME, MatchOp};
use promql_parser::parser::{Expr, VectorSelector};

use crate::resource::ResourceLabels;

/// The series of a rule whose series query fixes their name, as far as the rule says it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Declared {
    /// The name that all of them have.
    pub(crate) series: Arc<str>,
    /// The metric's name in the API.
    pub(crate) metric: Arc<str>,
    /// Labels that they have: those that a matcher demands (`pod!=""`), and those of `resources.overrides` but for the
    /// ones that a matcher excludes (`pod=""`). A template alone names none.
    pub(crate) labels: Arc<[Arc<str>]>,
}

impl Declared {
    /// `None` when the series query does not fix the name, or `metric_of` makes no metric of it.
    pub(crate) fn read(
        series_query: &str,
        labels: &ResourceLabels,
        metric_of: impl FnOnce(&str) -> Option<String>,
    ) -> Option<Declared> {
        let selector = selector(series_query)?;
        let series = name(&selector)?;
        let metric = metric_of(&series).filter(|metric| !metric.is_empty())?;
        let mut known: BTreeSet<Arc<str>> = labels.overridden().cloned().collect();
        for matcher in &selector.matchers.matchers {
            if !matcher.is_match("") {
                known.insert(matcher.name.as_str().into());
            } else if matcher.op == MatchOp::Equal {
                known.remove(matcher.name.as_str());
            }
        }
        known.remove(METRIC_NAME);
        Some(Declared { series: series.into(), metric: metric.into(), labels: known.into_iter().collect() })
    }
}

/// The only name that a series of a series query can have; `None` for a query that does not fix the name.
pub(crate) fn literal_name(series_query: &str) -> Option<String> {
    name(&any_selector(series_query)?)
}

/// The labels that every series of a series query has, sorted: those that a matcher demands (`pod!=""`).
pub(crate) fn demanded_labels(series_query: &str) -> BTreeSet<String> {
    let matchers = selector(series_query).map(|selector| selector.matchers.matchers).unwrap_or_default();
    let demanded =
        matchers.into_iter().filter(|matcher| matcher.name != METRIC_NAME && !matcher.is_match(""));
    demanded.map(|matcher| matcher.name).collect()
}

/// The selector that a series query is; `None` for anything else, and for one with an offset or a time.
pub(crate) fn selector(series_query: &str) -> Option<VectorSelector> {
    any_selector(series_query).filter(|selector| selector.offset.is_none() && selector.at.is_none())
}

fn any_selector(series_query: &str) -> Option<VectorSelector> {
    match promql::parse(series_query) {
        Ok(Expr::VectorSelector(selector)) => Some(selector),
        _ => None,
    }
}

/// The only name that a selector's series can have.
pub(crate) fn name(selector: &VectorSelector) -> Option<String> {
    let by_matcher = || {
        let mut matchers = selector.matchers.matchers.iter();
        let name = matchers.find(|matcher| matcher.name == METRIC_NAME && matcher.op == MatchOp::Equal)?;
        Some(name.value.clone())
    };
    selector.name.clone().or_else(by_matcher)
}
