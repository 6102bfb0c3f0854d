//! A control plane with many autoscalers and their Deployments, a Prometheus with two metrics of each pod, and the
//! servers between them.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use e2e::cluster::{Cluster, ClusterAdapter, MAY_LIST_PODS, WITHOUT_THROTTLE};
use e2e::component::component;
use e2e::hpa::{METRICS, RULES};
use e2e::prometheus::Prometheus;
use e2e::proxy::QueryProxy;
use e2e::signals::Signals;
use e2e::tutorial::{V1, V2};
use e2e::{Failure, free_port, until};
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::autoscaling::v2::HorizontalPodAutoscaler;
use k8s_openapi::api::core::v1::{Namespace, Pod, ServiceAccount};
use kube::Api;
use kube::api::{ListParams, Patch, PatchParams, PostParams};
use serde_json::json;

/// Ours as it is shipped, ours without sharing, and upstream without the throttle of its Kubernetes client.
pub(crate) const SERVERS: [&str; 3] = [OURS, ALONE, UPSTREAM];
const OURS: &str = "adapter";
const ALONE: &str = "adapter-alone";
const UPSTREAM: &str = "prometheus-adapter";

/// How many autoscalers there are, and over how many namespaces they are spread.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Size {
    pub(crate) autoscalers: usize,
    pub(crate) namespaces: usize,
}

pub(crate) struct World {
    pub(crate) cluster: Cluster,
    upstream: PathBuf,
    rules: PathBuf,
    certificate: [String; 2],
    pods: Vec<(String, String)>,
    signals: Signals,
    proxy: QueryProxy,
    _prometheus: Prometheus,
}

/// What was asked of Prometheus and of kube-apiserver during a while.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Counts {
    pub(crate) queries: usize,
    pub(crate) pod_lists: usize,
    pub(crate) access_reviews: usize,
}

impl World {
    pub(crate) async fn start(size: Size) -> Result<World, Failure> {
        let (Some(upstream), Some(prometheus)) = (component("prometheus-adapter"), component("prometheus"))
        else {
            return Err(
                "prometheus-adapter and prometheus are needed: scripts/components says why they are not here"
                    .into(),
            );
        };
        let cluster = Cluster::start_own_with(&CONTROLLERS)
            .await?
            .ok_or("a control plane is needed: see scripts/components")?;
        cluster.deploy("base", free_port()?)?;
        cluster.trust_for_apiservices(&[V1, V2].map(str::to_owned))?;
        cluster.apply(MAY_LIST_PODS)?;
        create(&cluster.client, size).await?;
        let pods = run_pods(&cluster.client, size).await?;
        let signals = Signals::start().await;
        signals.set(exposition(&pods, STEADY));
        let prometheus = Prometheus::start(&prometheus, &[signals.target()], cluster.dir()).await?;
        until("Prometheus has scraped all pods", Duration::from_mins(1), async || {
            Ok(prometheus.query(METRICS[1]).await?.len() == pods.len())
        })
        .await?;
        let proxy = QueryProxy::start(&prometheus.url()).await?;
        let rules = cluster.dir().join("rules.yaml");
        std::fs::write(&rules, RULES)?;
        let certificate = cluster.serving_certificate()?;
        Ok(World { cluster, upstream, rules, certificate, pods, signals, proxy, _prometheus: prometheus })
    }

    /// Starts a server and has the aggregator ask it.
    pub(crate) async fn start_server(&self, server: &str) -> Result<ClusterAdapter, Failure> {
        let [certificate, key] = &self.certificate;
        let mut flags = vec![certificate.as_str(), key];
        let url = self.proxy.url(server);
        let running = if server == UPSTREAM {
            flags.extend(WITHOUT_THROTTLE);
            self.cluster.start_prometheus_adapter(&self.upstream, &self.rules, &url, &flags).await?
        } else {
            // Where it is not given, tests share nothing.
            flags.extend((server == OURS).then_some("--query-sharing=5s"));
            self.cluster.start_adapter(free_port()?, &self.rules, &url, &flags).await?
        };
        let port = json!({"spec": {"service": {"port": running.port}}}).to_string();
        for name in [V1, V2] {
            self.cluster.kubectl(&["patch", "apiservice", name, "--type=merge", "-p", &port])?;
            self.cluster.wait_available(name).await?;
        }
        let (namespace, _) = self.pods.first().ok_or("no pod")?;
        let path =
            format!("/apis/custom.metrics.k8s.io/v1beta2/namespaces/{namespace}/pods/*/{}", METRICS[0]);
        until("the server answers", Duration::from_mins(1), async || {
            Ok(self.cluster.get(&path).await?.0 == 200)
        })
        .await?;
        Ok(running)
    }

