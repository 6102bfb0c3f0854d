//! The host of the server, a cluster or this machine alone: its objects, its callers, its certificate.

use std::path::PathBuf;
use std::sync::Arc;

use apiservice::authn::{Authenticator, AuthoritiesError};
use apiservice::authz::Authorizer;
use apiservice::review::ReviewStats;
use apiservice::tls::{ServingCertificate, TlsError};
use futures_util::future::BoxFuture;
use serve::FileStats;
use tokio::sync::watch;

use crate::kubeconfig::KubeconfigError;
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
    #[error("cannot load the authorities of client certificates")]
    ClientAuthority(#[from] AuthoritiesError),
    /// A kubeconfig cannot be read.
    #[error("cannot use the kubeconfig {path}", path = path.display())]
    Kubeconfig {
        /// The file.
        path: PathBuf,
        /// Why not.
        #[source]
        cause: KubeconfigError,
    },
    /// A kubeconfig gives no access.
    #[error("cannot use the kubeconfig {path}", path = path.display())]
    Access {
        /// The file.
        path: PathBuf,
        /// Why not.
        #[source]
        cause: Box<kube::config::KubeconfigError>,
    },
    /// This does not run in a pod.
    #[error(
        "expected to run in a pod with a service account, or --lister-kubeconfig, --authentication-kubeconfig and \
         --authorization-kubeconfig, or --standalone"
    )]
    NotInACluster(#[source] kube::config::InClusterError),
    /// The Kubernetes API cannot be asked at all.
    #[error("cannot make a client for the Kubernetes API")]
    Client(#[source] Box<kube::Error>),
}
