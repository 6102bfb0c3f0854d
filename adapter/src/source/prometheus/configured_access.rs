//! Where access to Prometheus comes from: flags, a kubeconfig, or the pod's service account.
//!
//! Of several credentials one is used, in the order in which upstream's HTTP client comes to them: the header flag, the
//! user in the URL, the token file, the kubeconfig or the service account.

use std::net::IpAddr;
use std::path::Path;

use http::HeaderName;
use http::header::AUTHORIZATION;
use percent_encoding::percent_decode_str;
use reqwest::Url;

use super::access::{Access, Credential, Material, Trust};
use super::settings::{KubernetesAuth, PrometheusSettings};

/// What the settings say, on top of what their kubeconfig gives.
pub(super) fn configured_access(settings: &PrometheusSettings, kubeconfig: Option<Access>) -> Access {
    let mut access = match (kubeconfig, &settings.auth) {
        (Some(access), _) => access,
        (None, Some(KubernetesAuth::ServiceAccount(folder))) => service_account(folder),
        (None, _) => Access::none(),
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
            credentials.push(Credential::header("the Authorization of --prometheus-header", value.clone()));
        }
    }
    credentials.extend(of_url(&settings.url));
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
    access.notices.extend(in_the_clear(&access, settings));
    access
}

/// Who can read the credentials on their way: by plain HTTP everybody between, and a proxy among them. What stays
/// on this machine is not on its way.
fn in_the_clear(access: &Access, settings: &PrometheusSettings) -> Option<String> {
    if settings.url.scheme() != "http" {
        return None;
    }
    let named = access.credentials.first().map(|credential| credential.name.clone());
    let what = named.or_else(|| {
        let secret = access.headers.iter().find(|(name, _)| is_secret(name))?;
        Some(format!("the header {}", secret.0))
    })?;
    // One that cannot be used is refused with the client.
    let proxy = access.proxy.as_ref().or_else(|| settings.proxies.proxy_for(&settings.url).ok().flatten());
    if let Some(proxy) = proxy {
        return Some(format!(
            "{what} is sent to the proxy {proxy} in plain HTTP: it, and every hop in between, can read it; expected https \
             in --prometheus-url, or the host in NO_PROXY"
        ));
    }
    let host = settings.url.host_str().unwrap_or_default().trim_matches(['[', ']']);
    let is_local = host == "localhost"
        || host.ends_with(".localhost")
        || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback());
    (!is_local).then(|| {
        format!(
            "{what} is sent in plain HTTP: every hop on the way to Prometheus can read it; expected https in \
             --prometheus-url"
        )
    })
}

/// Whether a header is one that proves something. Others, such as the tenant's name, are not secret.
fn is_secret(name: &HeaderName) -> bool {
    let name = name.as_str();
    ["auth", "token", "key", "secret", "password", "cookie", "impersonate"]
        .iter()
        .any(|part| name.contains(part))
}

/// The user in the URL.
fn of_url(url: &Url) -> Option<Credential> {
    if url.username().is_empty() && url.password().is_none() {
        return None;
    }
    let decoded = |text: &str| percent_decode_str(text).decode_utf8_lossy().into_owned();
    let password = url.password().map(decoded).unwrap_or_default();
    Some(Credential::basic("the user of --prometheus-url", &decoded(url.username()), &password))
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

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use testkit::rows::each_row;

    use super::super::Proxies;
    use super::*;

    /// The notices on a Prometheus that is asked with a header.
    fn said(url: &str, header: Option<(&'static str, &'static str)>, proxies: Proxies) -> Vec<String> {
        let mut settings = PrometheusSettings::new(url.parse().expect("a URL"));
        settings.headers = header
            .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)))
            .into_iter()
            .collect();
        settings.proxies = proxies;
        configured_access(&settings, None).notices
    }

    #[test]
    fn credentials_in_plain_http_are_warned_of() {
        let token = Some(("authorization", "Bearer t0p"));
        let rows = [
            ("http://prometheus:9090", token, true),
            ("http://user:pass@prometheus:9090", None, true),
            ("http://192.0.2.1:9090", Some(("x-api-key", "t0p")), true),
            ("https://prometheus:9090", token, false),
            ("http://prometheus:9090", None, false),
            ("http://prometheus:9090", Some(("x-scope-orgid", "team")), false),
            ("http://127.0.0.1:9090", token, false),
            ("http://[::1]:9090", token, false),
            ("http://localhost:9090", token, false),
        ];
        each_row(rows, |(url, header, warned)| {
            let said = said(url, header, Proxies::default());
            assert_eq!(said.len(), usize::from(warned), "{url} {header:?}: {said:?}");
            assert!(!said.concat().contains("t0p") && !said.concat().contains("pass@"), "{said:?}");
        });
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
        let rows = [
            ("http://prometheus:9090", "", true),
            // Inside TLS the proxy sees nothing.
            ("https://prometheus:9090", "", false),
            ("http://prometheus:9090", "prometheus", false),
            // Never asked for this machine, as in Go.
            ("http://127.0.0.1:9090", "", false),
            ("http://localhost:9090", "", false),
        ];
        each_row(rows, |(url, no_proxy, named)| {
            let said = said(url, token, proxies(no_proxy)).concat();
            assert_eq!(said.contains("proxy http://proxy.corp:3128"), named, "{url}: {said}");
        });
    }
}
