//! Joins the parts and runs them until the shutdown signal. The only module that knows all others.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use apiservice::accept::{self, Ended};
use apiservice::authn::Union;
use apiservice::authority::AuthorityError;
use apiservice::authz::{AlwaysAllowPaths, Authorizer, Chain, MASTERS, PrivilegedGroup};
use apiservice::discovery::DiscoveryHandle;
use apiservice::health::{CheckHandle, Health, Scope};
use apiservice::lifecycle::{Phase, Shutdown, lifecycle};
use apiservice::server::{ApiServer, Observer};
use apiservice::tls::{self, NamedCertificates, TlsError};
use futures_util::future::BoxFuture;
use rules::RuleSet;
use tokio::runtime::Handle;
use tokio::sync::watch;

use crate::answer::Answerer;
use crate::audit::{self, AuditError};
use crate::cluster;
use crate::config::{HostChoice, ServerConfig};
use crate::discovery_documents;
use crate::host::{Host, HostError};
use crate::last_values::LastValues;
use crate::relist::{CatalogHandle, Changes, RelistSettings, Relister, Snapshot};
use crate::rule_report::RuleReport;
use crate::rules_file::{RulesFile, RulesFileError};
use crate::sharing::{Sharing, SharingSettings};
use crate::source::guarded::{GuardSettings, Guarded};
use crate::source::{MetricSource, SourceError};
use crate::standalone::Standalone;
use crate::status_page::{StatusPage, Targets};
use crate::tasks::Tasks;
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
    /// The address could not be listened on.
    #[error("cannot listen on {address}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// The operating system's reason.
        #[source]
        cause: std::io::Error,
    },
    /// What gives objects and callers is not usable.
    #[error(transparent)]
    Host(#[from] HostError),
    /// The audit log could not be set up.
    #[error(transparent)]
    Audit(#[from] AuditError),
    /// The metric source could not be set up.
    #[error("cannot use the metric source")]
    Source(#[from] SourceError),
    /// A task that runs as long as the program ended before it.
    #[error("background task {0:?} ended unexpectedly")]
    TaskEnded(&'static str),
}

/// What the program is made of, decided by the arguments.
pub struct Parts {
    /// The rule file, open.
    pub file: RulesFile,
    /// What it says.
    pub rules: Arc<RuleSet>,
    /// Where samples come from.
    pub source: Arc<dyn MetricSource>,
    /// Resolves once the source can answer the first series query: after scrapes, for the embedded engine.
    pub source_ready: BoxFuture<'static, ()>,
    /// How the source is guarded.
    pub guard: GuardSettings,
    /// How answers of the source are shared; `None`: not at all.
    pub sharing: Option<SharingSettings>,
    /// How series are listed.
    pub relist: RelistSettings,
    /// What the source scrapes itself.
    pub targets: Targets,
    /// Follows the files that access to the source depends on.
    pub source_files: BoxFuture<'static, ()>,
    /// Where Kubernetes objects and caller identities come from.
    pub host: HostChoice,
    /// Where the objects of a cluster are watched.
    pub watching: Handle,
    /// The server.
    pub server: ServerConfig,
    /// Metrics of our own.
    pub telemetry: Arc<Telemetry>,
}

/// Runs until a signal ends it.
///
/// # Errors
/// What keeps it from starting, and a part that ends before its time.
pub async fn run(parts: Parts) -> Result<Ended, AppError> {
    let started = Instant::now();
    let Parts {
        file,
        rules,
        source,
        source_ready,
        targets,
        source_files,
        guard,
        sharing,
        relist,
        host,
        watching,
        server,
        telemetry,
    } = parts;
    let ServerConfig {
        address,
        tls: tls_settings,
        named_certificates,
        always_allow,
        audit,
        accept: accept_limits,
        requests,
        shutdown_delay,
        status_page,
    } = server;
    let audit = audit.map(audit::open).transpose()?;
    let (audit, audit_stats) = audit.unzip();
    if let Some(stats) = audit_stats {
        telemetry.watch_audit(stats);
    }
    let mut tasks = Tasks::default();
    let health = Health::default();
    for name in ["ping", "log"] {
        health.check(name, Scope::Alive).pass();
    }
    let listed = health.check("series-listed", Scope::Ready);
    let staying = health.check("shutdown", Scope::Ready);
    staying.pass();
    let asked = health.check("source", Scope::Ready);

    let source = Arc::new(Guarded::new(source, guard, Arc::clone(&telemetry), asked));
    let (publish, follow) = watch::channel(Arc::clone(&rules));
    let (host, standalone) = match host {
        HostChoice::Standalone { dir } => {
            let standalone = Standalone::prepare(dir.as_deref())?;
            (standalone.host(Arc::clone(&source) as _)?, Some(standalone))
        }
        HostChoice::Cluster(config) => {
            (cluster::connect(*config, watching, POLL, &follow, &health, &mut tasks).await?, None)
        }
    };
    let Host { objects, kinds_changed, ready, authenticators, authorizers, reviews, files, certificate } =
        host;
    for (kind, stats) in reviews {
        telemetry.watch_reviews(kind, stats);
    }
    for stats in files {
        telemetry.watch_file(stats);
    }
    let catalog = CatalogHandle::waiting(&rules, &*objects);

    let listener = accept::listen(address).map_err(|cause| AppError::Listen { address, cause })?;
    let address = listener.local_addr().map_err(|cause| AppError::Listen { address, cause })?;
    let certificates = NamedCertificates::load(certificate, &named_certificates)?;
    let tls_config = tls::server_config(Arc::clone(&certificates) as _, &tls_settings)?;
    let discovery =
        DiscoveryHandle::new(discovery_documents::discovery(&rules, &catalog.load().catalog, address.port()));

    tasks.spawn("rule file", file.follow(POLL, publish));
    tasks.spawn("files of the metric source", source_files);
    for certificate in certificates.all() {
        if let Some(stats) = certificate.stats() {
            telemetry.watch_file(stats);
        }
        tasks.spawn("serving certificate", Arc::clone(certificate).follow(POLL));
    }
    let relister = Relister::new(
        relist,
        Arc::clone(&source) as _,
        Arc::clone(&objects),
        Changes { rules: follow, kinds: kinds_changed, recoveries: source.recoveries() },
        catalog.clone(),
        Arc::clone(&telemetry),
    );
    let mut publisher = DiscoveryPublisher {
        discovery: discovery.clone(),
        port: address.port(),
        listed,
        report: RuleReport::default(),
    };
    tasks.spawn_apart("series listing", async move {
        // Bounded: a source that never becomes ready must not keep the server out of service.
        let _ = tokio::time::timeout(LONGEST_START, futures_util::future::join(source_ready, ready)).await;
        relister.run(move |snapshot| publisher.publish(snapshot)).await;
    });

    let sharing = sharing.map(|settings| {
        let sharing = Arc::new(Sharing::new(Arc::clone(&source), settings, Arc::clone(&telemetry)));
        tasks.spawn("shared answers", Arc::clone(&sharing).sweep());
        sharing
    });
    let metrics = Arc::clone(&telemetry);
    let mut all_authorizers: Vec<Arc<dyn Authorizer>> =
        vec![Arc::new(PrivilegedGroup(MASTERS)), Arc::new(AlwaysAllowPaths::new(always_allow))];
    all_authorizers.extend(authorizers);
    let authorization = Chain::new(all_authorizers);
    let last_values = Arc::new(LastValues::default());
    telemetry.watch_last_values(Arc::clone(&last_values));
    let answerer = Answerer::new(
        catalog.clone(),
        objects,
        Arc::clone(&source),
        sharing,
        Arc::clone(&telemetry),
        last_values,
        authorization.clone(),
    );
    let page = StatusPage { catalog, source, targets, history: answerer.history(), started };
    let server = ApiServer {
        handler: Arc::new(answerer),
        discovery,
        health,
        authentication: Union::new(authenticators),
        authorization,
        limits: requests,
        metrics: Arc::new(move || metrics.text()),
        pages: status_page.then(|| page.into_page()).into_iter().collect(),
        observer: Arc::clone(&telemetry) as Arc<dyn Observer>,
        audit,
    };
    let (trigger, shutdown) = lifecycle();
    tokio::spawn(trigger.follow_signals(shutdown_delay));
    tasks.spawn("readiness", stop_being_ready(shutdown.clone(), staying));
    // Kept until the end: it removes its folder.
    if let Some(standalone) = &standalone {
        let kubeconfig = standalone.write_client_files(address)?;
        tracing::info!(%address, kubeconfig = %kubeconfig.display(), "serving");
    } else {
        tracing::info!(%address, "serving");
    }
    let serving = accept::serve(
        listener,
        tls_config,
        server.into_service(),
        shutdown,
        accept_limits,
        telemetry.accept_stats(),
    );
    tokio::select! {
        ended = serving => {
            tracing::info!(?ended, "exiting");
            Ok(ended)
        }
        name = tasks.first_to_end() => Err(AppError::TaskEnded(name)),
    }
}

/// Publishes and logs what a listing found.
struct DiscoveryPublisher {
    discovery: DiscoveryHandle,
    port: u16,
    listed: CheckHandle,
    report: RuleReport,
}

impl DiscoveryPublisher {
    fn publish(&mut self, snapshot: &Snapshot) {
        self.report.log(snapshot);
        self.discovery.publish(discovery_documents::discovery(&snapshot.rules, &snapshot.catalog, self.port));
        // One attempt is enough: from then on requests say themselves what is missing.
        self.listed.pass();
    }
}

async fn stop_being_ready(shutdown: Shutdown, staying: CheckHandle) {
    shutdown.reached(Phase::Leaving).await;
    staying.fail("process is shutting down");
    std::future::pending::<()>().await;
}

/// How often files are looked at.
pub(crate) const POLL: Duration = Duration::from_secs(5);
/// How long the first listing waits for the source.
const LONGEST_START: Duration = Duration::from_secs(30);
