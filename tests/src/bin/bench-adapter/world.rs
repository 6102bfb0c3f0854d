//! What is measured: a control plane, pods in namespaces of several sizes, Prometheus with a series for each, and the
//! servers in front of it.

use std::fmt::Write as _;
use std::path::PathBuf;
use std::time::Duration;

use e2e::cluster::{Cluster, ClusterAdapter, MAY_LIST_PODS, WITHOUT_THROTTLE};
use e2e::component::component;
use e2e::prometheus::Prometheus;
use e2e::signals::Signals;
use e2e::{Failure, free_port, until};
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use k8s_openapi::api::core::v1::{Namespace, Pod};
use kube::Api;
use kube::api::PostParams;
use reqwest::{Certificate, Client, RequestBuilder};
use serde_json::json;

/// Pods in each namespace.
pub(crate) const SIZES: [usize; 4] = [1, 10, 100, 500];

/// Upstream as it comes and without the throttle of its Kubernetes client, ours as it comes and with a query for each
/// request, and Prometheus itself.
pub(crate) const SERVERS: [&str; 5] = [UPSTREAM, UNTHROTTLED, OURS, UNSHARED, PROMETHEUS];
pub(crate) const UPSTREAM: &str = "prometheus-adapter";
pub(crate) const UNTHROTTLED: &str = "prometheus-adapter-unthrottled";
pub(crate) const OURS: &str = "adapter";
pub(crate) const UNSHARED: &str = "adapter-unshared";
pub(crate) const PROMETHEUS: &str = "prometheus";

const RULES: &str = r#"
rules:
- seriesQuery: 'request_queue_depth{namespace!="",pod!=""}'
  resources: {overrides: {namespace: {resource: namespace}, pod: {resource: pod}}}
  metricsQuery: '<<.Series>>{<<.LabelMatchers>>}'
"#;

pub(crate) struct World {
    pub(crate) cluster: Cluster,
    pub(crate) prometheus: Prometheus,
    upstream: PathBuf,
    rules: PathBuf,
    certificate: [String; 2],
    token: String,
    _signals: Signals,
}

/// One server, running.
pub(crate) struct Target {
    pub(crate) url: String,
    /// From its start until it was ready; `None` for Prometheus, which serves all the time.
    pub(crate) ready: Option<Duration>,
    adapter: Option<ClusterAdapter>,
    pub(crate) http: Client,
    token: Option<String>,
}

/// One question, as a server takes it.
pub(crate) struct Question {
    /// How it is called in the report.
    pub(crate) path: String,
    pub(crate) pods: usize,
    ask: Ask,
}

enum Ask {
    Get(String),
    PromQl(String),
}

impl World {
    pub(crate) async fn start() -> Result<World, Failure> {
        let (Some(upstream), Some(prometheus)) = (component("prometheus-adapter"), component("prometheus"))
        else {
            return Err(
                "prometheus-adapter and prometheus are needed: scripts/components says why they are not here"
                    .into(),
            );
        };
        let cluster =
            Cluster::start_own().await?.ok_or("a control plane is needed: see scripts/components")?;
        cluster.deploy("base", free_port()?)?;
        cluster.apply(CALLER)?;
        cluster.apply(MAY_LIST_PODS)?;
        create_pods(&cluster.client).await?;
        let signals = Signals::start().await;
        signals.set(exposition());
        let prometheus = Prometheus::start(&prometheus, &[signals.target()], cluster.dir()).await?;
        let all = SIZES.iter().sum::<usize>();
        until("Prometheus has scraped all pods", Duration::from_mins(1), || async {
            Ok(prometheus.query("request_queue_depth").await?.len() == all)
        })
        .await?;
        let rules = cluster.dir().join("rules.yaml");
        std::fs::write(&rules, RULES)?;
        let certificate = cluster.serving_certificate()?;
        let token = cluster.token("default", "bench")?;
        Ok(World { cluster, prometheus, upstream, rules, certificate, token, _signals: signals })
    }

    /// Starts a server and waits until it is ready and has listed the metric.
    pub(crate) async fn start_server(&self, server: &str) -> Result<Target, Failure> {
        let [certificate, key] = &self.certificate;
        let mut flags = vec![certificate.as_str(), key];
        let url = self.prometheus.url();
        let adapter = match server {
            PROMETHEUS => {
                let http = Client::builder().http1_only().build()?;
                return Ok(Target { url, ready: None, adapter: None, http, token: None });
            }
            OURS | UNSHARED => {
                flags.push(if server == OURS { "--query-sharing=5s" } else { "--query-sharing=0s" });
                self.cluster.start_adapter(free_port()?, &self.rules, &url, &flags).await?
            }
            _ => {
                if server == UNTHROTTLED {
                    flags.extend(WITHOUT_THROTTLE);
                }
                self.cluster.start_prometheus_adapter(&self.upstream, &self.rules, &url, &flags).await?
            }
        };
        let authority = std::fs::read(self.cluster.dir().join("ca.crt"))?;
        let http =
            Client::builder().http1_only().tls_certs_only([Certificate::from_pem(&authority)?]).build()?;
        let mut target = Target {
            url: format!("https://localhost:{}", adapter.port),
            ready: None,
            adapter: Some(adapter),
            http,
            token: Some(self.token.clone()),
        };
        until("the server is ready", Duration::from_mins(1), || async {
            let answer = target.http.get(format!("{}/readyz", target.url)).send().await;
            Ok(answer.is_ok_and(|answer| answer.status().is_success()))
        })
        .await?;
        target.ready = target.adapter.as_ref().map(|adapter| adapter.process.age());
        let smallest = questions(server).into_iter().next().ok_or("no question")?;
        until("the server has listed the metric", Duration::from_mins(1), || async {
            Ok(target.request(&smallest).send().await?.status().is_success())
        })
        .await?;
        Ok(target)
    }
}

