//! Which labels an expression's result has.

use promql_parser::parser::token::{T_BOTTOMK, T_COUNT_VALUES, T_LIMIT_RATIO, T_LIMITK, T_LOR, T_TOPK};
use promql_parser::parser::value::ValueType;
use promql_parser::parser::{AggregateExpr, BinaryExpr, Call, Expr, LabelModifier, VectorMatchCardinality};

/// Whether samples of a result have a label that the series have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    Kept,
    Lost,
    /// It depends on more than the expression.
    Unknown,
}

impl Fate {
    pub(super) fn of(label: &str, expr: &Expr) -> Fate {
        match expr {
            Expr::VectorSelector(_) | Expr::MatrixSelector(_) => Fate::Kept,
            Expr::Subquery(subquery) => Fate::of(label, &subquery.expr),
            Expr::Paren(paren) => Fate::of(label, &paren.expr),
            Expr::Unary(unary) => Fate::of(label, &unary.expr),
            Expr::Aggregate(aggregate) => Fate::aggregated(label, aggregate),
            Expr::Binary(binary) => Fate::joined(label, binary),
            Expr::Call(call) => Fate::called(label, call),
            Expr::NumberLiteral(_) | Expr::StringLiteral(_) => Fate::Lost,
            Expr::Extension(_) => Fate::Unknown,
        }
    }

    fn aggregated(label: &str, aggregate: &AggregateExpr) -> Fate {
        let inner = Fate::of(label, &aggregate.expr);
        match aggregate.op.id() {
            // They choose among samples.
            T_TOPK | T_BOTTOMK | T_LIMITK | T_LIMIT_RATIO => return inner,
            T_COUNT_VALUES if aggregate.param.as_deref().is_some_and(|param| is_text(param, label)) => {
                return Fate::Kept;
            }
            _ => {}
        }
        match &aggregate.modifier {
            Some(LabelModifier::Include(labels)) if labels.labels.iter().any(|other| other == label) => inner,
            Some(LabelModifier::Exclude(labels)) if !labels.labels.iter().any(|other| other == label) => {
                inner
            }
            _ => Fate::Lost,
        }
    }

    fn joined(label: &str, binary: &BinaryExpr) -> Fate {
        let (left, right) = (Fate::of(label, &binary.lhs), Fate::of(label, &binary.rhs));
        if binary.lhs.value_type() == ValueType::Scalar {
            return right;
        }
        if binary.rhs.value_type() == ValueType::Scalar {
            return left;
        }
        let Some(modifier) = &binary.modifier else {
            return if binary.op.id() == T_LOR { left.or(right) } else { left };
        };
        match &modifier.card {
            VectorMatchCardinality::ManyToMany if binary.op.id() == T_LOR => left.or(right),
            VectorMatchCardinality::ManyToMany => left,
            VectorMatchCardinality::ManyToOne(labels) => {
                if labels.labels.iter().any(|other| other == label) {
                    right
                } else {
                    left
                }
            }
            VectorMatchCardinality::OneToMany(labels) => {
                if labels.labels.iter().any(|other| other == label) {
                    left
                } else {
                    right
                }
            }
            VectorMatchCardinality::OneToOne => match &modifier.matching {
                Some(LabelModifier::Include(labels)) if !labels.labels.iter().any(|other| other == label) => {
                    Fate::Lost
                }
                Some(LabelModifier::Exclude(labels)) if labels.labels.iter().any(|other| other == label) => {
                    Fate::Lost
                }
                _ => left,
            },
        }
    }

    fn called(label: &str, call: &Call) -> Fate {
        let arguments = &call.args.args;
        let makes_label = matches!(call.func.name, "label_replace" | "label_join");
        if makes_label && arguments.get(1).is_some_and(|name| is_text(name, label)) {
            return Fate::Kept;
        }
        match call.func.name {
            // Their labels are those of the selector's matchers, or another series'.
            "absent" | "absent_over_time" | "info" => Fate::Unknown,
            _ => {
                let of_series =
                    |argument: &&Expr| matches!(argument.value_type(), ValueType::Vector | ValueType::Matrix);
                let mut arguments = arguments.iter().map(|argument| &**argument);
                arguments.find(of_series).map_or(Fate::Lost, |argument| Fate::of(label, argument))
            }
        }
    }

    fn or(self, other: Fate) -> Fate {
        match (self, other) {
            (Fate::Kept, _) | (_, Fate::Kept) => Fate::Kept,
            (Fate::Lost, Fate::Lost) => Fate::Lost,
            _ => Fate::Unknown,
        }
    }
}

fn is_text(expr: &Expr, text: &str) -> bool {
    match expr {
        Expr::StringLiteral(literal) => literal.val == text,
        Expr::Paren(paren) => is_text(&paren.expr, text),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use testkit::rows::each_row;

    use super::*;

    #[test]
    fn labels_are_kept_or_lost_as_in_prometheus() {
        let rows = [
            ("x", Fate::Kept),
            ("rate(x[1m])", Fate::Kept),
            ("max_over_time(sum(x) by (pod)[5m:1m])", Fate::Kept),
            ("sum(x) by (pod)", Fate::Kept),
            ("sum(x) by (node)", Fate::Lost),
            ("sum(x)", Fate::Lost),
            ("sum(x) without (node)", Fate::Kept),
            ("sum(x) without (pod)", Fate::Lost),
            ("topk(3, x)", Fate::Kept),
            ("topk(3, sum(x))", Fate::Lost),
            ("count_values(\"pod\", x)", Fate::Kept),
            ("count_values(\"version\", x)", Fate::Lost),
            ("histogram_quantile(0.9, sum(rate(x[1m])) by (le, pod))", Fate::Kept),
            ("histogram_quantile(0.9, sum(rate(x[1m])) by (le))", Fate::Lost),
            ("label_replace(sum(x), \"pod\", \"a\", \"\", \"\")", Fate::Kept),
            ("label_replace(sum(x), \"node\", \"a\", \"\", \"\")", Fate::Lost),
            ("x / y", Fate::Kept),
            ("x / on (pod) y", Fate::Kept),
            ("x / on (node) y", Fate::Lost),
            ("x / ignoring (pod) y", Fate::Lost),
            ("x / on (node) group_left y", Fate::Kept),
            ("sum(x) by (node) * on (node) group_right y", Fate::Kept),
            ("sum(x) by (node) * on (node) group_left (pod) y", Fate::Kept),
            ("sum(x) or y", Fate::Kept),
            ("sum(x) or vector(0)", Fate::Lost),
            ("sum(x) and y", Fate::Lost),
            ("x unless y", Fate::Kept),
            ("100 * x", Fate::Kept),
            ("x / scalar(sum(y))", Fate::Kept),
            ("-(x > 5)", Fate::Kept),
            ("vector(1)", Fate::Lost),
            ("absent(x{pod=\"a\"})", Fate::Unknown),
            ("time()", Fate::Lost),
        ];
        each_row(rows, |(query, fate)| {
            let tree = promql::parse(query).unwrap_or_else(|error| panic!("{query}: {error}"));
            assert_eq!(Fate::of("pod", &tree), fate, "{query}");
        });
    }
}
