//! `load_valid`: a rule with a fault is left out, and the others keep their place in the file. And what a match knows
//! of its series and its template.

use std::collections::HashMap;

use rules::catalog::{Catalog, Ignored, Objects, Series};
use rules::policy::{OnEmpty, OnNan};
use rules::resource::{GroupResource, StaticMapper};
use rules::{RuleSet, load, load_valid};
use selector::labels::Selector;
use testkit::rows::each_row;

const GOOD: &str = "
- seriesQuery: depth
  resources: {overrides: {namespace: {resource: namespace}, pod: {resource: pod}}}
  metricsQuery: 'max(<<.Series>>{<<.LabelMatchers>>}) by (<<.GroupBy>>)'
";

/// Two good rules around the one given.
fn around(bad: &str) -> String {
    format!("rules:{GOOD}{bad}{GOOD}externalRules:{GOOD}")
}

fn custom(rules: &RuleSet) -> Vec<String> {
    rules.custom.iter().map(|rule| rule.id.to_string()).collect()
}

#[test]
fn a_rule_with_a_fault_is_left_out_and_the_others_keep_their_place() {
    let rows = [
        ("- {seriesQuery: a, metricsQuery: a, name: {matches: '('}}\n", "rules[1].name.matches"),
        ("- {seriesQuery: a, metricsQuery: 'x<<'}\n", "rules[1].metricsQuery"),
        ("- {seriesQuery: a, metricsQuery: a, colour: blue}\n", "rules[1]"),
        ("- {seriesQuery: [a], metricsQuery: a}\n", "rules[1].seriesQuery"),
        ("- {seriesQuery: '', metricsQuery: a}\n", "rules[1].seriesQuery"),
        ("- {seriesQuery: a, metricsQuery: a, onNaN: one}\n", "rules[1].onNaN"),
        ("- {seriesQuery: a, metricsQuery: a, seriesFilters: [{}]}\n", "rules[1].seriesFilters[0]"),
        ("- no rule\n", "rules[1]"),
    ];
    each_row(rows, |(bad, fault)| {
        let text = around(bad);
        let faults = load(&text).expect_err(bad);
        assert!(faults.iter().all(|fault_found| fault_found.path == fault), "{bad}: {faults}");
        let rules = load_valid(&text).expect("two rules are good");
        assert_eq!(custom(&rules), ["rules[0]", "rules[2]"], "{bad}");
        assert_eq!(rules.external.len(), 1, "{bad}");
        let [(id, refused)] = rules.refused.as_slice() else { panic!("{bad}: {:?}", rules.refused) };
        assert_eq!((id.to_string().as_str(), refused), ("rules[1]", &faults), "{bad}");
    });
}

#[test]
fn a_fault_of_resource_rules_leaves_them_out_whole() {
    let text = format!("rules:{GOOD}resourceRules: {{cpu: {{}}, memory: {{}}, window: soon}}\n");
    let rules = load_valid(&text).expect("one rule is good");
    assert!(rules.resource.is_none() && custom(&rules) == ["rules[0]"]);
    assert_eq!(rules.refused.len(), 1, "{:?}", rules.refused);
}

#[test]
fn a_fault_of_the_file_refuses_it_whole() {
    let rows = [
        format!("rules:{GOOD}extra: 1\n"),
        format!("rules:{GOOD}externalRules: 3\n"),
        format!("rules:{GOOD}  seriesQuery: again\n"),
        "rules: [".to_owned(),
        "- seriesQuery: a\n".to_owned(),
    ];
    each_row(rows, |text| {
        let faults = load_valid(&text).expect_err(&text);
        assert_eq!(faults, load(&text).expect_err(&text), "{text}");
    });
}

#[test]
fn a_valid_file_loads_alike_in_both_ways() {
    let text = around("");
    let (strict, lenient) = (load(&text).expect("valid"), load_valid(&text).expect("valid"));
    assert_eq!(format!("{strict:?}"), format!("{lenient:?}"));
}

fn catalog(rules: &str) -> Catalog {
    let rules = load(rules).expect("valid rules");
    let series = |labels: &[&str]| Series {
        name: "depth".into(),
        label_names: labels.iter().map(|label| (*label).into()).collect(),
    };
    let listed = [series(&["pod", "topic"]), series(&["namespace", "pod"])];
    let discovered: HashMap<&str, &[Series]> = HashMap::from([("depth", &listed[..])]);
    Catalog::build(&rules, &discovered, &StaticMapper::built_in())
}

#[test]
fn what_a_query_does_not_depend_on_is_known() {
    let objects = Objects { namespace: Some("default"), names: &["a", "b"] };
    let selector = Selector::parse("topic=x").expect("valid");
    let rows = [
        ("max(depth{<<.LabelMatchers>>}) by (pod)", Ignored::default()),
        ("max(depth) by (pod)", Ignored { namespace: true, selector: true }),
        (
            "max(depth{namespace=\"<<index .LabelValuesByName \"namespace\">>\"}) by (pod)",
            Ignored { namespace: false, selector: true },
        ),
    ];
    each_row(rows, |(query, expected)| {
        let file = format!(
            "rules:\n- &rule\n  seriesQuery: depth\n  resources: {{overrides: {{namespace: {{resource: namespace}}, pod: \
             {{resource: pod}}}}}}\n  metricsQuery: '{query}'\nexternalRules: [*rule]\n"
        );
        let catalog = catalog(&file);
        let custom = catalog.custom(&GroupResource::new("", "pods"), "depth").expect("a metric of pods");
        assert_eq!(custom.ignored(&objects, &selector), expected, "{query}");
        let external = catalog.external("depth").expect("an external metric");
        assert_eq!(external.ignored("default", &selector), expected, "{query}");
        let nothing = Selector::everything();
        assert!(!external.ignored("default", &nothing).selector, "{query}");
    });
}

#[test]
fn a_match_knows_every_label_of_its_series() {
    let catalog = catalog(&format!("rules:{GOOD}externalRules:{GOOD}"));
    let custom = catalog.custom(&GroupResource::new("", "pods"), "depth").expect("a metric of pods");
    let external = catalog.external("depth").expect("an external metric");
    each_row([custom.origin().labels(), external.origin().labels()], |labels| {
        assert_eq!(labels.iter().map(|label| &**label).collect::<Vec<_>>(), ["namespace", "pod", "topic"]);
    });
    assert_eq!(external.namespace_label(), Some("namespace"));
}

#[test]
fn the_example_of_the_docs_is_valid() {
    let page = include_str!("../../docs/rules.md");
    let blocks = page.split("```yaml\n").skip(1).filter_map(|block| Some(block.split_once("```")?.0));
    let example = blocks.into_iter().find(|block| block.contains("onEmpty")).expect("an example of onEmpty");
    let rules = load(example).unwrap_or_else(|faults| panic!("{faults}"));
    assert!(rules.warnings.is_empty(), "{:?}", rules.warnings);
    assert_eq!(
        (rules.custom[0].policy.on_nan, rules.external[0].policy.on_empty),
        (OnNan::Missing, OnEmpty::Zero)
    );
}
