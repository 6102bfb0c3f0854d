//! Step 2 of a request: who is asking (contract, section 8.1 to 8.3).
//!
//! The TLS layer takes any client certificate whose handshake signature is good; whether its chain means anything is
//! judged here, so that a bad certificate is a 401 and not a broken connection.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use http::request::Parts;
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, TrustAnchor, UnixTime};
use webpki::{EndEntityCert, KeyUsage, anchor_from_trusted_cert};
use x509_parser::prelude::{FromDer as _, X509Certificate};

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
}

/// The certificates that the client showed in the TLS handshake, its own first. Empty when it showed none.
#[derive(Debug, Clone, Default)]
pub struct PeerCertificates(pub Arc<Vec<CertificateDer<'static>>>);

/// Why a credential that was shown is not good.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct AuthnError(pub String);

/// One way to tell who is asking.
pub trait Authenticator: Send + Sync + 'static {
    /// The caller; `None` when the request holds no credential of this kind; an error when it holds a bad one.
    fn authenticate<'a>(
        &'a self,
        request: &'a Parts,
        peer: &'a PeerCertificates,
    ) -> BoxFuture<'a, Result<Option<User>, AuthnError>>;
}

/// Asks authenticators in order; the first success wins.
///
/// When none succeeds, a bad credential is an error even if another kind was absent; a request without any credential
/// is anonymous. Everybody who is not anonymous is also in the group of the authenticated.
pub struct Union(Vec<Arc<dyn Authenticator>>);

impl Union {
    /// Authenticators in the order in which they are asked.
    pub fn new(authenticators: Vec<Arc<dyn Authenticator>>) -> Union {
        Union(authenticators)
    }

    /// Who is asking.
    ///
    /// # Errors
    /// A credential was shown and none was good.
    pub async fn user(&self, request: &Parts, peer: &PeerCertificates) -> Result<User, AuthnError> {
        let mut refused = None;
        for authenticator in &self.0 {
            match authenticator.authenticate(request, peer).await {
                Ok(Some(mut user)) => {
                    if !user.groups.iter().any(|group| group == AUTHENTICATED) {
                        user.groups.push(AUTHENTICATED.to_owned());
                    }
                    return Ok(user);
                }
                Ok(None) => {}
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

/// Client certificates signed by given authorities: the subject's common name is the user, its organizations are the
/// groups.
pub struct ClientCertificates {
    anchors: Vec<TrustAnchor<'static>>,
}

impl ClientCertificates {
    /// Reads the authorities from a PEM bundle.
    ///
    /// # Errors
    /// A text without a certificate, or with one that cannot be read.
    pub fn from_pem(bundle: &[u8]) -> Result<ClientCertificates, AuthnError> {
        let mut anchors = Vec::new();
        for certificate in CertificateDer::pem_slice_iter(bundle) {
            let certificate =
                certificate.map_err(|error| AuthnError(format!("no PEM certificate: {error}")))?;
            let anchor = anchor_from_trusted_cert(&certificate)
                .map_err(|error| AuthnError(format!("no authority's certificate: {error}")))?;
            anchors.push(anchor.to_owned());
        }
        if anchors.is_empty() {
            return Err(AuthnError("expected at least one PEM certificate, found none".to_owned()));
        }
        Ok(ClientCertificates { anchors })
    }

    fn verify(&self, chain: &[CertificateDer<'static>]) -> Result<Option<User>, AuthnError> {
        let Some((own, intermediates)) = chain.split_first() else { return Ok(None) };
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or(Duration::ZERO);
        let refuse =
            |error: webpki::Error| AuthnError(format!("the client certificate is not good: {error}"));
        EndEntityCert::try_from(own)
            .and_then(|certificate| {
                certificate.verify_for_usage(
                    webpki::ALL_VERIFICATION_ALGS,
                    &self.anchors,
                    intermediates,
                    UnixTime::since_unix_epoch(now),
                    KeyUsage::client_auth(),
                    None,
                    None,
                )?;
                Ok(())
            })
            .map_err(refuse)?;
        user_of(own)
    }
}

impl Authenticator for ClientCertificates {
    fn authenticate<'a>(
        &'a self,
        _request: &'a Parts,
        peer: &'a PeerCertificates,
    ) -> BoxFuture<'a, Result<Option<User>, AuthnError>> {
        std::future::ready(self.verify(&peer.0)).boxed()
    }
}

fn user_of(certificate: &CertificateDer<'_>) -> Result<Option<User>, AuthnError> {
    let (_, parsed) = X509Certificate::from_der(certificate)
        .map_err(|error| AuthnError(format!("the client certificate cannot be read: {error}")))?;
    let subject = parsed.subject();
    let texts = |attributes: &mut dyn Iterator<Item = &x509_parser::x509::AttributeTypeAndValue<'_>>| {
        attributes.filter_map(|attribute| attribute.as_str().ok().map(str::to_owned)).collect::<Vec<String>>()
    };
    let name = texts(&mut subject.iter_common_name()).into_iter().next().unwrap_or_default();
    if name.is_empty() {
        return Ok(None);
    }
    Ok(Some(User { name, groups: texts(&mut subject.iter_organization()), ..User::default() }))
}

/// The name of a caller without credentials.
pub const ANONYMOUS: &str = "system:anonymous";
/// The group of callers without credentials.
pub const UNAUTHENTICATED: &str = "system:unauthenticated";
/// The group of everybody who showed a good credential.
pub const AUTHENTICATED: &str = "system:authenticated";
