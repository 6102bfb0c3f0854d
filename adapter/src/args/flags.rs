//! The flags as clap knows them, and their validation, which reports every fault.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::LazyLock;
use std::time::Duration;

use apiservice::accept::Limits;
use apiservice::go_duration;
use apiservice::server::RequestLimits;
use apiservice::tls::{NamedCertificate, TlsSettings};
use clap::{ArgAction, CommandFactory as _, Parser, Subcommand};
use engine::EngineConfig;
use engine::scrape::{ScrapeConfig, Target};
use reqwest::Url;
use rules::presets::Preset;

use super::audit::AuditFlags;
use super::check::CheckFlags;
use super::cluster::{ClusterFlags, entries};
use super::diff::DiffFlags;
use super::explain::ExplainFlags;
use super::given::Given;
use super::prometheus::PrometheusAccessFlags;
use super::values::{duration, prometheus_url};
use crate::config::{Command, Config, HostChoice, Logging, RuleTests, Serve, ServerConfig, SourceConfig};
use crate::logging;
use crate::sharing::SharingSettings;
use crate::source::prometheus::{
    AnswerLimits, DEFAULT_MAX_QUERIES, LARGEST_LISTING, PrometheusSettings, Verb, gzip_pays,
};

/// Serves the Kubernetes custom metrics API from Prometheus, or from samples it scrapes itself, by prometheus-adapter's
/// rule files. Every flag of prometheus-adapter is accepted; those without effect here are named once in the log.
/// Without a command, or with `serve`, it serves.
#[derive(Debug, Parser)]
#[command(
    name = "adapter",
    version = VERSION.as_str(),
    args_conflicts_with_subcommands = true,
    args_override_self = true,
    disable_help_subcommand = true
)]
#[expect(clippy::struct_excessive_bools, reason = "each is a switch of the command line")]
pub(super) struct Flags {
    #[command(subcommand)]
    command: Option<Subcommands>,

    /// Rule file, in prometheus-adapter's form or as values of its Helm chart. Reloaded when it changes.
    #[arg(long, short, value_name = "FILE", help_heading = "Rules")]
    config: Option<PathBuf>,
    /// Rules of a well-known server, by name, after those of --config; repeatable. One of dcgm,
    /// kube-prometheus-resource, model-server, sglang, tgi, torchserve, triton, vllm: docs/presets.md explains them.
    #[arg(long, value_name = "NAME", value_delimiter = ',', value_parser = Preset::by_name, help_heading = "Rules")]
    preset: Vec<Preset>,
    /// Refuse a rule file with an invalid rule: the program does not start, or keeps the previous rules on a reload. If
    /// false, each invalid rule is logged, counted in /metrics and left out, and the others are served. A file that is
    /// not YAML or not of a rule file's form is always refused.
    #[arg(long, help_heading = "Rules", num_args = 0..=1, require_equals = true, default_missing_value = "true", default_value = "true", action = ArgAction::Set)]
    config_strict: bool,
    /// Pause between two rounds of series discovery; at most the scrape interval with the embedded engine.
    #[arg(long, value_name = "DURATION", default_value = "10m", value_parser = duration, help_heading = "Rules")]
    metrics_relist_interval: Duration,
    /// Maximum age of the last sample of a discovered series [default: the relist interval].
    #[arg(long, value_name = "DURATION", default_value = "0s", value_parser = duration, hide_default_value = true, help_heading = "Rules")]
    metrics_max_age: Duration,

