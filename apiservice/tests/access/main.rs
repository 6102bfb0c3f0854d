//! Who is asking (`docs/contract.md#authentication`) and may they (`docs/contract.md#authorization`), through
//! the whole server but TLS, with a scripted Kubernetes API behind it.

mod certificates;
mod cluster;
mod fake;
mod front_proxy;
mod gate;
mod groups;
mod limits;
mod order;
mod refusals;
mod reviews;
mod tokens;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use apiservice::authn::{
    Authenticator, Authorities, AuthoritiesHandle, ClientCertificates, Credential, FrontProxy,
    FrontProxyHandle, FrontProxySettings, PeerCertificates, TokenReviews, Union, User,
};
use apiservice::authority::Authority;
use apiservice::authz::{AccessReviews, AlwaysAllowPaths, Authorizer, Chain, MASTERS, PrivilegedGroup};
use apiservice::discovery::{Discovery, DiscoveryHandle, GroupDescription};
use apiservice::health::Health;
use apiservice::review::ReviewLimits;
use apiservice::server::{Answer, ApiRequest, ApiServer, Handler, RequestLimits, Unobserved};
use apiservice::status::ApiError;
use apiservice::types::MetricValueList;
use apiservice::types::usage::NodeMetrics;
use arc_swap::ArcSwapOption;
use axum::Router;
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use http::{HeaderName, Method};
use rcgen::{CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, Issuer, KeyPair};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;
use testkit::router::{self, Response};
use tokio::sync::{Semaphore, watch};

use self::fake::FakeApi;

const C1: &str = "/apis/custom.metrics.k8s.io/v1beta1";
const C2: &str = "/apis/custom.metrics.k8s.io/v1beta2";
const E: &str = "/apis/external.metrics.k8s.io/v1beta1";
const M: &str = "/apis/metrics.k8s.io/v1beta1";
/// A path that needs a review.
const POD: &str = "/apis/custom.metrics.k8s.io/v1beta2/namespaces/default/pods/web-1/m";
const AN_HOUR: Duration = Duration::from_hours(1);

/// How a server under test is set up.
struct Settings {
    token_ttl: Duration,
    allowed_ttl: Duration,
    denied_ttl: Duration,
    asks_for_groups: bool,
    reviews: ReviewLimits,
    always_allow: Vec<&'static str>,
    limits: RequestLimits,
}

impl Default for Settings {
    /// Nothing expires within a test.
    fn default() -> Settings {
        Settings {
            token_ttl: AN_HOUR,
            allowed_ttl: AN_HOUR,
            denied_ttl: AN_HOUR,
            asks_for_groups: false,
            reviews: ReviewLimits::default(),
            always_allow: vec!["/healthz", "/readyz", "/livez"],
            limits: RequestLimits::default(),
        }
    }
}

/// A server under test, without TLS: the certificates of a connection are given with each request.
struct Server {
    api: FakeApi,
    router: Router,
    /// Whose signature makes a front proxy, and whose a client.
    proxies: Authority,
    clients: Authority,
    front_proxy: FrontProxyHandle,
    client_authorities: AuthoritiesHandle,
    handler: Arc<Recorder>,
}

/// Keeps what reaches it. A request about something `slow` waits.
struct Recorder {
    requests: Mutex<Vec<ApiRequest>>,
    entered: watch::Sender<usize>,
    go: Semaphore,
}

impl Handler for Recorder {
    fn handle(&self, request: ApiRequest) -> BoxFuture<'_, Result<Answer, ApiError>> {
        async move {
            let is_slow = request.segments.iter().any(|segment| segment == "slow");
            let group = request.group.clone();
            self.requests.lock().expect("no code panics while it holds the lock").push(request);
            self.entered.send_modify(|count| *count += 1);
            if is_slow {
                self.go.acquire().await.expect("never closed").forget();
            }
            Ok(match group.as_str() {
                "metrics.k8s.io" => Answer::Nodes(Vec::<NodeMetrics>::new()),
                _ => Answer::MetricValues(MetricValueList::default()),
            })
        }
        .boxed()
    }
}

impl Server {
    /// A server that asks a fake without sockets.
    fn start(settings: &Settings) -> Server {
        let api = FakeApi::new();
        let client = api.client();
        Server::asking(api, client, settings)
    }

