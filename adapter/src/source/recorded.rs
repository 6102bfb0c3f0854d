//! A source that answers from a list, for tests: what is not on the list is a query at fault.

use std::collections::HashMap;
use std::sync::Mutex;
use std::time::{Instant, SystemTime};

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;

use super::targets::ScrapedTarget;
use super::{Held, Listing, MetricSource, QueryResult, Sample, Samples, SourceError, SourceErrorClass};

/// Answers by the text of the question; every question is kept.
#[derive(Default)]
pub struct Recorded {
    answers: Mutex<Answers>,
}

#[derive(Default)]
struct Answers {
    listings: HashMap<String, Result<Listing, SourceError>>,
    results: HashMap<String, Result<QueryResult, SourceError>>,
    targets: Option<Result<Vec<ScrapedTarget>, SourceError>>,
    asked: Vec<String>,
}

impl Recorded {
    /// Answers a series query from now on.
    pub fn lists(&self, selector: &str, listing: Result<Listing, SourceError>) {
        self.lock().listings.insert(selector.to_owned(), listing);
    }

    /// Answers a query from now on.
    pub fn answers(&self, promql: &str, result: Result<QueryResult, SourceError>) {
        self.lock().results.insert(promql.to_owned(), result);
    }

    /// Lists its targets from now on.
    pub fn scrapes(&self, targets: Result<Vec<ScrapedTarget>, SourceError>) {
        self.lock().targets = Some(targets);
    }

    /// The queries asked so far, in order.
    pub fn asked(&self) -> Vec<String> {
        self.lock().asked.clone()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Answers> {
        self.answers.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

/// An instant vector of samples, each with its labels as `name=value` pairs.
pub fn vector<'a>(
    samples: impl IntoIterator<Item = (&'a [(&'a str, &'a str)], f64)>,
    timestamp_ms: i64,
) -> QueryResult {
    let samples = samples
        .into_iter()
        .map(|(labels, value)| Sample {
            labels: labels.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect(),
            timestamp_ms,
            value,
        })
        .collect();
    QueryResult {
        value: Samples::Vector(samples),
        warnings: Vec::new(),
        histograms_dropped: 0,
        held: Held::default(),
    }
}

impl MetricSource for Recorded {
    fn series<'a>(
        &'a self,
        selector: &'a str,
        _since: SystemTime,
        _deadline: Instant,
    ) -> BoxFuture<'a, Result<Listing, SourceError>> {
        let answer = self.lock().listings.get(selector).cloned().unwrap_or_else(|| Err(unknown(selector)));
        std::future::ready(answer).boxed()
    }

    fn query<'a>(
        &'a self,
        promql: &'a str,
        _time: SystemTime,
        _deadline: Instant,
    ) -> BoxFuture<'a, Result<QueryResult, SourceError>> {
        let mut answers = self.lock();
        answers.asked.push(promql.to_owned());
        let answer = answers.results.get(promql).cloned().unwrap_or_else(|| Err(unknown(promql)));
        std::future::ready(answer).boxed()
    }

    fn targets(&self, _deadline: Instant) -> BoxFuture<'_, Result<Option<Vec<ScrapedTarget>>, SourceError>> {
        std::future::ready(self.lock().targets.clone().transpose()).boxed()
    }

    fn ready(&self) -> BoxFuture<'_, Result<(), SourceError>> {
        std::future::ready(Ok(())).boxed()
    }

    fn name(&self) -> &'static str {
        "recorded"
    }
}

fn unknown(question: &str) -> SourceError {
    SourceError::new(SourceErrorClass::BadQuery, format!("nothing is recorded for {question}"))
}
