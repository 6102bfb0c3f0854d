//! The largest value of the last seconds, without a lock: admitting a request must not wait for a scrape.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use super::slots::slot_number;

/// The trailing maximum of a gauge. It is exact to a slot, an eighth of a second at the default window, when it sees
/// every value after a rise and before a fall: a slot without either holds what the gauge was all along.
pub(super) struct Peak {
    origin: Instant,
    slot: Duration,
    slots: [AtomicU64; SLOTS],
}

impl Peak {
    pub(super) fn new(window: Duration, origin: Instant) -> Peak {
        let slot = (window / SLOTS as u32).max(Duration::from_millis(1));
        Peak { origin, slot, slots: std::array::from_fn(|_| AtomicU64::new(0)) }
    }

    pub(super) fn see(&self, now: Instant, value: u32) {
        let (number, value) = (self.number(now), u64::from(value).min(LARGEST));
        let slot = &self.slots[number as usize % SLOTS];
        // A thread that is late by a whole window must not put an old value in a new slot.
        let _ = slot.fetch_update(Ordering::AcqRel, Ordering::Acquire, |held| {
            let (of, peak) = unpack(held);
            if of > number || (of == number && peak >= value) { None } else { Some(pack(number, value)) }
        });
    }

    /// The largest value from a window ago until now; `current` is the value now.
    pub(super) fn over_window(&self, now: Instant, current: u32) -> u32 {
        let newest = self.number(now);
        let oldest = newest.saturating_sub(SLOTS as u64 - 1).max(1);
        let held = self.slots.iter().map(|slot| unpack(slot.load(Ordering::Acquire)));
        let peaks = held.filter(|(of, _)| (oldest..=newest).contains(of)).map(|(_, peak)| peak as u32);
        peaks.fold(current, u32::max)
    }

    /// The number of the slot of a time; 0 stands for a slot that was never used.
    fn number(&self, now: Instant) -> u64 {
        slot_number(now.saturating_duration_since(self.origin), self.slot) + 1
    }
}

/// A slot's number and value in one word: 40 bits are enough for decades of slots, 24 for any depth.
fn pack(number: u64, value: u64) -> u64 {
    number << VALUE_BITS | value
}

fn unpack(held: u64) -> (u64, u64) {
    (held >> VALUE_BITS, held & LARGEST)
}

const VALUE_BITS: u32 = 24;
const LARGEST: u64 = (1 << VALUE_BITS) - 1;

const SLOTS: usize = 120;

#[cfg(test)]
mod tests {
    use super::*;

    const WINDOW: Duration = Duration::from_secs(12);

    fn after(origin: Instant, seconds: f64) -> Instant {
        origin + Duration::from_secs_f64(seconds)
    }

    #[test]
    fn a_burst_is_seen_for_a_window_and_no_longer() {
        let origin = Instant::now();
        let peak = Peak::new(WINDOW, origin);
        peak.see(after(origin, 1.0), 40);
        peak.see(after(origin, 1.01), 7);
        assert_eq!(peak.over_window(after(origin, 1.5), 3), 40);
        assert_eq!(peak.over_window(after(origin, 12.9), 3), 40);
        assert_eq!(peak.over_window(after(origin, 13.2), 3), 3);
    }

    #[test]
    fn a_level_that_is_left_counts_up_to_its_end() {
        let origin = Instant::now();
        let peak = Peak::new(WINDOW, origin);
        peak.see(after(origin, 0.0), 50);
        // 50 requests waited for 100 s, then left one by one.
        peak.see(after(origin, 100.0), 50);
        assert_eq!(peak.over_window(after(origin, 111.0), 0), 50);
        assert_eq!(peak.over_window(after(origin, 112.2), 0), 0);
    }

    #[test]
    fn the_value_now_is_part_of_it_and_reading_changes_nothing() {
        let origin = Instant::now();
        let peak = Peak::new(WINDOW, origin);
        assert_eq!(peak.over_window(origin, 9), 9);
        assert_eq!(peak.over_window(origin, 0), 0);
    }

    #[test]
    fn it_works_for_years_with_the_shortest_slots() {
        let origin = Instant::now();
        let peak = Peak::new(Duration::from_millis(1), origin);
        let years = 10.0 * 365.0 * 86_400.0;
        peak.see(after(origin, years), 5);
        assert_eq!(peak.over_window(after(origin, years + 0.05), 0), 5);
        assert_eq!(peak.over_window(after(origin, years + 1.0), 0), 0);
    }

    #[test]
    fn an_old_value_does_not_overwrite_a_newer_slot() {
        let origin = Instant::now();
        let peak = Peak::new(WINDOW, origin);
        peak.see(after(origin, 12.05), 2);
        peak.see(after(origin, 0.05), 99);
        assert_eq!(peak.over_window(after(origin, 12.05), 0), 2);
    }
}
