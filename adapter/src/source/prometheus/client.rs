//! The HTTP client and the credentials it sends. Both follow their files in the background, and look at them once more
//! when Prometheus refuses the credentials.

use std::hash::{Hash, Hasher};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use http::HeaderValue;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use reqwest::{RequestBuilder, Url};
use serve::{FileName, FileStats, FollowedFile, error_chain};
use tokio::sync::Mutex;

use super::access::{Access, AccessError, Credential};
use super::configured_access::configured_access;
use super::kubeconfig::{self, KubeconfigAccessError};
use super::proxy::{Proxy, ProxyError};
use super::settings::{KubernetesAuth, PrometheusSettings, Verb};
use super::tls::{TlsError, TlsMaterial};
use super::unreached;
use crate::source::{SourceError, SourceErrorClass};

/// A client that follows its files.
pub(super) struct Client {
    current: ArcSwap<Current>,
    files: Mutex<Files>,
    stats: Vec<Arc<FileStats>>,
}

/// The files that access depends on. A broken one leaves in use what was read of it before, and does not keep the
/// others from being read.
struct Files {
    /// What names the other two.
    access: Arc<ArcSwap<Access>>,
    /// `None` where no kubeconfig gives access.
    kubeconfig: Option<FollowedFile<Access>>,
    authorization: FollowedFile<Authorization>,
    connector: FollowedFile<Connector>,
    looked_at: Instant,
}

/// The client and the credentials to use now.
#[derive(Clone)]
pub(super) struct Current {
    access: Arc<Access>,
    authorization: Authorization,
    connector: Arc<Connector>,
}

/// The value of the `Authorization` header, and what messages call it.
#[derive(Clone, PartialEq, Eq, Hash)]
struct Authorization(Option<(String, HeaderValue)>);

/// The HTTP client, with the access that it was made of.
struct Connector {
    http: reqwest::Client,
    alias: Option<Alias>,
    access: Arc<Access>,
}

/// What an HTTP client is made of.
struct ConnectorParts {
    tls: TlsMaterial,
    access: Arc<Access>,
}

