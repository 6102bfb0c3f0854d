//! The server's certificate and TLS settings (contract, section 9).
//!
//! Files are polled by content, since the kubelet swaps mounted Secrets by a symbolic link, and a new pair is taken only
//! when certificate and key belong together: between the two writes of a rotation the old pair stays.

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::{CryptoProvider, WebPkiSupportedAlgorithms, ring};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::{
    DigitallySignedStruct, DistinguishedName, ServerConfig, SignatureScheme, SupportedProtocolVersion,
};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, UnixTime};

use crate::authority::{self, AuthorityError};

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
        /// Names that the certificate is good for, besides `localhost`.
        names: Vec<String>,
        /// Addresses that it is good for, besides `127.0.0.1`.
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
    #[error("cannot read {path}: {cause}", path = path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The operating system's reason.
        cause: std::io::Error,
    },
    /// A file holds something else.
    #[error("expected {expected} in PEM form in {path}: {cause}", path = path.display())]
    Pem {
        /// What the file should hold.
        expected: &'static str,
        /// The file.
        path: PathBuf,
        /// The parser's reason.
        cause: String,
    },
    /// The two do not belong together, or the key is of a kind that cannot be used.
    #[error("the key {key} does not go with the certificate {certificate}: {cause}", key = key.display(), certificate = certificate.display())]
    Mismatch {
        /// The certificate's file.
        certificate: PathBuf,
        /// The key's file.
        key: PathBuf,
        /// The reason.
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
    #[error("none of the cipher suites {0:?} is supported, expected at least one of {1:?}")]
    NoCipherSuite(Vec<String>, Vec<String>),
    /// The settings contradict each other.
    #[error("these TLS settings do not work: {0}")]
    Settings(#[from] rustls::Error),
}

/// The serving certificate in force.
pub struct ServingCertificate {
    /// `None` for a certificate that its owner replaces.
    files: Option<(PathBuf, PathBuf)>,
    current: ArcSwap<CertifiedKey>,
}

impl ServingCertificate {
    /// Reads the certificate, or makes one.
    ///
    /// # Errors
    /// Files that cannot be read, hold something else or do not belong together.
    pub fn load(source: &CertificateSource) -> Result<Arc<ServingCertificate>, TlsError> {
        let files = match source {
            CertificateSource::Files { certificate, key } => (certificate.clone(), key.clone()),
            CertificateSource::Generated { dir, names, addresses } => {
                let files = (dir.join("apiserver.crt"), dir.join("apiserver.key"));
                match (files.0.exists(), files.1.exists()) {
                    (true, true) => {}
                    (false, false) => authority::write_self_signed(&files.0, &files.1, names, addresses)?,
                    (true, false) => return Err(TlsError::HalfAPair { found: files.0, missing: files.1 }),
                    (false, true) => return Err(TlsError::HalfAPair { found: files.1, missing: files.0 }),
                }
                files
            }
        };
        let key = read_pair(&files.0, &files.1)?;
        Ok(Arc::new(ServingCertificate { files: Some(files), current: ArcSwap::from_pointee(key) }))
    }

    /// A certificate that does not come from files: PEM, its chain behind it.
    ///
    /// # Errors
    /// Texts that hold something else or do not belong together.
    pub fn issued(certificate: &str, key: &str) -> Result<Arc<ServingCertificate>, TlsError> {
        let key = pair(certificate.as_bytes(), key.as_bytes(), Path::new("certificate"), Path::new("key"))?;
        Ok(Arc::new(ServingCertificate { files: None, current: ArcSwap::from_pointee(key) }))
    }

    /// Takes another certificate for the handshakes that follow.
    ///
    /// # Errors
    /// As [`ServingCertificate::issued`]; the pair in force stays.
    pub fn replace(&self, certificate: &str, key: &str) -> Result<(), TlsError> {
        let key = pair(certificate.as_bytes(), key.as_bytes(), Path::new("certificate"), Path::new("key"))?;
        self.current.store(Arc::new(key));
        Ok(())
    }

    /// Polls the files for ever and takes each new matching pair for the handshakes that follow.
    pub async fn follow(self: Arc<Self>, every: Duration) {
        let Some((certificate, _)) = &self.files else { return std::future::pending().await };
        let mut reported = false;
        loop {
            tokio::time::sleep(every).await;
            match self.reload() {
                Ok(changed) => {
                    if changed {
                        tracing::info!(certificate = %certificate.display(), "serving certificate reloaded");
                    }
                    reported = false;
                }
                Err(error) if !reported => {
                    tracing::warn!(%error, "the serving certificate in use stays");
                    reported = true;
                }
                Err(_) => {}
            }
        }
    }

    /// Takes a new matching pair from the files; says whether there was one.
    ///
    /// # Errors
    /// As [`ServingCertificate::load`]; the pair in force stays.
    pub fn reload(&self) -> Result<bool, TlsError> {
        let Some((certificate, key)) = &self.files else { return Ok(false) };
        let key = read_pair(certificate, key)?;
        if key.cert == self.current.load().cert {
            return Ok(false);
        }
        self.current.store(Arc::new(key));
        Ok(true)
    }

    /// The certificate in force, its own first.
    pub fn chain(&self) -> Vec<CertificateDer<'static>> {
        self.current.load().cert.clone()
    }
}

