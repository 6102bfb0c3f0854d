//! Step 2 of a request: authentication of the caller (`docs/contract.md#authentication`).
//!
//! The TLS layer takes any client certificate of a bounded chain whose handshake signature is valid. Whether the chain
//! means anything is verified here, once for a connection, so that a bad certificate is a 401 and not a broken
//! connection.

mod authorities;
mod authority_file;
mod certificates;
mod cluster;
mod error;
mod front_proxy;
mod peer;
mod token;

use std::collections::BTreeMap;
use std::sync::Arc;

use futures_util::future::BoxFuture;
use http::HeaderName;
use http::request::Parts;

pub(crate) use authorities::not_after;
pub use authorities::{Authorities, AuthoritiesHandle};
pub use authority_file::follow_authorities;
pub use certificates::ClientCertificates;
pub use cluster::{ClusterAuthentication, warn_if_clients_are_proxies};
pub use error::{AuthnError, AuthoritiesError};
pub use front_proxy::{FrontProxy, FrontProxyHandle, FrontProxySettings};
pub use peer::PeerCertificates;
pub use token::TokenReviews;

/// A caller.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct User {
    /// The user's name.
    pub name: String,
    /// An identifier that outlives the name; empty when there is none.
    pub uid: String,
    /// The groups the user is in.
    pub groups: Vec<String>,
    /// What else the authenticator knows.
    pub extra: BTreeMap<String, Vec<String>>,
    /// How the caller was verified.
    pub credential: Credential,
}

/// How a caller was authenticated. It decides which limits on access reviews they share.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Credential {
    /// Not at all, or in a way that says nothing about floods.
    #[default]
    None,
    /// By a bearer token.
    Token,
    /// By a client certificate, their own or that of a front proxy which speaks for them.
    Certificate,
}

/// Identifies the caller of a request.
pub trait Authenticator: Send + Sync + 'static {
    /// The caller; `None` when the request holds no credential of this kind; an error when it holds a bad one.
    fn authenticate<'a>(
        &'a self,
        request: &'a Parts,
        peer: &'a PeerCertificates,
    ) -> BoxFuture<'a, Result<Option<User>, AuthnError>>;

    /// Whether it reads a header of a client with such certificates. Headers that nothing reads are not kept of large
    /// heads.
    fn reads(&self, name: &HeaderName, peer: &PeerCertificates) -> bool;
}

/// Asks authenticators in order; the first success wins.
///
/// When none succeeds, a bad credential is an error even if another kind was absent; a request without any credential
/// is anonymous. Everybody who is not anonymous is also in the group of the authenticated. A front proxy passes on its
/// own anonymous callers as such, and they stay what they are.
pub struct Union(Vec<Arc<dyn Authenticator>>);

impl Union {
    /// Authenticators, tried in order.
    pub fn new(authenticators: Vec<Arc<dyn Authenticator>>) -> Union {
        Union(authenticators)
    }

    /// Whether any of them reads a header of a client with such certificates.
    pub(crate) fn reads(&self, name: &HeaderName, peer: &PeerCertificates) -> bool {
        self.0.iter().any(|authenticator| authenticator.reads(name, peer))
    }

    /// The caller of a request.
    ///
    /// # Errors
    /// A credential was shown and none was valid.
    pub async fn user(&self, request: &Parts, peer: &PeerCertificates) -> Result<User, AuthnError> {
        let mut refused = None;
        for authenticator in &self.0 {
            match authenticator.authenticate(request, peer).await {
                Ok(Some(mut user)) => {
                    let is_told = |group: &String| group == AUTHENTICATED || group == UNAUTHENTICATED;
                    if user.name != ANONYMOUS && !user.groups.iter().any(is_told) {
                        user.groups.push(AUTHENTICATED.to_owned());
                    }
                    return Ok(user);
                }
                Ok(None) => {}
                // A credential that was not looked at may be valid.
                Err(error) if error.is_busy() => refused = Some(error),
                Err(error) => {
                    refused.get_or_insert(error);
                }
            }
        }
        match refused {
            Some(error) => Err(error),
            None => Ok(User {
                name: ANONYMOUS.to_owned(),
                groups: vec![UNAUTHENTICATED.to_owned()],
                ..User::default()
            }),
        }
    }
}

/// The name of a caller without credentials.
pub const ANONYMOUS: &str = "system:anonymous";
/// The group of callers without credentials.
pub const UNAUTHENTICATED: &str = "system:unauthenticated";
/// The group of every caller with a valid credential.
pub const AUTHENTICATED: &str = "system:authenticated";
