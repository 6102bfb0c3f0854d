//! Requests that wait for a worker: a bounded queue, batches of whatever is waiting.
//!
//! What is decided here is [`batching`]'s, which knows no clock, lock or thread; this module lends it all three. A
//! request counts from admission to its end, however it ends: its [`Ticket`] keeps the gauges true when the client
//! leaves while it waits or executes.

pub mod batching;
mod job;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use self::batching::{Limits, Taken, Waiting};
pub use self::job::{Ask, Failure, Job, Reply, Ticket};
use crate::telemetry::Telemetry;

/// Requests between the web server and the workers.
pub struct Queue {
    shared: Mutex<Shared>,
    arrived: Condvar,
    /// Workers that wait for requests; changed under the lock.
    idle: AtomicUsize,
    telemetry: Arc<Telemetry>,
}

struct Shared {
    waiting: Waiting<Arc<Job>>,
    /// What was taken last at each place, so that another thread can fail it when the worker there is stuck.
    executing: Vec<Vec<Arc<Job>>>,
    closed: Option<Failure>,
}

impl Shared {
    fn take(
        &mut self,
        place: usize,
        now: Instant,
        telemetry: &Telemetry,
    ) -> (Vec<Arc<Job>>, Option<Instant>) {
        // Whatever came of the last batch, it is over.
        self.executing[place].clear();
        loop {
            let Taken { mut batch, expired, look_again } = self.waiting.take(now, self.closed.is_some());
            for job in expired {
                job.expire();
            }
            if let Some(rows) = self.waiting.changed_batch_rows() {
                telemetry.max_batch_size(rows);
            }
            let none_due = batch.is_empty();
            batch.retain(|job| job.start(now, telemetry));
            // When all of a batch left just now there may be another.
            if none_due || !batch.is_empty() {
                self.executing[place].extend(batch.iter().cloned());
                return (batch, look_again);
            }
        }
    }

    fn room(&mut self, rows: usize) -> Result<(), Refused> {
        match self.closed.clone() {
            Some(why) => Err(Refused::Closed(why)),
            None if self.waiting.has_room(rows) => Ok(()),
            None => Err(Refused::Full),
        }
    }
}

/// Why a request is not admitted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refused {
    /// As many requests or rows wait as may.
    Full,
    /// Nothing is admitted any more, for this reason.
    Closed(Failure),
}

/// What a worker gets when it asks for work.
pub enum Work {
    /// Execute these, all together.
    Batch(Vec<Arc<Job>>),
    /// Nothing yet: show that you live, and ask again.
    None,
    /// There will be no more.
    Over,
}

impl Queue {
    /// An empty queue for workers at this number of places.
    pub fn new(limits: Limits, places: usize, telemetry: Arc<Telemetry>) -> Queue {
        let executing = (0..places).map(|_| Vec::new()).collect();
        Queue {
            shared: Mutex::new(Shared { waiting: Waiting::new(limits), executing, closed: None }),
            arrived: Condvar::new(),
            idle: AtomicUsize::new(0),
            telemetry,
        }
    }

    /// Admits a request, or refuses it immediately. It wakes no worker: [`wake`](Queue::wake) does.
    ///
    /// # Errors
    /// The queue is full or closed.
    pub fn admit(&self, ask: Ask, now: Instant) -> Result<Ticket, Refused> {
        let rows = ask.rows;
        let (job, answer) = Job::new(ask, now);
        let job = Arc::new(job);
        let mut shared = self.lock();
        shared.room(rows)?;
        self.telemetry.admitted(now, rows);
        shared.waiting.push(Arc::clone(&job));
        drop(shared);
        Ok(Ticket::new(job, answer, Arc::clone(&self.telemetry)))
    }

    /// Whether a request of one row would be refused now: known before it is worth reading.
    ///
    /// # Errors
    /// The queue is full or closed.
    pub fn has_room(&self) -> Result<(), Refused> {
        self.lock().room(1)
    }

    /// Waits, but not longer than `patience`, for requests, and takes a batch of them for whom works at this place.
    pub fn work(&self, place: usize, patience: Duration) -> Work {
        let mut shared = self.lock();
        let give_up = Instant::now() + patience;
        loop {
            let now = Instant::now();
            let (batch, look_again) = shared.take(place, now, &self.telemetry);
            if !batch.is_empty() {
                return Work::Batch(batch);
            }
            if shared.waiting.is_empty() && shared.closed.is_some() {
                return Work::Over;
            }
            if now >= give_up {
                return Work::None;
            }
            let until = look_again.map_or(give_up, |again| again.min(give_up));
            let time = until.saturating_duration_since(now);
            self.idle.fetch_add(1, Ordering::Relaxed);
            shared = self.arrived.wait_timeout(shared, time).unwrap_or_else(PoisonError::into_inner).0;
            self.idle.fetch_sub(1, Ordering::Relaxed);
        }
    }

    /// Takes a batch for the worker at this place, without waiting.
    pub fn take(&self, place: usize, now: Instant) -> Vec<Arc<Job>> {
        self.lock().take(place, now, &self.telemetry).0
    }

    /// Makes batches of at most `rows` rows from now on.
    pub fn limit_batches(&self, rows: usize) {
        self.lock().waiting.limit_batches(rows);
        self.telemetry.max_batch_size(rows);
    }

    /// There was no memory for `rows` rows: makes smaller batches for a while.
    pub fn ran_out_of_memory(&self, rows: usize, now: Instant) {
        self.lock().waiting.ran_out_of_memory(rows, now);
    }

    /// Calls a worker that waits for requests. One that does not looks at the queue before it waits; to call it would
    /// be a call of the operating system for each request.
    pub fn wake(&self) {
        // Who admitted a request has had the lock since a worker that waits for it gave it back.
        if self.idle.load(Ordering::Relaxed) > 0 {
            self.arrived.notify_one();
        }
    }

    /// Admits nothing more, for this reason; what waits is still served.
    pub fn close(&self, why: Failure) {
        self.lock().closed.get_or_insert(why);
        self.arrived.notify_all();
    }

    /// Admits nothing more and fails all requests that wait or execute: their clients are told why immediately.
    pub fn abandon(&self, why: &Failure) {
        let mut shared = self.lock();
        shared.closed.get_or_insert(why.clone());
        let executing = shared.executing.iter_mut().flat_map(std::mem::take).collect::<Vec<_>>();
        for job in shared.waiting.drain().into_iter().chain(executing) {
            job.answer(Err(why.clone()));
        }
        drop(shared);
        self.arrived.notify_all();
    }

    /// Fails the requests that execute at a place: the worker there does not come back.
    pub fn give_up_on(&self, place: usize, why: &Failure) {
        let jobs = std::mem::take(&mut self.lock().executing[place]);
        for job in jobs {
            job.answer(Err(why.clone()));
        }
    }

    /// Fails the requests that wait, and goes on: no worker takes them now, but one may come back.
    pub fn turn_away(&self, why: &Failure) {
        for job in self.lock().waiting.drain() {
            job.answer(Err(why.clone()));
        }
    }

    /// How many requests wait, clients that left included.
    pub fn len(&self) -> usize {
        self.lock().waiting.len()
    }

    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn lock(&self) -> MutexGuard<'_, Shared> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
