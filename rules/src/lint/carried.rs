//! Matchers of `seriesQuery` that `metricsQuery` does not repeat: it adds up what the rule meant to leave out.

use promql_parser::label::{MatchOp, Matcher};
use promql_parser::parser::Expr;

use super::parts::{name, selectors};
use crate::sample::each_name;

/// A matcher by which the series are found and not read. A query that names its label anywhere, in a part of it or to
/// join on, knows of it.
pub(super) fn forgotten<'m>(tree: &Expr, series: &str, matchers: &'m [Matcher]) -> Option<&'m Matcher> {
    let mut named = Vec::new();
    each_name(&mut tree.clone(), &mut |name| named.push(name.to_owned()));
    let selectors = selectors(tree);
    let reads_series = selectors.iter().any(|selector| name(selector) == Some(series));
    let mut limits = matchers.iter().filter(|matcher| reads_series && limits(matcher));
    limits.find(|matcher| !named.contains(&matcher.name))
}

/// Whether a matcher asks for more than that there is a value.
fn limits(matcher: &Matcher) -> bool {
    match &matcher.op {
        MatchOp::NotEqual => !matcher.value.is_empty(),
        MatchOp::Re(_) => !matches!(matcher.value.as_str(), ".+" | ".*"),
        MatchOp::NotRe(_) => !matches!(matcher.value.as_str(), "" | "^$"),
        MatchOp::Equal => true,
    }
}
