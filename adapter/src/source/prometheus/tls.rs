//! TLS to Prometheus: which certificates are believed, and what we show of ourselves.
//!
//! Names and dates are always checked. Beside the certificates that its authorities signed, one that is in the bundle
//! of authorities itself is believed, as in Go: what signs itself is its own authority, and `WebPKI` alone would refuse
//! it.

use std::sync::{Arc, OnceLock};

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{WebPkiServerVerifier, verify_server_name};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme};
use x509_parser::prelude::{FromDer as _, X509Certificate};

use super::access::{Access, AccessError, Trust};

/// The contents of everything that TLS depends on.
#[derive(Hash)]
pub(super) struct TlsMaterial {
    trust: TrustMaterial,
    server_name: Option<String>,
    identity: Option<Identity>,
}

#[derive(Hash)]
enum TrustMaterial {
    System,
    /// PEM, and where it is from.
    Authorities(Vec<u8>, String),
    Anyone,
}

/// PEM, and where it is from.
#[derive(Hash)]
struct Identity {
    certificate: (Vec<u8>, String),
    key: (Vec<u8>, String),
}

/// Why TLS to Prometheus cannot be set up.
#[derive(Debug, thiserror::Error)]
pub(super) enum TlsError {
    /// The TLS library refuses its settings.
    #[error("cannot set up TLS")]
    Setup(#[source] rustls::Error),
    /// A bundle of authorities without one that can be used.
    #[error("expected PEM certificates in {place}, found {}", first(faults))]
    NoAuthorities {
        /// The flag or field and the file.
        place: String,
        faults: Vec<AuthorityError>,
    },
    /// The machine has no authorities.
    #[error(
        "this machine has no certificates of authorities{}; give those of Prometheus with --prometheus-ca-file, or \
         install ca-certificates",
        in_parentheses(faults)
    )]
    NoSystemAuthorities { faults: Vec<AuthorityError> },
    /// A name to look for in the certificate that is not one.
    #[error("expected a host name or an address in tls-server-name, found {0:?}")]
    ServerName(String),
    /// A client certificate that is not one.
    #[error("expected a PEM certificate in {place}, found none")]
    NoCertificate { place: String },
    /// A client's key that is not one.
    #[error("expected a PEM private key in {place}, found none")]
    NoKey { place: String },
    /// Two that do not belong together.
    #[error("expected the key of the certificate in {certificate}, found another in {key}")]
    OtherKey { certificate: String, key: String },
    /// Two that cannot be used.
    #[error("cannot use {certificate} with {key}")]
    Unusable {
        certificate: String,
        key: String,
        #[source]
        cause: rustls::Error,
    },
}

/// Why an authority's certificate is left out.
#[derive(Debug, thiserror::Error)]
pub(super) enum AuthorityError {
    #[error(transparent)]
    Pem(#[from] rustls::pki_types::pem::Error),
    #[error(transparent)]
    Certificate(#[from] rustls::Error),
    #[error(transparent)]
    System(#[from] rustls_native_certs::Error),
}

fn first(faults: &[AuthorityError]) -> String {
    faults.first().map_or_else(|| "none".to_owned(), ToString::to_string)
}

fn in_parentheses(faults: &[AuthorityError]) -> String {
    let texts: Vec<String> = faults.iter().map(ToString::to_string).collect();
    if texts.is_empty() { String::new() } else { format!(" ({})", texts.join("; ")) }
}

impl TlsMaterial {
    /// Reads what the access names.
    ///
    /// # Errors
    /// A file that cannot be read.
    pub(super) fn read(access: &Access) -> Result<TlsMaterial, AccessError> {
        let trust = match &access.trust {
            Trust::System => TrustMaterial::System,
            Trust::Authorities(material) => TrustMaterial::Authorities(material.read()?, material.place()),
            Trust::Anyone => TrustMaterial::Anyone,
        };
        let identity = match &access.identity {
            None => None,
            Some((certificate, key)) => Some(Identity {
                certificate: (certificate.read()?, certificate.place()),
                key: (key.read()?, key.place()),
            }),
        };
        Ok(TlsMaterial { trust, server_name: access.server_name.clone(), identity })
    }

    /// The configuration of a client. What is left out of a bundle of authorities is logged.
    ///
    /// # Errors
    /// Contents that are not what they should be.
    pub(super) fn client_config(&self) -> Result<ClientConfig, TlsError> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let verifier = Verifier {
            trusted: match &self.trust {
                TrustMaterial::System => Trusted::System(OnceLock::new()),
                TrustMaterial::Authorities(pem, place) => {
                    Trusted::Authorities(Authorities::of_bundle(pem, place, &provider)?)
                }
                TrustMaterial::Anyone => Trusted::Anyone,
            },
            name: self.server_name.as_deref().map(server_name).transpose()?,
            provider: Arc::clone(&provider),
        };
        let builder = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(TlsError::Setup)?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(verifier));
        let mut config = match &self.identity {
            None => builder.with_no_client_auth(),
            Some(Identity { certificate: (certificate, certificate_place), key: (key, key_place) }) => {
                let chain = CertificateDer::pem_slice_iter(certificate).collect::<Result<Vec<_>, _>>();
                let chain = chain
                    .ok()
                    .filter(|chain| !chain.is_empty())
                    .ok_or_else(|| TlsError::NoCertificate { place: certificate_place.clone() })?;
                let key = PrivateKeyDer::from_pem_slice(key)
                    .map_err(|_| TlsError::NoKey { place: key_place.clone() })?;
                builder.with_client_auth_cert(chain, key).map_err(|cause| {
                    let (certificate, key) = (certificate_place.clone(), key_place.clone());
                    match cause {
                        Error::InconsistentKeys(_) => TlsError::OtherKey { certificate, key },
                        cause => TlsError::Unusable { certificate, key, cause },
                    }
                })?
            }
        };
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(config)
    }
}

fn server_name(text: &str) -> Result<ServerName<'static>, TlsError> {
    ServerName::try_from(text.to_owned()).map_err(|_| TlsError::ServerName(text.to_owned()))
}

