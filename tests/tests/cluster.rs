//! The adapter behind a real kube-apiserver, deployed by the manifests as they are shipped.

use std::time::Duration;

use e2e::cluster::Cluster;
use e2e::component::{component, left_out};
use e2e::kubelet::{Kubelet, Settings};
use e2e::prometheus::Prometheus;
use e2e::{Failure, free_port, stack, until};
use serde_json::Value;

const C1: &str = "/apis/custom.metrics.k8s.io/v1beta1";
const V1: &str = "v1beta1.custom.metrics.k8s.io";
const V2: &str = "v1beta2.custom.metrics.k8s.io";
const MINUTE: Duration = Duration::from_mins(1);

#[tokio::test(flavor = "multi_thread")]
async fn aggregated_by_a_real_kube_apiserver() -> Result<(), Failure> {
    let Some(prometheus) = component("prometheus") else { return left_out("prometheus") };
    let Some(cluster) = Cluster::start().await? else { return left_out("kube-apiserver") };
    let prometheus = Prometheus::start(&prometheus, &[], cluster.dir()).await?;
    let port = free_port()?;
    cluster.deploy("tutorial", port)?;
    let pods = Settings {
        namespace: "default",
        app: "model-server",
        arguments: &[],
        targets_file: prometheus.targets_file(),
    };
    let _kubelet = Kubelet::start(&cluster.client, pods, cluster.dir());
    until("Prometheus has scraped both pods", MINUTE, || async {
        Ok(prometheus.query("request_queue_depth").await?.len() == 2)
    })
    .await?;
    let rules = stack::repository().join("deploy/overlays/tutorial/adapter-values.yaml");
    let adapter = cluster.start_adapter(port, &rules, &prometheus.url(), &[]).await?;
    cluster.wait_available(V1).await?;
    cluster.wait_available(V2).await?;

    // Verified: the adapter published its own authority, and nothing is skipped.
    for name in [V1, V2] {
        let service: Value =
            serde_json::from_str(&cluster.kubectl(&["get", "apiservice", name, "-o", "json"])?)?;
        assert!(service["spec"]["caBundle"].is_string(), "{service}");
        assert_ne!(service["spec"]["insecureSkipTLSVerify"], true);
    }

    // The tutorial's two commands.
    let listed: Value = serde_json::from_str(&cluster.kubectl(&["get", "--raw", C1])?)?;
    let names: Vec<&str> = listed["resources"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|entry| entry["name"].as_str())
        .collect();
    assert_eq!(
        names,
        [
            "namespaces/gpu_utilization_percent",
            "namespaces/inference_latency_seconds_avg",
            "namespaces/request_queue_depth",
            "pods/gpu_utilization_percent",
            "pods/inference_latency_seconds_avg",
            "pods/request_queue_depth"
        ]
    );
    let path = format!("{C1}/namespaces/default/pods/*/request_queue_depth");
    let values: Value = serde_json::from_str(&cluster.kubectl(&["get", "--raw", &path])?)?;
    assert_eq!(values["items"].as_array().map(Vec::len), Some(2), "{values}");

    // From here on nothing of ours is missing: what kube-apiserver says of us before is about the start.
    let before = cluster.api_server_log().lines().count();
    until("kube-apiserver has our OpenAPI documents", MINUTE, || async {
        let (code, index) = cluster.json("/openapi/v3").await?;
        Ok(code == 200 && index["paths"]["apis/custom.metrics.k8s.io/v1beta2"].is_object())
    })
    .await?;
    let (code, document) = cluster.json("/openapi/v3/apis/custom.metrics.k8s.io/v1beta2").await?;
    assert_eq!(code, 200);
    assert!(
        document["components"]["schemas"]["io.k8s.metrics.pkg.apis.custom_metrics.v1beta2.MetricValueList"]
            .is_object(),
        "{document}"
    );

    let resources = cluster.try_kubectl(&["api-resources"])?;
    assert!(resources.status.success(), "{}", String::from_utf8_lossy(&resources.stderr));
    assert_eq!(String::from_utf8_lossy(&resources.stderr), "");

    // Two rounds of what kube-apiserver asks of us by itself: availability, discovery, OpenAPI.
    tokio::time::sleep(Duration::from_secs(5)).await;
    let log = cluster.api_server_log();
    let complaints: Vec<&str> = log
        .lines()
        .skip(before)
        .filter(|line| line.starts_with('E') && line.contains("metrics.k8s.io"))
        .collect();
    assert_eq!(complaints, [""; 0], "kube-apiserver complains about us");
    drop(adapter);
    cluster.stop();
    Ok(())
}
