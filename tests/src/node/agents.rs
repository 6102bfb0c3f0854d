//! What acts on pods and Services: kube-scheduler, kubelet and kube-proxy.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};

use super::network::{ADDRESS, DNS, POD_RANGE};
use super::runtime::Runtime;
use crate::Failure;
use crate::cluster::NODE_NAME;
use crate::component::required;
use crate::process::Process;

/// The running agents.
pub(super) struct Agents {
    scheduler: Process,
    kubelet: Process,
    proxy: Process,
    cgroup: String,
}

impl Agents {
    /// Starts them with the kubeconfigs in `dir`; the cgroups of all pods are below `cgroup`.
    pub(super) fn start(dir: &Path, cgroup: &str, runtime: &Runtime) -> Result<Agents, Failure> {
        Ok(Agents {
            scheduler: start_scheduler(dir)?,
            kubelet: start_kubelet(dir, cgroup, runtime)?,
            proxy: start_proxy(dir, runtime)?,
            cgroup: cgroup.to_owned(),
        })
    }

    /// Kills one of them and starts it again.
    pub(super) fn restart(&mut self, name: &str, dir: &Path, runtime: &Runtime) -> Result<(), Failure> {
        let cgroup = &self.cgroup;
        match name {
            "kube-scheduler" => replace(&mut self.scheduler, || start_scheduler(dir)),
            "kubelet" => replace(&mut self.kubelet, || start_kubelet(dir, cgroup, runtime)),
            "kube-proxy" => replace(&mut self.proxy, || start_proxy(dir, runtime)),
            _ => Err(format!("expected kube-scheduler, kubelet or kube-proxy, found {name}").into()),
        }
    }

    /// The cgroup that kubelet makes the cgroups of pods in.
    pub(super) fn cgroup(&self) -> &str {
        &self.cgroup
    }

    pub(super) fn processes(&self) -> [&Process; 3] {
        [&self.scheduler, &self.kubelet, &self.proxy]
    }
}

/// Ends a process before another takes its ports and files.
fn replace(process: &mut Process, start: impl FnOnce() -> Result<Process, Failure>) -> Result<(), Failure> {
    process.kill();
    *process = start()?;
    Ok(())
}

fn start_scheduler(dir: &Path) -> Result<Process, Failure> {
    let kubeconfig = kubeconfig(dir, "scheduler");
    let arguments = [
        format!("--kubeconfig={kubeconfig}"),
        format!("--authentication-kubeconfig={kubeconfig}"),
        format!("--authorization-kubeconfig={kubeconfig}"),
        "--leader-elect=false".to_owned(),
        "--secure-port=0".to_owned(),
    ];
    Process::start("kube-scheduler", &required("kube-scheduler")?, &arguments, dir)
}

fn start_kubelet(dir: &Path, cgroup: &str, runtime: &Runtime) -> Result<Process, Failure> {
    let own = dir.join("kubelet");
    std::fs::create_dir_all(&own)?;
    make_cgroups(cgroup)?;
    // The machine's resolver is not reachable from here, and its search list would only cost time.
    std::fs::write(own.join("resolv.conf"), "")?;
    let config = json!({
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "authentication": {
            "anonymous": {"enabled": false},
            "webhook": {"enabled": true},
            "x509": {"clientCAFile": dir.join("ca.crt")},
        },
        "authorization": {"mode": "Webhook"},
        "address": ADDRESS,
        "cgroupDriver": "cgroupfs",
        "cgroupRoot": format!("/{cgroup}"),
        "failCgroupV1": false,
        "failSwapOn": false,
        "enforceNodeAllocatable": ["pods"],
        "containerRuntimeEndpoint": runtime.endpoint(),
        "clusterDNS": [DNS],
        "clusterDomain": "cluster.local",
        "resolvConf": own.join("resolv.conf"),
        "podLogsDir": own.join("logs"),
        "volumePluginDir": own.join("plugins"),
        // The machine's disk may be almost full for reasons of its own: no pod is evicted for it, and no image removed,
        // which nothing could fetch again.
        "imageGCHighThresholdPercent": 100,
        "evictionHard": {"memory.available": "100Mi", "nodefs.available": "1%", "imagefs.available": "1%"},
        "maxPods": 110,
        // How soon a pod sees a new Secret or ConfigMap, such as the configuration that the operator writes for
        // Prometheus. A minute by default.
        "syncFrequency": "10s",
    });
    write_config(&own.join("config.json"), &config)?;
    let mut command = Command::new(required("kubelet")?);
    command.arg(format!("--config={}", own.join("config.json").display()));
    command.arg(format!("--kubeconfig={}", kubeconfig(dir, "kubelet")));
    command.arg(format!("--root-dir={}", own.display()));
    command.arg(format!("--cert-dir={}", own.join("pki").display()));
    command.arg(format!("--hostname-override={NODE_NAME}"));
    command.arg(format!("--node-ip={ADDRESS}"));
    Process::start_command("kubelet", command, dir)
}

fn start_proxy(dir: &Path, runtime: &Runtime) -> Result<Process, Failure> {
    let config = json!({
        "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
        "kind": "KubeProxyConfiguration",
        "clientConnection": {"kubeconfig": kubeconfig(dir, "proxy")},
        "mode": "nftables",
        "clusterCIDR": POD_RANGE,
        "hostnameOverride": NODE_NAME,
        "bindAddress": ADDRESS,
        // The table of connections is the machine's and not ours to size.
        "conntrack": {"maxPerCore": 0},
    });
    let file = dir.join("kube-proxy.json");
    write_config(&file, &config)?;
    let mut command = Command::new(required("kube-proxy")?);
    command.arg(format!("--config={}", file.display()));
    command.env("PATH", runtime.search_path()).env("LD_LIBRARY_PATH", runtime.libraries());
    Process::start_command("kube-proxy", command, dir)
}

/// A group in every hierarchy, which kubelet expects to find. `scripts/sandbox` removes them.
fn make_cgroups(name: &str) -> Result<(), Failure> {
    let root = Path::new(CGROUPS);
    let hierarchies = std::fs::read_dir(root)?.map(|entry| Ok(entry?.path()));
    let hierarchies: Vec<PathBuf> =
        hierarchies.chain([Ok(root.to_owned())]).collect::<std::io::Result<_>>()?;
    for hierarchy in hierarchies.iter().filter(|hierarchy| hierarchy.join("cgroup.procs").exists()) {
        let group = hierarchy.join(name);
        std::fs::create_dir_all(&group)?;
        // Pods have one share together, by default as large as that of a single other process of the machine: compilers
        // beside them would be what the autoscaler reacts to.
        for (file, share) in [("cpu.shares", "65536"), ("cpu.weight", "6400")] {
            let file = group.join(file);
            if file.exists() {
                std::fs::write(file, share)?;
            }
        }
    }
    Ok(())
}

fn write_config(file: &PathBuf, config: &Value) -> Result<(), Failure> {
    Ok(std::fs::write(file, config.to_string())?)
}

fn kubeconfig(dir: &Path, name: &str) -> String {
    dir.join(format!("{name}.kubeconfig")).display().to_string()
}

const CGROUPS: &str = "/sys/fs/cgroup";
