//! What requests of a test meet: series as written, at a time as written, and the objects that their labels name.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use engine::Engine;
use engine::interrupt::Interrupt;
use engine::labels::Labels;
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use rules::resource::{ResourceMapper, StaticMapper};

use super::prometheus::{PrometheusError, StartedPrometheus};
use crate::objects::scraped;
use crate::objects::{Object, Objects, ObjectsError, Wanted};
use crate::source::scripted::Script;
use crate::source::{Listing, MetricSource, QueryResult, Sample, SourceError, embedded};

/// What evaluates the queries of a test.
pub(super) enum Evaluator {
    /// The engine in this process.
    Embedded(Engine),
    /// A Prometheus that was started for the test.
    Prometheus(StartedPrometheus),
}

impl Evaluator {
    /// Series as they are `at` after the first.
    pub(super) fn at(&self, at: Duration) -> Result<WrittenSeries, PrometheusError> {
        let now = SystemTime::UNIX_EPOCH + at;
        let source: Box<dyn MetricSource> = match self {
            Evaluator::Embedded(engine) => Box::new(EngineAt { engine: engine.clone(), now }),
            Evaluator::Prometheus(started) => Box::new(started.at(at)?),
        };
        Ok(WrittenSeries { source, now, asked: Mutex::default() })
    }
}

/// A source whose time stands still. It remembers what it was asked.
pub(super) struct WrittenSeries {
    source: Box<dyn MetricSource>,
    now: SystemTime,
    asked: Mutex<Vec<String>>,
}

impl WrittenSeries {
    /// The queries so far.
    pub(super) fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl MetricSource for WrittenSeries {
    fn series<'a>(
        &'a self,
        selector: &'a str,
        _: SystemTime,
        deadline: Instant,
    ) -> BoxFuture<'a, Result<Listing, SourceError>> {
        self.source.series(selector, SystemTime::UNIX_EPOCH, deadline)
    }

    fn query<'a>(
        &'a self,
        promql: &'a str,
        _: SystemTime,
        deadline: Instant,
    ) -> BoxFuture<'a, Result<QueryResult, SourceError>> {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner).push(promql.to_owned());
        self.source.query(promql, self.now, deadline)
    }

    fn now(&self) -> SystemTime {
        self.now
    }

    fn ready(&self) -> BoxFuture<'_, Result<(), SourceError>> {
        self.source.ready()
    }

    fn name(&self) -> &str {
        self.source.name()
    }
}

/// The engine in this process, as it is at a time.
struct EngineAt {
    engine: Engine,
    now: SystemTime,
}

impl Script for EngineAt {
    const NAME: &'static str = "written series";

    async fn list(&self, selector: &str, deadline: Instant) -> Result<Listing, SourceError> {
        embedded::list(&self.engine, selector, (SystemTime::UNIX_EPOCH, self.now), &Interrupt::at(deadline))
    }

    async fn value(&self, promql: &str, deadline: Instant) -> Result<QueryResult, SourceError> {
        embedded::evaluate(&self.engine, promql, self.now, &Interrupt::at(deadline))
    }
}

/// The objects that labels name, as the labels of scrape targets do in standalone mode.
pub(super) struct LabelledObjects {
    mapper: StaticMapper,
    labelled: Vec<Sample>,
}

impl LabelledObjects {
    pub(super) fn new<'l>(labels: impl Iterator<Item = &'l Labels>) -> LabelledObjects {
        let sample =
            |labels: &Labels| Sample { labels: labels.pairs().to_vec(), timestamp_ms: 0, value: 1.0 };
        LabelledObjects { mapper: StaticMapper::built_in(), labelled: labels.map(sample).collect() }
    }
}

impl Objects for LabelledObjects {
    fn mapper(&self) -> &dyn ResourceMapper {
        &self.mapper
    }

    fn list<'a>(
        &'a self,
        wanted: Wanted<'a>,
        _: Instant,
    ) -> BoxFuture<'a, Result<Vec<Object>, ObjectsError>> {
        std::future::ready(Ok(scraped::matching(&self.labelled, wanted))).boxed()
    }
}

/// For sharing between requests.
pub(super) type SharedObjects = Arc<LabelledObjects>;
