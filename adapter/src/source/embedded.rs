//! The engine in this process: it scrapes the targets itself.

use std::sync::Arc;
use std::time::{Instant, SystemTime};

use engine::labels::METRIC_NAME;
use engine::scrape::{ScrapeConfig, Scraper, Target};
use engine::value::Value;
use engine::{Engine, EngineConfig, QueryError};
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use rules::catalog::Series;

use super::{Listing, MetricSource, QueryResult, Sample, Samples, SourceError, SourceErrorClass};

/// An engine and the scraping that feeds it.
pub struct Embedded {
    engine: Engine,
    scraper: Scraper,
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
        Ok(Embedded { engine, scraper })
    }

    /// Waits until every target was scraped so many times.
    pub fn rounds(&self, rounds: u64) -> BoxFuture<'static, ()> {
        self.scraper.rounds(rounds).boxed()
    }

    fn list(&self, selector: &str, since: SystemTime) -> Result<Listing, SourceError> {
        let now = unix_ms(SystemTime::now());
        let found = self.engine.series(selector, unix_ms(since), now).map_err(|error| failure(&error))?;
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

    fn evaluate(&self, promql: &str, time: SystemTime) -> Result<QueryResult, SourceError> {
        let time_ms = unix_ms(time);
        let value = match self.engine.query(promql, time_ms).map_err(|error| failure(&error))? {
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
                    format!(
                        "the query yields a {}, expected an instant vector or a scalar",
                        other.type_name()
                    ),
                ));
            }
        };
        Ok(QueryResult { value, warnings: Vec::new(), histograms_dropped: 0 })
    }
}

impl MetricSource for Embedded {
    fn series<'a>(
        &'a self,
        selector: &'a str,
        since: SystemTime,
        _deadline: Instant,
    ) -> BoxFuture<'a, Result<Listing, SourceError>> {
        std::future::ready(self.list(selector, since)).boxed()
    }

    fn query<'a>(
        &'a self,
        promql: &'a str,
        time: SystemTime,
        _deadline: Instant,
    ) -> BoxFuture<'a, Result<QueryResult, SourceError>> {
        std::future::ready(self.evaluate(promql, time)).boxed()
    }

    fn ready(&self) -> BoxFuture<'_, Result<(), SourceError>> {
        std::future::ready(Ok(())).boxed()
    }

    fn name(&self) -> &'static str {
        "embedded"
    }
}

/// The query's text stays out of the message: an answer shows it.
fn failure(error: &QueryError) -> SourceError {
    let message = match error {
        QueryError::Parse { message, .. } => format!("cannot parse the query: {message}"),
        other => other.to_string(),
    };
    SourceError::new(SourceErrorClass::BadQuery, message)
}

fn unix_ms(time: SystemTime) -> i64 {
    time.duration_since(SystemTime::UNIX_EPOCH).map_or(0, |elapsed| elapsed.as_millis() as i64)
}
