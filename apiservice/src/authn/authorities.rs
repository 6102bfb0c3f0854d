//! Certificate authorities, and the users that their client certificates name.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use arc_swap::ArcSwapOption;
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, TrustAnchor, UnixTime};
use webpki::{EndEntityCert, KeyUsage, anchor_from_trusted_cert};
use x509_parser::der_parser::asn1_rs::Tag;
use x509_parser::prelude::{FromDer as _, X509Certificate};
use x509_parser::x509::AttributeTypeAndValue;

use super::error::{AuthnError, AuthoritiesError};

/// Certificate authorities that may sign client certificates. Cheap to clone; clones are the same generation.
#[derive(Debug, Clone)]
pub struct Authorities {
    anchors: Arc<[TrustAnchor<'static>]>,
    generation: u64,
    verified: Arc<AtomicU64>,
}

/// A client certificate whose chain leads to an authority.
#[derive(Debug)]
pub(super) struct Verified {
    pub(super) subject: Subject,
    /// When the first certificate of the chain expires.
    pub(super) until: SystemTime,
}

/// The current authorities, swapped as a whole; none while they are not known.
pub type AuthoritiesHandle = Arc<ArcSwapOption<Authorities>>;

impl Authorities {
    /// Reads authorities from a PEM bundle.
    ///
    /// # Errors
    /// A text without a certificate, or with one that cannot be read.
    pub fn from_pem(bundle: &[u8]) -> Result<Authorities, AuthoritiesError> {
        let mut anchors = Vec::new();
        for certificate in CertificateDer::pem_slice_iter(bundle) {
            let certificate = certificate.map_err(AuthoritiesError::Pem)?;
            let anchor = anchor_from_trusted_cert(&certificate).map_err(AuthoritiesError::Certificate)?;
            anchors.push(anchor.to_owned());
        }
        if anchors.is_empty() {
            return Err(AuthoritiesError::Empty);
        }
        Ok(Authorities {
            anchors: anchors.into(),
            generation: GENERATIONS.fetch_add(1, Ordering::Relaxed),
            verified: Arc::default(),
        })
    }

    /// How many chains were verified against these authorities, whatever came of it.
    pub fn verifications(&self) -> u64 {
        self.verified.load(Ordering::Relaxed)
    }

    /// No two sets of authorities have the same one, even with the same content.
    pub(super) fn generation(&self) -> u64 {
        self.generation
    }

    /// Whether one of these is also one of others.
    pub(super) fn overlap(&self, others: &Authorities) -> bool {
        self.anchors.iter().any(|anchor| others.anchors.contains(anchor))
    }

    /// Checks that a chain leads to one of the authorities and is meant for clients. This can take tens of
    /// milliseconds.
    ///
    /// # Errors
    /// No such chain, or a subject that is not text.
    pub(super) fn verify(&self, chain: &[CertificateDer<'static>]) -> Result<Verified, AuthnError> {
        self.verified.fetch_add(1, Ordering::Relaxed);
        let (own, until) = self.verified_path(chain).map_err(AuthnError::Chain)?;
        let until = until.ok_or_else(|| AuthnError::certificate("unreadable validity"))?;
        Ok(Verified { subject: subject(own)?, until })
    }

    fn verified_path<'a>(
        &self,
        chain: &'a [CertificateDer<'static>],
    ) -> Result<(&'a CertificateDer<'static>, Option<SystemTime>), webpki::Error> {
        let (own, intermediates) = chain.split_first().ok_or(webpki::Error::UnknownIssuer)?;
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or(Duration::ZERO);
        let certificate = EndEntityCert::try_from(own)?;
        let path = certificate.verify_for_usage(
            webpki::ALL_VERIFICATION_ALGS,
            &self.anchors,
            intermediates,
            UnixTime::since_unix_epoch(now),
            KeyUsage::client_auth(),
            None,
            None,
        )?;
        let mut until = not_after(own);
        for intermediate in path.intermediate_certificates() {
            // `None` is less than any time: what cannot be read is not trusted.
            until = until.min(not_after(&intermediate.der()));
        }
        Ok((own, until))
    }
}

/// When a certificate ends; `None` when it cannot be read.
pub(crate) fn not_after(certificate: &CertificateDer<'_>) -> Option<SystemTime> {
    let (_, parsed) = X509Certificate::from_der(certificate).ok()?;
    let seconds = u64::try_from(parsed.validity().not_after.timestamp()).ok()?;
    Some(SystemTime::UNIX_EPOCH + Duration::from_secs(seconds))
}

/// The user that a certificate names.
#[derive(Debug)]
pub(super) struct Subject {
    /// The last common name, as Go takes it; empty when there is none.
    pub(super) name: String,
    pub(super) organizations: Vec<String>,
}

fn subject(certificate: &CertificateDer<'_>) -> Result<Subject, AuthnError> {
    let (_, parsed) = X509Certificate::from_der(certificate)
        .map_err(|error| AuthnError::Certificate(format!("unreadable: {error}")))?;
    let subject = parsed.subject();
    let names = subject.iter_common_name().map(|name| text(name, "common name"));
    let organizations = subject.iter_organization().map(|name| text(name, "organization"));
    Ok(Subject {
        // All are read: a second name that is not text would be seen by others.
        name: names.collect::<Result<Vec<_>, _>>()?.pop().unwrap_or_default(),
        organizations: organizations.collect::<Result<_, _>>()?,
    })
}

/// The text of an attribute in one of the forms that Go reads.
fn text(attribute: &AttributeTypeAndValue<'_>, what: &str) -> Result<String, AuthnError> {
    let value = attribute.attr_value();
    let text = match value.tag() {
        Tag::BmpString if value.data.len().is_multiple_of(2) => {
            let units = value.data.chunks_exact(2).map(|pair| u16::from_be_bytes([pair[0], pair[1]]));
            char::decode_utf16(units).collect::<Result<String, _>>().ok()
        }
        // Go reads it as Latin-1; only what is the same in all of its readings is read here.
        Tag::T61String if value.data.is_ascii() => String::from_utf8(value.data.to_vec()).ok(),
        _ => attribute.as_str().ok().map(str::to_owned),
    };
    text.ok_or_else(|| {
        AuthnError::Certificate(format!(
            "expected text as {what}, found {} bytes of ASN.1 type {}",
            value.data.len(),
            value.tag()
        ))
    })
}

static GENERATIONS: AtomicU64 = AtomicU64::new(0);
