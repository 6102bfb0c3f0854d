//! `?explain`: the first line names the cause, whatever became of the request; rule texts need a permission; nothing of
//! another namespace is shown.

mod command;
mod isolation;

use std::sync::Arc;

use adapter::explanation::{Explanation, Reason};
use adapter::objects::Objects;
use adapter::objects::scraped::ScrapedObjects;
use adapter::source::recorded::{Recorded, vector};
use adapter::source::targets::{Health, ScrapedTarget};
use adapter::source::{MetricSource, SourceError, SourceErrorClass};
use apiservice::attributes::Attributes;
use apiservice::authn::{Union, User};
use apiservice::authz::{Authorizer, AuthzError, Chain, Decision};
use axum::Router;
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use http::Method;
use testkit::router::{self, Response};
use testkit::rows::each_row_async;

use crate::harness::{Listed, listing};

/// Allows everything, but for the subresource `explain` where it does not.
pub(crate) struct Explains(pub(crate) bool);

impl Authorizer for Explains {
    fn authorize<'a>(
        &'a self,
        _: &'a User,
        attributes: &'a Attributes,
    ) -> BoxFuture<'a, Result<Decision, AuthzError>> {
        let is_explain = attributes.resource.as_ref().is_some_and(|asked| asked.subresource == "explain");
        let decision = if is_explain && !self.0 {
            Decision::NoOpinion { reason: String::new() }
        } else {
            Decision::Allow
        };
        std::future::ready(Ok(decision)).boxed()
    }
}

