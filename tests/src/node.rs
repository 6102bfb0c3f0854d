//! A whole node: a control plane with a real scheduler, kubelet, containerd and kube-proxy, and `CoreDNS` on it. Pods
//! run, and Services and names lead to them.
//!
//! It needs root and namespaces of its own, which `scripts/sandbox` makes: no address of it is reachable from outside,
//! and nothing of it is left however the test ends.

mod agents;
mod archive;
mod hey;
mod install;
mod network;
mod pods;
mod runtime;
mod scenario;
mod stack;

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};

use self::agents::Agents;
pub use self::hey::{Summary, outside};
pub use self::pods::ContainerProcess;
use self::runtime::Runtime;
pub use self::scenario::on_node;
pub use self::stack::Stack;
use crate::cluster::{Cluster, NODE_NAME, Site};
use crate::component::required;
use crate::process::Process;
use crate::{Failure, stack as files, until};

/// A running node.
pub struct Node {
    /// Its control plane.
    pub cluster: Cluster,
    runtime: Runtime,
    agents: Agents,
    /// What is installed for several tests.
    installed: Option<Stack>,
}

impl Node {
    /// Starts one and waits until its pods can run and find one another by name.
    ///
    /// # Errors
    /// It is not started by `scripts/sandbox`, or a component did not start; its log is part of the message.
    pub async fn start() -> Result<Node, Failure> {
        let cgroup = std::env::var("NODE_CGROUP").map_err(
            |_| "expected to be started by scripts/sandbox, which gives a node namespaces of its own",
        )?;
        network::prepare()?;
        let cluster = Cluster::start_at(Site::Node(network::ADDRESS), &[])
            .await?
            .ok_or("kube-apiserver is missing: scripts/components says why")?;
        let runtime = Runtime::start(cluster.dir()).await?;
        for name in ["pause", "coredns"] {
            runtime.import_program(name)?;
        }
        let agents = Agents::start(cluster.dir(), &cgroup, &runtime)?;
        let node = Node { cluster, runtime, agents, installed: None };
        node.wait_ready().await?;
        node.apply_manifest("coredns")?;
        node.wait_rolled_out("kube-system", "deployment/coredns")?;
        Ok(node)
    }

    /// Makes the image of a component known to the node, as `e2e/NAME:1`.
    ///
    /// # Errors
    /// The component is neither there nor can be built, or containerd refused it.
    pub fn import_program(&self, name: &str) -> Result<(), Failure> {
        self.runtime.import_program(name)
    }

    /// Makes images known to the node.
    ///
    /// # Errors
    /// containerd refused the archive.
    pub fn import_archive(&self, archive: &Path) -> Result<(), Failure> {
        self.runtime.import_archive(archive)
    }

    /// Applies a file of `tests/manifests/node`.
    ///
    /// # Errors
    /// kubectl refused it.
    pub fn apply_manifest(&self, name: &str) -> Result<(), Failure> {
        let file = files::repository().join(format!("tests/manifests/node/{name}.yaml"));
        self.cluster.kubectl(&["apply", "--server-side", "-f", &file.display().to_string()]).map(drop)
    }

    /// Applies an object.
    ///
    /// # Errors
    /// kubectl refused it.
    pub fn apply(&self, object: &Value) -> Result<(), Failure> {
        // What kubectl applies as YAML may be JSON.
        self.cluster.apply(&object.to_string())
    }

    /// Starts `kubectl port-forward` and waits until it listens; gives the address.
    ///
    /// # Errors
    /// It did not start.
    pub async fn port_forward(
        &self,
        namespace: &str,
        target: &str,
        port: u16,
    ) -> Result<(Process, String), Failure> {
        let mut command = Command::new(required("kubectl")?);
        command.arg("--kubeconfig").arg(self.cluster.kubeconfig());
        command.args(["-n", namespace, "port-forward", target, &format!(":{port}")]);
        let mut process = Process::start_command("port-forward", command, self.cluster.dir())?;
        let address = process.wait_for_log("Forwarding from ", MINUTE).await?;
        Ok((process, address))
    }

    /// Waits until all replicas of a workload are of its newest template and ready.
    ///
    /// # Errors
    /// They did not become so; the state of the pods is part of the message.
    pub fn wait_rolled_out(&self, namespace: &str, workload: &str) -> Result<(), Failure> {
        let status =
            self.cluster.kubectl(&["-n", namespace, "rollout", "status", workload, "--timeout=180s"]);
        status.map(drop).map_err(|error| format!("{error}\n{}", self.describe(namespace)).into())
    }

    /// Whether a condition of an object, as `KIND/NAME`, is true; not for an object that is not there.
    ///
    /// # Errors
    /// kubectl could not be run.
    pub fn has_condition(&self, namespace: &str, object: &str, condition: &str) -> Result<bool, Failure> {
        let path = format!("jsonpath={{.status.conditions[?(@.type==\"{condition}\")].status}}");
        let output = self.cluster.try_kubectl(&["-n", namespace, "get", object, "-o", &path])?;
        Ok(output.stdout == b"True")
    }

