//! The tutorial's stack in a cluster, by the manifests as they are shipped.

use std::time::Duration;

use crate::cluster::{Cluster, ClusterAdapter};
use crate::component::component;
use crate::kubelet::{Kubelet, Settings};
use crate::prometheus::Prometheus;
use crate::{Failure, free_port, stack, until};

/// The APIService of the first version.
pub const V1: &str = "v1beta1.custom.metrics.k8s.io";
/// The APIService of the second version.
pub const V2: &str = "v1beta2.custom.metrics.k8s.io";

/// Two pods that Prometheus scrapes, and the adapter behind both APIServices.
pub struct Tutorial {
    /// The control plane.
    pub cluster: Cluster,
    /// What scrapes the pods.
    pub prometheus: Prometheus,
    /// What runs them.
    pub kubelet: Kubelet,
    /// The adapter.
    pub adapter: ClusterAdapter,
}

impl Tutorial {
    /// Starts it, model servers with `arguments`, and waits until all of it is ready; `None` where a component is
    /// neither there nor can be built.
    ///
    /// # Errors
    /// Something did not start.
    pub async fn start(arguments: Vec<String>) -> Result<Option<Tutorial>, Failure> {
        let (Some(prometheus), Some(cluster)) = (component("prometheus"), Cluster::start().await?) else {
            return Ok(None);
        };
        let prometheus = Prometheus::start(&prometheus, &[], cluster.dir()).await?;
        let port = free_port()?;
        cluster.deploy("overlays/tutorial", port)?;
        let pods = Settings {
            namespace: cluster.namespace().to_owned(),
            app: "model-server",
            arguments,
            targets_file: prometheus.targets_file(),
            other_targets: Vec::new(),
        };
        let kubelet = Kubelet::start(&cluster.client, pods, cluster.dir());
        until("Prometheus has scraped both pods", MINUTE * cluster.patience(), || async {
            Ok(prometheus.query("request_queue_depth").await?.len() == 2)
        })
        .await?;
        let rules = stack::repository().join("deploy/overlays/tutorial/adapter-values.yaml");
        let adapter = cluster.start_adapter(port, &rules, &prometheus.url(), &[]).await?;
        cluster.wait_available(V1).await?;
        cluster.wait_available(V2).await?;
        Ok(Some(Tutorial { cluster, prometheus, kubelet, adapter }))
    }
}

const MINUTE: Duration = Duration::from_mins(1);
