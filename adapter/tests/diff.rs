//! `adapter diff`, seen from outside: two servers that answer from a list, and what it prints of them.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::sync::{Arc, Mutex};

use axum::Router;
use http::{HeaderMap, StatusCode, Uri};
use serde_json::{Value, json};
use testkit::router;
use testkit::rows::{each_row, each_row_async};

const C1: &str = "/apis/custom.metrics.k8s.io/v1beta1";
const EXTERNAL: &str = "/apis/external.metrics.k8s.io/v1beta1";

/// What a server answers by path, and what it was asked. Of several answers to one path each counts once, and the last
/// from then on.
#[derive(Clone, Default)]
struct Server {
    answers: Arc<Mutex<BTreeMap<String, Vec<Value>>>>,
    asked: Arc<Mutex<Vec<(String, HeaderMap)>>>,
}

impl Server {
    fn answers(&self, path: &str, answers: &[Value]) {
        self.answers.lock().expect("not poisoned").insert(path.to_owned(), answers.to_vec());
    }

    /// Discovery with the metric `depth` of pods and the external metric `lag`, and their values in the namespace a.
    fn with_metrics(version: &str, depth: &str, lag: &str) -> Server {
        let server = Server::default();
        let listed = |name: &str| json!({"name": name, "namespaced": true, "kind": "MetricValueList"});
        server.answers(C1, &[json!({"kind": "APIResourceList", "resources": [listed("pods/depth")]})]);
        server.answers(EXTERNAL, &[json!({"kind": "APIResourceList", "resources": [listed("lag")]})]);
        server.answers("/api/v1/namespaces", &[json!({"items": [{"metadata": {"name": "a"}}]})]);
        server.answers(&format!("{C1}/namespaces/a/pods/*/depth"), &[depths(version, depth)]);
        server.answers(&format!("{EXTERNAL}/namespaces/a/lag"), &[lags(lag)]);
        server
    }

    async fn start(&self) -> SocketAddr {
        let server = self.clone();
        let answer = move |uri: Uri, headers: HeaderMap| {
            let server = server.clone();
            async move {
                let path = uri.path_and_query().expect("a path").to_string();
                let mut answers = server.answers.lock().expect("not poisoned");
                server.asked.lock().expect("not poisoned").push((path.clone(), headers));
                match answers.get_mut(&path) {
                    Some(answers) if answers.len() > 1 => (StatusCode::OK, answers.remove(0).to_string()),
                    Some(answers) => (StatusCode::OK, answers[0].to_string()),
                    None => (StatusCode::NOT_FOUND, "404 page not found\n".to_owned()),
                }
            }
        };
        router::serve(Router::new().fallback(answer)).await
    }

    fn asked(&self) -> Vec<String> {
        self.asked.lock().expect("not poisoned").iter().map(|(path, _)| path.clone()).collect()
    }
}

fn depths(version: &str, value: &str) -> Value {
    json!({"kind": "MetricValueList", "items": [{
        "describedObject": {"kind": "Pod", "namespace": "a", "name": "web-1", "apiVersion": version},
        "metricName": "depth", "timestamp": "2026-11-23T19:18:23Z", "value": value, "selector": null,
    }]})
}

fn lags(value: &str) -> Value {
    json!({"kind": "ExternalMetricValueList", "items": [
        {"metricName": "lag", "metricLabels": {"queue": "q"}, "timestamp": "2026-11-23T19:18:23Z", "value": value},
    ]})
}

/// The exit status, what was printed, and what was said meanwhile.
async fn diff(here: &Server, there: &Server, more: &[&str]) -> (Option<i32>, String, String) {
    let (here, there) = (here.start().await, there.start().await);
    run(&[
        &["diff", &format!("--server=http://{here}"), &format!("--against=http://{there}"), "--pause=10ms"],
        more,
    ]
    .concat())
}

fn run(arguments: &[&str]) -> (Option<i32>, String, String) {
    let output =
        Command::new(env!("CARGO_BIN_EXE_adapter")).args(arguments).output().expect("the program was built");
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("UTF-8");
    (output.status.code(), text(output.stdout), text(output.stderr))
}

