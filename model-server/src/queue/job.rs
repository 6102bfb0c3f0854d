//! One request on its way through the queue, seen from the worker ([`Job`]) and from its client ([`Ticket`]).

use std::ops::Deref;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use futures_util::future::poll_immediate;
use tokio::sync::oneshot;

use super::batching;
use crate::bodies::InputShare;
use crate::telemetry::Telemetry;
use crate::tensor::Tensor;

/// The inputs of a request, and how long it may wait.
pub struct Ask {
    /// One for each input of the model, in its order, each as the model declares it.
    pub inputs: Vec<Option<Tensor>>,
    /// How many rows they are.
    pub rows: usize,
    /// It is computed by itself: the model joins no rows, or others must not meet what is in these.
    pub alone: bool,
    /// What its client calls it, for the log.
    pub label: Option<Box<str>>,
    /// Until when it may wait for its execution; without a limit when `None`.
    pub deadline: Option<Instant>,
    /// The memory of the inputs, if they are so large that it is counted.
    pub memory: Option<InputShare>,
}

/// What a request gets: a tensor for each output of the model, in its order.
pub type Reply = Result<Vec<Tensor>, Failure>;

/// Why a request that was admitted, or would have been, gets no outputs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Failure {
    /// The model computes nothing from these inputs, for a reason that lies in them.
    Invalid(Arc<str>),
    /// The model refused these inputs, or panicked; the log says which.
    Model,
    /// There was no memory to compute it, not even for half of its batch.
    OutOfMemory,
    /// It waited longer than it may.
    Expired,
    /// The worker that executed it does not come back.
    Stalled,
    /// No worker is left.
    NoWorker,
    /// The device that the model computes on does not work any more.
    DeviceLost,
    /// The server ends.
    Draining,
}

/// A request to compute.
pub struct Job {
    ask: Ask,
    admitted: Instant,
    stage: AtomicU8,
    reply: Mutex<Option<oneshot::Sender<Reply>>>,
}

const WAITING: u8 = 0;
const RUNNING: u8 = 1;
const OVER: u8 = 2;

impl Job {
    pub(super) fn new(ask: Ask, now: Instant) -> (Job, oneshot::Receiver<Reply>) {
        let (reply, answer) = oneshot::channel();
        let job = Job { ask, admitted: now, stage: AtomicU8::new(WAITING), reply: Mutex::new(Some(reply)) };
        (job, answer)
    }

    /// One for each input of the model, in its order.
    pub fn inputs(&self) -> &[Option<Tensor>] {
        &self.ask.inputs
    }

    /// What its client calls it, for the log.
    pub fn label(&self) -> Option<&str> {
        self.ask.label.as_deref()
    }

    /// How many rows it has.
    pub fn row_count(&self) -> usize {
        self.ask.rows
    }

    /// Whether its client has gone.
    pub fn is_over(&self) -> bool {
        self.stage.load(Ordering::Acquire) == OVER
    }

    /// Answers the client; only the first answer counts.
    pub fn answer(&self, reply: Reply) {
        let sender = self.reply.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(sender) = sender {
            // A client that left waits for no answer.
            let _ = sender.send(reply);
        }
    }

    pub(super) fn expire(&self) {
        self.answer(Err(Failure::Expired));
    }

    /// From waiting to executing, unless the client left meanwhile.
    pub(super) fn start(&self, now: Instant, telemetry: &Telemetry) -> bool {
        let starts = self.move_on(WAITING, RUNNING);
        if starts {
            telemetry.started(now.saturating_duration_since(self.admitted), self.ask.rows);
        }
        starts
    }

    fn move_on(&self, from: u8, to: u8) -> bool {
        self.stage.compare_exchange(from, to, Ordering::AcqRel, Ordering::Acquire).is_ok()
    }
}

impl batching::Entry for Job {
    fn rows(&self) -> usize {
        self.ask.rows
    }

    fn is_alone(&self) -> bool {
        self.ask.alone
    }

    /// With the same inputs left out, and the same dimensions but for the rows. Types are the model's.
    fn joins(&self, other: &Job) -> bool {
        let alike = |pair: (&Option<Tensor>, &Option<Tensor>)| match pair {
            (Some(ours), Some(theirs)) => {
                let (ours, theirs) = (ours.shape().get(1..), theirs.shape().get(1..));
                ours.is_some() && ours == theirs
            }
            (None, None) => true,
            _ => false,
        };
        self.ask.inputs.iter().zip(&other.ask.inputs).all(alike)
    }

    fn admitted(&self) -> Instant {
        self.admitted
    }

    fn deadline(&self) -> Option<Instant> {
        self.ask.deadline
    }

    fn is_abandoned(&self) -> bool {
        self.is_over()
    }
}

/// An admitted request, held by the task that waits for it: while it lives the request counts.
pub struct Ticket {
    job: Counts,
    answer: oneshot::Receiver<Reply>,
}

/// Keeps the gauges true: dropped, the request is over.
struct Counts {
    job: Arc<Job>,
    telemetry: Arc<Telemetry>,
}

impl Ticket {
    pub(super) fn new(job: Arc<Job>, answer: oneshot::Receiver<Reply>, telemetry: Arc<Telemetry>) -> Ticket {
        Ticket { job: Counts { job, telemetry }, answer }
    }

    /// Whether its execution has not begun.
    pub fn waits(&self) -> bool {
        self.job.stage.load(Ordering::Acquire) == WAITING
    }

    /// Waits for the answer. A request that still waits for its execution at its deadline expires; one that executes is
    /// waited for, as long as its worker lives.
    pub async fn wait(self) -> Reply {
        let Ticket { job, mut answer } = self;
        // A sender that is dropped without an answer was lost with its worker.
        let or_lost = |reply: Result<Reply, _>| reply.unwrap_or(Err(Failure::Stalled));
        // A result that the same thread computed is there already.
        if let Some(reply) = poll_immediate(&mut answer).await {
            return or_lost(reply);
        }
        let Some(deadline) = job.ask.deadline else { return or_lost(answer.await) };
        match tokio::time::timeout_at(deadline.into(), &mut answer).await {
            Ok(reply) => or_lost(reply),
            Err(_) if job.ends_waiting() => Err(Failure::Expired),
            Err(_) => or_lost(answer.await),
        }
    }
}

impl Counts {
    /// Ends the request if it waits, and tells whether it did.
    fn ends_waiting(&self) -> bool {
        let waited = self.job.move_on(WAITING, OVER);
        if waited {
            self.telemetry.left(Instant::now(), false, self.job.ask.rows);
        }
        waited
    }
}

impl Deref for Counts {
    type Target = Job;

    fn deref(&self) -> &Job {
        &self.job
    }
}

impl Drop for Counts {
    fn drop(&mut self) {
        if !self.ends_waiting() && self.job.move_on(RUNNING, OVER) {
            self.telemetry.left(Instant::now(), true, self.job.ask.rows);
        }
    }
}
