//! When an evaluation stops though it has not ended.

use std::cell::Cell;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use crate::QueryError;

/// Stops an evaluation at a deadline, or when its caller has gone. Cheap to clone; clones are one.
#[derive(Debug, Clone, Default)]
pub struct Interrupt {
    deadline: Option<Instant>,
    cancelled: Arc<AtomicBool>,
}

impl Interrupt {
    /// Never stops, unless it is cancelled.
    pub fn never() -> Interrupt {
        Interrupt::default()
    }

    /// Stops at a time.
    pub fn at(deadline: Instant) -> Interrupt {
        Interrupt { deadline: Some(deadline), ..Interrupt::default() }
    }

    /// Stops now.
    pub fn cancel(&self) {
        self.cancelled.store(true, Ordering::Relaxed);
    }

    /// # Errors
    /// It is time to stop.
    pub(crate) fn check(&self) -> Result<(), QueryError> {
        let late = self.deadline.is_some_and(|deadline| Instant::now() >= deadline);
        if late || self.cancelled.load(Ordering::Relaxed) { Err(QueryError::Interrupted) } else { Ok(()) }
    }
}

/// Looks at an [`Interrupt`] now and then: a look at the clock takes as long as a few comparisons.
#[derive(Debug)]
pub(crate) struct Pace {
    interrupt: Interrupt,
    steps: Cell<u32>,
}

impl Pace {
    pub(crate) fn new(interrupt: Interrupt) -> Pace {
        Pace { interrupt, steps: Cell::new(0) }
    }

    /// One more small piece of work.
    ///
    /// # Errors
    /// It is time to stop.
    pub(crate) fn step(&self) -> Result<(), QueryError> {
        let steps = self.steps.get().wrapping_add(1);
        self.steps.set(steps);
        if steps.is_multiple_of(STEPS_PER_LOOK) { self.interrupt.check() } else { Ok(()) }
    }

    /// A piece of work of unknown size begins.
    ///
    /// # Errors
    /// It is time to stop.
    pub(crate) fn check(&self) -> Result<(), QueryError> {
        self.interrupt.check()
    }
}

/// Each takes a few microseconds at most: one series matched, copied, reduced or joined.
const STEPS_PER_LOOK: u32 = 64;