    /// URL of Prometheus. Without it, standalone mode scrapes --scrape-target itself.
    #[arg(long, value_name = "URL", value_parser = prometheus_url, help_heading = "Prometheus")]
    prometheus_url: Option<Url>,
    /// HTTP method of queries, GET or POST. With GET, queries longer than 8 KiB are sent by POST where Prometheus
    /// accepts it.
    #[arg(long, value_name = "VERB", default_value = "GET", value_parser = verb, help_heading = "Prometheus")]
    prometheus_verb: Verb,
    /// Request compressed answers to queries: less network traffic, and about 0.6 ms more work for Prometheus for 100
    /// pods [default: true for an https URL, false for http].
    #[arg(long, value_name = "BOOL", help_heading = "Prometheus", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    prometheus_gzip: Option<bool>,
    #[command(flatten)]
    prometheus_access: PrometheusAccessFlags,
    /// Timeout of a query, with the time that it waits for its turn; keep it below the 60 s that kube-apiserver waits.
    /// The autoscaler works on nothing else meanwhile: a long timeout delays its other metrics while Prometheus hangs.
    #[arg(long, value_name = "DURATION", default_value = "10s", value_parser = duration, help_heading = "Prometheus")]
    prometheus_timeout: Duration,
    /// Maximum number of queries and series listings that Prometheus works on at the same time. More wait for their
    /// turn, which each namespace gets alike. The default is that of Prometheus itself (--query.max-concurrency); raise
    /// it for several servers behind one URL, such as Thanos or Mimir.
    #[arg(long, value_name = "COUNT", default_value_t = DEFAULT_MAX_QUERIES, help_heading = "Prometheus")]
    prometheus_max_queries: usize,
    /// Time for which the answer to a query is kept for other requests for the same metric; 0s sends a query for each
    /// request. At most a third of the scrape interval with the embedded engine. Only queries that keep the label of
    /// the object are shared, and between namespaces only those that keep the namespace's label, too. Autoscalers see
    /// values that are older by up to this time.
    #[arg(long, value_name = "DURATION", default_value = "5s", value_parser = duration, help_heading = "Prometheus")]
    query_sharing: Duration,
    /// Share one query between namespaces. Set it to false for a Prometheus behind a proxy that enforces one namespace
    /// for each query, such as prom-label-proxy or the port of Thanos Querier for tenants in `OpenShift`.
    #[arg(long, help_heading = "Prometheus", num_args = 0..=1, require_equals = true, default_missing_value = "true", default_value = "true", action = ArgAction::Set)]
    query_sharing_across_namespaces: bool,
    /// Maximum size of an answer of Prometheus to a query, in bytes, before compression. A larger answer fails its
    /// request. Making the API's answer of it takes six times as much memory.
    #[arg(long, value_name = "BYTES", default_value_t = AnswerLimits::default().one, help_heading = "Prometheus")]
    prometheus_max_answer_bytes: usize,
    /// Maximum size of all answers of Prometheus in flight together, in bytes; at least twice as much as of one. Long
    /// answers wait for memory; a request that waits until its timeout is answered with 503. Raise it together with the
    /// memory limit of the container.
    #[arg(long, value_name = "BYTES", default_value_t = AnswerLimits::default().all, help_heading = "Prometheus")]
    prometheus_max_answers_bytes: usize,
    /// Maximum memory for the series of one seriesQuery, in bytes: their names with the names of their labels, each
    /// combination once. A query with more fails as if Prometheus had not answered; the other rules are not affected.
    #[arg(long, value_name = "BYTES", default_value_t = LARGEST_LISTING, help_heading = "Prometheus")]
    prometheus_max_listing_bytes: usize,

