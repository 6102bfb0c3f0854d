//! Counters that are read as they are: they only grow, and start again with each pod.

use std::collections::BTreeSet;

use promql_parser::parser::Expr;
use promql_parser::parser::token::{T_COUNT, T_GROUP, T_LAND, T_LUNLESS, T_SUB};

use super::parts::{name, parts, selectors};

/// A counter whose value goes into the result without a rate.
pub(super) fn raw(tree: &Expr) -> Option<String> {
    let names: BTreeSet<&str> = selectors(tree).into_iter().filter_map(name).collect();
    find(tree, &|name| is_counter(name, &names)).map(str::to_owned)
}

fn find<'e>(expr: &'e Expr, is_counter: &impl Fn(&str) -> bool) -> Option<&'e str> {
    match expr {
        Expr::VectorSelector(selector) => name(selector).filter(|name| is_counter(name)),
        Expr::MatrixSelector(selector) => name(&selector.vs).filter(|name| is_counter(name)),
        Expr::Call(call) if OF_CHANGE.contains(&call.func.name) => None,
        // How many series there are, whatever their values.
        Expr::Aggregate(aggregate) if matches!(aggregate.op.id(), T_COUNT | T_GROUP) => None,
        // An increase by hand: a - a offset 5m.
        Expr::Binary(binary) if binary.op.id() == T_SUB => None,
        // Their right operand only chooses among the samples of the left.
        Expr::Binary(binary) if matches!(binary.op.id(), T_LAND | T_LUNLESS) => find(&binary.lhs, is_counter),
        _ => parts(expr).into_iter().find_map(|part| find(part, is_counter)),
    }
}

/// Many gauges are called `_count` and `_sum`, so those are counters only in seconds or bytes, or beside their like.
fn is_counter(name: &str, names: &BTreeSet<&str>) -> bool {
    let beside = |base: &str, other: &str| names.contains(format!("{base}{other}").as_str());
    let of_unit = |base: &str| base.ends_with("_seconds") || base.ends_with("_bytes");
    match (name.strip_suffix("_sum"), name.strip_suffix("_count")) {
        (Some(base), _) => of_unit(base) || beside(base, "_count"),
        (_, Some(base)) => of_unit(base) || beside(base, "_sum"),
        _ => name.ends_with("_total") || name.ends_with("_bucket"),
    }
}

/// Functions that look at how a value changes, or at whether it is there.
const OF_CHANGE: [&str; 14] = [
    "rate",
    "irate",
    "increase",
    "delta",
    "idelta",
    "deriv",
    "resets",
    "changes",
    "absent",
    "absent_over_time",
    "present_over_time",
    "count_over_time",
    "timestamp",
    "predict_linear",
];
