//! The front proxy: kube-apiserver, which has authenticated the caller and says in headers who it is
//! (`docs/contract.md#front-proxy`). Believed only with a client certificate of the proxies' own authority.

use std::collections::BTreeMap;
use std::sync::Arc;

use arc_swap::ArcSwapOption;
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use http::request::Parts;
use http::{HeaderMap, HeaderName};
use percent_encoding::percent_decode_str;

use super::{Authenticator, AuthnError, Authorities, Credential, PeerCertificates, User};
use crate::query::well_escaped;

/// Which proxies are believed, and which of their headers say what.
#[derive(Debug)]
pub struct FrontProxySettings {
    /// Who signs the certificates of proxies.
    pub authorities: Authorities,
    /// Common names of proxies; empty means any.
    pub allowed_names: Vec<String>,
    /// The first of these that is not empty names the user.
    pub username_headers: Vec<HeaderName>,
    /// Every value of each of these is a group.
    pub group_headers: Vec<HeaderName>,
    /// The first of these that is not empty is the user's identifier.
    pub uid_headers: Vec<HeaderName>,
    /// A header that begins so holds an extra; the rest of its name is the extra's key. Lower-case.
    pub extra_prefixes: Vec<String>,
}

/// The current settings; none while they are not known.
pub type FrontProxyHandle = Arc<ArcSwapOption<FrontProxySettings>>;

/// Believes front proxies.
pub struct FrontProxy(FrontProxyHandle);

impl FrontProxy {
    /// Follows the settings of a handle. While it has none, the headers mean nothing.
    pub fn new(settings: FrontProxyHandle) -> FrontProxy {
        FrontProxy(settings)
    }

    async fn user(&self, headers: &HeaderMap, peer: &PeerCertificates) -> Result<Option<User>, AuthnError> {
        let Some(settings) = self.0.load_full() else { return Ok(None) };
        let Some(verified) = peer.verified(&settings.authorities).await? else { return Ok(None) };
        let proxy = &verified.subject.name;
        if !settings.allowed_names.is_empty() && !settings.allowed_names.contains(proxy) {
            return Err(AuthnError::ProxyName { name: proxy.clone() });
        }
        Ok(settings.user(headers))
    }
}

impl FrontProxySettings {
    fn user(&self, headers: &HeaderMap) -> Option<User> {
        Some(User {
            name: first(headers, &self.username_headers)?,
            uid: first(headers, &self.uid_headers).unwrap_or_default(),
            groups: self.group_headers.iter().flat_map(|name| values(headers, name)).collect(),
            extra: self.extra(headers),
            credential: Credential::Certificate,
        })
    }

    fn reads(&self, name: &HeaderName) -> bool {
        let named = [&self.username_headers, &self.group_headers, &self.uid_headers];
        named.into_iter().flatten().any(|of| of == name)
            || self.extra_prefixes.iter().any(|prefix| name.as_str().starts_with(prefix.as_str()))
    }

    fn extra(&self, headers: &HeaderMap) -> BTreeMap<String, Vec<String>> {
        let mut extra: BTreeMap<String, Vec<String>> = BTreeMap::new();
        // Header names are lower-case here, whatever was sent.
        for name in headers.keys() {
            let key =
                self.extra_prefixes.iter().find_map(|prefix| name.as_str().strip_prefix(prefix.as_str()));
            if let Some(key) = key {
                extra.entry(decoded(key)).or_default().extend(values(headers, name));
            }
        }
        extra
    }
}

impl Authenticator for FrontProxy {
    fn authenticate<'a>(
        &'a self,
        request: &'a Parts,
        peer: &'a PeerCertificates,
    ) -> BoxFuture<'a, Result<Option<User>, AuthnError>> {
        self.user(&request.headers, peer).boxed()
    }

    fn reads(&self, name: &HeaderName, peer: &PeerCertificates) -> bool {
        // Without a certificate no front proxy is believed.
        let settings = self.0.load();
        !peer.is_empty() && settings.as_ref().is_some_and(|settings| settings.reads(name))
    }
}

fn first(headers: &HeaderMap, names: &[HeaderName]) -> Option<String> {
    names.iter().find_map(|name| values(headers, name).next().filter(|value| !value.is_empty()))
}

fn values<'a>(headers: &'a HeaderMap, name: &HeaderName) -> impl Iterator<Item = String> + use<'a> {
    headers.get_all(name).iter().map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned())
}

/// A key is escaped where a header's name cannot hold it; what is not an escape stays as it is.
fn decoded(key: &str) -> String {
    if !well_escaped(key) {
        return key.to_owned();
    }
    percent_decode_str(key).decode_utf8().map_or_else(|_| key.to_owned(), std::borrow::Cow::into_owned)
}
