//! The rules of the queue: which requests are admitted, which of them make a batch, and which have waited too long.
//! Pure: time is given.

use std::collections::VecDeque;
use std::ops::Deref;
use std::time::{Duration, Instant};

/// How much may wait, and what a batch is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Requests that may wait.
    pub requests: usize,
    /// Rows of these that may wait; one request may, however many it has.
    pub rows: usize,
    /// Rows of a batch at most; a request has no more.
    pub batch_rows: usize,
    /// How long the oldest request may wait for others to fill its batch. Zero: not at all.
    pub batch_delay: Duration,
}

/// What waits.
pub trait Entry {
    /// Rows to compute, 1 or more.
    fn rows(&self) -> usize;

    /// It is computed by itself.
    fn is_alone(&self) -> bool;

    /// Whether it can be computed together with another one.
    fn joins(&self, other: &Self) -> bool;

    /// Since when it waits.
    fn admitted(&self) -> Instant;

    /// Until when it may wait; without a limit when `None`.
    fn deadline(&self) -> Option<Instant>;

    /// Whether its client has gone.
    fn is_abandoned(&self) -> bool;
}

/// A bounded queue, first come, first served.
pub struct Waiting<E> {
    entries: VecDeque<E>,
    /// Of all entries.
    rows: usize,
    limits: Limits,
    batches: BatchRows,
}

/// How many rows a batch has at most, after there was no memory for more.
struct BatchRows {
    now: usize,
    /// When to try more again; `None` while all are allowed that may be.
    raise_at: Option<Instant>,
    changed: bool,
}

/// How long batches stay small after there was no memory for larger ones, and how long they take to double.
const SMALL_FOR: Duration = Duration::from_mins(1);

/// Requests that are passed over at most in search of others to compute together with the oldest one.
const LOOKAHEAD: usize = 256;

/// What a look at the queue brings.
#[derive(Debug, PartialEq, Eq)]
pub struct Taken<E> {
    /// To be computed together; empty when nothing is due.
    pub batch: Vec<E>,
    /// Waited longer than they may: to be refused without computing.
    pub expired: Vec<E>,
    /// When the batch that is forming is due, if nothing more comes.
    pub look_again: Option<Instant>,
}

