//! Ranges that hold too few samples.

use std::time::Duration;

use promql_parser::parser::Expr;

use super::parts::each;

/// The shortest range of a rate that holds fewer than four scrapes, and its function.
pub(super) fn short(tree: &Expr, scrape_interval: Duration) -> Option<(&'static str, Duration)> {
    let least = scrape_interval.saturating_mul(LEAST_SCRAPES);
    let mut found: Option<(&str, Duration)> = None;
    each(tree, &mut |expr| {
        let Expr::Call(call) = expr else { return };
        let Some(function) = RATES.into_iter().find(|function| *function == call.func.name) else { return };
        for argument in &call.args.args {
            if let Expr::MatrixSelector(selector) = &**argument
                && selector.range < least
                && found.is_none_or(|(_, range)| selector.range < range)
            {
                found = Some((function, selector.range));
            }
        }
    });
    found
}

/// Functions that need two samples.
const RATES: [&str; 6] = ["rate", "irate", "increase", "delta", "idelta", "deriv"];
/// With fewer, one late scrape leaves a range with less than two.
const LEAST_SCRAPES: u32 = 4;
