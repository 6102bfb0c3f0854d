//! The HTTP client and what it proves itself with. What they are made of is looked at again at most every ten seconds,
//! by content, and once more when Prometheus says that it does not know us.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use http::HeaderValue;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use reqwest::{RequestBuilder, Url};
use tokio::sync::Mutex;

use super::access::{Access, Credential};
use super::configured_access::configured_access;
use super::proxy::Proxy;
use super::settings::{PrometheusSettings, Verb};
use super::tls::TlsMaterial;
use super::unreached;
use crate::source::{SourceError, SourceErrorClass};

/// A client that follows its files.
pub(super) struct Client {
    settings: PrometheusSettings,
    state: Mutex<State>,
}

struct State {
    current: Arc<Current>,
    tls: TlsMaterial,
    looked_at: Instant,
    /// What was wrong when last looked at: logged when it changes.
    faults: Vec<String>,
}

/// The client and the credentials to use now.
#[derive(Clone)]
pub(super) struct Current {
    pub(super) access: Access,
    http: reqwest::Client,
    /// The value of the `Authorization` header.
    authorization: Option<HeaderValue>,
    alias: Option<Alias>,
}

impl Client {
    pub(super) fn new(settings: &PrometheusSettings) -> Result<Client, SourceError> {
        let access = configured_access(settings).map_err(refuse)?;
        for notice in &access.notices {
            tracing::warn!("{notice}");
        }
        let tls = TlsMaterial::read(&access).map_err(refuse)?;
        let authorization = authorization(&access).map_err(refuse)?;
        let (http, alias) = build(settings, &access, &tls).map_err(refuse)?;
        let current = Arc::new(Current { access, http, authorization, alias });
        let state = State { current, tls, looked_at: Instant::now(), faults: Vec::new() };
        Ok(Client { settings: settings.clone(), state: Mutex::new(state) })
    }

    /// What to use now.
    pub(super) async fn current(&self) -> Arc<Current> {
        let mut state = self.state.lock().await;
        if state.looked_at.elapsed() >= LOOK_AGAIN {
            self.refresh(&mut state);
        }
        Arc::clone(&state.current)
    }

    /// What to use instead of credentials that Prometheus refused; `None` while there are no others.
    pub(super) async fn renewed(&self, refused: &Current) -> Option<Arc<Current>> {
        let mut state = self.state.lock().await;
        if state.looked_at.elapsed() >= LOOK_AGAIN_WHEN_REFUSED {
            self.refresh(&mut state);
        }
        (state.current.authorization != refused.authorization).then(|| Arc::clone(&state.current))
    }

    /// What is broken at the moment, in the middle of a rotation say, leaves what was read before in use, each part for
    /// itself.
    fn refresh(&self, state: &mut State) {
        state.looked_at = Instant::now();
        let mut faults = Vec::new();
        let mut next = Current::clone(&state.current);
        match configured_access(&self.settings) {
            Ok(access) => {
                for notice in access.notices.iter().filter(|notice| !next.access.notices.contains(notice)) {
                    tracing::warn!("{notice}");
                }
                next.access = access;
            }
            Err(fault) => faults.push(fault),
        }
        match authorization(&next.access) {
            Ok(authorization) => next.authorization = authorization,
            Err(fault) => faults.push(fault),
        }
        let tls = TlsMaterial::read(&next.access).and_then(|tls| {
            if tls == state.tls && next.access.proxy == state.current.access.proxy {
                return Ok(());
            }
            (next.http, next.alias) = build(&self.settings, &next.access, &tls)?;
            state.tls = tls;
            tracing::info!("certificates for Prometheus reloaded");
            Ok(())
        });
        if let Err(fault) = tls {
            // What belongs to the client that stays.
            next.access.trust = state.current.access.trust.clone();
            next.access.proxy.clone_from(&state.current.access.proxy);
            next.access.server_name.clone_from(&state.current.access.server_name);
            faults.push(fault);
        }
        state.current = Arc::new(next);
        if faults != state.faults {
            for fault in &faults {
                tracing::warn!("{fault}; access to Prometheus stays as it was read before");
            }
            state.faults = faults;
        }
    }
}

impl Current {
    /// A request to a URL with all that gives access.
    pub(super) fn request(&self, verb: Verb, url: &Url) -> RequestBuilder {
        let mut url = url.clone();
        let mut host = None;
        if let Some(Alias { name, host: real }) = &self.alias
            && url.scheme() == "https"
        {
            host = Some(url.port().map_or_else(|| real.clone(), |port| format!("{real}:{port}")));
            // It was a host when the alias was made.
            let _ = url.set_host(Some(name));
        }
        let mut request = match verb {
            Verb::Get => self.http.get(url),
            Verb::Post => self.http.post(url),
        };
        if let Some(host) = host {
            request = request.header(http::header::HOST, host);
        }
        for (name, value) in &self.access.headers {
            request = request.header(name, value);
        }
        if let Some(authorization) = &self.authorization {
            request = request.header(http::header::AUTHORIZATION, authorization);
        }
        request
    }

    /// Whether a request carries something that its receiver could use: credentials or a client certificate.
    pub(super) fn has_credentials(&self) -> bool {
        self.authorization.is_some() || !self.access.headers.is_empty() || self.access.identity.is_some()
    }

    /// What messages call the credential in use.
    pub(super) fn credential(&self) -> Option<&str> {
        self.access.credentials.first().map(|credential| credential.name.as_str())
    }

    /// The proxy for a URL.
    pub(super) fn proxy_for<'a>(&'a self, settings: &'a PrometheusSettings, url: &Url) -> Option<&'a Proxy> {
        // One that cannot be used was refused with the client.
        self.access.proxy.as_ref().or_else(|| settings.proxies.proxy_for(url).ok().flatten())
    }
}

fn authorization(access: &Access) -> Result<Option<HeaderValue>, String> {
    access.credentials.first().map(Credential::authorization).transpose()
}

/// The client, and the name that stands for the host in its URLs.
fn build(
    settings: &PrometheusSettings,
    access: &Access,
    tls: &TlsMaterial,
) -> Result<(reqwest::Client, Option<Alias>), String> {
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
    let alias = if proxied { None } else { Alias::of(&settings.url, access) };
    if let Some(alias) = alias.clone() {
        // Over HTTP/2 the host would be the alias.
        tls.alpn_protocols = vec![b"http/1.1".to_vec()];
        builder = builder.http1_only().dns_resolver(Arc::new(alias));
    }
    let client = builder.tls_backend_preconfigured(tls).build();
    let client = client
        .map_err(|error| format!("cannot make an HTTP client for Prometheus{}", unreached::cause(&error)))?;
    Ok((client, alias))
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

fn refuse(message: String) -> SourceError {
    SourceError::new(SourceErrorClass::Unavailable, message)
}

const USER_AGENT: &str = concat!("gpu-serving-autoscaler/", env!("CARGO_PKG_VERSION"), " (adapter)");
const LOOK_AGAIN: Duration = Duration::from_secs(10);
const LOOK_AGAIN_WHEN_REFUSED: Duration = Duration::from_secs(1);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
const IDLE_CONNECTIONS: usize = 64;