/// Labels of a sample and its number.
type Numbers<'a> = &'a [(&'a [(&'a str, &'a str)], f64)];

struct Adapter {
    source: Arc<Recorded>,
    router: Router,
}

const RULES: &str = r#"
rules:
- seriesQuery: 'depth{namespace!="",pod!=""}'
  resources: {overrides: {namespace: {resource: namespace}, pod: {resource: pod}}}
  metricsQuery: 'sum(<<.Series>>{<<.LabelMatchers>>}) by (<<.GroupBy>>)'
- seriesQuery: 'requests_total'
  resources: {overrides: {namespace: {resource: namespace}, pod: {resource: pod}}}
  name: {matches: '^(.*)_total$', as: '${1}_per_second'}
  metricsQuery: 'rate(<<.Series>>{<<.LabelMatchers>>}[30s])'
- seriesQuery: 'gone{pod!=""}'
  resources: {overrides: {namespace: {resource: namespace}, pod: {resource: pod}}}
  metricsQuery: '<<.Series>>{<<.LabelMatchers>>}'
- seriesQuery: 'relabelled'
  resources: {overrides: {namespace: {resource: namespace}, pod: {resource: pod}}}
  metricsQuery: '<<.Series>>{<<.LabelMatchers>>}'
- seriesQuery: '{__name__=~"^filtered.*"}'
  seriesFilters: [{isNot: "_bytes$"}]
  resources: {overrides: {namespace: {resource: namespace}, pod: {resource: pod}}}
  metricsQuery: '<<.Series>>{<<.LabelMatchers>>}'
- seriesQuery: 'depth{namespace!=""}'
  resources: {overrides: {namespace: {resource: namespace}, pod: {resource: pod}}}
  metricsQuery: 'max(<<.Series>>{<<.LabelMatchers>>}) by (<<.GroupBy>>)'
- seriesQuery: 'moved'
  resources: {overrides: {namespace: {resource: namespace}, pod: {resource: pod}}}
  metricsQuery: '<<.Series>>{<<.LabelMatchers>>}'
externalRules:
- seriesQuery: 'backlog'
  resources: {overrides: {namespace: {resource: namespace}}}
  metricsQuery: '<<.Series>>{<<.LabelMatchers>>}'
"#;
const CUSTOM: &str = "/apis/custom.metrics.k8s.io/v1beta2/namespaces/default";
const EXTERNAL: &str = "/apis/external.metrics.k8s.io/v1beta1/namespaces/default";
const AT: i64 = 1_795_472_555_500;
const PODS: &str = r#"sum(depth{namespace="default",pod=~"a|b"}) by (pod)"#;
const ONE: &str = r#"sum(depth{namespace="default",pod="a"}) by (pod)"#;

impl Adapter {
    async fn started(explains: bool) -> Adapter {
        let source = Arc::new(Recorded::default());
        for (query, name, labels) in [
            (r#"depth{namespace!="",pod!=""}"#, "depth", &["namespace", "pod", "zone"][..]),
            (r#"depth{namespace!=""}"#, "depth", &["namespace", "pod", "zone"]),
            ("requests_total", "requests_total", &["namespace", "pod"]),
            ("relabelled", "relabelled", &["namespace", "kubernetes_pod_name"]),
            (r#"{__name__=~"^filtered.*"}"#, "filtered_bytes", &["namespace", "pod"]),
            ("backlog", "backlog", &["namespace", "topic"]),
            ("moved", "moved", &["exported_namespace", "exported_pod", "namespace", "pod"]),
        ] {
            source.lists(query, Ok(listing(name, labels)));
        }
        source.lists(r#"gone{pod!=""}"#, Ok(adapter::source::Listing::default()));
        let targets = ["a", "b"].map(|pod| vec![("namespace", "default"), ("pod", pod), ("app", "web")]);
        source.answers("up", Ok(vector(targets.iter().map(|labels| (&labels[..], 1.0)), AT)));
        let seam: Arc<dyn MetricSource> = Arc::clone(&source) as _;
        let objects: Arc<dyn Objects> = Arc::new(ScrapedObjects::new(Arc::clone(&seam)));
        let rules = rules::load(RULES).unwrap_or_else(|faults| panic!("{faults}"));
        let listed = Listed::start(rules, seam, objects, |_| {}).await;
        let authorization = Chain::new(vec![Arc::new(Explains(explains))]);
        let router = listed.server(Union::new(Vec::new()), authorization).into_router();
        Adapter { source, router }
    }

    fn answers(&self, promql: &str, samples: Numbers<'_>) {
        self.source.answers(promql, Ok(vector(samples.iter().copied(), AT)));
    }

    async fn get(&self, path: &str) -> Response {
        router::ask(&self.router, router::request(Method::GET, path, &[])).await
    }

    /// The explanation of a request as data and as text, whose first line is its cause.
    async fn explain(&self, path: &str) -> (Explanation, String) {
        let join = if path.contains('?') { '&' } else { '?' };
        let [text, json] = [
            self.get(&format!("{path}{join}explain=true")).await,
            self.get(&format!("{path}{join}explain=json")).await,
        ];
        assert_eq!((text.code, json.code), (200, 200), "{path}: {}", text.text());
        assert_eq!(text.content_type(), "text/plain; charset=utf-8");
        assert_eq!(json.content_type(), "application/json");
        let explanation: Explanation = serde_json::from_slice(&json.body).expect("an explanation");
        assert_eq!(text.text().lines().next(), Some(explanation.cause.message.as_str()), "{path}");
        (explanation, text.text().to_owned())
    }
}

/// Counts the samples of a series within ranges, as an explanation asks for them.
fn counted(series: &str, selector: &str, seconds: u64) -> String {
    let comma = if selector.is_empty() { "" } else { "," };
    format!(
        "max by (pod) (count_over_time({{__name__=\"{series}\",{selector}{comma}namespace=\"default\"}}[{seconds}s]))"
    )
}

/// Counts the series that have a value now.
fn current(series: &str, selector: &str) -> String {
    let comma = if selector.is_empty() { "" } else { "," };
    format!("count by (pod) ({{__name__=\"{series}\",{selector}{comma}namespace=\"default\"}})")
}

/// When the newest sample of a series was taken.
fn newest(series: &str, back: Option<(u64, u64)>) -> String {
    let selector = format!("{{__name__=\"{series}\",namespace=\"default\"}}");
    match back {
        Some((range, step)) => {
            format!("max by (pod) (max_over_time(timestamp({selector})[{range}s:{step}s]))")
        }
        None => format!("max by (pod) (timestamp({selector}))"),
    }
}

#[tokio::test]
async fn the_first_line_names_the_cause() {
    let adapter = Adapter::started(true).await;
    let a: &[(&str, &str)] = &[("pod", "a")];
    // Samples have ended.
    adapter.answers(PODS, &[]);
    adapter.answers(&counted("depth", "", 3600), &[(a, 12.0)]);
    adapter.answers(&current("depth", ""), &[]);
    adapter.answers(&newest("depth", Some((300, 1))), &[]);
    adapter.answers(&newest("depth", Some((3600, 15))), &[(a, now() - 720.0)]);
    // A selector of which no series is.
    adapter.answers(r#"sum(depth{zone="x",namespace="default",pod=~"a|b"}) by (pod)"#, &[]);
    adapter.answers(&counted("depth", "zone=\"x\"", 3600), &[]);
    let zones = r#"topk(4, count by (namespace, zone) ({__name__="depth",namespace="default"}))"#;
    let zone = |namespace, zone| [("namespace", namespace), ("zone", zone)];
    let [first, second, foreign] = [zone("default", "v"), zone("default", "u"), zone("other", "w")];
    adapter.answers(zones, &[(&first, 2.0), (&second, 1.0), (&foreign, 1.0)]);
    // A range with one sample.
    let rate = |range: &str| format!("rate(requests_total{{namespace=\"default\",pod=\"a\"}}[{range}])");
    adapter.answers(&rate("30s"), &[]);
    adapter.answers(&counted("requests_total", "", 3600), &[(a, 60.0)]);
    adapter.answers(&current("requests_total", ""), &[(a, 1.0)]);
    adapter.answers(&counted("requests_total", "", 30), &[(a, 1.0)]);
    // An object of which there is nothing, while there is of others.
    adapter.answers(r#"sum(depth{namespace="default",pod="c"}) by (pod)"#, &[]);
    let outage =
        SourceError::new(SourceErrorClass::Unavailable, "cannot reach Prometheus: Connection refused");
    adapter.source.answers(r#"backlog{topic="away",namespace="default"}"#, Err(outage));
    let refused = SourceError::new(SourceErrorClass::BadQuery, r#"duplicate series {pod="other"}"#);
    adapter.source.answers(r#"backlog{topic="bad",namespace="default"}"#, Err(refused));
    adapter.answers(
        r#"backlog{topic="inf",namespace="default"}"#,
        &[(&[("namespace", "default")], f64::INFINITY)],
    );
    let rows = [
        (
            "/pods/*/depht",
            404,
            Reason::NoRule,
            "no rule makes depht for pods: rules[0] makes depth, a name like it",
        ),
        (
            "/pods/*/gone",
            404,
            Reason::NoSeries,
            "no rule makes gone for pods: rules[2] makes it of the series gone, and the metric source has no such series: no \
             target that it scrapes exports one",
        ),
        (
            "/pods/*/relabelled",
            404,
            Reason::OtherResource,
            "no rule makes relabelled for pods: rules[3] makes it for namespaces only: none of its series has the label \
             \"pod\", by which it names pods; they have kubernetes_pod_name, namespace; if \"kubernetes_pod_name\" names pods, say \
             so in resources.overrides",
        ),
        (
            "/deployments.apps/web/depth",
            404,
            Reason::OtherResource,
            "no rule makes depth for deployments.apps: rules[0] makes it for namespaces, pods only: it has no label that \
             names deployments.apps",
        ),
        (
            "/pods/*/requests_total",
            404,
            Reason::NoRule,
            "no rule makes requests_total for pods: rules[1] makes \"requests_per_second\" of the series requests_total",
        ),
        (
            "/pods/*/filtered_bytes",
            404,
            Reason::SeriesDropped,
            "no rule makes filtered_bytes for pods: rules[4] drops the series filtered_bytes by seriesFilters[0]",
        ),
        ("/podz/*/depth", 404, Reason::UnknownResource, "resource podz not found; did you mean pods"),
        (
            "/pods/*/depth?labelSelector=app%3Ddb",
            404,
            Reason::NoObjects,
            "there are no pods that match app=db in the namespace default, where 2 of 2 have app=web",
        ),
        (
            "/pods/*/depth",
            200,
            Reason::StaleSamples,
            "depth has no current sample in the namespace default: the last one is 12 min old, and the metric source no longer \
             serves it; its target is gone, does not answer, or no longer exports it",
        ),
        (
            "/pods/c/depth",
            404,
            Reason::NoSeriesOfObjects,
            "depth has samples of one of the pods in the namespace default, and of none that was asked for",
        ),
        (
            "/pods/*/depth?metricLabelSelector=zone%3Dx",
            200,
            Reason::SelectorMatchesNothing,
            "the metric selector zone=x matches no series of depth in the namespace default, where zone is \"u\", \"v\"",
        ),
        (
            "/pods/a/requests_per_second",
            404,
            Reason::RangeTooShort,
            "the range of the query of rules[1], 30s, holds 1 sample of requests_total, and a rate needs 2: it is shorter \
             than two scrapes",
        ),
        (
            "/pods/A_B/depth",
            404,
            Reason::InvalidName,
            "the name \"A_B\" is not a Kubernetes name, so no object can have it",
        ),
    ];
    each_row_async(rows, async |(path, code, reason, cause)| {
        let (explanation, text) = adapter.explain(&format!("{CUSTOM}{path}")).await;
        assert_eq!(explanation.cause.message, cause, "{path}: {text}");
        assert_eq!((explanation.cause.reason, explanation.answer.code), (reason, code), "{path}: {text}");
        assert_eq!(adapter.get(&format!("{CUSTOM}{path}")).await.code, code, "{path}");
    })
    .await;
    let rows = [
        ("away", 503, Reason::SourceFailed, "cannot reach Prometheus: Connection refused"),
        (
            "bad",
            500,
            Reason::QueryRefused,
            r#"recorded refused the query of externalRules[0]: duplicate series {pod="..."}"#,
        ),
        ("inf", 500, Reason::NoNumber, "the sample of backlog is +Inf, which no quantity can hold"),
    ];
    each_row_async(rows, async |(topic, code, reason, cause)| {
        let path = format!("{EXTERNAL}/backlog?labelSelector=topic%3D{topic}");
        let (explanation, text) = adapter.explain(&path).await;
        assert!(explanation.cause.message.ends_with(cause), "{text}");
        assert_eq!((explanation.cause.reason, explanation.answer.code), (reason, code), "{text}");
        assert_eq!(adapter.get(&path).await.code, code, "{topic}");
    })
    .await;
}

#[tokio::test]
async fn pods_that_are_not_scraped_are_told_from_those_that_do_not_answer() {
    let adapter = Adapter::started(true).await;
    let a: &[(&str, &str)] = &[("pod", "a")];
    adapter.answers(PODS, &[]);
    adapter.answers(&counted("depth", "", 3600), &[(a, 12.0)]);
    adapter.answers(&current("depth", ""), &[]);
    let a: &[(&str, &str)] = &[("namespace", "default"), ("pod", "a")];
    let targets = r#"up{namespace="default"}"#;
    let rows = [
        (
            "/pods/*/depth",
            &[(a, 0.0)][..],
            "1 target of the namespace default is scraped, and does not answer",
        ),
        ("/pods/*/depth", &[(a, 0.0)], "the pod a is among the targets, and does not answer"),
        ("/pods/*/depth", &[(a, 1.0)], "the pod b is not among the targets"),
        ("/pods/*/gone", &[], "no target of the namespace default is scraped"),
        ("/pods/*/gone", &[(a, 1.0)], "1 target of the namespace default is scraped, and answers"),
    ];
    each_row_async(rows, async |(path, up, further)| {
        adapter.answers(targets, up);
        let (explanation, text) = adapter.explain(&format!("{CUSTOM}{path}")).await;
        assert!(explanation.further.iter().any(|one| one.starts_with(further)), "{further} is not in {text}");
    })
    .await;
}

#[tokio::test]
async fn the_list_of_targets_says_how_the_scrape_of_a_pod_fails() {
    let adapter = Adapter::started(true).await;
    adapter.answers(PODS, &[]);
    adapter.answers(&counted("depth", "", 3600), &[(&[("pod", "a")], 12.0)]);
    adapter.answers(&current("depth", ""), &[]);
    let target = |namespace: &str, pod: &str, health: Health, error: Option<&str>| ScrapedTarget {
        namespace: Some(namespace.to_owned()),
        pod: Some(pod.to_owned()),
        health,
        last_error: error.map(str::to_owned),
    };
    let own = [
        target("default", "a", Health::Up, None),
        target("default", "a", Health::Down, Some("connection refused")),
        target("default", "b", Health::Unknown, None),
    ];
    let other = target("elsewhere", "secret", Health::Down, Some("secret"));
    let rows = [
        (
            "/pods/*/depth",
            Ok([&own[..], std::slice::from_ref(&other)].concat()),
            vec![
                "3 targets of the namespace default are scraped, 1 of them without an answer; 1 other is",
                "the pod a is among the targets, and its scrape fails: connection refused",
                "the pod b is among the targets, and was not scraped yet",
            ],
        ),
        (
            "/pods/*/depth",
            Ok(own[..1].to_vec()),
            vec!["the pod a is among the targets", "the pod b is not among the targets"],
        ),
        // Without a series there is no metric, and no step looks at the pods.
        (
            "/pods/*/gone",
            Ok(own.to_vec()),
            vec!["the pod a is among the targets, and its scrape fails: connection refused"],
        ),
        (
            "/pods/*/gone",
            Ok(vec![other]),
            vec!["no target of the namespace default is scraped; 1 other is: with the Prometheus Operator"],
        ),
        (
            "/pods/*/gone",
            Err(SourceError::new(SourceErrorClass::Unavailable, r#"403 of {pod="secret"}"#)),
            vec![
                r#"the metric source does not list its targets: 403 of {pod="..."}"#,
                "the metric source did not say which targets it scrapes",
            ],
        ),
    ];
    each_row_async(rows, async |(path, targets, further)| {
        adapter.source.scrapes(targets);
        let (explanation, text) = adapter.explain(&format!("{CUSTOM}{path}")).await;
        for line in further {
            assert!(explanation.further.iter().any(|one| one.starts_with(line)), "{line} is not in {text}");
        }
        assert!(!text.contains("secret"), "{text}");
    })
    .await;
}

#[tokio::test]
async fn the_way_from_a_rule_to_a_value_is_shown() {
    let adapter = Adapter::started(true).await;
    adapter.answers(PODS, &[(&[("pod", "a")], 3.0), (&[("pod", "b")], 1.5), (&[("pod", "z")], 9.0)]);
    let (explanation, text) =
        adapter.explain(&format!("{CUSTOM}/pods/*/depth?labelSelector=app%3Dweb")).await;
    assert_eq!(explanation.cause.message, "2 objects have a value; that of a is 3");
    assert_eq!(explanation.missing_permission, None);
    let rule = explanation.rule.as_ref().expect("a rule");
    assert_eq!(rule.id, "rules[0]");
    assert_eq!(rule.why, "makes it of the series depth, and is the first in the file that does");
    assert_eq!(explanation.other_rules[0].id, "rules[5]");
    assert_eq!(
        explanation.other_rules[0].why,
        "makes it too, of the series depth; rules[0] comes first in the file"
    );
    let samples = explanation.samples.as_ref().expect("samples");
    assert_eq!((samples.shown.len(), samples.of_other_objects), (2, 1));
    // What each line begins with, and says.
    for (part, line) in [
        ("asked", "custom.metrics.k8s.io namespaces/default/pods/*/depth labelSelector=app=web"),
        ("answer", "200, 2 values"),
        ("rule", "rules[0] makes it of the series depth"),
        ("", r#"seriesQuery: depth{namespace!="",pod!=""}"#),
        ("", "metricsQuery: sum(<<.Series>>{<<.LabelMatchers>>}) by (<<.GroupBy>>)"),
        ("", r#"objects by the label "pod""#),
        ("series", "depth with the labels namespace, pod, zone"),
        ("", "1 kinds of series, 0 dropped by filters or names"),
        ("others", "rules[5] makes it too"),
        ("objects", "2 pods that match app=web: a, b"),
        ("query", PODS),
        ("", "asked recorded: 3 samples in"),
        ("samples", "a  3  "),
        ("", "1 of other objects"),
        ("values", "a  3  "),
        ("", "b  1500m  "),
    ] {
        let found = text.lines().any(|one| one.starts_with(&format!("{part:<10}")) && one.contains(line));
        assert!(found, "{part:<10}{line} is not in\n{text}");
    }
}

#[tokio::test]
async fn several_samples_of_an_object_are_the_cause_though_there_is_a_value() {
    let adapter = Adapter::started(true).await;
    adapter.answers(ONE, &[(&[("pod", "a")], 3.0), (&[("pod", "a")], 4.0)]);
    let (explanation, text) = adapter.explain(&format!("{CUSTOM}/pods/a/depth")).await;
    assert_eq!(
        explanation.cause.message,
        "the query of rules[0] finds 2 samples for a and uses the last: aggregate by <<.GroupBy>>"
    );
    assert!(text.contains("a  3  ") && text.contains(": not used: another sample"), "{text}");
    // What they differ in, where they say that they are of the namespace.
    let of = |zone| [("namespace", "default"), ("pod", "a"), ("zone", zone)];
    adapter.answers(ONE, &[(&of("u"), 3.0), (&of("v"), 4.0)]);
    let (explanation, _) = adapter.explain(&format!("{CUSTOM}/pods/a/depth")).await;
    assert_eq!(
        explanation.cause.message,
        "the query of rules[0] finds 2 samples for a, which differ in \"zone\", and uses the last: aggregate by <<.GroupBy>>"
    );
}

#[tokio::test]
async fn a_value_of_an_old_sample_says_how_old_it_is() {
    let adapter = Adapter::started(true).await;
    adapter.answers(PODS, &[(&[("pod", "a")], 3.0), (&[("pod", "b")], 1.5)]);
    let of = |pod| [("pod", pod)];
    let (a, b, z) = (of("a"), of("b"), of("z"));
    let rows = [
        (
            130.0,
            Reason::StaleSamples,
            "the newest sample of depth of b in the namespace default is 2 min old, and the metric",
        ),
        (60.0, Reason::Answered, "2 objects have a value"),
    ];
    each_row_async(rows, async |(seconds, reason, first)| {
        let ages = [(&a[..], now() - 1.0), (&b, now() - seconds), (&z, now() - 9000.0)];
        adapter.answers(&newest("depth", None), &ages);
        let (explanation, text) = adapter.explain(&format!("{CUSTOM}/pods/*/depth")).await;
        assert!(explanation.cause.message.starts_with(first), "{text}");
        assert_eq!(explanation.cause.reason, reason);
    })
    .await;
}

#[tokio::test]
async fn labels_that_hold_what_the_labels_of_a_rule_do_not_are_named() {
    let adapter = Adapter::started(true).await;
    let path = format!("{CUSTOM}/pods/*/moved");
    adapter.answers(r#"moved{namespace="default",pod=~"a|b"}"#, &[]);
    adapter.answers(&counted("moved", "", 3600), &[]);
    let held = |label: &str, value: &str, also: &str, place: usize| {
        format!(
            r#"label_replace(count({{__name__="moved",{label}={value}{also}}}), "place", "{place}", "", "")"#
        )
    };
    let names = r#"~"a|b""#;
    let of_pods = [held("pod", names, "", 0), held("exported_pod", names, "", 1)].join(" or ");
    let also = r#",exported_pod=~"a|b""#;
    let of_namespaces =
        [held("namespace", "\"default\"", also, 0), held("exported_namespace", "\"default\"", also, 1)]
            .join(" or ");
    let place: &[(&str, &str)] = &[("place", "1")];
    let rows: [(Numbers<'_>, Numbers<'_>, &str); 3] = [
        (&[], &[], "moved has had no sample in the namespace default for an hour"),
        (
            &[(place, 2.0)],
            &[(&[("place", "0")], 2.0)],
            "rules[6] looks for pods in the label \"pod\", and moved has those asked for in \"exported_pod\": set honor_labels",
        ),
        (
            &[(place, 2.0)],
            &[(place, 2.0)],
            "rules[6] looks for pods in the label \"pod\" and for namespaces in \"namespace\", and moved has those asked for \
             in \"exported_pod\" and \"exported_namespace\": set honor_labels",
        ),
    ];
    each_row_async(rows, async |(pods, namespaces, first)| {
        adapter.answers(&of_pods, pods);
        adapter.answers(&of_namespaces, namespaces);
        let (explanation, text) = adapter.explain(&path).await;
        assert!(explanation.cause.message.starts_with(first), "{first} is not in {text}");
    })
    .await;
}

#[tokio::test]
async fn series_that_a_series_query_leaves_out_are_told_from_none() {
    let adapter = Adapter::started(true).await;
    let pod: &[(&str, &str)] = &[("__name__", "gone"), ("namespace", "other"), ("pod", "secret")];
    let no_pod: &[(&str, &str)] = &[("__name__", "gone"), ("exported_pod", "secret")];
    let ended = |range: u64, step: u64| {
        format!(r#"max(max_over_time(timestamp({{__name__="gone"}})[{range}s:{step}s]))"#)
    };
    let nameless: &[(&str, &str)] = &[];
    let rows = [
        (
            &[(no_pod, 1.0)][..],
            &[][..],
            Reason::SeriesDropped,
            "one lacks \"pod\", and has the labels exported_pod",
        ),
        (
            &[(pod, 1.0)],
            &[],
            Reason::SeriesDropped,
            "leaves out every series of this name by its labels' values",
        ),
        (
            &[(pod, 1.0)],
            &[(nameless, now())],
            Reason::NotListed,
            "such series are there since the last listing",
        ),
        (
            &[(pod, 1.0)],
            &[(nameless, now() - 180.0)],
            Reason::StaleSamples,
            "the newest sample of such a series is 3 min old: those are listed that have one within --metrics-max-age",
        ),
        (
            &[],
            &[],
            Reason::StaleSamples,
            "the last sample of such a series is 10 min old, and the metric source no longer",
        ),
    ];
    adapter.answers(&ended(300, 1), &[]);
    adapter.answers(&ended(3600, 15), &[(nameless, now() - 600.0)]);
    each_row_async(rows, async |(one, newest, reason, why)| {
        adapter.answers(r#"topk(1, {__name__="gone"})"#, one);
        adapter.answers(r#"max(timestamp(gone{pod!=""}))"#, newest);
        let (explanation, text) = adapter.explain(&format!("{CUSTOM}/pods/*/gone")).await;
        let first = "no rule makes gone for pods: rules[2] makes it of the series gone, and ";
        assert!(
            explanation.cause.message.starts_with(first) && explanation.cause.message.contains(why),
            "{text}"
        );
        assert!(!text.contains("secret"), "{text}");
        assert_eq!(explanation.cause.reason, reason);
    })
    .await;
}

fn now() -> f64 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("after 1970").as_secs_f64()
}

#[tokio::test]
async fn texts_of_rules_and_queries_need_the_permission_that_is_named() {
    let adapter = Adapter::started(false).await;
    adapter.answers(ONE, &[(&[("pod", "a")], 3.0)]);
    adapter
        .answers(r#"topk(1, {__name__="gone"})"#, &[(&[("__name__", "gone"), ("exported_pod", "x")], 1.0)]);
    let refused = SourceError::new(SourceErrorClass::BadQuery, "unexpected secret_rule_text in the query");
    adapter.source.answers(r#"backlog{namespace="default"}"#, Err(refused));
    let rows = [
        (
            format!("{CUSTOM}/pods/a/depth"),
            "get on pods/explain of custom.metrics.k8s.io in the namespace default",
        ),
        (
            format!("{EXTERNAL}/backlog"),
            "get on backlog/explain of external.metrics.k8s.io in the namespace default",
        ),
        (
            format!("{CUSTOM}/pods/*/gone"),
            "get on pods/explain of custom.metrics.k8s.io in the namespace default",
        ),
        (
            "/apis/custom.metrics.k8s.io/v1beta2/nodes/n1/depth".to_owned(),
            "get on nodes/explain of custom.metrics.k8s.io in the whole cluster",
        ),
    ];
    each_row_async(rows, async |(path, permission)| {
        let (explanation, text) = adapter.explain(&path).await;
        assert_eq!(explanation.missing_permission.as_deref(), Some(permission), "{path}");
        assert!(text.ends_with(&format!("they need {permission}\n")), "{text}");
        for hidden in ["sum(", "<<", "!=", "lacks \"pod\"", "secret_rule_text", "backlog{"] {
            assert!(!text.contains(hidden), "{hidden} is in {text}");
        }
    })
    .await;
}

#[tokio::test]
async fn a_request_that_does_not_ask_for_an_explanation_gets_none() {
    let adapter = Adapter::started(true).await;
    adapter.answers(ONE, &[(&[("pod", "a")], 3.0)]);
    let path = format!("{CUSTOM}/pods/a/depth");
    let [plain, not] = [adapter.get(&path).await, adapter.get(&format!("{path}?explain=false")).await];
    assert_eq!((plain.code, &plain.body), (200, &not.body));
    assert_eq!(plain.json()["items"][0]["value"], "3");
    let error = adapter.get(&format!("{path}?explain=yes")).await;
    assert_eq!(error.code, 400);
    assert_eq!(error.message(), "explain: expected true, json or false, found \"yes\"");
    let nosniff = adapter.get(&format!("{path}?explain=true")).await;
    assert_eq!(nosniff.header("x-content-type-options"), Some("nosniff"));
}
