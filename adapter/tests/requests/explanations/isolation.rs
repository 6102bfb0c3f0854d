//! No label value of another namespace is in an explanation, whatever a rule asks and a metric source answers.
//!
//! `EXPLANATIONS_CASES` says how many explanations are made; a million take some minutes with optimisation:
//! `EXPLANATIONS_CASES=1000000 cargo test --release -p adapter --test requests explanations::isolation`

use std::sync::{Arc, Mutex};
use std::time::Instant;

use adapter::explanation::MOST_LISTED;
use adapter::objects::{Object, Objects, ObjectsError, Wanted};
use adapter::source::scripted::Script;
use adapter::source::targets::{Health, ScrapedTarget};
use adapter::source::{Held, Listing, QueryResult, Sample, Samples, SourceError, SourceErrorClass};
use apiservice::authn::Union;
use apiservice::authz::Chain;
use axum::Router;
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use http::Method;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use rules::catalog::Series;
use rules::resource::{ResourceMapper, StaticMapper};
use testkit::router;

use super::Explains;
use crate::harness::Listed;

/// How every label value of another namespace begins.
const FOREIGN: &str = "foreign";
/// Rules that limit their queries, that do not, that have no label for namespaces, that look at all namespaces, and
/// whose series are not listed.
const RULES: &str = r#"
rules:
- seriesQuery: 'limited'
  resources: {overrides: {namespace: {resource: namespace}, pod: {resource: pod}, node: {resource: node}}}
  metricsQuery: 'sum(<<.Series>>{<<.LabelMatchers>>}) by (<<.GroupBy>>)'
- seriesQuery: 'unlimited'
  resources: {overrides: {namespace: {resource: namespace}, pod: {resource: pod}, node: {resource: node}}}
  metricsQuery: 'max_over_time(<<.Series>>[1m])'
- seriesQuery: 'renamed'
  resources: {overrides: {other: {resource: namespace}, pod: {resource: pod}}}
  metricsQuery: '<<.Series>>{<<.LabelMatchers>>}'
- seriesQuery: 'gone{zone!=""}'
  resources: {overrides: {namespace: {resource: namespace}, pod: {resource: pod}}}
  metricsQuery: '<<.Series>>{<<.LabelMatchers>>}'
externalRules:
- seriesQuery: 'limited'
  resources: {overrides: {namespace: {resource: namespace}}}
  metricsQuery: '<<.Series>>{<<.LabelMatchers>>}'
- seriesQuery: 'unlimited'
  resources: {namespaced: false}
  metricsQuery: 'max_over_time(<<.Series>>[1m])'
- seriesQuery: 'renamed'
  resources: {namespaced: false, overrides: {namespace: {resource: namespace}}}
  metricsQuery: '<<.Series>>'
"#;

