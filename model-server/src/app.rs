//! Joins the parts: listens first, then loads the model, serves until told to end, and drains.

mod error;

use std::fmt::Write as _;
use std::num::NonZeroUsize;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ::serve::files::read;
use ::serve::lifecycle::{Phase, Trigger, lifecycle};
use ::serve::listen as listen_on;
use ::serve::signals::Signals;
use tokio::net::TcpListener;

pub use self::error::AppError;
use crate::admin::{self, Admin};
use crate::bodies::{BodyBudget, SMALL};
use crate::config::{Config, Device, DrainConfig, HttpConfig, MetricsConfig};
use crate::exit::{BAD_MODEL, leave};
use crate::gpu;
use crate::gpu::nvml::NvmlDriver;
use crate::gpu::visible::Surroundings;
use crate::memory::{self, Size, Watch};
use crate::model::backend::{self, Chosen};
use crate::model::file::bytes_of_all;
use crate::model::name_of;
use crate::queue::batching::Limits;
use crate::queue::{Failure, Queue};
use crate::readiness::Readiness;
use crate::repository::{self, Found};
use crate::routes::{self, Served, Settings};
use crate::serve::{self, Connections};
use crate::telemetry::{Capacity, Identity, Telemetry};
use crate::tensor::{BatchAxis, Signature, TensorSpec};
use crate::worker::{self, Pool, WarmSize, WarmupInput, WarmupInputError, WarmupSettings, WorkerSettings};

/// How the server ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// All of it.
    Whole,
    /// A worker computes on, in a library that must not be taken down under it.
    Computing,
}

/// Runs until a signal ends it.
///
/// # Errors
/// What keeps it from starting, or ends it early.
pub async fn run(config: Config) -> Result<Ended, AppError> {
    let mut signals = Signals::new().map_err(AppError::Signals)?;
    let Config {
        http,
        model,
        workers,
        stall_timeout,
        inline_below,
        warmup_iterations,
        warmup_input,
        max_memory,
        unhealthy_after,
        max_batch_size,
        max_batch_delay,
        queue_limit,
        queue_row_limit,
        overload_status,
        timeouts,
        metrics,
        drain,
        log_format: _,
    } = config;
    let HttpConfig {
        listen,
        admin_listen,
        max_connections,
        header_timeout,
        idle_timeout,
        answer_timeout,
        bodies,
    } = http;
    let MetricsConfig { latency_buckets, window, gpu_poll_interval, gpu_unknown_is_zero } = metrics;
    let (workers, max_batch_size) = (workers.get(), max_batch_size.get());
    // Before libraries are loaded, which takes seconds on a GPU: connections wait instead of being refused.
    let failed = |cause| AppError::Listen { address: listen, cause };
    let listener = listen_on(listen).and_then(TcpListener::from_std).map_err(failed)?;
    let found = repository::find(&model)?;
    let watch = bound_memory(&found, max_memory)?;
    let Chosen { loader, backend, device } = backend::choose(&found, &model)?;
    one_worker_on_a_gpu(&device, workers)?;
    let surroundings = Surroundings::look();
    if surroundings.leaves_a_gpu_unused(model.device, &device) {
        tracing::warn!(
            backend,
            "cannot use the GPU: {}; computing on the CPU, and --device=cpu says that it is meant",
            match backend {
                "onnxruntime" => "ONNX Runtime cannot use it, or is a library for the CPU",
                _ =>
                    "ONNX runs on it by PyPI's onnxruntime-gpu, named by --onnxruntime, and TorchScript by builds for it",
            }
        );
    }
    let (on_cpu, computes_on) = (device == CPU, device.clone());
    let identity = Identity { model: model.name, version: found.version, backend, device };
    let capacity = Capacity { workers, queue_limit: queue_limit.get(), max_batch_size, window };
    let telemetry = Arc::new(Telemetry::new(capacity, &identity, &latency_buckets));
    let limits = Limits {
        requests: queue_limit.get(),
        rows: queue_row_limit.map_or(usize::MAX, NonZeroUsize::get),
        batch_rows: max_batch_size,
        batch_delay: max_batch_delay,
    };
    let queue = Arc::new(Queue::new(limits, worker::places(workers), Arc::clone(&telemetry)));
    let served = Arc::new(Served {
        queue: Arc::clone(&queue),
        telemetry: Arc::clone(&telemetry),
        life: Readiness::new(Arc::clone(&telemetry)),
        bodies: Arc::new(BodyBudget::new(bodies, telemetry.bodies().clone())),
        settings: Settings { identity, workers, max_batch_size, max_batch_delay, overload_status, timeouts },
    });

    let address = listener.local_addr().map_err(failed)?;
    tracing::info!(%address, "listening");
    let connections =
        Connections { most: max_connections.get(), header_timeout, idle_timeout, answer_timeout };
    let mut admin = match admin_listen {
        Some(address) => Some(admin::start(address, routes::admin_router(Arc::clone(&served)), connections)?),
        None => None,
    };
    let (trigger, shutdown) = lifecycle();
    let router = routes::router(Arc::clone(&served));
    let mut serving =
        tokio::spawn(serve::serve(listener, router, connections, shutdown, telemetry.connections()));
    let collector = gpu::collector::Settings {
        poll_interval: gpu_poll_interval,
        unknown_is_zero: gpu_unknown_is_zero,
        // Where it computes, if that is a GPU: others that are visible are none of its.
        device: gpu_number(&computes_on).map_or(model.device, |number| Device::Cuda(Some(number))),
        surroundings,
    };
    let _gpu = gpu::start(Box::new(NvmlDriver), collector, Arc::clone(&telemetry))
        .map_err(|cause| AppError::Start { part: "the GPU's collector", cause })?;

    // Loading blocks; the probes are answered meanwhile.
    let settings = WorkerSettings {
        warmup: WarmupSettings {
            input: warmup_input.map(|path| read_warmup_input(&path, bodies.bytes)).transpose()?,
            iterations: warmup_iterations,
            max_batch_size,
            workers,
            // Of a GPU's memory only the GPU knows.
            memory: memory::budget(max_memory, bodies.memory as u64).filter(|_| on_cpu),
            every_size: !on_cpu,
        },
        threads_prepare: !on_cpu,
        unhealthy_after,
        stall_timeout,
        // Threads that answer probes should not wait for a GPU, nor each have its workspaces.
        inline_below: if on_cpu { inline_below } else { Duration::ZERO },
    };
    let loading = tokio::task::spawn_blocking({
        let (queue, telemetry) = (Arc::clone(&queue), Arc::clone(&telemetry));
        move || Pool::start(&loader, settings, &queue, &telemetry)
    });
    tokio::select! {
        loaded = loading => {
            let pool = loaded.map_err(AppError::Loading)??;
            drop(watch);
            let signature = pool.signature().clone();
            served.life.loaded(pool);
            warn_if_inputs_fill_the_memory(&signature, queue_limit.get(), bodies.memory);
            let (inputs, outputs) = (list(&signature.inputs), list(&signature.outputs));
            tracing::info!(inputs, outputs, batching = %signature.batch, "model ready");
        }
        signal = signals.next() => {
            tracing::info!(signal, "shutdown signal received before the model was loaded; exiting");
            return Ok(Ended::Computing);
        }
    }
    let signal = tokio::select! {
        signal = signals.next() => signal,
        _ = &mut serving => return Err(AppError::EndedEarly("the HTTP server")),
        () = ended(&mut admin) => return Err(AppError::EndedEarly("the admin server")),
    };
    served.life.drain();
    trigger.advance(Phase::Leaving);
    tracing::info!(signal, delay_seconds = drain.delay.as_secs_f64(), "draining");
    tokio::select! {
        () = end(drain, &trigger, &served, &mut serving) => tracing::info!("drained"),
        signal = signals.next() => {
            tracing::warn!(signal, "second signal received; exiting immediately");
            served.queue.abandon(&Failure::Draining);
        }
    }
    let pool = Arc::clone(&served);
    let left = tokio::task::spawn_blocking(move || {
        pool.life.pool().is_some_and(|pool| !pool.ends_within(LAST_BATCH))
    });
    if left.await.unwrap_or(true) {
        tracing::warn!("a worker is still computing; exiting without it");
        return Ok(Ended::Computing);
    }
    Ok(Ended::Whole)
}

