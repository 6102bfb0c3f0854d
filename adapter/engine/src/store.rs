//! Recent samples in memory, bounded in time and in number of series.
//!
//! Writers and readers of different series do not wait for each other: the index is only locked to find series, and
//! each series has its own lock.

mod same_name;

use std::collections::{HashMap, VecDeque};
use std::convert::Infallible;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::{Duration, Instant};

use promql_parser::label::{MatchOp, Matcher};

use crate::labels::{Labels, METRIC_NAME};
use same_name::SameName;

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
    limits: StoreLimits,
    owners: AtomicU32,
    stats: StoreStats,
    told_full: Mutex<Option<Instant>>,
}

/// Bounds of a store.
#[derive(Debug, Clone, Copy)]
pub struct StoreLimits {
    /// How long samples are kept.
    pub retention: Duration,
    /// How many series there may be.
    pub series: usize,
    /// How many of them one owner may have.
    pub series_of_one: usize,
}

/// What became of series that there was no room for.
#[derive(Debug, Default)]
pub struct StoreStats {
    /// New series that were refused.
    pub refused: AtomicU64,
    /// Series that were gone from their target and made room for new ones.
    pub evicted: AtomicU64,
}

/// The owner of series: a target. It has a share of the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Owner(u32);

#[derive(Debug, Default)]
struct Index {
    by_labels: HashMap<Labels, SeriesRef>,
    by_name: HashMap<Arc<str>, SameName<SeriesRef>>,
    owned: HashMap<Owner, Owned>,
}

/// What an owner has.
#[derive(Debug, Default)]
struct Owned {
    series: usize,
    /// Series that are gone from their target, those that went first in front. Some may be back.
    gone: VecDeque<SeriesRef>,
    evicted: u64,
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
    owner: Owner,
    points: Mutex<VecDeque<Point>>,
    dropped: AtomicBool,
    /// Whether it is among the series of its owner that are gone.
    is_gone: AtomicBool,
}

/// There is no room for a new series, and none that is gone from its target could make some.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum StoreFull {
    /// The store holds as many series as it may.
    #[error("the store is full: it holds {0} series, which is its limit")]
    All(usize),
    /// The owner has as many series as one may have.
    #[error("the target has more than {0} series, which is the limit for one target")]
    One(usize),
}

/// The series was dropped from the store; it must be interned again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the series is no longer in the store")]
pub struct SeriesDropped;

impl Store {
    /// An empty store.
    pub fn new(limits: StoreLimits) -> Store {
        Store {
            index: RwLock::default(),
            limits,
            owners: AtomicU32::new(1),
            stats: StoreStats::default(),
            told_full: Mutex::default(),
        }
    }

    /// A new owner, without any series.
    pub fn owner(&self) -> Owner {
        Owner(self.owners.fetch_add(1, Ordering::Relaxed))
    }

    /// The series with these labels, made if it is new; then it has no owner in particular.
    ///
    /// # Errors
    /// A new series in a full store.
    pub fn intern(&self, labels: &Labels) -> Result<SeriesRef, StoreFull> {
        self.intern_for(UNOWNED, labels)
    }

    /// The series with these labels, made if it is new, whether or not there is room: for the few series that tell how
    /// a target's scrapes go. Without them a target that finds no room would not be there at all.
    pub fn intern_anyway(&self, labels: &Labels) -> SeriesRef {
        let mut index = self.index.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(series) = index.by_labels.get(labels) {
            return series.clone();
        }
        index.add(UNOWNED, labels)
    }

    /// The series with these labels, made if it is new; then it is the owner's. When there is no room, a series that is
    /// gone from its target makes some: the owner's, if it has its share, else one of the owner with the most of them.
    ///
    /// # Errors
    /// A new series where nothing can make room.
    pub fn intern_for(&self, owner: Owner, labels: &Labels) -> Result<SeriesRef, StoreFull> {
        if let Some(series) = self.index.read().unwrap_or_else(PoisonError::into_inner).by_labels.get(labels)
        {
            return Ok(series.clone());
        }
        let mut index = self.index.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(series) = index.by_labels.get(labels) {
            return Ok(series.clone());
        }
        let room = self.make_room(&mut index, owner);
        if room.is_err() {
            self.stats.refused.fetch_add(1, Ordering::Relaxed);
        }
        room?;
        Ok(index.add(owner, labels))
    }

