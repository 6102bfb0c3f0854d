//! A server under test: a process between kube-apiserver and Prometheus as they are played here, asked as the
//! aggregator of kube-apiserver asks it, over HTTP/2 with a front proxy's certificate.

use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use apiservice::authority::{Authority, Issued};
use e2e::cluster::WITHOUT_THROTTLE;
use e2e::process::{Process, run};
use e2e::{Failure, free_port, until};
use http::HeaderMap;
use reqwest::{Certificate, Client, Identity};
use serde_json::json;
use tempfile::TempDir;
use testkit::kubeconfig::Kubeconfig;

use crate::exporter::Exporter;
use crate::kubernetes::Kubernetes;
use crate::memory::MemoryGroup;
use crate::pods::{Pods, namespace_name};
use crate::prometheus::Prometheus;

/// A program to measure.
#[derive(Debug, Clone)]
pub(crate) struct Program {
    /// How it is called in the report.
    pub(crate) name: &'static str,
    pub(crate) path: PathBuf,
    pub(crate) flags: Vec<String>,
    /// Whether it is prometheus-adapter, which has fewer flags.
    pub(crate) is_upstream: bool,
    /// Whether it shares queries unless it is told not to.
    pub(crate) shares: bool,
}

impl Program {
    pub(crate) fn upstream(path: PathBuf) -> Program {
        Program { name: "prometheus-adapter", path, flags: Vec::new(), is_upstream: true, shares: false }
    }

    /// An adapter of any age: older ones know fewer flags.
    pub(crate) fn adapter(name: &'static str, path: PathBuf, flags: Vec<String>) -> Result<Program, Failure> {
        let help = run(Command::new(&path).arg("--help"))?;
        Ok(Program { name, path, flags, is_upstream: false, shares: help.contains("--query-sharing") })
    }
}

/// Authorities and a folder of one measurement.
pub(crate) struct Site {
    pub(crate) dir: TempDir,
    pub(crate) authority: Authority,
    front_proxy: Authority,
    memory: Option<MemoryGroup>,
}

/// A running server.
pub(crate) struct Server {
    pub(crate) process: Process,
    pub(crate) url: String,
    pub(crate) client: Client,
    /// As `client`, on a connection of its own.
    pub(crate) probing: Client,
    /// From its start until it was ready.
    pub(crate) ready: Duration,
    /// What it had spent then.
    pub(crate) cpu_when_ready: Duration,
}

impl Site {
    /// `memory_limit` are the bytes that its server may have.
    pub(crate) fn new(memory_limit: Option<u64>) -> Result<Site, Failure> {
        Ok(Site {
            memory: memory_limit.map(MemoryGroup::new).transpose()?,
            dir: tempfile::tempdir()?,
            authority: Authority::new("bench-scale")?,
            front_proxy: Authority::new("bench-scale-front-proxy")?,
        })
    }

    pub(crate) fn write(&self, name: &str, text: &str) -> Result<PathBuf, Failure> {
        let path = self.dir.path().join(name);
        std::fs::write(&path, text)?;
        Ok(path)
    }