/// What a source says to whatever it is asked.
#[derive(Debug, Clone)]
enum Says {
    Samples { samples: Vec<Vec<(&'static str, String)>>, value: f64, warning: String, histograms: usize },
    Scalar(f64),
    Fails(usize, String),
}

/// Answers one after the other, the last again and again.
#[derive(Default)]
struct Talking(Mutex<Vec<Says>>);

impl Talking {
    fn next(&self) -> Result<QueryResult, SourceError> {
        let mut left = self.0.lock().expect("no code panics while it holds the lock");
        let says = if left.len() > 1 { left.pop() } else { left.last().cloned() };
        match says.unwrap_or(Says::Scalar(1.0)) {
            Says::Samples { samples, value, warning, histograms } => Ok(QueryResult {
                value: Samples::Vector(
                    samples
                        .into_iter()
                        .map(|labels| Sample {
                            labels: labels
                                .into_iter()
                                .map(|(label, value)| (label.into(), value.into()))
                                .collect(),
                            timestamp_ms: 0,
                            value,
                        })
                        .collect(),
                ),
                warnings: vec![warning],
                histograms_dropped: histograms,
                held: Held::default(),
            }),
            Says::Scalar(value) => Ok(QueryResult {
                value: Samples::Scalar { timestamp_ms: 0, value },
                warnings: Vec::new(),
                histograms_dropped: 0,
                held: Held::default(),
            }),
            Says::Fails(class, message) => {
                let classes = [
                    SourceErrorClass::Unavailable,
                    SourceErrorClass::Timeout,
                    SourceErrorClass::Busy,
                    SourceErrorClass::BadQuery,
                    SourceErrorClass::WrongType,
                ];
                Err(SourceError::new(classes[class % classes.len()], message))
            }
        }
    }
}

impl Script for Talking {
    const NAME: &'static str = "talking";

    async fn list(&self, selector: &str, _: Instant) -> Result<Listing, SourceError> {
        if selector.starts_with("gone") {
            return Ok(Listing::default());
        }
        let label_names = ["namespace", "node", "other", "pod"].map(Arc::from).into_iter().collect();
        let series = vec![Series { name: selector.into(), label_names }];
        Ok(Listing { series, warnings: Vec::new() })
    }

    async fn value(&self, _: &str, _: Instant) -> Result<QueryResult, SourceError> {
        self.next()
    }

    async fn scraped(&self) -> Result<Option<Vec<ScrapedTarget>>, SourceError> {
        self.next().map(|result| match result.value {
            Samples::Vector(samples) => Some(samples.iter().map(target).collect()),
            Samples::Scalar { .. } => None,
        })
    }
}

/// A target with the labels of a sample, whose scrape fails by what they say.
fn target(sample: &Sample) -> ScrapedTarget {
    ScrapedTarget {
        namespace: sample.label("namespace").map(str::to_owned),
        pod: sample.label("pod").map(str::to_owned),
        health: if sample.value == 0.0 { Health::Down } else { Health::Up },
        last_error: Some(format!("cannot scrape {:?}", sample.labels)),
    }
}

/// Objects of the namespace that is asked for.
struct Own(StaticMapper);

impl Objects for Own {
    fn mapper(&self) -> &dyn ResourceMapper {
        &self.0
    }

    fn list<'a>(
        &'a self,
        wanted: Wanted<'a>,
        _: Instant,
    ) -> BoxFuture<'a, Result<Vec<Object>, ObjectsError>> {
        let names = (0..30).map(|number| Object {
            namespace: wanted.namespace.map(Arc::from),
            name: format!("own-{number:02}").into(),
            labels: Arc::new([]),
        });
        std::future::ready(Ok(names.collect())).boxed()
    }
}

/// A sample that says it is of the namespace, of another, or of none; one that does not say so may be of another.
fn labels() -> impl Strategy<Value = Vec<(&'static str, String)>> {
    let whose = prop_oneof![Just("own"), Just(FOREIGN), Just("none")];
    let text = prop::sample::select(&["", "a", "b-c", "\"", "\\", "\n", "d\"e\\", ", f=\"g"][..]);
    (whose, text, 0..40_u32, any::<bool>()).prop_map(|(whose, text, number, same_name)| {
        let is_own = whose == "own";
        let value = |what: &str| format!("{}{what}{text}", if is_own { "own" } else { FOREIGN });
        let pod = if is_own || same_name { format!("own-{number:02}") } else { value("-pod") };
        let mut labels = vec![("instance", value("-instance")), ("node", value("-node"))];
        match whose {
            "own" => labels.extend([("namespace", "own".to_owned()), ("other", "own".to_owned())]),
            "none" => {}
            _ => labels.extend([("namespace", value("-namespace")), ("other", value("-other"))]),
        }
        labels.push(("pod", pod));
        labels.sort();
        labels
    })
}

/// What Prometheus writes of labels in errors and warnings.
fn message() -> impl Strategy<Value = String> {
    prop::collection::vec(labels(), 0..3).prop_map(|all| {
        let sets = all.into_iter().map(|labels| {
            let pairs: Vec<String> =
                labels.into_iter().map(|(label, value)| format!("{label}={value:?}")).collect();
            format!("{{{}}}", pairs.join(", "))
        });
        format!("many-to-many matching not allowed: {}", sets.collect::<Vec<_>>().join(", "))
    })
}

fn says() -> impl Strategy<Value = Says> {
    let samples = prop_oneof![Just(Vec::new()), prop::collection::vec(labels(), 1..26)];
    let value = prop_oneof![Just(0.0), Just(1.5), Just(f64::NAN), Just(f64::INFINITY), Just(1e300)];
    prop_oneof![
        4 => (samples, value, message(), 0..3_usize).prop_map(
            |(samples, value, warning, histograms)| Says::Samples { samples, value, warning, histograms }
        ),
        1 => any::<f64>().prop_map(Says::Scalar),
        1 => (0..5_usize, message()).prop_map(|(class, message)| Says::Fails(class, message)),
    ]
}

