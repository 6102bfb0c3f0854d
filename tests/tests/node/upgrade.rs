//! The adapter's pods replaced, killed and stopped under the autoscaler's reads.

use e2e::node::{Stack, on_node};
use e2e::{Failure, until};

use super::reads::Reads;
use super::{MINUTE, pods, until_measured};

#[test]
fn a_rolling_upgrade_of_the_adapter_fails_no_read() -> Result<(), Failure> {
    on_node(async |node| {
        node.install(Stack::TutorialCpu).await?;
        until_measured(node).await?;
        let before = pods(node, "monitoring", ADAPTER)?;
        let reads = Reads::start(node);
        node.cluster.kubectl(&["-n=monitoring", "rollout", "restart", "deployment/adapter"])?;
        node.wait_rolled_out("monitoring", "deployment/adapter")?;
        until("the old pods have gone", 2 * MINUTE, || async {
            let now = pods(node, "monitoring", ADAPTER)?;
            Ok(now
                .iter()
                .all(|pod| !before.iter().any(|old| old["metadata"]["uid"] == pod["metadata"]["uid"])))
        })
        .await?;
        let (answered, failures) = reads.stop().await?;
        println!("{answered} reads were answered while the adapter's pods were replaced");
        assert!(answered > 0);
        assert_eq!(failures, [""; 0], "of {answered}");
        Ok(())
    })
}

#[test]
fn an_adapter_that_hangs_is_taken_out_of_use_and_started_again() -> Result<(), Failure> {
    on_node(async |node| {
        node.install(Stack::TutorialCpu).await?;
        let victim = pods(node, "monitoring", ADAPTER)?.into_iter().next().ok_or("the adapter has no pod")?;
        let name = victim["metadata"]["name"].as_str().ok_or("a pod without a name")?;
        node.signal(victim["metadata"]["uid"].as_str().ok_or("a pod without a uid")?, "adapter", "STOP")?;
        let restarts = || -> Result<u64, Failure> {
            let pod = super::object(node, "monitoring", &format!("pod/{name}"))?;
            Ok(pod["status"]["containerStatuses"][0]["restartCount"].as_u64().unwrap_or_default())
        };
        let count = restarts()?;
        let pod = format!("pod/{name}");
        let ready = || node.has_condition("monitoring", &pod, "Ready");
        until("the pod is not ready", MINUTE, || async { Ok(!ready()?) }).await?;
        until("the kubelet starts it again", 3 * MINUTE, || async { Ok(restarts()? > count) }).await?;
        until("the pod is ready", MINUTE, || async { ready() }).await
    })
}

pub(crate) const ADAPTER: &str = "app.kubernetes.io/name=adapter";
