//! D85: requests that share an answer get what each would get alone, whatever the rule's query is, and never a value of
//! another namespace or object.
//!
//! `SHARING_CASES` says how many requests and queries are tried.

mod outages;

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant, SystemTime};

use adapter::sharing::{Sharing, SharingSettings, Wanted};
use adapter::source::embedded::Embedded;
use adapter::source::guarded::{GuardSettings, Guarded};
use adapter::source::scripted::Script;
use adapter::source::{Held, MetricSource, QueryResult, Sample, Samples, SourceError, SourceErrorClass};
use adapter::telemetry::Telemetry;
use adapter::values::{self, InNamespace};
use apiservice::health::{Health, Scope};
use engine::EngineConfig;
use engine::labels::Labels;
use engine::scrape::ScrapeConfig;
use futures_util::FutureExt as _;
use futures_util::future::{BoxFuture, join_all};
use proptest::prelude::*;
use proptest::test_runner::TestRunner;
use rules::RuleSet;
use rules::catalog::{Catalog, CustomMatch, Objects, Series, SharedQuery};
use rules::resource::{GroupResource, StaticMapper};
use selector::labels::Selector;

const NAMESPACES: [&str; 3] = ["a", "b", "c"];
const PODS: [&str; 4] = ["web-0", "web-1", "db.x", "gone"];

/// Queries without any dependency between objects.
const SEPARABLE: [&str; 5] = [
    "<<.Series>>{<<.LabelMatchers>>}",
    "sum(<<.Series>>{<<.LabelMatchers>>}) by (<<.GroupBy>>)",
    "max by (namespace, pod) (<<.Series>>{<<.LabelMatchers>>}) * 1",
    "sum(<<.Series>>{<<.LabelMatchers>>}) by (pod)",
    "avg_over_time(<<.Series>>{<<.LabelMatchers>>}[5m])",
];

#[tokio::test(flavor = "multi_thread")]
async fn requests_of_all_namespaces_at_once_get_values_of_their_objects_alone() {
    let source: Arc<dyn MetricSource> = Arc::new(embedded(owner_in_the_value));
    let matches = SEPARABLE.map(|query| matched(&rule(query)).expect("a metric"));
    for across_namespaces in [true, false] {
        // So short that answers are asked for again and again while others wait for them.
        let settings = SharingSettings { keep: Duration::from_micros(300), across_namespaces };
        let sharing = sharing(&source, settings);
        let rounds = cases() / (matches.len() * NAMESPACES.len() * CONCURRENT);
        for round in 0..rounds.max(4) {
            let requests = (0..CONCURRENT).flat_map(|request| {
                let names = &PODS[(round + request) % PODS.len()..];
                matches.iter().flat_map(move |matched| NAMESPACES.map(|scope| (matched, scope, names)))
            });
            let checks = requests.map(|(matched, scope, names)| {
                let sharing = &sharing;
                async move {
                    let samples = ask(sharing, matched, scope, names).await.expect("a shared answer");
                    let joined = join(&samples, scope, names);
                    assert_eq!(joined.len(), names.iter().filter(|name| **name != "gone").count());
                    for (name, value) in joined {
                        assert_eq!(value, owner_in_the_value(scope, name, "200") * 1000.0, "{scope}/{name}");
                    }
                }
            });
            join_all(checks).await;
        }
    }
}

