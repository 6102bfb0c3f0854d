//! The policies of a rule: each row of the table in `docs/rules.md` is asked for, and nothing that was served last is
//! served for anything else.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime};

use adapter::objects::Objects;
use adapter::objects::scraped::ScrapedObjects;
use adapter::source::recorded::{Recorded, vector};
use adapter::source::scripted::Script;
use adapter::source::{Listing, MetricSource, QueryResult, Sample, Samples, SourceError, SourceErrorClass};
use adapter::telemetry::Telemetry;
use apiservice::authn::{UNAUTHENTICATED, Union};
use apiservice::authz::{Chain, PrivilegedGroup};
use apiservice::quantity::Quantity;
use axum::Router;
use http::Method;
use promql_parser::parser::{Expr, parse};
use proptest::prelude::*;
use proptest::test_runner::TestRunner;
use testkit::router;
use testkit::rows::each_row_async;

use crate::harness::{Listed, listing};

const CUSTOM: &str = "/apis/custom.metrics.k8s.io/v1beta2/namespaces/default/pods";
const EXTERNAL: &str = "/apis/external.metrics.k8s.io/v1beta1/namespaces";
const ONE: &str = r#"depth{namespace="default",pod="a"}"#;
const LIST: &str = r#"depth{namespace="default",pod=~"a|b"}"#;
const BACKLOG: &str = r#"backlog{namespace="default"}"#;

