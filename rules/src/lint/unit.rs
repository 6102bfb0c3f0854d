//! The unit in a metric's name, and the one that its query makes. An autoscaler's target is a plain number: 200m is a
//! fifth of the unit, whatever that is.

use promql_parser::parser::Expr;
use promql_parser::parser::token::{T_DIV, T_MUL};

use super::parts::{each, name, selectors};

/// What the query makes instead of what the metric's name says.
pub(super) fn mismatch(metric: &str, tree: &Expr) -> Option<&'static str> {
    let sources: Vec<&str> = selectors(tree).into_iter().filter_map(name).collect();
    let from = |unit: &[&str]| sources.iter().any(|source| says(source, unit));
    let (mut divides, mut by_hundred, mut by_thousand) = (false, false, false);
    each(tree, &mut |expr| {
        if let Expr::Binary(binary) = expr
            && matches!(binary.op.id(), T_DIV | T_MUL)
        {
            let literals = [number(&binary.lhs), number(&binary.rhs)];
            divides |= binary.op.id() == T_DIV && literals == [None, None];
            by_hundred |= literals.iter().flatten().any(|literal| [100.0, 0.01].contains(literal));
            by_thousand |= literals.iter().flatten().any(|literal| [1000.0, 0.001].contains(literal));
        }
    });
    let (seconds, milliseconds) = (says(metric, &SECONDS), says(metric, &MILLISECONDS));
    if milliseconds && from(&SECONDS) && !from(&MILLISECONDS) && !by_thousand {
        Some("seconds")
    } else if seconds && !milliseconds && from(&MILLISECONDS) != from(&SECONDS) {
        (from(&MILLISECONDS) != by_thousand).then_some("milliseconds")
    } else if says(metric, &PERCENT) && divides && !by_hundred && !from(&PERCENT) {
        Some("a ratio from 0 to 1")
    } else if says(metric, &RATIO) && divides && by_hundred {
        Some("percent")
    } else {
        None
    }
}

fn says(name: &str, unit: &[&str]) -> bool {
    name.split(['_', ':']).any(|word| unit.contains(&word))
}

fn number(expr: &Expr) -> Option<f64> {
    match expr {
        Expr::NumberLiteral(literal) => Some(literal.val),
        Expr::Paren(paren) => number(&paren.expr),
        _ => None,
    }
}

pub(super) const SECONDS: [&str; 1] = ["seconds"];
const MILLISECONDS: [&str; 3] = ["ms", "millis", "milliseconds"];
const PERCENT: [&str; 3] = ["percent", "percentage", "pct"];
const RATIO: [&str; 1] = ["ratio"];
