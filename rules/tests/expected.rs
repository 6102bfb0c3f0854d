//! What the real prometheus-adapter's own code made of rule files from public repositories, compared with what we make.
//!
//! The files are other people's, so they are not in this repository; where they are not at hand the test says so in
//! one line. What they teach is re-expressed in `tests/cases`. The report is written to `target/reports`.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::sync::Arc;

use rules::catalog::{Catalog, Objects, Series};
use rules::plan::{self, PlanError};
use rules::resource::{GroupResource, ResourceMapper as _, StaticMapper};
use rules::usage::ResourceRules;
use rules::{Rule, RuleSet, Section};
use selector::labels::Selector;
use sha2::{Digest as _, Sha256};
use testkit::corpus::{self, Case, ExpectedFile, Query, ResourceQuery};

#[test]
fn rules_equal_upstreams() {
    let Some(corpus) = corpus::find() else {
        eprintln!("not run: the corpus of public rule files (../shared/corpus) is not on this machine");
        return;
    };
    let mut report = Report::default();
    let resource_queries = corpus::resource_queries();
    for expected in corpus::expected(&corpus) {
        compare_file(&corpus, &expected, &resource_queries, &mut report);
    }
    report.write();
    assert!(report.unexplained.is_empty(), "{}", report.unexplained.join("\n"));
    assert!(report.compared > 1000, "only {} comparisons: the corpus is not whole", report.compared);
}

/// Counts of comparisons, by outcome.
#[derive(Default)]
struct Report {
    compared: usize,
    equal: usize,
    deviations: BTreeMap<&'static str, usize>,
    unexplained: Vec<String>,
}

impl Report {
    /// One comparison; `deviation` names the number of a deliberate difference that explains this one.
    fn compare<T: PartialEq + std::fmt::Debug>(
        &mut self,
        place: &str,
        expected: &T,
        found: &T,
        deviation: impl FnOnce() -> Option<&'static str>,
    ) {
        self.compared += 1;
        if expected == found {
            self.equal += 1;
        } else if let Some(number) = deviation() {
            *self.deviations.entry(number).or_default() += 1;
        } else {
            self.unexplained.push(format!("{place}\n  upstream: {expected:?}\n  ours:     {found:?}"));
        }
    }

    fn write(&self) {
        let deviations: usize = self.deviations.values().sum();
        println!("compared {}, equal {}, deviations {deviations}", self.compared, self.equal);
        for (number, count) in &self.deviations {
            println!("  {number}: {count}");
        }
        println!("unexplained {}", self.unexplained.len());
        let json = serde_json::json!({
            "compared": self.compared,
            "equal": self.equal,
            "deviations": self.deviations,
            "unexplained": self.unexplained.len(),
        });
        let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/reports");
        std::fs::create_dir_all(&dir).expect("target can be written");
        std::fs::write(dir.join("expected.json"), format!("{json:#}\n")).expect("target can be written");
    }
}

fn compare_file(
    corpus: &Path,
    expected: &ExpectedFile,
    resource_queries: &[ResourceQuery],
    report: &mut Report,
) {
    let text = std::fs::read_to_string(corpus.join(&expected.file)).expect("a file of the index");
    let loaded = rules::load(&text);
    if let Err(faults) = &loaded {
        // Every fault has its place.
        assert!(faults.iter().all(|fault| fault.line > 0 && fault.column > 0), "{}: {faults}", expected.file);
    }
    report.compare(
        &format!("{}: loads ({:?}; ours: {:?})", expected.file, expected.error, loaded.as_ref().err()),
        &expected.loads,
        &loaded.is_ok(),
        || load_deviation(expected, &loaded),
    );
    if !expected.loads {
        return;
    }
    let Ok(rules) = loaded else { return };
    report.compare(
        &format!("{}: number of custom rules", expected.file),
        &expected.rules.len(),
        &rules.custom.len(),
        || None,
    );
    for (expected_rule, rule) in expected.rules.iter().zip(&rules.custom) {
        let place = format!("{} {}", expected.file, rule.id);
        report.compare(&place, &expected_rule.series_query, &rule.series_query.to_string(), || None);
        for case in &expected_rule.cases {
            compare_case(&place, &rules, rule.id.index, case, report);
        }
    }
    report.compare(
        &format!("{}: number of external rules", expected.file),
        &expected.external_rules.len(),
        &rules.external.len(),
        || None,
    );
    for (expected_rule, rule) in expected.external_rules.iter().zip(&rules.external) {
        let place = format!("{} {}", expected.file, rule.id);
        report.compare(&place, &expected_rule.series_query, &rule.series_query.to_string(), || None);
        for case in &expected_rule.cases {
            compare_external(&place, rule, case, report);
        }
    }
    let place = format!("{}: resource rules", expected.file);
    report.compare(&place, &expected.resource_rules, &rules.resource.is_some(), || None);
    if let Some(resource) = &rules.resource {
        let queries: Vec<_> = resource_queries.iter().filter(|query| query.file == expected.file).collect();
        assert!(!queries.is_empty(), "{place}: expected queries of upstream, found none");
        for query in queries {
            compare_resource_query(&place, resource, query, report);
        }
    }
}

