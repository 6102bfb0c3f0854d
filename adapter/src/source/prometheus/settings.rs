//! Settings of a Prometheus source.

use std::path::PathBuf;
use std::time::Duration;

use http::{HeaderName, HeaderValue};
use reqwest::Url;

use super::proxy::Proxies;

/// How to reach a Prometheus.
#[derive(Debug, Clone)]
pub struct PrometheusSettings {
    /// Its base URL. Query parameters stay on every request.
    pub url: Url,
    /// How queries are sent.
    pub verb: Verb,
    /// Whether answers to queries are asked for in gzip.
    pub gzip: bool,
    /// Sent with every request.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// Holds a bearer token; read again when it changes.
    pub token_file: Option<PathBuf>,
    /// Holds the authorities to trust, PEM, instead of the system's; read again when it changes.
    pub ca_file: Option<PathBuf>,
    /// Client certificate and key, PEM; read again when they change.
    pub client_pair: Option<(PathBuf, PathBuf)>,
    /// Kubernetes' ways of access; read again when they change.
    pub auth: Option<KubernetesAuth>,
    /// The proxies of the environment; a kubeconfig's own comes before them.
    pub proxies: Proxies,
    /// Longest time for a query; the deadline of a request can only shorten it.
    pub timeout: Duration,
    /// Maximum number of queries in flight; `Guarded` keeps it.
    pub max_queries: usize,
    /// How large answers to queries may be.
    pub answers: AnswerLimits,
    /// What one listing of series may take in memory, in bytes: the distinct names with the names of their labels.
    pub listing: usize,
}

/// How large answers to queries may be, in bytes; what comes out of compression counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AnswerLimits {
    /// One answer.
    pub one: usize,
    /// All that are under way, until the API's answers are made of them: at least twice what one may have. The memory
    /// that this takes is about six times as much.
    pub all: usize,
}

impl Default for AnswerLimits {
    /// What the memory of the manifests, 128 MiB, has room for.
    fn default() -> AnswerLimits {
        AnswerLimits { one: 6 << 20, all: 12 << 20 }
    }
}

impl PrometheusSettings {
    /// A Prometheus asked by GET, without credentials, over TLS by the machine's authorities, directly; in gzip over
    /// TLS.
    pub fn new(url: Url) -> PrometheusSettings {
        PrometheusSettings {
            gzip: gzip_pays(&url),
            url,
            verb: Verb::Get,
            headers: Vec::new(),
            token_file: None,
            ca_file: None,
            client_pair: None,
            auth: None,
            proxies: Proxies::default(),
            timeout: DEFAULT_TIMEOUT,
            max_queries: DEFAULT_MAX_QUERIES,
            answers: AnswerLimits::default(),
            listing: LARGEST_LISTING,
        }
    }
}

/// Where Kubernetes' clients have certificates and credentials from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KubernetesAuth {
    /// A kubeconfig.
    Kubeconfig(PathBuf),
    /// The folder of a pod's service account, with `token` and `ca.crt`.
    ServiceAccount(PathBuf),
}

/// An HTTP method for queries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verb {
    /// Parameters in the URL, or in the body of a POST where that would be too long.
    Get,
    /// Parameters in the body.
    Post,
}

/// Whether answers to queries are asked for in gzip unless told otherwise: over TLS alone. Without it the server is
/// near, and an answer of 100 pods takes Prometheus 0.6 ms to compress, more than all the rest of its work for it.
pub(crate) fn gzip_pays(url: &Url) -> bool {
    url.scheme() == "https"
}

/// Autoscalers wait for it, one after the other.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(10);
/// As many as a Prometheus evaluates at the same time by default (`--query.max-concurrency`).
pub(crate) const DEFAULT_MAX_QUERIES: usize = 20;
/// A hundred thousand distinct names with fifteen labels each.
pub(crate) const LARGEST_LISTING: usize = 32 << 20;
/// As errors and `--help` name them.
pub(super) const LARGEST_ANSWER_FLAG: &str = "--prometheus-max-answer-bytes";
pub(super) const LARGEST_ANSWERS_FLAG: &str = "--prometheus-max-answers-bytes";
pub(super) const LARGEST_LISTING_FLAG: &str = "--prometheus-max-listing-bytes";