impl<P: Deref> Waiting<P>
where
    P::Target: Entry,
{
    /// Nothing waits.
    pub fn new(limits: Limits) -> Waiting<P> {
        let batches = BatchRows { now: limits.batch_rows, raise_at: None, changed: false };
        Waiting { entries: VecDeque::new(), rows: 0, limits, batches }
    }

    /// Makes batches of at most `rows` rows.
    pub fn limit_batches(&mut self, rows: usize) {
        self.limits.batch_rows = rows;
        self.batches = BatchRows { now: rows, raise_at: None, changed: true };
    }

    /// There was no memory for `rows` rows: half of them may do. After a while more are tried.
    pub fn ran_out_of_memory(&mut self, rows: usize, now: Instant) {
        let fewer = (rows / 2).clamp(1, self.batches.now);
        self.batches.changed |= fewer != self.batches.now;
        self.batches.now = fewer;
        self.batches.raise_at = (fewer < self.limits.batch_rows).then(|| now + SMALL_FOR);
    }

    /// How many rows a batch has at most, if that changed since the last call.
    pub fn changed_batch_rows(&mut self) -> Option<usize> {
        std::mem::take(&mut self.batches.changed).then_some(self.batches.now)
    }

    fn raise_batches(&mut self, now: Instant) {
        if self.batches.raise_at.is_some_and(|at| at <= now) {
            let more = (2 * self.batches.now).min(self.limits.batch_rows);
            let raise_at = (more < self.limits.batch_rows).then(|| now + SMALL_FOR);
            self.batches = BatchRows { now: more, raise_at, changed: true };
        }
    }

    /// Whether one more with `rows` rows may wait. Abandoned requests take no room.
    pub fn has_room(&mut self, rows: usize) -> bool {
        if !self.fits(rows) {
            let count = self.entries.len();
            self.entries.retain(|entry| !entry.is_abandoned());
            if self.entries.len() < count {
                self.rows = self.entries.iter().map(|entry| entry.rows()).sum();
            }
        }
        self.fits(rows)
    }

    fn fits(&self, rows: usize) -> bool {
        let fits = self.entries.is_empty() || self.rows.saturating_add(rows) <= self.limits.rows;
        fits && self.entries.len() < self.limits.requests
    }

    /// Lets one more wait; the caller has asked [`has_room`](Waiting::has_room) first.
    pub fn push(&mut self, entry: P) {
        debug_assert!(self.fits(entry.rows()), "a queue with room");
        self.rows += entry.rows();
        self.entries.push_back(entry);
    }

    fn pop(&mut self) -> Option<P> {
        let entry = self.entries.pop_front()?;
        self.rows -= entry.rows();
        Some(entry)
    }

    fn put_back(&mut self, entry: P) {
        self.rows += entry.rows();
        self.entries.push_front(entry);
    }

    /// Takes the next batch, if one is due: immediately without a delay, else when it is full, when its oldest request
    /// waited as long as it may for others, or when `hurry` says that no others come. The oldest request is in it;
    /// those that cannot be computed together with that keep their places.
    pub fn take(&mut self, now: Instant, hurry: bool) -> Taken<P> {
        self.raise_batches(now);
        let batch_rows = self.batches.now;
        let mut taken = Taken { batch: Vec::new(), expired: Vec::new(), look_again: None };
        let (mut rows, mut full, mut passed_over) = (0, false, 0);
        // All that is looked at, in order, and whether it is for this batch.
        let mut looked = Vec::new();
        while !full
            && passed_over < LOOKAHEAD
            && let Some(entry) = self.pop()
        {
            if entry.is_abandoned() {
                continue;
            }
            if entry.deadline().is_some_and(|deadline| deadline <= now) {
                taken.expired.push(entry);
                continue;
            }
            // The oldest is the first that is looked at, and chosen.
            if let Some((oldest, _)) = looked.first() {
                let oldest: &P = oldest;
                if entry.is_alone() || !oldest.joins(&entry) {
                    passed_over += 1;
                    looked.push((entry, false));
                    continue;
                }
                if rows + entry.rows() > batch_rows {
                    // First come, first served: no smaller one overtakes it.
                    self.put_back(entry);
                    full = true;
                    continue;
                }
            }
            rows += entry.rows();
            full = rows >= batch_rows || entry.is_alone();
            looked.push((entry, true));
        }
        let due = looked.first().map(|(oldest, _)| oldest.admitted() + self.limits.batch_delay);
        taken.look_again = due.filter(|due| !full && !hurry && *due > now);
        for (entry, chosen) in looked.into_iter().rev() {
            if chosen && taken.look_again.is_none() {
                taken.batch.push(entry);
            } else {
                self.put_back(entry);
            }
        }
        taken.batch.reverse();
        taken
    }

    /// Takes everything.
    pub fn drain(&mut self) -> Vec<P> {
        self.rows = 0;
        self.entries.drain(..).collect()
    }

    /// How many wait, abandoned ones included.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::rc::Rc;

    use super::*;

    #[derive(Debug)]
    struct Fake {
        name: u32,
        rows: usize,
        /// Those of one kind are computed together; those of kind 0 alone.
        kind: u32,
        admitted: Instant,
        deadline: Option<Instant>,
        abandoned: Cell<bool>,
    }

    impl Entry for Fake {
        fn rows(&self) -> usize {
            self.rows
        }

        fn is_alone(&self) -> bool {
            self.kind == 0
        }

        fn joins(&self, other: &Fake) -> bool {
            self.kind == other.kind
        }

        fn admitted(&self) -> Instant {
            self.admitted
        }

        fn deadline(&self) -> Option<Instant> {
            self.deadline
        }

        fn is_abandoned(&self) -> bool {
            self.abandoned.get()
        }
    }

    struct Bench {
        waiting: Waiting<Rc<Fake>>,
        start: Instant,
        names: u32,
    }

    impl Bench {
        fn new(requests: usize, batch_rows: usize, batch_delay: Duration) -> Bench {
            let waiting = Waiting::new(Limits { requests, rows: usize::MAX, batch_rows, batch_delay });
            Bench { waiting, start: Instant::now(), names: 0 }
        }

        fn at(&self, millis: u64) -> Instant {
            self.start + Duration::from_millis(millis)
        }

        fn push(&mut self, rows: usize, admitted: u64, deadline: Option<u64>) -> Rc<Fake> {
            self.push_kind(1, rows, admitted, deadline)
        }

        fn push_kind(&mut self, kind: u32, rows: usize, admitted: u64, deadline: Option<u64>) -> Rc<Fake> {
            assert!(self.waiting.has_room(rows));
            self.names += 1;
            let entry = Rc::new(Fake {
                name: self.names,
                rows,
                kind,
                admitted: self.at(admitted),
                deadline: deadline.map(|deadline| self.at(deadline)),
                abandoned: Cell::new(false),
            });
            self.waiting.push(Rc::clone(&entry));
            entry
        }

        /// Names of the batch and of what expired, and after how many milliseconds to look again.
        fn take(&mut self, now: u64) -> (Vec<u32>, Vec<u32>, Option<u64>) {
            let taken = self.waiting.take(self.at(now), false);
            let names = |entries: Vec<Rc<Fake>>| entries.iter().map(|entry| entry.name).collect();
            let again = taken.look_again.map(|again| again.duration_since(self.start).as_millis() as u64);
            (names(taken.batch), names(taken.expired), again)
        }
    }

    #[test]
    fn a_batch_is_what_waits_up_to_its_size_in_order() {
        let mut bench = Bench::new(16, 3, Duration::ZERO);
        for _ in 0..5 {
            bench.push(1, 0, None);
        }
        assert_eq!(bench.take(0), (vec![1, 2, 3], vec![], None));
        assert_eq!(bench.take(0), (vec![4, 5], vec![], None));
        assert_eq!(bench.take(0), (vec![], vec![], None));
    }

    #[test]
    fn rows_count_and_no_request_overtakes() {
        let mut bench = Bench::new(16, 8, Duration::ZERO);
        for rows in [3, 4, 5, 1, 8] {
            bench.push(rows, 0, None);
        }
        assert_eq!(bench.take(0).0, [1, 2]);
        assert_eq!(bench.take(0).0, [3, 4]);
        assert_eq!(bench.take(0).0, [5]);
    }

    #[test]
    fn only_those_of_a_kind_are_computed_together_and_others_keep_their_places() {
        let mut bench = Bench::new(1024, 3, Duration::from_millis(5));
        for kind in [1, 2, 1, 0, 2, 0, 1, 1] {
            bench.push_kind(kind, 1, 0, None);
        }
        assert_eq!(bench.take(0).0, [1, 3, 7]);
        assert_eq!(bench.take(4), (vec![], vec![], Some(5)), "one more of kind 2 may come");
        assert_eq!(bench.take(5).0, [2, 5]);
        // Those that are computed alone wait for no others.
        assert_eq!(bench.take(0).0, [4]);
        assert_eq!(bench.take(0).0, [6]);
        assert_eq!(bench.take(5).0, [8]);
        bench.push_kind(1, 1, 10, None);
        for _ in 0..LOOKAHEAD {
            bench.push_kind(2, 1, 10, None);
        }
        bench.push_kind(1, 1, 10, None);
        assert_eq!(bench.take(15).0, [9], "a look at the queue has an end");
        assert_eq!(bench.take(15).0, [10, 11, 12]);
    }

    #[test]
    fn a_full_queue_has_no_room_until_one_is_taken_or_leaves() {
        let mut bench = Bench::new(2, 1, Duration::ZERO);
        let first = bench.push(1, 0, None);
        bench.push(1, 0, None);
        assert!(!bench.waiting.has_room(1));
        first.abandoned.set(true);
        assert!(bench.waiting.has_room(1));
        assert_eq!(bench.waiting.len(), 1);
        bench.push(1, 0, None);
        assert!(!bench.waiting.has_room(1));
        assert_eq!(bench.take(0).0, [2]);
        assert!(bench.waiting.has_room(1));
    }

    #[test]
    fn rows_take_room_as_well() {
        let mut bench = Bench::new(8, 4, Duration::ZERO);
        bench.waiting.limits.rows = 5;
        let first = bench.push(4, 0, None);
        assert!(bench.waiting.has_room(1) && !bench.waiting.has_room(2));
        first.abandoned.set(true);
        bench.push(3, 0, None);
        bench.push(2, 0, None);
        assert!(!bench.waiting.has_room(1));
        assert_eq!(bench.take(0).0, [2]);
        assert!(bench.waiting.has_room(3) && !bench.waiting.has_room(4));
        assert_eq!(bench.take(0).0, [3]);
        // One alone finds room, however many rows it has.
        assert!(bench.waiting.has_room(6));
        bench.push(6, 0, None);
        assert_eq!(bench.waiting.drain().len(), 1);
        assert!(bench.waiting.has_room(6));
    }

    #[test]
    fn who_left_is_skipped_and_who_waited_too_long_is_not_computed() {
        let mut bench = Bench::new(16, 8, Duration::ZERO);
        bench.push(1, 0, Some(10));
        bench.push(1, 0, None).abandoned.set(true);
        bench.push(1, 0, Some(11));
        assert_eq!(bench.take(10), (vec![3], vec![1], None));
        assert!(bench.waiting.is_empty());
    }

    #[test]
    fn after_a_lack_of_memory_batches_are_smaller_for_a_while() {
        let mut bench = Bench::new(64, 8, Duration::ZERO);
        let minutes = |minutes: u64| minutes * 60_000;
        let batch = |bench: &mut Bench, now| {
            for _ in 0..8 {
                bench.push(1, 0, None);
            }
            let first = bench.take(now).0.len();
            while !bench.take(now).0.is_empty() {}
            (first, bench.waiting.changed_batch_rows())
        };
        assert_eq!(batch(&mut bench, 0), (8, None));
        bench.waiting.ran_out_of_memory(8, bench.at(0));
        bench.waiting.ran_out_of_memory(4, bench.at(0));
        assert_eq!(batch(&mut bench, 1), (2, Some(2)));
        assert_eq!(batch(&mut bench, minutes(1) - 1), (2, None));
        assert_eq!(batch(&mut bench, minutes(1)), (4, Some(4)));
        assert_eq!(batch(&mut bench, minutes(2) - 1), (4, None));
        assert_eq!(batch(&mut bench, minutes(2)), (8, Some(8)));
        assert_eq!(batch(&mut bench, minutes(9)), (8, None));
        // A request of more rows is computed alone, and one row is the least.
        bench.waiting.ran_out_of_memory(1, bench.at(minutes(9)));
        bench.push(8, 0, None);
        assert_eq!(batch(&mut bench, minutes(9)), (1, Some(1)));
        bench.waiting.limit_batches(4);
        assert_eq!(batch(&mut bench, minutes(9)), (4, Some(4)));
    }

    #[test]
    fn with_a_delay_a_batch_is_due_when_full_or_when_the_oldest_waited_enough() {
        let mut bench = Bench::new(16, 3, Duration::from_millis(5));
        bench.push(1, 0, None);
        bench.push(1, 3, None);
        assert_eq!(bench.take(3), (vec![], vec![], Some(5)));
        assert_eq!(bench.waiting.len(), 2);
        assert_eq!(bench.take(5).0, [1, 2]);
        for _ in 0..3 {
            bench.push(1, 10, None);
        }
        assert_eq!(bench.take(10).0, [3, 4, 5]);
        // One that does not fit means that the batch gets no fuller.
        bench.push(2, 20, None);
        bench.push(2, 20, None);
        assert_eq!(bench.take(20).0, [6]);
        assert_eq!(bench.take(20), (vec![], vec![], Some(25)));
        assert_eq!(bench.waiting.take(bench.at(20), true).batch.len(), 1);
    }
}
