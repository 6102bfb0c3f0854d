//! A server for tests, on a free port of loopback.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use apiservice::accept::{self, Ended, Limits, Stats};
use apiservice::audit::Audit;
use apiservice::authn::{
    Authenticator, AuthnError, Authorities, ClientCertificates, PeerCertificates, Union, User,
};
use apiservice::authority::{Authority, Issued, write};
use apiservice::authz::{AlwaysAllowPaths, Authorizer, Chain, MASTERS, PrivilegedGroup};
use apiservice::discovery::{Discovery, DiscoveryHandle, GroupDescription, ResourceEntry};
use apiservice::health::Health;
use apiservice::lifecycle::{Trigger, lifecycle};
use apiservice::quantity::Quantity;
use apiservice::server::{Answer, ApiRequest, ApiServer, Handler, RequestLimits, Unobserved};
use apiservice::status::ApiError;
use apiservice::tls::{
    self, CertificateSource, NamedCertificate, NamedCertificates, ServingCertificate, TlsSettings,
};
use apiservice::types::{MetricValue, MetricValueList, ObjectReference, Timestamp};
use arc_swap::ArcSwapOption;
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use reqwest::{Certificate, Client, ClientBuilder, Identity};
use tokio::sync::Semaphore;

pub(crate) const C1: &str = "/apis/custom.metrics.k8s.io/v1beta1";
/// A group whose members may do anything and are not exempt from limits.
pub(crate) const READERS: &str = "readers";

/// Answers when the test lets it.
struct Slow {
    /// A permit for each request that waits.
    entered: Arc<Semaphore>,
    go: Arc<Semaphore>,
}

impl Handler for Slow {
    fn handle(&self, request: ApiRequest) -> BoxFuture<'_, Result<Answer, ApiError>> {
        async move {
            let asked = |what: &str| request.segments.iter().any(|segment| segment == what);
            if asked("slow") {
                self.entered.add_permits(1);
                self.go.acquire().await.expect("never closed").forget();
            }
            assert!(!asked("panic"), "as the test asked");
            let count = if asked("large") { 60_000 } else { 0 };
            let items = (0..count).map(|_| value()).collect();
            Ok(Answer::MetricValues(MetricValueList { items }))
        }
        .boxed()
    }
}

fn value() -> MetricValue {
    MetricValue {
        described_object: ObjectReference {
            kind: "Pod".into(),
            namespace: Some("default".into()),
            name: "a-pod-with-a-rather-long-name".into(),
            api_version: "v1".into(),
        },
        metric_name: "a_metric_with_a_rather_long_name".into(),
        selector: None,
        timestamp: Timestamp::from_unix_ms(0),
        window_seconds: None,
        value: Quantity::from_f64(1.0).expect("a number"),
    }
}

/// Never answers requests that say so, and authenticates no caller.
struct Hangs;

impl Authenticator for Hangs {
    fn authenticate<'a>(
        &'a self,
        request: &'a http::request::Parts,
        _: &'a PeerCertificates,
    ) -> BoxFuture<'a, Result<Option<User>, AuthnError>> {
        async move {
            if request.headers.contains_key("x-hang") {
                std::future::pending::<()>().await;
            }
            Ok(None)
        }
        .boxed()
    }

    fn reads(&self, name: &http::HeaderName, _: &PeerCertificates) -> bool {
        name == "x-hang"
    }
}

/// What a test may choose.
pub(crate) struct Options {
    pub(crate) listen: SocketAddr,
    pub(crate) accept: Limits,
    pub(crate) requests: RequestLimits,
    pub(crate) tls: TlsSettings,
    /// Certificates by name, signed by the server's authority, in files of its folder.
    pub(crate) named: fn(&Authority, &Path) -> Vec<NamedCertificate>,
    /// What records requests, into a file of its folder.
    pub(crate) audit: fn(&Path) -> Option<Arc<Audit>>,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            listen: (Ipv4Addr::LOCALHOST, 0).into(),
            accept: Limits { grace: Some(Duration::from_secs(20)), ..Limits::default() },
            requests: RequestLimits::default(),
            tls: TlsSettings::default(),
            named: |_, _| Vec::new(),
            audit: |_| None,
        }
    }
}

pub(crate) struct Server {
    pub(crate) url: String,
    pub(crate) address: SocketAddr,
    pub(crate) authority: Authority,
    pub(crate) trigger: Trigger,
    pub(crate) entered: Arc<Semaphore>,
    pub(crate) go: Arc<Semaphore>,
    pub(crate) ended: tokio::task::JoinHandle<Ended>,
    pub(crate) certificate: Arc<ServingCertificate>,
    pub(crate) named: Arc<NamedCertificates>,
    pub(crate) stats: Arc<Stats>,
    pub(crate) dir: tempfile::TempDir,
}

