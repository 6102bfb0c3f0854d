//! Whatever a caller sends, and whatever a rule does with it, a namespaced request selects its own namespace only: over
//! rules of our own that use their fields wherever a rule could, and over every public rule file that is at hand.
//!
//! `ISOLATION_CASES` says how many requests are made of each; it takes a million in some minutes with optimisation.

use std::collections::HashMap;
use std::sync::Arc;

use promql_parser::label::MatchOp;
use promql_parser::parser::{Expr, VectorSelector};
use proptest::prelude::*;
use rules::RuleSet;
use rules::catalog::{Catalog, CustomMatch, Objects, Series};
use rules::resource::{GroupResource, StaticMapper};
use selector::labels::Selector;
use testkit::corpus;

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

#[test]
fn a_request_selects_its_own_namespace() {
    let matches = TEMPLATES.map(matched);
    check(&matches, |plan| plan.name.as_deref() == Some("queue"));
}

#[test]
fn a_request_by_public_rules_selects_its_own_namespace() {
    let Some(dir) = corpus::find() else {
        eprintln!("not run: the corpus of public rule files (../shared/corpus) is not on this machine");
        return;
    };
    let matches: Vec<CustomMatch> = corpus::expected(&dir)
        .iter()
        .flat_map(|expected| {
            let text = std::fs::read_to_string(dir.join(&expected.file)).expect("a readable file");
            rules::load(&text).map_or_else(|_| Vec::new(), |rules| public_matches(&rules, expected))
        })
        .filter(|matched| baseline(matched).iter().any(|own| *own))
        .collect();
    println!("{} public rules use LabelMatchers", matches.len());
    assert!(matches.len() > 150, "only {} public rules are limited to a namespace", matches.len());
    check(&matches, |_| true);
}

/// What a target chooses, the names of its series and of their labels, selects no other series than its own.
#[test]
fn targets_choose_names_without_choosing_queries() {
    let quoting = ["{\"<<.Series>>\",<<.LabelMatchers>>}", "{__name__='<<.Series>>',<<.LabelMatchers>>}"];
    let resources = [
        "template: \"<<.Resource>>\"",
        "template: \"k8s.<<.Resource>>.name\"",
        "overrides: {k8s.namespace.name: {resource: namespace}, \"odd \\\"pod\\\"\": {resource: pod}}",
    ];
    let rules: Vec<(RuleSet, usize)> = TEMPLATES
        .iter()
        .chain(&quoting)
        .flat_map(|template| resources.map(|resources| (template, resources)))
        .map(|(template, resources)| {
            let quoted = template.replace('\'', "''");
            let file = format!(
                "rules:\n- seriesQuery: any\n  resources: {{{resources}}}\n  name: {{as: metric}}\n  metricsQuery: '{quoted}'\n"
            );
            (rules::load(&file).expect("a valid file"), template.matches("<<.Series>>").count().max(1))
        })
        .collect();
    let mapper = StaticMapper::built_in();
    let mut runner = proptest::test_runner::TestRunner::new(ProptestConfig::with_cases(cases() / 8));
    let target = (0..rules.len(), hostile(), prop::collection::vec(hostile(), 0..3), "[a-z]{1,3}", hostile());
    let listed = std::cell::Cell::new(0);
    let outcome = runner.run(&target, |(index, name, labels, namespace, key)| {
        let own = ["namespace", "pod", "k8s.namespace.name", "k8s.pod.name", "odd \"pod\"", "a.b/c-d"];
        let label_names = own.into_iter().chain(labels.iter().map(String::as_str)).map(Into::into).collect();
        let series = [Series { name: name.as_str().into(), label_names }];
        let (rules, selected) = &rules[index];
        let catalog = Catalog::build(rules, &HashMap::from([("any", series.as_slice())]), &mapper);
        let Some(matched) = catalog.custom(&GroupResource::new("", "pods"), "metric") else { return Ok(()) };
        listed.set(listed.get() + 1);
        let keys = Selector::parse(&format!("a.b/c-d=x,{key}")).or_else(|_| Selector::parse("a.b/c-d=x"));
        let selector = keys.expect("a valid selector");
        let objects = Objects { namespace: Some(&namespace), names: &["web-0", "web.1"] };
        let Ok(plan) = matched.plan(&objects, &selector) else { return Ok(()) };
        let promql = &plan.query.promql;
        let tree = plan.query.tree().map_err(|error| TestCaseError::fail(format!("{promql}: {error}")))?;
        let mut selectors = Vec::new();
        collect(&tree, &mut selectors);
        prop_assert_eq!(selectors.len(), *selected, "{} has other selectors", promql);
        for selector in selectors {
            prop_assert!(is_limited_to(selector, &namespace), "{promql} selects beyond {namespace:?}");
            prop_assert!(
                selector
                    .matchers
                    .matchers
                    .iter()
                    .any(|matcher| matcher.name == "a.b/c-d" && matcher.value == "x"),
                "{promql} lost a part of the caller's selector"
            );
            let named = selector.matchers.matchers.iter().find(|matcher| matcher.name == "__name__");
            let found = selector.name.as_ref().or_else(|| {
                named.filter(|matcher| matcher.op == MatchOp::Equal).map(|matcher| &matcher.value)
            });
            prop_assert_eq!(found, Some(&name), "{} selects another series", promql);
        }
        Ok(())
    });
    if let Err(error) = outcome {
        panic!("{error}");
    }
    assert!(listed.get() > cases() / 32, "only {} series made a metric", listed.get());
}

