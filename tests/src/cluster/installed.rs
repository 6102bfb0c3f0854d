//! An adapter that somebody has installed, run on this machine: by the arguments and volumes of its Deployment, where
//! the aggregator looks for its Service.

use std::path::{Path, PathBuf};
use std::time::Duration;

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{ConfigMap, Container, Secret, Service, Volume};
use kube::Api;
use serde_json::json;

use super::{Cluster, ClusterAdapter};
use crate::process::Process;
use crate::{Failure, stack};

/// A running adapter, and what stands for the volumes of its pod.
pub struct Installed {
    /// The program.
    pub adapter: ClusterAdapter,
    /// The folders that it reads.
    pub volumes: Volumes,
}

/// A folder for each ConfigMap and Secret of a pod.
pub struct Volumes {
    namespace: String,
    volumes: Vec<Volume>,
    dir: PathBuf,
}

impl Cluster {
    /// Starts the adapter of a Deployment with a Service of the same name. Replaced is what leads to Prometheus and to
    /// the pod's own address.
    ///
    /// # Errors
    /// It is not there, or did not start.
    pub async fn start_installed(
        &self,
        namespace: &str,
        name: &str,
        prometheus: &str,
    ) -> Result<Installed, Failure> {
        let deployments: Api<Deployment> = Api::namespaced(self.client.clone(), namespace);
        let pod = deployments.get(name).await?.spec.and_then(|spec| spec.template.spec);
        let pod = pod.ok_or("the Deployment has no pods")?;
        let container = pod.containers.into_iter().next().ok_or("the pod has no container")?;
        let dir = self.dir().join(format!("volumes-{name}"));
        let volumes =
            Volumes { namespace: namespace.to_owned(), volumes: pod.volumes.unwrap_or_default(), dir };
        volumes.fill(&self.client).await?;

        let account = pod.service_account_name.as_deref().unwrap_or("default");
        let kubeconfig = self.account_kubeconfig(namespace, account)?;
        let (address, port) = self.lead_here(namespace, name).await?;
        let mut arguments = volumes.arguments(container);
        arguments.retain(|argument| {
            !argument.starts_with("--secure-port=") && !argument.starts_with("--prometheus-url=")
        });
        arguments.extend([
            format!("--prometheus-url={prometheus}"),
            format!("--bind-address={address}"),
            format!("--secure-port={port}"),
            "--shutdown-delay-duration=200ms".to_owned(),
        ]);
        for flag in ["lister", "authentication", "authorization"] {
            arguments.push(format!("--{flag}-kubeconfig={}", kubeconfig.display()));
        }
        let mut process = Process::start("adapter", &stack::program("adapter")?, &arguments, self.dir())?;
        process.wait_for_log("serving address=", Duration::from_secs(30)).await?;
        Ok(Installed { adapter: ClusterAdapter { process, port }, volumes })
    }

    /// Has the aggregator take a Service for one with pods; the address, on loopback, and port where it connects.
    async fn lead_here(&self, namespace: &str, name: &str) -> Result<(String, u16), Failure> {
        let services: Api<Service> = Api::namespaced(self.client.clone(), namespace);
        let service = services.get(name).await?.spec.unwrap_or_default();
        let address = service.cluster_ip.ok_or("the Service has no address")?;
        let port = service.ports.into_iter().flatten().next().ok_or("the Service has no port")?;
        // What address a pod has makes no difference; only that it is a valid one.
        let (pod, ports) = ("192.0.2.1", json!([{"name": port.name, "port": port.port}]));
        let slice = json!({
            "apiVersion": "discovery.k8s.io/v1",
            "kind": "EndpointSlice",
            "metadata": {
                "name": format!("{name}-here"),
                "namespace": namespace,
                "labels": {"kubernetes.io/service-name": name},
            },
            "addressType": "IPv4",
            "ports": ports,
            "endpoints": [{"addresses": [pod]}],
        });
        self.apply(&slice.to_string())?;
        // What the aggregator of Kubernetes 1.30 reads.
        let endpoints = json!({
            "apiVersion": "v1",
            "kind": "Endpoints",
            "metadata": {"name": name, "namespace": namespace},
            "subsets": [{"addresses": [{"ip": pod}], "ports": ports}],
        });
        self.apply(&endpoints.to_string())?;
        Ok((address, u16::try_from(port.port)?))
    }
}

impl Volumes {
    /// Writes what each ConfigMap and Secret holds now, as a kubelet does after a while.
    ///
    /// # Errors
    /// One is not there.
    pub async fn fill(&self, client: &kube::Client) -> Result<(), Failure> {
        let maps: Api<ConfigMap> = Api::namespaced(client.clone(), &self.namespace);
        let secrets: Api<Secret> = Api::namespaced(client.clone(), &self.namespace);
        for volume in &self.volumes {
            let folder = self.dir.join(&volume.name);
            std::fs::create_dir_all(&folder)?;
            if let Some(source) = &volume.config_map {
                for (key, text) in maps.get(&source.name).await?.data.unwrap_or_default() {
                    put(&folder.join(key), text.as_bytes())?;
                }
            }
            if let Some(name) = volume.secret.as_ref().and_then(|source| source.secret_name.as_deref()) {
                for (key, bytes) in secrets.get(name).await?.data.unwrap_or_default() {
                    put(&folder.join(key), &bytes.0)?;
                }
            }
        }
        Ok(())
    }

    /// The arguments of a container, with the folders in place of what is mounted.
    fn arguments(&self, container: Container) -> Vec<String> {
        let mounts = container.volume_mounts.unwrap_or_default();
        let arguments = container.args.unwrap_or_default().into_iter().map(|argument| {
            let argument = argument.replace("$(POD_NAMESPACE)", &self.namespace);
            mounts.iter().fold(argument, |argument, mount| {
                let folder = self.dir.join(&mount.name);
                argument.replace(&format!("={}/", mount.mount_path), &format!("={}/", folder.display()))
            })
        });
        arguments.collect()
    }
}

/// Whole or not at all.
fn put(path: &Path, content: &[u8]) -> Result<(), Failure> {
    let new = path.with_extension("new");
    std::fs::write(&new, content)?;
    Ok(std::fs::rename(new, path)?)
}
