//! What is said again and again is said once in a while: an autoscaler asks every few seconds, and so does its fault.

use std::collections::HashMap;
use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash, Hasher as _};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// When what was said last.
pub(crate) struct Repeats {
    every: Duration,
    said: Mutex<HashMap<u64, Instant>>,
}

impl Repeats {
    /// The same thing at most once in `every`.
    pub(crate) fn new(every: Duration) -> Repeats {
        Repeats { every, said: Mutex::default() }
    }

    /// Whether it is time to say something again. Callers choose what there is to say, so only so many things are
    /// remembered; while that many are, nothing new is said.
    pub(crate) fn is_due(&self, what: impl Hash) -> bool {
        self.is_due_at(what, Instant::now())
    }

    fn is_due_at(&self, what: impl Hash, now: Instant) -> bool {
        let mut hasher = DefaultHasher::new();
        what.hash(&mut hasher);
        // Nobody panics while holding the lock.
        let mut said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        let key = hasher.finish();
        let recent = |at: &Instant| now.saturating_duration_since(*at) < self.every;
        if said.get(&key).is_some_and(recent) {
            return false;
        }
        if said.len() >= REMEMBERED {
            said.retain(|_, at| recent(at));
        }
        if said.len() >= REMEMBERED {
            return false;
        }
        said.insert(key, now);
        true
    }
}

const REMEMBERED: usize = 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn once_in_a_while_and_never_without_bound() {
        let repeats = Repeats::new(Duration::from_mins(1));
        let start = Instant::now();
        assert!(repeats.is_due_at("a", start) && repeats.is_due_at("b", start));
        assert!(!repeats.is_due_at("a", start + Duration::from_secs(59)));
        assert!(repeats.is_due_at("a", start + Duration::from_mins(1)));
        let later = start + Duration::from_mins(5);
        let said = (0..10_000).filter(|number| repeats.is_due_at(number, later)).count();
        assert_eq!(said, REMEMBERED, "what is older made room");
        assert!(repeats.said.lock().expect("nobody panics").len() <= REMEMBERED);
        assert!(repeats.is_due_at("c", later + Duration::from_mins(1)));
    }
}
