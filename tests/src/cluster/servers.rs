//! Servers of this machine in a cluster: the adapter as in its Deployment, the real prometheus-adapter, and who may ask
//! them.

use std::path::Path;
use std::time::Duration;

use apiservice::authority::{Issued, write};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use k8s_openapi::api::apps::v1::Deployment;
use serde_json::json;

use super::Cluster;
use super::control_plane::{PRIVATE, PUBLIC};
use crate::api::Api;
use crate::process::Process;
use crate::{Failure, free_port, stack};

/// Flags by which prometheus-adapter asks kube-apiserver as often as it likes.
pub const WITHOUT_THROTTLE: [&str; 2] = ["--client-qps=100000", "--client-burst=100000"];
/// Lets prometheus-adapter list pods, as it does for each request, by the identity that ours has.
pub const MAY_LIST_PODS: &str = r"
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: bench-view}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: view}
subjects: [{kind: ServiceAccount, name: adapter, namespace: monitoring}]
";

/// The adapter in a cluster.
pub struct ClusterAdapter {
    /// The program.
    pub process: Process,
    /// Where it listens.
    pub port: u16,
}

impl Cluster {
    /// A certificate and key of a front proxy that the cluster believes.
    ///
    /// # Errors
    /// No key could be made.
    pub fn front_proxy_certificate(&self) -> Result<Issued, Failure> {
        Ok(self.control_plane()?.front_proxy.issue_client("aggregator", &[])?)
    }

    /// A client certificate that the cluster believes.
    ///
    /// # Errors
    /// No key could be made.
    pub fn client_certificate(&self, user: &str, groups: &[&str]) -> Result<Issued, Failure> {
        Ok(self.control_plane()?.authority.issue_client(user, groups)?)
    }

    /// A server of this machine as somebody with a client certificate asks it, or without one. Its certificate is
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
        Api::new(
            server,
            self.control_plane()?.authority.certificate().as_bytes(),
            identity.as_deref().map(str::as_bytes),
        )
    }

    /// Has the aggregator believe [`Cluster::serving_certificate`] where it believed the adapter's own authority.
    ///
    /// # Errors
    /// kubectl refused it.
    pub fn trust_for_apiservices(&self, names: &[String]) -> Result<(), Failure> {
        let bundle =
            json!({"spec": {"caBundle": STANDARD.encode(self.control_plane()?.authority.certificate())}})
                .to_string();
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
        let names = ["localhost".to_owned(), format!("adapter.{}.svc", self.namespaces.adapter)];
        let issued = self.control_plane()?.authority.issue_server("localhost", &names, &[])?;
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
        let kubeconfig = self.account_kubeconfig(&self.namespaces.adapter, "adapter")?;
        let port = free_port()?;
        let mut arguments = vec![
            format!("--config={}", rules.display()),
            format!("--prometheus-url={prometheus}"),
            format!("--secure-port={port}"),
            format!("--bind-address={}", self.bind_address()),
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

    /// Starts the adapter with the arguments of its Deployment, as applied: only what leads to files and servers of
    /// this machine is replaced, and `more` comes behind.
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
        let kubeconfig = self.account_kubeconfig(&self.namespaces.adapter, "adapter")?;
        let deployments: kube::Api<Deployment> =
            kube::Api::namespaced(self.client.clone(), &self.namespaces.adapter);
        let deployment = deployments.get("adapter").await?;
        let shipped = deployment
            .spec
            .and_then(|spec| spec.template.spec)
            .and_then(|spec| spec.containers.into_iter().next())
            .and_then(|container| container.args)
            .ok_or("the Deployment has no arguments")?;
        let replaced = ["--config=", "--prometheus-url=", "--secure-port=", "--serving-service="];
        let mut arguments: Vec<String> = shipped
            .into_iter()
            .filter(|argument| !replaced.iter().any(|replaced| argument.starts_with(replaced)))
            .collect();
        arguments.extend([
            format!("--config={}", rules.display()),
            format!("--prometheus-url={prometheus}"),
            format!("--secure-port={port}"),
            format!("--serving-service={}/adapter", self.namespaces.adapter),
            format!("--bind-address={}", self.bind_address()),
            "--shutdown-delay-duration=200ms".to_owned(),
            // A request is a query, which tests count, compare and keep waiting.
            "--query-sharing=0s".to_owned(),
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
        // Some tests start several.
        let name = format!("adapter-{port}");
        let process = Process::start(&name, &stack::program("adapter")?, &arguments, self.dir.path())?;
        let mut adapter = ClusterAdapter { process, port };
        adapter.process.wait_for_log("serving address=", Duration::from_secs(30)).await?;
        Ok(adapter)
    }

    /// Where a server must listen so that kube-apiserver finds it.
    fn bind_address(&self) -> &'static str {
        if self.control_plane.is_some() { "127.0.0.1" } else { "0.0.0.0" }
    }
}
