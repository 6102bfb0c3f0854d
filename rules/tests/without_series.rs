//! Rules that stay listed without series, beside rules and series that exist.

use std::collections::HashMap;

use rules::catalog::{Catalog, Series};
use rules::resource::{GroupResource, StaticMapper};
use rules::{RuleSet, load};

/// Two rules for one metric: the first stays listed without series, the second does not.
fn rules(section: &str) -> RuleSet {
    let resources = "{overrides: {namespace: {resource: namespace}, pod: {resource: pod}}}";
    let text = format!(
        "{section}:\n\
         - {{seriesQuery: new, name: {{as: load}}, resources: {resources}, onEmpty: zero, metricsQuery: 'new{{<<.LabelMatchers>>}}'}}\n\
         - {{seriesQuery: old, name: {{as: load}}, resources: {resources}, metricsQuery: 'old{{<<.LabelMatchers>>}}'}}\n"
    );
    load(&text).expect("valid rules")
}

fn catalog(rules: &RuleSet, listed: &[(&str, &[&str])]) -> Catalog {
    let series: Vec<(&str, [Series; 1])> = listed
        .iter()
        .map(|(name, labels)| {
            let label_names = labels.iter().map(|label| (*label).into()).collect();
            (*name, [Series { name: (*name).into(), label_names }])
        })
        .collect();
    let mut discovered: HashMap<&str, &[Series]> =
        rules.series_queries().map(|query| (&**query, &[][..])).collect();
    discovered.extend(series.iter().map(|(name, series)| (*name, &series[..])));
    Catalog::build(rules, &discovered, &StaticMapper::built_in())
}

/// The rule that answers for pods, and whether it has series.
fn of_pods(catalog: &Catalog) -> Option<(String, bool)> {
    let matched = catalog.custom(&GroupResource::new("", "pods"), "load")?;
    Some((matched.origin().rule().to_string(), matched.origin().has_series()))
}

#[test]
fn a_rule_with_series_answers_before_an_earlier_one_without() {
    let rules = rules("rules");
    let both: &[&str] = &["namespace", "pod"];
    let old = catalog(&rules, &[("old", both)]);
    assert_eq!(of_pods(&old), Some(("rules[1]".to_owned(), true)));
    assert!(old.warnings().is_empty(), "{:?}", old.warnings());
    let new = catalog(&rules, &[("new", both), ("old", both)]);
    assert_eq!(of_pods(&new), Some(("rules[0]".to_owned(), true)));
    let neither = catalog(&rules, &[]);
    assert_eq!(of_pods(&neither), Some(("rules[0]".to_owned(), false)));
    assert_eq!(neither.rule_stats().iter().map(|(_, counts)| counts.metrics).collect::<Vec<_>>(), [2, 0]);
}

#[test]
fn an_external_rule_with_series_answers_before_an_earlier_one_without() {
    let rules = rules("externalRules");
    let maker =
        |catalog: &Catalog| catalog.external("load").map(|matched| matched.origin().rule().to_string());
    assert_eq!(maker(&catalog(&rules, &[("old", &["namespace"])])).as_deref(), Some("externalRules[1]"));
    assert_eq!(maker(&catalog(&rules, &[])).as_deref(), Some("externalRules[0]"));
}

/// A label that an override names and no series carries is a slip of the rule.
#[test]
fn series_that_exist_say_which_resources_have_the_metric() {
    let catalog = catalog(&rules("rules"), &[("new", &["namespace"])]);
    assert_eq!(of_pods(&catalog), None);
    assert_eq!(catalog.custom_count(), 1);
}

#[test]
fn a_rule_whose_series_were_never_listed_waits_for_them() {
    let nothing = Catalog::build(&rules("rules"), &HashMap::new(), &StaticMapper::built_in());
    assert_eq!(of_pods(&nothing), None);
}
