//! Whether a query whose groups keep one label more gives the same samples, each with that label (D85).
//!
//! A rule's `<<.GroupBy>>` is the label of the objects where one namespace is asked about, and the label of namespaces
//! besides where a query is for several. What the rule itself writes stays as it is, so the two queries may match
//! different series: `sum(a) by (namespace, pod) / sum(b) by (<<.GroupBy>>)` has no sample in the first form.

use promql_parser::parser::{
    AggregateExpr, BinModifier, BinaryExpr, Expr, LabelModifier, VectorMatchCardinality,
};

/// Whether `wide` is `narrow` with `label` added to some of its groups, and has the same samples with that label.
/// Every series that `narrow` is about has the same value of it, and `wide` keeps it everywhere.
pub(crate) fn only_gains(label: &str, narrow: &str, wide: &str) -> bool {
    let (Ok(narrow), Ok(wide)) = (promql::parse(narrow), promql::parse(wide)) else { return false };
    Label(label).compare(&narrow, &wide).is_some()
}

struct Label<'a>(&'a str);

/// What samples of the narrow query hold of the label; those of the wide one all have it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Holds {
    /// A number, which has no labels.
    Number,
    Yes,
    No,
}

/// Which labels groups or matches are by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum By {
    /// Those that `by` or `on` names.
    Named(Holds),
    /// All, or all but those that `without` or `ignoring` names.
    Others,
}