/// What each server is asked: all pods of each namespace, in both versions, and one pod.
pub(crate) fn questions(server: &str) -> Vec<Question> {
    let mut questions = Vec::new();
    for pods in SIZES {
        for version in ["v1beta1", "v1beta2"] {
            let path = format!("{version}/pods/*");
            let ask = if server == PROMETHEUS {
                let names: Vec<String> = (0..pods).map(pod_name).collect();
                let pod = if pods == 1 { "pod=" } else { "pod=~" };
                Ask::PromQl(format!(
                    "request_queue_depth{{namespace=\"{}\",{pod}\"{}\"}}",
                    namespace(pods),
                    names.join("|")
                ))
            } else {
                Ask::Get(metric(version, pods, "*"))
            };
            questions.push(Question { path, pods, ask });
        }
    }
    let name = pod_name(0);
    let ask = if server == PROMETHEUS {
        Ask::PromQl(format!("request_queue_depth{{namespace=\"{}\",pod=\"{name}\"}}", namespace(100)))
    } else {
        Ask::Get(metric("v1beta1", 100, &name))
    };
    questions.push(Question { path: "v1beta1/pods/NAME".to_owned(), pods: 1, ask });
    questions
}

impl Target {
    /// A question as a request.
    pub(crate) fn request(&self, question: &Question) -> RequestBuilder {
        match &question.ask {
            Ask::Get(path) => {
                let request = self.http.get(format!("{}{path}", self.url));
                match &self.token {
                    Some(token) => request.bearer_auth(token),
                    None => request,
                }
            }
            Ask::PromQl(promql) => {
                self.http.post(format!("{}/api/v1/query", self.url)).form(&[("query", promql)])
            }
        }
    }

    pub(crate) fn cpu_time(&self, world: &World) -> Duration {
        let adapter = self.adapter.as_ref().and_then(|adapter| adapter.process.cpu_time());
        adapter.unwrap_or_else(|| world.prometheus.cpu_time())
    }

    pub(crate) fn resident_bytes(&self) -> u64 {
        let adapter = self.adapter.as_ref().and_then(|adapter| adapter.process.resident_bytes());
        adapter.unwrap_or_default()
    }
}

fn metric(version: &str, pods: usize, name: &str) -> String {
    format!(
        "/apis/custom.metrics.k8s.io/{version}/namespaces/{}/pods/{name}/request_queue_depth",
        namespace(pods)
    )
}

fn namespace(pods: usize) -> String {
    format!("bench-{pods}")
}

/// As a Deployment's pods are called.
fn pod_name(number: usize) -> String {
    format!("model-server-7c9f8d6b5c-{number:05}")
}

fn exposition() -> String {
    let mut text = String::new();
    for pods in SIZES {
        for number in 0..pods {
            let (namespace, pod) = (namespace(pods), pod_name(number));
            let _ = writeln!(text, "request_queue_depth{{namespace=\"{namespace}\",pod=\"{pod}\"}} {number}");
        }
    }
    text
}

async fn create_pods(client: &kube::Client) -> Result<(), Failure> {
    let namespaces: Api<Namespace> = Api::all(client.clone());
    for pods in SIZES {
        let object = serde_json::from_value(json!({"metadata": {"name": namespace(pods)}}))?;
        namespaces.create(&PostParams::default(), &object).await?;
        let accounts: Api<k8s_openapi::api::core::v1::ServiceAccount> =
            Api::namespaced(client.clone(), &namespace(pods));
        until("the namespace has an account", Duration::from_secs(30), || async {
            Ok(accounts.get_opt("default").await?.is_some())
        })
        .await?;
        let api: Api<Pod> = Api::namespaced(client.clone(), &namespace(pods));
        let created = stream::iter(0..pods).map(Ok::<_, Failure>).try_for_each_concurrent(16, |number| {
            let api = api.clone();
            async move {
                let object = json!({"metadata": {"name": pod_name(number), "labels": {"app": "model-server"}},
                    "spec": {"containers": [{"name": "model-server", "image": "model-server"}]}});
                api.create(&PostParams::default(), &serde_json::from_value(object)?).await?;
                Ok(())
            }
        });
        created.await?;
    }
    Ok(())
}

const CALLER: &str = r"
apiVersion: v1
kind: ServiceAccount
metadata: {name: bench, namespace: default}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: bench}
rules:
- {apiGroups: [custom.metrics.k8s.io], resources: ['*'], verbs: [get, list]}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: bench}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: bench}
subjects: [{kind: ServiceAccount, name: bench, namespace: default}]
";
