//! Every metric: names, units and handles in one place. All of them exist from the first scrape.
//!
//! The three names of the tutorial are for the whole server and have no labels: an autoscaler reads them as they are.
//! No label value comes from a client, and pod or namespace are left to the scraper.

mod bodies;
mod buckets;
mod busy;
mod connections;
mod counted;
mod depth;
mod gpu;
mod lock;
mod openmetrics;
mod outcome;
mod peak;
mod slots;
mod tally;
mod trouble;

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use prometheus::{Counter, Encoder as _, Gauge, Histogram, IntCounter, IntGauge, Registry, TextEncoder};
use serve::{Registrar, Stats};

pub use self::bodies::{BodyMetrics, RefusedBody};
pub use self::buckets::{LATENCY_BUCKETS, TUTORIAL_BUCKETS};
use self::busy::{Busy, BusyTime};
use self::connections::Connections;
pub use self::counted::Counted;
use self::depth::Depth;
pub use self::gpu::GpuMetrics;
use self::lock::lock;
pub use self::openmetrics::Format;
pub use self::outcome::Outcome;
use self::outcome::Outcomes;
use self::peak::Peak;
use self::tally::{PerRequest, Tallies};
pub use self::trouble::ModelTrouble;

/// Handles on every metric.
pub struct Telemetry {
    registry: Registry,
    tallies: Tallies,
    depth: IntGauge,
    waiting: IntGauge,
    running: IntGauge,
    rows_waiting: IntGauge,
    rows_running: IntGauge,
    depth_peak: IntGauge,
    busy_seconds: Counter,
    duty_cycle: Gauge,
    truncated: IntCounter,
    out_of_memory: IntCounter,
    max_batch_size: IntGauge,
    model_ready: IntGauge,
    model_failed: [IntGauge; ModelTrouble::ALL.len()],
    model_load_seconds: Gauge,
    model_warmup_seconds: Gauge,
    draining: IntGauge,
    bodies: BodyMetrics,
    gpu: GpuMetrics,
    connections: Connections,
    requests: Depth,
    rows: Depth,
    peak: Peak,
    /// One for each worker, which writes it; a scrape reads them.
    workers: Vec<Mutex<Busy>>,
    origin: Instant,
    window: Duration,
    /// Held by the scrape under way, so that what is computed for it is written once.
    scrape: Mutex<()>,
}

/// What the server is configured to do, as metrics show it.
#[derive(Debug, Clone, Copy)]
pub struct Capacity {
    /// Threads that compute.
    pub workers: usize,
    /// Requests that may wait.
    pub queue_limit: usize,
    /// Rows of one execution.
    pub max_batch_size: usize,
    /// The time over which the peak of the queue and the duty cycle are kept.
    pub window: Duration,
}

/// What is served, as labels show it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// The name by which requests call the model.
    pub model: String,
    /// The model's version.
    pub version: String,
    /// What computes: `onnx` or `torch`.
    pub backend: &'static str,
    /// Where it computes: `cpu` or `cuda:N`.
    pub device: String,
}

/// Sums that statistics are made of, since the start.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Totals {
    /// Requests that were answered.
    pub answered: u64,
    /// Requests that failed, for whatever reason but a client that left.
    pub failed: u64,
    /// Executions.
    pub executions: u64,
    /// Rows of all executions.
    pub rows: f64,
    /// Requests that executed, and the time they waited before, in seconds.
    pub queue: (u64, f64),
    /// Requests that executed, and the time of their executions, in seconds.
    pub compute: (u64, f64),
    /// Answered requests, and the time from their body to their answer, in seconds.
    pub latency: (u64, f64),
}

