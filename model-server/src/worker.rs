//! The threads that own the models, one copy each: nothing else waits for a computation, unless it takes less time than
//! to wait for somebody else.

mod error;
mod executor;
mod health;
mod vitals;
mod warmup;

use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError};
use std::thread;
use std::time::{Duration, Instant};

pub use self::error::{PoolError, WarmupError, WarmupFault, WarmupInputError};
use self::executor::{Executor, Shared};
pub use self::health::Health;
pub use self::vitals::Vitals;
pub use self::warmup::{Warm, WarmSize, WarmupInput, WarmupSettings, warm};
use crate::memory::{self, Size};
use crate::model::Loader;
use crate::queue::{Failure, Queue, Work};
use crate::telemetry::{ModelTrouble, Telemetry};
use crate::tensor::{BatchAxis, Signature};

/// How workers work.
#[derive(Debug, Clone)]
pub struct WorkerSettings {
    /// How models are warmed, and how many there are: one for each thread.
    pub warmup: WarmupSettings,
    /// Failed requests in a row after which the warm-up input decides about the model; never when `None`.
    pub unhealthy_after: Option<u32>,
    /// Time without a sign of life after which a worker is stuck.
    pub stall_timeout: Duration,
    /// Each thread executes the warm-up input once before it serves: libraries for GPUs keep state for each of them.
    pub threads_prepare: bool,
    /// Executions that take less than this run on the thread that brings a request, if a model is free. Zero: none.
    pub inline_below: Duration,
}

/// The running workers. Dropped, the watch over them ends; the workers end with the queue.
pub struct Pool {
    signature: Signature,
    max_batch_size: usize,
    vitals: Arc<Vitals>,
    health: Arc<Health>,
    executors: Vec<Arc<Mutex<Executor>>>,
    inline_below: Duration,
    /// Closed when the last worker ended.
    working: Mutex<Receiver<()>>,
    _watching: Sender<()>,
}

/// Places in the queue for a number of workers: each worker's own, and one for the thread that helps out with its
/// model.
pub fn places(workers: usize) -> usize {
    2 * workers
}

