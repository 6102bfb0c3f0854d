//! `label_replace`, `label_join`, and the labels that an absent series would have.

use promql::regexp;
use promql_parser::label::MatchOp;
use promql_parser::parser::Expr;

use super::{Result, refuse_duplicates};
use crate::QueryError;
use crate::interrupt::Pace;
use crate::labels::{Labels, METRIC_NAME};
use crate::value::Sample;

/// Sets a label from another's value where that matches a regular expression as a whole.
pub(super) fn replace(
    pace: &Pace,
    mut samples: Vec<Sample>,
    [target, replacement, source, pattern]: [&str; 4],
) -> Result<Vec<Sample>> {
    let regex = regexp::compile(&format!("^(?s:{pattern})$")).map_err(|_| {
        QueryError::Execution(format!("invalid regular expression in label_replace(): {pattern}"))
    })?;
    valid_target(target, "label_replace")?;
    for sample in &mut samples {
        pace.step()?;
        let value = sample.labels.value(source).unwrap_or_default();
        if let Some(captures) = regex.captures(value) {
            sample.labels = sample.labels.with(target, &captures.expand(replacement));
        }
    }
    refuse_duplicates(&samples)?;
    Ok(samples)
}

/// Sets a label to the values of others with a separator between them.
pub(super) fn join(
    mut samples: Vec<Sample>,
    target: &str,
    separator: &str,
    sources: &[String],
) -> Result<Vec<Sample>> {
    valid_target(target, "label_join")?;
    for sample in &mut samples {
        let values: Vec<&str> =
            sources.iter().map(|source| sample.labels.value(source).unwrap_or_default()).collect();
        sample.labels = sample.labels.with(target, &values.join(separator));
    }
    refuse_duplicates(&samples)?;
    Ok(samples)
}

fn valid_target(target: &str, function: &str) -> Result<()> {
    if target.is_empty() {
        return Err(QueryError::Execution(format!(
            "invalid destination label name in {function}(): {target}"
        )));
    }
    Ok(())
}

/// The labels that a selector's equal matchers prescribe; a label with two of them is not prescribed.
pub(super) fn absent(expr: &Expr) -> Labels {
    let selector = match expr {
        Expr::VectorSelector(selector) => selector,
        Expr::MatrixSelector(selector) => &selector.vs,
        _ => return Labels::empty(),
    };
    let matchers = &selector.matchers.matchers;
    Labels::from_pairs(matchers.iter().filter_map(|matcher| {
        let alone = matchers.iter().filter(|other| other.name == matcher.name).count() == 1;
        let prescribes = matcher.op == MatchOp::Equal && matcher.name != METRIC_NAME && alone;
        prescribes.then_some((matcher.name.as_str(), matcher.value.as_str()))
    }))
}