    /// Serve on loopback without a Kubernetes API; write a CA of its own and a kubeconfig for clients.
    #[arg(long, help_heading = "Standalone", num_args = 0..=1, require_equals = true, default_missing_value = "true", default_value = "false", action = ArgAction::Set)]
    standalone: bool,
    /// Folder for the kubeconfig, ca.crt, client.crt and client.key [default: a temporary folder, removed at the end].
    #[arg(long, value_name = "DIR", help_heading = "Standalone")]
    standalone_dir: Option<PathBuf>,
    /// Target to scrape, with the labels of its series: namespace=default,pod=a,app=b@http://127.0.0.1:8080/metrics;
    /// repeatable.
    #[arg(long, value_name = "LABELS@URL", value_parser = target, help_heading = "Standalone")]
    scrape_target: Vec<Target>,
    /// Interval between two scrapes of a target.
    #[arg(long, value_name = "DURATION", default_value = "15s", value_parser = duration, help_heading = "Standalone")]
    scrape_interval: Duration,
    /// Timeout of a scrape.
    #[arg(long, value_name = "DURATION", default_value = "10s", value_parser = duration, help_heading = "Standalone")]
    scrape_timeout: Duration,
    /// Retention of scraped samples: at least the longest range of the rules plus five minutes.
    #[arg(long, value_name = "DURATION", default_value = "15m", value_parser = duration, help_heading = "Standalone")]
    embedded_retention: Duration,
    /// Maximum number of scraped series; a target may have a quarter of them, and at most 50,000. Each takes 1 to 3 KB.
    #[arg(long, value_name = "COUNT", default_value_t = EngineConfig::default().max_series, help_heading = "Standalone")]
    embedded_max_series: usize,
    /// Number of scrapes of every target before the server is ready; a rate needs two.
    #[arg(long, value_name = "COUNT", default_value_t = 1, help_heading = "Standalone")]
    embedded_ready_rounds: u64,

    #[command(flatten)]
    cluster: ClusterFlags,

    #[command(flatten)]
    audit: AuditFlags,

    /// Address to listen on; 0.0.0.0 and :: mean every address, over IPv4 and IPv6 [default: 0.0.0.0; with --standalone
    /// 127.0.0.1].
    #[arg(long, value_name = "ADDRESS", help_heading = "Serving")]
    bind_address: Option<IpAddr>,
    /// Port to listen on; 0 means any free one.
    #[arg(long, value_name = "PORT", default_value_t = 6443, help_heading = "Serving")]
    secure_port: u16,
    /// TLS 1.2 cipher suites to offer, by IANA name; unsupported ones are left out.
    #[arg(long, value_name = "NAMES", value_delimiter = ',', help_heading = "Serving")]
    tls_cipher_suites: Vec<String>,
    /// Minimum TLS version: VersionTLS10, VersionTLS11, VersionTLS12 or VersionTLS13; anything below 1.2 means 1.2.
    #[arg(long, value_name = "VERSION", default_value = "VersionTLS12", help_heading = "Serving")]
    tls_min_version: String,
    /// Certificate and key for certain names: CERTIFICATE,KEY[:NAME,...]; a name may begin with *. for any one label.
    /// Without names, the names in the certificate are used. A whole name precedes one with a *, and a name given here
    /// precedes one in a certificate. Reloaded when the files change; repeatable.
    #[arg(long, value_name = "PAIR", help_heading = "Serving")]
    tls_sni_cert_key: Vec<NamedCertificate>,
    /// Serve HTTP/1.1 only.
    #[arg(long, alias = "disable-http2-serving", help_heading = "Serving", num_args = 0..=1, require_equals = true, default_missing_value = "true", default_value = "false", action = ArgAction::Set)]
    disable_http2: bool,
    /// Maximum number of concurrent HTTP/2 streams in a connection; 0 means 100.
    #[arg(long, value_name = "COUNT", default_value_t = 0, help_heading = "Serving")]
    http2_max_streams_per_connection: u32,
    /// Paths that need no authorization; a trailing * means every path that begins so.
    #[arg(
        long,
        value_name = "PATHS",
        value_delimiter = ',',
        default_value = "/healthz,/readyz,/livez",
        help_heading = "Serving"
    )]
    authorization_always_allow_paths: Vec<String>,
    /// Maximum number of open connections. One more closes another: first those of unauthenticated callers, of which
    /// those of an address with more than a quarter of all connections come first, so that health checks and
    /// kube-apiserver always get one. An eighth is reserved for callers with a verified client certificate, and half
    /// may be in the TLS handshake. 1024 fit into 128 MiB of memory; allow 64 KiB for each one more.
    #[arg(long, value_name = "COUNT", default_value_t = Limits::default().connections, help_heading = "Serving")]
    max_connections: usize,
    /// Time after which an idle connection is closed. Keep it above the idle timeout of the clients (90s in Go's), so
    /// that they close first: else they send a request on a connection that is being closed.
    #[arg(long, value_name = "DURATION", default_value = "2m", value_parser = duration, help_heading = "Serving")]
    idle_timeout: Duration,
    /// Timeout of a request.
    #[arg(long, value_name = "DURATION", default_value = "60s", value_parser = duration, help_heading = "Serving")]
    request_timeout: Duration,
    /// Maximum number of concurrent read requests.
    #[arg(long, value_name = "COUNT", default_value_t = 400, help_heading = "Serving")]
    max_requests_inflight: usize,
    /// Maximum number of concurrent other requests, all of which are refused.
    #[arg(long, value_name = "COUNT", default_value_t = 200, help_heading = "Serving")]
    max_mutating_requests_inflight: usize,
    /// Time to serve on, not ready, after the shutdown signal [default: 10s, 0s with --standalone].
    #[arg(long, value_name = "DURATION", value_parser = duration, help_heading = "Serving")]
    shutdown_delay_duration: Option<Duration>,
    /// Maximum time for requests in flight to finish at shutdown.
    #[arg(long, value_name = "DURATION", default_value = "60s", value_parser = duration, help_heading = "Serving")]
    shutdown_grace: Duration,

    /// Serve a page of the server's state at /debug/status, to callers that may get this path.
    #[arg(long, help_heading = "Serving", num_args = 0..=1, require_equals = true, default_missing_value = "true", default_value = "true", action = ArgAction::Set)]
    status_page: bool,

    /// Log verbosity: 3 and more logs each request, 4 and more debug messages, 6 and more trace messages.
    #[arg(long = "v", short = 'v', value_name = "LEVEL", default_value_t = 0, help_heading = "Logging")]
    verbosity: i32,
    /// Log format: text or json.
    #[arg(long, alias = "logging-format", value_name = "FORMAT", default_value = "text", value_parser = log_format, help_heading = "Logging")]
    log_format: logging::Format,
}

