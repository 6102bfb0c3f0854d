//! Requests that wait for a worker: a bounded queue, batches of whatever is waiting.
//!
//! A request counts from admission to its end, however it ends: its ticket keeps the gauges true when the client leaves
//! while it waits or executes.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use crate::model::ModelError;
use crate::telemetry::{Outcome, Telemetry};

/// What a worker answers: a row of outputs.
pub type Reply = Result<Vec<f32>, ModelError>;

/// Requests between the web server and the workers.
pub struct Queue {
    jobs: Mutex<Jobs>,
    arrived: Condvar,
    limit: usize,
    telemetry: Arc<Telemetry>,
}

#[derive(Default)]
struct Jobs {
    waiting: VecDeque<Job>,
    closed: bool,
}

/// One row to compute.
pub struct Job {
    /// The row.
    pub input: Vec<f32>,
    /// Where the answer goes.
    pub reply: oneshot::Sender<Reply>,
    admitted: Instant,
    state: Arc<State>,
}

/// An admitted request. Dropped without an outcome, its client left.
pub struct Ticket {
    state: Arc<State>,
    outcome: Option<Outcome>,
    telemetry: Arc<Telemetry>,
}

/// Where a request is; moved on by the worker and by whoever holds the ticket.
struct State(AtomicU8);

const WAITING: u8 = 0;
const RUNNING: u8 = 1;
const OVER: u8 = 2;

/// Why a request is not admitted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refused {
    /// As many wait as may.
    Full,
    /// The server ends, or no worker is left.
    Closed,
}

impl Queue {
    /// An empty queue of at most `limit` waiting requests.
    pub fn new(limit: usize, telemetry: Arc<Telemetry>) -> Queue {
        Queue { jobs: Mutex::default(), arrived: Condvar::new(), limit, telemetry }
    }

    /// Admits a row, or refuses it at once.
    ///
    /// # Errors
    /// The queue is full or closed.
    pub fn admit(
        &self,
        input: Vec<f32>,
        now: Instant,
    ) -> Result<(Ticket, oneshot::Receiver<Reply>), Refused> {
        let mut jobs = self.lock();
        if jobs.closed {
            return Err(Refused::Closed);
        }
        if jobs.waiting.len() >= self.limit {
            return Err(Refused::Full);
        }
        let state = Arc::new(State(AtomicU8::new(WAITING)));
        let (reply, answer) = oneshot::channel();
        self.telemetry.admitted();
        jobs.waiting.push_back(Job { input, reply, admitted: now, state: Arc::clone(&state) });
        drop(jobs);
        self.arrived.notify_one();
        Ok((Ticket { state, outcome: None, telemetry: Arc::clone(&self.telemetry) }, answer))
    }

    /// Waits for requests and takes at most `most` of them; those whose client left are skipped. `None` when the queue is
    /// closed and empty.
    pub fn next_batch(&self, most: usize) -> Option<Vec<Job>> {
        let mut jobs = self.lock();
        loop {
            let mut batch = Vec::new();
            while batch.len() < most {
                let Some(job) = jobs.waiting.pop_front() else { break };
                if job.state.move_on(WAITING, RUNNING) {
                    self.telemetry.started(job.admitted.elapsed());
                    batch.push(job);
                }
            }
            if !batch.is_empty() {
                return Some(batch);
            }
            if jobs.closed {
                return None;
            }
            // Now and then without a reason, so that a worker's heartbeat goes on.
            jobs = self.arrived.wait_timeout(jobs, IDLE).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// How many requests wait.
    pub fn len(&self) -> usize {
        self.lock().waiting.len()
    }

    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Admits nothing more; what waits is still served.
    pub fn close(&self) {
        self.lock().closed = true;
        self.arrived.notify_all();
    }

    /// Drops what waits: nobody will compute it.
    pub fn abandon(&self) {
        self.close();
        self.lock().waiting.clear();
    }

    fn lock(&self) -> MutexGuard<'_, Jobs> {
        self.jobs.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn move_on(&self, from: u8, to: u8) -> bool {
        self.0.compare_exchange(from, to, Ordering::AcqRel, Ordering::Acquire).is_ok()
    }
}

impl Ticket {
    /// How the request ends.
    pub fn end(mut self, outcome: Outcome) {
        self.outcome = Some(outcome);
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        let was_running = !self.state.move_on(WAITING, OVER);
        self.telemetry.left(was_running);
        self.telemetry.ended(self.outcome.unwrap_or(Outcome::Cancelled));
    }
}

const IDLE: Duration = Duration::from_millis(500);
