//! How far the client of a connection is verified.

/// How far the caller of a connection is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Trust {
    /// Not at all, or not yet.
    Stranger,
    /// By a valid token: every pod of a cluster has one.
    Token,
    /// By a verified certificate, as kube-apiserver's front proxy.
    Certificate,
}