#[derive(Debug, Subcommand)]
enum Subcommands {
    /// Check rule files: every fault and warning, with its line.
    ///
    /// Exit status: 0 for files that can be served, with warnings or without; 1 if a rule of a file never answers, as
    /// it makes no metric or every request for one will fail, and for any warning with --strict; 64 if a file cannot be
    /// read or has a fault, so that it is not served. docs/lints.md explains each warning and how to allow it.
    Check(CheckFlags),
    /// Test rule files: series in, requests, expected queries and values out. docs/rules.md shows the form of a file.
    ///
    /// Exit status: 0 when every test passed, 1 when one failed, 64 if a test file or a rule file cannot be used.
    Test {
        /// Test files.
        #[arg(required = true)]
        files: Vec<PathBuf>,
        /// Program of a Prometheus, 2.33 or later, that evaluates the queries in place of the embedded engine: the
        /// version that you run. It is started for each test on loopback, in a temporary folder.
        #[arg(long, value_name = "PROGRAM")]
        prometheus: Option<PathBuf>,
    },
    /// Print the roles that the rules of files need: the objects that the adapter lists and watches.
    Rbac {
        /// Rule files.
        #[arg(required = true)]
        files: Vec<PathBuf>,
    },
    /// Ask the adapter of a cluster why a metric has its value, or none.
    ///
    /// Asks through kube-apiserver, as the autoscaler does. Exit status: 0 if there is a value, 1 if there is none, 2
    /// without an explanation.
    Explain(ExplainFlags),
    /// Ask this adapter and another server, such as prometheus-adapter, the same questions, and print what differs.
    ///
    /// Asks for discovery, for every metric of every resource in every namespace, and for external and resource
    /// metrics. A known deviation is named by its number in docs/contract.md. Progress is printed to standard error.
    /// Exit status: 0 if every difference is a known deviation, 1 if one is not, 2 if a server cannot be asked.
    Diff(Box<DiffFlags>),
    /// Print a completion script for a shell: source <(adapter completion bash).
    Completion {
        /// Shell.
        shell: manual::Shell,
    },
    /// Print every flag as Markdown: docs/flags.md is made of it.
    #[command(hide = true)]
    Flags,
    /// Print the manual page of the program or of a command: adapter man | man -l -.
    Man {
        /// Command.
        command: Option<String>,
    },
}

