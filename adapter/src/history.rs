//! What requests met lately, for the status page: the slowest queries, and answers without a value. Both are bounded.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::status::{SlowQuery, WithoutValue};

/// What requests met lately.
#[derive(Default)]
pub struct History {
    slow: Mutex<Vec<Slow>>,
    missing: Mutex<VecDeque<Missing>>,
}

/// A query, the longest time that it took, and when.
struct Slow {
    rule: String,
    promql: String,
    took: Duration,
    at: Instant,
    error: Option<String>,
}

struct Missing {
    asked: String,
    step: &'static str,
    why: String,
    at: Instant,
}

impl History {
    /// A query was answered, or not. Only slow ones are remembered: `describe` is asked for the rule, the query and the
    /// error of such a one.
    pub fn asked(&self, took: Duration, describe: impl FnOnce() -> (String, String, Option<String>)) {
        self.asked_at(Instant::now(), took, describe);
    }

    fn asked_at(
        &self,
        at: Instant,
        took: Duration,
        describe: impl FnOnce() -> (String, String, Option<String>),
    ) {
        // No code panics while it holds the lock.
        let mut slow = self.slow.lock().unwrap_or_else(PoisonError::into_inner);
        slow.retain(|known| at.saturating_duration_since(known.at) < REMEMBERED);
        let is_full = slow.len() >= MOST_SLOW;
        if is_full && slow.iter().all(|known| known.took >= took) {
            return;
        }
        let (rule, promql, error) = describe();
        if let Some(known) = slow.iter_mut().find(|known| known.promql == promql) {
            if known.took < took {
                *known = Slow { rule, promql, took, at, error };
            }
            return;
        }
        if is_full && let Some(least) = (0..slow.len()).min_by_key(|place| slow[*place].took) {
            slow.swap_remove(least);
        }
        slow.push(Slow { rule, promql, took, at, error });
    }

    /// A request had an answer without a value.
    pub fn missing(&self, asked: String, step: &'static str, why: String) {
        let mut missing = self.missing.lock().unwrap_or_else(PoisonError::into_inner);
        if missing.len() >= MOST_MISSING {
            missing.pop_front();
        }
        missing.push_back(Missing { asked, step, why, at: Instant::now() });
    }

    /// The slowest queries of the last hour, the slowest first.
    pub fn slow_queries(&self) -> Vec<SlowQuery> {
        let slow = self.slow.lock().unwrap_or_else(PoisonError::into_inner);
        let mut queries: Vec<SlowQuery> = slow
            .iter()
            .filter(|known| known.at.elapsed() < REMEMBERED)
            .map(|Slow { rule, promql, took, at, error }| SlowQuery {
                rule: rule.clone(),
                promql: promql.clone(),
                seconds: took.as_secs_f64(),
                seconds_ago: at.elapsed().as_secs_f64(),
                error: error.clone(),
            })
            .collect();
        queries.sort_by(|left, right| right.seconds.total_cmp(&left.seconds));
        queries
    }

    /// The last answers without a value, the last first.
    pub fn without_value(&self) -> Vec<WithoutValue> {
        let missing = self.missing.lock().unwrap_or_else(PoisonError::into_inner);
        let last = missing.iter().rev().map(|Missing { asked, step, why, at }| WithoutValue {
            asked: asked.clone(),
            step: (*step).to_owned(),
            why: why.clone(),
            seconds_ago: at.elapsed().as_secs_f64(),
        });
        last.collect()
    }
}

const MOST_SLOW: usize = 20;
const MOST_MISSING: usize = 50;
/// How long a slow query is remembered.
const REMEMBERED: Duration = Duration::from_hours(1);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_slowest_are_kept_each_once_and_for_an_hour() {
        let history = History::default();
        let start = Instant::now();
        let asked = |at: Instant, name: u64, millis: u64| {
            history.asked_at(at, Duration::from_millis(millis), || (String::new(), format!("q{name}"), None));
        };
        for name in 0..30 {
            asked(start, name, 100 + name);
        }
        asked(start, 29, 500);
        asked(start, 29, 300);
        let queries = history.slow_queries();
        assert_eq!(queries.len(), MOST_SLOW);
        assert_eq!((queries[0].promql.as_str(), queries[0].seconds), ("q29", 0.5));
        assert_eq!(queries.last().map(|query| query.promql.as_str()), Some("q10"));
        // What is an hour old makes room.
        asked(start + REMEMBERED, 1, 1);
        assert_eq!(history.slow_queries().len(), 1);
    }

    #[test]
    fn the_last_answers_without_a_value_come_first() {
        let history = History::default();
        for number in 0..60 {
            history.missing(number.to_string(), "sample", String::new());
        }
        let last = history.without_value();
        assert_eq!((last.len(), last[0].asked.as_str(), last[49].asked.as_str()), (MOST_MISSING, "59", "10"));
    }
}