fn path() -> impl Strategy<Value = String> {
    let metric =
        prop_oneof![Just("limited"), Just("unlimited"), Just("renamed"), Just("limitd"), Just("gone")];
    let selector = prop_oneof![Just(""), Just("instance%3Dx"), Just("unknown!%3Dx"), Just("pod"), Just("!!")];
    (0..7_usize, metric, selector).prop_map(|(form, metric, selector)| {
        let custom = "/apis/custom.metrics.k8s.io/v1beta2";
        let external = "/apis/external.metrics.k8s.io/v1beta1/namespaces/own";
        match form {
            0 | 1 => format!("{custom}/namespaces/own/pods/*/{metric}?metricLabelSelector={selector}&"),
            2 => format!("{custom}/namespaces/own/pods/own-07/{metric}?metricLabelSelector={selector}&"),
            3 => format!("{custom}/namespaces/own/metrics/{metric}?"),
            4 => format!("{custom}/nodes/own-1/{metric}?"),
            _ => format!("{external}/{metric}?labelSelector={selector}&"),
        }
    })
}

async fn started(explains: bool) -> (Arc<Talking>, Router) {
    let source = Arc::new(Talking::default());
    let objects: Arc<dyn Objects> = Arc::new(Own(StaticMapper::built_in()));
    let rules = rules::load(RULES).unwrap_or_else(|faults| panic!("{faults}"));
    let listed = Listed::start(rules, Arc::clone(&source) as _, objects, |_| {}).await;
    let authorization = Chain::new(vec![Arc::new(Explains(explains))]);
    (source, listed.server(Union::new(Vec::new()), authorization).into_router())
}

/// Every list of a tree.
fn lists(tree: &serde_json::Value, longest: &mut usize) {
    match tree {
        serde_json::Value::Array(items) => {
            *longest = (*longest).max(items.len());
            for item in items {
                lists(item, longest);
            }
        }
        serde_json::Value::Object(fields) => {
            for field in fields.values() {
                lists(field, longest);
            }
        }
        _ => {}
    }
}

#[test]
fn no_label_value_of_another_namespace_is_in_an_explanation() {
    let cases = std::env::var("EXPLANATIONS_CASES").ok().and_then(|text| text.parse().ok()).unwrap_or(10_000);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let worlds = [runtime.block_on(started(true)), runtime.block_on(started(false))];
    let [answered, empty, refused] = [const { std::cell::Cell::new(0_u32) }; 3];
    let config = Config { cases, failure_persistence: None, ..Config::default() };
    let generated = (path(), prop::collection::vec(says(), 1..4), any::<bool>(), any::<bool>());
    let checked = TestRunner::new(config).run(&generated, |(path, answers, sees_rules, as_json)| {
        let (source, router) = &worlds[usize::from(!sees_rules)];
        *source.0.lock().expect("no code panics while it holds the lock") = answers;
        let form = if as_json { "json" } else { "true" };
        let request = router::request(Method::GET, &format!("{path}explain={form}"), &[]);
        let response = runtime.block_on(router::ask(router, request));
        let text = response.text();
        prop_assert!(!text.contains(FOREIGN), "{path}\n{text}");
        prop_assert_eq!(response.code, 200, "{}\n{}", path, text);
        if as_json {
            let tree = response.json();
            let mut longest = 0;
            lists(&tree, &mut longest);
            prop_assert!(longest <= MOST_LISTED, "a list of {longest}\n{text}");
            let kind = match (tree["answer"]["code"].as_u64(), tree["answer"]["values"].as_u64()) {
                (Some(200), Some(0)) => &empty,
                (Some(200), _) => &answered,
                _ => &refused,
            };
            kind.set(kind.get() + 1);
        }
        Ok(())
    });
    if let Err(failure) = checked {
        panic!("{failure}");
    }
    let counts = [answered.get(), empty.get(), refused.get()];
    println!("{cases} explanations: {counts:?} of requests with values, without, with errors");
    // What the generator makes is worth something.
    assert!(counts.iter().all(|count| *count > cases / 500), "{counts:?}");
}
