//! What runs prometheus-adapter elsewhere runs our image when one line is changed: the image's.
//!
//! Each file of `drop_in/` re-expresses one deployment: its arguments, mounts, probes and users, a rule file of its
//! kind, and what is asked. Those of the community chart are rendered from it if `PROMETHEUS_ADAPTER_CHART` names its
//! folder. All get the limits of kube-prometheus, 250m and 180 MiB.

use std::path::Path;
use std::time::Duration;

use apiservice::authority::Authority;
use e2e::helm::Helm;
use e2e::node::{ContainerProcess, Node, on_node};
use e2e::stack::write_report;
use e2e::{Failure, until};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{MINUTE, pods, until_adapter_ready};

/// A deployment.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Fixture {
    /// The Service that its `--prometheus-url` names.
    service: Service,
    /// Whether it speaks TLS to Prometheus.
    #[serde(default)]
    tls: bool,
    /// A path of the API whose answer must hold [`VALUE`].
    asks: String,
    /// The rule file.
    rules: Value,
    /// Other files of the ConfigMap `config`.
    #[serde(default)]
    files: serde_json::Map<String, Value>,
    /// The spec of its pods.
    pod: Value,
    /// Values of the community chart that give this pod.
    #[serde(default)]
    values: Option<Value>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Service {
    namespace: String,
    name: String,
    #[serde(default = "default_port")]
    port: u16,
}

fn default_port() -> u16 {
    9090
}

/// A deployment that has started.
struct Started {
    name: String,
    fixture: Fixture,
    process: ContainerProcess,
    port: u16,
    ready: Duration,
}

#[test]
fn each_deployment_of_prometheus_adapter_runs_our_image() -> Result<(), Failure> {
    on_node(async |node| {
        node.clear()?;
        node.import_images()?;
        node.install_prometheus().await?;
        let authority = Authority::new("prometheus")?;
        prepare(node, &authority)?;
        let mut started = Vec::new();
        for file in std::fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/node/drop_in"))? {
            started.push(start(node, &authority, &file?.path()).await?);
        }
        started.sort_by(|one, other| one.name.cmp(&other.name));

        let token = node.cluster.token("shop", "asker")?;
        let http = reqwest::Client::builder().tls_danger_accept_invalid_certs(true).build()?;
        let mut table = Vec::new();
        for deployment in &started {
            node.wait_rolled_out(&deployment.name, "deployment/prometheus-adapter")?;
            let url = format!(
                "https://{}:{}{}",
                deployment.process.address()?,
                deployment.port,
                deployment.fixture.asks
            );
            let answer = || async {
                let response = http.get(&url).bearer_auth(&token).send().await?;
                Ok::<_, Failure>((response.status().as_u16(), response.text().await?))
            };
            let answered = until("the metric is answered", MINUTE, || async {
                let (code, text) = answer().await?;
                Ok(code == 200 && text.contains(&format!("\"{VALUE}\"")))
            });
            if let Err(error) = answered.await {
                return Err(format!("{}: {error}: {:?}", deployment.name, answer().await?).into());
            }
            let resident = deployment.process.resident_bytes().ok_or("the adapter has ended")?;
            let ready = deployment.ready.as_millis();
            println!("{:<20} ready {ready:>4} ms  {:.1} MB", deployment.name, resident as f64 / 1e6);
            table.push(json!({
                "deployment": deployment.name,
                "starts": true,
                "ready_ms": ready,
                "answers": true,
                "resident_bytes": resident,
            }));
        }
        write_report("drop-in", &json!(table))?;
        assert!(table.len() >= 5, "{table:?}");
        Ok(())
    })
}

