//! Computes batches, and contains what goes wrong in a model.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::panic_text;
use crate::model::{Loader, Model, ModelError};
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
    /// one that the model cannot bear does not take others with it.
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
            Err(Trouble::Refused(error)) if batch.len() == 1 => refuse(&batch[0], &error),
            Err(Trouble::Refused(error)) => {
                tracing::warn!(%error, requests = batch.len(), "the model failed on a batch; each of it is tried alone");
                for job in batch.iter().filter(|job| !job.is_over()) {
                    beat();
                    match self.infer(std::slice::from_ref(job)) {
                        Ok(output) => self.answer(std::slice::from_ref(job), &output),
                        Err(Trouble::Refused(error)) => refuse(job, &error),
                        Err(Trouble::Lost) => return Err(Lost),
                    }
                }
            }
        }
        Ok(())
    }

    fn infer(&mut self, batch: &[Arc<Job>]) -> Result<Vec<f32>, Trouble> {
        let rows = batch.iter().map(|job| job.row_count()).sum();
        let mut input = Vec::with_capacity(batch.iter().map(|job| job.input().len()).sum());
        for job in batch {
            input.extend_from_slice(job.input());
        }
        let began = Instant::now();
        self.telemetry.execution_begins(self.worker, began);
        let result = catch_unwind(AssertUnwindSafe(|| self.model.infer(input, rows)));
        let ended = Instant::now();
        self.telemetry.executed(self.worker, (began, ended), batch.len(), rows);
        let took = ended - began;
        self.typical =
            Some(self.typical.map_or(took, |typical| (typical * (OF_LATEST - 1) + took) / OF_LATEST));
        match result {
            Ok(result) => result.map_err(Trouble::Refused),
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

/// The share of the latest execution in what is typical.
const OF_LATEST: u32 = 8;

fn refuse(job: &Job, error: &ModelError) {
    tracing::error!(%error, rows = job.row_count(), "the model failed on a request");
    job.answer(Err(Failure::Model));
}
