//! Sources that do as a test says: the rest of what a source is, once.

use std::time::{Instant, SystemTime};

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;

use super::targets::ScrapedTarget;
use super::{Listing, MetricSource, QueryResult, SourceError, SourceErrorClass};

/// What a test's source does with questions. It is ready, and its time is the system's.
pub trait Script: Send + Sync + 'static {
    /// What logs and metrics call it.
    const NAME: &'static str;

    /// Answers a series query; nothing by default.
    fn list(
        &self,
        _selector: &str,
        _deadline: Instant,
    ) -> impl Future<Output = Result<Listing, SourceError>> + Send {
        std::future::ready(Ok(Listing::default()))
    }

    /// Answers a query.
    fn value(
        &self,
        promql: &str,
        deadline: Instant,
    ) -> impl Future<Output = Result<QueryResult, SourceError>> + Send;

    /// Lists what it scrapes; it has no list by default.
    fn scraped(&self) -> impl Future<Output = Result<Option<Vec<ScrapedTarget>>, SourceError>> + Send {
        std::future::ready(Ok(None))
    }
}

impl<S: Script> MetricSource for S {
    fn series<'a>(
        &'a self,
        selector: &'a str,
        _since: SystemTime,
        deadline: Instant,
    ) -> BoxFuture<'a, Result<Listing, SourceError>> {
        self.list(selector, deadline).boxed()
    }

    fn query<'a>(
        &'a self,
        promql: &'a str,
        _time: SystemTime,
        deadline: Instant,
    ) -> BoxFuture<'a, Result<QueryResult, SourceError>> {
        self.value(promql, deadline).boxed()
    }

    fn targets(&self, _deadline: Instant) -> BoxFuture<'_, Result<Option<Vec<ScrapedTarget>>, SourceError>> {
        self.scraped().boxed()
    }

    fn ready(&self) -> BoxFuture<'_, Result<(), SourceError>> {
        std::future::ready(Ok(())).boxed()
    }

    fn name(&self) -> &str {
        S::NAME
    }
}

/// Says nothing until the deadline, as a source that hangs.
///
/// # Errors
/// Always: there was no answer, with this message.
pub async fn hang<T>(deadline: Instant, message: &str) -> Result<T, SourceError> {
    tokio::time::sleep_until(deadline.into()).await;
    Err(SourceError::new(SourceErrorClass::Silent, message))
}
