//! A control plane of our own: etcd, kube-apiserver with RBAC and aggregation, and kube-controller-manager as
//! processes, with keys made for the purpose.

use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use apiservice::authority::{Authority, Issued, write};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::component::component;
use crate::process::Process;
use crate::{Failure, free_port};

/// The processes and the keys. Dropping it ends it.
pub(super) struct ControlPlane {
    etcd: Process,
    api_server: Option<Process>,
    /// Not before kube-apiserver is ready: it would wait for some seconds only.
    controller_manager: Option<Process>,
    dir: PathBuf,
    site: Site,
    port: u16,
    program: PathBuf,
    controllers: PathBuf,
    pub(super) authority: Authority,
    pub(super) front_proxy: Authority,
}

/// Where a control plane serves.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Site {
    /// A free port of loopback, without a node: tests stand for the kubelet, and controllers wait less than usual.
    Loopback,
    /// The address of a node whose pods reach it. Controllers keep to the intervals that a real cluster has.
    Node(Ipv4Addr),
}

impl Site {
    /// Where kube-apiserver is reached.
    fn address(self) -> Ipv4Addr {
        match self {
            Site::Loopback => Ipv4Addr::LOCALHOST,
            Site::Node(address) => address,
        }
    }

    /// The Service `kubernetes`: the first address of the Services' range. Without a node it is on loopback, so that a
    /// server of this machine can listen where kube-apiserver looks for a Service.
    fn first_service(self) -> Ipv4Addr {
        match self {
            Site::Loopback => Ipv4Addr::new(127, 40, 0, 1),
            Site::Node(_) => Ipv4Addr::new(10, 0, 0, 1),
        }
    }

    /// The flags of kube-apiserver that differ.
    fn api_server_flags(self, dir: &Path) -> Vec<String> {
        let flags: &[&str] = match self {
            Site::Loopback => &["--authorization-mode=RBAC", "--endpoint-reconciler-type=none", FROM_ZERO],
            // By its address: nothing resolves a node's name.
            Site::Node(_) => {
                &["--authorization-mode=Node,RBAC", "--kubelet-preferred-address-types=InternalIP"]
            }
        };
        let mut flags: Vec<String> = flags.iter().map(|flag| (*flag).to_owned()).collect();
        if let Site::Node(_) = self {
            flags.push(format!("--kubelet-client-certificate={}", dir.join("admin.crt").display()));
            flags.push(format!("--kubelet-client-key={}", dir.join("admin.key").display()));
        }
        flags
    }

    /// The flags of kube-controller-manager that differ.
    fn controller_manager_flags(self) -> &'static [&'static str] {
        match self {
            // Endpoints are written by hand, as no pod runs.
            Site::Loopback => &[
                "--controllers=*,-node-ipam-controller,-node-lifecycle-controller,-endpoints-controller",
                "--horizontal-pod-autoscaler-sync-period=2s",
                "--horizontal-pod-autoscaler-downscale-stabilization=5s",
                "--horizontal-pod-autoscaler-initial-readiness-delay=1s",
                "--horizontal-pod-autoscaler-cpu-initialization-period=1s",
                FROM_ZERO,
            ],
            Site::Node(_) => &["--controllers=*,-node-ipam-controller"],
        }
    }

    /// Who has a kubeconfig: the name of its file, the user and the groups.
    fn accounts(self) -> Vec<(&'static str, String, &'static [&'static str])> {
        let mut accounts: Vec<(_, String, &'static [_])> = vec![
            ("admin", "admin".to_owned(), &["system:masters"]),
            ("controller-manager", "system:kube-controller-manager".to_owned(), &[]),
        ];
        if let Site::Node(_) = self {
            accounts.push(("scheduler", "system:kube-scheduler".to_owned(), &[]));
            accounts.push(("proxy", "system:kube-proxy".to_owned(), &[]));
            accounts.push(("kubelet", format!("system:node:{NODE_NAME}"), &["system:nodes"]));
        }
        accounts
    }
}

