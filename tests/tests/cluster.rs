//! The adapter behind a real kube-apiserver, deployed by the manifests as they are shipped.

use std::time::Duration;

use apiservice::authority::Issued;
use e2e::cluster::{CALLERS, Cluster, ClusterAdapter};
use e2e::component::left_out;
use e2e::tutorial::{Tutorial, V1, V2};
use e2e::{Failure, free_port, stack, until};
use serde_json::{Value, json};

const C1: &str = "/apis/custom.metrics.k8s.io/v1beta1";
const MINUTE: Duration = Duration::from_mins(1);

fn depth_of(cluster: &Cluster) -> String {
    format!("{C1}/namespaces/{}/pods/*/request_queue_depth", cluster.namespace())
}

#[tokio::test(flavor = "multi_thread")]
async fn aggregated_by_a_real_kube_apiserver() -> Result<(), Failure> {
    let Some(deployed) = Tutorial::start(Vec::new()).await? else { return left_out("kube-apiserver") };
    let cluster = &deployed.cluster;
    // Verified: the adapter published its own authority, and nothing is skipped.
    for name in [V1, V2] {
        let service: Value =
            serde_json::from_str(&cluster.kubectl(&["get", "apiservice", name, "-o", "json"])?)?;
        assert!(service["spec"]["caBundle"].is_string(), "{service}");
        assert_ne!(service["spec"]["insecureSkipTLSVerify"], true);
    }

    // The tutorial's two commands.
    let listed: Value = serde_json::from_str(&cluster.kubectl(&["get", "--raw", C1])?)?;
    let names: Vec<&str> = listed["resources"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|entry| entry["name"].as_str())
        .collect();
    assert_eq!(
        names,
        [
            "namespaces/gpu_utilization_percent",
            "namespaces/inference_latency_seconds_avg",
            "namespaces/request_queue_depth",
            "pods/gpu_utilization_percent",
            "pods/inference_latency_seconds_avg",
            "pods/request_queue_depth"
        ]
    );
    let path = depth_of(cluster);
    let values: Value = serde_json::from_str(&cluster.kubectl(&["get", "--raw", &path])?)?;
    assert_eq!(values["items"].as_array().map(Vec::len), Some(2), "{values}");

    // From here on nothing of ours is missing: what kube-apiserver says of us before is about the start.
    let before = cluster.api_server_log().lines().count();
    until("kube-apiserver has our OpenAPI documents", MINUTE, || async {
        let (code, index) = cluster.json("/openapi/v3").await?;
        Ok(code == 200 && index["paths"]["apis/custom.metrics.k8s.io/v1beta2"].is_object())
    })
    .await?;
    let (code, document) = cluster.json("/openapi/v3/apis/custom.metrics.k8s.io/v1beta2").await?;
    assert_eq!(code, 200);
    assert!(
        document["components"]["schemas"]["io.k8s.metrics.pkg.apis.custom_metrics.v1beta2.MetricValueList"]
            .is_object(),
        "{document}"
    );

    let resources = cluster.try_kubectl(&["api-resources"])?;
    assert!(resources.status.success(), "{}", String::from_utf8_lossy(&resources.stderr));
    assert_eq!(String::from_utf8_lossy(&resources.stderr), "");

    if !cluster.is_own() {
        println!("the log of kube-apiserver was not looked at: it is not ours");
        deployed.cluster.stop();
        return Ok(());
    }
    // Two rounds of what kube-apiserver asks of us by itself: availability, discovery, OpenAPI.
    tokio::time::sleep(Duration::from_secs(5)).await;
    let log = cluster.api_server_log();
    let complaints: Vec<&str> = log
        .lines()
        .skip(before)
        .filter(|line| line.starts_with('E') && line.contains("metrics.k8s.io"))
        .collect();
    assert_eq!(complaints, [""; 0], "kube-apiserver complains about us");
    deployed.cluster.stop();
    Ok(())
}

