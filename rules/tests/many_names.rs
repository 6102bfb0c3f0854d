//! D41: hundreds of names are left out of a query that gives each object the same samples without them, and only of
//! that.

use std::collections::HashMap;

use rules::catalog::{Catalog, Objects, Series};
use rules::plan::PlanError;
use rules::resource::{GroupResource, StaticMapper};
use selector::labels::Selector;
use testkit::rows::each_row;

const RULES: &str = r#"
rules:
- seriesQuery: 'depth'
  resources: {overrides: {namespace: {resource: namespace}, pod: {resource: pod}, node: {resource: node}}}
  metricsQuery: 'sum(rate(<<.Series>>{<<.LabelMatchers>>}[2m])) by (<<.GroupBy>>)'
- seriesQuery: 'share'
  resources: {overrides: {namespace: {resource: namespace}, pod: {resource: pod}}}
  metricsQuery: '<<.Series>>{<<.LabelMatchers>>} / scalar(sum(<<.Series>>{<<.LabelMatchers>>}))'
- seriesQuery: 'pasted'
  resources: {overrides: {namespace: {resource: namespace}, pod: {resource: pod}}}
  metricsQuery: '<<.Series>>{pod=~"<<index .LabelValuesByName "pod">>",<<.LabelMatchers>>}'
"#;

fn promql(
    metric: &str,
    resource: &str,
    namespace: Option<&str>,
    names: &[String],
) -> Result<String, PlanError> {
    let rules = rules::load(RULES).expect("valid rules");
    let series = ["depth", "share", "pasted"].map(|name| {
        vec![Series { name: name.into(), label_names: ["namespace", "pod", "node"].map(Into::into).into() }]
    });
    let discovered: HashMap<&str, &[Series]> =
        rules.series_queries().zip(&series).map(|(query, series)| (&**query, series.as_slice())).collect();
    let catalog = Catalog::build(&rules, &discovered, &StaticMapper::built_in());
    let resource = GroupResource::new("", resource);
    let matched = catalog.custom(&resource, metric).expect("a metric");
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let plan = matched.plan(&Objects { namespace, names: &names }, &Selector::everything())?;
    Ok(plan.query.promql)
}

fn names(count: usize) -> Vec<String> {
    (0..count).map(|number| format!("web-{number}.x")).collect()
}

#[test]
fn many_names_are_left_to_the_join() {
    let all = r#"sum(rate(depth{namespace="d"}[2m])) by (pod)"#;
    assert_eq!(promql("depth", "pods", Some("d"), &names(101)).as_deref(), Ok(all));
    // Few, but long.
    let long: Vec<String> = (0..40).map(|number| format!("{}-{number}", ["a"; 210].concat())).collect();
    assert_eq!(promql("depth", "pods", Some("d"), &long).as_deref(), Ok(all));
    let nodes = promql("depth", "nodes", None, &names(500));
    assert_eq!(nodes.as_deref(), Ok("sum(rate(depth{}[2m])) by (node)"));
}

#[test]
fn few_names_are_asked_for() {
    let query = promql("depth", "pods", Some("d"), &names(100)).expect("a plan");
    assert!(query.contains(r#",pod=~"web-0\\.x|web-1\\.x|"#), "{query}");
    let one = promql("depth", "pods", Some("d"), &names(1));
    assert_eq!(one.as_deref(), Ok(r#"sum(rate(depth{namespace="d",pod="web-0.x"}[2m])) by (pod)"#));
}

#[test]
fn names_that_the_answer_depends_on_stay() {
    each_row(["share", "pasted"], |metric| {
        let query = promql(metric, "pods", Some("d"), &names(300)).expect("a plan");
        assert!(query.contains(r"web-299\\.x"), "{metric}: {query}");
    });
}

#[test]
fn a_hostile_name_among_many_makes_no_query() {
    let mut names = names(300);
    names[200] = r#"x"} or y{"#.to_owned();
    let error = promql("depth", "pods", Some("d"), &names);
    assert!(matches!(error, Err(PlanError::NotAKubernetesName { what: "name", .. })), "{error:?}");
}
