//! Computes batches, and contains what goes wrong in a model.

use std::sync::Arc;
use std::time::{Duration, Instant};

use serve::error_chain;

use super::error::RequestError;
use super::health::Health;
use crate::contain::contained;
use crate::model::cause::{Cause, cause_of};
use crate::model::{InferError, Loader, Model};
use crate::queue::{Failure, Job, Queue};
use crate::telemetry::{ModelTrouble, Telemetry};
use crate::tensor::{Tensor, TensorError};
use crate::throttle::LogThrottle;

/// What every executor works with.
#[derive(Clone)]
pub(super) struct Shared {
    pub(super) loader: Arc<dyn Loader>,
    pub(super) queue: Arc<Queue>,
    pub(super) telemetry: Arc<Telemetry>,
    pub(super) health: Arc<Health>,
    /// Failed requests in a row after which the warm-up input decides about the model; never when `None`.
    pub(super) unhealthy_after: Option<u32>,
    /// Requests may be computed together, and one by halves.
    pub(super) joins: bool,
    /// What the model was warmed with, one row; `None` if it was not, so that nothing is known to work.
    pub(super) probe: Option<Arc<[Option<Tensor>]>>,
    /// The model computed something from that.
    pub(super) warmed: bool,
    /// What it computed was finite numbers.
    pub(super) warmed_finite: bool,
}

pub(super) struct Executor {
    worker: usize,
    model: Box<dyn Model>,
    shared: Shared,
    /// How long an execution takes, by the latest ones; unknown before the first.
    typical: Option<Duration>,
    /// It panicked and cannot be reloaded.
    lost: bool,
    /// It computed something, so that what it refuses lies in the inputs.
    works: bool,
    trouble: Option<ModelTrouble>,
    /// Requests that failed since the last one that succeeded, or since the warm-up input did.
    failures: u32,
    probed: Option<Instant>,
    failures_log: LogThrottle,
    memory_log: LogThrottle,
}

/// The model panicked and cannot be reloaded.
pub(super) struct Lost;

enum Trouble {
    Refused(RequestError),
    Invalid(RequestError),
    OutOfMemory(String),
    Device(String),
    Lost,
}

impl Executor {
    pub(super) fn new(worker: usize, model: Box<dyn Model>, shared: Shared) -> Executor {
        Executor {
            worker,
            model,
            works: shared.warmed,
            shared,
            typical: None,
            lost: false,
            trouble: None,
            failures: 0,
            probed: None,
            failures_log: LogThrottle::new(LOG_INTERVAL),
            memory_log: LogThrottle::new(LOG_INTERVAL),
        }
    }

    /// Whether executions take less than this, as far as is known.
    pub(super) fn is_quicker_than(&self, limit: Duration) -> bool {
        !self.lost && self.typical.is_some_and(|typical| typical < limit)
    }

    /// Computes a batch and answers all of it. When the model fails on several requests together each is tried alone,
    /// once: one that the model cannot bear does not take others with it. When there is no memory for it, each half is
    /// tried, once.
    ///
    /// # Errors
    /// The model is lost; whatever is not answered then never will be by this worker.
    pub(super) fn execute(&mut self, batch: &[Arc<Job>], beat: &dyn Fn()) -> Result<(), Lost> {
        if self.lost {
            return Err(Lost);
        }
        if self.trouble == Some(ModelTrouble::DeviceLost) {
            self.recheck(beat)?;
            if self.trouble == Some(ModelTrouble::DeviceLost) && self.shared.probe.is_some() {
                for job in batch {
                    job.answer(Err(Failure::DeviceLost));
                }
                return Ok(());
            }
        }
        match self.attempt(batch, beat)? {
            Ok(replies) => self.answer(batch, replies),
            Err(Trouble::Refused(_) | Trouble::Invalid(_)) if batch.len() > 1 => {
                for job in batch.iter().filter(|job| !job.is_over()) {
                    beat();
                    let alone = std::slice::from_ref(job);
                    match self.attempt(alone, beat)? {
                        Ok(replies) => self.answer(alone, replies),
                        Err(trouble) => self.fail(alone, &trouble),
                    }
                }
            }
            Err(trouble) => self.fail(batch, &trouble),
        }
        self.judge(beat)
    }