impl Telemetry {
    /// Registers everything, at 0.
    pub fn new(capacity: Capacity, identity: &Identity, latency_buckets: &[f64]) -> Telemetry {
        let Identity { model, version, backend, device } = identity;
        let registry = Registry::new();
        let r = Registrar::new(&registry);
        let requests = r.counters(
            "inference_requests_total",
            "Requests, by how they ended; each counts once.",
            &["model", "outcome"],
        );
        let of_model = ["model", "version"];
        let model_and_version = [model.as_str(), version.as_str()];
        let origin = Instant::now();
        let tallies = Tallies::new(PerRequest {
            outcomes: Outcomes::new(&requests, model),
            latency: r.histogram(
                "inference_latency_seconds",
                "Time from the received body of a request to its answer, in seconds; successes only.",
                latency_buckets,
            ),
            queue_seconds: r
                .histograms(
                    "inference_queue_seconds",
                    "Time that requests waited for their execution, in seconds.",
                    &["model"],
                    latency_buckets,
                )
                .with_label_values(&[model]),
            compute_seconds: r
                .histograms(
                    "inference_compute_seconds",
                    "Duration of the executions that requests were part of, in seconds.",
                    &["model"],
                    latency_buckets,
                )
                .with_label_values(&[model]),
            batch_size: r
                .histograms("inference_batch_size", "Rows of an execution.", &["model"], &BATCHES)
                .with_label_values(&[model]),
        });
        let failed = r.gauges(
            "model_failed",
            "1 while the model does not work, by reason, else 0.",
            &["model", "version", "reason"],
        );
        let max_batch_size = r.gauge(
            "inference_max_batch_size",
            "Maximum number of rows of one execution: as configured, or as memory allows.",
        );
        max_batch_size.set(capacity.max_batch_size as i64);
        let telemetry = Telemetry {
            tallies,
            max_batch_size,
            model_failed: ModelTrouble::ALL.map(|trouble| {
                failed.with_label_values(&[model.as_str(), version.as_str(), trouble.label()])
            }),
            depth: r
                .gauge("request_queue_depth", "Requests admitted and not finished: waiting or in flight."),
            waiting: r.gauge("inference_requests_waiting", "Requests admitted and not executing yet."),
            running: r.gauge("inference_requests_running", "Requests executing."),
            rows_waiting: r.gauge(
                "inference_rows_waiting",
                "Rows of admitted requests that are not executing yet; a request of a model that joins no rows is one.",
            ),
            rows_running: r.gauge("inference_rows_running", "Rows of requests executing."),
            depth_peak: r.gauge(
                "request_queue_depth_peak",
                "Largest request_queue_depth of the last seconds, to see what happens between two scrapes.",
            ),
            busy_seconds: r.float_counter(
                "inference_worker_busy_seconds_total",
                "Time that workers spent executing, in seconds, all workers together.",
            ),
            duty_cycle: r.float_gauge(
                "inference_duty_cycle_percent",
                "Share of the last seconds that workers spent executing, in percent: 100 is all of them all the time.",
            ),
            truncated: r.counter(
                "inference_inputs_truncated_total",
                "Requests with more features than the model has inputs; the rest was cut off.",
            ),
            out_of_memory: r.counter(
                "inference_out_of_memory_total",
                "Executions that ran out of memory; each was retried once, in halves.",
            ),
            model_ready: r
                .gauges("model_ready", "1 while the model is loaded, warm and works, else 0.", &of_model)
                .with_label_values(&model_and_version),
            model_load_seconds: r
                .float_gauges("model_load_seconds", "Time it took to load the model, in seconds.", &of_model)
                .with_label_values(&model_and_version),
            model_warmup_seconds: r
                .float_gauges(
                    "model_warmup_seconds",
                    "Duration of the warm-up of the loaded model, in seconds.",
                    &of_model,
                )
                .with_label_values(&model_and_version),
            draining: r.gauge("server_draining", "1 from the signal to end on, else 0."),
            bodies: BodyMetrics::new(&r),
            gpu: GpuMetrics::new(&r),
            connections: Connections::new(&r),
            requests: Depth::default(),
            rows: Depth::default(),
            peak: Peak::new(capacity.window, origin),
            workers: (0..capacity.workers).map(|_| Mutex::new(Busy::new(capacity.window, origin))).collect(),
            origin,
            window: capacity.window,
            registry: registry.clone(),
            scrape: Mutex::new(()),
        };
        r.gauge("inference_workers", "Threads that compute.").set(capacity.workers as i64);
        r.gauge("inference_queue_limit", "Requests that may wait.").set(capacity.queue_limit as i64);
        r.gauges("model_info", "1, with what is served.", &["model", "version", "backend", "device"])
            .with_label_values(&[model.as_str(), version.as_str(), *backend, device.as_str()])
            .set(1);
        r.gauges("build_info", "1, with the version.", &["version"])
            .with_label_values(&[env!("CARGO_PKG_VERSION")])
            .set(1);
        #[cfg(target_os = "linux")]
        {
            let process = prometheus::process_collector::ProcessCollector::for_self();
            registry.register(Box::new(process)).expect("the process collector is registered once");
        }
        telemetry
    }

    /// What `/metrics` answers. It never waits for a request or for the queue.
    pub fn text(&self, format: Format) -> Vec<u8> {
        let now = Instant::now();
        self.refresh(now);
        let families = {
            let _whole = self.gpu.current(now);
            self.registry.gather()
        };
        let mut text = Vec::with_capacity(16 << 10);
        match format {
            Format::Text => {
                if let Err(error) = TextEncoder::new().encode(&families, &mut text) {
                    tracing::error!(%error, "cannot encode the metrics");
                }
            }
            Format::OpenMetrics => openmetrics::write(&families, &mut text),
        }
        text
    }