impl Server {
    pub(crate) fn start() -> Server {
        Server::with(Options::default())
    }

    pub(crate) fn with(options: Options) -> Server {
        let Options { listen, accept, requests, tls, named, audit } = options;
        let _ = rustls::crypto::ring::default_provider().install_default();
        let dir = tempfile::tempdir().expect("a folder");
        let authority = Authority::new("test-ca").expect("a key");
        let (certificate, key) = (dir.path().join("tls.crt"), dir.path().join("tls.key"));
        issue(&authority, &certificate, &key);
        let source = CertificateSource::Files { certificate, key };
        let certificate = ServingCertificate::load(&source).expect("a pair");
        let named = named(&authority, dir.path());
        let named = NamedCertificates::load(Arc::clone(&certificate), &named).expect("pairs");
        let config = tls::server_config(Arc::clone(&named) as _, &tls).expect("usable settings");
        let listener = accept::listen(listen).expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let (entered, go) = (Arc::new(Semaphore::new(0)), Arc::new(Semaphore::new(0)));
        let authorities = Authorities::from_pem(authority.certificate().as_bytes()).expect("a certificate");
        let clients: Arc<dyn Authenticator> =
            Arc::new(ClientCertificates::new(Arc::new(ArcSwapOption::from_pointee(authorities))));
        let judges: Vec<Arc<dyn Authorizer>> = vec![
            Arc::new(PrivilegedGroup(MASTERS)),
            Arc::new(PrivilegedGroup(READERS)),
            Arc::new(AlwaysAllowPaths::new(vec!["/healthz".to_owned(), "/readyz".to_owned()])),
        ];
        let server = ApiServer {
            handler: Arc::new(Slow { entered: Arc::clone(&entered), go: Arc::clone(&go) }),
            discovery: DiscoveryHandle::new(Discovery::new(vec![group()], address.port())),
            health: Health::default(),
            authentication: Union::new(vec![Arc::new(Hangs), clients]),
            authorization: Chain::new(judges),
            limits: requests,
            metrics: Arc::new(String::new),
            pages: Vec::new(),
            observer: Arc::new(Unobserved),
            audit: audit(dir.path()),
        };
        let (trigger, shutdown) = lifecycle();
        let stats = Arc::new(Stats::default());
        let ended = tokio::spawn(accept::serve(
            listener,
            config,
            server.into_service(),
            shutdown,
            accept,
            Arc::clone(&stats),
        ));
        let url = format!("https://{address}");
        Server { url, address, authority, trigger, entered, go, ended, certificate, named, stats, dir }
    }

    pub(crate) fn builder(&self, identity: Option<&Issued>) -> ClientBuilder {
        let root = Certificate::from_pem(self.authority.certificate().as_bytes()).expect("a certificate");
        let mut builder = Client::builder().tls_certs_only([root]);
        if let Some(issued) = identity {
            let identity = Identity::from_pem(format!("{}{}", issued.certificate, issued.key).as_bytes());
            builder = builder.identity(identity.expect("a pair"));
        }
        builder
    }

    pub(crate) fn client(&self, signed_by: Option<&Authority>) -> Client {
        let issued = signed_by.map(|authority| authority.issue_client("admin", &[MASTERS]).expect("a key"));
        self.builder(issued.as_ref()).build().expect("a client")
    }

    pub(crate) fn admin(&self) -> Client {
        self.client(Some(&self.authority))
    }

    /// Somebody who may do anything and is not exempt from limits.
    pub(crate) fn reader(&self) -> Issued {
        self.authority.issue_client("reader", &[READERS]).expect("a key")
    }
}

pub(crate) fn issue(authority: &Authority, certificate: &Path, key: &Path) {
    let issued = authority.issue_server("server", &[], &[IpAddr::V4(Ipv4Addr::LOCALHOST)]).expect("a key");
    write(certificate, &issued.certificate, 0o644).expect("writable");
    write(key, &issued.key, 0o600).expect("writable");
}

/// Written in the order that leaves a moment in which the two do not go together.
pub(crate) fn issue_for(authority: &Authority, names: &[&str], certificate: &Path, key: &Path) {
    let names: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
    let issued = authority.issue_server("server", &names, &[]).expect("a key");
    write(certificate, &issued.certificate, 0o644).expect("writable");
    write(key, &issued.key, 0o600).expect("writable");
}

fn group() -> GroupDescription {
    let entry = |name: &str, namespaced| ResourceEntry {
        name: name.to_owned(),
        namespaced,
        kind: "MetricValueList",
        verbs: &["get"],
    };
    let entries = vec![entry("pods/b", true), entry("pods/a", true), entry("namespaces/a", false)];
    GroupDescription::of("custom.metrics.k8s.io", &["v1beta1", "v1beta2"], entries)
}
