//! Each component ends and comes back: the autoscaler holds what it has, and reads again afterwards.

use e2e::Failure;
use e2e::node::{Node, Stack, on_node};

use super::upgrade::ADAPTER;
use super::{object, until_measured};

fn replicas(node: &Node) -> Result<u64, Failure> {
    object(node, "default", "deployment/model-server")?["spec"]["replicas"]
        .as_u64()
        .ok_or_else(|| "a Deployment without replicas".into())
}

#[test]
fn metrics_come_back_after_each_component_was_ended() -> Result<(), Failure> {
    on_node(async |node| {
        node.install(Stack::TutorialCpu).await?;
        until_measured(node).await?;

        println!("ending every pod of the adapter");
        node.cluster.kubectl(&[
            "-n=monitoring",
            "delete",
            "pods",
            "-l",
            ADAPTER,
            "--force",
            "--grace-period=0",
        ])?;
        until_measured(node).await?;

        println!("ending Prometheus");
        let prometheus = "app.kubernetes.io/name=prometheus";
        node.cluster.kubectl(&[
            "-n=monitoring",
            "delete",
            "pods",
            "-l",
            prometheus,
            "--force",
            "--grace-period=0",
        ])?;
        until_measured(node).await?;

        println!("ending CoreDNS");
        node.cluster.kubectl(&["-n=kube-system", "delete", "pods", "-l=k8s-app=kube-dns"])?;
        node.wait_rolled_out("kube-system", "deployment/coredns")?;
        until_measured(node).await?;

        for agent in ["kubelet", "kube-proxy", "kube-scheduler", "containerd"] {
            println!("ending {agent}");
            node.restart(agent).await?;
            until_measured(node).await?;
        }

        println!("ending kube-apiserver");
        node.cluster.stop_api_server()?;
        node.cluster.resume_api_server().await?;
        until_measured(node).await?;

        assert_eq!(replicas(node)?, 2, "an outage must not scale");
        node.wait_rolled_out("monitoring", "deployment/adapter")
    })
}
