//! One target's scrapes, one after another.

use std::time::{Duration, Instant};

use reqwest::header::{ACCEPT, CONTENT_TYPE};
use tokio::sync::watch;

use super::clock::now_ms;
use super::config::ScrapeConfig;
use super::error::ScrapeError;
use super::series::TargetSeries;
use super::status::TargetStatus;
use super::target::Target;
use crate::Engine;
use crate::store::StoreFull;

/// Scrapes one target until the program ends.
pub(super) struct TargetLoop {
    client: reqwest::Client,
    config: ScrapeConfig,
    target: Target,
    publish: watch::Sender<TargetStatus>,
    series: TargetSeries,
    churn_told: Option<Instant>,
}

impl TargetLoop {
    pub(super) fn new(
        engine: Engine,
        client: reqwest::Client,
        config: ScrapeConfig,
        target: Target,
        publish: watch::Sender<TargetStatus>,
    ) -> TargetLoop {
        let series = TargetSeries::new(engine, target.labels.clone(), config.sample_limit);
        TargetLoop { client, config, target, publish, series, churn_told: None }
    }

    /// The first scrape is immediate; the later ones keep to `aligned` and its multiples of the interval, so that the
    /// targets' scrapes spread.
    pub(super) async fn run(mut self, aligned: Instant) {
        loop {
            self.scrape().await;
            self.sleep_until_next(aligned).await;
        }
    }

    async fn sleep_until_next(&self, aligned: Instant) {
        let interval = self.config.interval;
        let passed = Instant::now().saturating_duration_since(aligned);
        let next = aligned
            + interval * u32::try_from(passed.as_nanos() / interval.as_nanos() + 1).unwrap_or(u32::MAX);
        tokio::time::sleep_until(next.into()).await;
    }

    async fn scrape(&mut self) {
        let time_ms = now_ms();
        let started = Instant::now();
        let before = self.series.count();
        let evicted = self.series.evicted();
        let outcome = match self.fetch().await {
            Ok((body, content_type)) => self.append(body, content_type, time_ms).await,
            Err(error) => {
                self.series.forget(time_ms);
                Err(error)
            }
        };
        let samples = *outcome.as_ref().unwrap_or(&0);
        let added = self.series.count().saturating_sub(before);
        self.series.report("up", f64::from(u8::from(outcome.is_ok())), time_ms);
        self.series.report("scrape_duration_seconds", started.elapsed().as_secs_f64(), time_ms);
        self.series.report("scrape_samples_scraped", samples as f64, time_ms);
        self.series.report("scrape_samples_post_metric_relabeling", samples as f64, time_ms);
        self.series.report("scrape_series_added", added as f64, time_ms);
        self.tell_of_churn(self.series.evicted() - evicted);
        // All targets find a full store so: told of once for all of them.
        let store_is_full = matches!(outcome, Err(ScrapeError::NoRoom(StoreFull::All(_))));
        if store_is_full && self.series.store().tells_that_it_is_full(Instant::now()) {
            tracing::warn!(
                target = %self.target,
                series = self.series.store().series_count(),
                "cannot store the series of a target, and maybe of others: the embedded engine has as many as it may; \
                 raise --embedded-max-series and the memory limit"
            );
        }
        self.publish.send_modify(|status| {
            status.scrapes += 1;
            status.samples = samples;
            let error = outcome.err().map(|error| error.to_string());
            if error.is_some() && error != status.error && !store_is_full {
                tracing::warn!(target = %status.target, error = error.as_deref(), "scrape failed");
            }
            status.error = error;
        });
    }

    /// A target whose labels change all the time fills its share with series that are gone.
    fn tell_of_churn(&mut self, evicted: u64) {
        if evicted > 0 && self.churn_told.is_none_or(|told| told.elapsed() >= TELL_OF_CHURN) {
            self.churn_told = Some(Instant::now());
            tracing::warn!(
                target = %self.target,
                evicted,
                "dropping series that left the target before their retention ends, as new ones need the room; check \
                 whether its labels change with every scrape"
            );
        }
    }

    /// Reads a long text beside the threads that serve.
    async fn append(
        &mut self,
        body: String,
        content_type: String,
        time_ms: i64,
    ) -> Result<usize, ScrapeError> {
        if body.len() <= LONG_BODY {
            return self.series.append(&body, &content_type, time_ms);
        }
        let mut series = self.series.take();
        let work = move || {
            let outcome = series.append(&body, &content_type, time_ms);
            (series, outcome)
        };
        let (series, outcome) = tokio::task::spawn_blocking(work).await?;
        self.series = series;
        outcome
    }

    async fn fetch(&self) -> Result<(String, String), ScrapeError> {
        let timeout = self.config.timeout.min(self.config.interval);
        let request = self
            .client
            .get(self.target.url.clone())
            .header(ACCEPT, ACCEPTED)
            .header("X-Prometheus-Scrape-Timeout-Seconds", timeout.as_secs_f64().to_string());
        let mut response = request.send().await?;
        if !response.status().is_success() {
            return Err(ScrapeError::Status(response.status()));
        }
        let content_type = response.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
        let content_type = content_type.unwrap_or_default().to_owned();
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await? {
            if body.len() + chunk.len() > self.config.body_limit {
                return Err(ScrapeError::BodyTooLarge { limit: self.config.body_limit });
            }
            body.extend_from_slice(&chunk);
        }
        Ok((String::from_utf8(body)?, content_type))
    }
}

const LONG_BODY: usize = 256 << 10;
const TELL_OF_CHURN: Duration = Duration::from_mins(10);
/// What Prometheus' scraper asks for, without the forms that this one does not read.
const ACCEPTED: &str =
    "application/openmetrics-text;version=1.0.0;q=0.75,text/plain;version=0.0.4;q=0.5,*/*;q=0.1";