    fn make_room(&self, index: &mut Index, owner: Owner) -> Result<(), StoreFull> {
        let StoreLimits { series, series_of_one, .. } = self.limits;
        let owned = index.owned.get(&owner).map_or(0, |owned| owned.series);
        if owner != UNOWNED && owned >= series_of_one && !self.evict(index, owner) {
            return Err(StoreFull::One(series_of_one));
        }
        while index.by_labels.len() >= series {
            let most = index.owned.iter().max_by_key(|(_, owned)| owned.gone.len());
            let Some((&most, _)) = most.filter(|(_, owned)| !owned.gone.is_empty()) else {
                return Err(StoreFull::All(series));
            };
            self.evict(index, most);
        }
        Ok(())
    }

    /// Drops the series of an owner that went first; says whether there was one.
    fn evict(&self, index: &mut Index, owner: Owner) -> bool {
        while let Some(series) = index.owned.get_mut(&owner).and_then(|owned| owned.gone.pop_front()) {
            series.0.is_gone.store(false, Ordering::Relaxed);
            let is_stale = series.0.lock().back().is_none_or(|last| is_stale(last.value));
            if !is_stale || series.0.dropped.load(Ordering::Acquire) {
                continue;
            }
            index.remove(&series);
            if let Some(owned) = index.owned.get_mut(&owner) {
                owned.evicted += 1;
            }
            self.stats.evicted.fetch_add(1, Ordering::Relaxed);
            return true;
        }
        false
    }

    /// Marks series as gone from their target: from now on they have no value, and make room when there is too little.
    pub fn mark_gone<'s>(&self, series: impl IntoIterator<Item = &'s SeriesRef>, time_ms: i64) {
        let mut index = self.index.write().unwrap_or_else(PoisonError::into_inner);
        for series in series {
            series.mark_stale(time_ms);
            if !series.0.dropped.load(Ordering::Acquire) && !series.0.is_gone.swap(true, Ordering::Relaxed) {
                index.owned.entry(series.0.owner).or_default().gone.push_back(series.clone());
            }
        }
    }

    /// How many series of an owner made room for new ones.
    pub fn evicted_of(&self, owner: Owner) -> u64 {
        let index = self.index.read().unwrap_or_else(PoisonError::into_inner);
        index.owned.get(&owner).map_or(0, |owned| owned.evicted)
    }

    /// Whether to log that the store is full: once a minute, however many targets find it so.
    pub(crate) fn tells_that_it_is_full(&self, now: Instant) -> bool {
        let mut told = self.told_full.lock().unwrap_or_else(PoisonError::into_inner);
        let is_due = told.is_none_or(|told| now.saturating_duration_since(told) >= TELL_FULL_EVERY);
        if is_due {
            *told = Some(now);
        }
        is_due
    }

    /// What became of series that there was no room for.
    pub fn stats(&self) -> &StoreStats {
        &self.stats
    }

    /// How many series there are.
    pub fn series_count(&self) -> usize {
        self.index.read().unwrap_or_else(PoisonError::into_inner).by_labels.len()
    }

    /// Drops samples older than the retention, and series that have none left.
    pub fn truncate(&self, now_ms: i64) {
        let oldest =
            now_ms.saturating_sub(i64::try_from(self.limits.retention.as_millis()).unwrap_or(i64::MAX));
        let mut index = self.index.write().unwrap_or_else(PoisonError::into_inner);
        let mut gone = Vec::new();
        for series in index.by_labels.values() {
            let mut points = series.0.lock();
            while points.front().is_some_and(|point| point.time_ms < oldest) {
                points.pop_front();
            }
            if points.is_empty() {
                gone.push(series.clone());
            } else if points.capacity() > 2 * points.len() + SPARE {
                let enough = points.len() + SPARE;
                points.shrink_to(enough);
            }
        }
        for series in gone {
            index.remove(&series);
        }
        for owned in index.owned.values_mut() {
            owned.gone.retain(|series| !series.0.dropped.load(Ordering::Acquire));
        }
        index.owned.retain(|_, owned| owned.series > 0);
    }

    /// The series that match, with their points in `(after_ms, until_ms]`. Series without a point there are left out.
    pub fn select(
        &self,
        selection: Selection<'_>,
        after_ms: i64,
        until_ms: i64,
    ) -> Vec<(Labels, Vec<Point>)> {
        let found = self.look(selection, (after_ms, until_ms), &mut Keep);
        found.unwrap_or_else(|never: Infallible| match never {})
    }

    /// What is taken of each series that matches and has points in `(after_ms, until_ms]`.
    ///
    /// # Errors
    /// What the taking says.
    pub(crate) fn look<T: Take>(
        &self,
        selection: Selection<'_>,
        (after_ms, until_ms): (i64, i64),
        take: &mut T,
    ) -> Result<Vec<T::Taken>, T::Error> {
        let mut taken = Vec::new();
        for series in self.matching(selection, take)? {
            let points = series.0.lock();
            let start = points.partition_point(|point| point.time_ms <= after_ms);
            let end = points.partition_point(|point| point.time_ms <= until_ms);
            if start < end {
                taken.extend(take.take(&series.0.labels, &points, start..end)?);
            }
        }
        Ok(taken)
    }

    fn matching<T: Take>(&self, selection: Selection<'_>, take: &mut T) -> Result<Vec<SeriesRef>, T::Error> {
        let Selection { name, matchers } = selection;
        let index = self.index.read().unwrap_or_else(PoisonError::into_inner);
        let exact_name = name.or_else(|| {
            let is_name = |matcher: &&Matcher| matcher.name == METRIC_NAME && matcher.op == MatchOp::Equal;
            matchers.iter().find(is_name).map(|matcher| matcher.value.as_str())
        });
        let matches = |labels: &Labels| {
            matchers.iter().all(|matcher| matcher.is_match(labels.value(&matcher.name).unwrap_or_default()))
        };
        let mut found = Vec::new();
        let mut consider = |labels: &Labels, series: &SeriesRef| {
            take.look()?;
            if matches(labels) {
                found.push(series.clone());
            }
            Ok(())
        };
        if let Some(name) = exact_name {
            let mut candidates =
                index.by_name.get(name).into_iter().flat_map(|named| named.candidates(matchers));
            candidates.try_for_each(|(labels, series)| consider(labels, series))?;
        } else {
            let mut all = index.by_name.values().flat_map(SameName::iter);
            all.try_for_each(|(labels, series)| consider(labels, series))?;
            found.sort_by(|left, right| left.0.labels.cmp(&right.0.labels));
        }
        Ok(found)
    }
}