    /// A request to compute something came; it counts as one whose client left until it says how it ends.
    pub fn count(&self) -> Counted<'_> {
        Counted { tallies: &self.tallies, outcome: Outcome::Cancelled }
    }

    /// A request was answered, so long after its body was received.
    pub fn answered(&self, took: Duration) {
        self.tallies.mine().latency.observe(took.as_secs_f64());
    }

    /// An input was longer than the model's.
    pub fn truncated(&self) {
        self.truncated.inc();
    }

    /// There was no memory for an execution.
    pub(crate) fn out_of_memory(&self) {
        self.out_of_memory.inc();
    }

    /// The signal to end came.
    pub fn draining(&self) {
        self.draining.set(1);
    }

    /// The handles of the budget of bodies.
    pub fn bodies(&self) -> &BodyMetrics {
        &self.bodies
    }

    /// The handles of the GPU's collector.
    pub fn gpu(&self) -> &GpuMetrics {
        &self.gpu
    }

    /// Where connections are counted.
    pub fn connections(&self) -> Arc<Stats> {
        Arc::clone(&self.connections.stats)
    }

    /// Requests admitted and not finished.
    pub fn depth(&self) -> u32 {
        self.requests.now().all()
    }

    /// When a request that finds no room should come again: in the time that the workers need for what is there.
    pub fn time_to_empty(&self, now: Instant) -> Duration {
        let time = self.time(now);
        let (busy, rows) = if time.recent_rows > 0 {
            (time.recent, time.recent_rows)
        } else {
            (time.total, time.rows.max(1))
        };
        let mean = busy.as_secs_f64() / rows as f64;
        let seconds = f64::from(self.rows.now().all()) * mean / self.workers.len().max(1) as f64;
        Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX)
    }

    /// Sums since the start.
    pub fn totals(&self) -> Totals {
        let sums = |histogram: &Histogram| (histogram.get_sample_count(), histogram.get_sample_sum());
        let failures =
            [Outcome::Invalid, Outcome::Rejected, Outcome::Expired, Outcome::Error, Outcome::Draining];
        let counted = self.tallies.flush();
        Totals {
            answered: counted.outcomes.so_far(Outcome::Ok),
            failed: failures.into_iter().map(|outcome| counted.outcomes.so_far(outcome)).sum(),
            executions: counted.batch_size.get_sample_count(),
            rows: counted.batch_size.get_sample_sum(),
            queue: sums(&counted.queue_seconds),
            compute: sums(&counted.compute_seconds),
            latency: sums(&counted.latency),
        }
    }

    /// A request of `rows` rows is admitted: it waits.
    pub(crate) fn admitted(&self, now: Instant, rows: usize) {
        self.rows.arrive(count(rows));
        self.peak.see(now, self.requests.arrive(1).all());
    }

    /// A request of `rows` rows executes, after the time `waited`.
    pub(crate) fn started(&self, waited: Duration, rows: usize) {
        self.rows.start(count(rows));
        self.requests.start(1);
        self.tallies.mine().queue_seconds.observe(waited.as_secs_f64());
    }

    /// An admitted request of `rows` rows is over.
    pub(crate) fn left(&self, now: Instant, was_running: bool, rows: usize) {
        let rows = count(rows);
        let with_it = if was_running {
            self.rows.stop_running(rows);
            self.requests.stop_running(1)
        } else {
            self.rows.stop_waiting(rows);
            self.requests.stop_waiting(1)
        };
        self.peak.see(now, with_it.all());
    }

    /// A worker begins to execute.
    pub(crate) fn execution_begins(&self, worker: usize, now: Instant) {
        lock(&self.workers[worker]).begin(now);
    }

    /// A worker executed a batch of `requests` requests and `rows` rows, also when the model failed.
    pub(crate) fn executed(&self, worker: usize, times: (Instant, Instant), requests: usize, rows: usize) {
        let (began, ended) = times;
        lock(&self.workers[worker]).end(ended, rows);
        let took = ended.saturating_duration_since(began).as_secs_f64();
        let tally = self.tallies.mine();
        tally.batch_size.observe(rows as f64);
        for _ in 0..requests {
            tally.compute_seconds.observe(took);
        }
    }

    /// The model is loaded and warm.
    pub(crate) fn model_is_ready(&self, load: Duration, warmup: Duration) {
        self.model_load_seconds.set(load.as_secs_f64());
        self.model_warmup_seconds.set(warmup.as_secs_f64());
        self.model_ready.set(1);
    }

    /// What is wrong with the loaded model, if anything is.
    pub(crate) fn model_trouble(&self, trouble: Option<ModelTrouble>) {
        for (reason, gauge) in ModelTrouble::ALL.iter().zip(&self.model_failed) {
            gauge.set(i64::from(trouble == Some(*reason)));
        }
        self.model_ready.set(i64::from(trouble.is_none()));
    }

    /// Rows of one execution at most, from now on.
    pub(crate) fn max_batch_size(&self, rows: usize) {
        self.max_batch_size.set(rows as i64);
    }

    /// No worker is left.
    pub(crate) fn model_is_gone(&self) {
        self.model_ready.set(0);
    }

    /// Writes what is kept elsewhere or computed from windows, at each scrape: several that scrape do not disturb one
    /// another.
    fn refresh(&self, now: Instant) {
        let _scrape = lock(&self.scrape);
        self.tallies.flush();
        self.connections.collect();
        let requests = self.requests.now();
        self.depth.set(i64::from(requests.all()));
        self.waiting.set(i64::from(requests.waiting));
        self.running.set(i64::from(requests.running()));
        let rows = self.rows.now();
        self.rows_waiting.set(i64::from(rows.waiting));
        self.rows_running.set(i64::from(rows.running()));
        self.depth_peak.set(i64::from(self.peak.over_window(now, requests.all())));
        let time = self.time(now);
        // A computation that ended between two looks is counted by its end; the counter never goes back.
        self.busy_seconds.inc_by((time.total.as_secs_f64() - self.busy_seconds.get()).max(0.0));
        let span = self.window.min(now.saturating_duration_since(self.origin)).as_secs_f64();
        let possible = span * self.workers.len() as f64;
        let duty = if possible > 0.0 { 100.0 * time.recent.as_secs_f64() / possible } else { 0.0 };
        self.duty_cycle.set(duty.min(100.0));
    }

    fn time(&self, now: Instant) -> BusyTime {
        self.workers.iter().map(|worker| lock(worker).until(now)).fold(BusyTime::default(), |sum, one| {
            BusyTime {
                total: sum.total + one.total,
                recent: sum.recent + one.recent,
                recent_rows: sum.recent_rows + one.recent_rows,
                rows: sum.rows + one.rows,
            }
        })
    }
}

