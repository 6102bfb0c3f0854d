//! The real Prometheus Operator and a ServiceMonitor that it does not select.

use e2e::node::{Stack, on_node};
use e2e::{Failure, until};

use super::{MINUTE, query, targets, until_measured};

#[test]
fn a_wrong_release_label_leaves_no_series_and_the_adapters_log_leads_there() -> Result<(), Failure> {
    on_node(async |node| {
        node.install(Stack::TutorialCpu).await?;
        until_measured(node).await?;
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
        until("Prometheus scrapes no model server", 3 * MINUTE, || async {
            Ok(!targets(node).await?.contains(":8080/metrics"))
        })
        .await?;
        // It would show the last values for five minutes. Its storage goes with its pod.
        node.cluster.kubectl(&["-n=monitoring", "delete", "pods", "-l=app.kubernetes.io/name=prometheus"])?;
        until("the series have gone", 2 * MINUTE, || async {
            Ok(query(node, "request_queue_depth").await.is_ok_and(|series| series.is_empty()))
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
        until_measured(node).await
    })
}