impl std::fmt::Debug for ServingCertificate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ServingCertificate").field("files", &self.files).finish_non_exhaustive()
    }
}

impl ResolvesServerCert for ServingCertificate {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.current.load_full())
    }
}

/// The configuration for the TLS acceptor. Client certificates are asked for, never demanded.
///
/// # Errors
/// Settings that leave nothing to speak.
pub fn server_config(
    certificate: Arc<ServingCertificate>,
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
    // The flag names TLS 1.2 suites; those of 1.3 cannot be chosen, as in Go.
    let name = |suite: &rustls::SupportedCipherSuite| format!("{:?}", suite.suite());
    let is_tls13 = |suite: &rustls::SupportedCipherSuite| suite.tls13().is_some();
    let known: Vec<String> =
        provider.cipher_suites.iter().filter(|suite| !is_tls13(suite)).map(name).collect();
    let wanted: Vec<&String> =
        settings.cipher_suites.iter().filter(|wanted| known.contains(wanted)).collect();
    for unknown in settings.cipher_suites.iter().filter(|wanted| !known.contains(wanted)) {
        tracing::warn!(suite = %unknown, "this cipher suite is not supported and is left out");
    }
    if wanted.is_empty() {
        return Err(TlsError::NoCipherSuite(settings.cipher_suites.clone(), known));
    }
    provider.cipher_suites.retain(|suite| is_tls13(suite) || wanted.contains(&&name(suite)));
    Ok(provider)
}

fn read_pair(certificate: &Path, key: &Path) -> Result<CertifiedKey, TlsError> {
    let read =
        |path: &Path| std::fs::read(path).map_err(|cause| TlsError::Read { path: path.to_owned(), cause });
    pair(&read(certificate)?, &read(key)?, certificate, key)
}

/// The paths are for messages.
fn pair(
    certificate_pem: &[u8],
    key_pem: &[u8],
    certificate: &Path,
    key: &Path,
) -> Result<CertifiedKey, TlsError> {
    let pem = |expected, path: &Path, cause: String| TlsError::Pem { expected, path: path.to_owned(), cause };
    let chain = CertificateDer::pem_slice_iter(certificate_pem)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| pem("a certificate", certificate, error.to_string()))?;
    if chain.is_empty() {
        return Err(pem("a certificate", certificate, "found none".to_owned()));
    }
    let private = PrivateKeyDer::from_pem_slice(key_pem)
        .map_err(|error| pem("a private key", key, error.to_string()))?;
    // Checks that the two belong together.
    CertifiedKey::from_der(chain, private, &ring::default_provider()).map_err(|cause| TlsError::Mismatch {
        certificate: certificate.to_owned(),
        key: key.to_owned(),
        cause,
    })
}

/// Takes every client certificate whose holder proves to have its key; its chain is judged by the authenticators.
#[derive(Debug)]
struct AnyClientCertificate {
    algorithms: WebPkiSupportedAlgorithms,
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
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
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
