//! Whether a query may leave out which objects it is about (D41): hundreds of names make a regular expression that is
//! slow to match and a URL that proxies refuse, and what is asked for can be picked from the answer instead. That is so
//! only where each object's samples depend on no other object's series, which is proven here from the query's tree.

use promql_parser::label::{MatchOp, Matcher};
use promql_parser::parser::{BinModifier, Expr, LabelModifier, VectorSelector};

/// Whether `limited`, a query for the objects that `label` names, gives these objects the same samples when the
/// matchers of their names are left out, and whether `unlimited` is that query.
pub(crate) fn is_limited_only_by_names(limited: &str, unlimited: &str, label: &str, names: &str) -> bool {
    let (Ok(mut limited), Ok(unlimited)) = (promql::parse(limited), promql::parse(unlimited)) else {
        return false;
    };
    let objects = Objects { label, names };
    objects.separate(&limited) && {
        objects.forget(&mut limited);
        limited == unlimited
    }
}

/// The objects of a query: the label that holds their names, and the names as the matcher has them.
struct Objects<'a> {
    label: &'a str,
    names: &'a str,
}

impl Objects<'_> {
    fn is_names(&self, matcher: &Matcher) -> bool {
        matcher.name == self.label && matcher.value == self.names && matches!(matcher.op, MatchOp::Re(_))
    }

    /// Whether each sample depends only on series with the same value of the label.
    fn separate(&self, expr: &Expr) -> bool {
        match expr {
            Expr::NumberLiteral(_) => true,
            Expr::VectorSelector(selector) => self.limits(selector),
            Expr::MatrixSelector(selector) => self.limits(&selector.vs),
            Expr::Subquery(subquery) => self.separate(&subquery.expr),
            Expr::Paren(paren) => self.separate(&paren.expr),
            Expr::Unary(unary) => self.separate(&unary.expr),
            Expr::Aggregate(aggregate) => {
                let parameter = aggregate.param.as_deref();
                self.separate(&aggregate.expr)
                    && self.keeps(aggregate.modifier.as_ref())
                    && parameter.is_none_or(|parameter| matches!(parameter, Expr::NumberLiteral(_)))
            }
            Expr::Binary(binary) => {
                self.separate(&binary.lhs)
                    && self.separate(&binary.rhs)
                    && binary.modifier.as_ref().is_none_or(|modifier| self.matches(modifier))
            }
            Expr::Call(call) => {
                ONE_BY_ONE.contains(&call.func.name)
                    && call.args.args.iter().all(|argument| self.separate(argument))
            }
            Expr::StringLiteral(_) | Expr::Extension(_) => false,
        }
    }

    fn limits(&self, selector: &VectorSelector) -> bool {
        selector.matchers.or_matchers.is_empty()
            && selector.matchers.matchers.iter().any(|matcher| self.is_names(matcher))
    }

    /// Whether groups are of one object each.
    fn keeps(&self, modifier: Option<&LabelModifier>) -> bool {
        let holds = |labels: &[String]| labels.iter().any(|label| label == self.label);
        match modifier {
            Some(LabelModifier::Include(labels)) => holds(&labels.labels),
            Some(LabelModifier::Exclude(labels)) => !holds(&labels.labels),
            None => false,
        }
    }

    /// Whether only series of one object meet.
    fn matches(&self, modifier: &BinModifier) -> bool {
        // Without `on` or `ignoring` all labels must be equal.
        let equal = modifier.matching.is_none() || self.keeps(modifier.matching.as_ref());
        equal && modifier.fill_values.lhs.is_none() && modifier.fill_values.rhs.is_none()
    }

    fn forget_in(&self, selector: &mut VectorSelector) {
        selector.matchers.matchers.retain(|matcher| !self.is_names(matcher));
    }

    fn forget(&self, expr: &mut Expr) {
        match expr {
            Expr::VectorSelector(selector) => self.forget_in(selector),
            Expr::MatrixSelector(selector) => self.forget_in(&mut selector.vs),
            Expr::Subquery(subquery) => self.forget(&mut subquery.expr),
            Expr::Paren(paren) => self.forget(&mut paren.expr),
            Expr::Unary(unary) => self.forget(&mut unary.expr),
            Expr::Aggregate(aggregate) => self.forget(&mut aggregate.expr),
            Expr::Binary(binary) => {
                self.forget(&mut binary.lhs);
                self.forget(&mut binary.rhs);
            }
            Expr::Call(call) => call.args.args.iter_mut().for_each(|argument| self.forget(argument)),
            Expr::NumberLiteral(_) | Expr::StringLiteral(_) | Expr::Extension(_) => {}
        }
    }
}