    /// What a server asks Prometheus, and anybody kube-apiserver, during a while.
    pub(crate) async fn count(&self, server: &str, over: Duration) -> Result<Counts, Failure> {
        let [lists, reviews] = self.api_requests().await?;
        self.proxy.take(server);
        tokio::time::sleep(over).await;
        let queries = self.proxy.take(server).0.len();
        let [lists_after, reviews_after] = self.api_requests().await?;
        Ok(Counts { queries, pod_lists: lists_after - lists, access_reviews: reviews_after - reviews })
    }

    /// Lists of pods and access reviews, so far.
    async fn api_requests(&self) -> Result<[usize; 2], Failure> {
        let (_, metrics) = self.cluster.get("/metrics").await?;
        let count = |labels: &[&str]| {
            let counted = metrics.lines().filter(|line| {
                line.starts_with("apiserver_request_total{")
                    && labels.iter().all(|label| line.contains(label))
            });
            counted.filter_map(|line| line.rsplit_once(' ')?.1.parse::<f64>().ok()).sum::<f64>() as usize
        };
        Ok([
            count(&[r#"group="""#, r#"resource="pods""#, r#"verb="LIST""#]),
            count(&[r#"resource="subjectaccessreviews""#]),
        ])
    }

    /// Raises a metric of all pods; how long each autoscaler takes to want more of them.
    pub(crate) async fn reactions(&self) -> Result<Vec<Duration>, Failure> {
        let began = Instant::now();
        self.signals.set(exposition(&self.pods, HIGH));
        let mut reactions: HashMap<String, Duration> = HashMap::new();
        until("all autoscalers want more replicas", PATIENCE, async || {
            for (autoscaler, wanted) in self.wanted().await? {
                if wanted > 1 {
                    reactions.entry(autoscaler).or_insert_with(|| began.elapsed());
                }
            }
            tokio::time::sleep(BETWEEN_LOOKS).await;
            Ok(reactions.len() == self.pods.len())
        })
        .await?;
        Ok(reactions.into_values().collect())
    }

    /// Lowers the metric until every autoscaler is where it began.
    pub(crate) async fn calm_down(&self) -> Result<(), Failure> {
        self.signals.set(exposition(&self.pods, LOW));
        until("all autoscalers want one replica", PATIENCE, async || {
            tokio::time::sleep(BETWEEN_LOOKS).await;
            Ok(self.wanted().await?.iter().all(|(_, wanted)| *wanted == 1))
        })
        .await?;
        self.signals.set(exposition(&self.pods, STEADY));
        Ok(())
    }

    /// The replicas that each autoscaler wants.
    async fn wanted(&self) -> Result<Vec<(String, i32)>, Failure> {
        let autoscalers: Api<HorizontalPodAutoscaler> = Api::all(self.cluster.client.clone());
        // From the cache: the look itself is to cost little.
        let listed = autoscalers.list(&ListParams::default().match_any()).await?;
        Ok(listed
            .into_iter()
            .map(|autoscaler| {
                let name = format!(
                    "{}/{}",
                    autoscaler.metadata.namespace.unwrap_or_default(),
                    autoscaler.metadata.name.unwrap_or_default()
                );
                (name, autoscaler.status.map_or(0, |status| status.desired_replicas))
            })
            .collect())
    }
}

/// Namespaces, Deployments and autoscalers.
async fn create(client: &kube::Client, size: Size) -> Result<(), Failure> {
    let namespaces: Api<Namespace> = Api::all(client.clone());
    at_once(0..size.namespaces, |number| {
        let namespaces = namespaces.clone();
        async move {
            let object = serde_json::from_value(json!({"metadata": {"name": namespace(number)}}))?;
            namespaces.create(&PostParams::default(), &object).await?;
            Ok(())
        }
    })
    .await?;
    let accounts: Api<ServiceAccount> = Api::all(client.clone());
    until("every namespace has an account", Duration::from_mins(2), async || {
        let listed = accounts.list_metadata(&ListParams::default().fields("metadata.name=default")).await?;
        let ours = |namespace: Option<&str>| namespace.is_some_and(|name| name.starts_with("team-"));
        let count = listed.items.iter().filter(|account| ours(account.metadata.namespace.as_deref())).count();
        Ok(count == size.namespaces)
    })
    .await?;
    at_once(0..size.autoscalers, |number| async move {
        let (name, namespace) = (format!("app-{number:05}"), namespace(number % size.namespaces));
        let labels = json!({"app": name, "bench": "hpas"});
        let deployment = serde_json::from_value(json!({
            "metadata": {"name": name},
            "spec": {
                "replicas": 1,
                "selector": {"matchLabels": labels},
                "template": {
                    "metadata": {"labels": labels},
                    "spec": {"containers": [{"name": "app", "image": "app"}]},
                },
            },
        }))?;
        let deployments: Api<Deployment> = Api::namespaced(client.clone(), &namespace);
        deployments.create(&PostParams::default(), &deployment).await?;
        let metric = |metric: &str| {
            json!({"type": "Pods", "pods": {
                "metric": {"name": metric},
                "target": {"type": "AverageValue", "averageValue": TARGET.to_string()},
            }})
        };
        let autoscaler = serde_json::from_value(json!({
            "metadata": {"name": name},
            "spec": {
                "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": name},
                "minReplicas": 1,
                "maxReplicas": 2,
                "metrics": METRICS.map(metric),
            },
        }))?;
        let autoscalers: Api<HorizontalPodAutoscaler> = Api::namespaced(client.clone(), &namespace);
        autoscalers.create(&PostParams::default(), &autoscaler).await?;
        Ok(())
    })
    .await
}

/// Says of the pods what a kubelet would; their namespaces and names.
async fn run_pods(client: &kube::Client, size: Size) -> Result<Vec<(String, String)>, Failure> {
    let all: Api<Pod> = Api::all(client.clone());
    let mut pods = Vec::new();
    until("every Deployment has its pod", 2 * PATIENCE, async || {
        tokio::time::sleep(BETWEEN_LOOKS).await;
        let listed = all.list_metadata(&ListParams::default().labels("bench=hpas").match_any()).await?;
        let place =
            |pod: kube::core::PartialObjectMeta<Pod>| Some((pod.metadata.namespace?, pod.metadata.name?));
        pods = listed.into_iter().filter_map(place).collect();
        Ok(pods.len() == size.autoscalers)
    })
    .await?;
    let status = json!({"status": {
        "phase": "Running",
        "startTime": "2026-01-01T00:00:00Z",
        "conditions": [{"type": "Ready", "status": "True", "lastTransitionTime": "2026-01-01T00:00:00Z"}],
    }});
    at_once(pods.iter(), |(namespace, name)| {
        let api: Api<Pod> = Api::namespaced(client.clone(), namespace);
        let status = &status;
        async move {
            api.patch_status(name, &PatchParams::default(), &Patch::Merge(status)).await?;
            Ok(())
        }
    })
    .await?;
    Ok(pods)
}

async fn at_once<T, F: Future<Output = Result<(), Failure>>>(
    items: impl IntoIterator<Item = T>,
    run: impl FnMut(T) -> F,
) -> Result<(), Failure> {
    stream::iter(items).map(run).map(Ok).try_for_each_concurrent(AT_ONCE, |future| future).await
}

fn namespace(number: usize) -> String {
    format!("team-{number:04}")
}

/// Both metrics of all pods.
fn exposition(pods: &[(String, String)], value: u32) -> String {
    let mut text = String::new();
    for metric in METRICS {
        for (namespace, pod) in pods {
            // A String takes everything.
            let _ = writeln!(text, "{metric}{{namespace=\"{namespace}\",pod=\"{pod}\"}} {value}");
        }
    }
    text
}

/// What autoscalers want on average, and values that leave them, let them grow and let them shrink.
const TARGET: u32 = 3;
const STEADY: u32 = TARGET;
const HIGH: u32 = 9;
const LOW: u32 = 1;
/// The period that a cluster has by default, and as many workers and requests as a large one is given.
const CONTROLLERS: [&str; 5] = [
    "--horizontal-pod-autoscaler-sync-period=15s",
    "--concurrent-horizontal-pod-autoscaler-syncs=50",
    "--concurrent-deployment-syncs=50",
    "--kube-api-qps=1000",
    "--kube-api-burst=2000",
];
const AT_ONCE: usize = 32;
const PATIENCE: Duration = Duration::from_mins(3);
const BETWEEN_LOOKS: Duration = Duration::from_millis(300);
