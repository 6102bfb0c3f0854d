//! How many questions the Kubernetes API is asked: a token bucket for each class of callers, so that a flood of
//! strangers leaves the autoscaler's questions alone.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::Instant;

/// Limits on one kind of review. They hold for each [`Caller`] apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReviewLimits {
    /// Reviews a second, retries included; 0 does not limit them.
    pub per_second: u32,
    /// Reviews that may be asked at the same moment after a pause; at least 1.
    pub burst: u32,
}

impl Default for ReviewLimits {
    /// Those of upstream's client (`k8s.io/apiserver/pkg/server/options`).
    fn default() -> ReviewLimits {
        ReviewLimits { per_second: 200, burst: 400 }
    }
}

/// Classes of callers that reviews are about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Caller {
    /// Verified by a client certificate, their own or a front proxy's.
    Certificate,
    /// Verified by a token, now or a while ago.
    Token,
    /// All others: anonymous callers, and tokens that were not valid yet.
    Other,
}

/// What became of the reviews of one kind since the start, by class of caller.
#[derive(Debug, Default)]
pub struct ReviewStats {
    counts: [Counts; 3],
}

#[derive(Debug, Default)]
struct Counts {
    immediate: AtomicU64,
    delayed: AtomicU64,
    refused: AtomicU64,
}

impl ReviewStats {
    /// How many reviews of a class were asked immediately, were asked after a wait, and were refused, each with its
    /// name.
    pub fn of(&self, caller: Caller) -> [(&'static str, u64); 3] {
        let Counts { immediate, delayed, refused } = &self.counts[caller as usize];
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
        [("immediate", read(immediate)), ("delayed", read(delayed)), ("refused", read(refused))]
    }
}

impl Caller {
    /// Every class.
    pub const ALL: [Caller; 3] = [Caller::Certificate, Caller::Token, Caller::Other];

    /// As metrics name it.
    pub fn name(self) -> &'static str {
        match self {
            Caller::Certificate => "certificate",
            Caller::Token => "token",
            Caller::Other => "other",
        }
    }
}

/// More reviews were asked for than may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Busy;

/// The buckets of one kind of review.
pub(crate) struct Buckets {
    buckets: [Bucket; 3],
    stats: Arc<ReviewStats>,
}

struct Bucket {
    pace: Option<Pace>,
    /// Reviews that wait or are under way.
    places: Semaphore,
}

/// A review under way: gives its place back when dropped, and takes its turn for each attempt.
pub(crate) struct Asking<'a> {
    bucket: &'a Bucket,
    counts: &'a Counts,
    _place: SemaphorePermit<'a>,
}

impl Buckets {
    pub(crate) fn new(limits: ReviewLimits) -> Buckets {
        let bucket = |places| Bucket { pace: Pace::new(limits), places: Semaphore::new(places) };
        Buckets {
            buckets: [bucket(MOST_KNOWN), bucket(MOST_KNOWN), bucket(MOST_OTHERS)],
            stats: Arc::default(),
        }
    }

    pub(crate) fn stats(&self) -> Arc<ReviewStats> {
        Arc::clone(&self.stats)
    }

    pub(crate) fn enter(&self, caller: Caller) -> Result<Asking<'_>, Busy> {
        let (bucket, counts) = (&self.buckets[caller as usize], &self.stats.counts[caller as usize]);
        let Ok(place) = bucket.places.try_acquire() else {
            counts.refused.fetch_add(1, Ordering::Relaxed);
            return Err(Busy);
        };
        Ok(Asking { bucket, counts, _place: place })
    }
}

impl Asking<'_> {
    /// Waits until the next review may be asked.
    pub(crate) async fn turn(&self) -> Result<(), Busy> {
        let wait =
            self.bucket.pace.as_ref().map_or(Some(Duration::ZERO), |pace| pace.reserve(Instant::now()));
        let Some(wait) = wait else {
            self.counts.refused.fetch_add(1, Ordering::Relaxed);
            return Err(Busy);
        };
        if wait.is_zero() {
            self.counts.immediate.fetch_add(1, Ordering::Relaxed);
        } else {
            self.counts.delayed.fetch_add(1, Ordering::Relaxed);
            tokio::time::sleep(wait).await;
        }
        Ok(())
    }
}

/// A token bucket that remembers one moment: when it would be full again (the generic cell rate algorithm). A caller
/// that comes while it is empty is told how long to wait, in order, and none is told to wait longer than
/// [`LONGEST_WAIT`].
struct Pace {
    /// From one review to the next.
    interval: Duration,
    /// What a full bucket holds, in time.
    depth: Duration,
    full_at: Mutex<Option<Instant>>,
}

impl Pace {
    fn new(limits: ReviewLimits) -> Option<Pace> {
        let ReviewLimits { per_second, burst } = limits;
        let interval = Duration::from_secs(1).checked_div(per_second)?;
        Some(Pace { interval, depth: interval * burst.max(1), full_at: Mutex::default() })
    }

