//! What standalone mode leaves on disk: its own certificate authority, a serving certificate for loopback, and a
//! kubeconfig with a client certificate, so that plain `kubectl --kubeconfig FILE get --raw ...` works.
//!
//! Everything is made anew at each start, so a kubeconfig of an earlier run stops working with its server. The kubeconfig
//! and the keys are readable by their owner only.

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
use tokio::sync::watch;

use crate::app::{AppError, Host};
use crate::objects::scraped::ScrapedObjects;
use crate::source::MetricSource;

/// The files of one standalone run.
pub struct Standalone {
    dir: PathBuf,
    authority: Authority,
}

impl Standalone {
    /// Makes an authority and a serving certificate in `dir`.
    ///
    /// # Errors
    /// What cannot be written.
    pub fn prepare(dir: &Path) -> Result<Standalone, AuthorityError> {
        let standalone = Standalone { dir: dir.to_owned(), authority: Authority::new("standalone-ca")? };
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

    /// Writes the kubeconfig for a server that listens on `address`; returns its path.
    ///
    /// # Errors
    /// What cannot be written.
    pub fn write_kubeconfig(&self, address: SocketAddr) -> Result<PathBuf, AuthorityError> {
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
