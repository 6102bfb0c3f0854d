//! Settings for serving in a cluster.

use std::path::PathBuf;
use std::time::Duration;

use apiservice::authn::FrontProxySettings;
use apiservice::review::ReviewLimits;
use apiservice::tls::CertificateSource;
use http::HeaderName;

use super::identity::Identity;

/// How to serve in a cluster.
#[derive(Debug)]
pub struct ClusterConfig {
    /// For objects, their kinds and the serving authority; the pod's own account when not given.
    pub lister_kubeconfig: Option<PathBuf>,
    /// Pause between two listings of the kinds.
    pub discovery_interval: Duration,
    /// The caller of a request.
    pub authentication: AuthenticationConfig,
    /// May they.
    pub authorization: AuthorizationConfig,
    /// How many questions about callers the Kubernetes API is asked.
    pub reviews: ReviewLimits,
    /// What to serve with.
    pub serving: ServingConfig,
}

/// How callers are told apart.
#[derive(Debug)]
pub struct AuthenticationConfig {
    /// For TokenReviews and the authentication settings; the pod's own account when not given.
    pub kubeconfig: Option<PathBuf>,
    /// Do not read the cluster's authentication settings.
    pub skip_lookup: bool,
    /// Serve even if they cannot be read.
    pub tolerate_lookup_failure: bool,
    /// Authorities of client certificates, instead of the cluster's.
    pub client_ca_file: Option<PathBuf>,
    /// The front proxy, instead of the cluster's.
    pub front_proxy: Option<FrontProxyConfig>,
    /// How long a judgement on a token is kept.
    pub token_ttl: Duration,
}

/// A front proxy as the command line describes it.
#[derive(Debug, Clone)]
pub struct FrontProxyConfig {
    /// Who signs the certificates of proxies.
    pub ca_file: PathBuf,
    /// Common names of proxies; empty means any.
    pub allowed_names: Vec<String>,
    /// Headers that name the user.
    pub username_headers: Vec<HeaderName>,
    /// Headers that name groups.
    pub group_headers: Vec<HeaderName>,
    /// Headers that hold the user's identifier.
    pub uid_headers: Vec<HeaderName>,
    /// Beginnings of headers that hold extras, lower-case.
    pub extra_prefixes: Vec<String>,
}

/// How access is decided.
#[derive(Debug)]
pub struct AuthorizationConfig {
    /// For SubjectAccessReviews; the pod's own account when not given.
    pub kubeconfig: Option<PathBuf>,
    /// How long what is allowed is kept.
    pub allowed_ttl: Duration,
    /// How long what is not is kept.
    pub denied_ttl: Duration,
    /// Ask about a caller's whole API group first.
    pub asks_for_groups: bool,
}

/// Where the serving certificate comes from.
#[derive(Debug)]
pub enum ServingConfig {
    /// Files, given or made once.
    Files(CertificateSource),
    /// An authority of our own, shared through a Secret and published in the APIServices.
    Published(Identity),
}

impl FrontProxyConfig {
    pub(super) fn settings(&self, authorities: apiservice::authn::Authorities) -> FrontProxySettings {
        FrontProxySettings {
            authorities,
            allowed_names: self.allowed_names.clone(),
            username_headers: self.username_headers.clone(),
            group_headers: self.group_headers.clone(),
            uid_headers: self.uid_headers.clone(),
            extra_prefixes: self.extra_prefixes.clone(),
        }
    }
}