/// Upstream's query is known by its digest, so a query that differs by the escapes of D15 or the quotes of D42 is known
/// by that of its text without them.
fn compare_resource_query(place: &str, rules: &ResourceRules, expected: &ResourceQuery, report: &mut Report) {
    let place = format!("{place}: {expected:?}");
    let queries = if expected.resource == "cpu" { &rules.cpu } else { &rules.memory };
    let names: Vec<&str> = expected.names.iter().map(String::as_str).collect();
    let mapper = StaticMapper::built_in();
    let plan = if expected.namespace.is_empty() {
        queries.nodes(&mapper, &names)
    } else {
        queries.pods(&mapper, &expected.namespace, &names)
    };
    let Ok(plan) = plan else {
        report.compare(&place, &expected.query.is_empty(), &true, || None);
        return;
    };
    let labels: Vec<String> = [Some(plan.object_label), plan.container_label]
        .into_iter()
        .flatten()
        .map(|label| label.to_string())
        .collect();
    report.compare(&format!("{place}: labels"), &expected.labels, &labels, || None);
    let found = plan.query.promql;
    report.compare(&format!("{place}: {found}"), &expected.query, &digest(&found), || {
        let without_escapes = without_escapes(&found);
        if digest(&without_escapes) == expected.query {
            return Some("D15");
        }
        // Upstream writes a label without the quotes that it needs.
        let bare = |text: String, label: &String| text.replace(&format!("{label:?}"), label);
        (digest(&expected.labels.iter().fold(without_escapes, bare)) == expected.query).then_some("D42")
    });
}

fn digest(text: &str) -> String {
    use std::fmt::Write as _;
    Sha256::digest(text).iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

fn compare_external(place: &str, rule: &Arc<Rule>, case: &Case, report: &mut Report) {
    let place = format!("{place} {}", case.series);
    let name = rule.metric_of(&case.series);
    report.compare(&format!("{place}: filtered out"), &case.filtered_out, &name.is_none(), || None);
    if case.filtered_out {
        return;
    }
    report.compare(&format!("{place}: name"), &case.name, &name, || None);
    let Some(name) = name else { return };
    let alone = RuleSet { external: vec![Arc::clone(rule)], ..RuleSet::default() };
    let series = [series_of(case)];
    let discovered = HashMap::from([(&*rule.series_query, series.as_slice())]);
    let catalog = Catalog::build(&alone, &discovered, &StaticMapper::built_in());
    let listed = catalog.external(&name);
    report.compare(&format!("{place}: listed"), &!name.is_empty(), &listed.is_some(), || {
        case.series.contains('-').then_some("D42")
    });
    let Some(matched) = listed else { return };
    for query in &case.queries {
        let place = format!("{place}: {query:?}");
        let selector = query.selector.as_deref().unwrap_or_default();
        let plan = matched.plan(&query.namespace, &Selector::parse(selector).expect("a valid selector"));
        compare_query(&place, (&case.series, query), plan, report);
    }
}

fn series_of(case: &Case) -> Series {
    Series {
        name: case.series.as_str().into(),
        label_names: case.labels.keys().map(|label| label.as_str().into()).collect(),
    }
}

/// Files that one side takes and the other refuses, on purpose.
fn load_deviation(expected: &ExpectedFile, loaded: &Result<RuleSet, rules::Faults>) -> Option<&'static str> {
    let error = expected.error.as_deref().unwrap_or_default();
    match loaded {
        Ok(_) if error.starts_with("unable to normalize group-resource") => Some("D39"),
        Ok(rules) if error.contains("cannot unmarshal !!map into []config.DiscoveryRule") => {
            rules.helm_values.then_some("D38")
        }
        // The other way round: a plain list is the adapter's own form, whatever the chart makes of it.
        Ok(_) if error == "helm values: rules is not a map" => Some("D38"),
        _ => None,
    }
}

