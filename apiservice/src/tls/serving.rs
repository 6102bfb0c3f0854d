//! A certificate to serve with: read from files and followed there, made once, or replaced by its owner.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use rustls::crypto::ring;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use serve::files::{self, LARGEST_CREDENTIAL};
use serve::{FileName, FileStats, FollowedFile};
use tokio::sync::Mutex;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer as _, X509Certificate};

use super::{CertificateSource, TlsError};
use crate::authority;

/// The current serving certificate.
pub struct ServingCertificate {
    /// `None` for a certificate that its owner replaces.
    files: Option<Files>,
    current: ArcSwap<Pair>,
}

/// The certificate and its key as files.
struct Files {
    followed: Mutex<FollowedFile<Pair>>,
    stats: Arc<FileStats>,
}

/// A certificate with its key, and the names in it.
struct Pair {
    key: Arc<CertifiedKey>,
    names: Vec<String>,
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
        let place = files.0.display().to_string();
        let (certificate, key) = files.clone();
        let read = move || Ok((read(&certificate)?, read(&key)?));
        let (certificate, key) = files;
        let parse = move |(certificate_pem, key_pem): (Vec<u8>, Vec<u8>)| {
            pair(&certificate_pem, &key_pem, &certificate, &key)
        };
        let (followed, pair) = FollowedFile::open(NAME, place, read, parse)?;
        let files = Files { stats: followed.stats(), followed: Mutex::new(followed) };
        Ok(Arc::new(ServingCertificate { files: Some(files), current: ArcSwap::from_pointee(pair) }))
    }

    /// A certificate that does not come from files: PEM, followed by its chain.
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
    /// As [`ServingCertificate::issued`]; the pair in use stays.
    pub fn replace(&self, certificate: &str, key: &str) -> Result<(), TlsError> {
        let key = pair(certificate.as_bytes(), key.as_bytes(), Path::new("certificate"), Path::new("key"))?;
        self.current.store(Arc::new(key));
        Ok(())
    }

    /// What became of the files; `None` for a certificate that its owner replaces.
    pub fn stats(&self) -> Option<Arc<FileStats>> {
        self.files.as_ref().map(|files| Arc::clone(&files.stats))
    }

    /// Polls the files until the program ends and takes each new matching pair for the handshakes that follow.
    pub async fn follow(self: Arc<Self>, every: Duration) {
        if self.files.is_none() {
            return std::future::pending().await;
        }
        loop {
            tokio::time::sleep(every).await;
            self.reload().await;
        }
    }

    /// Takes a new matching pair from the files. A broken one leaves the pair in use.
    pub async fn reload(&self) -> bool {
        let Some(files) = &self.files else { return false };
        let pair = files.followed.lock().await.look().await;
        let is_new = pair.is_some();
        if let Some(pair) = pair {
            self.current.store(Arc::new(pair));
        }
        is_new
    }

    pub(super) fn key(&self) -> Arc<CertifiedKey> {
        Arc::clone(&self.current.load().key)
    }

    /// Whether a name, in lower case, is among those in the certificate.
    pub(super) fn names(&self, name: &str) -> bool {
        self.current.load().names.iter().any(|other| other == name)
    }

    /// The current certificate, its own first.
    pub fn chain(&self) -> Vec<CertificateDer<'static>> {
        self.current.load().key.cert.clone()
    }
}

impl std::fmt::Debug for ServingCertificate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let stats = self.files.as_ref().map(|files| &files.stats);
        f.debug_struct("ServingCertificate").field("files", &stats).finish_non_exhaustive()
    }
}

impl ResolvesServerCert for ServingCertificate {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.key())
    }
}

fn read(path: &Path) -> Result<Vec<u8>, TlsError> {
    files::read(path, LARGEST_CREDENTIAL).map_err(|cause| TlsError::Read { path: path.to_owned(), cause })
}

/// The paths are for messages.
fn pair(certificate_pem: &[u8], key_pem: &[u8], certificate: &Path, key: &Path) -> Result<Pair, TlsError> {
    let pem = |expected, path: &Path, cause| TlsError::Pem { expected, path: path.to_owned(), cause };
    let chain = CertificateDer::pem_slice_iter(certificate_pem)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| pem("a certificate", certificate, error))?;
    if chain.is_empty() {
        return Err(TlsError::NoCertificate { path: certificate.to_owned() });
    }
    let private = PrivateKeyDer::from_pem_slice(key_pem).map_err(|error| pem("a private key", key, error))?;
    // Checks that the two belong together.
    let checked = CertifiedKey::from_der(chain, private, &ring::default_provider());
    let key = checked.map_err(|cause| TlsError::Mismatch {
        certificate: certificate.to_owned(),
        key: key.to_owned(),
        cause,
    })?;
    Ok(Pair { names: names(&key), key: Arc::new(key) })
}

/// The DNS names in a certificate, in lower case: its alternative names, and its common name as Kubernetes still reads
/// it.
fn names(key: &CertifiedKey) -> Vec<String> {
    let parsed = key.cert.first().and_then(|own| X509Certificate::from_der(own).ok());
    let Some((_, own)) = parsed else { return Vec::new() };
    let common = own.subject().iter_common_name().filter_map(|name| name.as_str().ok());
    let alternative = own.subject_alternative_name().ok().flatten();
    let alternative = alternative.iter().flat_map(|names| &names.value.general_names);
    let alternative = alternative.filter_map(|name| match name {
        GeneralName::DNSName(name) => Some(*name),
        _ => None,
    });
    common.chain(alternative).map(str::to_lowercase).collect()
}

const NAME: FileName =
    FileName { label: "serving-certificate", file: "serving certificate", kept: "the previous certificate" };
