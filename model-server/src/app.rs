//! Joins the parts: listens first, then loads the model, serves until told to end, and drains.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use axum::http::StatusCode;
use tokio::net::TcpListener;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;

use crate::args::Args;
use crate::model::onnx::OnnxLoader;
use crate::model::{Loader, ModelError};
use crate::queue::Queue;
use crate::routes::{self, Served};
use crate::telemetry::{Capacity, LATENCY_BUCKETS, Telemetry};
use crate::worker::{self, WorkerSettings};

/// Why the server could not start, or ended.
#[derive(Debug, thiserror::Error)]
pub enum AppError {
    /// The address could not be listened on, or the listener failed.
    #[error("cannot serve on {address}: {cause}")]
    Listen {
        /// The address.
        address: std::net::SocketAddr,
        /// The operating system's reason.
        cause: std::io::Error,
    },
    /// The model cannot be used.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// Signals cannot be received.
    #[error("cannot receive signals: {0}")]
    Signals(std::io::Error),
}

/// Runs until a signal ends it.
///
/// # Errors
/// What keeps it from starting.
pub async fn run(args: Args) -> Result<(), AppError> {
    let Args {
        listen,
        model,
        workers,
        max_batch_size,
        queue_limit,
        overload_status,
        max_body_bytes,
        warmup_iterations,
        metrics_window,
        drain_delay,
        drain_timeout,
        log_format: _,
    } = args;
    let failed = |cause| AppError::Listen { address: listen, cause };
    let listener = TcpListener::bind(listen).await.map_err(failed)?;
    let address = listener.local_addr().map_err(failed)?;
    tracing::info!(%address, "listening");
    let capacity = Capacity { workers, queue_limit, max_batch_size, window: metrics_window };
    let telemetry = Arc::new(Telemetry::new(capacity, &LATENCY_BUCKETS));
    let queue = Arc::new(Queue::new(queue_limit, Arc::clone(&telemetry)));
    let served = Arc::new(Served {
        queue: Arc::clone(&queue),
        telemetry: Arc::clone(&telemetry),
        shape: OnceLock::new(),
        draining: AtomicBool::new(false),
        overload_status: if overload_status == "429" {
            StatusCode::TOO_MANY_REQUESTS
        } else {
            StatusCode::SERVICE_UNAVAILABLE
        },
    });
    let mut signals = Signals::new().map_err(AppError::Signals)?;
    let (stop, stopped) = watch::channel(false);
    let router = routes::router(Arc::clone(&served), max_body_bytes);
    let mut serving = tokio::spawn(
        axum::serve(listener, router)
            .with_graceful_shutdown(async move {
                let mut stopped = stopped;
                // An error means that the sender is gone, which ends the program anyway.
                let _ = stopped.wait_for(|stop| *stop).await;
            })
            .into_future(),
    );
    // Loading blocks; the probes are answered meanwhile.
    let settings = WorkerSettings { workers, max_batch_size, warmup_iterations };
    let loader: Box<dyn Loader> = Box::new(OnnxLoader { path: model });
    let loading = tokio::task::spawn_blocking({
        let (queue, telemetry) = (Arc::clone(&queue), Arc::clone(&telemetry));
        move || worker::start(&*loader, settings, &queue, &telemetry)
    });
    tokio::select! {
        loaded = loading => {
            let shape = loaded.map_err(|error| ModelError(format!("loading failed: {error}")))??;
            served.shape.get_or_init(|| shape);
            tracing::info!(inputs = shape.inputs, outputs = shape.outputs, "model ready");
        }
        signal = signals.next() => {
            tracing::info!(signal, "ending before the model was loaded");
            return Ok(());
        }
    }
    let first = signals.next().await;
    tracing::info!(signal = first, delay_seconds = drain_delay.as_secs_f64(), "draining");
    telemetry.draining();
    served.draining.store(true, Ordering::Release);
    let drained = async {
        tokio::time::sleep(drain_delay).await;
        stop.send_replace(true);
        tokio::time::timeout(drain_timeout, &mut serving).await.is_ok()
    };
    tokio::select! {
        finished = drained => {
            if !finished {
                tracing::warn!(timeout_seconds = drain_timeout.as_secs_f64(), "requests were cut off");
            }
        }
        signal = signals.next() => tracing::warn!(signal, "second signal: ending now"),
    }
    queue.abandon();
    Ok(())
}

struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    fn new() -> std::io::Result<Signals> {
        Ok(Signals {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }

    async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
        }
    }
}

/// How long the runtime may take to end its tasks.
pub const RUNTIME_GRACE: Duration = Duration::from_millis(100);