/// What all of them need: the objects that metrics are about, series, a Prometheus with TLS beside the one without, and
/// who asks.
fn prepare(node: &Node, authority: &Authority) -> Result<(), Failure> {
    node.cluster.kubectl(&["create", "namespace", "shop"])?;
    node.cluster.kubectl(&["-n=shop", "create", "serviceaccount", "asker"])?;
    let asker = "--serviceaccount=shop:asker";
    node.cluster.kubectl(&["create", "clusterrolebinding", "asker", "--clusterrole=cluster-admin", asker])?;
    node.cluster.kubectl(&["-n=shop", "run", "cart-0", "--image=e2e/pause:1"])?;
    let record = |name: &str| {
        let labels = json!({
            "namespace": "shop", "pod": "cart-0", "container": "cart", "exported_namespace": "shop",
            "exported_pod": "cart-0", "variant_name": "cart",
        });
        json!({"record": name, "expr": format!("vector({VALUE})"), "labels": labels})
    };
    let series =
        ["http_requests", "orders_waiting", "container_cpu", "container_memory", "wva_desired_replicas"];
    let rules: Vec<Value> = series.into_iter().chain(["DCGM_FI_DEV_GPU_UTIL"]).map(record).collect();
    node.apply(&json!({
        "apiVersion": "monitoring.coreos.com/v1",
        "kind": "PrometheusRule",
        "metadata": {"name": "series", "namespace": "monitoring", "labels": {"release": "prometheus"}},
        "spec": {"groups": [{"name": "series", "interval": "5s", "rules": rules}]},
    }))?;
    let names = [
        "kube-prometheus-stack-prometheus.monitoring.svc.cluster.local",
        "prometheus-k8s.openshift-monitoring.svc",
    ];
    let issued = authority.issue_server("prometheus", &names.map(str::to_owned), &[])?;
    node.apply(&json!({
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "prometheus-certificate", "namespace": "monitoring"},
        "stringData": {"tls.crt": issued.certificate, "tls.key": issued.key},
    }))?;
    let mut secure: Value = serde_json::from_str(&node.cluster.kubectl(&[
        "-n=monitoring",
        "get",
        "prometheus",
        "prometheus-kube-prometheus-prometheus",
        "-o=json",
    ])?)?;
    secure["metadata"] = json!({"name": "secure", "namespace": "monitoring"});
    secure["status"] = Value::Null;
    secure["spec"]["web"] = json!({"tlsConfig": {
        "cert": {"secret": {"name": "prometheus-certificate", "key": "tls.crt"}},
        "keySecret": {"name": "prometheus-certificate", "key": "tls.key"},
    }});
    node.apply(&secure)
}

/// Starts a deployment in a namespace of its own and measures how soon it is ready after its program began.
async fn start(node: &Node, authority: &Authority, file: &Path) -> Result<Started, Failure> {
    let name = file.file_stem().and_then(|name| name.to_str()).ok_or("a file without a name")?.to_owned();
    let mut fixture: Fixture = serde_saphyr::from_str(&std::fs::read_to_string(file)?)
        .map_err(|error| format!("{}: {error}", file.display()))?;
    if let (Some(values), Some(chart)) = (&fixture.values, std::env::var_os("PROMETHEUS_ADAPTER_CHART")) {
        fixture.pod = pod_of_chart(node, Path::new(&chart), values)?;
    }
    lead(node, &fixture).await?;
    for object in objects(&name, authority, &fixture)? {
        node.apply(&object)?;
    }
    let port = fixture.pod["containers"][0]["ports"][0]["containerPort"]
        .as_u64()
        .ok_or("a container without a port")?;
    let port = u16::try_from(port)?;
    let (process, ready) = until_adapter_ready(node, &name, &format!("app={name}"), port).await?;
    Ok(Started { name, fixture, process, port, ready })
}

/// The spec of the pods that a chart gives, with the names of our ConfigMap and Secret.
fn pod_of_chart(node: &Node, chart: &Path, values: &Value) -> Result<Value, Failure> {
    let helm = Helm::of(&node.cluster).ok_or("helm is missing: scripts/components says why")?;
    let file = node.cluster.dir().join("values.json");
    std::fs::write(&file, values.to_string())?;
    let values = file.display().to_string();
    let rendered = helm.objects("prometheus-adapter", chart, &["--skip-tests", "-f", &values])?;
    let deployment = rendered.into_iter().find(|object| object["kind"] == "Deployment");
    let mut pod =
        deployment.ok_or("expected a Deployment in the chart, found none")?["spec"]["template"]["spec"]
            .take();
    for volume in pod["volumes"].as_array_mut().into_iter().flatten() {
        if let Some(map) = volume.get_mut("configMap") {
            map["name"] = json!("config");
        }
        if let Some(secret) = volume.get_mut("secret") {
            secret["secretName"] = json!("serving-certificate");
        }
    }
    Ok(pod)
}