    /// Starts a server in a cluster and waits until it is ready.
    pub(crate) async fn start(
        &self,
        program: &Program,
        kubernetes: &Kubernetes,
        prometheus: &Prometheus,
        rules: &str,
        more: &[String],
    ) -> Result<Server, Failure> {
        let port = free_port()?;
        let Issued { certificate, key } =
            self.authority.issue_server("localhost", &["localhost".to_owned()], &[])?;
        let kubeconfig = json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "bench",
            "clusters": [{"name": "bench", "cluster": {
                "server": format!("https://localhost:{}", kubernetes.address.port()),
                "certificate-authority": self.write("ca.crt", self.authority.certificate())?,
            }}],
            "users": [{"name": "bench", "user": {"token": "bench"}}],
            "contexts": [{"name": "bench", "context": {"cluster": "bench", "user": "bench"}}],
        });
        let kubeconfig = self.write("kubeconfig", &kubeconfig.to_string())?;
        let files = [
            ("config", self.write("rules.yaml", rules)?),
            ("lister-kubeconfig", kubeconfig.clone()),
            ("authentication-kubeconfig", kubeconfig.clone()),
            ("authorization-kubeconfig", kubeconfig),
            ("tls-cert-file", self.write("serving.crt", &certificate)?),
            ("tls-private-key-file", self.write("serving.key", &key)?),
            (
                "requestheader-client-ca-file",
                self.write("front-proxy-ca.crt", self.front_proxy.certificate())?,
            ),
        ];
        let mut arguments = vec![
            format!("--prometheus-url=http://{}", prometheus.address),
            format!("--secure-port={port}"),
            "--bind-address=127.0.0.1".to_owned(),
            "--authentication-skip-lookup=true".to_owned(),
        ];
        arguments.extend(files.iter().map(|(flag, path)| format!("--{flag}={}", path.display())));
        arguments.extend_from_slice(more);
        if program.is_upstream {
            // Its client waits for 20 requests a second otherwise.
            arguments.extend(WITHOUT_THROTTLE.map(str::to_owned));
        }
        let process = self.run(program, &arguments)?;
        self.wait_until_ready(process, format!("https://localhost:{port}"), [self.client()?, self.client()?])
            .await
    }

    /// Starts a server that scrapes a target for each pod, and waits until it is ready.
    pub(crate) async fn start_standalone(
        &self,
        program: &Program,
        exporter: &Exporter,
        pods: Pods,
        rules: &str,
    ) -> Result<Server, Failure> {
        let (port, dir) = (free_port()?, self.dir.path().join("standalone"));
        let mut arguments = vec![
            "--standalone".to_owned(),
            format!("--standalone-dir={}", dir.display()),
            format!("--secure-port={port}"),
            format!("--config={}", self.write("rules.yaml", rules)?.display()),
        ];
        arguments.extend(pods.places().map(|place| {
            let (namespace, pod, app) = (namespace_name(place.namespace), place.name(), place.app());
            format!(
                "--scrape-target=namespace={namespace},pod={pod},app={app}@http://{}/{pod}",
                exporter.address
            )
        }));
        let mut process = self.run(program, &arguments)?;
        process.wait_for_log("serving address=", LONGEST_START).await?;
        let Kubeconfig { server, authority, certificate, key } = Kubeconfig::read(&dir.join("kubeconfig"))?;
        let client = || client(&authority, &[certificate.as_slice(), &key].concat(), HeaderMap::new());
        self.wait_until_ready(process, server, [client()?, client()?]).await
    }

    fn run(&self, program: &Program, arguments: &[String]) -> Result<Process, Failure> {
        let command = if let Some(group) = &self.memory {
            group.command(&program.path, arguments)
        } else {
            let mut command = Command::new(&program.path);
            command.args(arguments);
            command
        };
        Process::start_command(program.name, command, self.dir.path())
    }

    /// Whether the kernel ended its server for its memory.
    pub(crate) fn is_out_of_memory(&self) -> bool {
        self.memory.as_ref().is_some_and(MemoryGroup::has_killed)
    }

    async fn wait_until_ready(
        &self,
        process: Process,
        url: String,
        [client, probing]: [Client; 2],
    ) -> Result<Server, Failure> {
        let limit = Instant::now() + LONGEST_START;
        loop {
            let answer = client.get(format!("{url}/readyz")).send().await;
            if answer.is_ok_and(|answer| answer.status().is_success()) {
                break;
            }
            let cpu = process.cpu_time();
            if cpu.is_none() || Instant::now() > limit {
                return Err(format!("{} is not ready:\n{}", process.name(), process.tail()).into());
            }
            tokio::time::sleep(BETWEEN_LOOKS).await;
        }
        let (ready, cpu_when_ready) = (process.age(), process.cpu_time().unwrap_or_default());
        Ok(Server { process, url, client, probing, ready, cpu_when_ready })
    }

    /// A client that is kube-apiserver's aggregator, passing on the autoscaler's requests.
    fn client(&self) -> Result<Client, Failure> {
        let Issued { certificate, key } = self.front_proxy.issue_client("aggregator", &[])?;
        let mut headers = HeaderMap::new();
        headers.insert("x-remote-user", CALLER.try_into()?);
        headers.insert("x-remote-group", "system:authenticated".try_into()?);
        client(self.authority.certificate().as_bytes(), format!("{certificate}{key}").as_bytes(), headers)
    }
}

fn client(authority: &[u8], identity: &[u8], headers: HeaderMap) -> Result<Client, Failure> {
    Ok(Client::builder()
        .tls_certs_only([Certificate::from_pem(authority)?])
        .identity(Identity::from_pem(identity)?)
        .default_headers(headers)
        .build()?)
}

impl Server {
    pub(crate) fn cpu_time(&self) -> Duration {
        self.process.cpu_time().unwrap_or_default()
    }

    /// Waits until it answers a path with success.
    pub(crate) async fn answers(&self, path: &str) -> Result<(), Failure> {
        let url = format!("{}{path}", self.url);
        let what = format!("{path} is answered");
        let answered = until(&what, LONGEST_START, || async {
            Ok(self.client.get(&url).send().await.is_ok_and(|answer| answer.status().is_success()))
        });
        answered.await.map_err(|error| format!("{error}\n{}", self.process.tail()).into())
    }
}

const CALLER: &str = "system:serviceaccount:kube-system:horizontal-pod-autoscaler";
const LONGEST_START: Duration = Duration::from_mins(3);
const BETWEEN_LOOKS: Duration = Duration::from_millis(10);
