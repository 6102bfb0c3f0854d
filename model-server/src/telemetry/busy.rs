//! How much of the time a worker computes: in all, and over the last seconds.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::slots::slot_number;

/// One worker's time. A computation under way counts up to now: a worker that is stuck is busy.
pub(super) struct Busy {
    slot: Duration,
    window: Duration,
    origin: Instant,
    since: Option<Instant>,
    total: Duration,
    rows: u64,
    slots: VecDeque<Slot>,
}

#[derive(Clone, Copy)]
struct Slot {
    number: u64,
    busy: Duration,
    rows: u64,
}

/// A worker's time up to a moment.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct BusyTime {
    /// Time spent computing since the start.
    pub(super) total: Duration,
    /// Of it, what lies within the window.
    pub(super) recent: Duration,
    /// Rows computed within the window.
    pub(super) recent_rows: u64,
    /// Rows computed since the start.
    pub(super) rows: u64,
}

impl Busy {
    pub(super) fn new(window: Duration, origin: Instant) -> Busy {
        let slot = (window / SLOTS).max(Duration::from_millis(1));
        Busy {
            slot,
            window,
            origin,
            since: None,
            total: Duration::ZERO,
            rows: 0,
            slots: VecDeque::with_capacity(SLOTS as usize + 2),
        }
    }

    pub(super) fn begin(&mut self, now: Instant) {
        self.since = Some(now);
    }

    /// The computation under way is over; it was of `rows` rows.
    pub(super) fn end(&mut self, now: Instant, rows: usize) {
        let Some(since) = self.since.take() else { return };
        self.total += now.saturating_duration_since(since);
        self.rows += rows as u64;
        // What lies before the window is of no interest any more.
        let mut from = since.max(self.window_start(now));
        loop {
            let number = self.number(from);
            let until = now.min(self.start_of(number + 1));
            let slot = self.slot_mut(number);
            slot.busy += until.saturating_duration_since(from);
            if until >= now {
                slot.rows += rows as u64;
                break;
            }
            from = until;
        }
        let oldest = self.number(self.window_start(now));
        while self.slots.front().is_some_and(|slot| slot.number < oldest) {
            self.slots.pop_front();
        }
    }

    pub(super) fn until(&self, now: Instant) -> BusyTime {
        let under_way = |from: Instant| {
            self.since.map_or(Duration::ZERO, |since| now.saturating_duration_since(since.max(from)))
        };
        let start = self.window_start(now);
        let oldest = self.number(start);
        let mut time = BusyTime {
            total: self.total + under_way(self.origin),
            recent: under_way(start),
            recent_rows: 0,
            rows: self.rows,
        };
        for slot in self.slots.iter().filter(|slot| slot.number >= oldest) {
            // Of the slot that the window begins in, the part inside.
            let inside = self.start_of(slot.number + 1).saturating_duration_since(start).min(self.slot);
            time.recent += slot.busy.mul_f64(inside.as_secs_f64() / self.slot.as_secs_f64());
            time.recent_rows += slot.rows;
        }
        time
    }

    fn slot_mut(&mut self, number: u64) -> &mut Slot {
        if self.slots.back().is_none_or(|last| last.number < number) {
            self.slots.push_back(Slot { number, busy: Duration::ZERO, rows: 0 });
        }
        // Time only goes on, so the newest slot is the one.
        self.slots.back_mut().expect("a slot was just pushed if there was none")
    }

    fn window_start(&self, now: Instant) -> Instant {
        now.checked_sub(self.window).unwrap_or(self.origin).max(self.origin)
    }

    fn number(&self, at: Instant) -> u64 {
        slot_number(at.saturating_duration_since(self.origin), self.slot)
    }

    fn start_of(&self, number: u64) -> Instant {
        self.origin + Duration::from_nanos((self.slot.as_nanos() as u64).saturating_mul(number))
    }
}

const SLOTS: u32 = 60;

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(seconds: f64) -> Duration {
        Duration::from_secs_f64(seconds)
    }

    fn near(time: Duration, expected: f64) {
        assert!((time.as_secs_f64() - expected).abs() < 0.011, "{time:?}, expected {expected} s");
    }

    #[test]
    fn busy_time_is_counted_in_all_and_over_the_window() {
        let origin = Instant::now();
        let mut busy = Busy::new(seconds(10.0), origin);
        for second in 0..30 {
            busy.begin(origin + seconds(f64::from(second)));
            busy.end(origin + seconds(f64::from(second) + 0.25), 2);
        }
        let time = busy.until(origin + seconds(30.0));
        near(time.total, 7.5);
        near(time.recent, 2.5);
        assert_eq!((time.recent_rows, time.rows), (20, 60));
        let later = busy.until(origin + seconds(100.0));
        assert_eq!((later.recent, later.recent_rows), (Duration::ZERO, 0));
        near(later.total, 7.5);
    }

    #[test]
    fn what_is_under_way_counts() {
        let origin = Instant::now();
        let mut busy = Busy::new(seconds(10.0), origin);
        busy.begin(origin + seconds(1.0));
        near(busy.until(origin + seconds(5.0)).recent, 4.0);
        near(busy.until(origin + seconds(100.0)).recent, 10.0);
        near(busy.until(origin + seconds(100.0)).total, 99.0);
        busy.end(origin + seconds(100.0), 1);
        near(busy.until(origin + seconds(100.0)).recent, 10.0);
        near(busy.until(origin + seconds(104.0)).recent, 6.0);
        near(busy.until(origin + seconds(104.0)).total, 99.0);
    }

    #[test]
    fn the_slots_are_bounded() {
        let origin = Instant::now();
        let mut busy = Busy::new(seconds(1.0), origin);
        for milli in 0..20_000 {
            busy.begin(origin + Duration::from_millis(milli));
            busy.end(origin + Duration::from_millis(milli) + Duration::from_micros(500), 1);
        }
        assert!(busy.slots.len() <= SLOTS as usize + 2, "{}", busy.slots.len());
    }
}