/// Refuses a model whose files alone are more than memory may hold, and ends the process if it takes more before the
/// result is dropped.
fn bound_memory(found: &Found, max_memory: Option<u64>) -> Result<Option<Watch>, AppError> {
    let Some(limit) = memory::limit(max_memory) else { return Ok(None) };
    let name = name_of(found.path.as_deref());
    // One that cannot be read is told by its backend.
    let bytes = found.path.as_deref().map_or(0, |path| bytes_of_all(path).unwrap_or(0));
    if bytes > limit.bytes {
        return Err(AppError::TooLarge { limit, found: Size(bytes), model: name });
    }
    let watch = Watch::start(limit.bytes, move |taken| {
        tracing::error!(
            taken = %Size(taken),
            max_memory = %limit,
            "cannot load and warm {name}: it takes more memory than there may be; exiting"
        );
        leave(BAD_MODEL)
    });
    watch.map(Some).map_err(|cause| AppError::Start { part: "the look at the memory", cause })
}

/// A request of a file, no larger than one that a client may send.
fn read_warmup_input(path: &Path, most: usize) -> Result<WarmupInput, WarmupInputError> {
    let path = path.to_owned();
    let json =
        read(&path, most).map_err(|error| WarmupInputError { path: path.clone(), cause: error.into() })?;
    let read = move |signature: &Signature| {
        routes::inputs_of_one_row(&json, signature)
            .map_err(|error| WarmupInputError { path: path.clone(), cause: error.into() })
    };
    Ok(WarmupInput(Arc::new(read)))
}

