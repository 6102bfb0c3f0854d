//! The memory and the time that request bodies may take while they are received and decompressed, and the memory of
//! what is read from them while it waits. All share one budget, so that no number of connections, streams and waiting
//! requests adds up to more than the process has.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use crate::telemetry::BodyMetrics;

/// The budget of all bodies under way.
pub struct BodyBudget {
    limits: BodyLimits,
    /// Bytes that are taken: compressed and decompressed bodies, and inputs that wait.
    held: AtomicUsize,
    /// When bodies end that are unfinished at the end of a drain; unset while the server serves.
    drain_deadline: OnceLock<Instant>,
    metrics: BodyMetrics,
}

/// What bodies may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BodyLimits {
    /// Bytes of one body, compressed or not.
    pub bytes: usize,
    /// Bytes of all bodies together while they are received and decompressed, and of large inputs that wait.
    pub memory: usize,
    /// How long a body may take to arrive.
    pub time: Duration,
}

/// A body that needs more memory than is left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NoMemory;

/// Why an unfinished body is not waited for any longer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Overdue {
    /// It took its whole time.
    TooSlow(Duration),
    /// Memory for bodies is short, and it took the time that bodies have then.
    NoMemory,
    /// The server shuts down.
    Draining,
}

impl BodyBudget {
    /// A budget of which nothing is taken.
    pub fn new(limits: BodyLimits, metrics: BodyMetrics) -> BodyBudget {
        metrics.limit(limits.memory);
        BodyBudget { limits, held: AtomicUsize::new(0), drain_deadline: OnceLock::new(), metrics }
    }

    /// What bodies may take.
    pub fn limits(&self) -> BodyLimits {
        self.limits
    }

    /// Counts of refused bodies.
    pub fn metrics(&self) -> &BodyMetrics {
        &self.metrics
    }

    /// A share for one body, empty at first.
    pub fn share(&self) -> BodyShare<'_> {
        BodyShare { budget: self, held: 0 }
    }

    /// Memory for an input that was read from a body, to be kept as long as that; `None` for a small one, which is
    /// not counted: the queue's limit bounds those.
    ///
    /// # Errors
    /// There is no more memory for an input of this size.
    pub fn input(self: &Arc<Self>, bytes: usize) -> Result<Option<InputShare>, NoMemory> {
        if bytes <= SMALL {
            return Ok(None);
        }
        self.take(bytes, self.limit_for(bytes))?;
        Ok(Some(InputShare { budget: Arc::clone(self), bytes }))
    }

    /// Bodies above [`SMALL`] leave a quarter of the budget to those below, so that large unfinished bodies do not
    /// keep small ones out.
    fn limit_for(&self, bytes: usize) -> usize {
        let memory = self.limits.memory;
        if bytes > SMALL { memory - memory / 4 } else { memory }
    }

    fn take(&self, more: usize, limit: usize) -> Result<(), NoMemory> {
        let taken = self.held.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |held| {
            held.checked_add(more).filter(|sum| *sum <= limit)
        });
        taken.map_err(|_| NoMemory)?;
        self.metrics.taken(more);
        Ok(())
    }

    fn free(&self, bytes: usize) {
        self.held.fetch_sub(bytes, Ordering::Relaxed);
        self.metrics.freed(bytes);
    }

    /// Ends all bodies that are unfinished at this time; the first call counts.
    pub fn drain_by(&self, deadline: Instant) {
        let _ = self.drain_deadline.set(deadline);
    }

    /// Until when a body that began to arrive at `began` may take, and why not longer. The answer changes with the
    /// memory that other bodies take: a waiting task asks again every [`PATIENCE`].
    pub fn deadline(&self, began: Instant) -> (Instant, Overdue) {
        let mut earliest = (began + self.limits.time, Overdue::TooSlow(self.limits.time));
        let short = self.held.load(Ordering::Relaxed) > self.limits.memory / 2;
        let others = [
            short.then(|| (began + TIME_WHEN_SHORT, Overdue::NoMemory)),
            self.drain_deadline.get().map(|deadline| (*deadline, Overdue::Draining)),
        ];
        for (deadline, why) in others.into_iter().flatten() {
            if deadline < earliest.0 {
                earliest = (deadline, why);
            }
        }
        earliest
    }
}

/// The memory that one body takes. Dropped, it is free again.
pub struct BodyShare<'a> {
    budget: &'a BodyBudget,
    held: usize,
}

