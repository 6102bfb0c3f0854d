//! What gives access to Prometheus, and where it comes from: flags, a kubeconfig, or the pod's service account.
//!
//! Of several credentials one is used, in the order in which upstream's HTTP client comes to them: the header flag, the
//! user in the URL, the token file, the kubeconfig or the service account.

use std::net::IpAddr;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::header::AUTHORIZATION;
use http::{HeaderName, HeaderValue};
use percent_encoding::percent_decode_str;
use reqwest::Url;
use serve::files::{self, LARGEST_CREDENTIAL};

use super::proxy::Proxy;
use super::{KubernetesAuth, PrometheusSettings, kubeconfig};

/// What gives access to Prometheus. Files are named here and read where they are used.
#[derive(Clone)]
pub(super) struct Access {
    /// Whose certificates are believed.
    pub(super) trust: Trust,
    /// The name in Prometheus' certificate, where it is not the host's.
    pub(super) server_name: Option<String>,
    /// Client certificate and key, PEM.
    pub(super) identity: Option<(Material, Material)>,
    /// The proxy for every request, whatever the environment says.
    pub(super) proxy: Option<Proxy>,
    /// Sent with every request, besides the credential.
    pub(super) headers: Vec<(HeaderName, HeaderValue)>,
    /// Credentials, the one in use first.
    pub(super) credentials: Vec<Credential>,
    /// What the operator should know.
    pub(super) notices: Vec<String>,
}

/// Whose certificates are believed.
#[derive(Clone)]
pub(super) enum Trust {
    /// Those of the authorities that the machine knows.
    System,
    /// Those of the authorities in a PEM bundle, and the bundle's own.
    Authorities(Material),
    /// All.
    Anyone,
}

/// Something to prove oneself with in the `Authorization` header.
#[derive(Clone)]
pub(super) struct Credential {
    /// What messages call it.
    pub(super) name: String,
    kind: CredentialKind,
}

#[derive(Clone)]
enum CredentialKind {
    Header(HeaderValue),
    Token(Material),
}

/// Bytes from a file or from a kubeconfig.
#[derive(Clone)]
pub(super) struct Material {
    /// What messages call it.
    pub(super) name: String,
    content: Content,
}

#[derive(Clone)]
enum Content {
    File(PathBuf),
    Inline(Vec<u8>),
}

impl Access {
    /// What the settings say; a kubeconfig is read.
    ///
    /// # Errors
    /// A kubeconfig that cannot be used, and a header that cannot be sent.
    pub(super) fn of(settings: &PrometheusSettings) -> Result<Access, String> {
        let mut access = match &settings.auth {
            Some(KubernetesAuth::Kubeconfig(path)) => kubeconfig::read(path)?,
            Some(KubernetesAuth::ServiceAccount(folder)) => service_account(folder),
            None => Access::none(),
        };
        if let Some(path) = &settings.ca_file {
            access.trust = Trust::Authorities(Material::file("--prometheus-ca-file", path));
        }
        if let Some((certificate, key)) = &settings.client_pair {
            if access.identity.is_some() {
                access.notices.push(
                    "--prometheus-client-tls-cert-file has no effect: the kubeconfig's client certificate is used"
                        .to_owned(),
                );
            } else {
                access.identity = Some((
                    Material::file("--prometheus-client-tls-cert-file", certificate),
                    Material::file("--prometheus-client-tls-key-file", key),
                ));
            }
        }
        let mut credentials = Vec::new();
        for (name, value) in &settings.headers {
            if *name != AUTHORIZATION {
                access.headers.push((name.clone(), value.clone()));
            } else if !value.is_empty() {
                credentials
                    .push(Credential::header("the Authorization of --prometheus-header", value.clone()));
            }
        }
        credentials.extend(of_url(&settings.url)?);
        if let Some(path) = &settings.token_file {
            let from = Material::file("--prometheus-token-file", path);
            credentials.push(Credential::token("the token of --prometheus-token-file", from));
        }
        credentials.append(&mut access.credentials);
        if let [used, unused @ ..] = &credentials[..]
            && !unused.is_empty()
        {
            let unused: Vec<&str> = unused.iter().map(|credential| credential.name.as_str()).collect();
            access.notices.push(format!(
                "one credential is sent to Prometheus: {}; not used: {}",
                used.name,
                unused.join(", ")
            ));
        }
        access.credentials = credentials;
        access.notices.extend(access.in_the_clear(settings));
        Ok(access)
    }