    /// How long to wait for a place, which is taken; `None` takes none.
    fn reserve(&self, now: Instant) -> Option<Duration> {
        // No code panics while it holds the lock.
        let mut full_at = self.full_at.lock().unwrap_or_else(PoisonError::into_inner);
        let next = full_at.unwrap_or(now).max(now) + self.interval;
        let wait = next.saturating_duration_since(now + self.depth);
        if wait > LONGEST_WAIT {
            return None;
        }
        *full_at = Some(next);
        Some(wait)
    }
}

/// An autoscaler's worker waits meanwhile; at 200 a second a hundred callers can.
const LONGEST_WAIT: Duration = Duration::from_millis(500);
/// Reviews about known callers that wait or are under way: more than a server has requests.
const MOST_KNOWN: usize = 4096;
/// The same about others. A request waits for its review in a place among those under way, of which others must not
/// take all when the Kubernetes API is slow.
const MOST_OTHERS: usize = 100;

#[cfg(test)]
mod tests {
    use testkit::rows::each_row_async;

    use super::*;

    const LIMITS: ReviewLimits = ReviewLimits { per_second: 200, burst: 400 };

    #[test]
    fn a_bucket_gives_its_burst_and_then_its_rate() {
        let pace = Pace::new(LIMITS).expect("limited");
        let start = Instant::now();
        let immediate = (0..400).filter(|_| pace.reserve(start) == Some(Duration::ZERO)).count();
        assert_eq!(immediate, 400);
        let waits: Vec<_> = std::iter::from_fn(|| pace.reserve(start)).collect();
        assert_eq!(waits.len(), 100, "as many as half a second serves");
        assert_eq!((waits[0], waits[99]), (Duration::from_millis(5), LONGEST_WAIT));
        // Those who were refused took nothing, and time brings places.
        let later = start + Duration::from_millis(5);
        assert_eq!((pace.reserve(later), pace.reserve(later)), (Some(LONGEST_WAIT), None));
        let much_later = start + Duration::from_mins(1);
        assert_eq!((0..400).filter(|_| pace.reserve(much_later) == Some(Duration::ZERO)).count(), 400);
        assert_eq!(pace.reserve(much_later), Some(Duration::from_millis(5)));
    }

    #[test]
    fn over_time_no_more_than_the_rate_is_given() {
        let pace = Pace::new(ReviewLimits { per_second: 10, burst: 1 }).expect("limited");
        let start = Instant::now();
        let asked =
            (0..10_000).filter(|ms| pace.reserve(start + Duration::from_millis(*ms)).is_some()).count();
        assert!((100..=106).contains(&asked), "{asked} in ten seconds");
    }

    #[test]
    fn a_rate_of_nothing_does_not_limit() {
        assert!(Pace::new(ReviewLimits { per_second: 0, burst: 0 }).is_none());
        // A burst of nothing would refuse everything.
        let pace = Pace::new(ReviewLimits { per_second: 1, burst: 0 }).expect("limited");
        assert_eq!(pace.reserve(Instant::now()), Some(Duration::ZERO));
    }

    #[tokio::test(start_paused = true)]
    async fn strangers_take_nothing_from_known_callers() {
        let buckets = Buckets::new(ReviewLimits { per_second: 1, burst: 1 });
        let strangers: Vec<_> = std::iter::from_fn(|| buckets.enter(Caller::Other).ok()).collect();
        assert_eq!(strangers.len(), MOST_OTHERS);
        assert_eq!(strangers[0].turn().await, Ok(()));
        assert_eq!(strangers[1].turn().await, Err(Busy), "a second is longer than they may wait");
        each_row_async([Caller::Certificate, Caller::Token], async |caller| {
            let asking = buckets.enter(caller).unwrap_or_else(|_| panic!("{caller:?}"));
            assert_eq!(asking.turn().await, Ok(()));
        })
        .await;
        let stats = buckets.stats();
        assert_eq!(stats.of(Caller::Other), [("immediate", 1), ("delayed", 0), ("refused", 2)]);
        assert_eq!(stats.of(Caller::Token), [("immediate", 1), ("delayed", 0), ("refused", 0)]);
        drop(strangers);
        assert!(buckets.enter(Caller::Other).is_ok(), "places are given back");
    }

    #[tokio::test(start_paused = true)]
    async fn who_waits_is_counted_and_goes_on_in_time() {
        let buckets = Buckets::new(ReviewLimits { per_second: 4, burst: 1 });
        let started = Instant::now();
        for _ in 0..3 {
            let asking = buckets.enter(Caller::Token).unwrap_or_else(|_| panic!("there is room"));
            assert_eq!(asking.turn().await, Ok(()));
        }
        assert_eq!(started.elapsed(), Duration::from_millis(500));
        assert_eq!(buckets.stats().of(Caller::Token), [("immediate", 1), ("delayed", 2), ("refused", 0)]);
    }
}