fn compare_case(place: &str, rules: &RuleSet, index: usize, case: &Case, report: &mut Report) {
    let place = format!("{place} {}", case.series);
    let rule = &rules.custom[index];
    let name = rule.metric_of(&case.series);
    // A name that does not fit `name.matches` is one of upstream's filters.
    report.compare(&format!("{place}: filtered out"), &case.filtered_out, &name.is_none(), || None);
    if case.filtered_out {
        return;
    }
    report.compare(&format!("{place}: name"), &case.name, &name, || None);
    let Some(name) = name else { return };
    // The rule alone: which rule wins a name is not what this compares.
    let alone = RuleSet { custom: vec![Arc::clone(rule)], ..RuleSet::default() };
    let series = [series_of(case)];
    let mapper = StaticMapper::built_in();
    let discovered = HashMap::from([(&*rule.series_query, series.as_slice())]);
    let catalog = Catalog::build(&alone, &discovered, &mapper);
    let mut resources: Vec<String> =
        catalog.custom_resources().map(|entry| entry.resource.to_string()).collect();
    resources.sort();
    let mut expected: Vec<String> = case.resources.iter().map(|resource| today(resource)).collect();
    expected.sort();
    // An empty name cannot be asked for, so it makes no entries.
    if !name.is_empty() {
        report.compare(&format!("{place}: resources"), &expected, &resources, || {
            // A name that PromQL can only hold in quotes makes no metric.
            case.series.contains('-').then_some("D42")
        });
    }
    for query in &case.queries {
        let resource = today(&query.resource);
        let (resource, group) = resource.split_once('.').unwrap_or((&resource, ""));
        let kind = mapper
            .kind_for(resource, group)
            .unwrap_or_else(|| panic!("{place}: {} is not built in", query.resource));
        let Some(matched) = catalog.custom(&GroupResource::new(&kind.group, &kind.plural), &name) else {
            continue;
        };
        assert_eq!(matched.origin().rule().section, Section::Custom);
        let place = format!("{place}: {query:?}");
        let selector =
            Selector::parse(query.selector.as_deref().unwrap_or_default()).expect("a valid selector");
        let names: Vec<&str> = query.names.iter().map(String::as_str).collect();
        let namespace = Some(query.namespace.as_str()).filter(|namespace| !namespace.is_empty());
        let plan = matched.plan(&Objects { namespace, names: &names }, &selector);
        compare_query(&place, (&case.series, query), plan.map(|plan| plan.query), report);
    }
}

/// Upstream's code was given the groups that ever were, so some kinds came from `extensions`, where they began. No
/// cluster has served that group since 2021; the resource is the one of today.
fn today(resource: &str) -> String {
    match resource {
        "deployments.extensions" => "deployments.apps".to_owned(),
        "ingresses.extensions" => "ingresses.networking.k8s.io".to_owned(),
        other => other.to_owned(),
    }
}

fn compare_query(
    place: &str,
    (series, expected): (&str, &Query),
    plan: Result<plan::Query, PlanError>,
    report: &mut Report,
) {
    match (&expected.promql, plan) {
        (Some(expected), plan) => {
            let found = plan.map_or_else(|error| format!("error: {error}"), |query| query.promql);
            report.compare(place, expected, &found, || query_deviation(expected, series, &found));
        }
        // Messages differ; that both refuse is what matters.
        (None, plan) => report.compare(place, &true, &plan.is_err(), || None),
    }
}

/// A difference that is gone when the escapes of D15 are taken back is D15's; one that is gone when the series' name is
/// pasted before the brace is D42's.
fn query_deviation(expected: &str, series: &str, found: &str) -> Option<&'static str> {
    let without_escapes = without_escapes(found);
    if without_escapes == expected {
        return Some("D15");
    }
    let pasted = without_escapes.replace(&format!("{{__name__=\"{series}\","), &format!("{series}{{"));
    (pasted == expected && series.contains('-')).then_some("D42")
}

fn without_escapes(query: &str) -> String {
    query.replace(r"\\.", ".").replace("[.]", ".")
}
