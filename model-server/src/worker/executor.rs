//! Computes batches, and contains what goes wrong in a model.

use std::borrow::Cow;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::panic_text;
use crate::model::{InferError, Loader, Model, ModelError};
use crate::queue::{Failure, Job};
use crate::telemetry::Telemetry;

pub(super) struct Executor {
    worker: usize,
    model: Box<dyn Model>,
    loader: Arc<dyn Loader>,
    telemetry: Arc<Telemetry>,
    /// How long an execution takes, by the latest ones; unknown before the first.
    typical: Option<Duration>,
    lost: bool,
}

/// The model panicked and cannot be loaded anew.
pub(super) struct Lost;

enum Trouble {
    Refused(ModelError),
    OutOfMemory,
    Lost,
}

impl Executor {
    pub(super) fn new(
        worker: usize,
        model: Box<dyn Model>,
        loader: Arc<dyn Loader>,
        telemetry: Arc<Telemetry>,
    ) -> Executor {
        Executor { worker, model, loader, telemetry, typical: None, lost: false }
    }

    /// Whether executions take less than this, as far as is known.
    pub(super) fn is_quicker_than(&self, limit: Duration) -> bool {
        !self.lost && self.typical.is_some_and(|typical| typical < limit)
    }

    /// Computes a batch and answers all of it. When the model fails on several requests together each is tried alone, once:
    /// one that the model cannot bear does not take others with it. When there is no memory for it, each half is tried, once.
    ///
    /// # Errors
    /// The model is lost; whatever is not answered then never will be by this worker.
    pub(super) fn execute(&mut self, batch: &[Arc<Job>], beat: &dyn Fn()) -> Result<(), Lost> {
        if self.lost {
            return Err(Lost);
        }
        match self.infer(batch) {
            Ok(output) => self.answer(batch, &output),
            Err(Trouble::Lost) => return Err(Lost),
            Err(Trouble::OutOfMemory) => batch.iter().for_each(|job| job.answer(Err(Failure::OutOfMemory))),
            Err(Trouble::Refused(error)) if batch.len() == 1 => refuse(&batch[0], &error),
            Err(Trouble::Refused(error)) => {
                tracing::warn!(%error, requests = batch.len(), "the model failed on a batch; each of it is tried alone");
                for job in batch.iter().filter(|job| !job.is_over()) {
                    beat();
                    match self.infer(std::slice::from_ref(job)) {
                        Ok(output) => self.answer(std::slice::from_ref(job), &output),
                        Err(Trouble::Refused(error)) => refuse(job, &error),
                        Err(Trouble::OutOfMemory) => job.answer(Err(Failure::OutOfMemory)),
                        Err(Trouble::Lost) => return Err(Lost),
                    }
                }
            }
        }
        Ok(())
    }

    fn infer(&mut self, batch: &[Arc<Job>]) -> Result<Vec<f32>, Trouble> {
        let rows = batch.iter().map(|job| job.row_count()).sum();
        let input = match batch {
            [only] => Cow::Borrowed(only.input()),
            _ => Cow::Owned(batch.iter().map(|job| job.input()).collect::<Vec<_>>().concat()),
        };
        match self.run(batch.len(), &input, rows) {
            Err(Trouble::OutOfMemory) if rows > 1 => {
                let half = rows / 2;
                let (first, second) = input.split_at(half * (input.len() / rows));
                let mut output = self.run(batch.len(), first, half)?;
                output.extend(self.run(batch.len(), second, rows - half)?);
                Ok(output)
            }
            result => result,
        }
    }

    fn run(&mut self, requests: usize, input: &[f32], rows: usize) -> Result<Vec<f32>, Trouble> {
        let began = Instant::now();
        self.telemetry.execution_begins(self.worker, began);
        let result = catch_unwind(AssertUnwindSafe(|| self.model.infer(input, rows)));
        let ended = Instant::now();
        self.telemetry.executed(self.worker, (began, ended), requests, rows);
        let took = ended - began;
        self.typical = Some(self.typical.map_or(took, |typical| expected(typical, took)));
        match result {
            Ok(Ok(output)) => Ok(output),
            Ok(Err(InferError::Refused(error))) => Err(Trouble::Refused(error)),
            Ok(Err(InferError::OutOfMemory(text))) => {
                tracing::error!(error = text, rows, "there is no memory for an execution");
                self.telemetry.out_of_memory();
                Err(Trouble::OutOfMemory)
            }
            Err(panic) => {
                let text = panic_text(&*panic);
                // It may be in any state.
                self.model = self.loader.load().map_err(|error| {
                    tracing::error!(%error, panic = text, "the model panicked and cannot be loaded anew");
                    self.lost = true;
                    Trouble::Lost
                })?;
                Err(Trouble::Refused(ModelError(format!("it panicked: {text}"))))
            }
        }
    }

    fn answer(&self, batch: &[Arc<Job>], output: &[f32]) {
        let width = self.model.shape().output.width;
        let mut rest = output;
        for job in batch {
            let (rows, others) = rest.split_at((job.row_count() * width).min(rest.len()));
            rest = others;
            if rows.len() != job.row_count() * width {
                refuse(job, &ModelError(format!("expected {width} outputs for each row, found fewer")));
            } else if rows.iter().all(|number| number.is_finite()) {
                job.answer(Ok(rows.to_vec()));
            } else {
                refuse(job, &ModelError("it computed something that is no finite number".to_owned()));
            }
        }
    }
}

/// How long an execution takes typically, after one more took so long. One that was interrupted, however long, says little of
/// the next ones.
fn expected(typical: Duration, took: Duration) -> Duration {
    (typical * (OF_LATEST - 1) + took.min(typical * 2)) / OF_LATEST
}

/// The share of the latest execution in what is typical.
const OF_LATEST: u32 = 8;

fn refuse(job: &Job, error: &ModelError) {
    tracing::error!(%error, rows = job.row_count(), "the model failed on a request");
    job.answer(Err(Failure::Model));
}

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