#[tokio::test(flavor = "multi_thread")]
async fn known_deviations_are_counted_by_their_numbers() {
    let (status, text, _) =
        diff(&Server::with_metrics("v1", "3", "5"), &Server::with_metrics("/v1", "3", "5"), &[]).await;
    assert_eq!(status, Some(0), "{text}");
    let expected = [
        "4 questions: 3 answers equal, 1 differ by known deviations, 0 by values within the tolerance, 0 unexplained\n",
        "D8        1 answers  apiVersion of core kinds is v1, not /v1\n",
        &format!("such as {C1}/namespaces/a/pods/*/depth\n"),
        "neither server serves custom.metrics.k8s.io/v1beta2\n",
        "neither server serves metrics.k8s.io/v1beta1\n",
    ];
    for line in expected {
        assert!(text.contains(line), "expected {line:?} in\n{text}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_difference_without_a_reason_is_shown_with_its_place() {
    let (here, there) = (Server::with_metrics("v1", "3", "5"), Server::with_metrics("v1", "4", "5"));
    let explanation = json!({"cause": {"reason": "Answered", "message": "web-1 has the value 3"}});
    here.answers(&format!("{C1}/namespaces/a/pods/*/depth?explain=json"), &[explanation]);
    let (status, text, said) = diff(&here, &there, &[]).await;
    assert_eq!(status, Some(1), "{text}");
    let expected = format!(
        "Unexplained:\nGET {C1}/namespaces/a/pods/*/depth\n  items[Pod a/web-1].value\n    there  4\n    here   3\n  explain \
         here: web-1 has the value 3\n"
    );
    assert!(text.contains(&expected), "expected {expected:?} in\n{text}");
    assert_eq!(said, "1 of the answers differ: asking again in 10ms\n".repeat(2));

    let (status, text, _) = diff(&here, &there, &["--format=json"]).await;
    assert_eq!(status, Some(1), "{text}");
    let report: Value = serde_json::from_str(&text).expect("JSON");
    assert_eq!(
        (&report["questions"], &report["equal"], &report["unexplained"]),
        (&json!(4), &json!(3), &json!(1))
    );
    let difference = &report["differences"][0]["differences"][0];
    assert_eq!(difference, &json!({"at": "items[Pod a/web-1].value", "expected": "4", "found": "3"}));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_value_that_the_rule_has_for_no_sample_is_explained() {
    let rows = [("onEmpty: zero", Some(0), "D90       1 answers"), ("onNaN: zero", Some(1), "1 unexplained")];
    each_row_async(rows, async |(policy, expected, line)| {
        let (here, there) = (Server::with_metrics("v1", "3", "5"), Server::with_metrics("v1", "4", "5"));
        let explanation = json!({
            "cause": {"reason": "Answered", "message": "web-1 has the value 3"},
            "values": [{"object": "web-1", "value": "3", "policy": policy}],
        });
        here.answers(&format!("{C1}/namespaces/a/pods/*/depth?explain=json"), &[explanation]);
        let (status, text, _) = diff(&here, &there, &[]).await;
        assert_eq!(status, expected, "{text}");
        assert!(text.contains(line), "{text}");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_rules_for_one_metric_any_answer_is_explained() {
    let (here, there) = (Server::with_metrics("v1", "3", "5"), Server::with_metrics("v1", "4", "5"));
    let explanation = json!({
        "cause": {"reason": "Answered", "message": "web-1 has the value 3"},
        "otherRules": [{"id": "rules[1]", "why": "makes it too", "makesIt": true}],
    });
    here.answers(&format!("{C1}/namespaces/a/pods/*/depth?explain=json"), &[explanation]);
    let (status, text, _) = diff(&here, &there, &[]).await;
    assert_eq!(status, Some(0), "{text}");
    assert!(text.contains("D33       1 answers  of two rules for one metric"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn values_of_two_moments_are_no_difference() {
    // Within the tolerance.
    let (here, there) = (Server::with_metrics("v1", "1000", "5"), Server::with_metrics("v1", "1001", "5"));
    let (status, text, said) = diff(&here, &there, &[]).await;
    assert_eq!((status, said.as_str()), (Some(0), ""), "{text}");
    assert!(text.contains("1 by values within the tolerance, 0 unexplained"), "{text}");
    let (status, text, _) = diff(&here, &there, &["--tolerance=0"]).await;
    assert_eq!(status, Some(1), "{text}");
    // Between two scrapes.
    let there = Server::with_metrics("v1", "9", "5");
    let path = format!("{C1}/namespaces/a/pods/*/depth");
    there.answers(&path, &[depths("v1", "9"), depths("v1", "1000")]);
    let (status, text, said) = diff(&here, &there, &[]).await;
    assert_eq!((status, said.lines().count()), (Some(0), 1), "{text}{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_one_server_alone_lists_is_a_difference_and_is_not_asked_for() {
    let (here, there) = (Server::with_metrics("v1", "3", "5"), Server::with_metrics("v1", "3", "5"));
    here.answers(EXTERNAL, &[json!({"kind": "APIResourceList", "resources": []})]);
    let (status, text, _) = diff(&here, &there, &[]).await;
    assert_eq!(status, Some(1), "{text}");
    let expected = format!("GET {EXTERNAL}\n  resources[lag]\n    there  listed\n    here   nothing\n");
    assert!(text.contains(&expected), "expected {expected:?} in\n{text}");
    assert!(text.contains("not asked for: 1 resources of external.metrics.k8s.io/v1beta1"), "{text}");
    assert!(!there.asked().contains(&format!("{EXTERNAL}/namespaces/a/lag")), "{:?}", there.asked());
}

#[tokio::test(flavor = "multi_thread")]
async fn questions_beyond_the_bound_are_named() {
    let server = Server::with_metrics("v1", "3", "5");
    let (status, text, _) = diff(&server, &server, &["--max-questions=3", "--namespace=a", "-n=b"]).await;
    assert_eq!(status, Some(0), "{text}");
    let expected =
        format!("left out: 3 questions beyond --max-questions=3, from {EXTERNAL}/namespaces/a/lag on\n");
    assert!(text.contains(&expected), "expected {expected:?} in\n{text}");
    assert!(!server.asked().contains(&"/api/v1/namespaces".to_owned()));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_autoscalers_ask_comes_first_with_their_selectors() {
    let folder = tempfile::tempdir().expect("a folder");
    let write = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).expect("writable");
        path.display().to_string()
    };
    let server = Server::with_metrics("v1", "3", "5");
    let selected = format!("{EXTERNAL}/namespaces/a/lag?labelSelector=queue%3Dq");
    server.answers(&selected, &[lags("5")]);
    let hpa = "apiVersion: autoscaling/v2\nkind: HorizontalPodAutoscaler\nmetadata: {name: web, namespace: a}\nspec:\n  \
               scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, name: web}\n  maxReplicas: 5\n  metrics:\n  - type: \
               External\n    external: {metric: {name: lag, selector: {matchLabels: {queue: q}}}, target: {type: Value, value: 5}}\n";
    let file = write("hpa.yaml", hpa);
    let (status, text, _) = diff(&server, &server, &["--max-questions=3", &format!("--hpa={file}")]).await;
    assert_eq!(status, Some(0), "{text}");
    assert_eq!(server.asked().iter().filter(|path| **path == selected).count(), 2, "{:?}", server.asked());

    let pods = hpa
        .replace("type: External", "type: Pods")
        .replace("external: {", "pods: {")
        .replace("type: Value, value", "type: AverageValue, averageValue");
    let (status, text, _) = diff(&server, &server, &[&format!("--hpa={}", write("pods.yaml", &pods))]).await;
    assert_eq!(status, Some(0), "{text}");
    let note = "not asked for: lag of the autoscaler a/web: expected a kubeconfig for one of the servers, found two URLs\n";
    assert!(text.contains(note), "{text}");

    // Those of the cluster, in the namespaces that are asked about.
    let hpa: Value = json!({
        "metadata": {"name": "web", "namespace": "a"},
        "spec": {"scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"}, "maxReplicas": 5, "metrics": [
            {"type": "External", "external": {"metric": {"name": "lag", "selector": {"matchLabels": {"queue": "q"}}}, "target": {"type": "Value", "value": "5"}}},
        ]},
    });
    server.answers("/apis/autoscaling/v2/horizontalpodautoscalers", &[json!({"items": [hpa]})]);
    each_row_async([("-n=a", 5), ("-n=b", 4)], async |(namespace, questions)| {
        let (status, text, _) = diff(&server, &server, &["--hpa=all", namespace]).await;
        assert_eq!(status, Some(0), "{text}");
        assert!(text.contains(&format!("\n{questions} questions: ")), "{text}");
    })
    .await;

    let file = write("other.yaml", "apiVersion: v1\nkind: ConfigMap\n");
    let (status, _, said) = diff(&server, &server, &[&format!("--hpa={file}")]).await;
    assert_eq!(status, Some(2), "{said}");
    assert!(
        said.contains("expected HorizontalPodAutoscalers of autoscaling/v2, found ConfigMap of v1"),
        "{said}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_goes_to_its_server_alone() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("token");
    std::fs::write(&file, "of-there\n").expect("writable");
    let (here, there) = (Server::with_metrics("v1", "3", "5"), Server::with_metrics("v1", "3", "5"));
    let (status, text, _) = diff(&here, &there, &[&format!("--against-token-file={}", file.display())]).await;
    assert_eq!(status, Some(0), "{text}");
    let tokens = |server: &Server| -> Vec<Option<String>> {
        let asked = server.asked.lock().expect("not poisoned");
        let token = |headers: &HeaderMap| {
            headers.get("authorization").map(|value| value.to_str().expect("text").to_owned())
        };
        asked.iter().map(|(_, headers)| token(headers)).collect()
    };
    assert!(tokens(&here).iter().all(Option::is_none));
    assert!(tokens(&there).iter().all(|token| token.as_deref() == Some("Bearer of-there")));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_cannot_be_asked_is_named() {
    let server = Server::with_metrics("v1", "3", "5");
    let here = format!("--server=http://{}", server.start().await);
    let closed = format!("http://{}", router::closed_address());
    let empty = format!("http://{}", Server::default().start().await);
    let no_namespaces = Server::with_metrics("v1", "3", "5");
    no_namespaces.answers.lock().expect("not poisoned").remove("/api/v1/namespaces");
    let no_namespaces = format!("http://{}", no_namespaces.start().await);
    let rows = [
        (vec![here.clone(), format!("--against={closed}")], 2, vec![format!("cannot ask {closed}")]),
        (
            vec![format!("--server={empty}"), format!("--against={empty}")],
            2,
            vec!["expected custom.metrics.k8s.io, external.metrics.k8s.io or metrics.k8s.io".to_owned()],
        ),
        (
            vec![format!("--server={no_namespaces}"), format!("--against={no_namespaces}")],
            2,
            vec!["cannot list namespaces; name them with --namespace".to_owned()],
        ),
        (
            vec![here.clone(), "--against=/nosuch/kubeconfig".to_owned()],
            2,
            vec!["cannot ask the kubeconfig /nosuch/kubeconfig".to_owned()],
        ),
        (
            vec![
                here.clone(),
                "--against=https://u:secret@localhost".to_owned(),
                "--tolerance=1".to_owned(),
                "--max-questions=0".to_owned(),
            ],
            64,
            vec![
                "--against: expected a URL without a user".to_owned(),
                "--tolerance: expected from 0 to less than 1, found 1".to_owned(),
                "--max-questions: expected 1 or more, found 0".to_owned(),
            ],
        ),
        (
            vec![here.clone(), "--against=file".to_owned(), "--against-insecure".to_owned()],
            64,
            vec!["--against-insecure: expected a URL for --against, found a kubeconfig".to_owned()],
        ),
        (
            vec![here.clone(), "--against=ftp://x".to_owned()],
            64,
            vec!["--against: expected a URL like https://localhost:6443".to_owned()],
        ),
    ];
    each_row(rows, |(arguments, status, expected)| {
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        let (found, _, said) = run(&[&["diff"], arguments.as_slice()].concat());
        assert_eq!(found, Some(status), "{said}");
        for line in expected {
            assert!(said.contains(&line) && !said.contains("secret"), "expected {line:?} in\n{said}");
        }
    });
    // A file that names no certificates.
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.toml");
    let (status, _, said) = run(&[
        "diff",
        &here,
        "--against=https://localhost:1",
        &format!("--against-ca-file={}", file.display()),
    ]);
    assert!(status == Some(2) && said.contains("expected PEM certificates in"), "{said}");
}
