//! The engine in this process: it scrapes the targets itself.

use std::num::NonZero;
use std::sync::Arc;
use std::time::{Instant, SystemTime};

use engine::interrupt::Interrupt;
use engine::labels::METRIC_NAME;
use engine::scrape::{ScrapeConfig, Scraper, Target};
use engine::value::Value;
use engine::{Engine, EngineConfig, QueryError};
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use rules::catalog::Series;
use tokio::sync::Semaphore;

use super::{Held, Listing, MetricSource, QueryResult, Sample, Samples, SourceError, SourceErrorClass};
use crate::status::TargetStatus;

/// An engine and the scraping that feeds it.
pub struct Embedded {
    engine: Engine,
    scraper: Scraper,
    /// Maximum number of evaluations at the same time: more would only slow each other down.
    threads: usize,
    /// A place for each of them. An evaluation whose caller has gone holds its place until it stops.
    places: Arc<Semaphore>,
}

impl Embedded {
    /// Starts scraping.
    ///
    /// # Errors
    /// No HTTP client can be made.
    pub fn start(
        config: EngineConfig,
        scrape: ScrapeConfig,
        targets: Vec<Target>,
    ) -> Result<Embedded, SourceError> {
        let engine = Engine::new(config);
        let scraper = Scraper::start(&engine, scrape, targets).map_err(|error| {
            SourceError::new(SourceErrorClass::Unavailable, format!("no HTTP client for scraping: {error}"))
        })?;
        let threads = std::thread::available_parallelism().map_or(1, NonZero::get).max(LEAST_THREADS);
        Ok(Embedded { engine, scraper, threads, places: Arc::new(Semaphore::new(threads)) })
    }

    /// Waits until every target was scraped this number of times.
    pub fn rounds(&self, rounds: u64) -> BoxFuture<'static, ()> {
        self.scraper.rounds(rounds).boxed()
    }

    /// Maximum number of evaluations at the same time.
    pub fn threads(&self) -> usize {
        self.threads
    }

    /// Shares the engine.
    pub fn engine(&self) -> Engine {
        self.engine.clone()
    }

    /// How each target's last scrape went.
    pub fn targets(&self) -> Vec<TargetStatus> {
        let statuses = self.scraper.statuses().into_iter();
        statuses
            .map(|engine::scrape::TargetStatus { target, scrapes, samples, error }| TargetStatus {
                url: target.place().into(),
                labels: target
                    .labels
                    .iter()
                    .map(|(label, value)| (label.to_owned(), value.to_owned()))
                    .collect(),
                scrapes,
                samples,
                error,
            })
            .collect()
    }

    /// Works on the engine's samples beside the threads that serve. The work stops at the deadline, and when its
    /// caller has gone.
    async fn work<T: Send + 'static>(
        &self,
        deadline: Instant,
        work: impl FnOnce(&Engine, &Interrupt) -> Result<T, SourceError> + Send + 'static,
    ) -> Result<T, SourceError> {
        let place = Arc::clone(&self.places).acquire_owned();
        // The semaphore is never closed.
        let Ok(Ok(place)) = tokio::time::timeout_at(deadline.into(), place).await else {
            return Err(SourceError::new(
                SourceErrorClass::Busy,
                "other queries kept the embedded engine busy until the request's time was over",
            ));
        };
        let interrupt = CancelOnDrop(Interrupt::at(deadline));
        let (engine, stop) = (self.engine.clone(), interrupt.0.clone());
        let done = tokio::task::spawn_blocking(move || {
            let _place = place;
            work(&engine, &stop)
        });
        done.await.map_err(|error| {
            let message = format!("the embedded engine failed on the query: {error}");
            SourceError::new(SourceErrorClass::Unavailable, message)
        })?
    }
}

/// Stops an evaluation whose caller has gone.
struct CancelOnDrop(Interrupt);

impl Drop for CancelOnDrop {
    fn drop(&mut self) {
        self.0.cancel();
    }
}

impl MetricSource for Embedded {
    fn series<'a>(
        &'a self,
        selector: &'a str,
        since: SystemTime,
        deadline: Instant,
    ) -> BoxFuture<'a, Result<Listing, SourceError>> {
        let selector = selector.to_owned();
        self.work(deadline, move |engine, stop| list(engine, &selector, (since, SystemTime::now()), stop))
            .boxed()
    }

    fn query<'a>(
        &'a self,
        promql: &'a str,
        time: SystemTime,
        deadline: Instant,
    ) -> BoxFuture<'a, Result<QueryResult, SourceError>> {
        let promql = promql.to_owned();
        self.work(deadline, move |engine, stop| evaluate(engine, &promql, time, stop)).boxed()
    }

    fn ready(&self) -> BoxFuture<'_, Result<(), SourceError>> {
        std::future::ready(Ok(())).boxed()
    }

    fn name(&self) -> &'static str {
        "embedded"
    }
}

/// The series with a sample from a time to another.
pub(crate) fn list(
    engine: &Engine,
    selector: &str,
    (since, until): (SystemTime, SystemTime),
    stop: &Interrupt,
) -> Result<Listing, SourceError> {
    let times = (unix_ms(since), unix_ms(until));
    let found = engine.series(selector, times, stop).map_err(|error| failure(&error))?;
    let mut series: Vec<Series> = found
        .iter()
        .map(|labels| Series {
            name: labels.value(METRIC_NAME).unwrap_or_default().into(),
            label_names: labels
                .pairs()
                .iter()
                .map(|(name, _)| Arc::clone(name))
                .filter(|name| &**name != METRIC_NAME)
                .collect(),
        })
        .collect();
    series.sort();
    series.dedup();
    Ok(Listing { series, warnings: Vec::new() })
}

/// The value of a query at a time.
pub(crate) fn evaluate(
    engine: &Engine,
    promql: &str,
    time: SystemTime,
    stop: &Interrupt,
) -> Result<QueryResult, SourceError> {
    let time_ms = unix_ms(time);
    let value = match engine.query_until(promql, time_ms, stop).map_err(|error| failure(&error))? {
        Value::Vector(samples) => Samples::Vector(
            samples
                .into_iter()
                .map(|sample| Sample {
                    labels: sample.labels.pairs().to_vec(),
                    timestamp_ms: sample.time_ms,
                    value: sample.value,
                })
                .collect(),
        ),
        Value::Scalar(value) => Samples::Scalar { timestamp_ms: time_ms, value },
        other => {
            return Err(SourceError::new(
                SourceErrorClass::WrongType,
                format!("the query yields a {}, expected an instant vector or a scalar", other.type_name()),
            ));
        }
    };
    Ok(QueryResult { value, warnings: Vec::new(), histograms_dropped: 0, held: Held::default() })
}

/// The query's text stays out of the message: an answer shows it.
fn failure(error: &QueryError) -> SourceError {
    if *error == QueryError::Interrupted {
        return SourceError::new(
            SourceErrorClass::Timeout,
            "the embedded engine did not end the query in time",
        );
    }
    let message = match error {
        QueryError::Parse { message, .. } => format!("cannot parse the query: {message}"),
        other => other.to_string(),
    };
    SourceError::new(SourceErrorClass::BadQuery, message)
}

fn unix_ms(time: SystemTime) -> i64 {
    time.duration_since(SystemTime::UNIX_EPOCH).map_or(0, |elapsed| elapsed.as_millis() as i64)
}

const LEAST_THREADS: usize = 2;