impl Pool {
    /// Loads and warms a model for each worker, then starts them. Blocks until all of it is done.
    ///
    /// # Errors
    /// A model that cannot be loaded or does not compute.
    pub fn start(
        loader: &Arc<dyn Loader>,
        settings: WorkerSettings,
        queue: &Arc<Queue>,
        telemetry: &Arc<Telemetry>,
    ) -> Result<Pool, PoolError> {
        let WorkerSettings { warmup, unhealthy_after, stall_timeout, threads_prepare, inline_below } =
            settings;
        let workers = warmup.workers;
        let began = Instant::now();
        let mut models = Vec::with_capacity(workers);
        for _ in 0..workers {
            models.push(loader.load()?);
        }
        let loaded = Instant::now();
        let resident = memory::resident().map(|bytes| Size(bytes).to_string());
        tracing::info!(seconds = (loaded - began).as_secs_f64(), resident, "model loaded, warming up");
        let mut settings = warmup;
        let warmed = settings.iterations > 0;
        let mut warmed_finite = warmed;
        let (mut joins, mut probe, mut peak) = (true, None, None);
        for model in &mut models {
            // What was found by one holds for the others.
            let found = warm(model, loader, &settings)?;
            settings.max_batch_size = found.rows;
            warmed_finite &= found.odd_output.is_none();
            joins &= found.joins;
            probe = found.probe;
            peak = peak.max(found.peak_bytes);
        }
        let max_batch_size = settings.max_batch_size;
        let Some(mut signature) = models.first().map(|model| model.signature().clone()) else {
            return Err(PoolError::NoWorkers);
        };
        signature.join_only_if(joins);
        tracing::info!(
            seconds = loaded.elapsed().as_secs_f64(),
            max_batch_size,
            peak_memory = peak.map(|bytes| Size(bytes).to_string()),
            "model warm"
        );
        queue.limit_batches(max_batch_size);
        telemetry.model_is_ready(loaded - began, loaded.elapsed());
        let vitals = Arc::new(Vitals::new(workers, stall_timeout));
        let health = Arc::new(Health::new(workers, Arc::clone(telemetry)));
        let shared = Shared {
            loader: Arc::clone(loader),
            queue: Arc::clone(queue),
            telemetry: Arc::clone(telemetry),
            health: Arc::clone(&health),
            unhealthy_after,
            joins: signature.batch == BatchAxis::Dynamic,
            warmed: warmed && probe.is_some(),
            probe,
            warmed_finite,
        };
        let (at_work, working) = channel();
        let (preparing, prepared) = channel();
        let mut executors = Vec::with_capacity(workers);
        for (number, model) in models.into_iter().enumerate() {
            let executor = Arc::new(Mutex::new(Executor::new(number, model, shared.clone())));
            executors.push(Arc::clone(&executor));
            let worker = Worker {
                number,
                queue: Arc::clone(queue),
                vitals: Arc::clone(&vitals),
                telemetry: Arc::clone(telemetry),
                executor,
                preparing: threads_prepare.then(|| preparing.clone()),
                _at_work: at_work.clone(),
            };
            spawn(format!("inference-{number}"), move || worker.run())?;
        }
        let (watching, watched) = channel::<()>();
        let watch = Watch { queue: Arc::clone(queue), vitals: Arc::clone(&vitals) };
        let period = stall_timeout / 8;
        spawn("watch".to_owned(), move || {
            while watched.recv_timeout(period) == Err(RecvTimeoutError::Timeout) {
                watch.look();
            }
        })?;
        drop((at_work, preparing));
        // Nothing is sent: it ends when every worker let go of its end.
        let _ = prepared.recv();
        let working = Mutex::new(working);
        Ok(Pool {
            signature,
            max_batch_size,
            vitals,
            health,
            executors,
            inline_below,
            working,
            _watching: watching,
        })
    }

    /// Has what was just admitted computed: here and now, if the model is quick and free, else by a worker. To call a
    /// worker takes longer than a small model does, and so does to be called back.
    pub fn serve(&self, queue: &Queue) {
        if self.inline_below.is_zero() || !self.help(queue) {
            queue.wake();
        }
    }

    /// Whether no worker has to be called: this took what was due, or somebody is at work who looks for more at the
    /// end.
    fn help(&self, queue: &Queue) -> bool {
        for _ in 0..MOST_HELP {
            let (worker, mut executor) = match self.quick_model() {
                Found::Quick(worker, executor) => (worker, executor),
                Found::NoneFree => return true,
                Found::NoneQuick => return false,
            };
            let place = self.executors.len() + worker;
            let now = Instant::now();
            self.vitals.beat(place, now);
            let beat = || self.vitals.beat(place, Instant::now());
            let batch = queue.take(place, now);
            if !batch.is_empty() && executor.execute(&batch, &beat).is_err() {
                // The worker finds out by the next request.
                queue.give_up_on(place, &Failure::NoWorker);
            }
            self.vitals.rest(place);
            // A request that came meanwhile found no free worker and relies on a look at the queue after this.
            drop(executor);
            if queue.is_empty() {
                return true;
            }
            if batch.is_empty() {
                // Not due yet: a worker waits until it is.
                return false;
            }
        }
        false
    }

