//! `adapter serve`: makes the parts that the configuration asks for and runs them.

use std::io;
use std::num::NonZero;
use std::process::ExitCode;
use std::sync::Arc;

use futures_util::FutureExt as _;
use serve::error_chain;
use tokio::runtime::{Builder, Handle, Runtime};

use super::exit_status::UNUSABLE;
use crate::allocator;
use crate::app::{self, AppError, POLL, Parts};
use crate::config::{Serve, SourceConfig};
use crate::relist::RelistSettings;
use crate::rules_file::{RulesFile, log_findings};
use crate::source::embedded::Embedded;
use crate::source::guarded::GuardSettings;
use crate::source::prometheus::Prometheus;
use crate::status_page::Targets;
use crate::telemetry::Telemetry;

/// Serves until told to end.
pub(super) fn run(config: Serve) -> ExitCode {
    allocator::share_one_arena();
    // The one crypto provider of the process, for clients too.
    let _ = rustls::crypto::ring::default_provider().install_default();
    // Objects are watched beside the threads that serve: a list of all pods takes a thread for seconds.
    let (serving, watching) = match (runtime(threads()), runtime(1)) {
        (Ok(serving), Ok(watching)) => (serving, watching),
        (Err(error), _) | (_, Err(error)) => {
            tracing::error!(%error, "cannot start the async runtime");
            return ExitCode::FAILURE;
        }
    };
    let handle = watching.handle().clone();
    let outcome = serving.block_on(async { app::run(parts(config, handle)?).await });
    // Tasks that block must not hold up the end.
    serving.shutdown_background();
    watching.shutdown_background();
    match outcome {
        Ok(_) => ExitCode::SUCCESS,
        Err(error @ (AppError::Rules(_) | AppError::Source(_))) => {
            eprintln!("{}", error_chain(&error));
            ExitCode::from(UNUSABLE)
        }
        Err(error) => {
            tracing::error!("exiting: {}", error_chain(&error));
            ExitCode::FAILURE
        }
    }
}

fn runtime(threads: usize) -> io::Result<Runtime> {
    Builder::new_multi_thread().worker_threads(threads).enable_all().build()
}

/// Threads that serve. Prometheus works longer on a query than this server on its answer, so that a few are enough, and
/// each wakes the others.
fn threads() -> usize {
    let available = std::thread::available_parallelism().map_or(1, NonZero::get);
    available.div_ceil(2).min(MOST_THREADS)
}

fn parts(config: Serve, watching: Handle) -> Result<Parts, AppError> {
    let Serve { rules, presets, strict_rules, source, sharing, relist_interval, max_age, host, server } =
        config;
    let (file, rules) = RulesFile::with_presets(rules.as_deref(), &presets, strict_rules)?;
    log_findings(&rules);
    let rules = Arc::new(rules);
    let telemetry = Arc::new(Telemetry::new(&rules));
    telemetry.watch_file(file.stats());
    let mut scraped: Targets = Arc::new(Vec::new);
    let mut source_files = std::future::pending().boxed();
    let (source, guard, source_ready) = match source {
        SourceConfig::Prometheus(settings) => {
            let guard = GuardSettings::remote(settings.max_queries, settings.timeout);
            let prometheus = Arc::new(Prometheus::new(*settings)?);
            telemetry.watch_answers(prometheus.answer_stats());
            for stats in prometheus.file_stats() {
                telemetry.watch_file(Arc::clone(stats));
            }
            source_files = Arc::clone(&prometheus).follow_files(POLL).boxed();
            (prometheus as Arc<dyn crate::source::MetricSource>, guard, std::future::ready(()).boxed())
        }
        SourceConfig::Embedded { targets, scrape, engine, ready_rounds } => {
            let embedded = Embedded::start(engine, scrape, targets)?;
            telemetry.watch_engine(embedded.engine());
            let ready = embedded.rounds(ready_rounds);
            let guard = GuardSettings::local(embedded.threads());
            let embedded = Arc::new(embedded);
            let scraping = Arc::clone(&embedded);
            scraped = Arc::new(move || scraping.targets());
            (embedded as Arc<dyn crate::source::MetricSource>, guard, ready)
        }
    };
    let relist = RelistSettings { interval: relist_interval, max_age, timeout: server.requests.timeout };
    Ok(Parts {
        file,
        rules,
        source,
        source_ready,
        guard,
        sharing,
        targets: scraped,
        relist,
        source_files,
        host,
        watching,
        server,
        telemetry,
    })
}

const MOST_THREADS: usize = 4;
