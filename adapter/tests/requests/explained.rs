//! Why there is no value: what the log says of it, how often, and what is counted. Requests go to the answerer over a
//! recorded source, and the log is read where it is written.

use std::io::Write;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use adapter::answer::Answerer;
use adapter::objects::Objects;
use adapter::objects::scraped::ScrapedObjects;
use adapter::rule_report::RuleReport;
use adapter::rules_file::{RulesFile, log_findings};
use adapter::source::recorded::{Recorded, vector};
use adapter::source::{Listing, MetricSource, QueryResult};
use adapter::telemetry::Telemetry;
use apiservice::attributes::Attributes;
use apiservice::authn::User;
use apiservice::authz::Chain;
use apiservice::list_options::ListOptions;
use apiservice::query::QueryParameters;
use apiservice::server::{Answer, ApiRequest, Handler as _, Holding};
use apiservice::status::ApiError;
use http::Method;
use testkit::rows::{each_row, each_row_async};
use testkit::wait::until;
use tokio::sync::watch;
use tracing::subscriber::DefaultGuard;

use crate::harness::{Listed, listing};

const BY_LABELS: &str = "{overrides: {namespace: {resource: namespace}, pod: {resource: pod}}}";
const AT: i64 = 1_795_472_555_500;
/// Labels of a sample and its number.
type Numbers<'a> = &'a [(&'a [(&'a str, &'a str)], f64)];

/// What was logged in this test, and only in this one.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    /// Everything that this thread logs goes here while the guard is kept.
    fn start() -> (Log, DefaultGuard) {
        let log = Log::default();
        let writer = log.clone();
        let lines = tracing_subscriber::fmt().with_ansi(false).with_writer(move || writer.clone());
        (log, tracing::subscriber::set_default(lines.finish()))
    }

    fn lines(&self, part: &str) -> Vec<String> {
        let bytes = self.0.lock().expect("no writer panics").clone();
        let text = String::from_utf8(bytes).expect("text");
        text.lines().filter(|line| line.contains(part)).map(str::to_owned).collect()
    }

    /// The one line with `part`, which has `parts` too.
    fn one(&self, part: &str, parts: &[&str]) {
        let lines = self.lines(part);
        let [line] = lines.as_slice() else { panic!("{part} is not in one line of {:#?}", self.lines("")) };
        for part in parts {
            assert!(line.contains(part), "{part} is not in {line}");
        }
    }
}

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().expect("no writer panics").extend(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

struct Adapter {
    source: Arc<Recorded>,
    answerer: Answerer,
    telemetry: Arc<Telemetry>,
    log: Log,
    _logging: DefaultGuard,
}

impl Adapter {
    /// An adapter with `rules` that listed `series`, each under its own name, and knows the pods a and b and the node
    /// n1.
    async fn started(rules: &str, series: &[(&str, &[&str])]) -> Adapter {
        let (log, logging) = Log::start();
        let source = Arc::new(Recorded::default());
        for (name, labels) in series {
            source.lists(name, Ok(listing(name, labels)));
        }
        source.answers(
            "up",
            Ok(numbers(&[
                (&[("namespace", "default"), ("pod", "a"), ("node", "n1")], 1.0),
                (&[("namespace", "default"), ("pod", "b")], 1.0),
            ])),
        );
        let rules = rules::load_valid(rules).unwrap_or_else(|faults| panic!("{faults}"));
        let seam: Arc<dyn MetricSource> = Arc::clone(&source) as _;
        let objects: Arc<dyn Objects> = Arc::new(ScrapedObjects::new(Arc::clone(&seam)));
        let mut report = RuleReport::default();
        let listed = Listed::start(rules, seam, objects, move |snapshot| report.log(snapshot)).await;
        let (answerer, telemetry) = (listed.answerer(Chain::new(Vec::new())), listed.telemetry);
        Adapter { source, answerer, telemetry, log, _logging: logging }
    }

    /// Asks `GROUP.metrics.k8s.io/PATH?QUERY`.
    async fn ask(&self, url: &str) -> Result<Answer, ApiError> {
        let (path, query) = url.split_once('?').unwrap_or((url, ""));
        let (group, path) = path.split_once('/').expect("a group and a path");
        let group =
            if group == "usage" { "metrics.k8s.io".to_owned() } else { format!("{group}.metrics.k8s.io") };
        let path = format!("/apis/{group}/v1beta1/{path}");
        // As decoded: what a caller may write in a path is not the question here.
        let segments: Vec<String> = path[1..].split('/').map(str::to_owned).collect();
        let query = QueryParameters::parse(query);
        let attributes = Attributes::of(&Method::GET, &path, &segments, ListOptions::of(&query));
        let request = ApiRequest {
            group,
            version: "v1beta1".to_owned(),
            segments: segments[3..].to_vec(),
            attributes: Arc::new(attributes),
            query,
            user: User::default(),
            deadline: Instant::now() + Duration::from_mins(1),
            holding: Holding::default(),
        };
        self.answerer.handle(request).await
    }

    fn answers(&self, promql: &str, samples: Numbers<'_>) {
        self.source.answers(promql, Ok(numbers(samples)));
    }

    fn answers_with_histograms(&self, promql: &str, count: usize) {
        let histograms_dropped = count;
        self.source.answers(promql, Ok(QueryResult { histograms_dropped, ..numbers(&[]) }));
    }

    fn counts(&self, series: &str, count: usize) {
        let text = self.telemetry.text();
        assert!(text.contains(&format!("{series} {count}\n")), "{series} {count} is not in {text}");
    }
}

fn numbers(samples: Numbers<'_>) -> QueryResult {
    vector(samples.iter().copied(), AT)
}

fn is_empty(answer: Result<Answer, ApiError>) -> bool {
    match answer {
        Ok(Answer::ExternalMetricValues(list)) => list.items.is_empty(),
        Ok(Answer::MetricValues(list)) => list.items.is_empty(),
        Ok(Answer::Nodes(list)) => list.is_empty(),
        Ok(Answer::Pods(list)) => list.is_empty(),
        _ => false,
    }
}

fn rule(section: &str, series: &str, resources: &str, query: &str) -> String {
    format!("{section}:\n- seriesQuery: {series}\n  resources: {resources}\n  metricsQuery: '{query}'\n")
}

#[tokio::test]
async fn an_external_metric_without_a_sample_says_why_once() {
    let rules = rule("externalRules", "backlog", BY_LABELS, "<<.Series>>{<<.LabelMatchers>>}");
    let adapter = Adapter::started(&rules, &[("backlog", &["namespace", "topic"])]).await;
    adapter.answers(r#"backlog{namespace="default"}"#, &[]);
    adapter.answers(r#"backlog{topic="x",namespace="default"}"#, &[]);
    adapter.answers(r#"backlog{queue="x",namespace="default"}"#, &[]);
    for _ in 0..3 {
        assert!(is_empty(adapter.ask("external/namespaces/default/backlog").await));
    }
    let reason = r#"the query of externalRules[0] found no sample with namespace="default""#;
    adapter.log.one("asked=namespaces/default/backlog step", &[reason, "step=\"sample\"", "promql=backlog{"]);
    assert!(is_empty(adapter.ask("external/namespaces/default/backlog?labelSelector=topic%3Dx").await));
    adapter.log.one("labelSelector=topic=x", &["and the selector topic=x"]);
    assert!(is_empty(adapter.ask("external/namespaces/default/backlog?labelSelector=queue%3Dx").await));
    adapter.log.one("labelSelector=queue=x", &[r#"limited by "queue", which no series of backlog carries"#]);
    assert!(is_empty(adapter.ask("external/namespaces/*/backlog").await));
    adapter.log.one(
        "asked=namespaces/*/backlog",
        &[r#"namespace "*" is not a Kubernetes name"#, "is limited to a namespace"],
    );
    adapter.counts(r#"adapter_metrics_not_found_total{step="sample"}"#, 6);
    adapter.answers(r#"backlog{namespace="default"}"#, &[(&[], f64::INFINITY)]);
    assert!(adapter.ask("external/namespaces/default/backlog").await.is_err());
    adapter.log.one("the sample of backlog is +Inf", &["externalRules[0]"]);
    adapter.counts(r#"adapter_metrics_not_found_total{step="value"}"#, 1);
}

#[tokio::test]
async fn a_label_that_no_series_carries_is_named() {
    let labels = "{overrides: {kubernetes_namespace: {resource: namespace}, pod: {resource: pod}}}";
    let query = "sum(<<.Series>>{<<.LabelMatchers>>}) by (<<.GroupBy>>)";
    let adapter = Adapter::started(
        &rule("rules", "queue_depth", labels, query),
        &[("queue_depth", &["namespace", "pod"])],
    )
    .await;
    adapter.answers(r#"sum(queue_depth{kubernetes_namespace="default",pod=~"a|b"}) by (pod)"#, &[]);
    assert!(is_empty(adapter.ask("custom/namespaces/default/pods/*/queue_depth").await));
    let reason = r#"is limited by "kubernetes_namespace", which no series of queue_depth carries; they carry namespace, pod"#;
    adapter.log.one("asked=namespaces/default/pods/*/queue_depth", &[reason]);
}

#[tokio::test]
async fn an_answer_of_native_histograms_alone_is_told_from_none() {
    let rules = rule("rules", "latency", BY_LABELS, "<<.Series>>{<<.LabelMatchers>>}")
        + &rule("externalRules", "latency", "{namespaced: false}", "<<.Series>>{<<.LabelMatchers>>}");
    let adapter = Adapter::started(&rules, &[("latency", &["namespace", "pod"])]).await;
    adapter.answers_with_histograms(r#"latency{namespace="default",pod="a"}"#, 1);
    adapter.answers_with_histograms("latency{}", 2);
    assert!(adapter.ask("custom/namespaces/default/pods/a/latency").await.is_err());
    assert!(is_empty(adapter.ask("external/namespaces/default/latency").await));
    each_row([("rules[0]", 1), ("externalRules[0]", 2)], |(rule, count)| {
        let hint = "histogram_quantile, histogram_count or histogram_sum";
        adapter
            .log
            .one(&format!("the query of {rule} found {count} native histograms and no number"), &[hint]);
    });
    adapter.counts(r#"adapter_samples_dropped_total{reason="histogram"}"#, 3);
}

#[tokio::test]
async fn a_query_without_a_place_for_selectors_is_warned_of_once() {
    let rules = rule("rules", "x", BY_LABELS, "sum(x) by (pod)")
        + &rule("externalRules", "lag", "{namespaced: false}", "avg by (topic) (avg_over_time(lag[1m]))");
    let adapter = Adapter::started(&rules, &[("x", &["namespace", "pod"]), ("lag", &["topic"])]).await;
    adapter.answers("sum(x) by (pod)", &[(&[("pod", "a")], 1.0)]);
    adapter.answers("avg by (topic) (avg_over_time(lag[1m]))", &[(&[("topic", "prices")], 1.0)]);
    each_row_async(["", "?labelSelector=topic%3Dprices", "?labelSelector=topic%3Dother"], async |topic| {
        assert!(!is_empty(adapter.ask(&format!("external/namespaces/default/lag{topic}")).await));
    })
    .await;
    adapter.log.one(
        "ignoring the selector of a request",
        &["WARN", "rule=externalRules[0]", "selector=topic=prices"],
    );
    assert!(
        adapter.log.lines("ignoring the namespace of a request").is_empty(),
        "namespaced: false means it"
    );
    for _ in 0..2 {
        adapter.ask("custom/namespaces/default/pods/a/x").await.expect("a value");
    }
    adapter.log.one("ignoring the namespace of a request", &["WARN", "rule=rules[0]"]);
}

#[tokio::test]
async fn of_several_samples_for_an_object_the_last_number_counts_and_the_log_says_so() {
    let rules = rule("rules", "requests", BY_LABELS, "<<.Series>>{<<.LabelMatchers>>}");
    let adapter = Adapter::started(&rules, &[("requests", &["code", "namespace", "pod"])]).await;
    let two = |first: f64, second: f64| {
        let samples: Numbers<'_> =
            &[(&[("pod", "a"), ("code", "200")], first), (&[("pod", "a"), ("code", "500")], second)];
        adapter.answers(r#"requests{namespace="default",pod="a"}"#, samples);
    };
    for (first, second, expected) in
        [(3.0, 9.0, "9"), (3.0, f64::NAN, "3"), (f64::NAN, 9.0, "9"), (f64::NAN, f64::NAN, "0")]
    {
        two(first, second);
        let answer = adapter.ask("custom/namespaces/default/pods/a/requests").await;
        let Ok(Answer::MetricValues(list)) = answer else { panic!("{answer:?}") };
        assert_eq!(list.items[0].value.to_string(), expected, "{first} and {second}");
    }
    let parts = ["rule=rules[0]", "metric=\"requests\"", "object=a", "aggregate by <<.GroupBy>>"];
    adapter.log.one("several samples for one object", &parts);
    adapter.counts(r#"adapter_duplicate_samples_total{rule="rules[0]"}"#, 4);
}

#[tokio::test]
async fn a_sample_of_another_namespace_is_of_no_object_and_the_log_says_so() {
    let query = "sum(<<.Series>>) by (namespace, pod)";
    let adapter =
        Adapter::started(&rule("rules", "depth", BY_LABELS, query), &[("depth", &["namespace", "pod"])])
            .await;
    let of = |namespace: &'static str, value| [("namespace", namespace), ("pod", "a"), ("value", value)];
    let (other, own) = (of("other", "1"), of("default", "2"));
    let promql = "sum(depth) by (namespace, pod)";
    adapter.answers(promql, &[(&own, 3.0), (&other, 77.0)]);
    let answer = adapter.ask("custom/namespaces/default/pods/a/depth").await;
    let Ok(Answer::MetricValues(list)) = answer else { panic!("{answer:?}") };
    assert_eq!(list.items[0].value.to_string(), "3");
    // Alone it is none, and one that says no namespace is taken as it is.
    adapter.answers(promql, &[(&other, 77.0)]);
    let error = adapter.ask("custom/namespaces/default/pods/a/depth").await.expect_err("no value");
    assert_eq!(error.code(), 404);
    each_row_async([&[("pod", "a")][..], &[("namespace", ""), ("pod", "a")]], async |unnamed| {
        adapter.answers(promql, &[(unnamed, 5.0)]);
        let answer = adapter.ask("custom/namespaces/default/pods/a/depth").await;
        let Ok(Answer::MetricValues(list)) = answer else { panic!("{answer:?}") };
        assert_eq!(list.items[0].value.to_string(), "5");
    })
    .await;
    let parts = ["rule=rules[0]", "object=a", "namespace=other", "limit the query by <<.LabelMatchers>>"];
    adapter.log.one("samples of a namespace that was not requested", &parts);
    adapter.log.one("metric has no value", &["every sample that the query of rules[0] found is of another"]);
    adapter.counts(r#"adapter_samples_dropped_total{reason="other_namespace"}"#, 2);
    adapter.counts(r#"adapter_duplicate_samples_total{rule="rules[0]"}"#, 0);
}

#[tokio::test]
async fn the_label_of_namespaces_is_the_rules_own() {
    let labels = "{overrides: {ns: {resource: namespace}, pod: {resource: pod}}}";
    let rules = rule("rules", "depth", labels, "sum(<<.Series>>) by (ns, pod)");
    let adapter = Adapter::started(&rules, &[("depth", &["ns", "pod"])]).await;
    // `namespace` means nothing to this rule.
    let samples: Numbers<'_> = &[
        (&[("namespace", "other"), ("ns", "default"), ("pod", "a")], 3.0),
        (&[("namespace", "default"), ("ns", "other"), ("pod", "a")], 77.0),
    ];
    adapter.answers("sum(depth) by (ns, pod)", samples);
    let answer = adapter.ask("custom/namespaces/default/pods/a/depth").await;
    let Ok(Answer::MetricValues(list)) = answer else { panic!("{answer:?}") };
    assert_eq!(list.items[0].value.to_string(), "3");
}

#[tokio::test]
async fn use_of_another_namespaces_pod_is_not_shown() {
    let adapter = Adapter::started(USAGE, &[]).await;
    let of = |namespace| [("namespace", namespace), ("pod", "a"), ("container", "web")];
    let (own, other) = (of("default"), of("other"));
    for (query, value) in [("cpu", 0.5), ("memory", 1024.0)] {
        let promql = format!(r#"{query}{{namespace="default",pod="a"}}"#);
        adapter.answers(&promql, &[(&own, value), (&other, value * 100.0)]);
    }
    let answer = adapter.ask("usage/namespaces/default/pods/a").await;
    let Ok(Answer::Pod(pod)) = answer else { panic!("{answer:?}") };
    assert_eq!(pod.containers[0].usage.cpu.to_string(), "500m");
    adapter.counts(r#"adapter_samples_dropped_total{reason="other_namespace"}"#, 2);
}

#[tokio::test]
async fn an_external_metric_shows_the_namespaces_of_its_samples_as_labels() {
    let query = "sum(<<.Series>>) by (namespace)";
    let rules = rule("externalRules", "depth", BY_LABELS, query);
    let adapter = Adapter::started(&rules, &[("depth", &["namespace", "pod"])]).await;
    adapter.answers("sum(depth) by (namespace)", &[(&[("namespace", "other")], 7.0)]);
    let answer = adapter.ask("external/namespaces/default/depth").await;
    let Ok(Answer::ExternalMetricValues(list)) = answer else { panic!("{answer:?}") };
    let labels = list.items[0].metric_labels.as_deref().unwrap_or_default();
    assert_eq!(labels, [("namespace".into(), "other".into())]);
}

/// `resourceRules` of which each query is `KIND_WHAT{MATCHERS}`.
const USAGE: &str = "
resourceRules:
  cpu: &usage
    containerQuery: 'cpu{<<.LabelMatchers>>}'
    nodeQuery: 'node_cpu{<<.LabelMatchers>>}'
    containerLabel: container
    resources: &labels {overrides: {instance: {resource: node}, namespace: {resource: namespace}, pod: {resource: pod}}}
  memory:
    containerQuery: 'memory{<<.LabelMatchers>>}'
    nodeQuery: 'node_memory{<<.LabelMatchers>>}'
    containerLabel: container
    resources: *labels
";

#[tokio::test]
async fn a_label_that_holds_no_node_is_shown_with_what_it_holds() {
    let adapter = Adapter::started(USAGE, &[]).await;
    for query in ["node_cpu", "node_memory"] {
        adapter.answers(&format!(r#"{query}{{instance="n1"}}"#), &[]);
        adapter.answers(&format!("{query}{{}}"), &[(&[("instance", "10.0.0.5:10250")], 1.0)]);
    }
    for _ in 0..2 {
        assert!(is_empty(adapter.ask("usage/nodes").await));
    }
    assert_eq!(
        adapter.source.asked().iter().filter(|query| *query == "node_cpu{}").count(),
        1,
        "asked for the log alone"
    );
    let reason = r#"the query of resourceRules.cpu found no sample whose label "instance" is one of the 1 nodes asked for, as "n1" is; without the names it finds 1 samples, where the label holds "10.0.0.5:10250""#;
    adapter.log.one("asked=nodes step", &[reason]);
    // A query without a place for names shows it by itself.
    adapter.answers(r#"node_cpu{instance="n1"}"#, &[(&[("instance", "n1")], 1.0)]);
    adapter.answers(r#"node_memory{instance="n1"}"#, &[(&[("instance", "10.0.0.5:10250")], 1.0)]);
    assert!(adapter.ask("usage/nodes/n1").await.is_err());
    let reason = r#"the query of resourceRules.memory found 1 samples, and in none is the label "instance" one of the 1 nodes asked for, as "n1" is; it holds "10.0.0.5:10250""#;
    adapter.log.one("asked=nodes/n1 step", &[reason]);
    assert!(adapter.ask("usage/nodes/n2").await.is_err());
    adapter.log.one("asked=nodes/n2 step", &["there are no such nodes"]);
    adapter.counts(r#"adapter_metrics_not_found_total{step="sample"}"#, 3);
    adapter.counts(r#"adapter_metrics_not_found_total{step="objects"}"#, 1);
}

#[tokio::test]
async fn odd_samples_of_use_are_logged_and_counted_by_rule() {
    let adapter = Adapter::started(USAGE, &[]).await;
    let of_a = r#"{namespace="default",pod="a"}"#;
    adapter.answers(
        &format!("cpu{of_a}"),
        &[
            (&[("pod", "a"), ("container", "web")], 0.5),
            (&[("pod", "a"), ("container", "web"), ("id", "2")], f64::NAN),
            (&[("pod", "a"), ("container", "")], 0.5),
        ],
    );
    adapter.answers(&format!("memory{of_a}"), &[(&[("pod", "a"), ("container", "web")], 1024.0)]);
    for _ in 0..2 {
        let answer = adapter.ask("usage/namespaces/default/pods/a").await;
        let Ok(Answer::Pod(pod)) = answer else { panic!("{answer:?}") };
        let cpu: Vec<String> =
            pod.containers.iter().map(|container| container.usage.cpu.to_string()).collect();
        assert_eq!(cpu, ["500m", "500m"], "as in prometheus-adapter, and NaN is not a number");
    }
    adapter.log.one("several samples for one object", &["rule=resourceRules.cpu", "object=a/web"]);
    adapter.log.one(
        "adding a sample without a container",
        &["rule=resourceRules.cpu", "pod=\"a\"", r#"container!="""#],
    );
    adapter.counts(r#"adapter_duplicate_samples_total{rule="resourceRules.cpu"}"#, 2);
    adapter.counts(r#"adapter_duplicate_samples_total{rule="resourceRules.memory"}"#, 0);
    adapter.answers(r#"cpu{namespace="default",pod="b"}"#, &[]);
    adapter.answers(r#"memory{namespace="default",pod="b"}"#, &[]);
    assert!(adapter.ask("usage/namespaces/default/pods/b").await.is_err());
    adapter
        .log
        .one("asked=namespaces/default/pods/b", &[r#"no sample whose label "pod" is one of the 1 pods"#]);
}

#[tokio::test]
async fn names_are_near_whatever_their_case_and_groups_are_known_by_their_new_name() {
    let query = "<<.Series>>{<<.LabelMatchers>>}";
    let rules = rule("rules", "depth", BY_LABELS, query)
        + &rule("externalRules", "AWS_SQS", "{namespaced: false}", query);
    let series: &[(&str, &[&str])] = &[("depth", &["namespace", "pod"]), ("AWS_SQS", &[])];
    let adapter = Adapter::started(&rules, series).await;
    let rows = [
        ("external/namespaces/default/aws_sqs", "namespaces/default/aws_sqs", "did you mean AWS_SQS"),
        ("custom/namespaces/default/pods/a/Depth", "pods/a/Depth", "did you mean depth"),
        (
            "custom/namespaces/default/ingresses.extensions/web/depth",
            "ingresses.extensions/web",
            "resource ingresses.extensions not found; ingresses are in networking.k8s.io",
        ),
        (
            "custom/namespaces/default/Deployments.extensions/web/depth",
            "Deployments.extensions/web",
            "deployments are in apps",
        ),
        (
            "custom/namespaces/default/pods.metrics.k8s.io/web/depth",
            "pods.metrics",
            "pods are in the core group",
        ),
        ("custom/namespaces/default/Podz/a/depth", "Podz/a", "did you mean pods"),
    ];
    each_row_async(rows, async |(path, asked, why)| {
        assert!(adapter.ask(path).await.is_err(), "{path}");
        adapter.log.one(asked, &[why, "metric not found"]);
    })
    .await;
    // Whatever is sent, a line stays one, and short.
    assert!(adapter.ask("custom/namespaces/default/pods/a/y\nERROR forged").await.is_err());
    adapter.log.one(
        "asked=namespaces/default/pods/a/y",
        &[r"pods/a/y\nERROR forged step", r"no rule produces y\nERROR"],
    );
    let long = format!("custom/namespaces/default/pods/a/{}", "x".repeat(100_000));
    assert!(adapter.ask(&long).await.is_err());
    let lines = adapter.log.lines("xxxxxxxx");
    assert!(lines.len() == 1 && lines[0].len() < 3000, "{} lines", lines.len());
}

#[tokio::test]
async fn a_rule_that_is_left_out_is_named_where_its_metric_is_missed() {
    let rules = rule("externalRules", "lag", "{namespaced: false}", "lag{<<.LabelMatchers>>}")
        + "- {seriesQuery: depth, metricsQuery: depth, seriesFilters: [{is: '('}]}\n";
    let adapter = Adapter::started(&rules, &[("lag", &[])]).await;
    assert!(adapter.ask("external/namespaces/default/depth").await.is_err());
    adapter.log.one(
        "asked=namespaces/default/depth",
        &["rule left out: externalRules[1].seriesFilters[0].is (line 5"],
    );
}

#[tokio::test]
async fn each_rule_says_once_what_it_makes_or_why_nothing() {
    let query = "<<.Series>>{<<.LabelMatchers>>}";
    let one = |series: &str| rule("rules", series, BY_LABELS, query);
    let more = |series: &str| one(series).replace("rules:\n", "");
    let rules =
        one("depth") + &more("nothing") + &more("unmapped") + &more("depth") + &more("broken") + USAGE;
    let nothing: Listing = Listing::default();
    let series: &[(&str, &[&str])] = &[("depth", &["namespace", "pod"]), ("unmapped", &["zone"])];
    let adapter = Adapter::started(&rules, series).await;
    // The queries that are not recorded fail; this one is listed, and the relister comes back to it.
    adapter.source.lists("nothing", Ok(nothing));
    let rows = [
        ("rules[0]", &["rule produces metrics", "series=1 metrics=2"][..]),
        ("rules[2]", &["rule produces no metric", "1 kinds of series have no label that maps to a resource"]),
        ("rules[3]", &["rule produces no metric", "an earlier rule produces all of its metrics"]),
        (
            "rules[4]",
            &["rule produces no metric yet", "cannot list its series", "nothing is recorded for broken"],
        ),
        ("\"resourceRules\"", &["rules loaded"]),
    ];
    each_row(rows, |(rule, parts)| {
        adapter.log.one(&format!("rule={rule}"), parts);
    });
    while adapter.log.lines("its series query finds no series").is_empty() {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_broken_edit_that_is_reverted_is_no_fault_any_more() {
    let (log, _logging) = Log::start();
    let dir = tempfile::tempdir().expect("a folder");
    let path = dir.path().join("rules.yaml");
    let good = rule("rules", "depth", BY_LABELS, "<<.Series>>{<<.LabelMatchers>>}");
    std::fs::write(&path, &good).expect("writable");
    let (file, rules) = RulesFile::open(&path, true).expect("valid rules");
    let telemetry = Telemetry::new(&rules);
    telemetry.watch_file(file.stats());
    let (publish, _follow) = watch::channel(Arc::new(rules));
    tokio::spawn(file.follow(Duration::from_millis(1), publish));
    let is = async |value: u8| {
        let line = format!("adapter_config_last_reload_successful {value}\n");
        until(&line, || telemetry.text().contains(&line)).await;
    };
    is(1).await;
    for _ in 0..2 {
        std::fs::write(&path, good.replace("seriesQuery", "seriesQuary")).expect("writable");
        is(0).await;
        std::fs::write(&path, &good).expect("writable");
        is(1).await;
    }
    let refused = log.lines("cannot load rule file");
    assert!(refused.len() == 2 && refused[0].contains("seriesQuary"), "{refused:#?}");
    assert!(refused[0].contains("keeping the previous rules"), "{refused:#?}");
    assert_eq!(
        log.lines("rule file is valid again, with its previous content").len(),
        2,
        "{:#?}",
        log.lines("")
    );
}

#[tokio::test]
async fn one_bad_rule_of_a_file_leaves_the_others_alone_if_it_may() {
    let (log, _logging) = Log::start();
    let dir = tempfile::tempdir().expect("a folder");
    let path = dir.path().join("rules.yaml");
    let bad = "- {seriesQuery: a, metricsQuery: a, name: {matches: '('}}\n";
    let good = rule("rules", "depth", BY_LABELS, "<<.Series>>{<<.LabelMatchers>>}");
    std::fs::write(&path, format!("{good}{bad}")).expect("writable");
    assert!(RulesFile::open(&path, true).is_err());
    let (_, rules) = RulesFile::open(&path, false).expect("one rule is valid");
    log_findings(&rules);
    log.one("cannot use a rule", &["ERROR", "rules[1].name.matches", "leaving it out"]);
    let text = Telemetry::new(&rules).text();
    assert!(text.contains("adapter_config_refused_rules 1\n"), "{text}");
    std::fs::write(&path, "rules: {").expect("writable");
    assert!(RulesFile::open(&path, false).is_err());
}
