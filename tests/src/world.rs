//! A cluster with metrics of every form, which the adapter serves by every API that it has.

mod series;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use kube::api::{Patch, PatchParams};
use serde_json::json;
use tokio_util::task::AbortOnDropHandle;

use crate::cluster::{CALLERS, Cluster, ClusterAdapter};
use crate::component::component;
use crate::prometheus::Prometheus;
use crate::signals::Signals;
use crate::{Failure, free_port, stack, until};

pub use self::series::{NAMES, Shape};

/// The APIServices of all that the adapter serves.
pub const APISERVICES: [&str; 4] = [
    "v1beta1.custom.metrics.k8s.io",
    "v1beta2.custom.metrics.k8s.io",
    "v1beta1.external.metrics.k8s.io",
    "v1beta1.metrics.k8s.io",
];

/// A rule file with every form of rule, over the series that are exposed here.
pub fn rules() -> PathBuf {
    stack::repository().join("tests/src/world/rules.yaml")
}

/// Objects, and a Prometheus that scrapes series about them.
pub struct Metrics {
    /// The Prometheus.
    pub prometheus: Prometheus,
    exposed: Exposed,
}

/// The series, with counters that grow.
#[derive(Clone)]
struct Exposed {
    signals: Arc<Signals>,
    shapes: Arc<BTreeSet<Shape>>,
    tick: Arc<AtomicU32>,
}

impl Metrics {
    /// Creates the objects and waits until Prometheus has scraped so often that rates are known. Besides the series of
    /// our own rules there are three for each shape. From then on no counter grows.
    ///
    /// # Errors
    /// The cluster refused an object, or Prometheus did not start.
    pub async fn start(
        cluster: &Cluster,
        prometheus: &Path,
        shapes: BTreeSet<Shape>,
    ) -> Result<Metrics, Failure> {
        until("the cluster gives pods an identity", MINUTE, || async {
            Ok(cluster.kubectl(&["get", "serviceaccount", "default"]).is_ok())
        })
        .await?;
        cluster.apply(&series::objects())?;
        let signals = Arc::new(Signals::start().await);
        let prometheus = Prometheus::start(prometheus, &[signals.target()], cluster.dir()).await?;
        let exposed = Exposed { signals, shapes: Arc::new(shapes), tick: Arc::default() };
        until("Prometheus has scraped often enough", MINUTE, || async {
            exposed.grow();
            let counted = prometheus.query("count_over_time(depth{pod=\"model-a\"}[1m])").await?;
            Ok(counted.first().is_some_and(|(_, count)| *count >= SCRAPES))
        })
        .await?;
        Ok(Metrics { prometheus, exposed })
    }
}

impl Exposed {
    fn grow(&self) {
        self.signals.set(series::exposition(&self.shapes, self.tick.fetch_add(1, Ordering::Relaxed)));
    }
}

/// A control plane of our own, metrics of its objects, and the APIServices of all that the adapter serves.
pub struct World {
    /// The control plane.
    pub cluster: Cluster,
    /// What is known of its objects; counters grow.
    pub metrics: Metrics,
    /// Where the APIServices lead.
    pub port: u16,
    _growing: AbortOnDropHandle<()>,
}

impl World {
    /// Starts it; `None` where a component is neither there nor can be built.
    ///
    /// # Errors
    /// Something did not start.
    pub async fn start() -> Result<Option<World>, Failure> {
        let (Some(prometheus), Some(cluster)) = (component("prometheus"), Cluster::start_own().await?) else {
            return Ok(None);
        };
        let port = free_port()?;
        cluster.deploy("overlays/external", port)?;
        cluster.apply(&format!(
            "apiVersion: apiregistration.k8s.io/v1\nkind: APIService\nmetadata: {{name: v1beta1.metrics.k8s.io}}\nspec:\n  \
             group: metrics.k8s.io\n  version: v1beta1\n  groupPriorityMinimum: 100\n  versionPriority: 100\n  \
             service: {{name: adapter, namespace: monitoring, port: {port}}}\n"
        ))?;
        cluster.trust_for_apiservices(&APISERVICES.map(str::to_owned))?;
        cluster.apply(CALLERS)?;
        cluster.apply(READING)?;
        let metrics = Metrics::start(&cluster, &prometheus, BTreeSet::new()).await?;
        run_pods(&cluster).await?;
        let exposed = metrics.exposed.clone();
        let growing = AbortOnDropHandle::new(tokio::spawn(async move {
            loop {
                exposed.grow();
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
        }));
        Ok(Some(World { cluster, metrics, port, _growing: growing }))
    }

    /// Starts the adapter with [`Cluster::serving_certificate`] and waits until it is available in every version.
    ///
    /// # Errors
    /// It did not start, or kube-apiserver does not reach it.
    pub async fn start_adapter(
        &self,
        rules: &Path,
        prometheus: &str,
        more: &[&str],
    ) -> Result<ClusterAdapter, Failure> {
        let certificate = self.cluster.serving_certificate()?;
        let all: Vec<&str> = certificate
            .iter()
            .map(String::as_str)
            .chain(["--metrics-relist-interval=5s"])
            .chain(more.iter().copied())
            .collect();
        let adapter = self.cluster.start_adapter(self.port, rules, prometheus, &all).await?;
        for name in APISERVICES {
            self.cluster.wait_available(name).await?;
        }
        Ok(adapter)
    }
}

/// Says of the pods what a kubelet would: the use of pods is known of those that run.
async fn run_pods(cluster: &Cluster) -> Result<(), Failure> {
    let pods: Api<Pod> = Api::namespaced(cluster.client.clone(), "default");
    for name in NAMES.into_iter().chain(["silent"]) {
        let status = json!({"status": {"phase": "Running"}});
        pods.patch_status(name, &PatchParams::default(), &Patch::Merge(status)).await?;
    }
    Ok(())
}

/// What `reader` may read here, besides what it may read anywhere.
const READING: &str = "
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: reading}
rules: [{apiGroups: [custom.metrics.k8s.io], resources: [pods/depth], verbs: [get]}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: reading}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: reading}
subjects: [{kind: ServiceAccount, name: reader, namespace: default}]
";
const MINUTE: Duration = Duration::from_mins(1);
/// Scrapes before anything is asked; rates need two.
const SCRAPES: f64 = 6.0;