impl Label<'_> {
    /// `None` where the two may differ.
    fn compare(&self, narrow: &Expr, wide: &Expr) -> Option<Holds> {
        match (narrow, wide) {
            (Expr::NumberLiteral(narrow), Expr::NumberLiteral(wide)) => {
                (narrow == wide).then_some(Holds::Number)
            }
            (Expr::VectorSelector(narrow), Expr::VectorSelector(wide)) => {
                (narrow == wide).then_some(Holds::Yes)
            }
            (Expr::MatrixSelector(narrow), Expr::MatrixSelector(wide)) => {
                (narrow == wide).then_some(Holds::Yes)
            }
            (Expr::Paren(narrow), Expr::Paren(wide)) => self.compare(&narrow.expr, &wide.expr),
            (Expr::Unary(narrow), Expr::Unary(wide)) => self.compare(&narrow.expr, &wide.expr),
            (Expr::Subquery(narrow), Expr::Subquery(wide)) => {
                let times = (&narrow.offset, &narrow.at, narrow.range, narrow.step)
                    == (&wide.offset, &wide.at, wide.range, wide.step);
                self.compare(&narrow.expr, &wide.expr).filter(|_| times)
            }
            (Expr::Call(narrow), Expr::Call(wide)) if narrow.func == wide.func => {
                if narrow.args.args.len() != wide.args.args.len() {
                    return None;
                }
                let arguments = narrow.args.args.iter().zip(&wide.args.args);
                // Functions that are shared make of each series one, of their only vector.
                arguments.into_iter().try_fold(Holds::Number, |holds, (narrow, wide)| {
                    let argument = self.compare(narrow, wide)?;
                    Some(if argument == Holds::Number { holds } else { argument })
                })
            }
            (Expr::Aggregate(narrow), Expr::Aggregate(wide)) => self.aggregate(narrow, wide),
            (Expr::Binary(narrow), Expr::Binary(wide)) => self.binary(narrow, wide),
            _ => None,
        }
    }

    fn aggregate(&self, narrow: &AggregateExpr, wide: &AggregateExpr) -> Option<Holds> {
        let within = self.compare(&narrow.expr, &wide.expr)?;
        let by = self.labels(narrow.modifier.as_ref(), wide.modifier.as_ref())?;
        if narrow.op != wide.op || narrow.param != wide.param {
            return None;
        }
        // These give series as they are, and not their groups.
        let picks = ["topk", "bottomk", "limitk", "limit_ratio"].contains(&narrow.op.to_string().as_str());
        Some(match by {
            // Groups by a label that no series has do not have it either.
            By::Named(Holds::Yes) if !picks => within,
            By::Named(holds) if !picks => holds,
            _ => within,
        })
    }

    fn binary(&self, narrow: &BinaryExpr, wide: &BinaryExpr) -> Option<Holds> {
        let (left, right) = (self.compare(&narrow.lhs, &wide.lhs)?, self.compare(&narrow.rhs, &wide.rhs)?);
        if narrow.op != wide.op {
            return None;
        }
        let modifiers = (narrow.modifier.as_ref(), wide.modifier.as_ref());
        let matched = match modifiers {
            (None, None) => By::Others,
            (Some(narrow), Some(wide)) => self.matching(narrow, wide)?,
            _ => return None,
        };
        if left == Holds::Number || right == Holds::Number {
            return Some(if left == Holds::Number { right } else { left });
        }
        let By::Named(on) = matched else {
            // All labels must be equal.
            return (left == right).then_some(left);
        };
        // Series of one side alone would have the label to match by, which in the wide query all have.
        if on == Holds::Yes && left != right {
            return None;
        }
        let card = modifiers.0.map(|modifier| &modifier.card);
        match card {
            _ if narrow.op.is_set_operator() => {
                let is_or = narrow.op.to_string().eq_ignore_ascii_case("or");
                (!is_or || left == right).then_some(left)
            }
            Some(VectorMatchCardinality::ManyToOne(_)) => Some(left),
            Some(VectorMatchCardinality::OneToMany(_)) => Some(right),
            _ if on == Holds::Yes => Some(left),
            _ => Some(on),
        }
    }

    /// How series are matched.
    fn matching(&self, narrow: &BinModifier, wide: &BinModifier) -> Option<By> {
        let taken =
            narrow.card.labels().is_some_and(|labels| labels.labels.iter().any(|label| label == self.0));
        let same = (&narrow.card, narrow.return_bool, &narrow.fill_values)
            == (&wide.card, wide.return_bool, &wide.fill_values);
        if taken || !same {
            return None;
        }
        match (&narrow.matching, &wide.matching) {
            (None, None) => Some(By::Others),
            (narrow, wide) => self.labels(narrow.as_ref(), wide.as_ref()),
        }
    }

    fn labels(&self, narrow: Option<&LabelModifier>, wide: Option<&LabelModifier>) -> Option<By> {
        match (narrow, wide) {
            (Some(LabelModifier::Include(narrow)), Some(LabelModifier::Include(wide))) => {
                let others = |labels: &[String]| {
                    let mut others: Vec<String> =
                        labels.iter().filter(|label| *label != self.0).cloned().collect();
                    others.sort();
                    others
                };
                let holds = narrow.labels.iter().any(|label| label == self.0);
                (others(&narrow.labels) == others(&wide.labels)).then_some(By::Named(if holds {
                    Holds::Yes
                } else {
                    Holds::No
                }))
            }
            (Some(LabelModifier::Exclude(narrow)), Some(LabelModifier::Exclude(wide))) => {
                (narrow == wide).then_some(By::Others)
            }
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use testkit::rows::each_row;

    use super::*;

    #[test]
    fn a_query_gains_a_label_only_where_its_series_match_as_before() {
        // `G` is `<<.GroupBy>>`.
        let rows = [
            ("a", true),
            ("sum(a) by (G)", true),
            ("sum(a) by (namespace, pod)", true),
            ("sum(rate(a[2m])) by (G) / sum(rate(b[2m])) by (G)", true),
            ("sum(a) by (namespace, pod) + sum(b) by (G)", false),
            ("sum(a) by (pod) + sum(b) by (G)", true),
            ("a / sum(b) by (G)", false),
            ("a / on (G) group_left sum(b) by (G)", true),
            ("sum(b) by (G) / on (pod) a", true),
            ("(sum(b) by (G) / on (pod) a) + a", false),
            ("sum(b) by (G) / on (namespace, pod) a", false),
            ("sum(b) by (G) and on (namespace, pod) a", false),
            ("(sum(b) by (namespace, pod) / on (namespace, pod) a) + sum(a) by (namespace, pod)", true),
            ("sum(sum(a) by (G)) by (namespace, pod) + sum(b) by (namespace, pod)", false),
            ("sum(b) by (G) * on (G) group_left (namespace) a", false),
            ("sum(a) by (G) or sum(b) by (G)", true),
            ("sum(a) by (G) or on (pod) b", false),
            ("sum(a) by (G) and on (pod) b", true),
            ("topk(1, a) by (G) + a", true),
            ("max(a) by (G) + a", false),
            ("max_over_time(sum(a) by (G)[5m:1m]) * 2", true),
            ("histogram_quantile(0.9, sum(rate(a[2m])) by (G, le))", true),
            ("sum(sum(a) by (G)) by (pod)", true),
            ("sum(a) without (code) / sum(b) without (code)", true),
            ("sum(a) without (code) / sum(b) by (G)", false),
            ("time()", true),
            ("sum(a", false),
        ];
        each_row(rows, |(query, expected)| {
            let (narrow, wide) = (query.replace('G', "pod"), query.replace('G', "namespace,pod"));
            assert_eq!(only_gains("namespace", &narrow, &wide), expected, "{query}");
        });
        assert!(!only_gains("namespace", "sum(a) by (pod)", "sum(a) by (namespace, node)"));
        assert!(!only_gains("namespace", "sum(a) by (pod)", "max(a) by (namespace, pod)"));
    }
}
