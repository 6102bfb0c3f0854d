//! Client certificates: who signed them, and whom they name.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use arc_swap::ArcSwapOption;
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use http::request::Parts;
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, TrustAnchor, UnixTime};
use webpki::{EndEntityCert, KeyUsage, anchor_from_trusted_cert};
use x509_parser::prelude::{FromDer as _, X509Certificate};

use super::{Authenticator, AuthnError, PeerCertificates, User};

/// Authorities whose signature on a client certificate is good.
#[derive(Debug)]
pub struct Authorities {
    anchors: Vec<TrustAnchor<'static>>,
}

/// The authorities in force, swapped as a whole; none while they are not known.
pub type AuthoritiesHandle = Arc<ArcSwapOption<Authorities>>;

impl Authorities {
    /// Reads authorities from a PEM bundle.
    ///
    /// # Errors
    /// A text without a certificate, or with one that cannot be read.
    pub fn from_pem(bundle: &[u8]) -> Result<Authorities, AuthnError> {
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
        Ok(Authorities { anchors })
    }

    /// Checks that a chain leads to one of the authorities and is meant for clients.
    pub(super) fn verify(&self, chain: &[CertificateDer<'static>]) -> Result<(), webpki::Error> {
        let Some((own, intermediates)) = chain.split_first() else {
            return Err(webpki::Error::UnknownIssuer);
        };
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or(Duration::ZERO);
        let certificate = EndEntityCert::try_from(own)?;
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
    }
}

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

    fn user(&self, chain: &[CertificateDer<'static>]) -> Result<Option<User>, AuthnError> {
        let (Some(own), Some(authorities)) = (chain.first(), &*self.authorities.load()) else {
            return Ok(None);
        };
        authorities
            .verify(chain)
            .map_err(|error| AuthnError(format!("the client certificate is not good: {error}")))?;
        let subject = subject(own)?;
        if subject.name.is_empty() {
            return Ok(None);
        }
        Ok(Some(User { name: subject.name, groups: subject.organizations, ..User::default() }))
    }
}

impl Authenticator for ClientCertificates {
    fn authenticate<'a>(
        &'a self,
        _request: &'a Parts,
        peer: &'a PeerCertificates,
    ) -> BoxFuture<'a, Result<Option<User>, AuthnError>> {
        std::future::ready(self.user(&peer.0)).boxed()
    }
}

/// When a certificate ends; `None` when it cannot be read.
pub(crate) fn not_after(certificate: &CertificateDer<'_>) -> Option<SystemTime> {
    let (_, parsed) = X509Certificate::from_der(certificate).ok()?;
    let seconds = u64::try_from(parsed.validity().not_after.timestamp()).ok()?;
    Some(SystemTime::UNIX_EPOCH + Duration::from_secs(seconds))
}

/// Whom a certificate names.
pub(super) struct Subject {
    /// Empty when there is no common name.
    pub(super) name: String,
    pub(super) organizations: Vec<String>,
}

pub(super) fn subject(certificate: &CertificateDer<'_>) -> Result<Subject, AuthnError> {
    let (_, parsed) = X509Certificate::from_der(certificate)
        .map_err(|error| AuthnError(format!("the client certificate cannot be read: {error}")))?;
    let subject = parsed.subject();
    let texts = |attributes: &mut dyn Iterator<Item = &x509_parser::x509::AttributeTypeAndValue<'_>>| {
        attributes.filter_map(|attribute| attribute.as_str().ok().map(str::to_owned)).collect::<Vec<String>>()
    };
    Ok(Subject {
        name: texts(&mut subject.iter_common_name()).into_iter().next().unwrap_or_default(),
        organizations: texts(&mut subject.iter_organization()),
    })
}
