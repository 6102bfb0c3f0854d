//! What every request counts, kept apart by threads until somebody looks: threads that write the same memory wait for
//! one another, on each of many counters.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard};
use std::thread;

use prometheus::Histogram;
use prometheus::local::LocalHistogram;

use super::lock::lock;
use super::outcome::{LocalOutcomes, Outcomes};

/// The metrics that every request changes. What is counted is in them after [`flush`](Tallies::flush).
pub(super) struct PerRequest<O = Outcomes, H = Histogram> {
    pub(super) outcomes: O,
    pub(super) latency: H,
    pub(super) queue_seconds: H,
    pub(super) compute_seconds: H,
    pub(super) batch_size: H,
}

/// What some threads counted since the last look.
pub(super) type Tally = PerRequest<LocalOutcomes, LocalHistogram>;

/// A tally for every thread that serves, as far as threads are not more than expected.
pub(super) struct Tallies {
    metrics: PerRequest,
    tallies: Box<[Apart]>,
}

/// In memory that no other processor writes to.
#[repr(align(128))]
struct Apart(Mutex<Tally>);

impl Tallies {
    pub(super) fn new(metrics: PerRequest) -> Tallies {
        // One for each thread of the web server, one for each worker.
        let threads = 2 * thread::available_parallelism().map_or(1, usize::from);
        let tally = || Tally {
            outcomes: metrics.outcomes.local(),
            latency: metrics.latency.local(),
            queue_seconds: metrics.queue_seconds.local(),
            compute_seconds: metrics.compute_seconds.local(),
            batch_size: metrics.batch_size.local(),
        };
        let tallies = (0..threads).map(|_| Apart(Mutex::new(tally()))).collect();
        Tallies { metrics, tallies }
    }

    /// The calling thread's.
    pub(super) fn mine(&self) -> MutexGuard<'_, Tally> {
        let number = NUMBER.with(|number| *number);
        lock(&self.tallies[number % self.tallies.len()].0)
    }

    /// The metrics, with all that was counted until now.
    pub(super) fn flush(&self) -> &PerRequest {
        for Apart(tally) in &self.tallies {
            let tally = lock(tally);
            tally.outcomes.flush();
            for histogram in [&tally.latency, &tally.queue_seconds, &tally.compute_seconds, &tally.batch_size]
            {
                histogram.flush();
            }
        }
        &self.metrics
    }
}

static THREADS: AtomicUsize = AtomicUsize::new(0);

thread_local! {
    /// Threads in the order in which they first counted.
    static NUMBER: usize = THREADS.fetch_add(1, Ordering::Relaxed);
}
