//! Whether the namespace of a request limits every part of a query's result.

use promql_parser::parser::token::{T_LOR, T_LUNLESS};
use promql_parser::parser::{BinaryExpr, Expr, VectorSelector};

/// An operand of `or` whose samples may be of any namespace; `None` when the namespace limits all operands, or there is
/// no
/// `or`.
pub(super) fn unlimited<'e>(expr: &'e Expr, namespace: &str) -> Option<&'e Expr> {
    match expr {
        Expr::Binary(binary) if binary.op.id() == T_LOR => {
            operand(&binary.lhs, namespace).or_else(|| operand(&binary.rhs, namespace))
        }
        Expr::Paren(paren) => unlimited(&paren.expr, namespace),
        Expr::Unary(unary) => unlimited(&unary.expr, namespace),
        Expr::Aggregate(aggregate) => unlimited(&aggregate.expr, namespace),
        _ => None,
    }
}

fn operand<'e>(expr: &'e Expr, namespace: &str) -> Option<&'e Expr> {
    unlimited(expr, namespace).or_else(|| (is_limited(expr, namespace) == Some(false)).then_some(expr))
}

/// Whether the samples of a result are those of one namespace; `None` for what comes from no series.
fn is_limited(expr: &Expr, namespace: &str) -> Option<bool> {
    let inner = |expr: &Expr| is_limited(expr, namespace);
    match expr {
        Expr::VectorSelector(selector) => Some(names(selector, namespace)),
        Expr::MatrixSelector(selector) => Some(names(&selector.vs, namespace)),
        Expr::Subquery(subquery) => inner(&subquery.expr),
        Expr::Paren(paren) => inner(&paren.expr),
        Expr::Unary(unary) => inner(&unary.expr),
        Expr::Aggregate(aggregate) => inner(&aggregate.expr),
        Expr::Call(call) => {
            call.args.args.iter().filter_map(|argument| inner(argument)).reduce(|one, other| one || other)
        }
        Expr::Binary(binary) => of_binary(binary, namespace),
        Expr::NumberLiteral(_) | Expr::StringLiteral(_) | Expr::Extension(_) => None,
    }
}

fn of_binary(binary: &BinaryExpr, namespace: &str) -> Option<bool> {
    let (left, right) = (is_limited(&binary.lhs, namespace), is_limited(&binary.rhs, namespace));
    let (Some(one), Some(other)) = (left, right) else { return left.or(right) };
    Some(match binary.op.id() {
        T_LOR => one && other,
        T_LUNLESS => one,
        // Samples find each other by their labels, so one limited side most often limits both.
        _ => one || other,
    })
}

fn names(selector: &VectorSelector, namespace: &str) -> bool {
    selector.matchers.matchers.iter().any(|matcher| matcher.value.contains(namespace))
}

#[cfg(test)]
mod tests {
    use testkit::rows::each_row;

    use super::*;

    #[test]
    fn every_operand_of_or_must_be_limited() {
        let rows = [
            (r#"a{namespace="n"}"#, None),
            ("a", None),
            (r#"a{namespace="n"} or b"#, Some("b")),
            (r#"sum(a or rate(b{namespace="n"}[1m])) by (pod)"#, Some("a")),
            (r#"a{namespace="n"} or b{namespace=~"n"}"#, None),
            (r#"a{namespace="n"} or vector(0)"#, None),
            (r#"a{namespace="n"} / on (node) group_left b"#, None),
            (r#"(a or b) * on (pod) c{namespace="n"}"#, None),
            (
                r#"a{namespace="n"} * 2 or -(b unless c{namespace="n"})"#,
                Some(r#"-(b unless c{namespace="n"})"#),
            ),
            ("vector(1)", None),
        ];
        each_row(rows, |(query, expected)| {
            let tree = promql::parse(query).unwrap_or_else(|error| panic!("{query}: {error}"));
            let found = unlimited(&tree, "n").map(ToString::to_string);
            assert_eq!(found.as_deref(), expected, "{query}");
        });
    }
}
