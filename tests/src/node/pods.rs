//! The processes and cgroups behind pods.

use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::process::Command;

use super::Node;
use crate::Failure;
use crate::cgroup::memory_hierarchy;
use crate::process::run;

/// The main process of a container, as this machine sees it.
#[derive(Debug)]
pub struct ContainerProcess {
    /// Its id.
    pub id: u32,
    /// The container's cgroup in the hierarchy that limits memory.
    memory: PathBuf,
}

impl Node {
    /// The processes of a pod whose program has a name; none before its container has started.
    pub fn processes(&self, pod_uid: &str, program: &str) -> Vec<ContainerProcess> {
        let mut found = Vec::new();
        for group in self.container_groups(pod_uid) {
            // A container may end while it is looked at.
            let ids = std::fs::read_to_string(group.join("cgroup.procs")).unwrap_or_default();
            for id in ids.lines().filter_map(|id| id.parse().ok()) {
                let name = std::fs::read_to_string(format!("/proc/{id}/comm")).unwrap_or_default();
                if name.trim() == program {
                    found.push(ContainerProcess { id, memory: group.clone() });
                }
            }
        }
        found
    }

    /// Sends a signal to the processes of a pod whose program has a name.
    ///
    /// # Errors
    /// There is none.
    pub fn signal(&self, pod_uid: &str, program: &str, signal: &str) -> Result<(), Failure> {
        let processes = self.processes(pod_uid, program);
        if processes.is_empty() {
            return Err(format!("expected a process {program} in the pod {pod_uid}, found none").into());
        }
        let ids = processes.iter().map(|process| process.id.to_string());
        run(Command::new("kill").arg(format!("-{signal}")).args(ids)).map(drop)
    }

    /// The cgroups of a pod's containers.
    fn container_groups(&self, pod_uid: &str) -> Vec<PathBuf> {
        let classes = ["", "burstable", "besteffort"];
        let pods = self.pods_cgroup();
        let pod = classes.map(|class| pods.join(class).join(format!("pod{pod_uid}")));
        let folders = pod.iter().filter_map(|pod| std::fs::read_dir(pod).ok()).flatten().flatten();
        folders.map(|entry| entry.path()).filter(|path| path.is_dir()).collect()
    }

    /// The cgroup of all pods.
    fn pods_cgroup(&self) -> PathBuf {
        memory_hierarchy().join(self.agents.cgroup()).join("kubepods")
    }
}

impl ContainerProcess {
    /// The most memory that its container used since it started, and what it may use, both in bytes.
    ///
    /// # Errors
    /// The kernel does not say.
    pub fn memory(&self) -> Result<(u64, u64), Failure> {
        let read = |names: [&str; 2]| -> Result<u64, Failure> {
            let file = names.map(|name| self.memory.join(name)).into_iter().find(|file| file.exists());
            let file = file.ok_or_else(|| format!("expected {names:?} in {}", self.memory.display()))?;
            Ok(std::fs::read_to_string(file)?.trim().parse()?)
        };
        Ok((
            read(["memory.max_usage_in_bytes", "memory.peak"])?,
            read(["memory.limit_in_bytes", "memory.max"])?,
        ))
    }

    /// Resident memory in bytes; `None` once it ended.
    pub fn resident_bytes(&self) -> Option<u64> {
        crate::process::resident_bytes(self.id)
    }

    /// The address of its pod, which the API tells seconds later.
    ///
    /// # Errors
    /// It has ended, or has no address yet.
    pub fn address(&self) -> Result<Ipv4Addr, Failure> {
        let routes = std::fs::read_to_string(format!("/proc/{}/net/fib_trie", self.id))?;
        let lines: Vec<&str> = routes.lines().map(str::trim).collect();
        let mut local = lines.windows(2).filter(|pair| pair[1].starts_with("/32 host LOCAL"));
        local
            .find_map(|pair| {
                pair[0].strip_prefix("|-- ")?.parse().ok().filter(|address: &Ipv4Addr| !address.is_loopback())
            })
            .ok_or_else(|| format!("expected the process {} to have an address, found none", self.id).into())
    }
}
