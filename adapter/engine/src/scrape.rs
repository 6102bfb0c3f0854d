//! Reads targets at an interval and appends what they expose to the store.
//!
//! The labels are Prometheus': the target's own win over the exposed ones, which then begin with `exported_`; `up` and
//! the `scrape_*` series tell how the scrape went; a series that is gone from its target is marked stale, as are all of
//! them when the target does not answer or is dropped.

mod clock;
mod config;
mod error;
mod round;
mod series;
mod status;
mod target;

use std::time::{Duration, Instant};

use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::Engine;
use clock::now_ms;
pub use config::ScrapeConfig;
use round::TargetLoop;
pub use status::TargetStatus;
pub use target::{Target, TargetError};

/// Scrapes until dropped.
#[derive(Debug)]
pub struct Scraper {
    statuses: Vec<watch::Receiver<TargetStatus>>,
    // Dropping it ends the loops.
    _loops: JoinSet<()>,
}

impl Scraper {
    /// Starts scraping: each target immediately, then spread over the interval.
    ///
    /// # Errors
    /// No HTTP client can be made.
    pub fn start(
        engine: &Engine,
        config: ScrapeConfig,
        targets: Vec<Target>,
    ) -> Result<Scraper, reqwest::Error> {
        let client = client(&config, &targets)?;
        let count = u32::try_from(targets.len().max(1)).unwrap_or(u32::MAX);
        let started = Instant::now();
        let mut loops = JoinSet::new();
        let mut statuses = Vec::new();
        for (position, target) in targets.into_iter().enumerate() {
            let status = TargetStatus { target: target.clone(), scrapes: 0, samples: 0, error: None };
            let (publish, status) = watch::channel(status);
            let offset = config.interval / count * u32::try_from(position).unwrap_or_default();
            let target_loop = TargetLoop::new(engine.clone(), client.clone(), config, target, publish);
            loops.spawn(target_loop.run(started + offset));
            statuses.push(status);
        }
        let store = engine.clone();
        loops.spawn(async move {
            loop {
                tokio::time::sleep(TRUNCATE_EVERY).await;
                store.store().truncate(now_ms());
            }
        });
        Ok(Scraper { statuses, _loops: loops })
    }

    /// How each target's last scrape went.
    pub fn statuses(&self) -> Vec<TargetStatus> {
        self.statuses.iter().map(|status| status.borrow().clone()).collect()
    }

    /// Waits until every target was scraped this number of times, with or without success.
    pub fn rounds(&self, rounds: u64) -> impl Future<Output = ()> + Send + 'static {
        let statuses = self.statuses.clone();
        async move {
            for mut status in statuses {
                // A loop that ended will never reach the round.
                let _ = status.wait_for(|status| status.scrapes >= rounds).await;
            }
        }
    }
}

/// The client of all targets. As Prometheus' own it uses no proxy of the environment.
fn client(config: &ScrapeConfig, targets: &[Target]) -> Result<reqwest::Client, reqwest::Error> {
    let builder = || {
        reqwest::Client::builder()
            .timeout(config.timeout.min(config.interval))
            .redirect(reqwest::redirect::Policy::none())
            .pool_max_idle_per_host(1)
            .no_proxy()
    };
    // A machine without certificates of authorities can scrape by plain HTTP all the same.
    let without_authorities = || builder().tls_certs_only([]).build();
    if targets.iter().all(|target| target.url.scheme() == "http") {
        return without_authorities();
    }
    builder().build().or_else(|error| {
        let mut cause: &dyn std::error::Error = &error;
        while let Some(source) = cause.source() {
            cause = source;
        }
        tracing::warn!(%cause, "cannot load the CA certificates of this machine; scrapes over HTTPS will fail");
        without_authorities()
    })
}

const TRUNCATE_EVERY: Duration = Duration::from_secs(30);
