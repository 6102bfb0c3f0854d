//! An answer for many objects, and what one request gets of it.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::book::Key;
use crate::source::{Held, QueryResult, Sample, Samples, SourceError, SourceErrorClass};

/// Numbers by scope and name.
pub(super) struct Answer {
    scopes: HashMap<Arc<str>, HashMap<Arc<str>, Vec<Number>>>,
    _kept: Kept,
}

#[derive(Debug, Clone, Copy)]
struct Number {
    timestamp_ms: i64,
    value: f64,
}

/// What a request wants of a shared answer.
#[derive(Debug, Clone, Copy)]
pub struct Wanted<'a> {
    /// The namespace of the objects; the name of an object that lives in none.
    pub scope: &'a str,
    /// The names of the objects.
    pub names: &'a [&'a str],
}

/// Why an answer is not shared.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Unusable {
    /// The next may be better.
    ForNow,
    /// The next would hardly be better.
    Lasting,
    /// There is none, and a request that were asked alone now would have none either.
    NoAnswer {
        error: SourceError,
        /// The query takes too long, and the next for as many objects would.
        is_lasting: bool,
    },
}

/// Numbers that are counted as long as they are there.
struct Kept {
    count: usize,
    all: Arc<AtomicUsize>,
}

impl Answer {
    /// Reads what a source answered. `is_one`: it was asked for one scope.
    pub(super) fn read(
        result: Result<QueryResult, SourceError>,
        key: &Key,
        is_one: bool,
        all: &Arc<AtomicUsize>,
    ) -> Result<Answer, Unusable> {
        let QueryResult { value, warnings, histograms_dropped, held: _held } =
            result.map_err(|error| match error.class {
                SourceErrorClass::Unreachable | SourceErrorClass::Silent => {
                    Unusable::NoAnswer { error, is_lasting: false }
                }
                SourceErrorClass::Timeout => Unusable::NoAnswer { error, is_lasting: true },
                SourceErrorClass::Unavailable | SourceErrorClass::Busy => Unusable::ForNow,
                SourceErrorClass::BadQuery | SourceErrorClass::WrongType => Unusable::Lasting,
            })?;
        let Samples::Vector(samples) = value else { return Err(Unusable::Lasting) };
        if !warnings.is_empty() || histograms_dropped > 0 {
            return Err(Unusable::Lasting);
        }
        let kept = Kept::count(samples.len(), all).ok_or(Unusable::Lasting)?;
        let mut scopes: HashMap<Arc<str>, HashMap<Arc<str>, Vec<Number>>> = HashMap::new();
        for Sample { labels, timestamp_ms, value } in samples {
            let label =
                |name: &str| labels.iter().find(|(label, _)| **label == *name).map(|(_, value)| value);
            let scope = match (&key.scope_label, &key.scope) {
                (Some(scope_label), _) => label(scope_label),
                (None, scope) => scope.as_ref(),
            };
            // Without both labels a sample belongs to no object.
            let (Some(scope), Some(name)) = (scope, label(&key.join_label)) else { continue };
            let number = Number { timestamp_ms, value };
            let names = scopes.entry(Arc::clone(scope)).or_default();
            names.entry(Arc::clone(name)).or_default().push(number);
        }
        let size = |names: &HashMap<_, Vec<Number>>| names.values().map(Vec::len).sum::<usize>();
        if !is_one && scopes.values().any(|names| size(names) > MOST_OF_A_SCOPE) {
            return Err(Unusable::Lasting);
        }
        Ok(Answer { scopes, _kept: kept })
    }

    /// The samples of a request's objects, with the labels that say so.
    pub(super) fn pick(&self, key: &Key, wanted: Wanted<'_>) -> QueryResult {
        let mut samples = Vec::with_capacity(wanted.names.len());
        if let Some(names) = self.scopes.get(wanted.scope) {
            for name in wanted.names {
                let Some((name, numbers)) = names.get_key_value(*name) else { continue };
                samples.extend(numbers.iter().map(|&Number { timestamp_ms, value }| Sample {
                    labels: vec![(Arc::clone(&key.join_label), Arc::clone(name))],
                    timestamp_ms,
                    value,
                }));
            }
        }
        QueryResult {
            value: Samples::Vector(samples),
            warnings: Vec::new(),
            histograms_dropped: 0,
            held: Held::default(),
        }
    }
}

impl Kept {
    /// `None` when there would be too many.
    fn count(count: usize, all: &Arc<AtomicUsize>) -> Option<Kept> {
        let before = all.fetch_add(count, Ordering::Relaxed);
        let kept = Kept { count, all: Arc::clone(all) };
        (before + count <= MOST_KEPT).then_some(kept)
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        self.all.fetch_sub(self.count, Ordering::Relaxed);
    }
}

/// A namespace with more samples is asked for by itself: its answer does not delay those of the others.
const MOST_OF_A_SCOPE: usize = 5_000;
/// About 15 MB.
const MOST_KEPT: usize = 100_000;