#[test]
fn a_query_that_is_shared_gives_each_request_what_it_would_get_alone() {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
    let source: Arc<dyn MetricSource> = {
        let _inside = runtime.enter();
        Arc::new(embedded(|namespace, pod, code| {
            (namespace.len() + pod.len() * 3) as f64 + code.len() as f64 / 7.0
        }))
    };
    let (shared, across) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let mut runner = TestRunner::new(ProptestConfig::with_cases(cases() as u32 / 4));
    let outcome = runner.run(&query(), |query| {
        // Not every text that is made is a rule's.
        let Ok(rules) = rules::load(&rule(&query)) else { return Ok(()) };
        let Some(matched) = matched_by(&rules) else { return Ok(()) };
        let everything = Selector::everything();
        let Some(of_all) = SharedQuery::of(&matched, &everything) else { return Ok(()) };
        shared.fetch_add(1, Ordering::Relaxed);
        if of_all.scope_label().is_some() {
            across.fetch_add(1, Ordering::Relaxed);
        }
        runtime.block_on(async {
            let keep = Duration::from_nanos(1);
            let sharing = sharing(&source, SharingSettings { keep, across_namespaces: true });
            // Every namespace is known from the second round on.
            for _ in 0..2 {
                for scope in NAMESPACES {
                    for names in [&PODS[..], &PODS[1..2]] {
                        let Some(shared) = ask(&sharing, &matched, scope, names).await else { continue };
                        let objects = Objects { namespace: Some(scope), names };
                        let plan = matched.plan(&objects, &everything).expect("a plan");
                        let alone = source.query(&plan.query.promql, SystemTime::now(), in_a_minute()).await;
                        let alone =
                            alone.map_err(|error| TestCaseError::fail(format!("{query}: {error}")))?;
                        let Samples::Vector(alone) = alone.value else {
                            return Err(TestCaseError::fail(format!("{query} yields no vector")));
                        };
                        let (shared, alone) = (join(&shared, scope, names), join(&alone, scope, names));
                        prop_assert_eq!(shared, alone, "{} for {}/{:?}", query, scope, names);
                    }
                }
            }
            Ok(())
        })
    });
    if let Err(error) = outcome {
        panic!("{error}");
    }
    let (shared, across) = (shared.into_inner(), across.into_inner());
    println!("{shared} queries were shared, {across} of them across namespaces");
    assert!(
        across > cases() / 200 && shared - across > cases() / 400,
        "{shared} were shared, {across} across"
    );
}