impl Flags {
    /// The configuration, or everything that is wrong.
    pub(super) fn validate(self, given: &Given, notices: &mut Vec<String>) -> Result<Config, Vec<String>> {
        let logging = Logging { format: self.log_format, verbosity: self.verbosity };
        let command = match self.command {
            Some(Subcommands::Check(flags)) => Command::Check(flags.validate(notices)?),
            Some(Subcommands::Explain(flags)) => Command::Explain(Box::new(flags.into_explain())),
            Some(Subcommands::Diff(flags)) => Command::Diff(Box::new(flags.validate()?)),
            Some(Subcommands::Test { files, prometheus }) => Command::Test(RuleTests { files, prometheus }),
            Some(Subcommands::Rbac { files }) => Command::Rbac(files),
            Some(Subcommands::Completion { shell }) => {
                Command::Print(manual::completion(Flags::command(), shell))
            }
            Some(Subcommands::Man { command }) => Command::Print(
                manual::page(Flags::command(), command.as_deref())
                    .map_err(|unknown| vec![unknown.to_string()])?,
            ),
            Some(Subcommands::Flags) => Command::Print(markdown()),
            None => Command::Serve(Box::new(self.serve(given, notices)?)),
        };
        Ok(Config { command, logging, notices: std::mem::take(notices) })
    }