impl ControlPlane {
    /// Starts one whose files are in `dir`; `None` where a component is neither there nor can be built.
    pub(super) fn start(dir: &Path, site: Site) -> Result<Option<ControlPlane>, Failure> {
        let (Some(etcd), Some(program), Some(controllers)) =
            (component("etcd"), component("kube-apiserver"), component("kube-controller-manager"))
        else {
            return Ok(None);
        };
        let etcd_url = format!("http://127.0.0.1:{}", free_port()?);
        let peer_url = format!("http://127.0.0.1:{}", free_port()?);
        let etcd = Process::start(
            "etcd",
            &etcd,
            &[
                format!("--data-dir={}", dir.join("etcd").display()),
                format!("--listen-client-urls={etcd_url}"),
                format!("--advertise-client-urls={etcd_url}"),
                format!("--listen-peer-urls={peer_url}"),
                format!("--initial-advertise-peer-urls={peer_url}"),
                format!("--initial-cluster=default={peer_url}"),
                "--unsafe-no-fsync".to_owned(),
                "--log-level=warn".to_owned(),
            ],
            dir,
        )?;
        let authority = Authority::new("kubernetes-ca")?;
        let front_proxy = Authority::new("front-proxy-ca")?;
        let port = free_port()?;
        prepare(dir, site, &authority, &front_proxy, port)?;
        std::fs::write(dir.join("etcd.url"), etcd_url)?;
        let api_server = start_api_server(&program, dir, site, port)?;
        Ok(Some(ControlPlane {
            etcd,
            api_server: Some(api_server),
            controller_manager: None,
            dir: dir.to_owned(),
            site,
            port,
            program,
            controllers,
            authority,
            front_proxy,
        }))
    }

    /// Starts kube-controller-manager. Of its flags those in `more` count where one is given twice.
    pub(super) fn start_controllers(&mut self, more: &[&str]) -> Result<(), Failure> {
        let mut flags = controller_manager_flags(&self.dir, self.site);
        flags.extend(more.iter().map(|flag| (*flag).to_owned()));
        let process = Process::start("kube-controller-manager", &self.controllers, &flags, &self.dir)?;
        self.controller_manager = Some(process);
        Ok(())
    }

    /// The log of kube-apiserver.
    pub(super) fn api_server_log(&self) -> String {
        self.api_server.as_ref().map(Process::log).unwrap_or_default()
    }

    /// CPU time that kube-apiserver has used.
    pub(super) fn api_server_cpu(&self) -> Duration {
        self.api_server.as_ref().and_then(Process::cpu_time).unwrap_or_default()
    }

    /// Kills kube-apiserver.
    pub(super) fn stop_api_server(&mut self) {
        drop(self.api_server.take());
    }

    /// Starts kube-apiserver again.
    pub(super) fn resume_api_server(&mut self) -> Result<(), Failure> {
        self.api_server = Some(start_api_server(&self.program, &self.dir, self.site, self.port)?);
        Ok(())
    }

    /// Another authority of front proxies and another certificate of the aggregator, which the next kube-apiserver
    /// reads.
    pub(super) fn replace_front_proxy(&mut self) -> Result<(), Failure> {
        self.front_proxy = Authority::new("another-front-proxy-ca")?;
        write_front_proxy(&self.dir, &self.front_proxy)
    }

    /// Name and end of the log of each process.
    pub(super) fn tails(&self) -> Vec<(String, String)> {
        let processes = [Some(&self.etcd), self.api_server.as_ref(), self.controller_manager.as_ref()];
        processes.into_iter().flatten().map(|process| (process.name().to_owned(), process.tail())).collect()
    }
}