/// A row: what Prometheus has, what the rule says, what comes of the pod `a` by name, of `a` in a list beside `b`, and
/// of the external metric; and what an autoscaler makes of it.
type Row = [&'static str; 6];

const ROWS: [Row; 21] = [
    ["the sample 7", "any", "7", "7", "7", "follows it"],
    ["no series", "", "404", "404", "404", "holds"],
    ["no series", "`onEmpty: zero`", "0", "0", "0", "scales in to `minReplicas`"],
    ["no series", "`onEmpty: last(5m)`, 7 served since", "7", "7", "7", "goes on with 7"],
    ["no series", "`onEmpty: last(5m)`, nothing since", "404", "none", "none", "holds"],
    ["series, no sample", "", "404", "none", "none", "holds; a pod in a list is missing"],
    ["series, no sample", "`onEmpty: zero`", "0", "0", "0", "reads 0"],
    ["series, no sample", "`onEmpty: last(5m)`, 7 served since", "7", "7", "7", "goes on with 7"],
    [
        "series, no sample",
        "`onEmpty: last(5m)`, nothing since",
        "404",
        "none",
        "none",
        "holds; a pod in a list is missing",
    ],
    ["NaN", "", "0", "0", "0", "reads 0"],
    ["NaN", "`onNaN: missing`", "500", "none", "500", "holds; a pod in a list is missing"],
    ["NaN", "`onNaN: missing`, `onEmpty: zero`", "500", "none", "500", "holds; a pod in a list is missing"],
    ["±Inf, or out of range", "any", "500", "none", "500", "holds; a pod in a list is missing"],
    ["partial, the sample 7", "", "7", "7", "7", "follows it"],
    ["partial, the sample 7", "`onPartial: error`", "503", "503", "503", "holds"],
    ["partial, no sample", "`onEmpty: zero`", "404", "none", "none", "holds; a pod in a list is missing"],
    ["partial, no sample", "`onEmpty: last(5m)`, 7 served since", "7", "7", "7", "goes on with 7"],
    ["partial, no sample", "`onEmpty: zero`, `onPartial: error`", "503", "503", "503", "holds"],
    ["series not listed yet", "any", "503", "503", "503", "holds"],
    ["not reachable", "any", "503", "503", "503", "holds"],
    ["too slow", "any", "504", "504", "504", "holds"],
];

struct Adapter {
    source: Arc<Recorded>,
    router: Router,
    telemetry: Arc<Telemetry>,
}

impl Adapter {
    /// An adapter whose rules have these fields, and whose series are there or not; `None`: they cannot be listed.
    async fn started(fields: &str, listed: Option<bool>) -> Adapter {
        let rules = format!(
            "rules:\n- seriesQuery: depth\n  resources: {{overrides: {{namespace: {{resource: namespace}}, pod: {{resource: \
             pod}}}}}}\n  metricsQuery: '<<.Series>>{{<<.LabelMatchers>>}}'\n{fields}externalRules:\n- seriesQuery: backlog\n  \
             resources: {{overrides: {{namespace: {{resource: namespace}}}}}}\n  metricsQuery: \
             '<<.Series>>{{<<.LabelMatchers>>}}'\n{fields}"
        );
        let source = Arc::new(Recorded::default());
        for name in ["depth", "backlog"] {
            let found =
                |listed| if listed { listing(name, &["namespace", "pod"]) } else { Listing::default() };
            let failure = SourceError::new(SourceErrorClass::Timeout, "no answer");
            source.lists(name, listed.map(found).ok_or(failure));
        }
        let targets = ["a", "b"].map(|pod| vec![("namespace", "default"), ("pod", pod)]);
        source.answers("up", Ok(vector(targets.iter().map(|labels| (&labels[..], 1.0)), 0)));
        let rules = rules::load(&rules).unwrap_or_else(|faults| panic!("{faults}"));
        let (router, telemetry) = over(rules, Arc::clone(&source) as _).await;
        Adapter { source, router, telemetry }
    }

    /// Answers queries for the pod `a` by a number, or by nothing; the pod `b` has one wherever there are series.
    fn says(&self, number: Option<f64>, series: bool, warnings: &[&str], at_ms: i64) {
        let [a, b] = ["a", "b"].map(|pod| [("pod", pod)]);
        let of_a = number.map(|number| (&a[..], number));
        let of_b = series.then_some((&b[..], 5.0));
        let answer = |samples: Vec<(&[(&str, &str)], f64)>| {
            let warnings = warnings.iter().map(|warning| (*warning).to_owned()).collect();
            Ok(QueryResult { warnings, ..vector(samples, at_ms) })
        };
        self.source.answers(ONE, answer(of_a.into_iter().collect()));
        self.source.answers(LIST, answer(of_a.into_iter().chain(of_b).collect()));
        let without_labels: &[(&str, &str)] = &[];
        let backlog = number.map(|number| (without_labels, number));
        self.source.answers(BACKLOG, answer(backlog.into_iter().collect()));
    }

    fn fails(&self, class: SourceErrorClass) {
        for query in [ONE, LIST, BACKLOG] {
            self.source.answers(query, Err(SourceError::new(class, "no answer")));
        }
    }

    async fn get(&self, path: &str) -> router::Response {
        router::ask(&self.router, router::request(Method::GET, path, &[])).await
    }

    /// The value of the pod `a` or of the external metric and its time, or the code of the answer, or `none`.
    async fn value(&self, path: &str) -> (String, String) {
        let answer = self.get(path).await;
        if answer.code != 200 {
            return (answer.code.to_string(), String::new());
        }
        let items = answer.json()["items"].as_array().cloned().expect("items");
        let is_of_a = |item: &&serde_json::Value| {
            item["describedObject"]["name"].as_str().is_none_or(|name| name == "a")
        };
        let Some(item) = items.iter().find(is_of_a) else { return ("none".to_owned(), String::new()) };
        let text = |field: &str| item[field].as_str().expect("a text").to_owned();
        (text("value"), text("timestamp"))
    }

    async fn values(&self) -> [(String, String); 3] {
        [
            self.value(&format!("{CUSTOM}/a/depth")).await,
            self.value(&format!("{CUSTOM}/*/depth")).await,
            self.value(&format!("{EXTERNAL}/default/backlog")).await,
        ]
    }
}

async fn over(rules: rules::RuleSet, source: Arc<dyn MetricSource>) -> (Router, Arc<Telemetry>) {
    let objects: Arc<dyn Objects> = Arc::new(ScrapedObjects::new(Arc::clone(&source)));
    let listed = Listed::start(rules, source, objects, |_| {}).await;
    let authorization = Chain::new(vec![Arc::new(PrivilegedGroup(UNAUTHENTICATED))]);
    let router = listed.server(Union::new(Vec::new()), authorization).into_router();
    (router, listed.telemetry)
}

fn ago(time: Duration) -> i64 {
    let since = (SystemTime::now() - time).duration_since(SystemTime::UNIX_EPOCH);
    since.expect("a time after 1970").as_millis() as i64
}

fn text_of(at_ms: i64) -> String {
    apiservice::types::Timestamp::from_unix_ms(at_ms).to_string()
}

/// Policies of rules that a row with `any` is for.
const ANY: [&str; 6] = [
    "",
    "`onNaN: missing`",
    "`onEmpty: zero`",
    "`onEmpty: last(5m)`",
    "`onPartial: serve`",
    "`onPartial: error`",
];

#[tokio::test]
async fn each_row_of_the_table_of_policies_is_answered_as_it_says() {
    each_row_async(ROWS, async |row| {
        let [has, says, one, list, external, _] = row;
        let one_policy = [says];
        for says in if says == "any" { &ANY[..] } else { &one_policy[..] } {
            assert_eq!(answered(has, says).await, [one, list, external], "{has}, {says}");
        }
    })
    .await;
}

/// What comes of the pod by name, in a list, and of the external metric. A 7 must have the time of its sample.
async fn answered(has: &str, says: &str) -> [String; 3] {
    let fields = says.split('`').filter(|part| part.starts_with("on")).map(|field| format!("  {field}\n"));
    let (series, partial) = (has != "no series", has.starts_with("partial"));
    let listed = if has == "series not listed yet" { None } else { Some(series) };
    let adapter = Adapter::started(&fields.collect::<String>(), listed).await;
    let old = if says.ends_with("nothing since") { Duration::from_secs(301) } else { Duration::from_mins(1) };
    let old = ago(old);
    if says.ends_with("since") {
        adapter.says(Some(7.0), series, &[], old);
        assert_eq!(adapter.values().await.map(|(value, _)| value), ["7"; 3]);
    }
    let now = ago(Duration::ZERO);
    let warnings: &[&str] = if partial { &["a store did not answer"] } else { &[] };
    match has {
        "not reachable" => adapter.fails(SourceErrorClass::Unavailable),
        "too slow" => adapter.fails(SourceErrorClass::Timeout),
        "NaN" => adapter.says(Some(f64::NAN), series, warnings, now),
        "±Inf, or out of range" => adapter.says(Some(f64::INFINITY), series, warnings, now),
        _ if has.ends_with('7') => adapter.says(Some(7.0), series, warnings, now),
        _ => adapter.says(None, series, warnings, now),
    }
    let values = adapter.values().await;
    let expected = text_of(if says.ends_with("since") { old } else { now });
    for (value, time) in &values {
        assert!(value != "7" || *time == expected, "{has}, {says}: {time} and not {expected}");
    }
    values.map(|(value, _)| value)
}

#[test]
fn the_table_of_policies_in_the_docs_is_the_one_that_is_tested() {
    let page = include_str!("../../../docs/rules.md");
    let (_, table) = page.split_once("| Prometheus has | the rule says |").expect("the table");
    let table: Vec<&str> = table.lines().skip(2).take_while(|line| line.starts_with('|')).collect();
    let rows = ROWS.map(|row| {
        format!("| {} |", row.map(|cell| if cell.is_empty() { "nothing" } else { cell }).join(" | "))
    });
    assert_eq!(table, rows);
}

#[tokio::test]
async fn a_list_without_objects_is_not_found_whatever_the_rule_says() {
    let adapter = Adapter::started("  onEmpty: zero\n", Some(false)).await;
    let answer = adapter.get(&format!("{CUSTOM}/*/depth?labelSelector=app%3Dgone")).await;
    assert_eq!(answer.code, 404);
    assert!(adapter.source.asked().iter().all(|asked| asked == "up"), "{:?}", adapter.source.asked());
}

/// An object is not looked up: it may be at zero replicas, or not be there yet.
#[tokio::test]
async fn an_object_that_does_not_exist_has_no_sample() {
    let adapter = Adapter::started("  onEmpty: zero\n", Some(false)).await;
    adapter.source.answers(r#"depth{namespace="default",pod="gone"}"#, Ok(vector([], 0)));
    let answer = adapter.get(&format!("{CUSTOM}/gone/depth")).await;
    assert_eq!(answer.json()["items"][0]["value"], "0", "{}", answer.text());
}

#[tokio::test]
async fn a_rule_that_answers_for_no_series_is_listed_without() {
    for (fields, custom, external) in [
        ("  onEmpty: zero\n", 2, 1),
        ("  onEmpty: last(1m)\n", 2, 1),
        ("  onEmpty: notFound\n", 0, 0),
        ("", 0, 0),
    ] {
        let adapter = Adapter::started(fields, Some(false)).await;
        for (group, expected) in [("custom.metrics.k8s.io", custom), ("external.metrics.k8s.io", external)] {
            let answer = adapter.get(&format!("/apis/{group}/v1beta1")).await;
            let resources = answer.json()["resources"].as_array().map(Vec::len);
            assert_eq!(resources, Some(expected), "{fields}{}", answer.text());
        }
    }
}

/// What a rule does not see of the source, it does not take for nothing.
#[tokio::test]
async fn a_histogram_that_is_left_out_is_not_read_as_0() {
    let adapter = Adapter::started("  onEmpty: zero\n", Some(true)).await;
    let of_histograms = QueryResult { histograms_dropped: 1, ..vector([], 0) };
    adapter.source.answers(BACKLOG, Ok(of_histograms));
    assert_eq!(adapter.value(&format!("{EXTERNAL}/default/backlog")).await.0, "none");
}

#[tokio::test]
async fn an_explanation_says_which_policy_made_a_value() {
    for (fields, number, line) in [
        ("  onEmpty: zero\n", None, "a has the value 0 by onEmpty: zero"),
        ("", Some(f64::NAN), "a has the value 0 by onNaN: zero"),
        ("  onEmpty: last(5m)\n", Some(7.0), "a has the value 7"),
        ("  onEmpty: last(5m)\n", None, "a has the value 7 by onEmpty: last(5m)"),
    ] {
        let adapter = Adapter::started(fields, Some(true)).await;
        adapter.says(Some(7.0), true, &[], ago(Duration::from_mins(1)));
        adapter.values().await;
        adapter.says(number, true, &[], ago(Duration::ZERO));
        let text = adapter.get(&format!("{CUSTOM}/a/depth?explain=true")).await;
        assert_eq!(text.text().lines().next(), Some(line), "{fields}");
    }
    let adapter = Adapter::started("  onEmpty: zero\n", Some(false)).await;
    adapter.says(None, false, &[], 0);
    let text = adapter.get(&format!("{CUSTOM}/a/depth?explain=true")).await;
    assert!(text.text().contains("of which there is none: onEmpty keeps it listed"), "{}", text.text());
    let adapter = Adapter::started("  onPartial: error\n", Some(true)).await;
    adapter.says(Some(7.0), true, &["a store did not answer"], 0);
    let text = adapter.get(&format!("{CUSTOM}/a/depth?explain=json")).await;
    assert_eq!(text.json()["cause"]["reason"], "PartialAnswer");
}

#[tokio::test]
async fn values_that_a_policy_made_are_counted() {
    let adapter = Adapter::started("  onEmpty: last(5m)\n", Some(true)).await;
    adapter.says(Some(f64::NAN), true, &[], ago(Duration::ZERO));
    adapter.values().await;
    adapter.says(None, true, &[], ago(Duration::ZERO));
    adapter.values().await;
    let text = adapter.telemetry.text();
    for line in [
        "adapter_policy_values_total{policy=\"on_nan_zero\"} 3",
        "adapter_policy_values_total{policy=\"on_empty_last\"} 3",
        "adapter_policy_values_total{policy=\"on_empty_zero\"} 0",
    ] {
        assert!(text.contains(line), "{line} is not in {text}");
    }
}

/// Series whose number tells whose they are. Now and then there are none.
struct Owned {
    silent: AtomicBool,
}

const NAMESPACES: [&str; 3] = ["a", "b", "c"];
const PODS: [&str; 3] = ["web-0", "web-1", "db"];
const CODES: [&str; 2] = ["1", "2"];

/// Of one series: those that a selector leaves are added up.
fn number(namespace: usize, pod: usize, code: usize) -> f64 {
    f64::from(1_u32 << ((namespace * PODS.len() + pod) * CODES.len() + code))
}

impl Script for Owned {
    const NAME: &'static str = "owned";

    async fn list(&self, name: &str, _: Instant) -> Result<Listing, SourceError> {
        Ok(listing(name, &["code", "namespace", "pod"]))
    }

    async fn value(&self, promql: &str, _: Instant) -> Result<QueryResult, SourceError> {
        let mut samples = Vec::new();
        let Ok(Expr::VectorSelector(selector)) = parse(promql) else { panic!("not a selector: {promql}") };
        let is_of_targets = selector.name.as_deref() == Some("up");
        for (i, namespace) in NAMESPACES.into_iter().enumerate() {
            for (j, pod) in PODS.into_iter().enumerate() {
                let code_matches = |code: &str| {
                    let labels = [("namespace", namespace), ("pod", pod), ("code", code)];
                    let value = |name: &str| {
                        labels.iter().find(|(label, _)| *label == name).map_or("", |(_, value)| value)
                    };
                    selector.matchers.matchers.iter().all(|matcher| matcher.is_match(value(&matcher.name)))
                };
                let codes = (0..CODES.len()).filter(|k| code_matches(CODES[*k]));
                let sum: f64 = codes.map(|k| number(i, j, k)).sum();
                if sum > 0.0 && (is_of_targets || !self.silent.load(Ordering::Relaxed)) {
                    let labels = [("namespace", namespace), ("pod", pod)];
                    let labels = labels.iter().map(|(name, value)| ((*name).into(), (*value).into()));
                    samples.push(Sample {
                        labels: labels.collect(),
                        timestamp_ms: ago(Duration::ZERO),
                        value: sum,
                    });
                }
            }
        }
        let value = Samples::Vector(samples);
        Ok(QueryResult { value, ..vector([], 0) })
    }
}

/// One request of many: of a namespace, by name, in a list or external, limited by a selector or not.
#[derive(Debug, Clone)]
struct Asked {
    namespace: usize,
    /// `None` asks for all of them.
    pod: Option<usize>,
    external: bool,
    code: Option<usize>,
    silent: bool,
}

fn asked() -> impl Strategy<Value = Asked> {
    let code = prop::option::of(0..CODES.len());
    (0..NAMESPACES.len(), prop::option::of(0..PODS.len()), any::<bool>(), code, any::<bool>())
        .prop_map(|(namespace, pod, external, code, silent)| Asked { namespace, pod, external, code, silent })
}

impl Asked {
    fn path(&self) -> String {
        let namespace = NAMESPACES[self.namespace];
        let (parameter, path) = if self.external {
            ("labelSelector", format!("{EXTERNAL}/{namespace}/depth"))
        } else {
            let pod = self.pod.map_or("*", |pod| PODS[pod]);
            let path = format!("/apis/custom.metrics.k8s.io/v1beta2/namespaces/{namespace}/pods/{pod}/depth");
            ("metricLabelSelector", path)
        };
        self.code.map_or(path.clone(), |code| format!("{path}?{parameter}=code%3D{}", CODES[code]))
    }

    /// The number of a pod.
    fn expected(&self, pod: usize) -> f64 {
        let codes = (0..CODES.len()).filter(|code| self.code.is_none_or(|wanted| wanted == *code));
        codes.map(|code| number(self.namespace, pod, code)).sum()
    }
}

#[test]
fn a_value_of_before_is_served_for_the_same_object_and_selector_alone() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let source = Arc::new(Owned { silent: AtomicBool::new(false) });
    let rule = "{seriesQuery: depth, resources: {overrides: {namespace: {resource: namespace}, pod: {resource: pod}}}, \
                metricsQuery: 'depth{<<.LabelMatchers>>}', onEmpty: last(5m)}";
    let rules = rules::load(&format!("rules: [{rule}]\nexternalRules: [{rule}]\n")).expect("valid rules");
    let (router, telemetry) = runtime.block_on(over(rules, Arc::clone(&source) as _));
    let mut runner = TestRunner::new(ProptestConfig::with_cases(64));
    let outcome = runner.run(&prop::collection::vec(asked(), 50), |requests| {
        for asked in requests {
            source.silent.store(asked.silent, Ordering::Relaxed);
            let answer =
                runtime.block_on(router::ask(&router, router::request(Method::GET, &asked.path(), &[])));
            // Without a value of before there is none.
            prop_assert!(matches!(answer.code, 200 | 404), "{:?}: {}", asked, answer.text());
            for item in answer.json()["items"].as_array().into_iter().flatten() {
                let pod = item["describedObject"]["name"].as_str().or(item["metricLabels"]["pod"].as_str());
                let pod = PODS.iter().position(|known| Some(*known) == pod).expect("a pod");
                let value =
                    item["value"].as_str().and_then(|text| apiservice::quantity::Quantity::parse(text).ok());
                prop_assert_eq!(value.map(Quantity::as_f64), Some(asked.expected(pod)), "{:?}", asked);
            }
        }
        Ok(())
    });
    outcome.unwrap_or_else(|error| panic!("{error}"));
    let text = telemetry.text();
    let of_before =
        text.lines().find(|line| line.starts_with("adapter_policy_values_total{policy=\"on_empty_last\"}"));
    let count: f64 = of_before.and_then(|line| line.rsplit(' ').next()?.parse().ok()).expect("a count");
    assert!(count > 500.0, "values of before were served {count} times");
}