/// Why Prometheus cannot be asked. No message holds a credential.
#[derive(Debug, thiserror::Error)]
enum ClientError {
    #[error(transparent)]
    Kubeconfig(#[from] KubeconfigAccessError),
    #[error(transparent)]
    Access(#[from] AccessError),
    #[error(transparent)]
    Tls(#[from] TlsError),
    #[error(transparent)]
    Proxy(#[from] ProxyError),
    /// The HTTP library refuses its settings. Its own words name the URL, which may hold credentials.
    #[error("cannot make an HTTP client for Prometheus{}", unreached::cause(_0))]
    Http(reqwest::Error),
}

impl Hash for ConnectorParts {
    /// Nothing else of the access belongs to the client.
    fn hash<H: Hasher>(&self, hasher: &mut H) {
        (&self.tls, &self.access.proxy).hash(hasher);
    }
}

impl Client {
    /// Reads the files for the first time.
    ///
    /// # Errors
    /// Files that cannot be read or hold something else.
    pub(super) fn new(settings: &PrometheusSettings) -> Result<Client, SourceError> {
        let (files, current) = Files::open(settings).map_err(|error| refuse(&error))?;
        let stats = files.stats();
        Ok(Client { current: ArcSwap::from_pointee(current), files: Mutex::new(files), stats })
    }

    /// What became of the files.
    pub(super) fn file_stats(&self) -> &[Arc<FileStats>] {
        &self.stats
    }

    /// What to use now.
    pub(super) fn current(&self) -> Arc<Current> {
        self.current.load_full()
    }

    /// What to use instead of credentials that Prometheus refused; `None` while there are no others.
    pub(super) async fn renewed(&self, refused: &Current) -> Option<Arc<Current>> {
        let mut files = self.files.lock().await;
        if files.looked_at.elapsed() >= LOOK_AGAIN_WHEN_REFUSED {
            self.look(&mut files).await;
        }
        drop(files);
        let current = self.current();
        (current.authorization != refused.authorization).then_some(current)
    }

    /// Polls the files until the program ends.
    pub(super) async fn follow(&self, every: Duration) {
        loop {
            tokio::time::sleep(every).await;
            self.look(&mut *self.files.lock().await).await;
        }
    }

    async fn look(&self, files: &mut Files) {
        if let Some(next) = files.look(&self.current()).await {
            self.current.store(Arc::new(next));
        }
    }
}

impl Files {
    fn open(settings: &PrometheusSettings) -> Result<(Files, Current), ClientError> {
        let settings = Arc::new(settings.clone());
        let (kubeconfig, access) = match &settings.auth {
            Some(KubernetesAuth::Kubeconfig(path)) => {
                let (read_path, parsed_path, settings) = (path.clone(), path.clone(), Arc::clone(&settings));
                let parse = move |text: String| {
                    let access = kubeconfig::access(&text, &parsed_path)?;
                    Ok(configured_access(&settings, Some(access)))
                };
                let place = path.display().to_string();
                let (file, access) =
                    FollowedFile::open(KUBECONFIG, place, move || kubeconfig::read(&read_path), parse)?;
                (Some(file), access)
            }
            _ => (None, configured_access(&settings, None)),
        };
        for notice in &access.notices {
            tracing::warn!("{notice}");
        }
        let access = Arc::new(ArcSwap::from_pointee(access));
        // The files that a kubeconfig names are other ones when it changes.
        let (token_place, tls_place) = if let Some(KubernetesAuth::Kubeconfig(path)) = &settings.auth {
            (path.display().to_string(), path.display().to_string())
        } else {
            let credential = access.load().credentials.first().map(Credential::place);
            (credential.unwrap_or_default(), access.load().tls_place())
        };
        let named = Arc::clone(&access);
        let (authorization, value) =
            FollowedFile::open(TOKEN, token_place, move || Authorization::read(&named.load()), Ok)?;
        let named = Arc::clone(&access);
        let read = move || {
            let access = named.load_full();
            Ok::<_, ClientError>(ConnectorParts { tls: TlsMaterial::read(&access)?, access })
        };
        let make = move |parts: ConnectorParts| Connector::new(&settings, &parts.tls, parts.access);
        let (connector, client) = FollowedFile::open(CERTIFICATES, tls_place, read, make)?;
        let current =
            Current { access: access.load_full(), authorization: value, connector: Arc::new(client) };
        Ok((Files { access, kubeconfig, authorization, connector, looked_at: Instant::now() }, current))
    }

    fn stats(&self) -> Vec<Arc<FileStats>> {
        let kubeconfig = self.kubeconfig.iter().map(FollowedFile::stats);
        kubeconfig.chain([self.authorization.stats(), self.connector.stats()]).collect()
    }

    /// What to use instead; `None` where nothing has changed.
    async fn look(&mut self, current: &Current) -> Option<Current> {
        let mut next = None;
        if let Some(kubeconfig) = &mut self.kubeconfig
            && let Some(access) = kubeconfig.look().await
        {
            for notice in access.notices.iter().filter(|notice| !current.access.notices.contains(notice)) {
                tracing::warn!("{notice}");
            }
            let access = Arc::new(access);
            self.access.store(Arc::clone(&access));
            next.get_or_insert_with(|| current.clone()).access = access;
        }
        if let Some(authorization) = self.authorization.look().await {
            next.get_or_insert_with(|| current.clone()).authorization = authorization;
        }
        if let Some(connector) = self.connector.look().await {
            next.get_or_insert_with(|| current.clone()).connector = Arc::new(connector);
        }
        self.looked_at = Instant::now();
        next
    }
}

impl Authorization {
    fn read(access: &Access) -> Result<Authorization, AccessError> {
        let Some(credential) = access.credentials.first() else { return Ok(Authorization(None)) };
        Ok(Authorization(Some((credential.name.clone(), credential.authorization()?))))
    }
}

impl Current {
    /// A request to a URL with all that gives access.
    pub(super) fn request(&self, verb: Verb, url: &Url) -> RequestBuilder {
        let mut url = url.clone();
        let mut host = None;
        if let Some(Alias { name, host: real }) = &self.connector.alias
            && url.scheme() == "https"
        {
            host = Some(url.port().map_or_else(|| real.clone(), |port| format!("{real}:{port}")));
            // It was a host when the alias was made.
            let _ = url.set_host(Some(name));
        }
        let mut request = match verb {
            Verb::Get => self.connector.http.get(url),
            Verb::Post => self.connector.http.post(url),
        };
        if let Some(host) = host {
            request = request.header(http::header::HOST, host);
        }
        for (name, value) in &self.access.headers {
            request = request.header(name, value);
        }
        if let Some((_, authorization)) = &self.authorization.0 {
            request = request.header(http::header::AUTHORIZATION, authorization);
        }
        request
    }

    /// Whether a request carries something that its receiver could use: credentials or a client certificate.
    pub(super) fn has_credentials(&self) -> bool {
        self.authorization.0.is_some()
            || !self.access.headers.is_empty()
            || self.connector.access.identity.is_some()
    }

    /// What messages call the credential in use.
    pub(super) fn credential(&self) -> Option<&str> {
        self.authorization.0.as_ref().map(|(name, _)| name.as_str())
    }

    /// The access that the HTTP client was made of.
    pub(super) fn client_access(&self) -> &Access {
        &self.connector.access
    }

    /// The proxy for a URL.
    pub(super) fn proxy_for<'a>(&'a self, settings: &'a PrometheusSettings, url: &Url) -> Option<&'a Proxy> {
        // One that cannot be used was refused with the client.
        self.connector.access.proxy.as_ref().or_else(|| settings.proxies.proxy_for(url).ok().flatten())
    }
}

impl Connector {
    fn new(
        settings: &PrometheusSettings,
        tls: &TlsMaterial,
        access: Arc<Access>,
    ) -> Result<Connector, ClientError> {
        let mut tls = tls.client_config()?;
        let mut builder = reqwest::Client::builder()
            .user_agent(USER_AGENT)
            .connect_timeout(CONNECT_TIMEOUT)
            .pool_max_idle_per_host(IDLE_CONNECTIONS)
            .redirect(reqwest::redirect::Policy::none());
        // By itself it would read the environment otherwise than Go does.
        builder = builder.no_proxy();
        let proxied = match &access.proxy {
            Some(proxy) => Some(proxy),
            None => settings.proxies.proxy_for(&settings.url)?,
        };
        let proxied = proxied.is_some();
        builder = match access.proxy.clone() {
            Some(proxy) => builder.proxy(reqwest::Proxy::custom(move |_| Some(proxy.for_client()))),
            None if settings.proxies.is_empty() => builder,
            None => {
                let proxies = settings.proxies.clone();
                builder.proxy(reqwest::Proxy::custom(move |url| {
                    proxies.proxy_for(url).ok().flatten().map(Proxy::for_client)
                }))
            }
        };
        // A proxy resolves names itself; then the name is checked, and TLS asks for the host's.
        let alias = if proxied { None } else { Alias::of(&settings.url, &access) };
        if let Some(alias) = alias.clone() {
            // Over HTTP/2 the host would be the alias.
            tls.alpn_protocols = vec![b"http/1.1".to_vec()];
            builder = builder.http1_only().dns_resolver(Arc::new(alias));
        }
        let http = builder.tls_backend_preconfigured(tls).build().map_err(ClientError::Http)?;
        Ok(Connector { http, alias, access })
    }
}

/// A name that stands for a host in URLs, so that TLS asks for it.
#[derive(Debug, Clone)]
struct Alias {
    name: String,
    host: String,
}

impl Alias {
    /// The name of a kubeconfig's `tls-server-name`. An address is not asked for in TLS, only looked for in the
    /// certificate.
    fn of(url: &Url, access: &Access) -> Option<Alias> {
        let name = access.server_name.as_deref()?;
        let mut named = url.clone();
        named.set_host(Some(name)).ok()?;
        let name = named.domain()?.to_owned();
        let host = url.host_str()?.to_owned();
        (name != host).then_some(Alias { name, host })
    }
}

impl Resolve for Alias {
    fn resolve(&self, name: Name) -> Resolving {
        let host = if name.as_str() == self.name { self.host.clone() } else { name.as_str().to_owned() };
        Box::pin(async move {
            let host = host.trim_matches(['[', ']']);
            let addresses: Vec<SocketAddr> = tokio::net::lookup_host((host, 0)).await?.collect();
            Ok(Box::new(addresses.into_iter()) as Addrs)
        })
    }
}

fn refuse(error: &ClientError) -> SourceError {
    SourceError::new(SourceErrorClass::Unavailable, error_chain(error))
}

const USER_AGENT: &str = concat!("gpu-serving-autoscaler/", env!("CARGO_PKG_VERSION"), " (adapter)");
const LOOK_AGAIN_WHEN_REFUSED: Duration = Duration::from_secs(1);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
const IDLE_CONNECTIONS: usize = 64;
const KUBECONFIG: FileName =
    FileName { label: "prometheus-kubeconfig", file: "kubeconfig for Prometheus", kept: "the previous one" };
const TOKEN: FileName =
    FileName { label: "prometheus-token", file: "credentials for Prometheus", kept: "the previous ones" };
const CERTIFICATES: FileName = FileName {
    label: "prometheus-certificates",
    file: "certificates for Prometheus",
    kept: "the previous ones",
};
