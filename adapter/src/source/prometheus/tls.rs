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

use super::access::{Access, Trust};

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

impl TlsMaterial {
    /// Reads what the access names.
    ///
    /// # Errors
    /// A file that cannot be read.
    pub(super) fn read(access: &Access) -> Result<TlsMaterial, String> {
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
    pub(super) fn client_config(&self) -> Result<ClientConfig, String> {
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
            .map_err(|error| format!("cannot set up TLS: {error}"))?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(verifier));
        let mut config = match &self.identity {
            None => builder.with_no_client_auth(),
            Some(Identity { certificate: (certificate, certificate_place), key: (key, key_place) }) => {
                let chain = CertificateDer::pem_slice_iter(certificate).collect::<Result<Vec<_>, _>>();
                let chain = chain.ok().filter(|chain| !chain.is_empty()).ok_or_else(|| {
                    format!("expected a PEM certificate in {certificate_place}, found none")
                })?;
                let key = PrivateKeyDer::from_pem_slice(key)
                    .map_err(|_| format!("expected a PEM private key in {key_place}, found none"))?;
                builder.with_client_auth_cert(chain, key).map_err(|error| match error {
                    Error::InconsistentKeys(_) => format!(
                        "expected the key of the certificate in {certificate_place}, found another in {key_place}"
                    ),
                    error => format!("cannot use {certificate_place} with {key_place}: {error}"),
                })?
            }
        };
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(config)
    }
}

fn server_name(text: &str) -> Result<ServerName<'static>, String> {
    ServerName::try_from(text.to_owned())
        .map_err(|_| format!("expected a host name or an address in tls-server-name, found {text:?}"))
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
    System(OnceLock<Result<Authorities, String>>),
    Anyone,
}

#[derive(Debug)]
struct Authorities {
    certificates: Vec<CertificateDer<'static>>,
    verifier: Arc<WebPkiServerVerifier>,
}

impl Authorities {
    fn of_bundle(pem: &[u8], place: &str, provider: &Arc<CryptoProvider>) -> Result<Authorities, String> {
        let mut faults = Vec::new();
        let read = CertificateDer::pem_slice_iter(pem);
        let certificates =
            read.filter_map(|read| read.map_err(|error| faults.push(error.to_string())).ok()).collect();
        let authorities = Authorities::new(certificates, &mut faults, provider).ok_or_else(|| {
            let found = faults.first().map_or("none", String::as_str);
            format!("expected PEM certificates in {place}, found {found}")
        })?;
        if let Some(fault) = faults.first() {
            tracing::warn!(
                count = faults.len(),
                fault,
                "cannot read some certificates in {place}; leaving them out"
            );
        }
        Ok(authorities)
    }

    /// What the machine knows: `SSL_CERT_FILE`, `SSL_CERT_DIR`, or what its distribution installs.
    fn of_system(provider: &Arc<CryptoProvider>) -> Result<Authorities, String> {
        let found = rustls_native_certs::load_native_certs();
        let mut faults: Vec<String> = found.errors.iter().map(ToString::to_string).collect();
        Authorities::new(found.certs, &mut faults, provider).ok_or_else(|| {
            let faults = if faults.is_empty() { String::new() } else { format!(" ({})", faults.join("; ")) };
            format!(
                "this machine has no certificates of authorities{faults}; give those of Prometheus with \
                 --prometheus-ca-file, or install ca-certificates"
            )
        })
    }

    /// `None` when there is not a single usable certificate.
    fn new(
        certificates: Vec<CertificateDer<'static>>,
        faults: &mut Vec<String>,
        provider: &Arc<CryptoProvider>,
    ) -> Option<Authorities> {
        let mut roots = RootCertStore::empty();
        let usable = |certificate: &CertificateDer<'static>| {
            roots.add(certificate.clone()).map_err(|error| faults.push(error.to_string())).is_ok()
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
                .map_err(|missing| Error::General(missing.clone()))?,
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
