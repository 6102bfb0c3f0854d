//! Recent samples in memory, bounded in time and in number of series.
//!
//! Writers and readers of different series do not wait for each other: the index is only locked to find series, and
//! each series has its own lock.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::Duration;

use promql_parser::label::{MatchOp, Matcher};

use crate::labels::{Labels, METRIC_NAME};

/// A number at a time in milliseconds since the epoch.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Point {
    /// When.
    pub time_ms: i64,
    /// The number.
    pub value: f64,
}

/// Samples of every series that was scraped lately.
#[derive(Debug)]
pub struct Store {
    index: RwLock<Index>,
    retention: Duration,
    max_series: usize,
}

#[derive(Debug, Default)]
struct Index {
    by_labels: HashMap<Labels, SeriesRef>,
    by_name: HashMap<Arc<str>, BTreeMap<Labels, SeriesRef>>,
}

/// Which series are meant.
#[derive(Debug, Clone, Copy)]
pub struct Selection<'a> {
    /// The metric's name, if it is known.
    pub name: Option<&'a str>,
    /// What each label must be, the metric's name among them.
    pub matchers: &'a [Matcher],
}

/// A series to append to. Once the store has dropped the series, appending says so.
#[derive(Debug, Clone)]
pub struct SeriesRef(Arc<Series>);

#[derive(Debug)]
struct Series {
    labels: Labels,
    points: Mutex<VecDeque<Point>>,
    dropped: AtomicBool,
}

/// The store holds as many series as it may.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the store is full: it holds {0} series, which is its limit")]
pub struct StoreFull(pub usize);

/// The series was dropped from the store; it must be interned anew.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the series is no longer in the store")]
pub struct SeriesDropped;

impl Store {
    /// An empty store that keeps samples for `retention`.
    pub fn new(retention: Duration, max_series: usize) -> Store {
        Store { index: RwLock::default(), retention, max_series }
    }

    /// The series with these labels, made if it is new.
    ///
    /// # Errors
    /// A new series in a full store.
    pub fn intern(&self, labels: &Labels) -> Result<SeriesRef, StoreFull> {
        if let Some(series) = self.index.read().unwrap_or_else(PoisonError::into_inner).by_labels.get(labels)
        {
            return Ok(series.clone());
        }
        let mut index = self.index.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(series) = index.by_labels.get(labels) {
            return Ok(series.clone());
        }
        if index.by_labels.len() >= self.max_series {
            return Err(StoreFull(self.max_series));
        }
        let series = SeriesRef(Arc::new(Series {
            labels: labels.clone(),
            points: Mutex::default(),
            dropped: AtomicBool::new(false),
        }));
        let name = labels.pairs().iter().find(|(name, _)| &**name == METRIC_NAME);
        let name = name.map_or_else(|| Arc::from(""), |(_, value)| Arc::clone(value));
        index.by_name.entry(name).or_default().insert(labels.clone(), series.clone());
        index.by_labels.insert(labels.clone(), series.clone());
        Ok(series)
    }

    /// How many series there are.
    pub fn series_count(&self) -> usize {
        self.index.read().unwrap_or_else(PoisonError::into_inner).by_labels.len()
    }

    /// Drops samples older than the retention, and series that have none left.
    pub fn truncate(&self, now_ms: i64) {
        let oldest = now_ms.saturating_sub(i64::try_from(self.retention.as_millis()).unwrap_or(i64::MAX));
        let mut index = self.index.write().unwrap_or_else(PoisonError::into_inner);
        let mut gone = Vec::new();
        for (labels, series) in &index.by_labels {
            let mut points = series.0.lock();
            while points.front().is_some_and(|point| point.time_ms < oldest) {
                points.pop_front();
            }
            if points.is_empty() {
                series.0.dropped.store(true, Ordering::Release);
                gone.push(labels.clone());
            } else if points.capacity() > 2 * points.len() + SPARE {
                let enough = points.len() + SPARE;
                points.shrink_to(enough);
            }
        }
        for labels in gone {
            index.by_labels.remove(&labels);
            let name = labels.value(METRIC_NAME).unwrap_or_default();
            if let Some(same_name) = index.by_name.get_mut(name) {
                same_name.remove(&labels);
                if same_name.is_empty() {
                    index.by_name.remove(name);
                }
            }
        }
    }

    /// The series that match, with their points in `(after_ms, until_ms]`. Series without a point there are left out.
    pub fn select(
        &self,
        selection: Selection<'_>,
        after_ms: i64,
        until_ms: i64,
    ) -> Vec<(Labels, Vec<Point>)> {
        self.matching(selection)
            .into_iter()
            .filter_map(|series| {
                let points = series.0.lock();
                let start = points.partition_point(|point| point.time_ms <= after_ms);
                let end = points.partition_point(|point| point.time_ms <= until_ms);
                if start >= end {
                    return None;
                }
                Some((series.0.labels.clone(), copied(&points, start..end)))
            })
            .collect()
    }

