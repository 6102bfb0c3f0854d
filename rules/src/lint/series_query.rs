//! `seriesQuery`: Prometheus lists series by a selector and by nothing else.

use promql::ParseError;
use promql_parser::parser::Expr;

use super::warning::{NO_METRIC, Warning};
use crate::config::Placed;

pub(super) fn lint(query: &Placed<String>, warnings: &mut Vec<Warning>) {
    let text = &query.value;
    let found = match promql::parse(text) {
        Ok(Expr::VectorSelector(selector)) => match (&selector.offset, &selector.at) {
            (None, None) => return,
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
            warnings.push(query.place.fault(message).into());
            return;
        }
        Err(error) => error.to_string(),
    };
    let fault = query.place.fault(format!(
        "{NO_METRIC}: expected a series selector like name{{label=\"value\"}} in seriesQuery, found {found}"
    ));
    warnings.push(Warning { fault, never_answers: true });
}