/// A caller of the adapter itself, without kube-apiserver in between.
struct Caller {
    http: reqwest::Client,
    url: String,
    token: Option<String>,
    headers: Vec<(&'static str, &'static str)>,
}

impl Caller {
    fn new(adapter: &ClusterAdapter, certificate: Option<&Issued>) -> Result<Caller, Failure> {
        let mut http = reqwest::Client::builder().tls_danger_accept_invalid_certs(true);
        if let Some(issued) = certificate {
            let pem = format!("{}{}", issued.certificate, issued.key);
            http = http.identity(reqwest::Identity::from_pem(pem.as_bytes())?);
        }
        let url = format!("https://127.0.0.1:{}", adapter.port);
        Ok(Caller { http: http.build()?, url, token: None, headers: Vec::new() })
    }

    async fn get(&self, path: &str) -> Result<(u16, String), Failure> {
        let mut request = self.http.get(format!("{}{path}", self.url));
        if let Some(token) = &self.token {
            request = request.bearer_auth(token);
        }
        for (name, value) in &self.headers {
            request = request.header(*name, *value);
        }
        let response = request.send().await?;
        Ok((response.status().as_u16(), response.text().await?))
    }

    /// The code of an answer and the message of its Status.
    async fn refusal(&self, path: &str) -> Result<(u16, String), Failure> {
        let (code, body) = self.get(path).await?;
        let status: Value = serde_json::from_str(&body).map_err(|error| format!("{error}: {body}"))?;
        Ok((code, status["message"].as_str().unwrap_or_default().to_owned()))
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn callers_are_who_the_cluster_says_and_may_what_it_says() -> Result<(), Failure> {
    let Some(deployed) = Tutorial::start(Vec::new()).await? else { return left_out("kube-apiserver") };
    if !deployed.cluster.is_own() {
        println!("not run: this needs the keys and the processes of a control plane of our own");
        deployed.cluster.stop();
        return Ok(());
    }
    let (cluster, adapter) = (&deployed.cluster, &deployed.adapter);
    cluster.apply(CALLERS)?;
    let depth = depth_of(&deployed.cluster);
    let gpu = format!("{C1}/namespaces/default/pods/*/gpu_utilization_percent");
    let forbidden = |user: &str, metric: &str| {
        (
            403,
            format!(
                "pods.custom.metrics.k8s.io \"*\" is forbidden: User \"{user}\" cannot get resource \"pods/{metric}\" in \
                 API group \"custom.metrics.k8s.io\" in the namespace \"default\""
            ),
        )
    };

    let mut reader = Caller::new(adapter, None)?;
    reader.token = Some(cluster.token("default", "reader")?);
    assert_eq!(reader.get(&depth).await?.0, 200);
    let name = "system:serviceaccount:default:reader";
    assert_eq!(reader.refusal(&gpu).await?, forbidden(name, "gpu_utilization_percent"));

    let mut nobody = Caller::new(adapter, None)?;
    nobody.token = Some(cluster.token("default", "nobody")?);
    for (path, code) in
        [("/version", 200), ("/apis", 200), (C1, 200), ("/openapi/v2", 200), ("/", 403), ("/metrics", 403)]
    {
        assert_eq!(nobody.get(path).await?.0, code, "{path}");
    }

    let mut stranger = Caller::new(adapter, None)?;
    for (path, code) in
        [("/readyz", 200), ("/version", 200), ("/apis", 403), (C1, 403), ("/readyz/ping", 403)]
    {
        assert_eq!(stranger.get(path).await?.0, code, "{path}");
    }
    // Headers of a front proxy without its certificate mean nothing.
    stranger.headers = vec![("x-remote-user", "admin"), ("x-remote-group", "system:masters")];
    assert_eq!(stranger.refusal(&depth).await?, forbidden("system:anonymous", "request_queue_depth"));
    stranger.token = Some("no-such-token".to_owned());
    assert_eq!(stranger.refusal(&depth).await?, (401, "Unauthorized".to_owned()));

    let mut proxy = Caller::new(adapter, Some(&cluster.front_proxy_certificate()?))?;
    assert_eq!(proxy.get(&depth).await?.0, 401, "a front proxy that names no user");
    proxy.headers = vec![("x-remote-user", "system:serviceaccount:default:reader")];
    assert_eq!(proxy.get(&depth).await?.0, 200);
    assert_eq!(proxy.refusal(&gpu).await?, forbidden(name, "gpu_utilization_percent"));

    let mut admin = Caller::new(adapter, Some(&cluster.client_certificate("admin", &["system:masters"])?))?;
    assert_eq!(admin.get(&gpu).await?.0, 200);
    admin.headers = vec![("impersonate-user", "bob")];
    assert_eq!(admin.get(&gpu).await?.0, 403, "D40");
    let other = apiservice::authority::Authority::new("another-ca")?;
    let unknown = Caller::new(adapter, Some(&other.issue_client("admin", &["system:masters"])?))?;
    assert_eq!(unknown.get("/healthz").await?.0, 401);
    deployed.cluster.stop();
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn outages_are_told_and_survived() -> Result<(), Failure> {
    let Some(mut deployed) = Tutorial::start(Vec::new()).await? else { return left_out("kube-apiserver") };
    if !deployed.cluster.is_own() {
        println!("not run: this needs the keys and the processes of a control plane of our own");
        deployed.cluster.stop();
        return Ok(());
    }
    let depth = depth_of(&deployed.cluster);
    let admin = deployed.cluster.client_certificate("admin", &["system:masters"])?;
    let direct = Caller::new(&deployed.adapter, Some(&admin))?;

    // Prometheus goes: an error with its cause, discovery as before.
    deployed.prometheus.stop();
    let (code, status) = deployed.cluster.json(&depth).await?;
    assert_eq!(code, 503, "{status}");
    let message = status["message"].as_str().unwrap_or_default();
    assert!(
        message.contains("cannot reach Prometheus at http://") && message.contains("Connection refused"),
        "{status}"
    );
    assert_eq!(deployed.cluster.get(C1).await?.0, 200);
    assert_eq!(direct.get("/readyz").await?.0, 200);
    deployed.prometheus.resume().await?;
    let cluster = &deployed.cluster;
    until("values again", MINUTE, || async { Ok(cluster.get(&depth).await?.0 == 200) }).await?;

    // The API server goes: who needs no asking is answered, objects are those known last.
    deployed.cluster.stop_api_server()?;
    let (code, body) = direct.get(&depth).await?;
    assert_eq!(code, 200, "{body}");
    assert_eq!(direct.get("/livez").await?.0, 200);
    let mut token = Caller::new(&deployed.adapter, None)?;
    token.token = Some("never-seen".to_owned());
    assert_eq!(token.get(&depth).await?.0, 401, "a token that cannot be judged is not good");
    deployed.cluster.resume_api_server().await?;
    let cluster = &deployed.cluster;
    until("values through kube-apiserver", MINUTE, || async { Ok(cluster.get(&depth).await?.0 == 200) })
        .await?;

    // Another authority of front proxies: believed as soon as the cluster says so. The cluster names the old one beside
    // it.
    let before = deployed.cluster.front_proxy_certificate()?;
    deployed.cluster.rotate_front_proxy().await?;
    let cluster = &deployed.cluster;
    until("values by the new front proxy", MINUTE, || async { Ok(cluster.get(&depth).await?.0 == 200) })
        .await?;
    for certificate in [&before, &cluster.front_proxy_certificate()?] {
        let mut proxy = Caller::new(&deployed.adapter, Some(certificate))?;
        proxy.headers = vec![("x-remote-user", "admin"), ("x-remote-group", "system:masters")];
        assert_eq!(proxy.get(&depth).await?.0, 200);
    }
    deployed.cluster.stop();
    Ok(())
}

/// The APIService of the first version as a deployment of prometheus-adapter makes it, for a Service that leads to
/// `port`.
fn upstreams_api_service(labels: &Value, port: u16) -> Value {
    json!({
        "apiVersion": "apiregistration.k8s.io/v1",
        "kind": "APIService",
        "metadata": {"name": V1, "labels": labels},
        "spec": {
            "group": "custom.metrics.k8s.io",
            "version": "v1beta1",
            "insecureSkipTLSVerify": true,
            "groupPriorityMinimum": 100,
            "versionPriority": 100,
            "service": {"name": "prometheus-adapter", "namespace": "monitoring", "port": port},
        },
    })
}

/// Whether the aggregator skips verification, and whether it is given an authority.
fn trust(cluster: &Cluster) -> Result<(bool, bool), Failure> {
    let service: Value = serde_json::from_str(&cluster.kubectl(&["get", "apiservice", V1, "-o", "json"])?)?;
    let spec = &service["spec"];
    Ok((spec["insecureSkipTLSVerify"] == true, spec["caBundle"].is_string()))
}

async fn answers_by_kubectl(cluster: &Cluster, adapter: &ClusterAdapter) -> Result<(), Failure> {
    let direct = Caller::new(adapter, None)?;
    until("the adapter is ready", MINUTE, || async { Ok(direct.get("/readyz").await?.0 == 200) }).await?;
    cluster.wait_available(V1).await?;
    let path = depth_of(cluster);
    let values: Value = serde_json::from_str(&cluster.kubectl(&["get", "--raw", &path])?)?;
    assert_eq!(values["items"].as_array().map(Vec::len), Some(2), "{values}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn apiservices_made_for_prometheus_adapter_are_taken_over() -> Result<(), Failure> {
    let Some(deployed) = Tutorial::start(Vec::new()).await? else { return left_out("kube-apiserver") };
    if !deployed.cluster.is_own() {
        println!("not run: this needs a control plane of our own");
        deployed.cluster.stop();
        return Ok(());
    }
    let Tutorial { cluster, prometheus, kubelet: _kubelet, adapter } = deployed;
    let own_port = adapter.port;
    drop(adapter);
    cluster.kubectl(&["delete", "apiservice", V2])?;
    let replace = |object: &Value| {
        let file = cluster.dir().join("replaced.json");
        std::fs::write(&file, object.to_string())?;
        cluster.kubectl(&["replace", "--force", "-f", &file.display().to_string()]).map(drop)
    };
    let rules = stack::repository().join("deploy/overlays/tutorial/adapter-values.yaml");
    let port = free_port()?;
    cluster.apply(
        &json!({
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": "prometheus-adapter", "namespace": "monitoring"},
            "spec": {"type": "ExternalName", "externalName": "localhost", "ports": [{"port": port}]},
        })
        .to_string(),
    )?;
    let of_the_chart =
        json!({"app.kubernetes.io/managed-by": "Helm", "helm.sh/chart": "prometheus-adapter-5.3.0"});
    let of_kube_prometheus =
        json!({"app.kubernetes.io/part-of": "kube-prometheus", "app.kubernetes.io/version": "0.12.0"});

    // The image is swapped and nothing else: a certificate of its own, which is not verified.
    replace(&upstreams_api_service(&of_the_chart, port))?;
    let certificates = format!("--cert-dir={}", cluster.dir().join("certificates").display());
    let swapped = [certificates.as_str(), "--serving-service=", "--serving-ca-secret="];
    let adapter = cluster.start_adapter(port, &rules, &prometheus.url(), &swapped).await?;
    answers_by_kubectl(&cluster, &adapter).await?;
    assert_eq!(trust(&cluster)?, (true, false));
    drop(adapter);

    // With an authority of its own: what skips verification goes with the bundle's coming.
    for labels in [&of_the_chart, &of_kube_prometheus] {
        replace(&upstreams_api_service(labels, port))?;
        let publishing = ["--serving-service=monitoring/prometheus-adapter"];
        let adapter = cluster.start_adapter(port, &rules, &prometheus.url(), &publishing).await?;
        answers_by_kubectl(&cluster, &adapter).await?;
        assert_eq!(trust(&cluster)?, (false, true));

        // Replaced under it. Looking at it now and then would take up to 30 s.
        replace(&upstreams_api_service(&of_kube_prometheus, port))?;
        until("the authority is published again", Duration::from_secs(20), || async {
            Ok(trust(&cluster)? == (false, true))
        })
        .await?;
        answers_by_kubectl(&cluster, &adapter).await?;
    }

    // Ours applied over the chart's as `kubectl apply -k` does: what ours does not name stays as it is.
    replace(&upstreams_api_service(&of_the_chart, port))?;
    let base = stack::repository().join("deploy/base").display().to_string();
    let rendered = cluster.kubectl(&["kustomize", &base])?;
    let of_kind = |object: &&str| object.contains("\nkind: APIService\n");
    let shipped = cluster.dir().join("apiservices.yaml");
    std::fs::write(&shipped, rendered.split("---\n").filter(of_kind).collect::<Vec<_>>().join("---\n"))?;
    cluster.kubectl(&["apply", "-f", &shipped.display().to_string()])?;
    let port_here = json!({"spec": {"service": {"port": own_port}}}).to_string();
    cluster.kubectl(&["patch", "apiservice", V1, "--type=merge", "-p", &port_here])?;
    assert_eq!(trust(&cluster)?, (true, false));
    let adapter = cluster.start_adapter(own_port, &rules, &prometheus.url(), &[]).await?;
    answers_by_kubectl(&cluster, &adapter).await?;
    assert_eq!(trust(&cluster)?, (false, true));
    cluster.stop();
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_adapter_that_may_not_list_pods_is_ready_and_answers_for_single_pods() -> Result<(), Failure> {
    let Some(deployed) = Tutorial::start(Vec::new()).await? else { return left_out("kube-apiserver") };
    if !deployed.cluster.is_own() {
        println!("not run: this needs a control plane of our own");
        deployed.cluster.stop();
        return Ok(());
    }
    let Tutorial { cluster, prometheus, kubelet: _kubelet, adapter } = deployed;
    drop(adapter);
    let without_pods =
        r#"[{"op": "replace", "path": "/rules/0/resources", "value": ["nodes", "namespaces", "services"]}]"#;
    cluster.kubectl(&["patch", "clusterrole", "adapter-objects", "--type=json", "-p", without_pods])?;
    until("the account may not list pods", MINUTE, || async {
        let account = "system:serviceaccount:monitoring:adapter";
        let asked =
            cluster.try_kubectl(&["auth", "can-i", "list", "pods", "--all-namespaces", "--as", account])?;
        Ok(String::from_utf8_lossy(&asked.stdout).trim() == "no")
    })
    .await?;

    let rules = stack::repository().join("deploy/overlays/tutorial/adapter-values.yaml");
    let adapter = cluster.start_adapter(free_port()?, &rules, &prometheus.url(), &[]).await?;
    let direct = Caller::new(&adapter, Some(&cluster.client_certificate("admin", &["system:masters"])?))?;
    until("the adapter is ready", MINUTE, || async { Ok(direct.get("/readyz").await?.0 == 200) }).await?;
    let (_, checks) = direct.get("/readyz?verbose").await?;
    assert!(checks.contains("[+]objects-listed ok: cannot list pods"), "{checks}");
    assert!(adapter.process.log().contains("cannot list pods"), "{}", adapter.process.log());

    let pods: Value = serde_json::from_str(&cluster.kubectl(&["get", "pods", "-o", "json"])?)?;
    let pod = pods["items"][0]["metadata"]["name"].as_str().ok_or("no pod")?;
    let single = format!("{C1}/namespaces/{}/pods/{pod}/request_queue_depth", cluster.namespace());
    let (code, body) = direct.get(&single).await?;
    assert_eq!(code, 200, "{body}");
    let (code, message) = direct.refusal(&depth_of(&cluster)).await?;
    assert!(code >= 500 && message.contains("cannot list"), "{code} {message}");
    cluster.stop();
    Ok(())
}