    fn matching(&self, selection: Selection<'_>) -> Vec<SeriesRef> {
        let Selection { name, matchers } = selection;
        let index = self.index.read().unwrap_or_else(PoisonError::into_inner);
        let exact_name = name.or_else(|| {
            let is_name = |matcher: &&Matcher| matcher.name == METRIC_NAME && matcher.op == MatchOp::Equal;
            matchers.iter().find(is_name).map(|matcher| matcher.value.as_str())
        });
        let matches = |labels: &Labels| {
            matchers.iter().all(|matcher| matcher.is_match(labels.value(&matcher.name).unwrap_or_default()))
        };
        let among = |series: &BTreeMap<Labels, SeriesRef>| -> Vec<SeriesRef> {
            series.iter().filter(|(labels, _)| matches(labels)).map(|(_, series)| series.clone()).collect()
        };
        if let Some(name) = exact_name {
            index.by_name.get(name).map(among).unwrap_or_default()
        } else {
            let mut found: Vec<SeriesRef> = index.by_name.values().flat_map(among).collect();
            found.sort_by(|left, right| left.0.labels.cmp(&right.0.labels));
            found
        }
    }
}

impl SeriesRef {
    /// Appends a point; one that is not newer than the last is ignored.
    ///
    /// # Errors
    /// The store has dropped the series.
    pub fn append(&self, time_ms: i64, value: f64) -> Result<(), SeriesDropped> {
        let mut points = self.0.lock();
        // Checked under the lock, which the store holds when it drops a series.
        if self.0.dropped.load(Ordering::Acquire) {
            return Err(SeriesDropped);
        }
        if points.back().is_none_or(|last| last.time_ms < time_ms) {
            points.push_back(Point { time_ms, value });
        }
        Ok(())
    }

    /// Marks the series as gone from its target: from now on it has no value.
    pub fn mark_stale(&self, time_ms: i64) {
        // A dropped series is gone already.
        let _ = self.append(time_ms, stale_nan());
    }

    /// The series' labels.
    pub fn labels(&self) -> &Labels {
        &self.0.labels
    }
}

/// Some points of a series, by its two slices: copied as blocks of memory.
fn copied(points: &VecDeque<Point>, wanted: Range<usize>) -> Vec<Point> {
    let (first, second) = points.as_slices();
    let middle = first.len();
    let mut copied = Vec::with_capacity(wanted.len());
    copied.extend_from_slice(&first[wanted.start.min(middle)..wanted.end.min(middle)]);
    copied.extend_from_slice(&second[wanted.start.max(middle) - middle..wanted.end.max(middle) - middle]);
    copied
}

impl Series {
    fn lock(&self) -> MutexGuard<'_, VecDeque<Point>> {
        self.points.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The NaN that marks the end of a series, told from every other by its bits.
pub fn stale_nan() -> f64 {
    f64::from_bits(STALE)
}

/// Whether a number is the stale marker.
pub fn is_stale(value: f64) -> bool {
    value.to_bits() == STALE
}

const STALE: u64 = 0x7ff0_0000_0000_0002;
const SPARE: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(name: &str, pod: &str) -> Labels {
        Labels::from_pairs([(METRIC_NAME, name), ("pod", pod)])
    }

    #[test]
    fn points_are_copied_across_the_end_of_the_ring() {
        let mut points: VecDeque<Point> = VecDeque::with_capacity(8);
        for time_ms in 0..40 {
            if points.len() == 7 {
                points.pop_front();
            }
            points.push_back(Point { time_ms, value: 0.0 });
            for start in 0..=points.len() {
                for end in start..=points.len() {
                    let expected: Vec<Point> = points.range(start..end).copied().collect();
                    assert_eq!(copied(&points, start..end), expected);
                }
            }
        }
    }

    #[test]
    fn appends_selects_and_forgets() {
        let store = Store::new(Duration::from_secs(10), 2);
        let first = store.intern(&labels("a", "x")).expect("room");
        for time in [1_000, 2_000, 2_000, 1_500, 3_000] {
            first.append(time, time as f64).expect("in the store");
        }
        let name = Selection { name: Some("a"), matchers: &[] };
        let found = store.select(name, 1_000, 3_000);
        let times: Vec<i64> = found[0].1.iter().map(|point| point.time_ms).collect();
        assert_eq!(times, [2_000, 3_000]);
        store.intern(&labels("b", "x")).expect("room");
        assert_eq!(store.intern(&labels("c", "x")).map(|_| ()), Err(StoreFull(2)));
        store.truncate(13_001);
        assert_eq!(store.series_count(), 0);
        assert_eq!(first.append(14_000, 1.0), Err(SeriesDropped));
        store.intern(&labels("c", "x")).expect("room again").append(14_000, 1.0).expect("in the store");
        assert!(store.select(name, 0, i64::MAX).is_empty());
    }
}