impl BodyShare<'_> {
    /// Takes what is missing to a number of bytes.
    ///
    /// # Errors
    /// There is no more memory for a body of this size; what was taken before stays taken.
    pub fn grow_to(&mut self, bytes: usize) -> Result<(), NoMemory> {
        let bytes = bytes.checked_next_multiple_of(STEP).ok_or(NoMemory)?;
        if bytes <= self.held {
            return Ok(());
        }
        self.budget.take(bytes - self.held, self.budget.limit_for(bytes))?;
        self.held = bytes;
        Ok(())
    }

    /// What is taken.
    pub fn bytes(&self) -> usize {
        self.held
    }
}

impl Drop for BodyShare<'_> {
    fn drop(&mut self) {
        if self.held > 0 {
            self.budget.free(self.held);
        }
    }
}

/// The memory of an input that waits to be computed. Dropped, it is free again.
pub struct InputShare {
    budget: Arc<BodyBudget>,
    bytes: usize,
}

impl Drop for InputShare {
    fn drop(&mut self) {
        self.budget.free(self.bytes);
    }
}

/// Memory is taken in steps of this size: about what a connection buffers.
pub const STEP: usize = 16 << 10;
/// Bodies up to this size may take all of the budget.
pub const SMALL: usize = 64 << 10;
/// How often a task that waits for a body looks whether it may still wait.
pub const PATIENCE: Duration = Duration::from_millis(500);
/// How long a body may take to arrive while more than half of the budget is taken: long for a client that sends,
/// short for one that does not.
const TIME_WHEN_SHORT: Duration = Duration::from_secs(2);

#[cfg(test)]
mod tests {
    use super::*;

    fn budget(memory: usize) -> BodyBudget {
        let limits = BodyLimits { bytes: 1 << 20, memory, time: Duration::from_secs(30) };
        BodyBudget::new(limits, BodyMetrics::unregistered())
    }

    #[test]
    fn shares_add_up_to_the_budget_and_are_free_again_when_dropped() {
        let budget = budget(4 * STEP);
        let (mut first, mut second) = (budget.share(), budget.share());
        assert_eq!(first.grow_to(1), Ok(()));
        assert_eq!(first.grow_to(STEP), Ok(()));
        assert_eq!((first.bytes(), second.grow_to(3 * STEP + 1)), (STEP, Err(NoMemory)));
        assert_eq!((second.grow_to(3 * STEP), second.bytes()), (Ok(()), 3 * STEP));
        assert_eq!(first.grow_to(STEP + 1), Err(NoMemory));
        drop(second);
        assert_eq!(first.grow_to(2 * STEP), Ok(()));
        drop(first);
        assert_eq!(budget.held.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn large_bodies_leave_a_quarter_to_small_ones() {
        let budget = budget(16 * SMALL);
        let mut large = budget.share();
        assert_eq!(large.grow_to(12 * SMALL), Ok(()));
        assert_eq!(large.grow_to(12 * SMALL + 1), Err(NoMemory));
        assert_eq!(budget.share().grow_to(SMALL + 1), Err(NoMemory));
        let small: Vec<_> = (0..4)
            .map(|_| {
                let mut share = budget.share();
                assert_eq!(share.grow_to(SMALL), Ok(()));
                share
            })
            .collect();
        assert_eq!(budget.share().grow_to(1), Err(NoMemory));
        drop(small);
        assert_eq!(budget.share().grow_to(1), Ok(()));
    }

    #[test]
    fn large_inputs_that_wait_share_the_memory_and_small_ones_are_not_counted() {
        let budget = Arc::new(budget(16 * SMALL));
        let input = |bytes| budget.input(bytes).map(|share| share.is_some());
        assert_eq!((input(SMALL), input(SMALL + 1)), (Ok(false), Ok(true)));
        let waiting = budget.input(11 * SMALL);
        assert_eq!((input(2 * SMALL), input(SMALL)), (Err(NoMemory), Ok(false)));
        drop(waiting);
        assert_eq!(input(2 * SMALL), Ok(true));
        assert_eq!(budget.held.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn a_size_beyond_all_numbers_is_refused() {
        let budget = budget(16 * SMALL);
        let mut share = budget.share();
        assert_eq!(share.grow_to(usize::MAX), Err(NoMemory));
    }

    #[test]
    fn bodies_have_less_time_when_memory_is_short_or_the_server_drains() {
        let budget = budget(16 * SMALL);
        let began = Instant::now();
        let time = Duration::from_secs(30);
        assert_eq!(budget.deadline(began), (began + time, Overdue::TooSlow(time)));
        let mut share = budget.share();
        assert_eq!(share.grow_to(9 * SMALL), Ok(()));
        assert_eq!(budget.deadline(began), (began + TIME_WHEN_SHORT, Overdue::NoMemory));
        drop(share);
        let drained = began + Duration::from_secs(1);
        budget.drain_by(drained);
        budget.drain_by(drained + time);
        assert_eq!(budget.deadline(began), (drained, Overdue::Draining));
    }
}