    fn asking(api: FakeApi, client: kube::Client, settings: &Settings) -> Server {
        let (proxies, clients) =
            (Authority::new("proxies").expect("a key"), Authority::new("clients").expect("a key"));
        let front_proxy = Arc::new(ArcSwapOption::from_pointee(proxy_settings(&proxies)));
        let client_authorities = Arc::new(ArcSwapOption::from_pointee(authorities(&clients)));
        let authenticators: Vec<Arc<dyn Authenticator>> = vec![
            Arc::new(FrontProxy::new(Arc::clone(&front_proxy))),
            Arc::new(ClientCertificates::new(Arc::clone(&client_authorities))),
            Arc::new(TokenReviews::new(client.clone(), settings.token_ttl, settings.reviews)),
        ];
        let always_allow = settings.always_allow.iter().map(|&path| path.to_owned()).collect();
        let reviews = AccessReviews::new(client, settings.allowed_ttl, settings.denied_ttl, settings.reviews)
            .asking_for_groups(settings.asks_for_groups);
        let judges: Vec<Arc<dyn Authorizer>> = vec![
            Arc::new(PrivilegedGroup(MASTERS)),
            Arc::new(AlwaysAllowPaths::new(always_allow)),
            Arc::new(reviews),
        ];
        let group = |name: &str, versions: &[&str]| GroupDescription::of(name, versions, Vec::new());
        let groups = vec![
            group("custom.metrics.k8s.io", &["v1beta1", "v1beta2"]),
            group("external.metrics.k8s.io", &["v1beta1"]),
            group("metrics.k8s.io", &["v1beta1"]),
        ];
        let handler = Arc::new(Recorder {
            requests: Mutex::default(),
            entered: watch::channel(0).0,
            go: Semaphore::new(0),
        });
        let server = ApiServer {
            handler: Arc::clone(&handler) as _,
            discovery: DiscoveryHandle::new(Discovery::new(groups, 6443)),
            health: Health::default(),
            authentication: Union::new(authenticators),
            authorization: Chain::new(judges),
            limits: settings.limits,
            metrics: Arc::new(String::new),
            pages: Vec::new(),
            observer: Arc::new(Unobserved),
            audit: None,
        };
        Server {
            api,
            router: server.into_router(),
            proxies,
            clients,
            front_proxy,
            client_authorities,
            handler,
        }
    }

    async fn send(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        peer: &PeerCertificates,
    ) -> Response {
        let mut request = router::request(method, path, headers);
        request.extensions_mut().insert(peer.clone());
        router::ask(&self.router, request).await
    }

    async fn get(&self, path: &str, headers: &[(&str, &str)]) -> Response {
        self.send(Method::GET, path, headers, &PeerCertificates::default()).await
    }

    /// Who the handler was told is asking for [`POD`], whatever verified them; the code when it was not asked.
    async fn user(&self, headers: &[(&str, &str)], peer: &PeerCertificates) -> Result<User, u16> {
        let response = self.send(Method::GET, POD, headers, peer).await;
        if response.code == 200 {
            let requests = self.handler.requests.lock().expect("no code panics while it holds the lock");
            let user = requests.last().expect("it was asked").user.clone();
            return Ok(User { credential: Credential::None, ..user });
        }
        Err(response.code)
    }

    /// The certificates of a connection from a front proxy.
    fn proxy(&self, name: &str) -> PeerCertificates {
        peer(&self.proxies, name, &[])
    }

    /// The certificates of a connection from a client.
    fn certified(&self, name: &str, groups: &[&str]) -> PeerCertificates {
        peer(&self.clients, name, groups)
    }
}

/// The certificates of a connection from a client of up to two groups.
fn peer(authority: &Authority, name: &str, groups: &[&str]) -> PeerCertificates {
    let [groups @ .., last] = groups else {
        return certificate(&authority.issue_client(name, &[]).expect("a key").certificate);
    };
    let key = KeyPair::from_pem(authority.key()).expect("a key");
    let issuer = Issuer::from_ca_cert_pem(authority.certificate(), key).expect("an authority");
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    for group in groups {
        // The same attribute by its number: a name of rcgen's holds each kind once.
        params.distinguished_name.push(DnType::CustomDnType(vec![2, 5, 4, 10]), *group);
    }
    params.distinguished_name.push(DnType::OrganizationName, *last);
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    let key = KeyPair::generate().expect("a key");
    certificate(&params.signed_by(&key, &issuer).expect("a certificate").pem())
}

fn certificate(pem: &str) -> PeerCertificates {
    let certificate = CertificateDer::from_pem_slice(pem.as_bytes()).expect("a certificate");
    PeerCertificates::new(vec![certificate])
}

fn authorities(authority: &Authority) -> Authorities {
    Authorities::from_pem(authority.certificate().as_bytes()).expect("a certificate")
}

/// As kube-apiserver describes its front proxy.
fn proxy_settings(proxies: &Authority) -> FrontProxySettings {
    FrontProxySettings {
        authorities: authorities(proxies),
        allowed_names: vec!["front-proxy-client".to_owned()],
        username_headers: vec![HeaderName::from_static("x-remote-user")],
        group_headers: vec![HeaderName::from_static("x-remote-group")],
        uid_headers: vec![HeaderName::from_static("x-remote-uid")],
        extra_prefixes: vec!["x-remote-extra-".to_owned()],
    }
}

fn no_certificates() -> PeerCertificates {
    PeerCertificates::default()
}

fn anonymous() -> User {
    user("system:anonymous", &["system:unauthenticated"])
}

fn user(name: &str, groups: &[&str]) -> User {
    let groups = groups.iter().map(|group| (*group).to_owned()).collect();
    User { name: name.to_owned(), groups, ..User::default() }
}