    /// Who can read the credentials on their way: by plain HTTP everybody between, and a proxy among them. What stays
    /// on this machine is not on its way.
    fn in_the_clear(&self, settings: &PrometheusSettings) -> Option<String> {
        if settings.url.scheme() != "http" {
            return None;
        }
        let named = self.credentials.first().map(|credential| credential.name.clone());
        let what = named.or_else(|| {
            let secret = self.headers.iter().find(|(name, _)| is_secret(name))?;
            Some(format!("the header {}", secret.0))
        })?;
        // One that cannot be used is refused with the client.
        let proxy = self.proxy.as_ref().or_else(|| settings.proxies.proxy_for(&settings.url).ok().flatten());
        if let Some(proxy) = proxy {
            return Some(format!(
                "{what} is sent to the proxy {proxy} in plain HTTP: it, and whoever is between, can read it; expected https \
                 in --prometheus-url, or the host in NO_PROXY"
            ));
        }
        let host = settings.url.host_str().unwrap_or_default().trim_matches(['[', ']']);
        let is_local = host == "localhost"
            || host.ends_with(".localhost")
            || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback());
        (!is_local).then(|| {
            format!(
                "{what} is sent in plain HTTP: whoever is between this and Prometheus can read it; expected https in \
                 --prometheus-url"
            )
        })
    }

    /// No credentials, and the system's authorities.
    pub(super) fn none() -> Access {
        Access {
            trust: Trust::System,
            server_name: None,
            identity: None,
            proxy: None,
            headers: Vec::new(),
            credentials: Vec::new(),
            notices: Vec::new(),
        }
    }
}

impl Credential {
    /// The value of a header.
    pub(super) fn header(name: &str, mut value: HeaderValue) -> Credential {
        value.set_sensitive(true);
        Credential { name: name.to_owned(), kind: CredentialKind::Header(value) }
    }

    /// A user's name and password.
    ///
    /// # Errors
    /// Never: Base64 is a header's text.
    pub(super) fn basic(name: &str, user: &str, password: &str) -> Result<Credential, String> {
        let value = format!("Basic {}", STANDARD.encode(format!("{user}:{password}")));
        let value = HeaderValue::try_from(value).map_err(|error| format!("cannot send {name}: {error}"))?;
        Ok(Credential::header(name, value))
    }

    /// A bearer token.
    pub(super) fn token(name: &str, from: Material) -> Credential {
        Credential { name: name.to_owned(), kind: CredentialKind::Token(from) }
    }

    /// The value of the `Authorization` header; a file is read.
    ///
    /// # Errors
    /// A file that cannot be read or holds something else than a token.
    pub(super) fn authorization(&self) -> Result<HeaderValue, String> {
        let from = match &self.kind {
            CredentialKind::Header(value) => return Ok(value.clone()),
            CredentialKind::Token(from) => from,
        };
        let unusable = |found: &str| format!("expected a token in {}, found {found}", from.place());
        let text = String::from_utf8(from.read()?).map_err(|_| unusable("bytes that are not text"))?;
        // A trailing newline would make an invalid header.
        let token = text.trim();
        if token.is_empty() {
            return Err(unusable("nothing"));
        }
        let mut value = HeaderValue::try_from(format!("Bearer {token}"))
            .map_err(|_| unusable("characters that a header cannot hold"))?;
        value.set_sensitive(true);
        Ok(value)
    }
}

impl Material {
    /// A file, and the flag or field that names it.
    pub(super) fn file(name: impl Into<String>, path: &Path) -> Material {
        Material { name: name.into(), content: Content::File(path.to_owned()) }
    }

    /// Bytes that are there already, and the field that holds them.
    pub(super) fn inline(name: impl Into<String>, bytes: Vec<u8>) -> Material {
        Material { name: name.into(), content: Content::Inline(bytes) }
    }

    /// The same, as a part of something.
    pub(super) fn of(self, whole: &str) -> Material {
        Material { name: format!("{} of {whole}", self.name), ..self }
    }

    /// The flag or field, and the file if there is one.
    pub(super) fn place(&self) -> String {
        match &self.content {
            Content::File(path) => format!("{} ({})", self.name, path.display()),
            Content::Inline(_) => self.name.clone(),
        }
    }

