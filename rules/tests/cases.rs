//! Behaviour as data: each file of `tests/cases` holds rules, series that exist, and requests with the PromQL or the
//! error that they must yield. Upstream's own test tables are re-expressed there, their source cited beside them.

use std::collections::HashMap;
use std::path::Path;

use rules::catalog::{Catalog, Objects, Series};
use rules::resource::{GroupResource, ResourceMapper as _, StaticMapper};
use rules::usage::ResourceRules;
use selector::labels::Selector;
use serde::Deserialize;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct CaseFile {
    /// What the file is about.
    topic: String,
    /// A rule file, as text so that faults have places.
    #[serde(default)]
    rules: String,
    /// Series that exist: `name{label,label}`.
    #[serde(default)]
    series: Vec<String>,
    /// Expected entries of the catalog, `resource/metric`; absent means not checked.
    listed: Option<Vec<String>>,
    /// Expected warnings about the rule file; absent means not checked.
    file_warnings: Option<Vec<String>>,
    /// Expected warnings of the catalog; absent means not checked.
    warnings: Option<Vec<String>>,
    /// Expected external metrics; absent means not checked.
    listed_external: Option<Vec<String>>,
    #[serde(default)]
    requests: Vec<Request>,
    #[serde(default)]
    external_requests: Vec<ExternalRequest>,
    #[serde(default)]
    usage_requests: Vec<UsageRequest>,
    /// Rule files that must be refused, with every fault.
    #[serde(default)]
    refused: Vec<Refused>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Request {
    metric: String,
    resource: String,
    namespace: Option<String>,
    names: Vec<String>,
    #[serde(default)]
    selector: String,
    promql: Option<String>,
    error: Option<String>,
    join: Option<String>,
    window_seconds: Option<u64>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ExternalRequest {
    metric: String,
    namespace: String,
    #[serde(default)]
    selector: String,
    promql: Option<String>,
    error: Option<String>,
}

/// The use of `cpu` and `memory` by pods of a namespace, or by nodes.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct UsageRequest {
    namespace: Option<String>,
    names: Vec<String>,
    /// PromQL, or the error.
    cpu: String,
    memory: String,
    /// The labels of the object and of the container.
    labels: Vec<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Refused {
    rules: String,
    faults: Vec<String>,
}

#[test]
fn every_file_of_cases_passes() {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cases");
    let mut files: Vec<_> = std::fs::read_dir(dir)
        .expect("tests/cases is there")
        .map(|entry| entry.expect("readable").path())
        .collect();
    files.sort();
    let mut failures = Vec::new();
    let mut checks = 0;
    for file in &files {
        let text = std::fs::read_to_string(file).expect("readable");
        let cases: CaseFile =
            serde_saphyr::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        let (done, failed) = run(&cases);
        println!("{}: {done} checks, {} failed", cases.topic, failed.len());
        checks += done;
        failures.extend(failed.into_iter().map(|failure| format!("{}: {failure}", file.display())));
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
    assert!(checks > 50, "only {checks} checks in {} files", files.len());
}

fn run(file: &CaseFile) -> (usize, Vec<String>) {
    let mut checker = Checker::default();
    for refused in &file.refused {
        let found = match rules::load(&refused.rules) {
            Ok(_) => vec!["loads".to_owned()],
            Err(faults) => faults.iter().map(ToString::to_string).collect(),
        };
        checker.equal("faults", &refused.faults, &found);
    }
    if file.rules.is_empty() {
        return (checker.checks, checker.failures);
    }
    let rules = rules::load(&file.rules).unwrap_or_else(|faults| panic!("{}: {faults}", file.topic));
    if let Some(expected) = &file.file_warnings {
        let found: Vec<String> = rules.warnings.iter().map(ToString::to_string).collect();
        checker.equal("file warnings", expected, &found);
    }
    let mapper = StaticMapper::built_in();
    let series: Vec<Series> = file.series.iter().map(|text| series(text)).collect();
    // Every rule sees every series: selecting them is Prometheus' part.
    let discovered: HashMap<&str, &[Series]> =
        rules.series_queries().map(|query| (&**query, series.as_slice())).collect();
    let catalog = Catalog::build(&rules, &discovered, &mapper);
    if let Some(listed) = &file.listed {
        let found: Vec<String> =
            catalog.custom_resources().map(|entry| format!("{}/{}", entry.resource, entry.metric)).collect();
        checker.equal("listed", listed, &found);
    }
    if let Some(warnings) = &file.warnings {
        checker.equal("warnings", warnings, &catalog.warnings().to_vec());
    }
    for request in &file.requests {
        let place =
            format!("{} of {}/{:?} {}", request.metric, request.resource, request.names, request.selector);
        let (resource, group) = request.resource.split_once('.').unwrap_or((&request.resource, ""));
        let found = mapper
            .kind_for(resource, group)
            .and_then(|kind| catalog.custom(&GroupResource::new(&kind.group, &kind.plural), &request.metric));
        let Some(matched) = found else {
            checker.equal(&place, &request.error, &Some("no such metric".to_owned()));
            continue;
        };
        let selector = match Selector::parse(&request.selector) {
            Ok(selector) => selector,
            Err(error) => panic!("{place}: {error}"),
        };
        let names: Vec<&str> = request.names.iter().map(String::as_str).collect();
        match matched.plan(&Objects { namespace: request.namespace.as_deref(), names: &names }, &selector) {
            Ok(plan) => {
                checker.equal(&place, &request.promql, &Some(plan.query.promql));
                if request.join.is_some() {
                    checker.equal(&place, &request.join, &Some(plan.join_label.to_string()));
                }
                if request.window_seconds.is_some() {
                    checker.equal(
                        &place,
                        &request.window_seconds,
                        &plan.query.window.map(|window| window.as_secs()),
                    );
                }
            }
            Err(error) => checker.equal(&place, &request.error, &Some(error.to_string())),
        }
    }
    if let Some(listed) = &file.listed_external {
        let found: Vec<String> = catalog.external_metrics().map(str::to_owned).collect();
        checker.equal("listed external", listed, &found);
    }
    for request in &file.external_requests {
        external(&mut checker, &catalog, request);
    }
    for request in &file.usage_requests {
        let resource = rules.resource.as_ref().expect("the file has resourceRules");
        usage(&mut checker, resource, &mapper, request);
    }
    (checker.checks, checker.failures)
}

fn external(checker: &mut Checker, catalog: &Catalog, request: &ExternalRequest) {
    let place = format!("external {} in {} {}", request.metric, request.namespace, request.selector);
    let Some(matched) = catalog.external(&request.metric) else {
        checker.equal(&place, &request.error, &Some("no such metric".to_owned()));
        return;
    };
    let selector = Selector::parse(&request.selector).unwrap_or_else(|error| panic!("{place}: {error}"));
    match matched.plan(&request.namespace, &selector) {
        Ok(query) => checker.equal(&place, &request.promql, &Some(query.promql)),
        Err(error) => checker.equal(&place, &request.error, &Some(error.to_string())),
    }
}

fn usage(checker: &mut Checker, rules: &ResourceRules, mapper: &StaticMapper, request: &UsageRequest) {
    let names: Vec<&str> = request.names.iter().map(String::as_str).collect();
    for (queries, expected) in [(&rules.cpu, &request.cpu), (&rules.memory, &request.memory)] {
        let plan = match &request.namespace {
            Some(namespace) => queries.pods(mapper, namespace, &names),
            None => queries.nodes(mapper, &names),
        };
        let place = format!("use by {names:?}");
        match plan {
            Ok(plan) => {
                checker.equal(&place, expected, &plan.query.promql);
                let labels: Vec<String> = [Some(plan.object_label), plan.container_label]
                    .iter()
                    .flatten()
                    .map(ToString::to_string)
                    .collect();
                checker.equal(&place, &request.labels, &labels);
            }
            Err(error) => checker.equal(&place, expected, &error.to_string()),
        }
    }
}

#[derive(Default)]
struct Checker {
    checks: usize,
    failures: Vec<String>,
}

impl Checker {
    fn equal<T: PartialEq + std::fmt::Debug>(&mut self, place: &str, expected: &T, found: &T) {
        self.checks += 1;
        if expected != found {
            self.failures.push(format!("{place}\n  expected {expected:#?}\n  found    {found:#?}"));
        }
    }
}

fn series(text: &str) -> Series {
    let (name, labels) = text.split_once('{').unwrap_or((text, "}"));
    let labels = labels.trim_end_matches('}').split(',').filter(|label| !label.is_empty());
    Series { name: name.into(), label_names: labels.map(Into::into).collect() }
}