/// What a query takes of the series that match.
pub(crate) trait Take {
    /// The result for one series.
    type Taken;
    /// Why the query ends early.
    type Error;

    /// One more series is looked at.
    fn look(&mut self) -> Result<(), Self::Error>;

    /// A series matches, and these of its points are meant; at least one.
    fn take(
        &mut self,
        labels: &Labels,
        points: &VecDeque<Point>,
        wanted: Range<usize>,
    ) -> Result<Option<Self::Taken>, Self::Error>;
}

/// Takes everything.
struct Keep;

impl Take for Keep {
    type Taken = (Labels, Vec<Point>);
    type Error = Infallible;

    fn look(&mut self) -> Result<(), Infallible> {
        Ok(())
    }

    fn take(
        &mut self,
        labels: &Labels,
        points: &VecDeque<Point>,
        wanted: Range<usize>,
    ) -> Result<Option<Self::Taken>, Infallible> {
        Ok(Some((labels.clone(), copied(points, wanted))))
    }
}

impl Index {
    fn add(&mut self, owner: Owner, labels: &Labels) -> SeriesRef {
        let series = SeriesRef(Arc::new(Series {
            labels: labels.clone(),
            owner,
            points: Mutex::default(),
            dropped: AtomicBool::new(false),
            is_gone: AtomicBool::new(false),
        }));
        let name = labels.shared_value(METRIC_NAME).map_or_else(|| Arc::from(""), Arc::clone);
        self.by_name.entry(name).or_default().insert(labels, series.clone());
        self.by_labels.insert(labels.clone(), series.clone());
        self.owned.entry(owner).or_default().series += 1;
        series
    }