    fn serve(self, given: &Given, notices: &mut Vec<String>) -> Result<Serve, Vec<String>> {
        let mut faults = Vec::new();
        let default_address = if self.standalone { Ipv4Addr::LOCALHOST } else { Ipv4Addr::UNSPECIFIED };
        let address = self.bind_address.unwrap_or(IpAddr::V4(default_address));
        if self.standalone && !address.is_loopback() {
            faults.push(format!(
                "--bind-address: expected a loopback address with --standalone, found {address}"
            ));
        }
        if self.config.is_none() && self.preset.is_empty() {
            faults.push("expected --config FILE or --preset NAME, found neither".to_owned());
        }
        // Less would list series without a pause, or look back at a moment in which none had a sample.
        if self.metrics_relist_interval < LEAST_RELIST_INTERVAL {
            faults.push(format!(
                "--metrics-relist-interval: expected {} or more, found {}",
                go_duration::format(LEAST_RELIST_INTERVAL),
                go_duration::format(self.metrics_relist_interval),
            ));
        }
        for (flag, time) in [
            ("prometheus-timeout", self.prometheus_timeout),
            ("scrape-interval", self.scrape_interval),
            ("scrape-timeout", self.scrape_timeout),
            ("embedded-retention", self.embedded_retention),
            ("idle-timeout", self.idle_timeout),
            ("request-timeout", self.request_timeout),
        ] {
            if time.is_zero() {
                faults.push(format!("--{flag}: expected more than 0s, found 0s"));
            }
        }
        if self.prometheus_max_queries == 0 {
            faults.push("--prometheus-max-queries: expected 1 or more, found 0".to_owned());
        }
        if self.max_connections < LEAST_CONNECTIONS {
            faults.push(format!(
                "--max-connections: expected {LEAST_CONNECTIONS} or more, found {}",
                self.max_connections
            ));
        }
        let max_age =
            if self.metrics_max_age.is_zero() { self.metrics_relist_interval } else { self.metrics_max_age };
        if max_age < self.metrics_relist_interval {
            faults.push(format!(
                "--metrics-max-age: expected at least the relist interval of {}, found {}: metrics would come and go",
                go_duration::format(self.metrics_relist_interval),
                go_duration::format(max_age),
            ));
        }
        let access = self.prometheus_access.validate(&mut faults, notices);
        let answers =
            AnswerLimits { one: self.prometheus_max_answer_bytes, all: self.prometheus_max_answers_bytes };
        for (flag, bytes, least) in [
            ("prometheus-max-answer-bytes", answers.one, LEAST_BYTES),
            ("prometheus-max-answers-bytes", answers.all, answers.one.saturating_mul(2)),
            ("prometheus-max-listing-bytes", self.prometheus_max_listing_bytes, LEAST_BYTES),
        ] {
            if !(least..=MOST_BYTES).contains(&bytes) {
                faults.push(format!("--{flag}: expected from {least} to {MOST_BYTES} bytes, found {bytes}"));
            }
        }
        let mut relist_interval = self.metrics_relist_interval;
        let mut keep = self.query_sharing;
        let source = if let Some(url) = self.prometheus_url {
            if !self.scrape_target.is_empty() {
                notices.push("--scrape-target has no effect: --prometheus-url names the source".to_owned());
            }
            SourceConfig::Prometheus(Box::new(PrometheusSettings {
                verb: self.prometheus_verb,
                gzip: self.prometheus_gzip.unwrap_or_else(|| gzip_pays(&url)),
                timeout: self.prometheus_timeout,
                max_queries: self.prometheus_max_queries,
                answers,
                listing: self.prometheus_max_listing_bytes,
                ..access.settings(url)
            }))
        } else {
            if self.scrape_target.is_empty() {
                faults.push(
                    "expected --prometheus-url URL, or --scrape-target LABELS@URL for the embedded engine"
                        .to_owned(),
                );
            }
            // A listing costs nothing in the process, so new series show with the next scrape.
            relist_interval = relist_interval.min(self.scrape_interval);
            if self.embedded_max_series < LEAST_SERIES {
                faults.push(format!(
                    "--embedded-max-series: expected {LEAST_SERIES} or more, found {}",
                    self.embedded_max_series
                ));
            }
            keep = keep.min(self.scrape_interval / 3);
            let scrape = ScrapeConfig {
                interval: self.scrape_interval,
                timeout: self.scrape_timeout.min(self.scrape_interval),
                ..ScrapeConfig::default()
            };
            SourceConfig::Embedded {
                targets: self.scrape_target,
                scrape,
                engine: EngineConfig {
                    retention: self.embedded_retention,
                    max_series: self.embedded_max_series,
                    max_series_per_target: (self.embedded_max_series / 4).min(LARGEST_SCRAPE),
                    ..EngineConfig::default()
                },
                ready_rounds: self.embedded_ready_rounds,
            }
        };
        let only_tls13 = match self.tls_min_version.as_str() {
            "VersionTLS13" => true,
            "" | "VersionTLS10" | "VersionTLS11" | "VersionTLS12" => false,
            other => {
                faults.push(format!(
                    "--tls-min-version: expected one of VersionTLS10, VersionTLS11, VersionTLS12, VersionTLS13, found {other:?}"
                ));
                false
            }
        };
        let host = if self.standalone {
            ClusterFlags::without_effect(given, notices);
            HostChoice::Standalone { dir: self.standalone_dir }
        } else {
            HostChoice::Cluster(Box::new(self.cluster.validate(address, &mut faults)))
        };
        if !faults.is_empty() {
            return Err(faults);
        }
        let mut accept = Limits {
            grace: Some(self.shutdown_grace),
            // The request's own deadline comes first: this is for what it does not cover.
            exchange: Some(self.request_timeout * 2),
            answer: self.request_timeout,
            idle: self.idle_timeout,
            ..Limits::default().with_connections(self.max_connections)
        };
        if self.http2_max_streams_per_connection > 0 {
            accept.http2_streams = self.http2_max_streams_per_connection;
        }
        Ok(Serve {
            rules: self.config,
            presets: self.preset,
            strict_rules: self.config_strict,
            source,
            sharing: (!keep.is_zero())
                .then_some(SharingSettings { keep, across_namespaces: self.query_sharing_across_namespaces }),
            relist_interval,
            max_age,
            host,
            server: ServerConfig {
                address: SocketAddr::new(address, self.secure_port),
                tls: TlsSettings {
                    only_tls13,
                    cipher_suites: entries(self.tls_cipher_suites),
                    http1_only: self.disable_http2,
                },
                named_certificates: self.tls_sni_cert_key,
                always_allow: entries(self.authorization_always_allow_paths),
                audit: self.audit.validate(notices),
                accept,
                requests: RequestLimits {
                    timeout: self.request_timeout,
                    in_flight: self.max_requests_inflight,
                    mutating_in_flight: self.max_mutating_requests_inflight,
                },
                // Without a Service in front, no client has to learn first that the server leaves.
                shutdown_delay: self.shutdown_delay_duration.unwrap_or(if self.standalone {
                    Duration::ZERO
                } else {
                    SHUTDOWN_DELAY
                }),
                status_page: self.status_page,
            },
        })
    }
}

