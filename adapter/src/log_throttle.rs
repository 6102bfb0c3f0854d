//! Rate-limits repeated log messages: an autoscaler repeats a failing request every 15 s.

use std::collections::HashMap;
use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash, Hasher as _};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// When each message was logged last.
pub(crate) struct LogThrottle {
    every: Duration,
    logged: Mutex<HashMap<u64, Instant>>,
}

impl LogThrottle {
    /// Lets the same message pass at most once in `every`.
    pub(crate) fn new(every: Duration) -> LogThrottle {
        LogThrottle { every, logged: Mutex::default() }
    }

    /// Whether it is time to log a message again. Callers of the API choose what there is to log, so the number of
    /// remembered messages is bounded; while it is reached, no other message is logged.
    pub(crate) fn is_due(&self, what: impl Hash) -> bool {
        self.is_due_at(what, Instant::now())
    }

    fn is_due_at(&self, what: impl Hash, now: Instant) -> bool {
        let mut hasher = DefaultHasher::new();
        what.hash(&mut hasher);
        // No code panics while it holds the lock.
        let mut logged = self.logged.lock().unwrap_or_else(PoisonError::into_inner);
        let key = hasher.finish();
        let recent = |at: &Instant| now.saturating_duration_since(*at) < self.every;
        if logged.get(&key).is_some_and(recent) {
            return false;
        }
        if logged.len() >= REMEMBERED {
            logged.retain(|_, at| recent(at));
        }
        if logged.len() >= REMEMBERED {
            return false;
        }
        logged.insert(key, now);
        true
    }
}

const REMEMBERED: usize = 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn once_in_a_while_and_never_without_bound() {
        let throttle = LogThrottle::new(Duration::from_mins(1));
        let start = Instant::now();
        assert!(throttle.is_due_at("a", start) && throttle.is_due_at("b", start));
        assert!(!throttle.is_due_at("a", start + Duration::from_secs(59)));
        assert!(throttle.is_due_at("a", start + Duration::from_mins(1)));
        let later = start + Duration::from_mins(5);
        let logged = (0..10_000).filter(|number| throttle.is_due_at(number, later)).count();
        assert_eq!(logged, REMEMBERED, "what is older made room");
        assert!(throttle.logged.lock().expect("no code panics while it holds the lock").len() <= REMEMBERED);
        assert!(throttle.is_due_at("c", later + Duration::from_mins(1)));
    }
}