    /// Removes a series; who still holds it learns so when appending.
    fn remove(&mut self, series: &SeriesRef) {
        let SeriesRef(series) = series;
        {
            // Under the lock, under which appending looks at the mark.
            let mut points = series.lock();
            series.dropped.store(true, Ordering::Release);
            *points = VecDeque::new();
        }
        self.by_labels.remove(&series.labels);
        let name = series.labels.value(METRIC_NAME).unwrap_or_default();
        if let Some(same_name) = self.by_name.get_mut(name) {
            same_name.remove(&series.labels);
            if same_name.is_empty() {
                self.by_name.remove(name);
            }
        }
        if let Some(owned) = self.owned.get_mut(&series.owner) {
            owned.series -= 1;
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

    /// Marks the end of the series: from now on it has no value.
    pub fn mark_stale(&self, time_ms: i64) {
        // A dropped series is gone already.
        let _ = self.append(time_ms, stale_nan());
    }

    /// Whether the store has dropped it.
    pub fn is_dropped(&self) -> bool {
        self.0.dropped.load(Ordering::Acquire)
    }

    /// The series' labels.
    pub fn labels(&self) -> &Labels {
        &self.0.labels
    }
}

/// Some points of a series, by its two slices: copied as blocks of memory.
pub(crate) fn copied(points: &VecDeque<Point>, wanted: Range<usize>) -> Vec<Point> {
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
const TELL_FULL_EVERY: Duration = Duration::from_mins(1);
/// Who owns series that were not scraped.
const UNOWNED: Owner = Owner(0);

#[cfg(test)]
mod tests {
    use promql_parser::parser::Expr;
    use testkit::rows::each_row;

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

    fn store(series: usize, series_of_one: usize) -> Store {
        Store::new(StoreLimits { retention: Duration::from_secs(10), series, series_of_one })
    }

    /// Interns series of an owner, each with a point.
    fn add(store: &Store, owner: Owner, name: &str, pods: Range<usize>) -> Result<Vec<SeriesRef>, StoreFull> {
        pods.map(|pod| {
            let series = store.intern_for(owner, &labels(name, &pod.to_string()))?;
            series.append(1_000, 1.0).expect("in the store");
            Ok(series)
        })
        .collect()
    }

    fn live(store: &Store, name: &str) -> usize {
        let found = store.select(Selection { name: Some(name), matchers: &[] }, 0, i64::MAX);
        found.iter().filter(|(_, points)| points.last().is_some_and(|last| !is_stale(last.value))).count()
    }

    #[test]
    fn samples_are_appended_selected_and_forgotten() {
        let store = store(2, 2);
        let first = store.intern(&labels("a", "x")).expect("room");
        for time in [1_000, 2_000, 2_000, 1_500, 3_000] {
            first.append(time, time as f64).expect("in the store");
        }
        let name = Selection { name: Some("a"), matchers: &[] };
        let found = store.select(name, 1_000, 3_000);
        let times: Vec<i64> = found[0].1.iter().map(|point| point.time_ms).collect();
        assert_eq!(times, [2_000, 3_000]);
        store.intern(&labels("b", "x")).expect("room");
        assert_eq!(store.intern(&labels("c", "x")).map(|_| ()), Err(StoreFull::All(2)));
        store.truncate(13_001);
        assert_eq!(store.series_count(), 0);
        assert_eq!(first.append(14_000, 1.0), Err(SeriesDropped));
        store.intern(&labels("c", "x")).expect("room again").append(14_000, 1.0).expect("in the store");
        assert!(store.select(name, 0, i64::MAX).is_empty());
    }

    #[test]
    fn matchers_of_objects_find_what_a_look_at_all_series_finds() {
        let store = store(1_000, 1_000);
        for (namespace, pod) in
            [("a", "x-1"), ("a", "x-2"), ("b", "x-1"), ("b", "y.z"), ("", "x-1"), ("a", "")]
        {
            let labels = Labels::from_pairs([(METRIC_NAME, "m"), ("namespace", namespace), ("pod", pod)]);
            store.intern(&labels).expect("room").append(1_000, 1.0).expect("in the store");
        }
        let gone = Labels::from_pairs([(METRIC_NAME, "m"), ("namespace", "a"), ("pod", "gone")]);
        store.intern(&gone).expect("room");
        store.truncate(1_000);
        let found = |query: &str| {
            let Ok(Expr::VectorSelector(selector)) = promql::parse(query) else { panic!("{query}") };
            let matchers = selector.matchers.matchers;
            let named = store.select(Selection { name: Some("m"), matchers: &matchers }, 0, i64::MAX);
            let all = store.select(Selection { name: None, matchers: &matchers }, 0, i64::MAX);
            assert_eq!(named, all, "{query}");
            named.len()
        };
        let rows = [
            ("m", 6),
            (r#"m{pod="x-1"}"#, 3),
            (r#"m{namespace="a",pod=~"x-1|x-2"}"#, 2),
            (r#"m{namespace=~"a|b",pod=~"y\\.z|x-1|x-1"}"#, 3),
            (r#"m{pod=~"x-."}"#, 4),
            (r#"m{namespace=""}"#, 1),
            (r#"m{namespace=~"a|"}"#, 4),
            (r#"m{pod!="x-1",namespace="a"}"#, 2),
            (r#"m{pod="gone"}"#, 0),
            (r#"m{pod="x-1",pod="x-2"}"#, 0),
        ];
        each_row(rows, |(query, count)| assert_eq!(found(query), count, "{query}"));
    }

    #[test]
    fn one_owner_has_its_share_and_no_more() {
        let store = store(100, 10);
        let (greedy, modest) = (store.owner(), store.owner());
        add(&store, greedy, "g", 0..10).expect("room");
        assert_eq!(add(&store, greedy, "g", 10..11).map(|_| ()), Err(StoreFull::One(10)));
        add(&store, modest, "m", 0..10).expect("room");
        assert_eq!(store.stats().refused.load(Ordering::Relaxed), 1);
        assert_eq!((live(&store, "g"), live(&store, "m")), (10, 10));
    }

    #[test]
    fn what_tells_of_a_scrape_has_room_in_a_full_store() {
        let store = store(1, 1);
        store.intern(&labels("a", "x")).expect("room");
        store.intern_anyway(&labels("up", "x")).append(1_000, 1.0).expect("in the store");
        store.intern_anyway(&labels("up", "x")).append(2_000, 0.0).expect("in the store");
        assert_eq!((live(&store, "up"), store.series_count()), (1, 2));
    }

    #[test]
    fn a_full_store_tells_so_once_a_minute() {
        let (store, start) = (store(1, 1), Instant::now());
        let tells = |seconds| store.tells_that_it_is_full(start + Duration::from_secs(seconds));
        assert_eq!([0, 1, 59, 60, 61].map(tells), [true, false, false, true, false]);
    }

    #[test]
    fn series_that_are_gone_make_room_the_first_first() {
        let store = store(100, 10);
        let owner = store.owner();
        let first = add(&store, owner, "a", 0..10).expect("room");
        store.mark_gone(&first[..4], 2_000);
        // It is back.
        first[0].append(3_000, 1.0).expect("in the store");
        add(&store, owner, "a", 10..13).expect("room");
        assert_eq!(store.series_count(), 10);
        assert_eq!(store.evicted_of(owner), 3);
        assert!(first[0].append(4_000, 1.0).is_ok());
        assert_eq!(first[1].append(4_000, 1.0), Err(SeriesDropped));
        assert_eq!(add(&store, owner, "a", 13..14).map(|_| ()), Err(StoreFull::One(10)));
        // Gone twice, and yet one series.
        store.mark_gone(&first[..1], 5_000);
        store.mark_gone(&first[..1], 6_000);
        add(&store, owner, "a", 13..14).expect("room");
        assert_eq!(add(&store, owner, "a", 14..15).map(|_| ()), Err(StoreFull::One(10)));
        assert_eq!(store.series_count(), 10);
    }

    #[test]
    fn in_a_full_store_the_owner_with_the_most_that_are_gone_makes_room() {
        let store = store(20, 15);
        let (churning, calm, new) = (store.owner(), store.owner(), store.owner());
        let gone = add(&store, churning, "c", 0..14).expect("room");
        let calm = add(&store, calm, "m", 0..6).expect("room");
        store.mark_gone(&calm[..1], 2_000);
        store.mark_gone(&gone, 2_000);
        add(&store, new, "n", 0..13).expect("room");
        assert_eq!(store.evicted_of(churning), 13);
        assert_eq!(calm[0].append(3_000, 1.0), Ok(()));
        assert_eq!(live(&store, "n"), 13);
    }
}
