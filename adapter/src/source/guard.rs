//! What stands before a source: a fair queue for its places, and a circuit breaker.

mod breaker;
mod queue;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use self::breaker::State;
use self::queue::FairQueue;

pub(super) use self::breaker::{Breaker, Outage, PAUSE, Question, Refused};
pub use self::queue::Flow;
pub(super) use self::queue::NoPlace;

/// The queue, the breaker, and what they kept from the source.
pub struct Guard {
    pub(super) queue: Arc<FairQueue>,
    breaker: Mutex<Breaker>,
    pub(super) full: AtomicU64,
    pub(super) late: AtomicU64,
    pub(super) not_asked: AtomicU64,
    pub(super) openings: AtomicU64,
}

/// The state of a guard at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GuardCounts {
    /// Queries in flight.
    pub in_flight: usize,
    /// Queries that wait for their turn.
    pub waiting: usize,
    /// Queries that were refused, as too many waited.
    pub full: u64,
    /// Queries whose turn did not come in time.
    pub late: u64,
    /// Queries that were not sent, as the source does not answer.
    pub not_asked: u64,
    /// Whether the source is not asked now, or only by a probe.
    pub is_open: bool,
    /// How often it came to that.
    pub openings: u64,
}

impl Guard {
    /// A closed breaker before `limit` places, for which at most `most_waiting` queries wait.
    pub(super) fn new(limit: usize, most_waiting: usize) -> Guard {
        Guard {
            queue: Arc::new(FairQueue::new(limit, most_waiting)),
            breaker: Mutex::default(),
            full: AtomicU64::default(),
            late: AtomicU64::default(),
            not_asked: AtomicU64::default(),
            openings: AtomicU64::default(),
        }
    }

    /// The state now.
    pub fn counts(&self) -> GuardCounts {
        let (in_flight, waiting) = self.queue.counts();
        let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        GuardCounts {
            in_flight,
            waiting,
            full: count(&self.full),
            late: count(&self.late),
            not_asked: count(&self.not_asked),
            is_open: self.breaker().state() != State::Closed,
            openings: count(&self.openings),
        }
    }

    /// No code panics while it holds the lock.
    pub(super) fn breaker(&self) -> MutexGuard<'_, Breaker> {
        self.breaker.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
