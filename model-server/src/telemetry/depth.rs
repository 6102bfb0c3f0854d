//! How many requests wait and execute: one word, so that the two never disagree and a request that moves on is in one of them.

use std::sync::atomic::{AtomicU64, Ordering};

/// Requests that wait in the lower half, those that execute in the upper. In memory of its own: every request writes it.
#[derive(Default)]
#[repr(align(128))]
pub(super) struct Depth(AtomicU64);

/// How many requests there are at a moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Requests {
    pub(super) waiting: u32,
    /// Less than none for the moment in which a client left before its request, which just began to execute, was counted so.
    running: i32,
}

impl Depth {
    /// One more waits; how many there are with it.
    pub(super) fn arrives(&self) -> Requests {
        Requests::of(self.0.fetch_add(WAITING, Ordering::AcqRel).wrapping_add(WAITING))
    }

    /// One that waited executes.
    pub(super) fn starts(&self) {
        self.0.fetch_add(RUNNING.wrapping_sub(WAITING), Ordering::AcqRel);
    }

    /// One that waited is over; how many there were with it.
    pub(super) fn stops_waiting(&self) -> Requests {
        Requests::of(self.0.fetch_sub(WAITING, Ordering::AcqRel))
    }

    /// One that executed is over; how many there were with it.
    pub(super) fn stops_running(&self) -> Requests {
        Requests::of(self.0.fetch_sub(RUNNING, Ordering::AcqRel))
    }

    pub(super) fn now(&self) -> Requests {
        Requests::of(self.0.load(Ordering::Acquire))
    }
}

impl Requests {
    fn of(word: u64) -> Requests {
        Requests { waiting: word as u32, running: (word >> 32) as i32 }
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
        assert_eq!(depth.arrives(), Requests { waiting: 1, running: 0 });
        assert_eq!(depth.arrives().all(), 2);
        depth.starts();
        assert_eq!(depth.now(), Requests { waiting: 1, running: 1 });
        assert_eq!(depth.stops_waiting().all(), 2);
        assert_eq!(depth.stops_running().all(), 1);
        assert_eq!(depth.now(), Requests { waiting: 0, running: 0 });
    }

    #[test]
    fn one_that_leaves_before_its_start_is_counted_is_over() {
        let depth = Depth::default();
        depth.arrives();
        assert_eq!(depth.stops_running().all(), 1);
        assert_eq!((depth.now().all(), depth.now().running()), (0, 0));
        depth.starts();
        assert_eq!(depth.now(), Requests { waiting: 0, running: 0 });
    }
}
