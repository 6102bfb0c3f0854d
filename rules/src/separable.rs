//! Whether a query may leave out which objects it is about, because what is asked for can be picked from the answer:
//! hundreds of names make a regular expression that is slow to match and a URL that proxies refuse (D41), and callers
//! that ask for other objects can share an answer (D85). That is so only where each object's samples depend on no
//! other object's series, which is proven here from the query's tree.

use promql_parser::label::{MatchOp, Matcher};
use promql_parser::parser::{BinModifier, Expr, LabelModifier, VectorSelector};

/// A label that tells objects apart, and the pattern of the matcher that limits a query to some of them.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limit<'a> {
    pub(crate) label: &'a str,
    pub(crate) pattern: &'a str,
}

/// Whether `limited`, a query for the objects that the limits name together, gives each of them the same samples when
/// the limits' matchers are left out, and whether `unlimited` is that query.
pub(crate) fn is_limited_only_by(limits: &[Limit<'_>], limited: &str, unlimited: &str) -> bool {
    let (Ok(mut limited), Ok(unlimited)) = (promql::parse(limited), promql::parse(unlimited)) else {
        return false;
    };
    let objects = Objects(limits);
    objects.separate(&limited) && {
        objects.forget(&mut limited);
        limited == unlimited
    }
}

/// The objects of a query. Two samples are of one object if they agree in every label of the limits.
struct Objects<'a>(&'a [Limit<'a>]);

impl Limit<'_> {
    fn is(&self, matcher: &Matcher) -> bool {
        matcher.name == self.label && matcher.value == self.pattern && matches!(matcher.op, MatchOp::Re(_))
    }
}

impl Objects<'_> {
    /// Whether each sample depends only on series of the same object.
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
            && self.0.iter().all(|limit| selector.matchers.matchers.iter().any(|matcher| limit.is(matcher)))
    }

    /// Whether groups are of one object each.
    fn keeps(&self, modifier: Option<&LabelModifier>) -> bool {
        let holds = |labels: &[String], limit: &Limit<'_>| labels.iter().any(|label| label == limit.label);
        match modifier {
            Some(LabelModifier::Include(labels)) => self.0.iter().all(|limit| holds(&labels.labels, limit)),
            Some(LabelModifier::Exclude(labels)) => !self.0.iter().any(|limit| holds(&labels.labels, limit)),
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
        selector.matchers.matchers.retain(|matcher| !self.0.iter().any(|limit| limit.is(matcher)));
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

    const PODS: [Limit<'_>; 1] = [Limit { label: "pod", pattern: "x|y" }];
    const PODS_OF_NAMESPACES: [Limit<'_>; 2] = [Limit { label: "namespace", pattern: "m|n" }, PODS[0]];

    /// Every row: a query for `M`, whether it may leave out the pods' names, and whether the namespaces' as well.
    const QUERIES: [(&str, bool, bool); 37] = [
        ("depth{M}", true, true),
        ("sum(rate(a_total{M}[2m])) by (pod)", true, false),
        ("sum(rate(a_total{M}[2m])) by (namespace, pod)", true, true),
        ("sum by (namespace, pod, path) (rate(a_total{M}[2m]))", true, true),
        ("sum by (pod) (rate(a_sum{M}[2m])) / sum by (pod) (rate(a_count{M}[2m]))", true, false),
        ("sum by (pod, namespace) (a{M}) / sum by (namespace, pod) (b{M})", true, true),
        ("rate(a_sum{M}[2m]) / rate(a_count{M}[2m])", true, true),
        ("a{M} * on (namespace, pod) group_left (node) b{M}", true, true),
        ("a{M} * on (pod) group_left (node) b{M}", true, false),
        ("a{M} / ignoring (code) group_right b{M}", true, true),
        ("a{M} / ignoring (namespace) b{M}", true, false),
        ("sum(a{M}) without (container)", true, true),
        ("sum(a{M}) without (namespace)", true, false),
        ("topk(1, a{M}) by (pod)", true, false),
        ("topk(1, a{M}) by (pod, namespace)", true, true),
        ("histogram_quantile(0.9, sum by (pod, le) (rate(a_bucket{M}[5m])))", true, false),
        ("histogram_quantile(0.9, sum by (namespace, pod, le) (rate(a_bucket{M}[5m])))", true, true),
        ("max_over_time(sum by (namespace, pod) (a{M})[10m:1m])", true, true),
        ("-(a{M} + 1) * 100 > bool 5", true, true),
        // One object's sample depends on the others, or on what no name limits.
        ("sum(a{M})", false, false),
        ("sum(a{M}) by (namespace)", false, false),
        ("sum(a{M}) without (pod)", false, false),
        ("count_values by (namespace, pod) (\"pod\", a{M})", false, false),
        ("a{M} / scalar(sum(a{M}))", false, false),
        ("a{M} / on (namespace) group_left sum by (namespace) (a{M})", false, false),
        ("a{M} / ignoring (pod) group_left sum by (namespace) (b{M})", false, false),
        ("a{M} * on (pod) group_left b{namespace=~\"m|n\"}", false, false),
        ("a{M} * on (namespace, pod) group_left b{pod=~\"x|y\"}", false, false),
        ("a{M} or vector(0)", false, false),
        ("topk(scalar(b{M}), a{M}) by (namespace, pod)", false, false),
        ("absent(a{M})", false, false),
        ("label_replace(a{M}, \"pod\", \"x\", \"\", \"\")", false, false),
        ("label_replace(a{M}, \"namespace\", \"m\", \"\", \"\")", false, false),
        ("a{target=~\"m|n\",M}", true, true),
        ("a{namespace=~\"m|n\"}", false, false),
        ("time()", false, false),
        ("a{M", false, false),
    ];

    #[test]
    fn names_may_be_left_out_where_each_objects_samples_depend_on_its_series_alone() {
        each_row(QUERIES, |(template, pods, _)| {
            let limited = template.replace('M', r#"namespace="d",pod=~"x|y""#);
            let unlimited = template.replace('M', r#"namespace="d""#);
            assert_eq!(is_limited_only_by(&PODS, &limited, &unlimited), pods, "{template}");
        });
    }

    #[test]
    fn namespaces_may_be_left_out_with_the_names_where_a_query_keeps_both_labels() {
        each_row(QUERIES, |(template, _, both)| {
            let limited = template.replace('M', r#"namespace=~"m|n",pod=~"x|y""#);
            let unlimited = template.replace('M', "");
            assert_eq!(is_limited_only_by(&PODS_OF_NAMESPACES, &limited, &unlimited), both, "{template}");
        });
    }

    #[test]
    fn only_the_matchers_of_names_may_be_missing() {
        let limited = r#"a{namespace="d",pod=~"x|y"}"#;
        for unlimited in
            [r#"a{namespace="e"}"#, "a", r#"b{namespace="d"}"#, r#"a{namespace="d",pod!=""}"#, limited]
        {
            assert!(!is_limited_only_by(&PODS, limited, unlimited), "{unlimited}");
        }
        // A rule's own matcher of the label stays.
        let limited = r#"a{pod!="",namespace="d",pod=~"x|y"}"#;
        assert!(is_limited_only_by(&PODS, limited, r#"a{pod!="",namespace="d"}"#));
    }
}