    /// Executes the warm-up input for the first time on this thread.
    ///
    /// # Errors
    /// The model is lost.
    pub(super) fn prepare(&mut self, beat: &dyn Fn()) -> Result<(), Lost> {
        if let Err(error) = self.probe(beat)? {
            let error = error_chain(&error);
            tracing::warn!(error, worker = self.worker, "the model fails on what it was warmed with");
        }
        self.probed = None;
        Ok(())
    }

    /// Sees whether a model that was in trouble is well again; not more often than [`PROBE_INTERVAL`].
    ///
    /// # Errors
    /// The model is lost.
    pub(super) fn recheck(&mut self, beat: &dyn Fn()) -> Result<(), Lost> {
        if self.trouble.is_some() && self.probe_is_due() && self.probe(beat)?.is_ok() {
            self.recovered();
        }
        Ok(())
    }

    /// Computes a batch, all together. Where the device seems to be broken the warm-up input decides, if there is one:
    /// a broken device fails on anything, and else it is the batch that is refused.
    fn attempt(
        &mut self,
        batch: &[Arc<Job>],
        beat: &dyn Fn(),
    ) -> Result<Result<Vec<Vec<Tensor>>, Trouble>, Lost> {
        match self.infer(batch) {
            Err(Trouble::Lost) => Err(Lost),
            Err(Trouble::Device(error)) => {
                let lost = self.shared.probe.is_none() || (self.probe_is_due() && self.probe(beat)?.is_err());
                if lost {
                    self.trouble_found(ModelTrouble::DeviceLost, &error);
                    return Ok(Err(Trouble::Device(error)));
                }
                Ok(Err(Trouble::Refused(RequestError::Device(error))))
            }
            result => Ok(result),
        }
    }

    /// The outputs of each request of a batch.
    fn infer(&mut self, batch: &[Arc<Job>]) -> Result<Vec<Vec<Tensor>>, Trouble> {
        let rows: Vec<usize> = batch.iter().map(|job| job.row_count()).collect();
        if let [only] = batch {
            return Ok(vec![self.compute(1, only.inputs(), rows[0])?]);
        }
        let inputs = joined(batch)?;
        let outputs = self.compute(batch.len(), &inputs, rows.iter().sum())?;
        self.parts(&outputs, &rows)
    }

    /// The outputs for inputs of `rows` rows; by halves if there is no memory for all of them.
    fn compute(
        &mut self,
        requests: usize,
        inputs: &[Option<Tensor>],
        rows: usize,
    ) -> Result<Vec<Tensor>, Trouble> {
        let divides = rows > 1 && self.shared.joins;
        match self.run(requests, inputs, rows) {
            Err(Trouble::OutOfMemory(_)) if divides => {
                let half = rows / 2;
                let (mut first, mut second) = (Vec::new(), Vec::new());
                for input in inputs {
                    let mut parts = match input {
                        Some(input) => input.split(&[half, rows - half])?.into_iter(),
                        None => Vec::new().into_iter(),
                    };
                    first.push(parts.next());
                    second.push(parts.next());
                }
                let first = self.run(requests, &first, half)?;
                let second = self.run(requests, &second, rows - half)?;
                let pairs = first.iter().zip(&second);
                Ok(pairs.map(|(first, second)| Tensor::join(&[first, second])).collect::<Result<_, _>>()?)
            }
            result => result,
        }
    }

    /// The part of each of several requests, of these rows, in the outputs of all.
    fn parts(&self, outputs: &[Tensor], rows: &[usize]) -> Result<Vec<Vec<Tensor>>, Trouble> {
        let mut replies: Vec<Vec<Tensor>> = rows.iter().map(|_| Vec::with_capacity(outputs.len())).collect();
        for (output, spec) in outputs.iter().zip(&self.model.signature().outputs) {
            let parts = output
                .split(rows)
                .map_err(|cause| Trouble::Refused(RequestError::Output { name: spec.name.clone(), cause }))?;
            for (reply, part) in replies.iter_mut().zip(parts) {
                reply.push(part);
            }
        }
        Ok(replies)
    }

