//! The chart on a node: installed by the tutorial's command, upgraded while metrics are read, and removed.

use e2e::helm::{Helm, chart, objects, tutorials_arguments};
use e2e::node::{Node, on_node};
use e2e::stack::repository;
use e2e::tutorial::{V1, V2};
use e2e::{Failure, until};

use super::reads::Reads;
use super::{MINUTE, pods, query, targets, until_measured};

#[test]
fn the_chart_installs_is_scraped_upgrades_without_a_failed_read_and_leaves_nothing() -> Result<(), Failure> {
    on_node(async |node| {
        node.clear()?;
        node.import_images()?;
        node.install_prometheus().await?;
        apply_model_servers(node)?;
        let helm = Helm::of(&node.cluster).ok_or("helm is missing: scripts/components says why")?;
        let chart = chart().display().to_string();
        let arguments = tutorials_arguments();

        // The tutorial's command line. The rest has Prometheus scrape the adapter.
        let mut command = vec!["install", "prometheus-adapter", &chart, "--namespace=monitoring"];
        command.extend(arguments.iter().map(String::as_str));
        command.extend(["--set", "metrics.serviceMonitor.enabled=true"]);
        command.extend(["--set", "metrics.serviceMonitor.additionalLabels.release=prometheus"]);
        command.extend(["--wait", "--timeout=2m"]);
        let notes = helm.run(&command)?;
        assert!(notes.contains(&format!("kubectl get apiservice {V1} {V2}")), "{notes}");
        node.cluster.wait_available(V1).await?;
        node.cluster.wait_available(V2).await?;
        node.wait_rolled_out("default", "deployment/model-server")?;
        until_measured(node).await?;
        until("the autoscaler reads its metrics", 2 * MINUTE, || async {
            node.has_condition("default", "hpa/model-server-hpa", "ScalingActive")
        })
        .await?;

        // By Prometheus' own token and role, and with the authority that the adapter made.
        let scraped = until("both pods of the adapter are scraped", 2 * MINUTE, || async {
            Ok(query(node, r#"up{namespace="monitoring",service="prometheus-adapter"} == 1"#).await?.len()
                == 2)
        });
        if let Err(error) = scraped.await {
            return Err(format!("{error}; its targets:\n{}", targets(node).await?).into());
        }

        let reads = Reads::start(node);
        let upgrade = ["upgrade", "prometheus-adapter", &chart, "--namespace=monitoring", "--reuse-values"];
        let wait = ["--set=podAnnotations.upgraded=yes", "--wait", "--timeout=3m"];
        helm.run(&[&upgrade[..], &wait].concat())?;
        let (answered, failures) = reads.stop().await?;
        println!("{answered} reads were answered while Helm upgraded the release");
        assert!(answered > 0);
        assert_eq!(failures, [""; 0], "of {answered}");

        helm.run(&["uninstall", "prometheus-adapter", "--namespace=monitoring", "--wait", "--timeout=2m"])?;
        let services = node.cluster.kubectl(&["get", "apiservices", "-o=name"])?;
        assert!(!services.contains("metrics.k8s.io"), "{services}");
        let of_release = "app.kubernetes.io/instance=prometheus-adapter";
        until("no pod of the release is left", 2 * MINUTE, || async {
            Ok(pods(node, "monitoring", of_release)?.is_empty())
        })
        .await?;
        let kinds =
            "all,configmaps,secrets,serviceaccounts,roles,rolebindings,servicemonitors,poddisruptionbudgets";
        for scope in ["--namespace=monitoring", "--namespace=kube-system"] {
            let left = node.cluster.kubectl(&[scope, "get", kinds, "-l", of_release, "-o=name"])?;
            assert_eq!(left, "", "{scope}");
        }
        let left = node.cluster.kubectl(&[
            "get",
            "clusterroles,clusterrolebindings",
            "-l",
            of_release,
            "-o=name",
        ])?;
        assert_eq!(left, "");
        Ok(())
    })
}

/// The model servers of the overlay for CPUs, their ServiceMonitor and their autoscaler, without the adapter.
fn apply_model_servers(node: &Node) -> Result<(), Failure> {
    let overlay = repository().join("deploy/overlays/tutorial-cpu").display().to_string();
    let rendered = objects(&node.cluster.kubectl(&["kustomize", &overlay])?)?;
    // What concerns the adapter is in a namespace of its own, or in none.
    for object in rendered {
        let kind = object["kind"].as_str().unwrap_or_default();
        let of_the_cluster = kind.starts_with("Cluster") || kind == "APIService";
        if object["metadata"]["namespace"].is_null() && !of_the_cluster {
            node.apply(&object)?;
        }
    }
    Ok(())
}