/// Functions that make of each series one of the same labels, whatever the others are. `histogram_quantile` joins
/// series that differ in `le` alone, which holds no object's name.
const ONE_BY_ONE: [&str; 44] = [
    "abs",
    "avg_over_time",
    "ceil",
    "changes",
    "clamp",
    "clamp_max",
    "clamp_min",
    "count_over_time",
    "day_of_month",
    "day_of_week",
    "day_of_year",
    "days_in_month",
    "deg",
    "delta",
    "deriv",
    "exp",
    "floor",
    "histogram_quantile",
    "hour",
    "idelta",
    "increase",
    "irate",
    "last_over_time",
    "ln",
    "log10",
    "log2",
    "mad_over_time",
    "max_over_time",
    "min_over_time",
    "minute",
    "month",
    "predict_linear",
    "present_over_time",
    "quantile_over_time",
    "rad",
    "rate",
    "resets",
    "round",
    "sgn",
    "sqrt",
    "stddev_over_time",
    "stdvar_over_time",
    "sum_over_time",
    "timestamp",
];

#[cfg(test)]
mod tests {
    use testkit::rows::each_row;

    use super::*;

    #[test]
    fn what_may_leave_out_names() {
        let rows = [
            ("depth{M}", true),
            ("sum(rate(a_total{M}[2m])) by (pod)", true),
            ("sum by (pod) (rate(a_sum{M}[2m])) / sum by (pod) (rate(a_count{M}[2m]))", true),
            ("rate(a_sum{M}[2m]) / rate(a_count{M}[2m])", true),
            ("a{M} * on (namespace, pod) group_left (node) b{M}", true),
            ("a{M} / ignoring (code) group_right b{M}", true),
            ("sum(a{M}) without (container)", true),
            ("topk(1, a{M}) by (pod)", true),
            ("histogram_quantile(0.9, sum by (pod, le) (rate(a_bucket{M}[5m])))", true),
            ("max_over_time(sum by (pod) (a{M})[10m:1m])", true),
            ("-(a{M} + 1) * 100 > bool 5", true),
            // One object's sample depends on the others, or on what no name limits.
            ("sum(a{M})", false),
            ("sum(a{M}) by (namespace)", false),
            ("sum(a{M}) without (pod)", false),
            ("a{M} / scalar(sum(a{M}))", false),
            ("a{M} / on (namespace) group_left sum by (namespace) (a{M})", false),
            ("a{M} / ignoring (pod) group_left sum by (namespace) (b{M})", false),
            ("a{M} * on (pod) group_left b{namespace=\"d\"}", false),
            ("a{M} or vector(0)", false),
            ("topk(scalar(b{M}), a{M}) by (pod)", false),
            ("absent(a{M})", false),
            ("label_replace(a{M}, \"pod\", \"x\", \"\", \"\")", false),
            ("a{namespace=\"d\"}", false),
            ("a{M", false),
        ];
        each_row(rows, |(template, separable)| {
            let limited = template.replace('M', r#"namespace="d",pod=~"x|y""#);
            let unlimited = template.replace('M', r#"namespace="d""#);
            let found = is_limited_only_by_names(&limited, &unlimited, "pod", "x|y");
            assert_eq!(found, separable, "{template}");
        });
    }

    #[test]
    fn only_the_matchers_of_names_may_be_missing() {
        let limited = r#"a{namespace="d",pod=~"x|y"}"#;
        for unlimited in
            [r#"a{namespace="e"}"#, "a", r#"b{namespace="d"}"#, r#"a{namespace="d",pod!=""}"#, limited]
        {
            assert!(!is_limited_only_by_names(limited, unlimited, "pod", "x|y"), "{unlimited}");
        }
        // A rule's own matcher of the label stays.
        let limited = r#"a{pod!="",namespace="d",pod=~"x|y"}"#;
        assert!(is_limited_only_by_names(limited, r#"a{pod!="",namespace="d"}"#, "pod", "x|y"));
    }
}
