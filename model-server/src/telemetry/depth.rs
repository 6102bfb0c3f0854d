//! How many requests, or rows of them, wait and execute: one word, so that the two never disagree and a request that
//! moves on is in one of them.

use std::sync::atomic::{AtomicU64, Ordering};

/// What waits in the lower half, what executes in the upper. In memory of its own: every request writes it.
#[derive(Default)]
#[repr(align(128))]
pub(super) struct Depth(AtomicU64);

/// How many there are at a moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Counts {
    pub(super) waiting: u32,
    /// Less than none for the moment in which a client left before its request, which just began to execute, was
    /// counted so.
    running: i32,
}

impl Depth {
    /// `count` more wait; how many there are with them.
    pub(super) fn arrive(&self, count: u32) -> Counts {
        let waiting = WAITING * u64::from(count);
        Counts::of(self.0.fetch_add(waiting, Ordering::AcqRel).wrapping_add(waiting))
    }

    /// `count` that waited execute.
    pub(super) fn start(&self, count: u32) {
        self.0.fetch_add((RUNNING.wrapping_sub(WAITING)).wrapping_mul(u64::from(count)), Ordering::AcqRel);
    }

    /// `count` that waited are over; how many there were with them.
    pub(super) fn stop_waiting(&self, count: u32) -> Counts {
        Counts::of(self.0.fetch_sub(WAITING * u64::from(count), Ordering::AcqRel))
    }

    /// `count` that executed are over; how many there were with them.
    pub(super) fn stop_running(&self, count: u32) -> Counts {
        Counts::of(self.0.fetch_sub(RUNNING.wrapping_mul(u64::from(count)), Ordering::AcqRel))
    }

    pub(super) fn now(&self) -> Counts {
        Counts::of(self.0.load(Ordering::Acquire))
    }
}

impl Counts {
    fn of(word: u64) -> Counts {
        Counts { waiting: word as u32, running: (word >> 32) as i32 }
    }

    pub(super) fn running(self) -> u32 {
        self.running.max(0).unsigned_abs()
    }

    pub(super) fn all(self) -> u32 {
        self.waiting.saturating_add_signed(self.running)
    }
}

const WAITING: u64 = 1;
const RUNNING: u64 = 1 << 32;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_in_one_of_both() {
        let depth = Depth::default();
        assert_eq!(depth.arrive(1), Counts { waiting: 1, running: 0 });
        assert_eq!(depth.arrive(1).all(), 2);
        depth.start(1);
        assert_eq!(depth.now(), Counts { waiting: 1, running: 1 });
        assert_eq!(depth.stop_waiting(1).all(), 2);
        assert_eq!(depth.stop_running(1).all(), 1);
        assert_eq!(depth.now(), Counts { waiting: 0, running: 0 });
    }

    #[test]
    fn several_move_together() {
        let depth = Depth::default();
        assert_eq!(depth.arrive(3).all(), 3);
        depth.arrive(40);
        depth.start(40);
        assert_eq!(depth.now(), Counts { waiting: 3, running: 40 });
        depth.stop_running(40);
        assert_eq!(depth.stop_waiting(3).all(), 3);
        assert_eq!(depth.now(), Counts { waiting: 0, running: 0 });
    }

    #[test]
    fn one_that_leaves_before_its_start_is_counted_is_over() {
        let depth = Depth::default();
        depth.arrive(1);
        assert_eq!(depth.stop_running(1).all(), 1);
        assert_eq!((depth.now().all(), depth.now().running()), (0, 0));
        depth.start(1);
        assert_eq!(depth.now(), Counts { waiting: 0, running: 0 });
    }
}