#[tokio::test]
async fn requests_within_the_time_are_answered_by_one_query() {
    let counted = Arc::new(Counted::new(embedded(owner_in_the_value)));
    let source = Arc::clone(&counted) as Arc<dyn MetricSource>;
    let matched = matched(&rule(SEPARABLE[0])).expect("a metric");
    let hour = Duration::from_hours(1);
    let sharing = sharing(&source, SharingSettings { keep: hour, across_namespaces: true });
    join_all((0..50).map(|_| ask(&sharing, &matched, "a", &PODS[..1]))).await;
    ask(&sharing, &matched, "a", &PODS[1..]).await.expect("a shared answer");
    assert_eq!(counted.queries(), [r#"depth{namespace="a"}"#]);
}

#[tokio::test]
async fn an_answer_that_may_lack_something_is_not_shared() {
    let bad = [
        Err(SourceError::new(SourceErrorClass::BadQuery, "many-to-many matching")),
        Ok(QueryResult { warnings: vec!["partial".to_owned()], ..vector(Vec::new()) }),
        Ok(QueryResult { histograms_dropped: 1, ..vector(Vec::new()) }),
        Ok(QueryResult { value: Samples::Scalar { timestamp_ms: 0, value: 1.0 }, ..vector(Vec::new()) }),
    ];
    for result in bad {
        let counted = Arc::new(Counted::answering(result));
        let source = Arc::clone(&counted) as Arc<dyn MetricSource>;
        let matched = matched(&rule(SEPARABLE[0])).expect("a metric");
        let settings = SharingSettings { keep: Duration::from_nanos(1), across_namespaces: true };
        let sharing = sharing(&source, settings);
        assert!(ask(&sharing, &matched, "a", &PODS).await.is_none());
        // Not asked for again: the next request is asked alone.
        assert!(ask(&sharing, &matched, "a", &PODS).await.is_none());
        assert_eq!(counted.queries(), [r#"depth{namespace="a"}"#]);
        // Nor do other namespaces lack their answers with it.
        ask(&sharing, &matched, "b", &PODS).await;
        ask(&sharing, &matched, "c", &PODS).await;
        assert_eq!(counted.queries().len(), 3, "{:?}", counted.queries());
    }
}

type Answering = BoxFuture<'static, Result<QueryResult, SourceError>>;

/// A source that remembers what it was asked.
struct Counted {
    answer: Box<dyn Fn(&str) -> Answering + Send + Sync>,
    queries: std::sync::Mutex<Vec<String>>,
}

impl Counted {
    fn new(embedded: Embedded) -> Counted {
        let embedded = Arc::new(embedded);
        Counted::by(move |promql| {
            let (embedded, promql) = (Arc::clone(&embedded), promql.to_owned());
            async move { embedded.query(&promql, SystemTime::now(), in_a_minute()).await }.boxed()
        })
    }

    fn answering(result: Result<QueryResult, SourceError>) -> Counted {
        Counted::by(move |_| std::future::ready(result.clone()).boxed())
    }

    fn by(answer: impl Fn(&str) -> Answering + Send + Sync + 'static) -> Counted {
        Counted { answer: Box::new(answer), queries: std::sync::Mutex::default() }
    }

    fn queries(&self) -> Vec<String> {
        self.queries.lock().expect("not poisoned").clone()
    }
}

impl Script for Counted {
    const NAME: &'static str = "counted";

    async fn value(&self, promql: &str, _: Instant) -> Result<QueryResult, SourceError> {
        self.queries.lock().expect("not poisoned").push(promql.to_owned());
        (self.answer)(promql).await
    }
}

fn vector(samples: Vec<Sample>) -> QueryResult {
    QueryResult {
        value: Samples::Vector(samples),
        warnings: Vec::new(),
        histograms_dropped: 0,
        held: Held::default(),
    }
}

/// Whose a value is.
fn owner_in_the_value(namespace: &str, pod: &str, _: &str) -> f64 {
    let place = |of: &[&str], name| of.iter().position(|other| *other == name).expect("a known name");
    (place(&NAMESPACES, namespace) * 10 + place(&PODS, pod) + 1) as f64
}

/// `depth`, with one code, and `load`, with two, of each pod but the last, which is gone; pods of each namespace have
/// the same names.
fn embedded(value: impl Fn(&str, &str, &str) -> f64) -> Embedded {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let embedded =
        Embedded::start(EngineConfig::default(), ScrapeConfig::default(), Vec::new()).expect("a client");
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("after 1970");
    for namespace in NAMESPACES {
        for pod in &PODS[..3] {
            for (name, code) in [("depth", "200"), ("load", "200"), ("load", "5xx")] {
                let labels = [("__name__", name), ("namespace", namespace), ("pod", pod), ("code", code)];
                let series = embedded.engine().store().intern(&Labels::from_pairs(labels)).expect("room");
                for minute in (0..5).rev() {
                    let time = now.as_millis() as i64 - minute * 60_000;
                    series.append(time, value(namespace, pod, code)).expect("in the store");
                }
            }
        }
    }
    embedded
}

fn rule(query: &str) -> String {
    let query = query.replace('\'', "''");
    format!(
        "rules:\n- seriesQuery: depth\n  resources: {{template: <<.Resource>>}}\n  metricsQuery: '{query}'\n"
    )
}

fn matched(rule: &str) -> Option<CustomMatch> {
    matched_by(&rules::load(rule).expect("a valid rule"))
}

fn matched_by(rules: &RuleSet) -> Option<CustomMatch> {
    let label_names = ["code", "namespace", "pod"].map(Into::into).into();
    let series = [Series { name: "depth".into(), label_names }];
    let catalog =
        Catalog::build(rules, &HashMap::from([("depth", series.as_slice())]), &StaticMapper::built_in());
    catalog.custom(&GroupResource::new("", "pods"), "depth")
}

fn sharing(source: &Arc<dyn MetricSource>, settings: SharingSettings) -> Sharing {
    let telemetry = Arc::new(Telemetry::new(&RuleSet::default()));
    let check = Health::default().check("source", Scope::Ready);
    let guard = GuardSettings::remote(20, Duration::from_secs(10));
    let guarded = Guarded::new(Arc::clone(source), guard, Arc::clone(&telemetry), check);
    Sharing::new(Arc::new(guarded), settings, telemetry)
}

async fn ask(sharing: &Sharing, matched: &CustomMatch, scope: &str, names: &[&str]) -> Option<Vec<Sample>> {
    let everything = Selector::everything();
    let query = SharedQuery::of(matched, &everything)?;
    let wanted = Wanted { scope, names };
    match sharing.query(&query, wanted, SystemTime::now(), in_a_minute()).await?.ok()?.value {
        Samples::Vector(samples) => Some(samples),
        Samples::Scalar { .. } => None,
    }
}

/// What an answer says of each object, in thousandths: NaN is 0, as in the API.
fn join<'n>(samples: &[Sample], namespace: &str, names: &[&'n str]) -> Vec<(&'n str, f64)> {
    let wanted = (Some(InNamespace { label: "namespace", namespace }), names);
    let joined = values::join(samples, "pod", wanted, rules::policy::Policy::default(), 0);
    let values = joined.values.into_iter();
    values.map(|(position, value)| (names[position], value.quantity.milli() as f64)).collect()
}

fn in_a_minute() -> Instant {
    Instant::now() + Duration::from_mins(1)
}

fn cases() -> usize {
    std::env::var("SHARING_CASES").ok().and_then(|text| text.parse().ok()).unwrap_or(2_000)
}

/// Queries as rules have them, and others that look like them.
fn query() -> impl Strategy<Value = String> {
    let matchers = prop::sample::select(vec![
        "<<.LabelMatchers>>",
        "<<.LabelMatchers>>",
        "<<.LabelMatchers>>",
        "code=\"200\",<<.LabelMatchers>>",
        "<<.LabelMatchers>>,code!=\"5xx\"",
        "namespace=\"a\"",
        "namespace=~\"a|b\",<<.LabelMatchers>>",
        "pod!=\"\",<<.LabelMatchers>>",
        "pod=~\"<<index .LabelValuesByName \"pod\">>\"",
        "<<.LabelMatchers>>,code!=\"<<index .LabelValuesByName \"namespace\">>\"",
        "",
    ]);
    let leaf = (prop::sample::select(vec!["depth", "load", "<<.Series>>"]), matchers, 0..8_u8).prop_map(
        |(name, matchers, form)| {
            let selector = format!("{name}{{{matchers}}}");
            match form {
                0 => format!("rate({selector}[5m])"),
                1 => format!("avg_over_time({selector}[3m])"),
                2 => format!("max_over_time({selector}[5m:1m])"),
                3 => format!("{selector} offset 1m"),
                4 => format!("timestamp({selector})"),
                _ => selector,
            }
        },
    );
    let leaf = prop_oneof![20 => leaf, 1 => Just("vector(0)".to_owned()), 1 => Just("3".to_owned())];
    leaf.prop_recursive(4, 12, 2, |inner| {
        let labels = prop::sample::select(vec![
            "<<.GroupBy>>",
            "<<.GroupBy>>",
            "namespace, pod",
            "namespace, <<.GroupBy>>",
            "pod, code",
            "pod",
            "namespace",
            "code",
            "",
        ]);
        let aggregates = prop::sample::select(vec![
            "sum",
            "max",
            "avg",
            "count",
            "topk(1, ",
            "quantile(0.5, ",
            "count_values(\"pod\", ",
        ]);
        let aggregate =
            (aggregates, prop::sample::select(vec!["by", "without"]), labels.clone(), inner.clone())
                .prop_map(|(operation, grouping, labels, of)| {
                    let opened =
                        if operation.ends_with(' ') { operation.to_owned() } else { format!("{operation}(") };
                    format!("{opened}{of}) {grouping} ({labels})")
                });
        let whole = (prop::sample::select(vec!["sum", "max"]), inner.clone())
            .prop_map(|(operation, of)| format!("{operation}({of})"));
        let call = (
            prop::sample::select(vec![
                "abs",
                "-",
                "scalar",
                "absent",
                "sort",
                "round",
                "clamp_max",
                "vector",
            ]),
            inner.clone(),
        )
            .prop_map(|(function, of)| match function {
                "-" => format!("-({of})"),
                "clamp_max" => format!("clamp_max({of}, 9)"),
                "vector" => format!("vector(scalar({of}))"),
                function => format!("{function}({of})"),
            });
        let replace = (prop::sample::select(vec!["pod", "namespace", "code"]), inner.clone())
            .prop_map(|(label, of)| format!("label_replace({of}, \"{label}\", \"web-0\", \"\", \"\")"));
        let operators = prop::sample::select(vec!["+", "/", "*", "> bool", ">", "and", "or", "unless"]);
        let matching =
            prop::sample::select(vec!["", "", "on", "ignoring", "on group_left", "ignoring group_right"]);
        let binary = (inner.clone(), operators, matching, labels, inner).prop_map(
            |(left, operator, matching, labels, right)| {
                let matching = match matching.split_once(' ') {
                    Some((matching, group)) => format!("{matching} ({labels}) {group}"),
                    None if matching.is_empty() => String::new(),
                    None => format!("{matching} ({labels})"),
                };
                format!("({left}) {operator} {matching} ({right})")
            },
        );
        prop_oneof![4 => aggregate, 1 => whole, 2 => call, 1 => replace, 4 => binary]
    })
}

const CONCURRENT: usize = 16;