    fn run(
        &mut self,
        requests: usize,
        inputs: &[Option<Tensor>],
        rows: usize,
    ) -> Result<Vec<Tensor>, Trouble> {
        let began = Instant::now();
        self.shared.telemetry.execution_begins(self.worker, began);
        let result = contained(|| self.model.infer(inputs));
        let ended = Instant::now();
        self.shared.telemetry.executed(self.worker, (began, ended), requests, rows);
        let took = ended - began;
        self.typical = Some(self.typical.map_or(took, |typical| expected(typical, took)));
        let result = self.settle(result);
        if let Err(Trouble::OutOfMemory(error)) = &result {
            self.shared.telemetry.out_of_memory();
            self.shared.queue.ran_out_of_memory(rows, ended);
            if let Some(suppressed) = self.memory_log.admits(ended) {
                tracing::error!(error, rows, suppressed, "out of memory during inference");
            }
        }
        result
    }

    /// What came of an execution. After a panic the model may be in any state, so that another one is loaded.
    fn settle(
        &mut self,
        result: Result<Result<Vec<Tensor>, InferError>, String>,
    ) -> Result<Vec<Tensor>, Trouble> {
        let panic = match result {
            Ok(Ok(outputs)) => {
                let (expected, found) = (self.model.signature().outputs.len(), outputs.len());
                if expected == found {
                    return Ok(outputs);
                }
                return Err(Trouble::Refused(RequestError::OutputCount { expected, found }));
            }
            Ok(Err(InferError::Refused(error))) => return Err(Trouble::Refused(RequestError::Model(error))),
            Ok(Err(InferError::Invalid(error))) => return Err(Trouble::Invalid(RequestError::Model(error))),
            Ok(Err(InferError::OutOfMemory(text))) => return Err(Trouble::OutOfMemory(text)),
            Ok(Err(InferError::Device(text))) => return Err(Trouble::Device(text)),
            Err(panic) => panic,
        };
        match self.shared.loader.load() {
            Ok(model) => self.model = model,
            Err(error) => {
                tracing::error!(error = %error_chain(&error), panic, "model panicked and cannot be reloaded");
                self.lost = true;
                return Err(Trouble::Lost);
            }
        }
        Err(match cause_of(&panic) {
            Cause::OutOfMemory => Trouble::OutOfMemory(panic),
            Cause::Device => Trouble::Device(panic),
            Cause::Inputs => Trouble::Invalid(RequestError::DivisionByZero),
            Cause::Other => Trouble::Refused(RequestError::Panicked(panic)),
        })
    }

    fn answer(&mut self, batch: &[Arc<Job>], replies: Vec<Vec<Tensor>>) {
        for (job, reply) in batch.iter().zip(replies) {
            job.answer(Ok(reply));
        }
        self.works = true;
        self.failures = 0;
        if self.trouble.is_some() {
            self.recovered();
        }
    }

    fn fail(&mut self, batch: &[Arc<Job>], trouble: &Trouble) {
        for job in batch {
            match trouble {
                // For the client to know: nothing of it would help in the log.
                Trouble::Invalid(error) if self.works => {
                    self.failures = self.failures.saturating_add(1);
                    job.answer(Err(Failure::Invalid(error_chain(error).into())));
                }
                Trouble::Refused(error) | Trouble::Invalid(error) => self.refuse(job, error),
                Trouble::OutOfMemory(_) => job.answer(Err(Failure::OutOfMemory)),
                Trouble::Device(_) | Trouble::Lost => job.answer(Err(Failure::DeviceLost)),
            }
        }
    }

    fn refuse(&mut self, job: &Job, error: &RequestError) {
        self.failures = self.failures.saturating_add(1);
        if let Some(suppressed) = self.failures_log.admits(Instant::now()) {
            tracing::error!(
                error = error_chain(error),
                request = job.label(),
                rows = job.row_count(),
                suppressed,
                "the model failed on a request"
            );
        }
        job.answer(Err(Failure::Model));
    }

    /// After many failures in a row, asks the model for what it could do when it was warmed: clients may send what it
    /// does not bear, so their requests decide nothing.
    fn judge(&mut self, beat: &dyn Fn()) -> Result<(), Lost> {
        let many = self.shared.unhealthy_after.is_some_and(|many| self.failures >= many);
        if !many || self.trouble.is_some() || !self.probe_is_due() {
            return Ok(());
        }
        match self.probe(beat)? {
            Ok(()) => self.failures = 0,
            Err(error) => self.trouble_found(ModelTrouble::Failing, &error_chain(&error)),
        }
        Ok(())
    }

