//! The files of standalone mode: a serving certificate for loopback with its key, and what a client needs: a kubeconfig for
//! `kubectl --kubeconfig FILE get --raw ...`, and for other clients the authority's certificate and a client certificate with
//! its key, `curl --cacert ca.crt --cert client.crt --key client.key ...`.
//!
//! Each start makes a new authority, so the files of an earlier run stop working with its server. The kubeconfig and the
//! keys are readable by their owner only. Without a given folder they lie in a temporary one, which is removed at the end.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use apiservice::authn::{Authorities, ClientCertificates};
use apiservice::authority::{Authority, AuthorityError, write};
use apiservice::authz::MASTERS;
use apiservice::tls::{CertificateSource, ServingCertificate};
use arc_swap::ArcSwapOption;
use futures_util::FutureExt as _;
use serde_json::json;
use tempfile::TempDir;
use tokio::sync::watch;

use crate::app::{AppError, Host};
use crate::objects::scraped::ScrapedObjects;
use crate::source::MetricSource;

/// The files of one standalone run.
pub struct Standalone {
    dir: PathBuf,
    /// The same folder, where it is removed at the end.
    _temporary: Option<TempDir>,
    authority: Authority,
}

impl Standalone {
    /// Makes an authority and a serving certificate in `dir`, or in a new temporary folder.
    ///
    /// # Errors
    /// What cannot be written.
    pub fn prepare(dir: Option<&Path>) -> Result<Standalone, AuthorityError> {
        let (dir, temporary) = if let Some(dir) = dir {
            (dir.to_owned(), None)
        } else {
            let temporary = tempfile::Builder::new()
                .prefix("adapter-standalone-")
                .tempdir()
                .map_err(|cause| AuthorityError::Write { path: std::env::temp_dir(), cause })?;
            (temporary.path().to_owned(), Some(temporary))
        };
        let authority = Authority::new("standalone-ca")?;
        let standalone = Standalone { dir, _temporary: temporary, authority };
        let addresses = [IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)];
        let serving = standalone.authority.issue_server("adapter", &["localhost".to_owned()], &addresses)?;
        write(&standalone.certificate(), &serving.certificate, PUBLIC)?;
        write(&standalone.key(), &serving.key, PRIVATE)?;
        Ok(standalone)
    }

    /// What the server needs: objects that the scrape targets of `source` name, and callers who show a certificate of our
    /// own authority.
    ///
    /// # Errors
    /// The files made for it cannot be used.
    pub fn host(&self, source: Arc<dyn MetricSource>) -> Result<Host, AppError> {
        let serving = CertificateSource::Files { certificate: self.certificate(), key: self.key() };
        let authorities = Authorities::from_pem(self.authority.certificate().as_bytes())?;
        let authorities = Arc::new(ArcSwapOption::from_pointee(authorities));
        Ok(Host {
            objects: Arc::new(ScrapedObjects::new(source)),
            // Kinds are the built-in ones and never change.
            kinds_changed: watch::channel(()).1,
            ready: std::future::ready(()).boxed(),
            authenticators: vec![Arc::new(ClientCertificates::new(authorities))],
            authorizers: Vec::new(),
            certificate: ServingCertificate::load(&serving)?,
        })
    }

    /// Writes the client's files for a server that listens on `address`; returns the path of the kubeconfig.
    ///
    /// # Errors
    /// What cannot be written.
    pub fn write_client_files(&self, address: SocketAddr) -> Result<PathBuf, AuthorityError> {
        let user = self.authority.issue_client("standalone-admin", &[MASTERS])?;
        // JSON is YAML, and leaves no quoting to get wrong.
        let kubeconfig = json!({
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": NAME, "cluster": {
                "server": format!("https://{address}"),
                "certificate-authority-data": base64(self.authority.certificate().as_bytes()),
            }}],
            "users": [{"name": NAME, "user": {
                "client-certificate-data": base64(user.certificate.as_bytes()),
                "client-key-data": base64(user.key.as_bytes()),
            }}],
            "contexts": [{"name": NAME, "context": {"cluster": NAME, "user": NAME}}],
            "current-context": NAME,
        });
        write(&self.dir.join("ca.crt"), self.authority.certificate(), PUBLIC)?;
        write(&self.dir.join("client.crt"), &user.certificate, PUBLIC)?;
        write(&self.dir.join("client.key"), &user.key, PRIVATE)?;
        let path = self.dir.join("kubeconfig");
        write(&path, &format!("{kubeconfig:#}\n"), PRIVATE)?;
        Ok(path)
    }

    fn certificate(&self) -> PathBuf {
        self.dir.join("serving.crt")
    }

    fn key(&self) -> PathBuf {
        self.dir.join("serving.key")
    }
}

fn base64(bytes: &[u8]) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.encode(bytes)
}

const NAME: &str = "standalone";
const PUBLIC: u32 = 0o644;
const PRIVATE: u32 = 0o600;
