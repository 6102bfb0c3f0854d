//! Certificate authorities in a file.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use serve::files::{self, LARGEST_CREDENTIAL};
use serve::{FileName, FileStats, FollowedFile};

use super::Authorities;
use super::error::AuthoritiesError;

/// Reads authorities from a PEM file, stores them, and does so again whenever the file changes. A broken edit leaves
/// those in use.
///
/// # Errors
/// The file cannot be used at start.
pub fn follow_authorities(
    name: FileName,
    path: PathBuf,
    every: Duration,
    mut store: impl FnMut(Authorities) + Send + 'static,
) -> Result<(Arc<FileStats>, impl Future<Output = ()> + Send), AuthoritiesError> {
    let place = path.display().to_string();
    let (read_path, parsed_path) = (path.clone(), path);
    let read = move || {
        files::read(&read_path, LARGEST_CREDENTIAL)
            .map_err(|cause| AuthoritiesError::Read { path: read_path.clone(), cause })
    };
    let parse = move |bundle: Vec<u8>| {
        Authorities::from_pem(&bundle)
            .map_err(|cause| AuthoritiesError::File { path: parsed_path.clone(), cause: Box::new(cause) })
    };
    let (file, authorities) = FollowedFile::open(name, place, read, parse)?;
    store(authorities);
    Ok((file.stats(), file.follow(every, store)))
}

#[cfg(test)]
mod tests {
    use rustls_pki_types::CertificateDer;
    use rustls_pki_types::pem::PemObject as _;

    use super::*;
    use crate::authority::{Authority, write};

    const NAME: FileName =
        FileName { label: "client-ca", file: "client CA file", kept: "the previous authorities" };

    #[tokio::test]
    async fn authorities_in_a_file_are_followed() {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("ca.crt");
        let (first, second) =
            (Authority::new("first").expect("a key"), Authority::new("second").expect("a key"));
        let verifies = |authorities: &Authorities, authority: &Authority| {
            let issued = authority.issue_client("somebody", &[]).expect("a key");
            let own = CertificateDer::from_pem_slice(issued.certificate.as_bytes()).expect("a certificate");
            authorities.verify(&[own]).is_ok()
        };
        let (sender, mut stored) = tokio::sync::mpsc::unbounded_channel();
        let store = move |authorities| sender.send(authorities).expect("the test waits");
        let follow = |every| follow_authorities(NAME, path.clone(), every, store.clone());
        assert!(follow(Duration::ZERO).is_err(), "no file");
        write(&path, first.certificate(), 0o644).expect("writable");
        let (stats, following) = follow(Duration::from_millis(1)).expect("a bundle");
        let held = stored.recv().await.expect("read at the start");
        assert!(verifies(&held, &first) && !verifies(&held, &second));
        let following = tokio::spawn(following);
        // Neither a broken file nor a missing one changes what is in use, and both show.
        let until = async |is_valid| {
            while stats.is_valid() != is_valid {
                tokio::task::yield_now().await;
            }
        };
        write(&path, "no certificate", 0o644).expect("writable");
        until(false).await;
        write(&path, first.certificate(), 0o644).expect("writable");
        until(true).await;
        std::fs::remove_file(&path).expect("it is there");
        until(false).await;
        assert!(stored.is_empty());
        write(&path, second.certificate(), 0o644).expect("writable");
        let held = stored.recv().await.expect("read again");
        assert!(!verifies(&held, &first) && verifies(&held, &second));
        following.abort();
    }
}