/// No request has more rows than a batch may have, and that is a number of 32 bits wherever memory is.
fn count(rows: usize) -> u32 {
    u32::try_from(rows).unwrap_or(u32::MAX)
}

const BATCHES: [f64; 8] = [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0];

#[cfg(test)]
mod tests {
    use super::*;

    fn telemetry(workers: usize) -> Telemetry {
        let window = Duration::from_secs(10);
        let capacity = Capacity { workers, queue_limit: 8, max_batch_size: 1, window };
        let identity = Identity {
            model: "m".to_owned(),
            version: "1".to_owned(),
            backend: "onnx",
            device: "cpu".to_owned(),
        };
        Telemetry::new(capacity, &identity, &LATENCY_BUCKETS)
    }

    #[test]
    fn what_is_there_takes_the_time_that_it_took_lately() {
        let telemetry = telemetry(2);
        let at = |seconds| telemetry.origin + Duration::from_secs(seconds);
        assert_eq!(telemetry.time_to_empty(at(0)), Duration::ZERO);
        for _ in 0..6 {
            telemetry.admitted(at(0), 1);
        }
        for (worker, from, to) in [(0, 1, 3), (1, 1, 5)] {
            telemetry.execution_begins(worker, at(from));
            telemetry.executed(worker, (at(from), at(to)), 1, 1);
        }
        // 3 s for a row, 6 of them, 2 workers.
        assert_eq!(telemetry.time_to_empty(at(6)), Duration::from_secs(9));
        // Long after, all that was ever measured says as much.
        assert_eq!(telemetry.time_to_empty(at(600)), Duration::from_secs(9));
        // One more request with as many rows as all others together.
        telemetry.admitted(at(600), 6);
        assert_eq!(telemetry.time_to_empty(at(600)), Duration::from_secs(18));
    }

    #[test]
    fn the_duty_cycle_is_of_all_workers_and_of_the_window() {
        let telemetry = telemetry(2);
        let at = |seconds| telemetry.origin + Duration::from_secs(seconds);
        telemetry.execution_begins(0, at(0));
        telemetry.refresh(at(4));
        assert_eq!((telemetry.duty_cycle.get(), telemetry.busy_seconds.get()), (50.0, 4.0));
        telemetry.executed(0, (at(0), at(10)), 1, 1);
        telemetry.refresh(at(10));
        assert_eq!((telemetry.duty_cycle.get(), telemetry.busy_seconds.get()), (50.0, 10.0));
        telemetry.refresh(at(15));
        assert!((telemetry.duty_cycle.get() - 25.0).abs() < 1e-3, "{}", telemetry.duty_cycle.get());
        telemetry.refresh(at(100));
        assert_eq!((telemetry.duty_cycle.get(), telemetry.busy_seconds.get()), (0.0, 10.0));
    }
}