    /// Whether the warm-up input can decide, and did not just do so.
    fn probe_is_due(&self) -> bool {
        self.shared.probe.is_some() && self.probed.is_none_or(|probed| probed.elapsed() >= PROBE_INTERVAL)
    }

    /// Executes the warm-up input. It is none of the requests that metrics count.
    fn probe(&mut self, beat: &dyn Fn()) -> Result<Result<(), RequestError>, Lost> {
        let Some(inputs) = self.shared.probe.clone() else { return Ok(Ok(())) };
        beat();
        let result = contained(|| self.model.infer(&inputs));
        let result = self.settle(result);
        self.probed = Some(Instant::now());
        beat();
        match result {
            Err(Trouble::Lost) => Err(Lost),
            Err(Trouble::Refused(error) | Trouble::Invalid(error)) => Ok(Err(error)),
            Err(Trouble::Device(error)) => Ok(Err(RequestError::Device(error))),
            // There may be memory again; the model and its device are what they were.
            Err(Trouble::OutOfMemory(_)) => Ok(Ok(())),
            Ok(outputs) => {
                self.works = true;
                let odd = outputs.iter().any(|output| output.first_odd().is_some());
                let odd = odd && self.shared.warmed_finite;
                Ok(if odd { Err(RequestError::NotFinite) } else { Ok(()) })
            }
        }
    }

    fn trouble_found(&mut self, trouble: ModelTrouble, error: &str) {
        let text = match trouble {
            ModelTrouble::Failing => {
                "the model fails on every request and on the warm-up input; not live until it succeeds"
            }
            ModelTrouble::DeviceLost => "the device does not work any more; not live until it does",
        };
        self.trouble = Some(trouble);
        self.shared.health.set(self.worker, Some(trouble));
        tracing::error!(error, worker = self.worker, failures = self.failures, "{text}");
    }

    fn recovered(&mut self) {
        self.trouble = None;
        self.failures = 0;
        self.shared.health.set(self.worker, None);
        tracing::info!(worker = self.worker, "model works again; live");
    }
}

/// The inputs of several requests behind one another.
fn joined(batch: &[Arc<Job>]) -> Result<Vec<Option<Tensor>>, Trouble> {
    let count = batch.first().map_or(0, |job| job.inputs().len());
    let mut inputs = Vec::with_capacity(count);
    for number in 0..count {
        // Those that left it out are not computed together with those that did not.
        let parts: Vec<&Tensor> = batch.iter().filter_map(|job| job.inputs()[number].as_ref()).collect();
        inputs.push(if parts.is_empty() { None } else { Some(Tensor::join(&parts)?) });
    }
    Ok(inputs)
}

impl From<TensorError> for Trouble {
    fn from(error: TensorError) -> Trouble {
        Trouble::Refused(error.into())
    }
}

/// How long an execution takes typically, after one more took so long. One that was interrupted, however long, says
/// little of the next ones.
fn expected(typical: Duration, took: Duration) -> Duration {
    (typical * (OF_LATEST - 1) + took.min(typical * 2)) / OF_LATEST
}

/// The share of the latest execution in what is typical.
const OF_LATEST: u32 = 8;
/// How often the warm-up input is executed at most: it takes the time of other requests.
const PROBE_INTERVAL: Duration = Duration::from_secs(1);
/// How often failures are logged at most.
const LOG_INTERVAL: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_typical_follows_what_lasts_and_not_what_happens_once() {
        let (quick, slow) = (Duration::from_micros(2), Duration::from_millis(1));
        let once = expected(quick, Duration::from_secs(1));
        assert!(once < quick * 2, "{once:?}");
        let back = (0..30).fold(once, |typical, _| expected(typical, quick));
        assert!(back < quick + quick / 50, "{back:?}");
        let slower = (0..100).fold(quick, |typical, _| expected(typical, slow));
        assert!(slower > slow * 49 / 50, "{slower:?}");
    }
}
