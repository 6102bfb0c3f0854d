//! The host of the server, a cluster or this machine alone: its objects, its callers, its certificate.

use std::sync::Arc;

use apiservice::authn::{Authenticator, AuthnError};
use apiservice::authz::Authorizer;
use apiservice::review::ReviewStats;
use apiservice::tls::{ServingCertificate, TlsError};
use futures_util::future::BoxFuture;
use serve::FileStats;
use tokio::sync::watch;

use crate::objects::Objects;

/// What the server needs of the place that it runs in.
pub struct Host {
    /// The objects.
    pub objects: Arc<dyn Objects>,
    /// Tells when their kinds have changed.
    pub kinds_changed: watch::Receiver<()>,
    /// Resolves once the kinds are known that the first listing needs.
    pub ready: BoxFuture<'static, ()>,
    /// Authenticators, tried in order.
    pub authenticators: Vec<Arc<dyn Authenticator>>,
    /// Authorizers, besides those of every server.
    pub authorizers: Vec<Arc<dyn Authorizer>>,
    /// Statistics of access reviews, by kind.
    pub reviews: Vec<(&'static str, Arc<ReviewStats>)>,
    /// What becomes of the files that they follow.
    pub files: Vec<Arc<FileStats>>,
    /// What to serve with.
    pub certificate: Arc<ServingCertificate>,
}

/// Why the host cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum HostError {
    /// The serving certificate is not usable.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The authority for client certificates is not usable.
    #[error("cannot load the authorities of client certificates: {0}")]
    ClientAuthority(#[from] AuthnError),
    /// The Kubernetes API cannot be asked at all.
    #[error("{0}")]
    Cluster(String),
}
