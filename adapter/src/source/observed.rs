//! A source that is timed: every question to an engine shows in the metrics, whichever engine it is.

use std::sync::Arc;
use std::time::{Instant, SystemTime};

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;

use super::{Listing, MetricSource, QueryResult, SourceError};
use crate::telemetry::Telemetry;

/// Passes everything on to another source and measures how long it takes.
pub struct Observed {
    source: Arc<dyn MetricSource>,
    telemetry: Arc<Telemetry>,
}

impl Observed {
    /// Measures `source`.
    pub fn new(source: Arc<dyn MetricSource>, telemetry: Arc<Telemetry>) -> Observed {
        telemetry.source_known(&[SERIES, QUERY], source.name());
        Observed { source, telemetry }
    }

    async fn timed<T>(&self, path: &str, answer: impl Future<Output = T>) -> T {
        let started = Instant::now();
        let answer = answer.await;
        self.telemetry.source_asked(path, self.source.name(), started.elapsed());
        answer
    }
}

impl MetricSource for Observed {
    fn series<'a>(
        &'a self,
        selector: &'a str,
        since: SystemTime,
        deadline: Instant,
    ) -> BoxFuture<'a, Result<Listing, SourceError>> {
        self.timed(SERIES, self.source.series(selector, since, deadline)).boxed()
    }

    fn query<'a>(
        &'a self,
        promql: &'a str,
        time: SystemTime,
        deadline: Instant,
    ) -> BoxFuture<'a, Result<QueryResult, SourceError>> {
        self.timed(QUERY, self.source.query(promql, time, deadline)).boxed()
    }

    fn ready(&self) -> BoxFuture<'_, Result<(), SourceError>> {
        self.source.ready()
    }

    fn name(&self) -> &str {
        self.source.name()
    }
}

/// Engines in this process have no paths, and are timed as if they had.
const SERIES: &str = "/api/v1/series";
const QUERY: &str = "/api/v1/query";
