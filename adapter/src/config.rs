//! The configuration of the program: a validated command line.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use apiservice::accept::Limits;
use apiservice::audit::Target as AuditTarget;
use apiservice::server::RequestLimits;
use apiservice::tls::{NamedCertificate, TlsSettings};
use engine::EngineConfig;
use engine::scrape::{ScrapeConfig, Target};
use http::Uri;
use rules::presets::Preset;

use crate::cluster::ClusterConfig;
use crate::logging;
use crate::sharing::SharingSettings;
use crate::source::prometheus::PrometheusSettings;

/// A validated command line.
#[derive(Debug)]
pub struct Config {
    /// What to do.
    pub command: Command,
    /// How to log.
    pub logging: Logging,
    /// Flags that were given and have no effect here, and why.
    pub notices: Vec<String>,
}

/// What the program does.
#[derive(Debug)]
pub enum Command {
    /// Serve the APIs.
    Serve(Box<Serve>),
    /// Load rule files and say what is wrong with them.
    Check(Check),
    /// Ask a server why a metric has its value or none.
    Explain(Box<Explain>),
    /// Ask two servers the same questions and say what differs.
    Diff(Box<Diff>),
    /// Run the tests of rules that files hold.
    Test(RuleTests),
    /// Print the roles that rule files need.
    Rbac(Vec<PathBuf>),
    /// Print a text: completion for a shell, or a page of the manual.
    Print(String),
}

/// Which rule files to check, and how to report.
#[derive(Debug, Clone)]
pub struct Check {
    /// The rule files.
    pub files: Vec<PathBuf>,
    /// The form of the report.
    pub format: ReportFormat,
    /// Whether warnings fail.
    pub strict: bool,
    /// How often Prometheus scrapes.
    pub scrape_interval: Duration,
    /// Files with autoscalers that the rules are for.
    pub autoscalers: Vec<PathBuf>,
    /// A Prometheus to try the rules on.
    pub prometheus: Option<Box<PrometheusSettings>>,
}

/// The form of a report.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReportFormat {
    /// For people.
    Text,
    /// A JSON document.
    Json,
    /// Commands of a GitHub workflow.
    Github,
}

/// Which tests of rules to run, and what evaluates the queries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RuleTests {
    /// The test files.
    pub files: Vec<PathBuf>,
    /// The program of a Prometheus; the embedded engine when not given.
    pub prometheus: Option<PathBuf>,
}

/// What to have explained, and by whom.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Explain {
    /// The cluster.
    pub access: ClusterAccess,
    /// The namespace; that of the kubeconfig's context when not given.
    pub namespace: Option<String>,
    /// What to explain.
    pub what: ExplainWhat,
    /// The form.
    pub output: Output,
}

/// Which two servers to compare, and how.
#[derive(Debug, Clone, PartialEq)]
pub struct Diff {
    /// Our server.
    pub here: ServerAccess,
    /// The server that it is compared with.
    pub there: ServerAccess,
    /// The namespaces to ask about; every namespace of the cluster when empty.
    pub namespaces: Vec<String>,
    /// The autoscalers whose questions are asked first.
    pub autoscalers: Autoscalers,
    /// Maximum number of questions.
    pub most_questions: usize,
    /// The part of the larger one by which two values may differ: 0.01 is one percent.
    pub tolerance: f64,
    /// Time before a question whose answers differ is asked again.
    pub pause: Duration,
    /// The form.
    pub output: Output,
}

/// Autoscalers whose questions are asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Autoscalers {
    /// None.
    None,
    /// Those of the cluster.
    Cluster,
    /// Those of files.
    Files(Vec<PathBuf>),
}

/// How a command reaches a server of the metrics APIs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ServerAccess {
    /// Through kube-apiserver.
    Cluster(ClusterAccess),
    /// At its own URL.
    Url(Box<UrlAccess>),
}

/// How a command reaches a server at its own URL.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UrlAccess {
    /// Where it is.
    pub url: Uri,
    /// Holds a bearer token.
    pub token_file: Option<PathBuf>,
    /// Holds the certificates to trust, PEM, instead of the machine's.
    pub ca_file: Option<PathBuf>,
    /// Whether any certificate is trusted.
    pub insecure: bool,
}