#[derive(Debug)]
struct Verifier {
    trusted: Trusted,
    /// The name to look for instead of the host's.
    name: Option<ServerName<'static>>,
    provider: Arc<CryptoProvider>,
}

#[derive(Debug)]
enum Trusted {
    Authorities(Authorities),
    /// Read with the first handshake: a machine without authorities can still speak plain HTTP.
    System(OnceLock<Result<Authorities, TlsError>>),
    Anyone,
}

#[derive(Debug)]
struct Authorities {
    certificates: Vec<CertificateDer<'static>>,
    verifier: Arc<WebPkiServerVerifier>,
}

impl Authorities {
    fn of_bundle(pem: &[u8], place: &str, provider: &Arc<CryptoProvider>) -> Result<Authorities, TlsError> {
        let mut faults = Vec::new();
        let read = CertificateDer::pem_slice_iter(pem);
        let certificates =
            read.filter_map(|read| read.map_err(|error| faults.push(error.into())).ok()).collect();
        let Some(authorities) = Authorities::new(certificates, &mut faults, provider) else {
            return Err(TlsError::NoAuthorities { place: place.to_owned(), faults });
        };
        if let Some(fault) = faults.first() {
            tracing::warn!(
                count = faults.len(),
                %fault,
                "cannot read some certificates in {place}; leaving them out"
            );
        }
        Ok(authorities)
    }

    /// What the machine knows: `SSL_CERT_FILE`, `SSL_CERT_DIR`, or what its distribution installs.
    fn of_system(provider: &Arc<CryptoProvider>) -> Result<Authorities, TlsError> {
        let found = rustls_native_certs::load_native_certs();
        let mut faults = found.errors.into_iter().map(AuthorityError::from).collect();
        let authorities = Authorities::new(found.certs, &mut faults, provider);
        authorities.ok_or(TlsError::NoSystemAuthorities { faults })
    }

    /// `None` when there is not a single usable certificate.
    fn new(
        certificates: Vec<CertificateDer<'static>>,
        faults: &mut Vec<AuthorityError>,
        provider: &Arc<CryptoProvider>,
    ) -> Option<Authorities> {
        let mut roots = RootCertStore::empty();
        let usable = |certificate: &CertificateDer<'static>| {
            roots.add(certificate.clone()).map_err(|error| faults.push(error.into())).is_ok()
        };
        let certificates: Vec<_> = certificates.into_iter().filter(usable).collect();
        let builder = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(provider));
        // It refuses only an empty store: there are no revocation lists.
        Some(Authorities { certificates, verifier: builder.build().ok()? })
    }
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let name = self.name.as_ref().unwrap_or(server_name);
        let authorities = match &self.trusted {
            Trusted::Anyone => return Ok(ServerCertVerified::assertion()),
            Trusted::Authorities(authorities) => authorities,
            Trusted::System(authorities) => authorities
                .get_or_init(|| Authorities::of_system(&self.provider))
                .as_ref()
                .map_err(|missing| Error::General(missing.to_string()))?,
        };
        let verified =
            authorities.verifier.verify_server_cert(end_entity, intermediates, name, ocsp_response, now);
        if verified.is_err() && authorities.certificates.iter().any(|known| known == end_entity) {
            return verify_itself(end_entity, name, now);
        }
        verified
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(
            message,
            certificate,
            signature,
            &self.provider.signature_verification_algorithms,
        )
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(
            message,
            certificate,
            signature,
            &self.provider.signature_verification_algorithms,
        )
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

/// Whether a certificate that is believed as it is serves under a name at a time. That its holder is there is proved by
/// the signature of the handshake.
fn verify_itself(
    certificate: &CertificateDer<'_>,
    name: &ServerName<'_>,
    now: UnixTime,
) -> Result<ServerCertVerified, Error> {
    verify_server_name(&ParsedCertificate::try_from(certificate)?, name)?;
    let (_, parsed) = X509Certificate::from_der(certificate)
        .map_err(|_| Error::InvalidCertificate(CertificateError::BadEncoding))?;
    let seconds = |time: x509_parser::time::ASN1Time| u64::try_from(time.timestamp()).unwrap_or_default();
    let (not_before, not_after) =
        (seconds(parsed.validity().not_before), seconds(parsed.validity().not_after));
    let unix = |seconds| UnixTime::since_unix_epoch(std::time::Duration::from_secs(seconds));
    let fault = if now.as_secs() < not_before {
        CertificateError::NotValidYetContext { time: now, not_before: unix(not_before) }
    } else if now.as_secs() > not_after {
        CertificateError::ExpiredContext { time: now, not_after: unix(not_after) }
    } else {
        match parsed.extended_key_usage() {
            Ok(Some(purposes)) if !purposes.value.any && !purposes.value.server_auth => {
                CertificateError::InvalidPurpose
            }
            Ok(_) => return Ok(ServerCertVerified::assertion()),
            Err(_) => CertificateError::BadEncoding,
        }
    };
    Err(Error::InvalidCertificate(fault))
}
