//! A cluster, and the adapter in it by the manifests as they are shipped: a control plane of our own on loopback, or a
//! cluster that a person says is theirs.
//!
//! In both, tests stand for the nodes: what a kubelet would do, [`crate::kubelet`] does, and the adapter runs on this
//! machine. `E2E_KUBECONFIG` names a cluster of a person (kind, k3d); it counts only with `E2E_I_OWN_THIS_CLUSTER=1`,
//! for the tests register APIServices there, which concern the whole cluster. They run in namespaces that they create,
//! and remove what they have put there. `E2E_HOST` is what that cluster's kube-apiserver calls this machine, by name or
//! address (`host.k3d.internal`, `172.17.0.1`).

mod control_plane;
mod deploy;
mod installed;
mod servers;

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;

use apiservice::authority::write;
use kube::api::{DynamicObject, Patch, PatchParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use serde_json::{Value, json};
use tempfile::TempDir;

use self::control_plane::{ControlPlane, PRIVATE, write_kubeconfig};
pub(crate) use self::control_plane::{NODE_NAME, Site};
pub use self::installed::{Installed, Volumes};
pub use self::servers::{ClusterAdapter, MAY_LIST_PODS, WITHOUT_THROTTLE};
use crate::component::component;
use crate::{Failure, until};

/// A running cluster. Dropped before [`Cluster::stop`], it shows the end of every component's log.
pub struct Cluster {
    dir: TempDir,
    kubectl: PathBuf,
    kubeconfig: PathBuf,
    namespaces: Namespaces,
    /// `None` in a person's cluster.
    control_plane: Option<ControlPlane>,
    /// A client that may do anything.
    pub client: kube::Client,
    stopped: bool,
}

/// Accounts in `default` that ask in tests: `reader` may read `pods/request_queue_depth` there, `nobody` may do
/// nothing.
pub const CALLERS: &str = include_str!("../manifests/callers.yaml");

/// Where what is deployed goes.
struct Namespaces {
    workloads: String,
    adapter: String,
}

impl Cluster {
    /// A person's cluster if there is one, else a control plane of our own; `None` where a component is neither there
    /// nor can be built.
    ///
    /// # Errors
    /// A component did not start; its log is part of the message. A person's cluster was named and not said to be
    /// theirs.
    pub async fn start() -> Result<Option<Cluster>, Failure> {
        match std::env::var_os("E2E_KUBECONFIG") {
            None => Cluster::start_own().await,
            Some(_) if std::env::var("E2E_I_OWN_THIS_CLUSTER").as_deref() != Ok("1") => {
                Err("E2E_KUBECONFIG is set: these tests register APIServices in that cluster; E2E_I_OWN_THIS_CLUSTER=1 says \
                     that they may"
                    .into())
            }
            Some(kubeconfig) => Cluster::of_a_person(Path::new(&kubeconfig)).await,
        }
    }

    /// A control plane of our own, for what needs its keys or its processes.
    ///
    /// # Errors
    /// A component did not start; its log is part of the message.
    pub async fn start_own() -> Result<Option<Cluster>, Failure> {
        Cluster::start_own_with(&[]).await
    }

    /// As [`Cluster::start_own`], with more flags of kube-controller-manager.
    ///
    /// # Errors
    /// As [`Cluster::start_own`].
    pub async fn start_own_with(controllers: &[&str]) -> Result<Option<Cluster>, Failure> {
        Cluster::start_at(Site::Loopback, controllers).await
    }

    /// A control plane of our own at a place, with more flags of kube-controller-manager.
    ///
    /// # Errors
    /// A component did not start; its log is part of the message.
    pub(crate) async fn start_at(site: Site, controllers: &[&str]) -> Result<Option<Cluster>, Failure> {
        let Some(kubectl) = component("kubectl") else { return Ok(None) };
        let _ = rustls::crypto::ring::default_provider().install_default();
        let dir = tempfile::tempdir()?;
        let Some(control_plane) = ControlPlane::start(dir.path(), site)? else { return Ok(None) };
        let kubeconfig = dir.path().join("admin.kubeconfig");
        let namespaces = Namespaces { workloads: "default".to_owned(), adapter: "monitoring".to_owned() };
        let client = client(&kubeconfig).await?;
        let control_plane = Some(control_plane);
        let mut cluster =
            Cluster { dir, kubectl, kubeconfig, namespaces, control_plane, client, stopped: false };
        cluster.wait_until_ready().await?;
        cluster.control_plane_mut()?.start_controllers(controllers)?;
        Ok(Some(cluster))
    }

    async fn of_a_person(theirs: &Path) -> Result<Option<Cluster>, Failure> {
        let Some(kubectl) = component("kubectl") else { return Ok(None) };
        let _ = rustls::crypto::ring::default_provider().install_default();
        let dir = tempfile::tempdir()?;
        let name = dir.path().file_name().map_or_else(String::new, |name| {
            let letters = name.to_string_lossy().to_lowercase();
            letters.chars().filter(char::is_ascii_alphanumeric).collect()
        });
        let namespaces =
            Namespaces { workloads: format!("e2e-{name}"), adapter: format!("e2e-{name}-adapter") };
        // Theirs, with our namespace as that of whatever names none.
        let mut command = Command::new(&kubectl);
        command.arg("--kubeconfig").arg(theirs);
        let output =
            command.args(["config", "view", "--raw", "--minify", "--flatten", "-o", "json"]).output()?;
        if !output.status.success() {
            return Err(format!("{}: {}", theirs.display(), String::from_utf8_lossy(&output.stderr)).into());
        }
        let mut config: Value = serde_json::from_slice(&output.stdout)?;
        config["contexts"][0]["context"]["namespace"] = json!(namespaces.workloads);
        let kubeconfig = dir.path().join("person.kubeconfig");
        write(&kubeconfig, &config.to_string(), PRIVATE)?;
        let client = client(&kubeconfig).await?;
        let cluster =
            Cluster { dir, kubectl, kubeconfig, namespaces, control_plane: None, client, stopped: false };
        cluster.wait_until_ready().await?;
        cluster.kubectl(&["create", "namespace", cluster.namespace()])?;
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
    pub fn kubeconfig(&self) -> &Path {
        &self.kubeconfig
    }

    /// The namespace of what is scaled.
    pub fn namespace(&self) -> &str {
        &self.namespaces.workloads
    }

    /// Whether it is a control plane of our own, whose logs can be read and whose processes can be ended.
    pub fn is_own(&self) -> bool {
        self.control_plane.is_some()
    }

    /// How many times as long as usual things may take: a person's controllers keep to their own intervals.
    pub fn patience(&self) -> u32 {
        if self.is_own() { 1 } else { 4 }
    }

    /// What kube-apiserver calls this machine.
    fn host(&self) -> String {
        let given = std::env::var("E2E_HOST").ok().filter(|_| !self.is_own());
        given.unwrap_or_else(|| "localhost".to_owned())
    }

    fn control_plane(&self) -> Result<&ControlPlane, Failure> {
        self.control_plane.as_ref().ok_or_else(|| "this needs a control plane of our own".into())
    }

    fn control_plane_mut(&mut self) -> Result<&mut ControlPlane, Failure> {
        self.control_plane.as_mut().ok_or_else(|| "this needs a control plane of our own".into())
    }

    /// The log of kube-apiserver; empty for a person's.
    pub fn api_server_log(&self) -> String {
        self.control_plane.as_ref().map(ControlPlane::api_server_log).unwrap_or_default()
    }

    /// CPU time that kube-apiserver has used; nothing for a person's.
    pub fn api_server_cpu(&self) -> Duration {
        self.control_plane.as_ref().map(ControlPlane::api_server_cpu).unwrap_or_default()
    }

    /// Kills kube-apiserver.
    ///
    /// # Errors
    /// It is not ours.
    pub fn stop_api_server(&mut self) -> Result<(), Failure> {
        self.control_plane_mut()?.stop_api_server();
        Ok(())
    }

    /// Starts kube-apiserver again.
    ///
    /// # Errors
    /// It did not start.
    pub async fn resume_api_server(&mut self) -> Result<(), Failure> {
        self.control_plane_mut()?.resume_api_server()?;
        self.wait_until_ready().await
    }

    /// Replaces the front proxies' authority and the aggregator's certificate, which takes a new kube-apiserver.
    ///
    /// # Errors
    /// kube-apiserver did not start again.
    pub async fn rotate_front_proxy(&mut self) -> Result<(), Failure> {
        self.control_plane_mut()?.replace_front_proxy()?;
        self.stop_api_server()?;
        self.resume_api_server().await
    }

    async fn wait_until_ready(&self) -> Result<(), Failure> {
        let ready = until("kube-apiserver is ready", Duration::from_mins(3), || async {
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

    /// The minor version of the kube-apiserver.
    ///
    /// # Errors
    /// It does not say one.
    pub fn minor(&self) -> Result<u32, Failure> {
        let version: Value = serde_json::from_str(&self.kubectl(&["get", "--raw", "/version"])?)?;
        let minor = version["minor"].as_str().ok_or("expected a minor version of kube-apiserver")?;
        Ok(minor.parse()?)
    }

    /// Runs kubectl and gives what came of it.
    ///
    /// # Errors
    /// It could not be run.
    pub fn try_kubectl(&self, arguments: &[&str]) -> Result<Output, Failure> {
        let mut command = Command::new(&self.kubectl);
        command.arg("--kubeconfig").arg(&self.kubeconfig);
        command.args(arguments);
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

    /// A kubeconfig of a service account.
    ///
    /// # Errors
    /// There is no such account.
    pub fn account_kubeconfig(&self, namespace: &str, account: &str) -> Result<PathBuf, Failure> {
        let token = self.token(namespace, account)?;
        let path = self.dir.path().join(format!("{namespace}-{account}.kubeconfig"));
        let user = json!({"token": token});
        let ours: Value =
            serde_json::from_str(&self.kubectl(&["config", "view", "--raw", "--minify", "-o", "json"])?)?;
        write_kubeconfig(&path, &ours["clusters"][0]["cluster"], &user)?;
        Ok(path)
    }

    /// A token of a service account.
    ///
    /// # Errors
    /// There is no such account.
    pub fn token(&self, namespace: &str, account: &str) -> Result<String, Failure> {
        // The hour that is usual ends before a long test does.
        let command = ["create", "token", "--duration=24h", "-n", namespace, account];
        Ok(self.kubectl(&command)?.trim().to_owned())
    }

    /// Waits until an APIService is available, which means that the aggregator reaches and verifies what it names, and
    /// until the aggregator passes requests on: it learns of the condition that it has written by a watch, and answers
    /// 503 until then.
    ///
    /// # Errors
    /// It did not become available; its condition is the message.
    pub async fn wait_available(&self, name: &str) -> Result<(), Failure> {
        let condition = || {
            let jsonpath = "jsonpath={.status.conditions[?(@.type==\"Available\")]}";
            self.kubectl(&["get", "apiservice", name, "-o", jsonpath])
        };
        let (version, group) = name.split_once('.').ok_or("an APIService is named VERSION.GROUP")?;
        let wait = until("the APIService is available", Duration::from_mins(1), || async {
            Ok(condition()?.contains(r#""status":"True""#)
                && self.get(&format!("/apis/{group}/{version}")).await?.0 == 200)
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
        for (name, tail) in self.control_plane.as_ref().map(ControlPlane::tails).unwrap_or_default() {
            let _ = writeln!(text, "---- {name}\n{tail}");
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

    /// Takes out of a person's cluster what was put there.
    fn clean_up(&self) {
        let deployed = self.dir.path().join("deployed.json");
        let mut commands =
            vec![vec!["delete", "namespace", "--ignore-not-found", "--wait=false", self.namespace()]];
        let deployed = deployed.display().to_string();
        if Path::new(&deployed).exists() {
            commands.insert(0, vec!["delete", "--ignore-not-found", "--wait=false", "-f", &deployed]);
        }
        for command in commands {
            if let Err(error) = self.kubectl(&command) {
                eprintln!("not removed: {error}");
            }
        }
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if !self.stopped {
            eprintln!("{}", self.logs());
        }
        if !self.is_own() {
            self.clean_up();
        }
    }
}

async fn client(kubeconfig: &Path) -> Result<kube::Client, Failure> {
    let config = Kubeconfig::read_from(kubeconfig)?;
    let mut config = kube::Config::from_custom_kubeconfig(config, &KubeConfigOptions::default()).await?;
    // A test wants to see a 503, not to wait for it to pass.
    config.default_retry = false;
    Ok(kube::Client::try_from(config)?)
}
