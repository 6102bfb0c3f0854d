//! When each series query is listed.
//!
//! All of them at the interval. In between only those that failed or found nothing, each by a clock of its own: a
//! listing of a million series costs Prometheus and the network hundreds of megabytes, which another query's fault must
//! not multiply.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

/// When series queries are listed. Starts with all of them due.
pub(super) struct Schedule {
    interval: Duration,
    /// When all queries are due.
    all: Option<Instant>,
    clocks: HashMap<Arc<str>, Clock>,
}

/// What a listing of one query came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outcome {
    Found,
    Empty,
    Failed,
}

/// The clock of one query.
struct Clock {
    last: Outcome,
    /// When it is due before all are; `None` leaves it to the interval.
    due: Option<Instant>,
    /// The pause before the next retry.
    pause: Duration,
    /// Retries left while it finds nothing.
    retries_left: u32,
}

impl Schedule {
    pub(super) fn new(interval: Duration) -> Schedule {
        Schedule { interval, all: None, clocks: HashMap::new() }
    }

    /// All queries are due, and their clocks start again: the rules have changed.
    pub(super) fn restart(&mut self) {
        *self = Schedule::new(self.interval);
    }

    /// What failed is due, and its clocks start again: the source was at fault and answers now. Says whether anything
    /// had failed.
    pub(super) fn retry_failed(&mut self, now: Instant) -> bool {
        let mut failed = false;
        for clock in self.clocks.values_mut().filter(|clock| clock.last == Outcome::Failed) {
            (clock.due, clock.pause) = (Some(now), FIRST_RETRY);
            failed = true;
        }
        failed
    }

    /// When something is due next; `None` is now.
    pub(super) fn next(&self) -> Option<Instant> {
        let all = self.all?;
        Some(self.clocks.values().filter_map(|clock| clock.due).fold(all, Instant::min))
    }

    /// Of the queries those that are due, and whether that is all of them by the interval.
    pub(super) fn due(&self, queries: Vec<Arc<str>>, now: Instant) -> (Vec<Arc<str>>, bool) {
        if self.all.is_none_or(|all| all <= now) {
            return (queries, true);
        }
        let is_due = |query: &Arc<str>| {
            self.clocks.get(query).and_then(|clock| clock.due).is_some_and(|due| due <= now)
        };
        (queries.into_iter().filter(is_due).collect(), false)
    }

    /// All queries were listed.
    pub(super) fn listed_all(&mut self, now: Instant) {
        self.all = Some(now + self.interval);
    }

    /// One query was listed.
    pub(super) fn listed(&mut self, query: &Arc<str>, outcome: Outcome, now: Instant) {
        let clock = self.clocks.entry(Arc::clone(query)).or_insert(Clock {
            last: outcome,
            due: None,
            pause: FIRST_RETRY,
            retries_left: EMPTY_RETRIES,
        });
        if clock.last != outcome {
            (clock.last, clock.pause) = (outcome, FIRST_RETRY);
        }
        let retries = match outcome {
            Outcome::Found => {
                // What was there and went is no longer the start.
                clock.retries_left = 0;
                false
            }
            Outcome::Empty => {
                let retries = clock.retries_left > 0;
                clock.retries_left = clock.retries_left.saturating_sub(1);
                retries
            }
            Outcome::Failed => true,
        };
        clock.due = (retries && clock.pause < self.interval).then(|| now + clock.pause);
        if retries {
            clock.pause = (clock.pause * 2).min(self.interval);
        }
    }
}

/// The first retry comes after this time, each further one after twice the time of the one before, up to the interval.
const FIRST_RETRY: Duration = Duration::from_secs(1);
/// A query that finds nothing is retried this often, 31 s in all: a metric may appear right after the start. After that
/// its workload has no pods, and the interval does.
const EMPTY_RETRIES: u32 = 5;

#[cfg(test)]
mod tests {
    use testkit::rows::each_row;

    use super::*;

