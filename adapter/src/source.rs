//! Step 8 of a request: where samples come from. [`MetricSource`] is the only seam to an engine; each of its
//! implementations passes one and the same test suite.

pub mod embedded;
pub mod guard;
pub mod guarded;
mod observed;
pub mod prometheus;
pub mod recorded;
pub mod scripted;
pub mod targets;

use std::any::Any;
use std::fmt;
use std::sync::Arc;
use std::time::{Instant, SystemTime};

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use rules::catalog::Series;

use targets::ScrapedTarget;

/// Something that knows series and evaluates queries over them.
pub trait MetricSource: Send + Sync + 'static {
    /// Which series matched `selector` since a time: their names and the names of their labels, each combination once.
    fn series<'a>(
        &'a self,
        selector: &'a str,
        since: SystemTime,
        deadline: Instant,
    ) -> BoxFuture<'a, Result<Listing, SourceError>>;

    /// The value of a query at a time.
    fn query<'a>(
        &'a self,
        promql: &'a str,
        time: SystemTime,
        deadline: Instant,
    ) -> BoxFuture<'a, Result<QueryResult, SourceError>>;

    /// What it scrapes; `None` from a source that has no list of its targets.
    fn targets(&self, _deadline: Instant) -> BoxFuture<'_, Result<Option<Vec<ScrapedTarget>>, SourceError>> {
        std::future::ready(Ok(None)).boxed()
    }

    /// The time of a query that is asked now.
    fn now(&self) -> SystemTime {
        SystemTime::now()
    }

    /// Whether queries can be answered at all by now.
    fn ready(&self) -> BoxFuture<'_, Result<(), SourceError>>;

    /// What logs call it.
    fn name(&self) -> &str;
}

/// What a series query found.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Listing {
    /// Names and label names, each combination once.
    pub series: Vec<Series>,
    /// What the engine has to say of the answer: it may be partial.
    pub warnings: Vec<String>,
}

/// What a query yields.
#[derive(Debug, Clone, PartialEq)]
pub struct QueryResult {
    /// The samples.
    pub value: Samples,
    /// What the engine has to say of the answer: it may be partial.
    pub warnings: Vec<String>,
    /// Native histograms that were left out: they are not a number (D19).
    pub histograms_dropped: usize,
    /// Room in the source's memory, kept for as long as the samples are there.
    pub held: Held,
}

/// Something that is given back when its last holder drops it. All are equal: they say nothing of what is held with
/// them.
#[derive(Clone, Default)]
pub struct Held(Option<Arc<dyn Any + Send + Sync>>);

impl Held {
    /// Holds a value.
    pub fn new(value: impl Any + Send + Sync) -> Held {
        Held(Some(Arc::new(value)))
    }
}

impl PartialEq for Held {
    fn eq(&self, _: &Held) -> bool {
        true
    }
}

impl fmt::Debug for Held {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() { "Held" } else { "nothing held" })
    }
}

/// The samples of a query.
#[derive(Debug, Clone, PartialEq)]
pub enum Samples {
    /// One sample a series.
    Vector(Vec<Sample>),
    /// One number without labels.
    Scalar {
        /// When it was evaluated, in milliseconds since the epoch.
        timestamp_ms: i64,
        /// The number.
        value: f64,
    },
}

/// One number of one series.
#[derive(Debug, Clone, PartialEq)]
pub struct Sample {
    /// Sorted by name.
    pub labels: Vec<(Arc<str>, Arc<str>)>,
    /// When it was taken, in milliseconds since the epoch.
    pub timestamp_ms: i64,
    /// The number; NaN and the infinities are numbers too.
    pub value: f64,
}

/// Why a source did not answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct SourceError {
    /// What kind of failure it is.
    pub class: SourceErrorClass,
    /// What happened. Never a URL, a credential or the text of the query.
    pub message: String,
}

/// Kinds of failure, as the API's answers tell them apart (D27).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SourceErrorClass {
    /// No connection, or one that ended without an answer; or not asked, because of this: 503.
    Unreachable,
    /// No answer in time: 504.
    Silent,
    /// Refusing, or with an invalid answer: 503.
    Unavailable,
    /// It answers that the query takes too long: 504.
    Timeout,
    /// This server has no room for the answer, or no time for the query: 503. The source is not at fault.
    Busy,
    /// The query is at fault: 500 naming the rule.
    BadQuery,
    /// The query's result is of a kind that makes no values: 500 naming the rule.
    WrongType,
}

impl Samples {
    /// As PromQL calls it.
    pub fn type_name(&self) -> &'static str {
        match self {
            Samples::Vector(_) => "vector",
            Samples::Scalar { .. } => "scalar",
        }
    }
}

impl Sample {
    /// The value of a label; `None` when the sample does not have it.
    pub fn label(&self, name: &str) -> Option<&str> {
        self.labels.iter().find(|(other, _)| &**other == name).map(|(_, value)| &**value)
    }
}

impl SourceError {
    /// An error of a class.
    pub fn new(class: SourceErrorClass, message: impl Into<String>) -> SourceError {
        SourceError { class, message: message.into() }
    }
}