/// Says so if requests would be refused for lack of memory before the queue is full, one row each.
fn warn_if_inputs_fill_the_memory(signature: &Signature, queue_limit: usize, memory: usize) {
    let Ok(row) = signature.zeros(1, 1) else { return };
    let row = row.iter().flatten().map(|input| input.data().len()).sum::<usize>();
    let (needed, usable) = (row.saturating_mul(queue_limit), memory - memory / 4);
    if row > SMALL && needed > usable {
        tracing::warn!(
            row = %Size(row as u64),
            needed = %Size(needed as u64),
            usable = %Size(usable as u64),
            "--max-body-memory does not hold --queue-limit inputs: requests are refused before the queue is full"
        );
    }
}

/// Serves on for a while, then stops accepting, lets requests end, and refuses those that do not in time.
async fn end(
    drain: DrainConfig,
    trigger: &Trigger,
    served: &Served,
    serving: &mut tokio::task::JoinHandle<()>,
) {
    tokio::time::sleep(drain.delay).await;
    trigger.advance(Phase::Draining);
    served.bodies.drain_by(Instant::now() + LAST_BODIES.min(drain.timeout / 2));
    if tokio::time::timeout(drain.timeout, &mut *serving).await.is_err() {
        tracing::warn!(timeout_seconds = drain.timeout.as_secs_f64(), "requests did not end in time");
        served.queue.abandon(&Failure::Draining);
        // They are answered now, unless their clients do not read.
        let _ = tokio::time::timeout(LAST_ANSWERS, serving).await;
    }
    served.queue.close(Failure::Draining);
}

/// Loads the model and executes it once, for one row and for a full batch; says what it is.
///
/// # Errors
/// A model that cannot be used.
pub fn check(config: &Config) -> Result<String, AppError> {
    let found = repository::find(&config.model)?;
    let name = name_of(found.path.as_deref());
    let _watch = bound_memory(&found, config.max_memory)?;
    let Chosen { loader, backend, device } = backend::choose(&found, &config.model)?;
    one_worker_on_a_gpu(&device, config.workers.get())?;
    let mut model = loader.load()?;
    let mut signature = model.signature().clone();
    let input = config.warmup_input.as_deref();
    let settings = WarmupSettings {
        input: input.map(|path| read_warmup_input(path, config.http.bodies.bytes)).transpose()?,
        iterations: 1,
        max_batch_size: config.max_batch_size.get(),
        workers: config.workers.get(),
        memory: memory::budget(config.max_memory, config.http.bodies.memory as u64).filter(|_| device == CPU),
        every_size: device != CPU,
    };
    let warm = worker::warm(&mut model, &loader, &settings)?;
    signature.join_only_if(warm.joins);
    let batches = match signature.batch {
        BatchAxis::Dynamic if warm.rows == 1 => "batches of one row".to_owned(),
        BatchAxis::Dynamic => format!("batches of up to {} rows", warm.rows),
        other => other.to_string(),
    };
    let odd = warm.odd_output.map(|output| format!(", {output:?} is not finite for the warm-up input"));
    let unknown = if warm.probe.is_none() {
        ", not executed: it refuses zeros, and --warmup-input names nothing else"
    } else {
        ""
    };
    let mut text = format!(
        "{name}: model {:?}, version {}, by {backend} on {device}: input {}, output {}, {batches}{}{unknown}: ok",
        config.model.name,
        found.version,
        list(&signature.inputs),
        list(&signature.outputs),
        odd.unwrap_or_default(),
    );
    for WarmSize { rows, time, peak_bytes } in warm.sizes {
        let unit = if rows == 1 { "row" } else { "rows" };
        let memory = peak_bytes.map_or_else(|| "unknown".to_owned(), |bytes| Size(bytes).to_string());
        let _ = write!(text, "\n  {rows} {unit}: {:.2} ms, memory {memory}", time.as_secs_f64() * 1e3);
    }
    Ok(text)
}

/// The number of a GPU, if a device is one.
fn gpu_number(device: &str) -> Option<u32> {
    device.strip_prefix("cuda:")?.parse().ok()
}

/// Several would share the GPU's one stream, each with weights of its own, and look like twice the capacity.
fn one_worker_on_a_gpu(device: &str, workers: usize) -> Result<(), AppError> {
    if device == CPU || workers == 1 {
        return Ok(());
    }
    Err(AppError::SeveralWorkers { device: device.to_owned(), workers })
}

/// Tensors, for people.
fn list(tensors: &[TensorSpec]) -> String {
    let tensors: Vec<String> = tensors.iter().map(ToString::to_string).collect();
    tensors.join(", ")
}

async fn ended(admin: &mut Option<Admin>) {
    match admin {
        Some(admin) => admin.ended().await,
        None => std::future::pending().await,
    }
}

/// How long the last execution may take after that.
const LAST_BATCH: Duration = Duration::from_secs(1);
/// The name of the device that needs no care.
const CPU: &str = "cpu";
/// How long bodies may take to arrive whose requests began before nothing was accepted any more.
const LAST_BODIES: Duration = Duration::from_secs(2);
/// How long refused requests may take to be told.
const LAST_ANSWERS: Duration = Duration::from_secs(1);
/// How long the runtime may take to end its tasks.
pub const RUNTIME_GRACE: Duration = Duration::from_millis(100);
