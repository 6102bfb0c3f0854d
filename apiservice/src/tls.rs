//! The server's certificate and TLS settings (`docs/contract.md#tls`).
//!
//! Files are polled by content, since the kubelet swaps mounted Secrets by a symbolic link, and a new pair is taken
//! only when certificate and key belong together: between the two writes of a rotation the old pair stays.

mod serving;
mod sni;

use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;

use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::{CryptoProvider, WebPkiSupportedAlgorithms, ring};
use rustls::server::ResolvesServerCert;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, OtherError, ServerConfig, SignatureScheme,
    SupportedProtocolVersion,
};
use rustls_pki_types::{CertificateDer, UnixTime};

use crate::authority::AuthorityError;

pub use serving::ServingCertificate;
pub use sni::{NamedCertificate, NamedCertificates, ParseNamedError};

/// Where the serving certificate comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CertificateSource {
    /// PEM files; the certificate may bring its chain.
    Files {
        /// The certificate.
        certificate: PathBuf,
        /// Its key.
        key: PathBuf,
    },
    /// `apiserver.crt` and `apiserver.key` in a directory: used if both are there, made if neither is.
    Generated {
        /// The directory; created if missing.
        dir: PathBuf,
        /// Names that the certificate is valid for, besides `localhost`.
        names: Vec<String>,
        /// Addresses that it is valid for, besides `127.0.0.1`.
        addresses: Vec<IpAddr>,
    },
}

/// How TLS is spoken.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TlsSettings {
    /// Refuse TLS 1.2.
    pub only_tls13: bool,
    /// IANA names of the TLS 1.2 suites to offer; empty offers all that are safe. Names that this server lacks are
    /// ignored as long as one is left (D20).
    pub cipher_suites: Vec<String>,
    /// Offer HTTP/1.1 only.
    pub http1_only: bool,
}

/// Why TLS could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file could not be read.
    #[error("cannot read {path}", path = path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The operating system's reason.
        #[source]
        cause: std::io::Error,
    },
    /// A file holds something else.
    #[error("expected {expected} in PEM form in {path}", path = path.display())]
    Pem {
        /// What the file should hold.
        expected: &'static str,
        /// The file.
        path: PathBuf,
        /// The parser's reason.
        #[source]
        cause: rustls_pki_types::pem::Error,
    },
    /// A file holds no certificate.
    #[error("expected a certificate in PEM form in {path}, found none", path = path.display())]
    NoCertificate {
        /// The file.
        path: PathBuf,
    },
    /// The two do not belong together, or the key is of a kind that cannot be used.
    #[error("key {key} does not match certificate {certificate}", key = key.display(), certificate = certificate.display())]
    Mismatch {
        /// The certificate's file.
        certificate: PathBuf,
        /// The key's file.
        key: PathBuf,
        /// The reason.
        #[source]
        cause: rustls::Error,
    },
    /// Only one of the two files of a directory is there.
    #[error("found {found} without {missing}: expected both or neither", found = found.display(), missing = missing.display())]
    HalfAPair {
        /// The file that is there.
        found: PathBuf,
        /// The file that is not.
        missing: PathBuf,
    },
    /// A certificate could not be made.
    #[error(transparent)]
    Authority(#[from] AuthorityError),
    /// None of the cipher suites asked for is known.
    #[error("expected at least one of the cipher suites {1:?}, found {0:?}")]
    NoCipherSuite(Vec<String>, Vec<String>),
    /// The settings contradict each other.
    #[error("invalid TLS settings")]
    Settings(#[from] rustls::Error),
}

/// The configuration for the TLS acceptor. Client certificates are asked for, never demanded.
///
/// # Errors
/// Settings that leave nothing to speak.
pub fn server_config(
    certificate: Arc<dyn ResolvesServerCert>,
    settings: &TlsSettings,
) -> Result<Arc<ServerConfig>, TlsError> {
    let provider = Arc::new(provider(settings)?);
    let versions: &[&SupportedProtocolVersion] =
        if settings.only_tls13 { &[&rustls::version::TLS13] } else { rustls::ALL_VERSIONS };
    let verifier = AnyClientCertificate { algorithms: provider.signature_verification_algorithms };
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(versions)?
        .with_client_cert_verifier(Arc::new(verifier))
        .with_cert_resolver(certificate);
    config.alpn_protocols = if settings.http1_only {
        vec![b"http/1.1".to_vec()]
    } else {
        vec![b"h2".to_vec(), b"http/1.1".to_vec()]
    };
    Ok(Arc::new(config))
}

fn provider(settings: &TlsSettings) -> Result<CryptoProvider, TlsError> {
    let mut provider = ring::default_provider();
    if settings.cipher_suites.is_empty() {
        return Ok(provider);
    }
    let name = |suite: &rustls::SupportedCipherSuite| format!("{:?}", suite.suite());
    let is_tls13 = |suite: &rustls::SupportedCipherSuite| suite.tls13().is_some();
    let known: Vec<String> =
        provider.cipher_suites.iter().filter(|suite| !is_tls13(suite)).map(name).collect();
    let asked: Vec<&str> = settings.cipher_suites.iter().map(|suite| full_name(suite.trim())).collect();
    // The flag chooses among suites of TLS 1.2; those of 1.3 cannot be chosen, as in Go, and are always there.
    let (always, asked): (Vec<&str>, Vec<&str>) =
        asked.into_iter().partition(|name| TLS13_SUITES.contains(name));
    let (wanted, missing): (Vec<&str>, Vec<&str>) =
        asked.into_iter().partition(|name| known.iter().any(|known| known == name));
    for suite in missing {
        tracing::warn!(suite, "cipher suite not supported; leaving it out");
    }
    if wanted.is_empty() && always.is_empty() {
        return Err(TlsError::NoCipherSuite(settings.cipher_suites.clone(), known));
    }
    provider.cipher_suites.retain(|suite| is_tls13(suite) || wanted.contains(&name(suite).as_str()));
    Ok(provider)
}

/// Go takes these two names without their ending too.
fn full_name(suite: &str) -> &str {
    match suite {
        "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305" => "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256",
        "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305" => "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256",
        _ => suite,
    }
}

const TLS13_SUITES: [&str; 3] =
    ["TLS_AES_128_GCM_SHA256", "TLS_AES_256_GCM_SHA384", "TLS_CHACHA20_POLY1305_SHA256"];

/// Takes every client certificate of a bounded chain whose holder proves to have its key; the chain is verified by the
/// authenticators.
#[derive(Debug)]
struct AnyClientCertificate {
    algorithms: WebPkiSupportedAlgorithms,
}

/// A client certificate's chain that is too long to be kept and verified.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "expected at most {MOST_CERTIFICATES} client certificates of {LONGEST_CHAIN} bytes together, \
     found {certificates} of {bytes}"
)]
struct ChainTooLong {
    certificates: usize,
    bytes: usize,
}

