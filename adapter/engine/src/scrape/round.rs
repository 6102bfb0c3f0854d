//! One target's scrapes, one after another.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::time::{Duration, Instant, SystemTime};

use reqwest::header::{ACCEPT, CONTENT_TYPE};
use tokio::sync::watch;

use super::{ScrapeConfig, Target, TargetStatus};
use crate::Engine;
use crate::exposition::{self, Exposed};
use crate::labels::{Labels, METRIC_NAME};
use crate::store::SeriesRef;

/// Scrapes one target for ever.
pub(super) struct TargetLoop {
    engine: Engine,
    client: reqwest::Client,
    config: ScrapeConfig,
    target: Target,
    publish: watch::Sender<TargetStatus>,
    known: HashMap<u64, Known>,
    scrapes: u64,
}

/// A series seen in the last scrape, by the hash of what was exposed: the next scrape finds it without making labels.
struct Known {
    series: SeriesRef,
    seen_in: u64,
}

impl TargetLoop {
    pub(super) fn new(
        engine: Engine,
        client: reqwest::Client,
        config: ScrapeConfig,
        target: Target,
        publish: watch::Sender<TargetStatus>,
    ) -> TargetLoop {
        TargetLoop { engine, client, config, target, publish, known: HashMap::new(), scrapes: 0 }
    }

    /// The first scrape is at once; the later ones keep to `aligned` and its multiples of the interval, so that the
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
        self.scrapes += 1;
        let before = self.known.len();
        let outcome = match self.fetch().await {
            Ok((body, content_type)) => self.append(&body, &content_type, time_ms),
            Err(error) => Err(error),
        };
        if outcome.is_err() {
            // What was there is not known any more.
            self.scrapes += 1;
        }
        self.mark_gone(time_ms);
        let samples = *outcome.as_ref().unwrap_or(&0);
        let added = self.known.len().saturating_sub(before);
        self.report("up", f64::from(u8::from(outcome.is_ok())), time_ms);
        self.report("scrape_duration_seconds", started.elapsed().as_secs_f64(), time_ms);
        self.report("scrape_samples_scraped", samples as f64, time_ms);
        self.report("scrape_samples_post_metric_relabeling", samples as f64, time_ms);
        self.report("scrape_series_added", added as f64, time_ms);
        self.publish.send_modify(|status| {
            status.scrapes += 1;
            status.samples = samples;
            let error = outcome.err();
            if error.is_some() && error != status.error {
                tracing::warn!(target = %status.target, error = error.as_deref(), "scrape failed");
            }
            status.error = error;
        });
    }

    async fn fetch(&self) -> Result<(String, String), String> {
        let timeout = self.config.timeout.min(self.config.interval);
        let request = self
            .client
            .get(self.target.url.clone())
            .header(ACCEPT, ACCEPTED)
            .header("X-Prometheus-Scrape-Timeout-Seconds", timeout.as_secs_f64().to_string());
        let mut response = request.send().await.map_err(|error| describe(&error))?;
        if !response.status().is_success() {
            return Err(format!("expected status 200, found {}", response.status()));
        }
        let content_type = response.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
        let content_type = content_type.unwrap_or_default().to_owned();
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(|error| describe(&error))? {
            if body.len() + chunk.len() > self.config.body_limit {
                return Err(format!("the body is larger than the limit of {} bytes", self.config.body_limit));
            }
            body.extend_from_slice(&chunk);
        }
        let body = String::from_utf8(body).map_err(|error| format!("expected UTF-8: {error}"))?;
        Ok((body, content_type))
    }

    /// Appends a scrape whole or not at all: the text is read to its end before anything is stored.
    fn append(&mut self, body: &str, content_type: &str, time_ms: i64) -> Result<usize, String> {
        let mut exposed = Vec::new();
        for sample in exposition::samples(body, exposition::format_of(content_type)) {
            exposed.push(sample.map_err(|error| format!("this is no exposition: {error}"))?);
            if exposed.len() > self.config.sample_limit {
                return Err(format!("more samples than the limit of {}", self.config.sample_limit));
            }
        }
        for sample in &exposed {
            self.append_one(sample, time_ms)?;
        }
        Ok(exposed.len())
    }

    fn append_one(&mut self, sample: &Exposed<'_>, time_ms: i64) -> Result<(), String> {
        let key = key(sample);
        let time_ms = sample.time_ms.unwrap_or(time_ms);
        if let Some(known) = self.known.get_mut(&key) {
            known.seen_in = self.scrapes;
            if known.series.append(time_ms, sample.value).is_ok() {
                return Ok(());
            }
        }
        let labels = self.labels(sample);
        loop {
            let series = self.engine.store().intern(&labels).map_err(|error| error.to_string())?;
            // Dropped in between: interned anew.
            if series.append(time_ms, sample.value).is_ok() {
                self.known.insert(key, Known { series, seen_in: self.scrapes });
                return Ok(());
            }
        }
    }

    /// The exposed labels and the target's; where both have one, the exposed one is renamed.
    fn labels(&self, sample: &Exposed<'_>) -> Labels {
        let own = &self.target.labels;
        let exposed = sample.labels.iter().map(|(name, value)| {
            let name =
                if own.value(name).is_some() { format!("exported_{name}") } else { (*name).to_owned() };
            (name, value.to_string())
        });
        let own = own.iter().map(|(name, value)| (name.to_owned(), value.to_owned()));
        Labels::from_pairs(exposed.chain(own).chain([(METRIC_NAME.to_owned(), sample.name.to_owned())]))
    }

    fn mark_gone(&mut self, time_ms: i64) {
        let scrape = self.scrapes;
        self.known.retain(|_, known| {
            let here = known.seen_in == scrape;
            if !here {
                known.series.mark_stale(time_ms);
            }
            here
        });
    }

    fn report(&self, name: &str, value: f64, time_ms: i64) {
        let labels = self.target.labels.with(METRIC_NAME, name);
        match self.engine.store().intern(&labels) {
            Ok(series) => drop(series.append(time_ms, value)),
            Err(error) => tracing::warn!(%error, name, "a scrape could not be reported"),
        }
    }
}

/// When scraping ends, nothing is known of the target any more.
impl Drop for TargetLoop {
    fn drop(&mut self) {
        let time_ms = now_ms();
        for known in self.known.values() {
            known.series.mark_stale(time_ms);
        }
    }
}

fn key(sample: &Exposed<'_>) -> u64 {
    let mut hasher = DefaultHasher::new();
    sample.name.hash(&mut hasher);
    sample.labels.hash(&mut hasher);
    hasher.finish()
}

/// The innermost cause, which says what happened.
fn describe(error: &reqwest::Error) -> String {
    if error.is_timeout() {
        return "the target did not answer in time".to_owned();
    }
    let mut innermost: &dyn std::error::Error = error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    innermost.to_string()
}

pub(super) fn now_ms() -> i64 {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or(Duration::ZERO);
    i64::try_from(now.as_millis()).unwrap_or(i64::MAX)
}

/// What Prometheus' scraper asks for, without the forms that this one does not read.
const ACCEPTED: &str =
    "application/openmetrics-text;version=1.0.0;q=0.75,text/plain;version=0.0.4;q=0.5,*/*;q=0.1";
