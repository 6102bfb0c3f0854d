//! Joins the parts and runs them until the program is told to end. The only module that knows everyone.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use apiservice::accept::{self, AcceptLimits, Ended};
use apiservice::authn::{Authenticator, AuthnError, ClientCertificates, Union};
use apiservice::authority::AuthorityError;
use apiservice::authz::{AlwaysAllowPaths, Chain, MASTERS, PrivilegedGroup};
use apiservice::discovery::DiscoveryHandle;
use apiservice::health::{Health, Scope};
use apiservice::lifecycle::{Phase, lifecycle};
use apiservice::server::{ApiServer, RequestLimits};
use apiservice::tls::{self, ServingCertificate, TlsError, TlsSettings};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::answer::Answerer;
use crate::objects::Objects;
use crate::objects::scraped::ScrapedObjects;
use crate::relist::{CatalogHandle, RelistSettings, Relister};
use crate::rules_file::{self, RulesFile, RulesFileError};
use crate::served;
use crate::source::MetricSource;
use crate::source::observed::Observed;
use crate::standalone::Standalone;
use crate::telemetry::Telemetry;

/// Why the program could not start, or ended.
#[derive(Debug, thiserror::Error)]
pub enum AppError {
    /// The rule file is not usable.
    #[error(transparent)]
    Rules(#[from] RulesFileError),
    /// TLS could not be set up.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// A file of standalone mode could not be made.
    #[error(transparent)]
    Standalone(#[from] AuthorityError),
    /// The authority for client certificates is not usable.
    #[error("client certificates cannot be checked: {0}")]
    ClientAuthority(#[from] AuthnError),
    /// The address could not be listened on.
    #[error("cannot listen on {address}: {cause}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// The operating system's reason.
        cause: std::io::Error,
    },
    /// The metric source could not be set up.
    #[error("the metric source cannot be used: {0}")]
    Source(String),
    /// A task that runs as long as the program ended before it.
    #[error("the {0} ended unexpectedly")]
    TaskEnded(&'static str),
}
