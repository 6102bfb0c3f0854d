//! Requests through the whole of the adapter but TLS, over a recorded source: exact bodies, and what was asked for
//! them.

use std::sync::Arc;

use adapter::objects::Objects;
use adapter::objects::scraped::ScrapedObjects;
use adapter::source::recorded::{Recorded, vector};
use adapter::source::{Held, Listing, MetricSource, QueryResult, Samples, SourceError, SourceErrorClass};
use apiservice::authn::{UNAUTHENTICATED, Union};
use apiservice::authz::{Chain, PrivilegedGroup};
use axum::Router;
use http::Method;
use testkit::router::{self, Response};
use testkit::rows::each_row_async;

use crate::harness::{Listed, listing};

const RULES: &str = r#"
rules:
- seriesQuery: 'depth{namespace!="",pod!=""}'
  resources: {overrides: {namespace: {resource: namespace}, pod: {resource: pod}, node: {resource: node}}}
  metricsQuery: 'max(<<.Series>>{<<.LabelMatchers>>}) by (<<.GroupBy>>)'
- seriesQuery: 'latency_sum{namespace!="",pod!=""}'
  resources: {overrides: {namespace: {resource: namespace}, pod: {resource: pod}}}
  name: {matches: "^(.*)_sum$", as: "${1}_avg"}
  metricsQuery: 'rate(latency_sum{<<.LabelMatchers>>}[2m]) / rate(latency_count{<<.LabelMatchers>>}[2m])'
- seriesQuery: 'broken'
  resources: {overrides: {namespace: {resource: namespace}, pod: {resource: pod}}}
  metricsQuery: 'broken{<<.LabelMatchers>>}'
externalRules:
- seriesQuery: 'queue_length'
  resources: {overrides: {namespace: {resource: namespace}}}
  metricsQuery: 'max(<<.Series>>{<<.LabelMatchers>>}) by (queue)'
- seriesQuery: 'jobs'
  resources: {namespaced: false}
  metricsQuery: 'scalar(sum(rate(<<.Series>>{<<.LabelMatchers>>}[5m])))'
resourceRules:
  cpu:
    containerQuery: 'cpu{<<.LabelMatchers>>} by (<<.GroupBy>>)'
    nodeQuery: 'node_cpu{<<.LabelMatchers>>} by (<<.GroupBy>>)'
    resources: {overrides: {instance: {resource: node}, namespace: {resource: namespace}, pod: {resource: pod}}}
    containerLabel: container
  memory:
    containerQuery: 'memory{<<.LabelMatchers>>} by (<<.GroupBy>>)'
    nodeQuery: 'node_memory{<<.LabelMatchers>>} by (<<.GroupBy>>)'
    resources: {overrides: {instance: {resource: node}, namespace: {resource: namespace}, pod: {resource: pod}}}
    containerLabel: container
  window: 2m
"#;
const C1: &str = "/apis/custom.metrics.k8s.io/v1beta1";
const E: &str = "/apis/external.metrics.k8s.io/v1beta1";
const M: &str = "/apis/metrics.k8s.io/v1beta1";
const C2: &str = "/apis/custom.metrics.k8s.io/v1beta2";
/// 2026-11-23T22:22:35.500Z
const AT: i64 = 1_795_472_555_500;
const BOTH: &str = r#"max(depth{namespace="default",pod=~"model-a|model-b"}) by (pod)"#;
const ONE: &str = r#"max(depth{namespace="default",pod="model-b"}) by (pod)"#;

struct Adapter {
    source: Arc<Recorded>,
    router: Router,
}