    /// The seconds at which a query is listed within an hour, by what each listing comes to.
    fn listed_at(interval: Duration, outcome: impl Fn(u64) -> Outcome) -> Vec<u64> {
        let start = Instant::now();
        let mut schedule = Schedule::new(interval);
        let (mut now, mut listed) = (start, Vec::new());
        while now - start <= Duration::from_hours(1) {
            let (due, all) = schedule.due(vec!["query".into()], now);
            for query in &due {
                let second = (now - start).as_secs();
                listed.push(second);
                schedule.listed(query, outcome(second), now);
            }
            if all {
                schedule.listed_all(now);
            }
            now = schedule.next().expect("all were listed");
        }
        listed
    }

    const TEN_MINUTES: Duration = Duration::from_mins(10);
    const INTERVALS: [u64; 6] = [600, 1200, 1800, 2400, 3000, 3600];

    #[test]
    fn a_query_that_finds_series_keeps_to_the_interval() {
        assert_eq!(listed_at(TEN_MINUTES, |_| Outcome::Found), [&[0], &INTERVALS[..]].concat());
    }

    #[test]
    fn an_empty_query_is_retried_only_at_the_start() {
        let expected = [&[0, 1, 3, 7, 15, 31], &INTERVALS[..]].concat();
        assert_eq!(listed_at(TEN_MINUTES, |_| Outcome::Empty), expected);
        let gone_later = |second| if second < 600 { Outcome::Found } else { Outcome::Empty };
        assert_eq!(listed_at(TEN_MINUTES, gone_later), [&[0], &INTERVALS[..]].concat());
    }

    #[test]
    fn a_failing_query_is_retried_up_to_the_interval() {
        let expected = [&[0, 1, 3, 7, 15, 31, 63, 127, 255, 511], &INTERVALS[..]].concat();
        assert_eq!(listed_at(TEN_MINUTES, |_| Outcome::Failed), expected);
        // Prometheus starts after us, and then has scraped nothing yet.
        let late = |second| match second {
            0..100 => Outcome::Failed,
            100..130 => Outcome::Empty,
            _ => Outcome::Found,
        };
        let expected = [&[0, 1, 3, 7, 15, 31, 63, 127, 128, 130], &INTERVALS[..]].concat();
        assert_eq!(listed_at(TEN_MINUTES, late), expected);
        // A failure later on is one as well.
        let once = |second| if second == 1200 { Outcome::Failed } else { Outcome::Found };
        assert_eq!(listed_at(TEN_MINUTES, once), [&[0, 600, 1200, 1201], &INTERVALS[2..]].concat());
    }

    #[test]
    fn what_failed_is_due_when_the_source_answers_again() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let [found, failing] = ["found", "failing"].map(Arc::from);
        let mut schedule = Schedule::new(TEN_MINUTES);
        schedule.listed(&found, Outcome::Found, start);
        assert!(!schedule.retry_failed(start), "nothing failed");
        for second in [0, 1, 3, 7, 15, 31, 63] {
            schedule.listed(&failing, Outcome::Failed, at(second));
        }
        schedule.listed_all(start);
        assert_eq!(schedule.next(), Some(at(127)));
        assert!(schedule.retry_failed(at(70)));
        let due =
            |schedule: &Schedule, now| schedule.due(vec![Arc::clone(&found), Arc::clone(&failing)], now);
        assert_eq!(due(&schedule, at(70)), (vec![Arc::clone(&failing)], false));
        // It may not be whole yet.
        schedule.listed(&failing, Outcome::Failed, at(70));
        assert_eq!(schedule.next(), Some(at(71)));
    }

    #[test]
    fn retries_never_come_more_often_than_the_interval() {
        let second = Duration::from_secs(1);
        each_row([Outcome::Found, Outcome::Empty, Outcome::Failed], |outcome| {
            assert_eq!(listed_at(second, |_| outcome), (0..=3600).collect::<Vec<_>>(), "{outcome:?}");
        });
    }
}
