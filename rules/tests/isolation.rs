//! Whatever a caller sends, and whatever a rule does with it, a namespaced request selects its own namespace only.

use std::collections::HashMap;

use promql_parser::label::MatchOp;
use promql_parser::parser::{Expr, VectorSelector};
use proptest::prelude::*;
use rules::catalog::{Catalog, CustomMatch, Objects, Series};
use rules::resource::{GroupResource, StaticMapper};
use rules::selector::Selector;

/// Templates that use their fields in every place where a rule could: inside the braces first, last, alone, inside
/// quotes of each kind.
const TEMPLATES: [&str; 6] = [
    "<<.Series>>{<<.LabelMatchers>>}",
    "sum(rate(<<.Series>>{a=\"b\",<<.LabelMatchers>>}[2m])) by (<<.GroupBy>>)",
    "<<.Series>>{<<.LabelMatchers>>,x=~\"<<index .LabelValuesByName \"pod\">>\"}",
    "<<.Series>>{<<.LabelMatchers>>,x=~'<<index .LabelValuesByName \"pod\">>',y='<<index .LabelValuesByName \"k\">>'}",
    "<<.Series>>{<<.LabelMatchers>>,x=`<<index .LabelValuesByName \"namespace\">>`} * on() <<.Series>>{<<.LabelMatchers>>}",
    "<<range .GroupBySlice>>avg(<<$.Series>>{<<$.LabelMatchers>>}) by (<<.>>)<<end>>",
];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4096))]

    #[test]
    fn a_request_selects_its_own_namespace(
        template in 0..TEMPLATES.len(),
        namespace in hostile(),
        names in prop::collection::vec(hostile(), 1..4),
        selector in prop::collection::vec((hostile(), 0..6usize, hostile()), 0..3),
    ) {
        let matched = matched(TEMPLATES[template]);
        let text: Vec<String> = selector.iter().map(|(key, operator, value)| requirement(key, *operator, value)).collect();
        let Ok(selector) = Selector::parse(&text.join(",")) else { return Ok(()) };
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let objects = Objects { namespace: Some(&namespace), names: &names };
        let Ok(plan) = matched.plan(&objects, &selector) else { return Ok(()) };
        prop_assert!(rules::kubernetes::is_dns_label(&namespace), "{namespace:?} reached a query");
        prop_assert!(names.iter().all(|name| rules::kubernetes::is_dns_subdomain(name)), "{names:?} reached a query");
        let tree = plan.query.tree().map_err(|error| TestCaseError::fail(format!("{}: {error}", plan.query.promql)))?;
        let mut selectors = Vec::new();
        collect(&tree, &mut selectors);
        prop_assert!(!selectors.is_empty());
        for selector in selectors {
            let own = selector.matchers.matchers.iter().any(|matcher| {
                matcher.name == "namespace" && matcher.op == MatchOp::Equal && matcher.value == namespace
            });
            prop_assert!(own, "{} selects beyond {namespace:?}", plan.query.promql);
            prop_assert_eq!(selector.name.as_deref(), Some("queue"), "{}", plan.query.promql);
        }
    }
}

/// Names as they are and as somebody would bend them.
fn hostile() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => "[a-z0-9]([a-z0-9.-]{0,8}[a-z0-9])?",
        2 => "[a-z0-9\"'`{}|.*+,=~\\\\ \n()\\[\\]-]{0,12}",
        1 => prop::sample::select(vec![
            "namespace", "pod", "k", "a\"} or up{x=\"", ".*", "a|b", "..", "*", "__name__", "\\", "a\\.b",
        ]).prop_map(str::to_owned),
        1 => any::<String>(),
    ]
}

fn requirement(key: &str, operator: usize, value: &str) -> String {
    match operator {
        0 => format!("{key}={value}"),
        1 => format!("{key}!={value}"),
        2 => format!("{key} in ({value},x)"),
        3 => format!("{key} notin ({value})"),
        4 => key.to_owned(),
        _ => format!("!{key}"),
    }
}

fn matched(template: &str) -> CustomMatch {
    let quoted = template.replace('\'', "''");
    let file = format!(
        "rules:\n- seriesQuery: queue\n  resources: {{overrides: {{namespace: {{resource: namespace}}, pod: {{resource: \
         pod}}}}}}\n  metricsQuery: '{quoted}'\n"
    );
    let rules = rules::load(&file).expect("a valid file");
    let series = [Series { name: "queue".into(), label_names: ["namespace".into(), "pod".into()].into() }];
    let discovered = HashMap::from([("queue", series.as_slice())]);
    let catalog = Catalog::build(&rules, &discovered, &StaticMapper::built_in());
    catalog.custom(&GroupResource::new("", "pods"), "queue").expect("the metric is there")
}

fn collect<'a>(expr: &'a Expr, selectors: &mut Vec<&'a VectorSelector>) {
    match expr {
        Expr::VectorSelector(selector) => selectors.push(selector),
        Expr::MatrixSelector(selector) => selectors.push(&selector.vs),
        Expr::Aggregate(aggregate) => collect(&aggregate.expr, selectors),
        Expr::Unary(unary) => collect(&unary.expr, selectors),
        Expr::Binary(binary) => {
            collect(&binary.lhs, selectors);
            collect(&binary.rhs, selectors);
        }
        Expr::Paren(paren) => collect(&paren.expr, selectors),
        Expr::Subquery(subquery) => collect(&subquery.expr, selectors),
        Expr::Call(call) => call.args.args.iter().for_each(|argument| collect(argument, selectors)),
        Expr::NumberLiteral(_) | Expr::StringLiteral(_) | Expr::Extension(_) => {}
    }
}