fn start_api_server(program: &Path, dir: &Path, site: Site, port: u16) -> Result<Process, Failure> {
    let file = |name: &str| dir.join(name).display().to_string();
    let etcd = std::fs::read_to_string(dir.join("etcd.url"))?;
    let mut arguments = vec![
        format!("--etcd-servers={etcd}"),
        format!("--bind-address={}", site.address()),
        format!("--advertise-address={}", site.address()),
        format!("--secure-port={port}"),
        format!("--tls-cert-file={}", file("apiserver.crt")),
        format!("--tls-private-key-file={}", file("apiserver.key")),
        format!("--client-ca-file={}", file("ca.crt")),
        format!("--service-account-key-file={}", file("accounts.crt")),
        format!("--service-account-signing-key-file={}", file("accounts.key")),
        "--service-account-issuer=https://kubernetes.default.svc".to_owned(),
        format!("--service-cluster-ip-range={}/24", site.first_service()),
        "--enable-aggregator-routing=false".to_owned(),
        format!("--requestheader-client-ca-file={}", file("front-proxy-ca.crt")),
        "--requestheader-allowed-names=aggregator".to_owned(),
        "--requestheader-username-headers=X-Remote-User".to_owned(),
        "--requestheader-group-headers=X-Remote-Group".to_owned(),
        "--requestheader-extra-headers-prefix=X-Remote-Extra-".to_owned(),
        format!("--proxy-client-cert-file={}", file("aggregator.crt")),
        format!("--proxy-client-key-file={}", file("aggregator.key")),
    ];
    arguments.extend(site.api_server_flags(dir));
    Process::start("kube-apiserver", program, &arguments, dir)
}

fn controller_manager_flags(dir: &Path, site: Site) -> Vec<String> {
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
    ];
    flags.extend(site.controller_manager_flags().iter().map(|flag| (*flag).to_owned()));
    flags
}

/// Keys, certificates and kubeconfigs of a cluster.
fn prepare(
    dir: &Path,
    site: Site,
    authority: &Authority,
    front_proxy: &Authority,
    port: u16,
) -> Result<(), Failure> {
    let put = |name: &str, issued: &Issued| -> Result<(), Failure> {
        write(&dir.join(format!("{name}.crt")), &issued.certificate, PUBLIC)?;
        Ok(write(&dir.join(format!("{name}.key")), &issued.key, PRIVATE)?)
    };
    write(&dir.join("ca.crt"), authority.certificate(), PUBLIC)?;
    let names =
        ["localhost", "kubernetes", "kubernetes.default", "kubernetes.default.svc"].map(str::to_owned);
    let addresses = [site.address().into(), site.first_service().into()];
    put("apiserver", &authority.issue_server("kube-apiserver", &names, &addresses)?)?;
    put("accounts", &authority.issue_client("service-accounts", &[])?)?;
    write_front_proxy(dir, front_proxy)?;
    for (name, user, groups) in site.accounts() {
        let issued = authority.issue_client(&user, groups)?;
        put(name, &issued)?;
        let user = json!({
            "client-certificate-data": STANDARD.encode(&issued.certificate),
            "client-key-data": STANDARD.encode(&issued.key),
        });
        let server = json!({
            "server": format!("https://{}:{port}", site.address()),
            "certificate-authority-data": STANDARD.encode(authority.certificate()),
        });
        write_kubeconfig(&dir.join(format!("{name}.kubeconfig")), &server, &user)?;
    }
    Ok(())
}

fn write_front_proxy(dir: &Path, front_proxy: &Authority) -> Result<(), Failure> {
    let aggregator = front_proxy.issue_client("aggregator", &[])?;
    write(&dir.join("front-proxy-ca.crt"), front_proxy.certificate(), PUBLIC)?;
    write(&dir.join("aggregator.crt"), &aggregator.certificate, PUBLIC)?;
    Ok(write(&dir.join("aggregator.key"), &aggregator.key, PRIVATE)?)
}

/// A kubeconfig for a server as kubeconfigs describe one, and a user likewise.
pub(super) fn write_kubeconfig(path: &Path, server: &Value, user: &Value) -> Result<(), Failure> {
    let config = json!({
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "test", "cluster": server}],
        "users": [{"name": "test", "user": user}],
        "contexts": [{"name": "test", "context": {"cluster": "test", "user": "test"}}],
        "current-context": "test",
    });
    Ok(write(path, &config.to_string(), PRIVATE)?)
}

/// Lets an autoscaler say `minReplicas: 0`, and does nothing else.
const FROM_ZERO: &str = "--feature-gates=HPAScaleToZero=true";
/// What a node is called.
pub(crate) const NODE_NAME: &str = "node";
pub(super) const PUBLIC: u32 = 0o644;
pub(super) const PRIVATE: u32 = 0o600;
