//! Errors of authentication.

use std::path::PathBuf;

use crate::review::ReviewError;

/// Why a credential that was shown does not count: 401, or 429 where it was not looked at (D81).
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AuthnError {
    /// The client certificate does not lead to an authority.
    #[error("invalid client certificate")]
    Chain(#[source] webpki::Error),
    /// The client certificate leads to an authority and cannot be used.
    #[error("invalid client certificate: {0}")]
    Certificate(String),
    /// The verification of a client certificate ended early.
    #[error("cannot verify the client certificate: {0}")]
    Interrupted(String),
    /// Too many client certificates are being verified; this one was not.
    #[error("cannot verify the client certificate: {waiting} chains are waiting to be verified")]
    ManyChains {
        /// How many wait.
        waiting: usize,
    },
    /// A front proxy's certificate has another name than those that are allowed.
    #[error("{name:?} is not among the allowed names of front proxies")]
    ProxyName {
        /// The name.
        name: String,
    },
    /// The cluster does not accept the bearer token.
    #[error("invalid bearer token: {0}")]
    Token(String),
    /// The cluster was not asked, or did not answer.
    #[error("cannot verify the bearer token")]
    Review(#[source] ReviewError),
}

impl AuthnError {
    /// Whether the credential was not looked at: it may be valid.
    pub fn is_busy(&self) -> bool {
        matches!(self, AuthnError::ManyChains { .. } | AuthnError::Review(ReviewError::Busy))
    }

    pub(super) fn certificate(fault: impl Into<String>) -> AuthnError {
        AuthnError::Certificate(fault.into())
    }
}

/// Why certificate authorities cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum AuthoritiesError {
    /// Their file cannot be read.
    #[error("cannot read {path}", path = path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The operating system's reason.
        #[source]
        cause: std::io::Error,
    },
    /// Their file holds something else.
    #[error("invalid CA file {path}", path = path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        #[source]
        cause: Box<AuthoritiesError>,
    },
    /// A text is not PEM.
    #[error("invalid PEM certificate")]
    Pem(#[source] rustls_pki_types::pem::Error),
    /// A certificate is not that of an authority.
    #[error("invalid CA certificate")]
    Certificate(#[source] webpki::Error),
    /// There is nothing in a text.
    #[error("expected at least one PEM certificate, found none")]
    Empty,
}