/// How a command reaches a cluster.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ClusterAccess {
    /// A kubeconfig; the one that kubectl would use when not given.
    pub kubeconfig: Option<PathBuf>,
    /// A context of it; the current one when not given.
    pub context: Option<String>,
}

/// What to explain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ExplainWhat {
    /// A metric.
    Metric(AskedMetric),
    /// An autoscaler's metrics.
    Hpa {
        /// The autoscaler.
        name: String,
        /// Only this one of its metrics.
        metric: Option<String>,
    },
}

/// A metric as an autoscaler asks for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AskedMetric {
    /// Its name in the API.
    pub name: String,
    /// The resource and the object's name, `*` for all; `None` for an external metric.
    pub objects: Option<(String, String)>,
    /// Which objects, or which series of an external metric.
    pub selector: Option<String>,
    /// Which series of a custom metric.
    pub metric_selector: Option<String>,
}

/// The form of what a command prints.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Output {
    /// For people.
    Text,
    /// For programs.
    Json,
}

/// How to serve.
#[derive(Debug)]
pub struct Serve {
    /// The rule file; `None` when presets are all the rules.
    pub rules: Option<PathBuf>,
    /// Rules that come after those of the file.
    pub presets: Vec<Preset>,
    /// Whether a rule file with any fault is refused whole.
    pub strict_rules: bool,
    /// Where samples come from.
    pub source: SourceConfig,
    /// How answers of the source are shared; `None`: not at all.
    pub sharing: Option<SharingSettings>,
    /// How often series are listed.
    pub relist_interval: Duration,
    /// How far back a listing looks; the interval when not given.
    pub max_age: Duration,
    /// Where Kubernetes objects and caller identities come from.
    pub host: HostChoice,
    /// The server.
    pub server: ServerConfig,
}

/// The server: where it listens, how it speaks TLS, what it limits.
#[derive(Debug)]
pub struct ServerConfig {
    /// Where to listen.
    pub address: SocketAddr,
    /// How TLS is spoken.
    pub tls: TlsSettings,
    /// Certificates for names that clients may call, besides the one for all.
    pub named_certificates: Vec<NamedCertificate>,
    /// Paths that need no authorization.
    pub always_allow: Vec<String>,
    /// Which requests are recorded, and where; `None` records none.
    pub audit: Option<AuditConfig>,
    /// Limits on connections, and the time for requests under way when draining.
    pub accept: Limits,
    /// Limits on requests.
    pub requests: RequestLimits,
    /// How long to serve on after the shutdown signal.
    pub shutdown_delay: Duration,
    /// Whether there is a page of the server's state.
    pub status_page: bool,
}

/// Where Kubernetes objects and caller identities come from.
#[derive(Debug)]
pub enum HostChoice {
    /// From the scrape targets and from client certificates of our own: there is no Kubernetes API.
    Standalone {
        /// Where the files for callers go; a temporary folder when not given.
        dir: Option<PathBuf>,
    },
    /// From a cluster.
    Cluster(Box<ClusterConfig>),
}

/// Where samples come from.
#[derive(Debug)]
pub enum SourceConfig {
    /// A Prometheus.
    Prometheus(Box<PrometheusSettings>),
    /// The engine in this process.
    Embedded {
        /// What to scrape.
        targets: Vec<Target>,
        /// How to scrape.
        scrape: ScrapeConfig,
        /// What is kept of it.
        engine: EngineConfig,
        /// Scrapes of every target before the first listing.
        ready_rounds: u64,
    },
}

/// How to log.
#[derive(Debug, Clone, Copy)]
pub struct Logging {
    /// The form of a line.
    pub format: logging::Format,
    /// klog's `--v`.
    pub verbosity: i32,
}

/// Where requests are recorded and which.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditConfig {
    /// The policy, `audit.k8s.io/v1`.
    pub policy: PathBuf,
    /// Where events go.
    pub target: AuditTarget,
}
