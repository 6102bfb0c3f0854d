//! A real control plane on loopback: etcd, kube-apiserver with RBAC and aggregation, kube-controller-manager; and the
//! adapter in it, by the manifests as they are shipped.
//!
//! There is no node: what a kubelet would do, [`crate::kubelet`] does.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;

use apiservice::authority::{Authority, Issued, write};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use k8s_openapi::api::apps::v1::Deployment;
use kube::api::{DynamicObject, Patch, PatchParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::api::Api;
use crate::component::component;
use crate::process::Process;
use crate::{Failure, free_port, stack, until};

/// A running control plane. Dropped before [`Cluster::stop`], it shows the end of every component's log.
pub struct Cluster {
    dir: TempDir,
    etcd: Process,
    api_server: Option<Process>,
    controller_manager: Process,
    port: u16,
    programs: Programs,
    authority: Authority,
    front_proxy: Authority,
    /// A client that may do anything.
    pub client: kube::Client,
    stopped: bool,
}

struct Programs {
    api_server: PathBuf,
    kubectl: PathBuf,
}

/// The adapter in a cluster.
pub struct ClusterAdapter {
    /// The program.
    pub process: Process,
    /// Where it listens.
    pub port: u16,
}

/// What the controllers are told for short tests.
const SHORT_WAITS: [&str; 4] = [
    "--horizontal-pod-autoscaler-sync-period=2s",
    "--horizontal-pod-autoscaler-downscale-stabilization=5s",
    "--horizontal-pod-autoscaler-initial-readiness-delay=1s",
    "--horizontal-pod-autoscaler-cpu-initialization-period=1s",
];

impl Cluster {
    /// Starts a control plane; `None` where a component is neither there nor can be built.
    ///
    /// # Errors
    /// A component did not start; its log is part of the message.
    pub async fn start() -> Result<Option<Cluster>, Failure> {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let (Some(etcd), Some(api_server), Some(controller_manager), Some(kubectl)) = (
            component("etcd"),
            component("kube-apiserver"),
            component("kube-controller-manager"),
            component("kubectl"),
        ) else {
            return Ok(None);
        };
        let dir = tempfile::tempdir()?;
        let etcd_url = format!("http://127.0.0.1:{}", free_port()?);
        let peer_url = format!("http://127.0.0.1:{}", free_port()?);
        let etcd = Process::start(
            "etcd",
            &etcd,
            &[
                format!("--data-dir={}", dir.path().join("etcd").display()),
                format!("--listen-client-urls={etcd_url}"),
                format!("--advertise-client-urls={etcd_url}"),
                format!("--listen-peer-urls={peer_url}"),
                format!("--initial-advertise-peer-urls={peer_url}"),
                format!("--initial-cluster=default={peer_url}"),
                "--unsafe-no-fsync".to_owned(),
                "--log-level=warn".to_owned(),
            ],
            dir.path(),
        )?;
        let authority = Authority::new("kubernetes-ca")?;
        let front_proxy = Authority::new("front-proxy-ca")?;
        let port = free_port()?;
        prepare(dir.path(), &authority, &front_proxy, port)?;
        std::fs::write(dir.path().join("etcd.url"), etcd_url)?;
        let programs = Programs { api_server, kubectl };
        let api_server = start_api_server(&programs.api_server, dir.path(), port)?;
        let client = client(&dir.path().join("admin.kubeconfig")).await?;
        let controller_manager = Process::start(
            "kube-controller-manager",
            &controller_manager,
            &controller_manager_flags(dir.path()),
            dir.path(),
        )?;
        let mut cluster = Cluster {
            dir,
            etcd,
            api_server: Some(api_server),
            controller_manager,
            port,
            programs,
            authority,
            front_proxy,
            client,
            stopped: false,
        };
        cluster.wait_until_ready().await?;
        Ok(Some(cluster))
    }

    /// Ends everything.
    pub fn stop(mut self) {
        self.stopped = true;
    }

    /// A folder for files of the test.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// The kubeconfig of somebody who may do anything.
    pub fn kubeconfig(&self) -> PathBuf {
        self.dir.path().join("admin.kubeconfig")
    }

    /// The log of kube-apiserver.
    pub fn api_server_log(&self) -> String {
        self.api_server.as_ref().map(Process::log).unwrap_or_default()
    }

    /// CPU time that kube-apiserver has used.
    pub fn api_server_cpu(&self) -> Duration {
        self.api_server.as_ref().and_then(Process::cpu_time).unwrap_or_default()
    }

    /// Kills kube-apiserver.
    pub fn stop_api_server(&mut self) {
        drop(self.api_server.take());
    }

    /// Starts kube-apiserver again.
    ///
    /// # Errors
    /// It did not start.
    pub async fn resume_api_server(&mut self) -> Result<(), Failure> {
        self.api_server = Some(start_api_server(&self.programs.api_server, self.dir.path(), self.port)?);
        self.wait_until_ready().await
    }

    /// Replaces the front proxies' authority and the aggregator's certificate, which takes a new kube-apiserver.
    ///
    /// # Errors
    /// kube-apiserver did not start again.
    pub async fn rotate_front_proxy(&mut self) -> Result<(), Failure> {
        self.front_proxy = Authority::new("another-front-proxy-ca")?;
        write_front_proxy(self.dir.path(), &self.front_proxy)?;
        self.stop_api_server();
        self.resume_api_server().await
    }

    /// A certificate and key of a front proxy that the cluster believes.
    ///
    /// # Errors
    /// No key could be made.
    pub fn front_proxy_certificate(&self) -> Result<Issued, Failure> {
        Ok(self.front_proxy.issue_client("aggregator", &[])?)
    }

    /// A client certificate that the cluster believes.
    ///
    /// # Errors
    /// No key could be made.
    pub fn client_certificate(&self, user: &str, groups: &[&str]) -> Result<Issued, Failure> {
        Ok(self.authority.issue_client(user, groups)?)
    }

    /// A server of this machine as somebody with a client certificate asks it, or as nobody asks it. Its certificate is
    /// that of [`Cluster::serving_certificate`].
    ///
    /// # Errors
    /// No key could be made.
    pub fn api(&self, port: u16, caller: Option<(&str, &[&str])>) -> Result<Api, Failure> {
        let identity = match caller {
            Some((user, groups)) => {
                let Issued { certificate, key, .. } = self.client_certificate(user, groups)?;
                Some(format!("{certificate}{key}"))
            }
            None => None,
        };
        let server = format!("https://localhost:{port}");
        Api::new(server, self.authority.certificate().as_bytes(), identity.as_deref().map(str::as_bytes))
    }

    /// Has the aggregator believe [`Cluster::serving_certificate`] where it believed the adapter's own authority.
    ///
    /// # Errors
    /// kubectl refused it.
    pub fn trust_for_apiservices(&self, names: &[String]) -> Result<(), Failure> {
        let bundle = json!({"spec": {"caBundle": STANDARD.encode(self.authority.certificate())}}).to_string();
        for name in names {
            self.kubectl(&["patch", "apiservice", name, "--type=merge", "-p", &bundle])?;
        }
        Ok(())
    }

    /// The flags by which a server of this machine is given a certificate that the cluster's authority signed.
    ///
    /// # Errors
    /// No key could be made, or not written.
    pub fn serving_certificate(&self) -> Result<[String; 2], Failure> {
        let names = ["localhost", "adapter.monitoring.svc"].map(str::to_owned);
        let issued = self.authority.issue_server("localhost", &names, &[])?;
        let (certificate, key) = (self.dir.path().join("serving.crt"), self.dir.path().join("serving.key"));
        write(&certificate, &issued.certificate, PUBLIC)?;
        write(&key, &issued.key, PRIVATE)?;
        Ok([
            format!("--tls-cert-file={}", certificate.display()),
            format!("--tls-private-key-file={}", key.display()),
        ])
    }

    /// Starts the real prometheus-adapter, with the identity that [`Cluster::deploy`] gave ours. Give it
    /// [`Cluster::serving_certificate`].
    ///
    /// # Errors
    /// It did not start.
    pub async fn start_prometheus_adapter(
        &self,
        program: &Path,
        rules: &Path,
        prometheus: &str,
        more: &[&str],
    ) -> Result<ClusterAdapter, Failure> {
        let kubeconfig = self.account_kubeconfig("monitoring", "adapter")?;
        let port = free_port()?;
        let mut arguments = vec![
            format!("--config={}", rules.display()),
            format!("--prometheus-url={prometheus}"),
            format!("--secure-port={port}"),
            "--bind-address=127.0.0.1".to_owned(),
        ];
        for flag in ["lister", "authentication", "authorization"] {
            arguments.push(format!("--{flag}-kubeconfig={}", kubeconfig.display()));
        }
        arguments.extend(more.iter().map(|argument| (*argument).to_owned()));
        let process = Process::start("prometheus-adapter", program, &arguments, self.dir.path())?;
        let mut adapter = ClusterAdapter { process, port };
        adapter.process.wait_for_log("Serving securely on", Duration::from_secs(30)).await?;
        Ok(adapter)
    }

    async fn wait_until_ready(&mut self) -> Result<(), Failure> {
        let ready = until("kube-apiserver is ready", Duration::from_mins(1), || async {
            let request = http::Request::get("/readyz").body(Vec::new())?;
            Ok(self.client.request_text(request).await.is_ok_and(|text| text == "ok"))
        });
        ready.await.map_err(|error| format!("{error}\n{}", self.logs()).into())
    }

    /// Runs kubectl as somebody who may do anything.
    ///
    /// # Errors
    /// It failed; what it said is the message.
    pub fn kubectl(&self, arguments: &[&str]) -> Result<String, Failure> {
        let output = self.try_kubectl(arguments)?;
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            return Err(format!("kubectl {}: {said}", arguments.join(" ")).into());
        }
        Ok(String::from_utf8(output.stdout)?)
    }

    /// Runs kubectl and gives what came of it.
    ///
    /// # Errors
    /// It could not be run.
    pub fn try_kubectl(&self, arguments: &[&str]) -> Result<Output, Failure> {
        let mut command = Command::new(&self.programs.kubectl);
        command.arg("--kubeconfig").arg(self.kubeconfig()).args(arguments);
        // Discovery is cached below the home directory otherwise.
        command.env("HOME", self.dir.path());
        Ok(command.output()?)
    }

    /// Applies YAML.
    ///
    /// # Errors
    /// kubectl refused it.
    pub fn apply(&self, yaml: &str) -> Result<(), Failure> {
        let file = self.dir.path().join("applied.yaml");
        std::fs::write(&file, yaml)?;
        self.kubectl(&["apply", "--server-side", "-f", &file.display().to_string()]).map(drop)
    }

    /// Applies a folder of `deploy/` as it is shipped, but for what a cluster without a network needs: the Service and
    /// the APIServices lead to a port of this machine.
    ///
    /// # Errors
    /// kubectl refused it.
    pub fn deploy(&self, folder: &str, port: u16) -> Result<(), Failure> {
        let crd = stack::repository().join("tests/manifests/servicemonitor-crd.yaml");
        self.kubectl(&["apply", "--server-side", "-f", &crd.display().to_string()])?;
        self.kubectl(&[
            "wait",
            "--for=condition=Established",
            "--timeout=30s",
            "crd",
            "servicemonitors.monitoring.coreos.com",
        ])?;
        let dir = self.dir.path().canonicalize()?.join("deployed");
        std::fs::create_dir_all(&dir)?;
        // kustomize takes no absolute path.
        let up = "../".repeat(dir.components().count() - 1);
        let resource = stack::repository().canonicalize()?.join("deploy").join(folder);
        let resource = resource.display().to_string();
        let service = json!({"type": "ExternalName", "externalName": "localhost", "ports": [{"port": port}]});
        let kustomization = json!({
            "resources": [format!("{up}{}", resource.trim_start_matches('/'))],
            "patches": [
                {"target": {"kind": "Service", "name": "adapter"},
                 "patch": json!([{"op": "replace", "path": "/spec", "value": service}]).to_string()},
                {"target": {"kind": "APIService"},
                 "patch": json!([{"op": "replace", "path": "/spec/service/port", "value": port}]).to_string()},
            ],
        });
        std::fs::write(dir.join("kustomization.yaml"), kustomization.to_string())?;
        self.kubectl(&["apply", "--server-side", "-k", &dir.display().to_string()]).map(drop)
    }

    /// A kubeconfig of a service account.
    ///
    /// # Errors
    /// There is no such account.
    pub fn account_kubeconfig(&self, namespace: &str, account: &str) -> Result<PathBuf, Failure> {
        let token = self.token(namespace, account)?;
        let path = self.dir.path().join(format!("{namespace}-{account}.kubeconfig"));
        let user = json!({"token": token});
        write_kubeconfig(&path, self.port, self.authority.certificate(), &user)?;
        Ok(path)
    }

    /// A token of a service account.
    ///
    /// # Errors
    /// There is no such account.
    pub fn token(&self, namespace: &str, account: &str) -> Result<String, Failure> {
        Ok(self.kubectl(&["create", "token", "-n", namespace, account])?.trim().to_owned())
    }

    /// Starts the adapter with the arguments of its Deployment, as applied: only what leads to files and servers of this
    /// machine is replaced, and `more` comes behind.
    ///
    /// # Errors
    /// It did not start.
    pub async fn start_adapter(
        &self,
        port: u16,
        rules: &Path,
        prometheus: &str,
        more: &[&str],
    ) -> Result<ClusterAdapter, Failure> {
        let kubeconfig = self.account_kubeconfig("monitoring", "adapter")?;
        let deployments: kube::Api<Deployment> = kube::Api::namespaced(self.client.clone(), "monitoring");
        let deployment = deployments.get("adapter").await?;
        let shipped = deployment
            .spec
            .and_then(|spec| spec.template.spec)
            .and_then(|spec| spec.containers.into_iter().next())
            .and_then(|container| container.args)
            .ok_or("the Deployment has no arguments")?;
        let replaced = ["--config=", "--prometheus-url=", "--secure-port="];
        let mut arguments: Vec<String> = shipped
            .into_iter()
            .filter(|argument| !replaced.iter().any(|replaced| argument.starts_with(replaced)))
            .collect();
        arguments.extend([
            format!("--config={}", rules.display()),
            format!("--prometheus-url={prometheus}"),
            format!("--secure-port={port}"),
            "--bind-address=127.0.0.1".to_owned(),
            "--shutdown-delay-duration=200ms".to_owned(),
        ]);
        for flag in ["lister", "authentication", "authorization"] {
            arguments.push(format!("--{flag}-kubeconfig={}", kubeconfig.display()));
        }
        if more.iter().any(|argument| argument.starts_with("--tls-cert-file=")) {
            arguments.retain(|argument| !argument.starts_with("--serving-"));
        }
        // A flag that is given twice counts the last time, as upstream's do.
        for argument in more {
            let name = argument.split_once('=').map_or(*argument, |(name, _)| name);
            arguments.retain(|given| given.split_once('=').map_or(given.as_str(), |(name, _)| name) != name);
            arguments.push((*argument).to_owned());
        }
        let process = Process::start("adapter", &stack::program("adapter")?, &arguments, self.dir.path())?;
        let mut adapter = ClusterAdapter { process, port };
        adapter.process.wait_for_log("serving address=", Duration::from_secs(30)).await?;
        Ok(adapter)
    }

    /// Waits until an APIService is available, which means that the aggregator reaches and verifies what it names.
    ///
    /// # Errors
    /// It did not become available; its condition is the message.
    pub async fn wait_available(&self, name: &str) -> Result<(), Failure> {
        let condition = || {
            let jsonpath = "jsonpath={.status.conditions[?(@.type==\"Available\")]}";
            self.kubectl(&["get", "apiservice", name, "-o", jsonpath])
        };
        let wait = until("the APIService is available", Duration::from_mins(1), || async {
            Ok(condition()?.contains(r#""status":"True""#))
        });
        wait.await.map_err(|error| format!("{error}: {name}: {}", condition().unwrap_or_default()).into())
    }

    /// A path of the API, as kube-apiserver answers it to somebody who may do anything: code and text.
    ///
    /// # Errors
    /// No answer.
    pub async fn get(&self, path: &str) -> Result<(u16, String), Failure> {
        use http_body_util::BodyExt as _;
        let request = http::Request::get(path).body(kube::client::Body::empty())?;
        let response = self.client.send(request).await?;
        let code = response.status().as_u16();
        let body = response.into_body().collect().await?.to_bytes();
        Ok((code, String::from_utf8_lossy(&body).into_owned()))
    }

    /// A path of the API as JSON.
    ///
    /// # Errors
    /// No answer, or no JSON.
    pub async fn json(&self, path: &str) -> Result<(u16, Value), Failure> {
        let (code, text) = self.get(path).await?;
        Ok((code, serde_json::from_str(&text).map_err(|error| format!("{path}: {error}: {text}"))?))
    }

    /// Changes an object by a merge patch.
    ///
    /// # Errors
    /// It was refused.
    pub async fn patch(
        &self,
        resource: &kube::api::ApiResource,
        namespace: &str,
        name: &str,
        patch: Value,
    ) -> Result<(), Failure> {
        let api: kube::Api<DynamicObject> =
            kube::Api::namespaced_with(self.client.clone(), namespace, resource);
        api.patch(name, &PatchParams::default(), &Patch::Merge(patch)).await?;
        Ok(())
    }

    fn logs(&self) -> String {
        let mut text = String::new();
        for process in
            [Some(&self.etcd), self.api_server.as_ref(), Some(&self.controller_manager)].into_iter().flatten()
        {
            let _ = writeln!(text, "---- {}\n{}", process.name(), process.tail());
        }
        for name in ["adapter", "prometheus", "prometheus-adapter"] {
            let log =
                std::fs::read_to_string(self.dir.path().join(format!("{name}.log"))).unwrap_or_default();
            if !log.is_empty() {
                let lines: Vec<&str> = log.lines().collect();
                let _ = writeln!(text, "---- {name}\n{}", lines[lines.len().saturating_sub(20)..].join("\n"));
            }
        }
        text
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if !self.stopped {
            eprintln!("{}", self.logs());
        }
    }
}

fn start_api_server(program: &Path, dir: &Path, port: u16) -> Result<Process, Failure> {
    let file = |name: &str| dir.join(name).display().to_string();
    let etcd = std::fs::read_to_string(dir.join("etcd.url"))?;
    let arguments = [
        format!("--etcd-servers={etcd}"),
        "--bind-address=127.0.0.1".to_owned(),
        "--advertise-address=127.0.0.1".to_owned(),
        format!("--secure-port={port}"),
        format!("--tls-cert-file={}", file("apiserver.crt")),
        format!("--tls-private-key-file={}", file("apiserver.key")),
        format!("--client-ca-file={}", file("ca.crt")),
        format!("--service-account-key-file={}", file("accounts.crt")),
        format!("--service-account-signing-key-file={}", file("accounts.key")),
        "--service-account-issuer=https://kubernetes.default.svc".to_owned(),
        "--service-cluster-ip-range=10.0.0.0/24".to_owned(),
        "--authorization-mode=RBAC".to_owned(),
        "--enable-aggregator-routing=false".to_owned(),
        "--endpoint-reconciler-type=none".to_owned(),
        format!("--requestheader-client-ca-file={}", file("front-proxy-ca.crt")),
        "--requestheader-allowed-names=aggregator".to_owned(),
        "--requestheader-username-headers=X-Remote-User".to_owned(),
        "--requestheader-group-headers=X-Remote-Group".to_owned(),
        "--requestheader-extra-headers-prefix=X-Remote-Extra-".to_owned(),
        format!("--proxy-client-cert-file={}", file("aggregator.crt")),
        format!("--proxy-client-key-file={}", file("aggregator.key")),
    ];
    Process::start("kube-apiserver", program, &arguments, dir)
}

fn controller_manager_flags(dir: &Path) -> Vec<String> {
    let file = |name: &str| dir.join(name).display().to_string();
    let kubeconfig = file("controller-manager.kubeconfig");
    let mut flags = vec![
        format!("--kubeconfig={kubeconfig}"),
        format!("--authentication-kubeconfig={kubeconfig}"),
        format!("--authorization-kubeconfig={kubeconfig}"),
        "--bind-address=127.0.0.1".to_owned(),
        "--secure-port=0".to_owned(),
        "--leader-elect=false".to_owned(),
        "--use-service-account-credentials".to_owned(),
        format!("--service-account-private-key-file={}", file("accounts.key")),
        format!("--root-ca-file={}", file("ca.crt")),
        "--controllers=*,-node-ipam-controller,-node-route-controller,-service-lb-controller,-node-lifecycle-controller"
            .to_owned(),
    ];
    flags.extend(SHORT_WAITS.map(str::to_owned));
    flags
}

/// Keys, certificates and kubeconfigs of a cluster.
fn prepare(dir: &Path, authority: &Authority, front_proxy: &Authority, port: u16) -> Result<(), Failure> {
    let put = |name: &str, issued: &Issued| -> Result<(), Failure> {
        write(&dir.join(format!("{name}.crt")), &issued.certificate, PUBLIC)?;
        Ok(write(&dir.join(format!("{name}.key")), &issued.key, PRIVATE)?)
    };
    write(&dir.join("ca.crt"), authority.certificate(), PUBLIC)?;
    let names =
        ["localhost", "kubernetes", "kubernetes.default", "kubernetes.default.svc"].map(str::to_owned);
    let addresses = [[127, 0, 0, 1].into(), [10, 0, 0, 1].into()];
    put("apiserver", &authority.issue_server("kube-apiserver", &names, &addresses)?)?;
    put("accounts", &authority.issue_client("service-accounts", &[])?)?;
    write_front_proxy(dir, front_proxy)?;
    for (name, user, groups) in [
        ("admin", "admin", &["system:masters"][..]),
        ("controller-manager", "system:kube-controller-manager", &[]),
    ] {
        let issued = authority.issue_client(user, groups)?;
        let user = json!({
            "client-certificate-data": STANDARD.encode(&issued.certificate),
            "client-key-data": STANDARD.encode(&issued.key),
        });
        write_kubeconfig(&dir.join(format!("{name}.kubeconfig")), port, authority.certificate(), &user)?;
    }
    Ok(())
}

fn write_front_proxy(dir: &Path, front_proxy: &Authority) -> Result<(), Failure> {
    let aggregator = front_proxy.issue_client("aggregator", &[])?;
    write(&dir.join("front-proxy-ca.crt"), front_proxy.certificate(), PUBLIC)?;
    write(&dir.join("aggregator.crt"), &aggregator.certificate, PUBLIC)?;
    Ok(write(&dir.join("aggregator.key"), &aggregator.key, PRIVATE)?)
}

fn write_kubeconfig(path: &Path, port: u16, authority: &str, user: &Value) -> Result<(), Failure> {
    let config = json!({
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "test", "cluster": {
            "server": format!("https://127.0.0.1:{port}"),
            "certificate-authority-data": STANDARD.encode(authority),
        }}],
        "users": [{"name": "test", "user": user}],
        "contexts": [{"name": "test", "context": {"cluster": "test", "user": "test"}}],
        "current-context": "test",
    });
    Ok(write(path, &config.to_string(), PRIVATE)?)
}

async fn client(kubeconfig: &Path) -> Result<kube::Client, Failure> {
    let config = Kubeconfig::read_from(kubeconfig)?;
    let mut config = kube::Config::from_custom_kubeconfig(config, &KubeConfigOptions::default()).await?;
    // A test wants to see a 503, not to wait for it to pass.
    config.default_retry = false;
    Ok(kube::Client::try_from(config)?)
}

const PUBLIC: u32 = 0o644;
const PRIVATE: u32 = 0o600;