fn check_length(own: &CertificateDer<'_>, intermediates: &[CertificateDer<'_>]) -> Result<(), ChainTooLong> {
    let certificates = 1 + intermediates.len();
    let bytes = own.len() + intermediates.iter().map(|certificate| certificate.len()).sum::<usize>();
    if certificates <= MOST_CERTIFICATES && bytes <= LONGEST_CHAIN {
        return Ok(());
    }
    Err(ChainTooLong { certificates, bytes })
}

impl ClientCertVerifier for AnyClientCertificate {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn client_auth_mandatory(&self) -> bool {
        false
    }

    fn verify_client_cert(
        &self,
        own: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        check_length(own, intermediates)
            .map_err(|error| CertificateError::Other(OtherError(Arc::new(error))))?;
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls12_signature(message, certificate, signature, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls13_signature(message, certificate, signature, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

/// More than a leaf and the authorities above it: Kubernetes' own callers send one or two.
const MOST_CERTIFICATES: usize = 8;
/// For all of them; one of the cluster's has 1 KiB. Every connection keeps what its client sent.
const LONGEST_CHAIN: usize = 16 << 10;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chain_is_bounded_in_certificates_and_bytes() {
        let of = |bytes: usize| CertificateDer::from(vec![0; bytes]);
        let (seven, eight) = (vec![of(1); 7], vec![of(1); 8]);
        assert_eq!(check_length(&of(1), &seven), Ok(()));
        let error = check_length(&of(1), &eight).expect_err("nine");
        assert_eq!(
            error.to_string(),
            "expected at most 8 client certificates of 16384 bytes together, found 9 of 9"
        );
        assert_eq!(check_length(&of(LONGEST_CHAIN), &[]), Ok(()));
        assert!(check_length(&of(LONGEST_CHAIN), &[of(1)]).is_err());
    }
}
