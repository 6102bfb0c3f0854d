//! A small Prometheus in the process: scrapes targets, keeps recent samples in memory and evaluates PromQL over them.
//!
//! Values are Prometheus' own to the last digit. What is not implemented is refused by name, never approximated.

pub mod exposition;
pub mod labels;
pub mod scrape;
pub mod store;
pub mod value;

mod eval;

use std::sync::Arc;
use std::time::Duration;

use promql::ParseError;
use promql_parser::parser::Expr;

use crate::eval::Evaluator;
use crate::labels::Labels;
use crate::store::{Store, is_stale};
use crate::value::{RangeSeries, Value};

/// Bounds of an engine.
#[derive(Debug, Clone, Copy)]
pub struct EngineConfig {
    /// How far back an instant selector looks for a sample.
    pub lookback: Duration,
    /// How long samples are kept.
    pub retention: Duration,
    /// How many series are kept.
    pub max_series: usize,
    /// How many samples one query may look at.
    pub max_samples_per_query: usize,
}

impl Default for EngineConfig {
    fn default() -> EngineConfig {
        EngineConfig {
            lookback: Duration::from_mins(5),
            retention: Duration::from_mins(15),
            max_series: 200_000,
            max_samples_per_query: 50_000_000,
        }
    }
}

/// Samples and the evaluation of queries over them. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Engine {
    store: Arc<Store>,
    config: EngineConfig,
}

/// Why a query has no value.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum QueryError {
    /// It is not PromQL.
    #[error("cannot parse {query:?}: {message}")]
    Parse {
        /// The query.
        query: String,
        /// The parser's reason, with the place.
        message: String,
    },
    /// It uses something that this engine lacks.
    #[error("{0} is not supported by the embedded engine; ask a Prometheus instead")]
    Unsupported(String),
    /// It cannot be evaluated over the samples there are.
    #[error("{0}")]
    Execution(String),
    /// It looks at more samples than allowed.
    #[error("the query looks at more than {0} samples, which is the limit")]
    TooManySamples(usize),
}

impl Engine {
    /// An engine without samples.
    pub fn new(config: EngineConfig) -> Engine {
        Engine { store: Arc::new(Store::new(config.retention, config.max_series)), config }
    }

    /// Where samples are kept.
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// The value of a query at a time.
    ///
    /// # Errors
    /// Text that is not PromQL, something unsupported, or something that cannot be evaluated.
    pub fn query(&self, promql: &str, time_ms: i64) -> Result<Value, QueryError> {
        let expr = parse(promql)?;
        Evaluator::new(&self.store, self.config, time_ms, time_ms).instant(&expr, time_ms)
    }

    /// The value of a query at each step from a start to an end, both included.
    ///
    /// # Errors
    /// As [`Engine::query`]; a query whose value is no vector or scalar.
    pub fn query_range(
        &self,
        promql: &str,
        start_ms: i64,
        end_ms: i64,
        step: Duration,
    ) -> Result<Vec<RangeSeries>, QueryError> {
        let expr = parse(promql)?;
        Evaluator::new(&self.store, self.config, start_ms, end_ms).range(&expr, start_ms, end_ms, step)
    }

    /// The series that a selector matches and that had a sample in a time, both ends included.
    ///
    /// # Errors
    /// Anything but a selector.
    pub fn series(&self, selector: &str, start_ms: i64, end_ms: i64) -> Result<Vec<Labels>, QueryError> {
        let Expr::VectorSelector(selector) = parse(selector)? else {
            return Err(QueryError::Execution(format!("expected a series selector, found {selector:?}")));
        };
        let found = self.store.select(eval::selection(&selector)?, start_ms.saturating_sub(1), end_ms);
        let alive = found.into_iter().filter(|(_, points)| points.iter().any(|point| !is_stale(point.value)));
        Ok(alive.map(|(labels, _)| labels).collect())
    }
}

fn parse(promql: &str) -> Result<Expr, QueryError> {
    promql::parse(promql).map_err(|error| match error {
        ParseError::Unsupported { construct, .. } => QueryError::Unsupported(construct),
        error @ ParseError::Invalid { .. } => {
            QueryError::Parse { query: promql.to_owned(), message: error.to_string() }
        }
    })
}
