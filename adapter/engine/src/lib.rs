//! A small Prometheus in the process: scrapes targets, keeps recent samples in memory and evaluates PromQL over them.
//!
//! Values are Prometheus' own to the last digit. What is not implemented is refused by name, never approximated.

pub mod exposition;
pub mod interrupt;
pub mod labels;
pub mod notation;
pub mod scrape;
pub mod store;
pub mod value;

mod config;
mod eval;
mod query_error;

use std::sync::Arc;
use std::time::Duration;

use promql::ParseError;
use promql_parser::parser::Expr;

pub use crate::config::EngineConfig;
use crate::eval::Evaluator;
use crate::interrupt::Interrupt;
use crate::labels::Labels;
pub use crate::query_error::QueryError;
use crate::store::{Store, StoreLimits};
use crate::value::{RangeSeries, Value};

/// Samples and the evaluation of queries over them. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Engine {
    store: Arc<Store>,
    config: EngineConfig,
}

impl Engine {
    /// An engine without samples.
    pub fn new(config: EngineConfig) -> Engine {
        let limits = StoreLimits {
            retention: config.retention,
            series: config.max_series,
            series_of_one: config.max_series_per_target,
        };
        Engine { store: Arc::new(Store::new(limits)), config }
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
        self.query_until(promql, time_ms, &Interrupt::never())
    }

    /// The value of a query at a time, unless the evaluation is stopped before.
    ///
    /// # Errors
    /// As [`Engine::query`], and an evaluation that was stopped.
    pub fn query_until(
        &self,
        promql: &str,
        time_ms: i64,
        interrupt: &Interrupt,
    ) -> Result<Value, QueryError> {
        let expr = parse(promql)?;
        self.evaluator((time_ms, time_ms), interrupt).instant(&expr, time_ms)
    }

    /// The value of a query at each step from a start to an end, both included.
    ///
    /// # Errors
    /// As [`Engine::query`]; a query whose value is neither a vector nor a scalar.
    pub fn query_range(
        &self,
        promql: &str,
        start_ms: i64,
        end_ms: i64,
        step: Duration,
    ) -> Result<Vec<RangeSeries>, QueryError> {
        let expr = parse(promql)?;
        self.evaluator((start_ms, end_ms), &Interrupt::never()).range(&expr, start_ms, end_ms, step)
    }

    /// The series that a selector matches and that had a sample in a time, both ends included.
    ///
    /// # Errors
    /// Anything but a selector; a search that was stopped.
    pub fn series(
        &self,
        selector: &str,
        (start_ms, end_ms): (i64, i64),
        interrupt: &Interrupt,
    ) -> Result<Vec<Labels>, QueryError> {
        let Expr::VectorSelector(selector) = parse(selector)? else {
            return Err(QueryError::Execution(format!("expected a series selector, found {selector:?}")));
        };
        self.evaluator((start_ms, end_ms), interrupt).series(&selector, start_ms, end_ms)
    }

    fn evaluator(&self, (start_ms, end_ms): (i64, i64), interrupt: &Interrupt) -> Evaluator<'_> {
        Evaluator::new(&self.store, self.config, (start_ms, end_ms), interrupt.clone())
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
