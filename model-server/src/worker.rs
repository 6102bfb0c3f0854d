//! The threads that own the models: one copy each, so that nothing else ever waits for a computation.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use crate::model::{Loader, Model, ModelError};
use crate::queue::{Job, Queue};
use crate::telemetry::Telemetry;

/// How workers work.
#[derive(Debug, Clone, Copy)]
pub struct WorkerSettings {
    /// How many threads.
    pub workers: usize,
    /// Rows of one execution at most.
    pub max_batch_size: usize,
    /// Executions with made-up input before the server is ready.
    pub warmup_iterations: usize,
}

/// What the web server must know of the model.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shape {
    /// Numbers in a row of input.
    pub inputs: usize,
    /// Numbers in a row of output.
    pub outputs: usize,
}

/// Loads and warms a model for each worker, then starts them. Blocks until all of it is done.
///
/// # Errors
/// A model that cannot be loaded or does not compute.
pub fn start(
    loader: &dyn Loader,
    settings: WorkerSettings,
    queue: &Arc<Queue>,
    telemetry: &Arc<Telemetry>,
) -> Result<Shape, ModelError> {
    let began = Instant::now();
    let mut models = Vec::with_capacity(settings.workers);
    for _ in 0..settings.workers {
        let mut model = loader.load()?;
        for rows in [1, settings.max_batch_size] {
            for _ in 0..settings.warmup_iterations {
                model.infer(vec![0.0; rows * model.inputs()], rows)?;
            }
        }
        models.push(model);
    }
    let Some(first) = models.first() else {
        return Err(ModelError("expected at least one worker".to_owned()));
    };
    let shape = Shape { inputs: first.inputs(), outputs: first.outputs() };
    telemetry.model_is_ready(began.elapsed());
    let alive = Arc::new(AtomicUsize::new(models.len()));
    for (number, model) in models.into_iter().enumerate() {
        let worker = Worker {
            model,
            queue: Arc::clone(queue),
            telemetry: Arc::clone(telemetry),
            max_batch_size: settings.max_batch_size,
            alive: Alive {
                count: Arc::clone(&alive),
                queue: Arc::clone(queue),
                telemetry: Arc::clone(telemetry),
            },
        };
        std::thread::Builder::new()
            .name(format!("inference-{number}"))
            .spawn(move || worker.run())
            .map_err(|error| ModelError(format!("no thread for a worker: {error}")))?;
    }
    Ok(shape)
}

struct Worker {
    model: Box<dyn Model>,
    queue: Arc<Queue>,
    telemetry: Arc<Telemetry>,
    max_batch_size: usize,
    alive: Alive,
}

/// When the last worker is gone nothing is admitted any more, and what waits is let go.
struct Alive {
    count: Arc<AtomicUsize>,
    queue: Arc<Queue>,
    telemetry: Arc<Telemetry>,
}

impl Drop for Alive {
    fn drop(&mut self) {
        if self.count.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.telemetry.model_is_gone();
            self.queue.abandon();
        }
    }
}

impl Worker {
    fn run(mut self) {
        while let Some(batch) = self.queue.next_batch(self.max_batch_size) {
            // A panic ends the batch, and this worker: the model may be in any state.
            if catch_unwind(AssertUnwindSafe(|| self.execute(batch))).is_err() {
                tracing::error!("a worker failed in the model and is gone");
                break;
            }
        }
        drop(self.alive);
    }

    fn execute(&mut self, batch: Vec<Job>) {
        let rows = batch.len();
        let mut input = Vec::with_capacity(rows * self.model.inputs());
        for job in &batch {
            input.extend_from_slice(&job.input);
        }
        let began = Instant::now();
        let result = self.model.infer(input, rows);
        self.telemetry.executed(rows, began.elapsed());
        let width = self.model.outputs();
        match result {
            Ok(output) => {
                for (job, row) in batch.into_iter().zip(output.chunks(width)) {
                    // A client that left does not wait for its answer.
                    let _ = job.reply.send(Ok(row.to_vec()));
                }
            }
            Err(error) => {
                tracing::error!(%error, rows, "the model failed");
                for job in batch {
                    let _ = job.reply.send(Err(error.clone()));
                }
            }
        }
    }
}
