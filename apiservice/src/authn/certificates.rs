//! Callers by their client certificates.

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use http::HeaderName;
use http::request::Parts;

use super::authorities::{AuthoritiesHandle, Subject};
use super::{Authenticator, AuthnError, Credential, PeerCertificates, User};

/// Client certificates signed by given authorities: the subject's common name is the user, its organizations are the
/// groups.
pub struct ClientCertificates {
    authorities: AuthoritiesHandle,
}

impl ClientCertificates {
    /// Follows the authorities of a handle. While it has none, certificates mean nothing.
    pub fn new(authorities: AuthoritiesHandle) -> ClientCertificates {
        ClientCertificates { authorities }
    }

    async fn user(&self, peer: &PeerCertificates) -> Result<Option<User>, AuthnError> {
        let Some(authorities) = self.authorities.load_full() else { return Ok(None) };
        let Some(verified) = peer.verified(&authorities).await? else { return Ok(None) };
        let Subject { name, organizations } = &verified.subject;
        if name.is_empty() {
            return Ok(None);
        }
        let credential = Credential::Certificate;
        Ok(Some(User { name: name.clone(), groups: organizations.clone(), credential, ..User::default() }))
    }
}

impl Authenticator for ClientCertificates {
    fn authenticate<'a>(
        &'a self,
        _request: &'a Parts,
        peer: &'a PeerCertificates,
    ) -> BoxFuture<'a, Result<Option<User>, AuthnError>> {
        self.user(peer).boxed()
    }

    fn reads(&self, _: &HeaderName, _: &PeerCertificates) -> bool {
        false
    }
}
