//! Errors of authentication.

/// Why a credential that was shown does not count.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AuthnError {
    /// It is not valid, or cannot be verified: 401.
    #[error("{0}")]
    Refused(String),
    /// Too many are being verified; this one was not: 429 (D81).
    #[error("{0}")]
    Busy(String),
}

impl AuthnError {
    pub(super) fn refused(cause: impl Into<String>) -> AuthnError {
        AuthnError::Refused(cause.into())
    }
}
