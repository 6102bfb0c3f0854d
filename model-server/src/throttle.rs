//! Keeps what happens often from filling the log.

use std::time::{Duration, Instant};

/// Lets one line of a kind pass in a while.
#[derive(Debug)]
pub struct LogThrottle {
    interval: Duration,
    last: Option<Instant>,
    suppressed: u64,
}

impl LogThrottle {
    /// One line in each interval.
    pub fn new(interval: Duration) -> LogThrottle {
        LogThrottle { interval, last: None, suppressed: 0 }
    }

    /// How many lines did not pass since the last one that did; `None` if this one does not either.
    pub fn admits(&mut self, now: Instant) -> Option<u64> {
        if self.last.is_some_and(|last| now.saturating_duration_since(last) < self.interval) {
            self.suppressed += 1;
            return None;
        }
        self.last = Some(now);
        Some(std::mem::take(&mut self.suppressed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_line_passes_and_then_one_in_each_interval_with_the_number_of_others() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut throttle = LogThrottle::new(Duration::from_secs(10));
        let passed = [0, 1, 9, 10, 11, 40, 41].map(|seconds| throttle.admits(at(seconds)));
        assert_eq!(passed, [Some(0), None, None, Some(2), None, Some(1), None]);
    }
}