    fn quick_model(&self) -> Found<'_> {
        let mut found = Found::NoneFree;
        for (worker, executor) in self.executors.iter().enumerate() {
            let executor = match executor.try_lock() {
                Ok(executor) => executor,
                Err(TryLockError::Poisoned(executor)) => executor.into_inner(),
                Err(TryLockError::WouldBlock) => continue,
            };
            if executor.is_quicker_than(self.inline_below) {
                return Found::Quick(worker, executor);
            }
            found = Found::NoneQuick;
        }
        found
    }

    /// What the model takes and gives.
    pub fn signature(&self) -> &Signature {
        &self.signature
    }

    /// Rows of one execution, and so of one request, at most: what is configured, or what there is memory for.
    pub fn max_batch_size(&self) -> usize {
        self.max_batch_size
    }

    /// What is wrong with the model, if anything is.
    pub fn trouble(&self) -> Option<ModelTrouble> {
        self.health.trouble()
    }

    /// Waits until every worker ended, which they do when the queue is closed and empty; whether they did in this time.
    pub fn ends_within(&self, time: Duration) -> bool {
        let working = self.working.lock().unwrap_or_else(PoisonError::into_inner);
        working.recv_timeout(time) == Err(RecvTimeoutError::Disconnected)
    }

    /// Whether every worker shows signs of life.
    pub fn is_alive(&self) -> bool {
        self.vitals.all_alive(Instant::now())
    }
}

/// The models that are idle at the moment.
enum Found<'a> {
    /// One that is quick, and whose it is.
    Quick(usize, MutexGuard<'a, Executor>),
    NoneQuick,
    NoneFree,
}

/// Executions that one request does for others at most: its client waits meanwhile.
const MOST_HELP: usize = 8;

fn spawn(name: String, run: impl FnOnce() + Send + 'static) -> Result<(), PoolError> {
    let spawned = thread::Builder::new().name(name).spawn(run);
    spawned.map(drop).map_err(PoolError::Thread)
}

struct Worker {
    number: usize,
    queue: Arc<Queue>,
    vitals: Arc<Vitals>,
    telemetry: Arc<Telemetry>,
    executor: Arc<Mutex<Executor>>,
    /// Let go of when the thread has executed once.
    preparing: Option<Sender<()>>,
    /// Let go of when the worker ends.
    _at_work: Sender<()>,
}

impl Worker {
    fn run(mut self) {
        let patience = self.vitals.beat_period();
        if let Some(preparing) = self.preparing.take() {
            let beat = || self.vitals.beat(self.number, Instant::now());
            let mut executor = self.executor.lock().unwrap_or_else(PoisonError::into_inner);
            if executor.prepare(&beat).is_err() {
                return;
            }
            drop((executor, preparing));
        }
        loop {
            self.vitals.beat(self.number, Instant::now());
            match self.queue.work(self.number, patience) {
                Work::Batch(batch) => {
                    let beat = || self.vitals.beat(self.number, Instant::now());
                    let mut executor = self.executor.lock().unwrap_or_else(PoisonError::into_inner);
                    if executor.execute(&batch, &beat).is_err() {
                        break;
                    }
                }
                // With nothing to do, there is time to see whether a model in trouble is well again.
                Work::None => {
                    let beat = || self.vitals.beat(self.number, Instant::now());
                    let mut executor = self.executor.lock().unwrap_or_else(PoisonError::into_inner);
                    if executor.recheck(&beat).is_err() {
                        break;
                    }
                }
                Work::Over => return,
            }
        }
    }
}

/// When the last worker is gone nothing is admitted any more, and what waits is let go.
impl Drop for Worker {
    fn drop(&mut self) {
        self.queue.give_up_on(self.number, &Failure::NoWorker);
        if self.vitals.gone(self.number) {
            self.telemetry.model_is_gone();
            self.queue.abandon(&Failure::NoWorker);
        }
    }
}

/// Lets go of what a stuck worker holds: its clients are told, and the gauges say what is true.
struct Watch {
    queue: Arc<Queue>,
    vitals: Arc<Vitals>,
}

impl Watch {
    fn look(&self) {
        let now = Instant::now();
        let stuck = self.vitals.newly_stuck(now);
        for worker in &stuck {
            tracing::error!(worker, "worker stuck in the model; refusing its requests");
            self.queue.give_up_on(*worker, &Failure::Stalled);
        }
        if self.vitals.none_alive(now) {
            self.queue.turn_away(&Failure::Stalled);
        }
    }
}
