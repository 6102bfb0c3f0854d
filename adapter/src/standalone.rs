//! The files of standalone mode: a serving certificate for loopback with its key, and what a client needs: a kubeconfig
//! for `kubectl --kubeconfig FILE get --raw ...`, and for other clients the authority's certificate and a client
//! certificate with its key, `curl --cacert ca.crt --cert client.crt --key client.key ...`.
//!
//! Each start makes a new authority, so the files of an earlier run stop working with its server. The kubeconfig and
//! the keys are readable by their owner only. Without a given folder they lie in a temporary one, which is removed at
//! the end.

use std::fs::{self, DirBuilder, Permissions};
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, PermissionsExt as _};
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

use crate::host::{Host, HostError};
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
            own_folder(dir).map_err(|cause| AuthorityError::Write { path: dir.to_owned(), cause })?;
            (dir.to_owned(), None)
        } else {
            let temporary = tempfile::Builder::new()
                .prefix("adapter-standalone-")
                .permissions(Permissions::from_mode(OWN))
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

    /// What the server needs: objects that the scrape targets of `source` name, and callers who show a certificate of
    /// our own authority.
    ///
    /// # Errors
    /// The files made for it cannot be used.
    pub fn host(&self, source: Arc<dyn MetricSource>) -> Result<Host, HostError> {
        let serving = CertificateSource::Files { certificate: self.certificate(), key: self.key() };
        let authorities = Authorities::from_pem(self.authority.certificate().as_bytes())?;
        let authorities = Arc::new(ArcSwapOption::from_pointee(authorities));
        Ok(Host {
            reviews: Vec::new(),
            files: Vec::new(),
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

/// Makes a folder for this user alone, or takes one that others cannot write to: they could put another kubeconfig
/// there, with a command that its user then runs.
fn own_folder(dir: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(OWN).create(dir)?;
    let folder = fs::metadata(dir)?;
    // The owner of what is made there is this user.
    let probe = tempfile::tempfile_in(dir)?.metadata()?;
    if folder.uid() != probe.uid() {
        return Err(io::Error::new(
            io::ErrorKind::PermissionDenied,
            format!("expected a folder of user {}, found one of user {}", probe.uid(), folder.uid()),
        ));
    }
    if folder.mode() & WRITABLE_BY_OTHERS != 0 {
        return Err(io::Error::new(
            io::ErrorKind::PermissionDenied,
            format!(
                "expected a folder that others cannot write to, found the mode {:o}; chmod go-w mends it",
                folder.mode() & 0o7777
            ),
        ));
    }
    Ok(())
}

fn base64(bytes: &[u8]) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.encode(bytes)
}

const NAME: &str = "standalone";
const PUBLIC: u32 = 0o644;
const PRIVATE: u32 = 0o600;
const OWN: u32 = 0o700;
const WRITABLE_BY_OTHERS: u32 = 0o022;

#[cfg(test)]
mod tests {
    use std::os::unix::fs::chown;

    use serve::error_chain;
    use testkit::rows::each_row;

    use super::*;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).expect("it is there").mode() & 0o777
    }

    #[test]
    fn the_folder_by_default_is_the_users_own_and_is_removed() {
        let standalone = Standalone::prepare(None).expect("a folder");
        let dir = standalone.dir.clone();
        assert_eq!((mode(&dir), mode(&standalone.key())), (0o700, 0o600));
        drop(standalone);
        assert!(!dir.exists());
    }

    #[test]
    fn a_folder_of_others_is_refused() {
        let parent = tempfile::tempdir().expect("a folder");
        let dir = parent.path().join("new/deep");
        drop(Standalone::prepare(Some(&dir)).expect("a new folder"));
        assert_eq!(mode(&dir), 0o700);
        each_row([0o777, 0o770, 0o702, 0o1777], |bad| {
            fs::set_permissions(&dir, Permissions::from_mode(bad)).expect("ours");
            let error = error_chain(&Standalone::prepare(Some(&dir)).err().expect("writable by others"));
            assert!(error.contains("expected a folder that others cannot write to"), "{error}");
        });
        fs::set_permissions(&dir, Permissions::from_mode(0o755)).expect("ours");
        drop(Standalone::prepare(Some(&dir)).expect("others may read"));
        // Only root can give a folder away.
        if chown(&dir, Some(65534), None).is_ok() {
            let error = error_chain(&Standalone::prepare(Some(&dir)).err().expect("another's"));
            assert!(error.contains("found one of user 65534"), "{error}");
        }
    }
}