/// Has the Service that a deployment names lead to a Prometheus.
async fn lead(node: &Node, fixture: &Fixture) -> Result<(), Failure> {
    let Service { namespace, name, port } = &fixture.service;
    let prometheus = if fixture.tls { "secure" } else { "prometheus-kube-prometheus-prometheus" };
    let statefulset = format!("statefulset/prometheus-{prometheus}");
    until("the operator has made a StatefulSet", MINUTE, || async {
        let found = node.cluster.kubectl(&["-n=monitoring", "get", &statefulset, "--ignore-not-found"])?;
        Ok(!found.is_empty())
    })
    .await?;
    node.wait_rolled_out("monitoring", &statefulset)?;
    let found = pods(node, "monitoring", &format!("operator.prometheus.io/name={prometheus}"))?;
    let address = found.first().ok_or("Prometheus has no pod")?["status"]["podIP"].clone();
    if !["default", "monitoring"].contains(&namespace.as_str()) {
        node.apply(&json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}}))?;
    }
    node.apply(&json!({
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {"ports": [{"name": "web", "port": port, "targetPort": 9090}]},
    }))?;
    node.apply(&json!({
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {"name": name, "namespace": namespace, "labels": {"kubernetes.io/service-name": name}},
        "addressType": "IPv4",
        "ports": [{"name": "web", "port": 9090}],
        "endpoints": [{"addresses": [address]}],
    }))
}

/// The objects of a deployment: as it has them, but for the image's line and the limits.
fn objects(name: &str, authority: &Authority, fixture: &Fixture) -> Result<Vec<Value>, Failure> {
    let mut pod = fixture.pod.clone();
    pod["containers"][0]["image"] = json!("adapter:0.1.0");
    pod["containers"][0]["resources"] =
        json!({"limits": {"cpu": "250m", "memory": "180Mi"}, "requests": {"cpu": "10m", "memory": "20Mi"}});
    let issued = authority.issue_server("adapter", &["localhost".to_owned()], &[])?;
    let mut files = fixture.files.clone();
    files.insert("config.yaml".to_owned(), json!(fixture.rules.to_string()));
    let meta = |object: &str| json!({"name": object, "namespace": name});
    let binding = |kind: &str, role_kind: &str, role: &str, metadata: Value| {
        json!({
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": kind,
            "metadata": metadata,
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": role_kind, "name": role},
            "subjects": [{"kind": "ServiceAccount", "name": "prometheus-adapter", "namespace": name}],
        })
    };
    Ok(vec![
        json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}),
        json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": meta("prometheus-adapter")}),
        json!({
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "ClusterRole",
            "metadata": {"name": name},
            "rules": [{
                "apiGroups": [""],
                "resources": ["namespaces", "nodes", "pods", "services"],
                "verbs": ["get", "list", "watch"],
            }],
        }),
        binding("ClusterRoleBinding", "ClusterRole", name, json!({"name": name})),
        binding(
            "ClusterRoleBinding",
            "ClusterRole",
            "system:auth-delegator",
            json!({"name": format!("{name}-delegator")}),
        ),
        binding(
            "RoleBinding",
            "Role",
            "extension-apiserver-authentication-reader",
            json!({"name": name, "namespace": "kube-system"}),
        ),
        json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": meta("config"), "data": files}),
        json!({
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": meta("authority"),
            "data": {"ca.crt": authority.certificate()},
        }),
        json!({
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": meta("serving-certificate"),
            "stringData": {"tls.crt": issued.certificate, "tls.key": issued.key},
        }),
        json!({
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": meta("prometheus-adapter"),
            "spec": {
                "selector": {"matchLabels": {"app": name}},
                "template": {"metadata": {"labels": {"app": name}}, "spec": pod},
            },
        }),
    ])
}

/// What every series says.
const VALUE: u32 = 7;
