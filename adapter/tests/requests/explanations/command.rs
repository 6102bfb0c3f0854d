//! `adapter explain`, as a program, against a Kubernetes API that is made up but for the adapter behind it.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use axum::Router;
use axum::response::{IntoResponse as _, Response};
use http::{Request, StatusCode, header};
use serde_json::{Value, json};
use testkit::router;
use testkit::rows::each_row_async;
use tower::ServiceExt as _;

use super::{Adapter, ONE, PODS};

/// A cluster with a Deployment `web` and an autoscaler of it.
struct Cluster {
    adapter: Adapter,
    kubeconfig: PathBuf,
    _folder: tempfile::TempDir,
}

impl Cluster {
    async fn started() -> Cluster {
        let adapter = Adapter::started(true).await;
        let behind = adapter.router.clone();
        let api = Router::new().fallback(move |request: Request<axum::body::Body>| {
            let behind = behind.clone();
            async move {
                let path = request.uri().path().to_owned();
                if path.starts_with("/apis/custom.metrics.k8s.io/v1beta1/namespaces/")
                    || path.starts_with("/apis/external.metrics.k8s.io/")
                {
                    let Ok(response) = behind.oneshot(request).await;
                    return response.into_response();
                }
                object(&path)
            }
        });
        let address = router::serve(api).await;
        let folder = tempfile::tempdir().expect("a folder");
        let kubeconfig = kubeconfig(folder.path(), address);
        Cluster { adapter, kubeconfig, _folder: folder }
    }

    /// Runs `adapter explain`.
    async fn explain(&self, arguments: &[&str]) -> (Option<i32>, String, String) {
        let mut command = Command::new(env!("CARGO_BIN_EXE_adapter"));
        command.arg("explain").args(arguments).arg("--kubeconfig").arg(&self.kubeconfig);
        let output: Output = tokio::task::spawn_blocking(move || command.output())
            .await
            .expect("it does not panic")
            .expect("the program runs");
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("text");
        (output.status.code(), text(output.stdout), text(output.stderr))
    }
}

fn kubeconfig(folder: &Path, address: SocketAddr) -> PathBuf {
    let path = folder.join("kubeconfig");
    let config = json!({
        "apiVersion": "v1", "kind": "Config", "current-context": "x",
        "clusters": [{"name": "x", "cluster": {"server": format!("http://{address}")}}],
        "users": [{"name": "x", "user": {}}],
        "contexts": [{"name": "x", "context": {"cluster": "x", "user": "x", "namespace": "default"}}],
    });
    std::fs::write(&path, config.to_string()).expect("writable");
    path
}

