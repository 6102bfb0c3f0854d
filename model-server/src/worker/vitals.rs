//! Signs of life of the workers.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// When each computing thread was last seen alive, by place: workers, and after them those that help out and then rest.
/// A thread shows it between executions only, so one that is silent for the stall timeout is stuck in the model.
pub struct Vitals {
    origin: Instant,
    stall_timeout: Duration,
    places: Vec<Vital>,
    workers: usize,
    left: AtomicUsize,
}

struct Vital {
    /// Nanoseconds after the origin; or [`GONE`], once the worker ended, or [`RESTING`].
    beat: AtomicU64,
    /// It was found stuck and has not been seen since.
    stuck: AtomicBool,
}

const GONE: u64 = u64::MAX;
const RESTING: u64 = u64::MAX - 1;

impl Vitals {
    /// Workers that are all alive now, and as many helpers that rest.
    pub fn new(workers: usize, stall_timeout: Duration) -> Vitals {
        let vital = |beat| Vital { beat: AtomicU64::new(beat), stuck: AtomicBool::new(false) };
        let helpers = (0..workers).map(|_| vital(RESTING));
        Vitals {
            origin: Instant::now(),
            stall_timeout,
            places: (0..workers).map(|_| vital(0)).chain(helpers).collect(),
            workers,
            left: AtomicUsize::new(workers),
        }
    }

    /// How often an idle worker must show itself.
    pub(super) fn beat_period(&self) -> Duration {
        self.stall_timeout / 8
    }

    pub(super) fn beat(&self, place: usize, now: Instant) {
        let since = now.saturating_duration_since(self.origin).as_nanos() as u64;
        self.places[place].beat.store(since.min(RESTING - 1), Ordering::Release);
    }

    /// A helper does nothing any more, and is well.
    pub(super) fn rest(&self, place: usize) {
        self.places[place].beat.store(RESTING, Ordering::Release);
    }

    /// The worker ended; says whether it was the last.
    pub(super) fn gone(&self, worker: usize) -> bool {
        self.places[worker].beat.store(GONE, Ordering::Release);
        self.left.fetch_sub(1, Ordering::AcqRel) == 1
    }

    /// Whether everybody shows signs of life.
    pub fn all_alive(&self, now: Instant) -> bool {
        self.places.iter().all(|worker| self.is_alive(worker, now))
    }

    /// Whether no worker is, and no helper at work either: waiting requests are not taken.
    pub(super) fn none_alive(&self, now: Instant) -> bool {
        let (workers, helpers) = self.places.split_at(self.workers);
        let at_work = helpers.iter().filter(|helper| helper.beat.load(Ordering::Acquire) != RESTING);
        !workers.iter().chain(at_work).any(|worker| self.is_alive(worker, now))
    }

    /// Places where somebody became stuck since the last call.
    pub(super) fn newly_stuck(&self, now: Instant) -> Vec<usize> {
        let stuck = |worker: &Vital| {
            let silent = worker.beat.load(Ordering::Acquire) != GONE && !self.is_alive(worker, now);
            !worker.stuck.swap(silent, Ordering::AcqRel) && silent
        };
        self.places.iter().enumerate().filter(|(_, worker)| stuck(worker)).map(|(number, _)| number).collect()
    }

    fn is_alive(&self, worker: &Vital, now: Instant) -> bool {
        match worker.beat.load(Ordering::Acquire) {
            GONE => false,
            RESTING => true,
            beat => {
                now.saturating_duration_since(self.origin + Duration::from_nanos(beat)) < self.stall_timeout
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_silent_worker_is_stuck_once_and_may_come_back() {
        let vitals = Vitals::new(2, Duration::from_secs(30));
        let at = |seconds| vitals.origin + Duration::from_secs(seconds);
        assert!(vitals.all_alive(at(29)));
        vitals.beat(1, at(20));
        assert!(!vitals.all_alive(at(40)) && !vitals.none_alive(at(40)));
        assert_eq!(vitals.newly_stuck(at(40)), [0]);
        assert_eq!(vitals.newly_stuck(at(41)), [0; 0]);
        vitals.beat(0, at(42));
        assert!(vitals.all_alive(at(43)));
        assert_eq!(vitals.newly_stuck(at(43)), [0; 0]);
        assert_eq!(vitals.newly_stuck(at(72)), [0, 1]);
        assert!(vitals.none_alive(at(72)));
    }

    #[test]
    fn a_helper_is_well_while_it_rests() {
        let vitals = Vitals::new(1, Duration::from_secs(30));
        let at = |seconds| vitals.origin + Duration::from_secs(seconds);
        vitals.beat(0, at(100));
        assert!(vitals.all_alive(at(100)));
        vitals.beat(1, at(60));
        assert!(!vitals.all_alive(at(100)) && !vitals.none_alive(at(100)));
        assert_eq!(vitals.newly_stuck(at(100)), [1]);
        vitals.rest(1);
        assert!(vitals.all_alive(at(100)));
        assert_eq!(vitals.newly_stuck(at(100)), [0; 0]);
    }

    #[test]
    fn while_somebody_helps_out_and_is_well_not_all_are_silent() {
        let vitals = Vitals::new(1, Duration::from_secs(30));
        let at = |seconds| vitals.origin + Duration::from_secs(seconds);
        vitals.beat(1, at(10));
        assert!(!vitals.none_alive(at(39)));
        assert!(vitals.none_alive(at(40)));
        vitals.rest(1);
        assert!(vitals.none_alive(at(39)));
    }

    #[test]
    fn a_worker_that_ended_is_not_alive_and_not_stuck() {
        let vitals = Vitals::new(2, Duration::from_secs(30));
        assert!(!vitals.gone(0));
        assert!(!vitals.all_alive(vitals.origin));
        assert_eq!(vitals.newly_stuck(vitals.origin), [0; 0]);
        assert!(vitals.gone(1));
        assert!(vitals.none_alive(vitals.origin));
    }
}