impl Adapter {
    /// An adapter whose series were listed once; `broken` cannot be listed.
    async fn started() -> Adapter {
        let source = Arc::new(Recorded::default());
        source.lists(r#"depth{namespace!="",pod!=""}"#, Ok(listing("depth", &["namespace", "node", "pod"])));
        source.lists(
            r#"latency_sum{namespace!="",pod!=""}"#,
            Ok(listing("latency_sum", &["namespace", "pod"])),
        );
        source.lists("broken", Ok(Listing::default()));
        source.lists("queue_length", Ok(listing("queue_length", &["namespace", "queue"])));
        source.lists("jobs", Ok(listing("jobs", &["tier"])));
        let targets: [(&[(&str, &str)], f64); 4] = [
            (&[("namespace", "default"), ("pod", "model-b"), ("app", "model"), ("tier", "back")], 1.0),
            (&[("namespace", "default"), ("pod", "model-a"), ("app", "model"), ("node", "n1")], 1.0),
            (&[("namespace", "other"), ("pod", "model-x"), ("app", "model")], 0.0),
            (&[("job", "self")], 1.0),
        ];
        source.answers("up", Ok(vector(targets, AT)));
        source.answers(
            BOTH,
            Ok(vector([(&[("pod", "model-a")] as &[_], 0.0), (&[("pod", "model-b")], 7.5)], AT)),
        );
        source.answers(ONE, Ok(vector([(&[("pod", "model-b")] as &[_], 7.5)], AT)));
        Adapter::over(source).await
    }

    async fn over(source: Arc<Recorded>) -> Adapter {
        let seam: Arc<dyn MetricSource> = Arc::clone(&source) as _;
        let objects: Arc<dyn Objects> = Arc::new(ScrapedObjects::new(Arc::clone(&seam)));
        let rules = rules::load(RULES).expect("valid rules");
        let listed = Listed::start(rules, seam, objects, |_| {}).await;
        // What is tested here comes after access control.
        let authorization = Chain::new(vec![Arc::new(PrivilegedGroup(UNAUTHENTICATED))]);
        let server = listed.server(Union::new(Vec::new()), authorization);
        Adapter { source, router: server.into_router() }
    }

    async fn get(&self, path: &str) -> Response {
        router::ask(&self.router, router::request(Method::GET, path, &[])).await
    }

    /// The message of an error answer.
    async fn error(&self, path: &str) -> (u16, String) {
        let response = self.get(path).await;
        (response.code, response.message())
    }
}

fn single(value: f64) -> QueryResult {
    vector([(&[("pod", "model-b")] as &[_], value)], AT)
}

#[tokio::test]
async fn lists_what_the_rules_make() {
    let adapter = Adapter::started().await;
    let response = adapter.get(C1).await;
    assert_eq!(response.code, 200);
    let names: Vec<String> = response.json()["resources"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|entry| format!("{} {}", entry["name"].as_str().expect("a name"), entry["namespaced"]))
        .collect();
    assert_eq!(
        names,
        [
            "namespaces/depth false",
            "namespaces/latency_avg false",
            "nodes/depth false",
            "pods/depth true",
            "pods/latency_avg true"
        ]
    );
}

#[tokio::test]
async fn every_pod_is_answered_in_both_versions() {
    let adapter = Adapter::started().await;
    let response = adapter.get(&format!("{C1}/namespaces/default/pods/*/depth")).await;
    assert_eq!((response.code, response.content_type()), (200, "application/json"));
    assert_eq!(
        response.text(),
        concat!(
            r#"{"kind":"MetricValueList","apiVersion":"custom.metrics.k8s.io/v1beta1","metadata":{},"items":["#,
            r#"{"describedObject":{"kind":"Pod","namespace":"default","name":"model-a","apiVersion":"v1"},"#,
            r#""metricName":"depth","timestamp":"2026-11-23T22:22:35Z","value":"0","selector":null},"#,
            r#"{"describedObject":{"kind":"Pod","namespace":"default","name":"model-b","apiVersion":"v1"},"#,
            r#""metricName":"depth","timestamp":"2026-11-23T22:22:35Z","value":"7500m","selector":null}]}"#,
            "\n"
        )
    );
    let response = adapter.get(&format!("{C2}/namespaces/default/pods/model-b/depth")).await;
    assert_eq!(
        response.text(),
        concat!(
            r#"{"kind":"MetricValueList","apiVersion":"custom.metrics.k8s.io/v1beta2","metadata":{},"items":["#,
            r#"{"describedObject":{"kind":"Pod","namespace":"default","name":"model-b","apiVersion":"v1"},"#,
            r#""metric":{"name":"depth","selector":null},"timestamp":"2026-11-23T22:22:35Z","value":"7500m"}]}"#,
            "\n"
        )
    );
    assert_eq!(adapter.source.asked(), ["up", BOTH, ONE]);
}

#[tokio::test]
async fn a_window_is_the_range_of_the_rule() {
    let adapter = Adapter::started().await;
    let query = r#"rate(latency_sum{namespace="default",pod="model-b"}[2m]) / rate(latency_count{namespace="default",pod="model-b"}[2m])"#;
    adapter.source.answers(query, Ok(single(0.25)));
    let response = adapter.get(&format!("{C1}/namespaces/default/pods/model-b/latency_avg")).await;
    assert!(response.text().contains(r#""window":120,"value":"250m""#), "{}", response.text());
    let response = adapter.get(&format!("{C2}/namespaces/default/pods/model-b/latency_avg")).await;
    assert!(response.text().contains(r#""windowSeconds":120,"value":"250m""#), "{}", response.text());
}

#[tokio::test]
async fn selectors_choose_objects_and_series() {
    let adapter = Adapter::started().await;
    let pods = format!("{C1}/namespaces/default/pods/*/depth");
    let response = adapter.get(&format!("{pods}?labelSelector=tier%3Dback")).await;
    assert!(
        response.text().contains(r#""name":"model-b""#) && !response.text().contains("model-a"),
        "{}",
        response.text()
    );
    let selected = r#"max(depth{code="200",path=~"a|b",namespace="default",pod="model-b"}) by (pod)"#;
    adapter.source.answers(selected, Ok(single(1.0)));
    let response = adapter
        .get(&format!(
            "{C1}/namespaces/default/pods/model-b/depth?metricLabelSelector=code%3D200%2Cpath+in+%28a%2Cb%29"
        ))
        .await;
    let echo = r#""selector":{"matchLabels":{"code":"200"},"matchExpressions":[{"key":"path","operator":"In","values":["a","b"]}]}"#;
    assert!(response.text().contains(echo), "{}", response.text());
    adapter
        .source
        .answers(r#"max(depth{a!="b",namespace="default",pod="model-b"}) by (pod)"#, Ok(single(1.0)));
    let response =
        adapter.get(&format!("{C1}/namespaces/default/pods/model-b/depth?metricLabelSelector=a!%3Db")).await;
    let echo = r#""selector":{"matchExpressions":[{"key":"a","operator":"NotIn","values":["b"]}]}"#;
    assert!(response.text().contains(echo), "{}", response.text());
}

#[tokio::test]
async fn namespaces_and_nodes_are_objects_too() {
    let adapter = Adapter::started().await;
    adapter.source.answers(
        r#"max(depth{namespace="default"}) by (namespace)"#,
        Ok(vector([(&[("namespace", "default")] as &[_], 3.0)], AT)),
    );
    adapter
        .source
        .answers(r#"max(depth{node="n1"}) by (node)"#, Ok(vector([(&[("node", "n1")] as &[_], 4.0)], AT)));
    let response = adapter.get(&format!("{C1}/namespaces/default/metrics/depth")).await;
    assert!(
        response
            .text()
            .contains(r#""describedObject":{"kind":"Namespace","name":"default","apiVersion":"v1"}"#),
        "{}",
        response.text()
    );
    let response = adapter.get(&format!("{C1}/nodes/*/depth")).await;
    assert!(
        response.text().contains(r#""describedObject":{"kind":"Node","name":"n1","apiVersion":"v1"}"#),
        "{}",
        response.text()
    );
}

#[tokio::test]
async fn metrics_and_objects_that_do_not_exist_are_not_found() {
    let adapter = Adapter::started().await;
    adapter.source.answers(r#"max(depth{namespace="default",pod="ghost"}) by (pod)"#, Ok(vector([], AT)));
    let rows = [
        ("/namespaces/default/pods/*/nosuch", 404, "the server could not find the metric nosuch for pods"),
        (
            "/namespaces/default/pods/ghost/depth",
            404,
            "the server could not find the metric depth for pods ghost",
        ),
        ("/namespaces/nosuch/pods/*/depth", 404, "the server could not find the metric depth for pods"),
        ("/namespaces/DEFAULT/pods/*/depth", 404, "the server could not find the metric depth for pods"),
        (
            "/namespaces/default/pods/*/depth?labelSelector=app%3Dnone",
            404,
            "the server could not find the metric depth for pods",
        ),
        (
            "/namespaces/default/pods/*/depth?labelSelector=tier%3E1",
            404,
            "the server could not find the metric depth for pods",
        ),
        ("/pods/*/depth", 404, "the server could not find the metric depth for pods"),
        ("/namespaces/default/nodes/n1/depth", 404, "the server could not find the metric depth for nodes"),
        (
            "/namespaces/default/widgets/*/depth",
            404,
            "the server could not find the metric depth for widgets",
        ),
        (
            "/namespaces/default/widgets.example.com/w/depth",
            404,
            "the server could not find the metric depth for widgets.example.com",
        ),
        (
            "/namespaces/default/pods/model%22a/depth",
            404,
            "the server could not find the metric depth for pods model\"a",
        ),
        (
            "/namespaces/default/pods/a%2Fb/depth",
            404,
            "the server could not find the metric depth for pods a/b",
        ),
        ("/namespaces/default/pods", 400, "invalid request path"),
        ("/namespaces/default/pods/model-a", 404, "the server could not find the requested resource"),
        ("/namespaces/default/pods/*/depth/x", 404, "the server could not find the requested resource"),
        ("/namespaces/default/metrics/depth/x", 404, "the server could not find the requested resource"),
        ("/namespaces/default", 404, "the server could not find the requested resource"),
        ("/namespaces/default/status", 404, "the server could not find the metric status for namespaces"),
        ("/nodes/n1", 404, "the server could not find the requested resource"),
        ("/namespaces/default/pods/../depth", 400, "invalid request path: found a . or .. segment"),
        ("/namespaces/default/pods//depth", 400, "invalid request path: found an empty segment"),
    ];
    each_row_async(rows, async |(path, code, message)| {
        assert_eq!(adapter.error(&format!("{C1}{path}")).await, (code, message.to_owned()), "{path}");
    })
    .await;
}

#[tokio::test]
async fn the_step_that_finds_nothing_is_counted() {
    let adapter = Adapter::started().await;
    let counts = async || {
        let response = adapter.get("/metrics").await;
        let text = response.text();
        let lines = text.lines().filter_map(|line| line.strip_prefix("adapter_metrics_not_found_total"));
        let counts: Vec<String> = lines.map(str::to_owned).collect();
        counts
    };
    assert_eq!(
        counts().await,
        [
            r#"{step="metric"} 0"#,
            r#"{step="objects"} 0"#,
            r#"{step="resource"} 0"#,
            r#"{step="sample"} 0"#,
            r#"{step="value"} 0"#
        ]
    );
    adapter.source.answers(
        r#"max(depth{namespace="default",pod="nope"}) by (pod)"#,
        Ok(vector([(&[("pod", "another")] as &[_], 1.0)], AT)),
    );
    let rows = [
        // No such resource; one that is not in a namespace; one that is.
        format!("{C1}/namespaces/default/nonsense/x/depth"),
        format!("{C1}/namespaces/default/nodes/n1/depth"),
        format!("{C1}/pods/x/depth"),
        // No such metric.
        format!("{C1}/namespaces/default/pods/x/dept"),
        format!("{E}/namespaces/default/nonsense"),
        // No object, no sample.
        format!("{C1}/namespaces/default/pods/*/depth?labelSelector=app%3Dnope"),
        format!("{C1}/namespaces/default/pods/nope/depth"),
        format!("{C1}/namespaces/default/pods/No!Name/depth"),
    ];
    each_row_async(rows, async |path| {
        assert_eq!(adapter.error(&path).await.0, 404, "{path}");
    })
    .await;
    assert_eq!(
        counts().await,
        [
            r#"{step="metric"} 2"#,
            r#"{step="objects"} 1"#,
            r#"{step="resource"} 3"#,
            r#"{step="sample"} 2"#,
            r#"{step="value"} 0"#
        ]
    );
}

#[tokio::test]
async fn parameters_that_cannot_be_read_are_refused() {
    let adapter = Adapter::started().await;
    let one = format!("{C1}/namespaces/default/pods/model-b/depth");
    let rows = [
        ("labelSelector=bad%3D%3D%3D", 400, "unable to parse requirement: found '=', expected: identifier"),
        ("metricLabelSelector=((", 400, "found '(', expected: !, identifier, or 'end of string'"),
        (
            "metricLabelSelector=a%3E1",
            400,
            "the operator > of \"a\" is not supported in a metric selector; expected =, !=, in, notin, exists or !",
        ),
        (
            "metricLabelSelector=a.b/c%3D1",
            400,
            "\"a.b/c\" in the metric selector is not a label of this metric's series; expected one of theirs, or letters, digits and _, not starting with a digit",
        ),
        ("limit=abc", 400, "strconv.ParseInt: parsing \"abc\": invalid syntax"),
        (
            "timeout=bogus",
            400,
            "invalid timeout specified in the request URL - time: invalid duration \"bogus\"",
        ),
        (
            "fieldSelector=metadata.name%3Dother",
            400,
            "fieldSelector metadata.name doesn't match requested name",
        ),
        (
            "fieldSelector=foo%3Dbar",
            400,
            "\"foo\" is not a known field selector: only \"metadata.name\", \"metadata.namespace\"",
        ),
    ];
    each_row_async(rows, async |(query, code, message)| {
        assert_eq!(adapter.error(&format!("{one}?{query}")).await, (code, message.to_owned()), "{query}");
    })
    .await;
    for query in ["fieldSelector=metadata.name%3Dmodel-b", "limit=1", "watch=true", "bogus=1", "pretty=0", ""]
    {
        assert_eq!(adapter.get(&format!("{one}?{query}")).await.code, 200, "{query}");
    }
}

#[tokio::test]
async fn what_no_quantity_can_hold_is_missing_and_never_zero() {
    let adapter = Adapter::started().await;
    let one = format!("{C1}/namespaces/default/pods/model-b/depth");
    let rows = [
        (f64::INFINITY, "the sample of model-b is +Inf, which no quantity can hold"),
        (f64::NEG_INFINITY, "the sample of model-b is -Inf, which no quantity can hold"),
        (1e300, "the sample of model-b is 1e300, beyond what a quantity can hold"),
        (1e18, "the sample of model-b is 1e18, beyond what a quantity can hold"),
    ];
    each_row_async(rows, async |(value, why)| {
        adapter.source.answers(ONE, Ok(single(value)));
        let expected =
            format!("Internal error occurred: the metric depth of pods by rules[0] has no value: {why}");
        assert_eq!(adapter.error(&one).await, (500, expected));
    })
    .await;
    adapter.source.answers(ONE, Ok(single(f64::NAN)));
    assert!(adapter.get(&one).await.text().contains(r#""value":"0""#));
    // In a list the others are shown.
    adapter.source.answers(
        BOTH,
        Ok(vector([(&[("pod", "model-a")] as &[_], 2.0), (&[("pod", "model-b")], f64::INFINITY)], AT)),
    );
    let list = adapter.get(&format!("{C1}/namespaces/default/pods/*/depth")).await;
    assert!(
        list.text().contains(r#""name":"model-a""#) && !list.text().contains("model-b"),
        "{}",
        list.text()
    );
    assert!(
        adapter
            .get("/metrics")
            .await
            .text()
            .contains(r#"adapter_samples_dropped_total{reason="infinite"} 3"#)
    );
}

#[tokio::test]
async fn the_later_of_two_samples_wins_and_samples_of_other_objects_are_left_out() {
    let adapter = Adapter::started().await;
    let one = format!("{C1}/namespaces/default/pods/model-b/depth");
    let list = format!("{C1}/namespaces/default/pods/*/depth");
    // Of two samples for one object the later wins; samples of other objects are not shown.
    let twice: [(&[(&str, &str)], f64); 3] =
        [(&[("pod", "model-b")], 1.0), (&[("pod", "model-b")], 2.0), (&[("pod", "x")], 9.0)];
    adapter.source.answers(ONE, Ok(vector(twice, AT)));
    let response = adapter.get(&one).await;
    let body = response.text();
    assert!(body.contains(r#""value":"2""#) && !body.contains('9'), "{body}");
    // A result without the label joins nothing.
    let unlabelled: [(&[(&str, &str)], f64); 1] = [(&[], 1.0)];
    adapter.source.answers(BOTH, Ok(vector(unlabelled, AT)));
    assert!(adapter.get(&list).await.text().contains(r#""items":[]"#));
    adapter.source.answers(ONE, Ok(vector(unlabelled, AT)));
    assert_eq!(adapter.error(&one).await.0, 404);
    // A scalar does not answer for objects, and the rule is named.
    let scalar = Samples::Scalar { timestamp_ms: AT, value: 1.0 };
    adapter.source.answers(
        ONE,
        Ok(QueryResult { value: scalar, warnings: vec![], histograms_dropped: 0, held: Held::default() }),
    );
    let (code, message) = adapter.error(&one).await;
    assert_eq!(code, 500);
    assert!(message.contains("rules[0] yields a scalar"), "{message}");
}

#[tokio::test]
async fn an_outage_is_an_error_with_its_cause() {
    let adapter = Adapter::started().await;
    let one = format!("{C1}/namespaces/default/pods/model-b/depth");
    let rows = [
        (SourceErrorClass::Unavailable, 503, "ServiceUnavailable"),
        (SourceErrorClass::Timeout, 504, "Timeout"),
        (SourceErrorClass::BadQuery, 500, "InternalError"),
        (SourceErrorClass::WrongType, 500, "InternalError"),
    ];
    each_row_async(rows, async |(class, code, reason)| {
        adapter.source.answers(ONE, Err(SourceError::new(class, "Prometheus answered boom")));
        let response = adapter.get(&one).await;
        assert_eq!(response.code, code);
        assert!(response.text().contains(&format!(r#""reason":"{reason}""#)), "{}", response.text());
        assert!(
            response.text().contains("unable to fetch metrics by rules[0]: Prometheus answered boom"),
            "{}",
            response.text()
        );
    })
    .await;
    // Listing objects needs the source too.
    adapter.source.answers("up", Err(SourceError::new(SourceErrorClass::Unavailable, "gone")));
    assert_eq!(adapter.get(&format!("{C1}/namespaces/default/pods/*/depth")).await.code, 503);
    // Discovery does not.
    assert_eq!(adapter.get(C1).await.code, 200);
}

#[tokio::test]
async fn one_bad_rule_does_not_stop_the_others() {
    let source = Arc::new(Recorded::default());
    source.lists(r#"depth{namespace!="",pod!=""}"#, Ok(listing("depth", &["namespace", "pod"])));
    source.lists(
        "broken",
        Err(SourceError::new(SourceErrorClass::BadQuery, "Prometheus answered bad_data: no")),
    );
    source.lists(r#"latency_sum{namespace!="",pod!=""}"#, Ok(Listing::default()));
    source.lists("queue_length", Ok(Listing::default()));
    source.lists("jobs", Ok(Listing::default()));
    source.answers(ONE, Ok(single(7.5)));
    let adapter = Adapter::over(source).await;
    assert_eq!(adapter.get(&format!("{C1}/namespaces/default/pods/model-b/depth")).await.code, 200);
    // What may be the broken rule's is not said to be unknown.
    let (code, message) = adapter.error(&format!("{C1}/namespaces/default/pods/model-b/other")).await;
    assert_eq!(code, 503);
    assert_eq!(
        message,
        "the metric other is not listed, and 1 of the series queries have no result yet; broken: Prometheus answered \
         bad_data: no"
    );
}

#[tokio::test]
async fn external_metrics_are_answered_in_the_order_of_the_source() {
    let adapter = Adapter::started().await;
    let response = adapter.get(E).await;
    assert!(
        response.text().contains(
            r#""resources":[{"name":"jobs","singularName":"","namespaced":true,"kind":"ExternalMetricValueList","verbs":["get"]},{"name":"queue_length""#
        ),
        "{}",
        response.text()
    );
    let query = r#"max(queue_length{queue=~"a\\.b|c",namespace="default"}) by (queue)"#;
    let samples: [(&[(&str, &str)], f64); 3] =
        [(&[("queue", "c")], 2.5), (&[("queue", "a.b")], f64::NAN), (&[], f64::INFINITY)];
    adapter.source.answers(query, Ok(vector(samples, AT)));
    let response =
        adapter.get(&format!("{E}/namespaces/default/queue_length?labelSelector=queue+in+(c,a.b)")).await;
    assert_eq!(
        response.text(),
        concat!(
            r#"{"kind":"ExternalMetricValueList","apiVersion":"external.metrics.k8s.io/v1beta1","metadata":{},"items":["#,
            r#"{"metricName":"queue_length","metricLabels":{"queue":"c"},"timestamp":"2026-11-23T22:22:35Z","value":"2500m"},"#,
            r#"{"metricName":"queue_length","metricLabels":{"queue":"a.b"},"timestamp":"2026-11-23T22:22:35Z","value":"0"}]}"#,
            "\n"
        ),
        "the order is the source's, and what no quantity can hold is left out"
    );
    let scalar = Samples::Scalar { timestamp_ms: AT, value: 42.0 };
    let result =
        QueryResult { value: scalar, warnings: Vec::new(), histograms_dropped: 0, held: Held::default() };
    adapter.source.answers("scalar(sum(rate(jobs{}[5m])))", Ok(result));
    // A rule that is not namespaced does not look at the namespace, be it one or not.
    let response = adapter.get(&format!("{E}/namespaces/*/jobs")).await;
    assert!(
        response.text().contains(
            r#""items":[{"metricName":"jobs","metricLabels":null,"timestamp":"2026-11-23T22:22:35Z","window":300,"value":"42"}]"#
        ),
        "{}",
        response.text()
    );
    let asked = adapter.source.asked();
    let response = adapter.get(&format!("{E}/namespaces/*/queue_length")).await;
    assert!(response.code == 200 && response.text().contains(r#""items":[]"#), "{}", response.text());
    let rows = [
        (
            "/namespaces/default/nosuch",
            404,
            "the server could not find the metric nosuch for namespace default",
        ),
        ("/queue_length", 404, "the server could not find the requested resource"),
        ("/namespaces/default/queue_length/x", 404, "the server could not find the requested resource"),
        (
            "/namespaces/default/queue_length?labelSelector=queue%3E1",
            400,
            "the operator > of \"queue\" is not supported in a metric selector; expected =, !=, in, notin, exists or !",
        ),
        (
            "/namespaces/default/queue_length?labelSelector=((",
            400,
            "found '(', expected: !, identifier, or 'end of string'",
        ),
        (
            "/namespaces/default/queue_length?fieldSelector=spec.x%3Dy",
            400,
            "\"spec.x\" is not a known field selector: only \"metadata.name\", \"metadata.namespace\"",
        ),
        (
            "/namespaces/default/queue_length?watch=true",
            405,
            "watch is not supported on resources of kind \"*.external.metrics.k8s.io\"",
        ),
    ];
    each_row_async(rows, async |(path, code, message)| {
        assert_eq!(adapter.error(&format!("{E}{path}")).await, (code, message.to_owned()), "{path}");
    })
    .await;
    assert_eq!(adapter.source.asked(), asked, "none of these reaches the source");
    // Alone, a sample that no quantity can hold is an error that names it: an empty list would hide it.
    let infinite: [(&[(&str, &str)], f64); 1] = [(&[], f64::INFINITY)];
    adapter.source.answers(r#"max(queue_length{namespace="default"}) by (queue)"#, Ok(vector(infinite, AT)));
    assert_eq!(
        adapter.error(&format!("{E}/namespaces/default/queue_length")).await,
        (
            500,
            "Internal error occurred: the metric queue_length of namespace default by externalRules[0] has no value: \
             the sample of queue_length is +Inf, which no quantity can hold"
                .to_owned()
        )
    );
}

#[tokio::test]
async fn the_use_of_cpu_and_memory_is_answered_for_pods_and_nodes() {
    let adapter = Adapter::started().await;
    let of = |text: &'static str| -> Vec<(&'static str, &'static str)> {
        text.split(',').filter_map(|pair| pair.split_once('=')).collect()
    };
    let answer = |query: &str, samples: &[(&'static str, f64)]| {
        let labels: Vec<(Vec<(&str, &str)>, f64)> =
            samples.iter().map(|(labels, value)| (of(labels), *value)).collect();
        let samples = labels.iter().map(|(labels, value)| (labels.as_slice(), *value));
        adapter.source.answers(query, Ok(vector(samples, AT)));
    };
    let both = r#"{namespace="default",pod=~"model-a|model-b"} by (pod,container)"#;
    answer(
        &format!("cpu{both}"),
        &[
            ("pod=model-a,container=z", 0.0124),
            ("pod=model-a,container=b", -1.0),
            ("pod=model-b,container=b", 1.0),
        ],
    );
    answer(&format!("memory{both}"), &[("pod=model-a,container=z", 1_048_576.0)]);
    let response = adapter.get(&format!("{M}/namespaces/default/pods?labelSelector=app%3Dmodel")).await;
    let body = response.text().split_once("creationTimestamp").expect("one pod");
    assert_eq!(
        body.0,
        r#"{"kind":"PodMetricsList","apiVersion":"metrics.k8s.io/v1beta1","metadata":{},"items":[{"metadata":{"name":"model-a","namespace":"default",""#
    );
    assert!(
        body.1.ends_with(concat!(
            r#""timestamp":"2026-11-23T22:22:35Z","window":"2m0s","containers":["#,
            r#"{"name":"b","usage":{"cpu":"0","memory":"0"}},"#,
            r#"{"name":"z","usage":{"cpu":"12m","memory":"1Mi"}}]}]}"#,
            "\n"
        )),
        "sorted by name, nothing below zero, a pod without memory left out: {}",
        body.1
    );
    let one = r#"{namespace="default",pod="model-b"} by (pod,container)"#;
    answer(&format!("cpu{one}"), &[("pod=model-b,container=b", 1.0)]);
    answer(&format!("memory{one}"), &[]);
    answer(r#"node_cpu{instance="n1"} by (instance)"#, &[("instance=n1", 1.234)]);
    answer(r#"node_memory{instance="n1"} by (instance)"#, &[("instance=n1", 8_123_456_789.0)]);
    let response = adapter.get(&format!("{M}/nodes")).await;
    assert!(
        response.text().contains(r#""window":"2m0s","usage":{"cpu":"1234m","memory":"8123456789"}}]}"#),
        "{}",
        response.text()
    );
    let response = adapter.get(&format!("{M}/nodes/n1")).await;
    assert!(response.text().starts_with(
        r#"{"kind":"NodeMetrics","apiVersion":"metrics.k8s.io/v1beta1","metadata":{"name":"n1","#
    ));
    let response = adapter.get(&format!("{M}/namespaces/nosuch/pods")).await;
    assert!(response.code == 200 && response.text().contains(r#""items":[]"#), "{}", response.text());
    let rows = [
        ("/namespaces/default/pods/ghost", 404, "pods \"ghost\" not found"),
        ("/nodes/nx", 404, "node \"nx\" not found"),
        ("/namespaces/default/pods/model-b", 404, "podmetrics.metrics.k8s.io \"default/model-b\" not found"),
        ("/pods/model-a", 404, "the server could not find the requested resource"),
        ("/namespaces/default/nodes", 404, "the server could not find the requested resource"),
        (
            "/namespaces/default/pods?watch=1",
            405,
            "watch is not supported on resources of kind \"pods.metrics.k8s.io\"",
        ),
    ];
    each_row_async(rows, async |(path, code, message)| {
        assert_eq!(adapter.error(&format!("{M}{path}")).await, (code, message.to_owned()), "{path}");
    })
    .await;
    // An outage is an error, never an empty list (D13).
    let away = SourceError::new(SourceErrorClass::Unavailable, "Prometheus did not answer");
    adapter.source.answers(r#"node_cpu{instance="n1"} by (instance)"#, Err(away));
    assert_eq!(
        adapter.error(&format!("{M}/nodes")).await,
        (503, "unable to fetch metrics by resourceRules.cpu: Prometheus did not answer".to_owned())
    );
}