/// Objects of the cluster.
fn object(path: &str) -> Response {
    let value = match path {
        "/apis/apps/v1" => json!({
            "kind": "APIResourceList", "groupVersion": "apps/v1",
            "resources": [{"name": "deployments", "singularName": "deployment", "namespaced": true, "kind": "Deployment",
                "verbs": ["get", "list"]}],
        }),
        "/apis/apps/v1/namespaces/default/deployments/web/scale" => json!({
            "kind": "Scale", "apiVersion": "autoscaling/v1", "metadata": {"name": "web"},
            "spec": {"replicas": 2}, "status": {"replicas": 2, "selector": "app=web"},
        }),
        "/apis/autoscaling/v2/namespaces/default/horizontalpodautoscalers/web" => json!({
            "kind": "HorizontalPodAutoscaler", "apiVersion": "autoscaling/v2",
            "metadata": {"name": "web", "namespace": "default"},
            "spec": {
                "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"},
                "minReplicas": 1, "maxReplicas": 10,
                "metrics": [
                    {"type": "Pods", "pods": {"metric": {"name": "depth"}, "target": {"type": "AverageValue", "averageValue": "1500m"}}},
                    {"type": "External", "external": {
                        "metric": {"name": "backlog", "selector": {"matchLabels": {"topic": "prices"}}},
                        "target": {"type": "AverageValue", "averageValue": "10"}}},
                ],
            },
            "status": {
                "currentReplicas": 2, "desiredReplicas": 3,
                "conditions": [{"type": "ScalingActive", "status": "True", "reason": "ValidMetricFound", "message": "it counts"}],
            },
        }),
        "/apis/apiregistration.k8s.io/v1/apiservices/v1beta1.custom.metrics.k8s.io" => json!({
            "kind": "APIService", "status": {"conditions": [
                {"type": "Available", "status": "False", "reason": "MissingEndpoints", "message": "no endpoints"}]},
        }),
        _ => {
            let status = json!({"kind": "Status", "code": 404, "message": format!("nothing at {path}")});
            return (StatusCode::NOT_FOUND, [(header::CONTENT_TYPE, "application/json")], status.to_string())
                .into_response();
        }
    };
    ([(header::CONTENT_TYPE, "application/json")], value.to_string()).into_response()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_metric_is_explained_through_kube_apiserver() {
    let cluster = Cluster::started().await;
    cluster.adapter.answers(ONE, &[(&[("pod", "a")], 3.0)]);
    let rows = [
        (&["depth", "--name", "a"][..], 0, "a has the value 3"),
        (&["depht"], 1, "no rule makes depht for pods: rules[0] makes depth, a name like it"),
        (
            &["depth", "-l", "app=db"],
            1,
            "there are no pods that match app=db in the namespace default, where 2 of 2 have app=web",
        ),
        (&["lag", "--external"], 1, "no rule makes lag, nor a metric with a name like it"),
    ];
    each_row_async(rows, async |(arguments, status, first)| {
        let (code, text, errors) = cluster.explain(arguments).await;
        assert_eq!((code, text.lines().next()), (Some(status), Some(first)), "{text}{errors}");
    })
    .await;
    let (_, json, _) = cluster.explain(&["depth", "--name=a", "-o", "json"]).await;
    let json: Value = serde_json::from_str(&json).expect("JSON");
    assert_eq!(json["query"]["promql"], ONE, "{json}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_autoscaler_is_explained_with_its_ratios() {
    let cluster = Cluster::started().await;
    cluster.adapter.answers(PODS, &[(&[("pod", "a")], 3.0), (&[("pod", "b")], 1.5)]);
    let backlog = r#"backlog{topic="prices",namespace="default"}"#;
    cluster.adapter.answers(backlog, &[(&[("topic", "prices")], 40.0)]);
    let (code, text, errors) = cluster.explain(&["--hpa", "web"]).await;
    assert_eq!(code, Some(0), "{text}{errors}");
    for line in [
        "backlog is 20 of a target of 10, a ratio of 2.00",
        "hpa       default/web: 2 replicas, wants 3, of 1 to 10",
        "condition ScalingActive True: ValidMetricFound: it counts",
        "metric    depth of Pods: value 2.25, target 1.5, ratio 1.50",
        "metric    backlog of External: value 20, target 10, ratio 2.00",
    ] {
        assert!(text.lines().any(|one| one == line), "{line} is not in\n{text}");
    }
    let (code, text, _) = cluster.explain(&["depth", "--hpa", "web", "-o", "json"]).await;
    let json: Value = serde_json::from_str(&text).expect("JSON");
    assert_eq!((code, json["metrics"].as_array().map(Vec::len)), (Some(0), Some(1)), "{json}");
    assert_eq!(json["metrics"][0]["ratio"], 1.5);
    // The first metric without a value is the cause.
    cluster.adapter.answers(PODS, &[(&[("pod", "a")], f64::INFINITY)]);
    let (code, text, errors) = cluster.explain(&["--hpa", "web"]).await;
    let first = "the sample of a is +Inf, which no quantity can hold";
    assert_eq!((code, text.lines().next()), (Some(1), Some(first)), "{text}{errors}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_keeps_an_explanation_away_is_named() {
    let cluster = Cluster::started().await;
    let rows = [
        (&["depth", "-n", "/"][..], 1, "", "there are no pods in the namespace /"),
        (&["--hpa", "none"], 2, "horizontalpodautoscalers/none is answered with 404", ""),
        (&["depth", "-o", "xml"], 64, "expected text or json", ""),
        (&[], 64, "required", ""),
        (&["depth", "--context", "none"], 2, "cannot use the kubeconfig", ""),
    ];
    each_row_async(rows, async |(arguments, status, error, output)| {
        let (code, text, errors) = cluster.explain(arguments).await;
        assert_eq!(code, Some(status), "{arguments:?}: {text}{errors}");
        assert!(errors.contains(error) && text.contains(output), "{arguments:?}: {text}{errors}");
    })
    .await;
    // The API of custom metrics leads nowhere.
    let nowhere = router::serve(
        Router::new().fallback(async |request: Request<axum::body::Body>| object(request.uri().path())),
    )
    .await;
    let folder = tempfile::tempdir().expect("a folder");
    let away = Cluster { kubeconfig: kubeconfig(folder.path(), nowhere), _folder: folder, ..cluster };
    let (code, _, errors) = away.explain(&["depth"]).await;
    let expected =
        "the APIService v1beta1.custom.metrics.k8s.io is not available: MissingEndpoints: no endpoints";
    assert!(code == Some(2) && errors.contains(expected), "{errors}");
}