    /// The bytes as they are now.
    ///
    /// # Errors
    /// A file that cannot be read or is too large.
    pub(super) fn read(&self) -> Result<Vec<u8>, String> {
        match &self.content {
            Content::File(path) => {
                read(path).map_err(|error| format!("cannot read {}: {error}", self.place()))
            }
            Content::Inline(bytes) => Ok(bytes.clone()),
        }
    }
}

/// Whether a header is one that proves something. Others, such as the tenant's name, are not secret.
fn is_secret(name: &HeaderName) -> bool {
    let name = name.as_str();
    ["auth", "token", "key", "secret", "password", "cookie", "impersonate"]
        .iter()
        .any(|part| name.contains(part))
}

/// The user in the URL.
fn of_url(url: &Url) -> Result<Option<Credential>, String> {
    if url.username().is_empty() && url.password().is_none() {
        return Ok(None);
    }
    let decoded = |text: &str| percent_decode_str(text).decode_utf8_lossy().into_owned();
    let password = url.password().map(decoded).unwrap_or_default();
    Credential::basic("the user of --prometheus-url", &decoded(url.username()), &password).map(Some)
}

/// What Kubernetes mounts into a pod.
fn service_account(folder: &Path) -> Access {
    let name = "--prometheus-auth-incluster";
    let token = Material::file(name, &folder.join("token"));
    Access {
        trust: Trust::Authorities(Material::file(name, &folder.join("ca.crt"))),
        credentials: vec![Credential::token("the token of --prometheus-auth-incluster", token)],
        ..Access::none()
    }
}

/// A file of a size that certificates and tokens have.
pub(super) fn read(path: &Path) -> std::io::Result<Vec<u8>> {
    files::read(path, LARGEST_CREDENTIAL)
}

#[cfg(test)]
mod tests {
    use super::super::Proxies;
    use super::*;

    /// What is said of a Prometheus that is asked with a header.
    fn said(url: &str, header: Option<(&'static str, &'static str)>, proxies: Proxies) -> Vec<String> {
        let mut settings = PrometheusSettings::new(url.parse().expect("a URL"));
        settings.headers = header
            .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)))
            .into_iter()
            .collect();
        settings.proxies = proxies;
        Access::of(&settings).map(|access| access.notices).unwrap_or_default()
    }

    #[test]
    fn credentials_in_plain_http_are_warned_of() {
        let token = Some(("authorization", "Bearer t0p"));
        for (url, header, warned) in [
            ("http://prometheus:9090", token, true),
            ("http://user:pass@prometheus:9090", None, true),
            ("http://192.0.2.1:9090", Some(("x-api-key", "t0p")), true),
            ("https://prometheus:9090", token, false),
            ("http://prometheus:9090", None, false),
            ("http://prometheus:9090", Some(("x-scope-orgid", "team")), false),
            ("http://127.0.0.1:9090", token, false),
            ("http://[::1]:9090", token, false),
            ("http://localhost:9090", token, false),
        ] {
            let said = said(url, header, Proxies::default());
            assert_eq!(said.len(), usize::from(warned), "{url} {header:?}: {said:?}");
            assert!(!said.concat().contains("t0p") && !said.concat().contains("pass@"), "{said:?}");
        }
    }

    #[test]
    fn a_proxy_that_reads_the_credentials_is_named() {
        let token = Some(("authorization", "Bearer t0p"));
        let proxies = |no_proxy: &'static str| {
            Proxies::read(move |name| match name {
                "HTTP_PROXY" | "HTTPS_PROXY" => Some("http://proxy.corp:3128".to_owned()),
                "NO_PROXY" => Some(no_proxy.to_owned()),
                _ => None,
            })
        };
        for (url, no_proxy, named) in [
            ("http://prometheus:9090", "", true),
            // Inside TLS the proxy sees nothing.
            ("https://prometheus:9090", "", false),
            ("http://prometheus:9090", "prometheus", false),
            // Never asked for this machine, as in Go.
            ("http://127.0.0.1:9090", "", false),
            ("http://localhost:9090", "", false),
        ] {
            let said = said(url, token, proxies(no_proxy)).concat();
            assert_eq!(said.contains("proxy http://proxy.corp:3128"), named, "{url}: {said}");
        }
    }
}
