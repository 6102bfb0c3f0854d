//! What standalone mode leaves on disk: its own certificate authority, a serving certificate for loopback, and a
//! kubeconfig with a client certificate, so that plain `kubectl --kubeconfig FILE get --raw ...` works.
//!
//! Private keys are readable by their owner only. Everything is made anew at each start: a kubeconfig of an earlier
//! run stops working when its server does.

use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use apiservice::authority::{Authority, AuthorityError, Issued};

/// Certificates of one standalone run.
pub struct Standalone {
    dir: PathBuf,
    authority: Authority,
    serving: Issued,
}

/// Why standalone mode could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum StandaloneError {
    /// A certificate could not be made.
    #[error("cannot make a certificate for standalone mode: {0}")]
    Certificate(#[from] AuthorityError),
    /// A file could not be written.
    #[error("cannot write {path}: {cause}", path = path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// The operating system's reason.
        cause: io::Error,
    },
}
