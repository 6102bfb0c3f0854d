//! The command line: every flag of prometheus-adapter, and our own.
//!
//! Flags are read as Go's pflag reads them ([`pflag`]). A flag that has no effect here is taken and said once in the log, so that an unmodified deployment starts.

mod audit;
mod cluster;
mod pflag;
mod raw;
mod upstream;

use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use apiservice::accept::Limits;
use apiservice::server::RequestLimits;
use apiservice::tls::{NamedCertificate, TlsSettings};
use clap::{CommandFactory as _, Parser as _};
use engine::scrape::{ScrapeConfig, Target};

use crate::cluster::ClusterConfig;
use crate::logging;
use crate::source::prometheus::PrometheusSettings;
use raw::Raw;

pub use audit::AuditConfig;

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
    Check(Vec<PathBuf>),
}

/// How to serve.
#[derive(Debug)]
pub struct Serve {
    /// The rule file.
    pub rules: PathBuf,
    /// Whether a rule file with any fault is refused whole.
    pub strict_rules: bool,
    /// Where samples come from.
    pub source: SourceConfig,
    /// How often series are listed.
    pub relist_interval: Duration,
    /// How far back a listing looks; the interval when not given.
    pub max_age: Duration,
    /// Whose objects and callers.
    pub host: HostChoice,
    /// Where to listen.
    pub address: SocketAddr,
    /// How TLS is spoken.
    pub tls: TlsSettings,
    /// Certificates for names that clients may call, besides the one for all.
    pub named_certificates: Vec<NamedCertificate>,
    /// Paths that anybody may use.
    pub always_allow: Vec<String>,
    /// Which requests are recorded, and where; `None` records none.
    pub audit: Option<AuditConfig>,
    /// Limits on connections, and the time for requests under way when draining.
    pub accept: Limits,
    /// Limits on requests.
    pub requests: RequestLimits,
    /// How long to serve after the signal to end.
    pub shutdown_delay: Duration,
}

/// Whose objects and callers.
#[derive(Debug)]
pub enum HostChoice {
    /// Nobody's: no Kubernetes API.
    Standalone {
        /// Where the files for callers go; a temporary folder when not given.
        dir: Option<PathBuf>,
    },
    /// A cluster's.
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
        /// How long samples are kept.
        retention: Duration,
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

/// Why there is no configuration.
#[derive(Debug)]
pub enum UsageError {
    /// `--help` or `--version`: no error, a text for standard output.
    Asked(String),
    /// Everything that is wrong with the arguments.
    Faults(Vec<String>),
}

impl UsageError {
    /// 0 when a text was asked for, else 64 (`EX_USAGE`).
    pub fn exit_code(&self) -> u8 {
        match self {
            UsageError::Asked(_) => 0,
            UsageError::Faults(_) => 64,
        }
    }
}

impl std::fmt::Display for UsageError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            UsageError::Asked(text) => f.write_str(text),
            UsageError::Faults(faults) => {
                for fault in faults {
                    writeln!(f, "{fault}")?;
                }
                f.write_str("--help explains every flag\n")
            }
        }
    }
}

/// Reads the arguments behind the program's name.
///
/// # Errors
/// Every fault of the arguments at once, or the text of `--help`.
pub fn parse(arguments: impl IntoIterator<Item = OsString>) -> Result<Config, UsageError> {
    let (arguments, mut notices) = pflag::normalise(Raw::command(), arguments);
    let raw = Raw::try_parse_from(arguments).map_err(|error| {
        use clap::error::ErrorKind;
        match error.kind() {
            ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => UsageError::Asked(error.to_string()),
            _ => UsageError::Faults(vec![fault(&error)]),
        }
    })?;
    raw.validate(&mut notices).map_err(UsageError::Faults)
}

/// What is wrong, as clap says it. It repeats the value at fault, which must not be shown where it may hold a credential.
fn fault(error: &clap::Error) -> String {
    use std::error::Error as _;
    let flag = match error.get(clap::error::ContextKind::InvalidArg) {
        Some(clap::error::ContextValue::String(flag)) => flag.as_str(),
        _ => "",
    };
    match error.source() {
        Some(cause) if SECRET.iter().any(|secret| flag.starts_with(secret)) => {
            format!("error: invalid value for '{flag}': {cause}")
        }
        // What shows all flags is said once, behind all faults.
        _ => {
            let text = error.to_string();
            let text = text.trim_end();
            text.strip_suffix(CLAPS_HINT).unwrap_or(text).trim_end().to_owned()
        }
    }
}

const CLAPS_HINT: &str = "For more information, try '--help'.";
/// Flags whose values may hold credentials.
const SECRET: [&str; 3] = ["--prometheus-header", "--prometheus-url", "--scrape-target"];

#[cfg(test)]
mod tests;
