//! `seriesQuery`: Prometheus lists series by a selector and by nothing else.

use promql::ParseError;
use promql_parser::label::{METRIC_NAME, MatchOp, Matcher};
use promql_parser::parser::{Expr, VectorSelector};

use crate::config::Placed;
use crate::warning::{Lint, NO_METRIC, Rendered, Warning};

/// What a series query says of the series that it finds.
#[derive(Debug, Default)]
pub(super) struct Selected {
    /// The one name that the series have.
    pub(super) name: Option<String>,
    /// What the name ends in, as far as a pattern says it.
    pub(super) suffix: Option<String>,
    /// The matchers of other labels than the name.
    pub(super) matchers: Vec<Matcher>,
}

impl Selected {
    fn of(selector: VectorSelector) -> Selected {
        let VectorSelector { name, matchers, .. } = selector;
        let mut selected = Selected { name, ..Selected::default() };
        for matcher in matchers.matchers {
            match (matcher.name.as_str(), &matcher.op) {
                (METRIC_NAME, MatchOp::Equal) => selected.name = Some(matcher.value),
                (METRIC_NAME, MatchOp::Re(_)) => selected.suffix = suffix(&matcher.value),
                (METRIC_NAME, _) => {}
                _ => selected.matchers.push(matcher),
            }
        }
        selected
    }
}

/// The end of a pattern's text that is not part of anything but a name.
fn suffix(pattern: &str) -> Option<String> {
    let pattern = pattern.trim_end_matches(['$', ')']);
    let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let start = pattern.rfind(|c| !is_name(c)).map_or(0, |at| at + 1);
    // What a `|` stands before is one of several ends.
    let is_one = !pattern.contains('|');
    (is_one && start < pattern.len()).then(|| pattern[start..].to_owned())
}

/// What the query selects; nothing is known of what is not a selector.
pub(super) fn lint(query: &Placed<String>, warnings: &mut Vec<Warning>) -> Selected {
    let text = &query.value;
    let mut rendered = None;
    let found = match promql::parse(text) {
        Ok(Expr::VectorSelector(selector)) => match (&selector.offset, &selector.at) {
            (None, None) => return Selected::of(selector),
            (Some(_), _) => "an offset".to_owned(),
            (None, Some(_)) => "a selector at a time".to_owned(),
        },
        Ok(Expr::MatrixSelector(_) | Expr::Subquery(_)) => "a range".to_owned(),
        Ok(Expr::Call(call)) => format!("the function {}", call.func.name),
        Ok(Expr::Aggregate(aggregate)) => format!("the aggregation {}", aggregate.op),
        Ok(Expr::NumberLiteral(_) | Expr::StringLiteral(_)) => "a literal".to_owned(),
        Ok(_) => "an expression".to_owned(),
        Err(_) if text.contains("<<") || text.contains("{{") => {
            "a template, which is sent as it is here".to_owned()
        }
        Err(error @ ParseError::Unsupported { .. }) => {
            let message = format!("PromQL that is not understood here: {error}; it is sent unchanged");
            warnings.push(Warning::new(Lint::UnknownPromql, query.place.fault(message)));
            return Selected::default();
        }
        Err(error) => {
            rendered = Some(Box::new(Rendered::of(text, &error)));
            error.to_string()
        }
    };
    let fault = query.place.fault(format!(
        "{NO_METRIC}: expected a series selector like name{{label=\"value\"}} in seriesQuery, found {found}"
    ));
    warnings.push(Warning { rendered, ..Warning::never_answers(Lint::NotASelector, fault) });
    Selected::default()
}