/// Every flag as Markdown, for `docs/flags.md`.
pub(super) fn markdown() -> String {
    use std::fmt::Write as _;
    let mut text = manual::flags(Flags::command());
    text.push_str("\n### Taken without effect\n\n| Flag | Why |\n|---|---|\n");
    for ignored in super::upstream::all_ignored() {
        // Writing to memory does not fail.
        let _ = writeln!(text, "| `--{}` | {} |", ignored.name, ignored.why);
    }
    text
}

/// So that each of its parts is one at least.
const LEAST_CONNECTIONS: usize = 16;
/// Of the embedded engine: fewer are one small target's.
const LEAST_SERIES: usize = 1_000;
/// The series that one target may have at most: as many as one scrape may have samples.
const LARGEST_SCRAPE: usize = 50_000;
/// For limits of memory: less has no room for an ordinary answer.
const LEAST_BYTES: usize = 64 << 10;
const MOST_BYTES: usize = 1 << 30;
const LEAST_RELIST_INTERVAL: Duration = Duration::from_secs(1);

fn verb(text: &str) -> Result<Verb, String> {
    match text {
        "GET" => Ok(Verb::Get),
        "POST" => Ok(Verb::Post),
        _ => Err("expected GET or POST".to_owned()),
    }
}

fn log_format(text: &str) -> Result<logging::Format, String> {
    match text {
        "text" => Ok(logging::Format::Text),
        "json" => Ok(logging::Format::Json),
        _ => Err("expected text or json".to_owned()),
    }
}

fn target(text: &str) -> Result<Target, String> {
    let form = "expected LABELS@URL, such as namespace=default,pod=a@http://127.0.0.1:8080/metrics";
    let (labels, url) = text.split_once('@').ok_or(form)?;
    let labels = labels
        .split(',')
        .filter(|pair| !pair.is_empty())
        .map(|pair| {
            let (name, value) =
                pair.split_once('=').ok_or_else(|| format!("{form}; found a label without ="))?;
            Ok((name.trim().to_owned(), value.trim().to_owned()))
        })
        .collect::<Result<Vec<(String, String)>, String>>()?;
    Target::new(url, labels).map_err(|error| error.to_string())
}

/// As long as kube-proxy may need to learn that an endpoint leaves.
const SHUTDOWN_DELAY: Duration = Duration::from_secs(10);
/// The version, and the commit if the build was told it: images are, a plain `cargo build` is not, so that a new commit
/// compiles nothing again.
static VERSION: LazyLock<String> = LazyLock::new(|| {
    let commit = option_env!("BUILD_COMMIT").unwrap_or("unknown");
    format!("{} (commit {commit})", env!("CARGO_PKG_VERSION"))
});
