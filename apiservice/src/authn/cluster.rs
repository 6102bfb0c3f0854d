//! How a cluster authenticates, as its ConfigMap `kube-system/extension-apiserver-authentication` says
//! (`docs/contract.md#front-proxy`). Followed as long as the program runs: authorities rotate.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures_util::{StreamExt as _, pin_mut};
use http::HeaderName;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::Api;
use kube::runtime::WatchStreamExt as _;
use kube::runtime::utils::Backoff;
use kube::runtime::watcher::{self, DefaultBackoff, Event, watcher};
use serve::error_chain;

use super::error::AuthoritiesError;
use super::{Authorities, AuthoritiesHandle, FrontProxyHandle, FrontProxySettings};
use crate::health::CheckHandle;

/// Why a value of the ConfigMap cannot be used.
#[derive(Debug, thiserror::Error)]
enum SettingsError {
    #[error(transparent)]
    Authorities(#[from] AuthoritiesError),
    #[error("{key}: expected a JSON list of strings")]
    NoList {
        key: &'static str,
        #[source]
        cause: serde_json::Error,
    },
    #[error("{key}: expected a header's name, found {name:?}")]
    NoHeader { key: &'static str, name: String },
}

/// The parts that are taken from the ConfigMap: those that the command line does not give.
#[derive(Debug, Clone, Default)]
pub struct ClusterAuthentication {
    /// Where the front proxy's settings go.
    pub front_proxy: Option<FrontProxyHandle>,
    /// Where the authorities of client certificates go.
    pub client_authorities: Option<AuthoritiesHandle>,
}

impl ClusterAuthentication {
    /// Reads the ConfigMap and follows it. `read` passes once it was read, or is known not to exist; with
    /// `tolerate`, also when it cannot be read. An invalid value leaves the previous one in use.
    pub async fn follow(self, client: kube::Client, read: CheckHandle, tolerate: bool) {
        let api: Api<ConfigMap> = Api::namespaced(client, NAMESPACE);
        let config = watcher::Config::default().fields(&format!("metadata.name={NAME}"));
        let events = watcher(api, config).backoff(Pauses::default());
        pin_mut!(events);
        let mut is_listed = false;
        while let Some(event) = events.next().await {
            match event {
                Ok(Event::Apply(map)) => self.take(&map.data.unwrap_or_default()),
                Ok(Event::Init) => is_listed = false,
                Ok(Event::InitApply(map)) => {
                    is_listed = true;
                    self.take(&map.data.unwrap_or_default());
                }
                Ok(Event::InitDone) => {
                    // Deleted while the watch was interrupted, or never there.
                    if !is_listed {
                        self.forget();
                    }
                    read.pass();
                }
                Ok(Event::Delete(_)) => self.forget(),
                Err(error) => {
                    tracing::error!(
                        error = %error_chain(&error),
                        "cannot read the ConfigMap {NAMESPACE}/{NAME}; grant the Role \
                         extension-apiserver-authentication-reader in {NAMESPACE}"
                    );
                    if tolerate {
                        read.pass();
                    }
                }
            }
        }
    }

    /// What is no longer published is no longer trusted (D47): a deleted ConfigMap publishes nothing. kube-apiserver
    /// makes it again within a minute.
    fn forget(&self) {
        tracing::warn!(
            "ConfigMap {NAMESPACE}/{NAME} not found; rejecting front proxies and client certificates until it exists"
        );
        self.take(&BTreeMap::new());
    }

    fn take(&self, data: &BTreeMap<String, String>) {
        if let Some(handle) = &self.front_proxy {
            match front_proxy(data) {
                Ok(settings) => handle.store(settings.map(Arc::new)),
                Err(error) => {
                    tracing::error!(error = %error_chain(&error), "cannot load the front proxy settings of {NAMESPACE}/{NAME}; keeping the previous ones");
                }
            }
        }
        if let Some(handle) = &self.client_authorities {
            match data
                .get("client-ca-file")
                .map(|bundle| Authorities::from_pem(bundle.as_bytes()))
                .transpose()
            {
                Ok(authorities) => handle.store(authorities.map(Arc::new)),
                Err(error) => {
                    tracing::error!(error = %error_chain(&error), "cannot load client-ca-file of {NAMESPACE}/{NAME}; keeping the previous authorities");
                }
            }
        }
        if let (Some(front_proxy), Some(clients)) = (&self.front_proxy, &self.client_authorities) {
            warn_if_clients_are_proxies(front_proxy, clients);
        }
        tracing::info!("authentication settings of the cluster loaded");
    }
}

/// Logs a warning where every client certificate makes its holder a front proxy, who may speak for anybody: no names of
/// proxies are set, and an authority of clients also signs for proxies. Upstream takes such settings too.
pub fn warn_if_clients_are_proxies(front_proxy: &FrontProxyHandle, clients: &AuthoritiesHandle) {
    let (settings, clients) = (front_proxy.load(), clients.load());
    if let (Some(settings), Some(clients)) = (&*settings, &*clients)
        && are_clients_proxies(settings, clients)
    {
        tracing::warn!(
            "every client certificate can impersonate every user: no allowed names of front proxies are set, and a client CA \
             also signs for front proxies; set requestheader-allowed-names or use two CAs"
        );
    }
}

fn are_clients_proxies(settings: &FrontProxySettings, clients: &Authorities) -> bool {
    settings.allowed_names.is_empty() && settings.authorities.overlap(clients)
}

/// The usual pauses between tries, but for the longest: until the settings are read again after an outage,
/// kube-apiserver is not believed if its authority was rotated meanwhile.
#[derive(Default)]
struct Pauses(DefaultBackoff);

impl Iterator for Pauses {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        Some(self.0.next()?.min(LONGEST_PAUSE))
    }
}

impl Backoff for Pauses {
    fn reset(&mut self) {
        self.0.reset();
    }
}

/// The front proxy's settings; `None` when the cluster has no front proxy.
fn front_proxy(data: &BTreeMap<String, String>) -> Result<Option<FrontProxySettings>, SettingsError> {
    let Some(bundle) = data.get("requestheader-client-ca-file") else { return Ok(None) };
    Ok(Some(FrontProxySettings {
        authorities: Authorities::from_pem(bundle.as_bytes())?,
        allowed_names: list(data, "requestheader-allowed-names")?,
        username_headers: headers(data, "requestheader-username-headers")?,
        group_headers: headers(data, "requestheader-group-headers")?,
        uid_headers: headers(data, "requestheader-uid-headers")?,
        extra_prefixes: list(data, "requestheader-extra-headers-prefix")?
            .iter()
            .map(|prefix| prefix.to_lowercase())
            .collect(),
    }))
}

fn list(data: &BTreeMap<String, String>, key: &'static str) -> Result<Vec<String>, SettingsError> {
    match data.get(key).map(String::as_str) {
        // Older clusters lack the keys of newer ones.
        None | Some("") => Ok(Vec::new()),
        Some(text) => serde_json::from_str(text).map_err(|cause| SettingsError::NoList { key, cause }),
    }
}

fn headers(data: &BTreeMap<String, String>, key: &'static str) -> Result<Vec<HeaderName>, SettingsError> {
    list(data, key)?
        .iter()
        .map(|name| {
            HeaderName::try_from(name).map_err(|_| SettingsError::NoHeader { key, name: name.clone() })
        })
        .collect()
}

const NAMESPACE: &str = "kube-system";
const NAME: &str = "extension-apiserver-authentication";
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::authority::Authority;

    #[test]
    fn clients_that_are_proxies_by_their_authority_are_found() {
        let (one, other) = (Authority::new("one").expect("a key"), Authority::new("other").expect("a key"));
        let authorities = |of: &[&Authority]| {
            let bundle: String = of.iter().map(|authority| authority.certificate()).collect();
            Authorities::from_pem(bundle.as_bytes()).expect("a bundle")
        };
        for (proxies, names, clients, expected) in [
            (&[&one][..], "[]", &[&one][..], true),
            (&[&one, &other], "[]", &[&other], true),
            (&[&one], "[]", &[&other], false),
            (&[&one], r#"["front-proxy-client"]"#, &[&one], false),
        ] {
            let bundle: String = proxies.iter().map(|authority| authority.certificate()).collect();
            let data = [("requestheader-client-ca-file", &*bundle), ("requestheader-allowed-names", names)];
            let data = data.map(|(key, value)| (key.to_owned(), value.to_owned())).into();
            let settings = front_proxy(&data).expect("settings").expect("a front proxy");
            assert_eq!(are_clients_proxies(&settings, &authorities(clients)), expected, "{names}");
        }
    }
}