    /// Has the node say that it has some of an extended resource, as a device plugin does.
    ///
    /// # Errors
    /// kubectl refused it.
    pub fn offer(&self, resource: &str, count: u32) -> Result<(), Failure> {
        let count = count.to_string();
        let patch =
            json!({"status": {"capacity": {resource: count}, "allocatable": {resource: count}}}).to_string();
        let node = ["patch", "node", NODE_NAME, "--subresource=status", "--type=merge", "-p", &patch];
        self.cluster.kubectl(&node).map(drop)
    }

    /// Kills an agent or containerd, starts it again and waits until the node is ready again.
    ///
    /// # Errors
    /// It did not start, or none is called so.
    pub async fn restart(&mut self, name: &str) -> Result<(), Failure> {
        if name == "containerd" {
            self.runtime.restart().await?;
        } else {
            self.agents.restart(name, self.cluster.dir(), &self.runtime)?;
        }
        self.wait_ready().await
    }

    async fn wait_ready(&self) -> Result<(), Failure> {
        let object = format!("node/{NODE_NAME}");
        let ready =
            until("the node is ready", MINUTE, || async { self.has_condition("default", &object, "Ready") });
        ready.await.map_err(|error| format!("{error}\n{}", self.tails()).into())
    }

    /// Takes away what tests put into the cluster; what the node itself runs stays.
    ///
    /// # Errors
    /// kubectl refused it.
    pub fn clear(&mut self) -> Result<(), Failure> {
        let kubectl =
            |arguments: &str| self.cluster.kubectl(&arguments.split_whitespace().collect::<Vec<_>>());
        let names =
            |arguments: &str| kubectl(&format!("get {arguments} -o=jsonpath={{.items[*].metadata.name}}"));
        self.installed = None;
        // Those of kube-apiserver and of its custom resources have the label. While others answer nothing, no namespace
        // ends.
        for service in names("apiservices -l=!kube-aggregator.kubernetes.io/automanaged")?.split_whitespace()
        {
            kubectl(&format!("delete apiservice {service}"))?;
        }
        let others = names(&format!("namespaces -l=kubernetes.io/metadata.name,{NOT_BUILT_IN}"))?;
        for namespace in others.split_whitespace().chain(["default"]) {
            kubectl(&format!("-n {namespace} delete {WORKLOADS} --all --cascade=foreground --wait=false"))?;
            kubectl(&format!("-n {namespace} delete pods --all --force --grace-period=0"))?;
        }
        for namespace in others.split_whitespace() {
            kubectl(&format!("delete namespace {namespace}"))?;
        }
        // The second time it waits.
        kubectl(&format!("-n default delete {WORKLOADS},{LEFT_IN_DEFAULT} --all"))?;
        if names("customresourcedefinitions")?.contains("servicemonitors.monitoring.coreos.com") {
            kubectl("-n default delete servicemonitors --all")?;
        }
        kubectl("-n default delete services --field-selector=metadata.name!=kubernetes")?;
        kubectl(&format!("delete clusterroles,clusterrolebindings -l={NOT_OF_THE_NODE}"))?;
        kubectl(&format!("-n kube-system delete roles,rolebindings -l={NOT_OF_THE_NODE}"))?;
        Ok(())
    }

    /// What is to be known of a node on which a test failed.
    pub fn state(&self) -> String {
        let kubectl =
            |arguments: &[&str]| self.cluster.kubectl(arguments).unwrap_or_else(|error| error.to_string());
        [
            kubectl(&["get", "pods", "-A", "-o", "wide"]),
            kubectl(&["events", "-A"]).lines().rev().take(40).collect::<Vec<_>>().join("\n"),
            self.tails(),
        ]
        .join("\n")
    }

    /// The pods of a namespace, what happened to them and what they said last, for a person.
    pub fn describe(&self, namespace: &str) -> String {
        // Every pod is without this label.
        let every = "!none";
        let logs = ["-n", namespace, "logs", "-l", every, "--all-containers", "--prefix", "--tail=15"];
        let mut text = String::new();
        for command in [
            &["-n", namespace, "get", "pods", "-o", "wide"][..],
            &["-n", namespace, "events", "--types=Warning"],
            &logs,
        ] {
            text += &self.cluster.kubectl(command).unwrap_or_else(|error| error.to_string());
        }
        text
    }

    /// Name and end of the log of each process.
    pub fn tails(&self) -> String {
        let processes = self.agents.processes().into_iter().chain([self.runtime.process()]);
        let tails: Vec<String> =
            processes.map(|process| format!("---- {}\n{}\n", process.name(), process.tail())).collect();
        tails.concat()
    }

    /// Where containerd keeps what belongs to a pod and the programs that made it.
    pub fn runtime_folder(&self) -> &Path {
        self.runtime.folder()
    }
}

const MINUTE: Duration = Duration::from_mins(1);
const WORKLOADS: &str = "deployments,statefulsets,daemonsets,jobs,horizontalpodautoscalers";
const LEFT_IN_DEFAULT: &str = "configmaps,secrets,poddisruptionbudgets,networkpolicies,roles,rolebindings";
/// Namespaces that every cluster has.
const NOT_BUILT_IN: &str = "kubernetes.io/metadata.name!=default,kubernetes.io/metadata.name!=kube-system,\
     kubernetes.io/metadata.name!=kube-public,kubernetes.io/metadata.name!=kube-node-lease";
/// What neither kube-apiserver made nor `tests/manifests/node`.
const NOT_OF_THE_NODE: &str = "!kubernetes.io/bootstrapping,!e2e-node";
