//! The real Prometheus Operator finds what is scraped by our ServiceMonitors.

use e2e::node::{Node, Stack, on_node};
use e2e::{Failure, until};
use serde_json::{Value, json};

use super::{MINUTE, pods_measured};

/// The values of a query, as the Prometheus on the node answers it.
async fn query(node: &Node, text: &str) -> Result<Vec<Value>, Failure> {
    let path = format!(
        "/api/v1/namespaces/monitoring/services/prometheus-kube-prometheus-prometheus:9090/proxy/api/v1/query?query={}",
        percent_encoding::utf8_percent_encode(text, percent_encoding::NON_ALPHANUMERIC)
    );
    let (code, answer) = node.cluster.json(&path).await?;
    if code != 200 {
        return Err(format!("{text}: {code}: {answer}").into());
    }
    Ok(answer["data"]["result"].as_array().cloned().unwrap_or_default())
}

#[test]
fn the_adapters_own_metrics_are_scraped_with_a_token_and_its_authority() -> Result<(), Failure> {
    on_node(async |node| {
        node.install(Stack::TutorialCpu).await?;
        node.apply(&json!({
            "apiVersion": "monitoring.coreos.com/v1",
            "kind": "ServiceMonitor",
            "metadata": {"name": "adapter", "namespace": "monitoring", "labels": {"release": "prometheus"}},
            "spec": {
                "selector": {"matchLabels": {"app.kubernetes.io/name": "adapter"}},
                "endpoints": [{
                    "port": "https",
                    "scheme": "https",
                    "interval": "15s",
                    "bearerTokenFile": "/var/run/secrets/kubernetes.io/serviceaccount/token",
                    "tlsConfig": {
                        "ca": {"secret": {"name": "adapter-ca", "key": "ca.crt"}},
                        "serverName": "adapter.monitoring.svc",
                    },
                }],
            },
        }))?;
        until("both pods of the adapter are scraped", 2 * MINUTE, || async {
            let up = query(node, "up{namespace=\"monitoring\",service=\"adapter\"} == 1").await?;
            Ok(up.len() == 2)
        })
        .await
    })
}

#[test]
fn a_wrong_release_label_leaves_no_series_and_the_adapters_log_leads_there() -> Result<(), Failure> {
    on_node(async |node| {
        node.install(Stack::TutorialCpu).await?;
        until("both pods have a queue", MINUTE, || async { Ok(pods_measured(node).await? == 2) }).await?;
        let label = |release: &str| {
            let release = format!("release={release}");
            node.cluster.kubectl(&[
                "label",
                "servicemonitor",
                "model-server-monitor",
                "--overwrite",
                &release,
            ])
        };
        label("another")?;
        until("the series have gone", 3 * MINUTE, || async {
            Ok(query(node, "request_queue_depth").await?.is_empty())
        })
        .await?;
        // Pods of the adapter that find no series say what to look at.
        node.cluster.kubectl(&["-n=monitoring", "rollout", "restart", "deployment/adapter"])?;
        node.wait_rolled_out("monitoring", "deployment/adapter")?;
        until("the adapter's log leads to the ServiceMonitor", MINUTE, || async {
            let log = node.cluster.kubectl(&[
                "-n=monitoring",
                "logs",
                "-l=app.kubernetes.io/name=adapter",
                "--tail=-1",
            ])?;
            Ok(log.contains("its series query finds no series") && log.contains("serviceMonitorSelector"))
        })
        .await?;
        label("prometheus")?;
        until("the series are back", 3 * MINUTE, || async { Ok(pods_measured(node).await? == 2) }).await
    })
}