fn cases() -> u32 {
    std::env::var("ISOLATION_CASES").ok().and_then(|text| text.parse().ok()).unwrap_or(4096)
}

/// One namespaced metric of each rule.
fn public_matches(rules: &RuleSet, expected: &corpus::ExpectedFile) -> Vec<CustomMatch> {
    let of_rule = |(rule, expected): (&Arc<rules::Rule>, &corpus::ExpectedRule)| {
        let alone = RuleSet { custom: vec![Arc::clone(rule)], ..RuleSet::default() };
        expected.cases.iter().find_map(|case| {
            let label_names = case.labels.keys().map(|label| label.as_str().into()).collect();
            let series = [Series { name: case.series.as_str().into(), label_names }];
            let discovered = HashMap::from([(&*rule.series_query, series.as_slice())]);
            let catalog = Catalog::build(&alone, &discovered, &StaticMapper::built_in());
            let entry = catalog.custom_resources().find(|entry| entry.namespaced)?;
            catalog.custom(entry.resource, entry.metric)
        })
    };
    rules.custom.iter().zip(&expected.rules).filter_map(of_rule).collect()
}

/// Which selectors of a rule's query are limited to the namespace; others are the rule's own, the same in every
/// request.
fn baseline(matched: &CustomMatch) -> Vec<bool> {
    let objects = Objects { namespace: Some("some-namespace"), names: &["some-name"] };
    let Ok(plan) = matched.plan(&objects, &Selector::everything()) else { return Vec::new() };
    let Ok(tree) = plan.query.tree() else { return Vec::new() };
    let mut selectors = Vec::new();
    collect(&tree, &mut selectors);
    selectors.iter().map(|selector| is_limited_to(selector, "some-namespace")).collect()
}

fn is_limited_to(selector: &VectorSelector, namespace: &str) -> bool {
    selector.matchers.or_matchers.is_empty()
        && selector.matchers.matchers.iter().any(|matcher| {
            matcher.op == MatchOp::Equal && matcher.value == namespace && matcher.name.contains("namespace")
        })
}

/// Makes requests of every kind to these metrics.
fn check(matches: &[CustomMatch], is_own_series: impl Fn(&VectorSelector) -> bool) {
    let baselines: Vec<Vec<bool>> = matches.iter().map(baseline).collect();
    let mut runner = proptest::test_runner::TestRunner::new(ProptestConfig::with_cases(cases()));
    let request = (
        0..matches.len(),
        hostile(),
        prop::collection::vec(hostile(), 1..4),
        // Now and then enough for a query to leave them out.
        prop_oneof![9 => Just(0), 1 => 100..200usize],
        prop::collection::vec((hostile(), 0..6usize, hostile()), 0..3),
    );
    let outcome = runner.run(&request, |(index, namespace, mut names, more, selector)| {
        let text: Vec<String> =
            selector.iter().map(|(key, operator, value)| requirement(key, *operator, value)).collect();
        let Ok(selector) = Selector::parse(&text.join(",")) else { return Ok(()) };
        names.extend((0..more).map(|number| format!("web-{number}")));
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let objects = Objects { namespace: Some(&namespace), names: &names };
        let Ok(plan) = matches[index].plan(&objects, &selector) else { return Ok(()) };
        prop_assert!(selector::names::is_dns_label(&namespace), "{namespace:?} reached a query");
        prop_assert!(
            names.iter().all(|name| selector::names::is_dns_subdomain(name)),
            "{names:?} reached a query"
        );
        let promql = &plan.query.promql;
        let tree = plan.query.tree().map_err(|error| TestCaseError::fail(format!("{promql}: {error}")))?;
        let mut selectors = Vec::new();
        collect(&tree, &mut selectors);
        prop_assert_eq!(selectors.len(), baselines[index].len(), "{} has other selectors", promql);
        for (selector, limited) in selectors.into_iter().zip(&baselines[index]) {
            prop_assert!(
                !limited || is_limited_to(selector, &namespace),
                "{promql} selects beyond {namespace:?}"
            );
            prop_assert!(is_own_series(selector), "{promql} selects another series");
        }
        Ok(())
    });
    if let Err(error) = outcome {
        panic!("{error}");
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
