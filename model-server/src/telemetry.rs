//! Every metric: names, units and handles in one place. All of them exist from the first scrape.
//!
//! The three names of the tutorial are for the whole server and have no labels: an autoscaler reads them as they are.

use std::sync::Mutex;
use std::time::{Duration, Instant};

use prometheus::{
    Counter, Encoder as _, Gauge, Histogram, HistogramOpts, IntCounterVec, IntGauge, Opts, Registry,
    TextEncoder,
};

/// How a request ended. Every admitted or refused request ends in exactly one way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// Answered.
    Ok,
    /// The request cannot be understood.
    Invalid,
    /// The queue was full.
    Rejected,
    /// It waited longer than it may.
    Expired,
    /// The client left.
    Cancelled,
    /// The model failed.
    Error,
    /// The server was ending.
    Draining,
}

impl Outcome {
    const ALL: [Outcome; 7] = [
        Outcome::Ok,
        Outcome::Invalid,
        Outcome::Rejected,
        Outcome::Expired,
        Outcome::Cancelled,
        Outcome::Error,
        Outcome::Draining,
    ];

    fn label(self) -> &'static str {
        match self {
            Outcome::Ok => "ok",
            Outcome::Invalid => "invalid",
            Outcome::Rejected => "rejected",
            Outcome::Expired => "expired",
            Outcome::Cancelled => "cancelled",
            Outcome::Error => "error",
            Outcome::Draining => "draining",
        }
    }
}

/// Handles on every metric.
pub struct Telemetry {
    registry: Registry,
    latency: Histogram,
    depth: IntGauge,
    waiting: IntGauge,
    running: IntGauge,
    depth_peak: IntGauge,
    queue_seconds: Histogram,
    compute_seconds: Histogram,
    batch_size: Histogram,
    requests: IntCounterVec,
    busy_seconds: Counter,
    truncated: prometheus::IntCounter,
    model_ready: IntGauge,
    model_load_seconds: Gauge,
    draining: IntGauge,
    peak: Mutex<Peak>,
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
    /// The time over which the peak of the queue is kept.
    pub window: Duration,
}

impl Telemetry {
    /// Registers everything, at 0.
    pub fn new(capacity: Capacity, latency_buckets: &[f64]) -> Telemetry {
        let r = Registrar(Registry::new());
        let telemetry = Telemetry {
            latency: r.histogram(
                "inference_latency_seconds",
                "Time from the body of a request received to its answer ready, in seconds; successes only.",
                latency_buckets,
            ),
            depth: r
                .gauge("request_queue_depth", "Requests admitted and not finished: waiting or in flight."),
            waiting: r.gauge("inference_requests_waiting", "Requests admitted and not executing yet."),
            running: r.gauge("inference_requests_running", "Requests executing."),
            depth_peak: r.gauge(
                "request_queue_depth_peak",
                "Largest request_queue_depth of the last seconds, for what happens between two scrapes.",
            ),
            queue_seconds: r.histogram(
                "inference_queue_seconds",
                "Time a request waited before it executed, in seconds.",
                latency_buckets,
            ),
            compute_seconds: r.histogram(
                "inference_compute_seconds",
                "Time of the execution that a request was part of, in seconds.",
                latency_buckets,
            ),
            batch_size: r.histogram("inference_batch_size", "Rows of an execution.", &BATCHES),
            requests: r.counters("inference_requests_total", "Requests by how they ended.", "outcome"),
            busy_seconds: r.float_counter(
                "inference_worker_busy_seconds_total",
                "Time that workers spent executing, in seconds, all workers together.",
            ),
            truncated: r.counter(
                "inference_inputs_truncated_total",
                "Requests with more features than the model has inputs; the rest was cut off.",
            ),
            model_ready: r.gauge("model_ready", "1 once the model is loaded and warm, else 0."),
            model_load_seconds: r
                .float_gauge("model_load_seconds", "Time it took to load the model, in seconds."),
            draining: r.gauge("server_draining", "1 from the signal to end on, else 0."),
            peak: Mutex::new(Peak::new(capacity.window)),
            registry: r.0.clone(),
        };
        for outcome in Outcome::ALL {
            telemetry.requests.with_label_values(&[outcome.label()]);
        }
        // Running on a CPU by choice is no load on a GPU: 0 is true here, and the tutorial's rules find the metric.
        r.float_gauge("gpu_utilization_percent", "How busy the GPUs in use are, in percent; 0 on a CPU.");
        r.gauge("inference_workers", "Threads that compute.").set(capacity.workers as i64);
        r.gauge("inference_queue_limit", "Requests that may wait.").set(capacity.queue_limit as i64);
        r.gauge("inference_max_batch_size", "Rows of one execution at most.")
            .set(capacity.max_batch_size as i64);
        let info = r.gauges("build_info", "1, with the version.", "version");
        info.with_label_values(&[env!("CARGO_PKG_VERSION")]).set(1);
        #[cfg(target_os = "linux")]
        r.0.register(Box::new(prometheus::process_collector::ProcessCollector::for_self())).expect(VALID);
        telemetry
    }

    /// The text of `/metrics`.
    pub fn text(&self) -> Vec<u8> {
        self.depth_peak.set(self.lock_peak().of(Instant::now(), self.depth.get()));
        let mut text = Vec::with_capacity(8 << 10);
        if let Err(error) = TextEncoder::new().encode(&self.registry.gather(), &mut text) {
            tracing::error!(%error, "the metrics could not be written");
        }
        text
    }

    /// A request ended.
    pub fn ended(&self, outcome: Outcome) {
        self.requests.with_label_values(&[outcome.label()]).inc();
    }

    /// A request was answered, so long after its body was received.
    pub fn answered(&self, took: Duration) {
        self.latency.observe(took.as_secs_f64());
    }

    /// An input was longer than the model's.
    pub fn truncated(&self) {
        self.truncated.inc();
    }

    /// A request was admitted: it waits.
    pub(crate) fn admitted(&self) {
        self.depth.inc();
        self.waiting.inc();
        self.lock_peak().see(Instant::now(), self.depth.get());
    }

    /// A request that waited executes.
    pub(crate) fn started(&self, waited: Duration) {
        self.waiting.dec();
        self.running.inc();
        self.queue_seconds.observe(waited.as_secs_f64());
    }

    /// An admitted request is over.
    pub(crate) fn left(&self, was_running: bool) {
        self.depth.dec();
        if was_running { self.running.dec() } else { self.waiting.dec() }
    }

    /// A worker executed a batch.
    pub(crate) fn executed(&self, rows: usize, took: Duration) {
        self.batch_size.observe(rows as f64);
        self.busy_seconds.inc_by(took.as_secs_f64());
        for _ in 0..rows {
            self.compute_seconds.observe(took.as_secs_f64());
        }
    }

    /// The model is loaded and warm.
    pub(crate) fn model_is_ready(&self, took: Duration) {
        self.model_load_seconds.set(took.as_secs_f64());
        self.model_ready.set(1);
    }

    /// No worker is left.
    pub(crate) fn model_is_gone(&self) {
        self.model_ready.set(0);
    }

    /// The signal to end came.
    pub fn draining(&self) {
        self.draining.set(1);
    }

    fn lock_peak(&self) -> std::sync::MutexGuard<'_, Peak> {
        self.peak.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

/// The largest depth of the last seconds, kept second by second.
struct Peak {
    started: Instant,
    window: u64,
    seconds: Vec<(u64, i64)>,
}

impl Peak {
    fn new(window: Duration) -> Peak {
        Peak { started: Instant::now(), window: window.as_secs().max(1), seconds: Vec::new() }
    }

    fn see(&mut self, now: Instant, depth: i64) {
        let second = now.duration_since(self.started).as_secs();
        self.seconds.retain(|(other, _)| other + self.window > second);
        match self.seconds.last_mut() {
            Some((last, peak)) if *last == second => *peak = (*peak).max(depth),
            _ => self.seconds.push((second, depth)),
        }
    }

    fn of(&mut self, now: Instant, depth: i64) -> i64 {
        self.see(now, depth);
        self.seconds.iter().map(|(_, peak)| *peak).max().unwrap_or(depth)
    }
}

/// Makes and registers metrics. Names are literals of this file and each is used once, so nothing of it can fail.
struct Registrar(Registry);

const VALID: &str = "a literal name, registered once";

impl Registrar {
    fn add<M: prometheus::core::Collector + Clone + 'static>(&self, metric: prometheus::Result<M>) -> M {
        let metric = metric.expect(VALID);
        self.0.register(Box::new(metric.clone())).expect(VALID);
        metric
    }

    fn gauge(&self, name: &str, help: &str) -> IntGauge {
        self.add(IntGauge::new(name, help))
    }

    fn gauges(&self, name: &str, help: &str, label: &str) -> prometheus::IntGaugeVec {
        self.add(prometheus::IntGaugeVec::new(Opts::new(name, help), &[label]))
    }

    fn float_gauge(&self, name: &str, help: &str) -> Gauge {
        self.add(Gauge::new(name, help))
    }

    fn counter(&self, name: &str, help: &str) -> prometheus::IntCounter {
        self.add(prometheus::IntCounter::new(name, help))
    }

    fn float_counter(&self, name: &str, help: &str) -> Counter {
        self.add(Counter::new(name, help))
    }

    fn counters(&self, name: &str, help: &str, label: &str) -> IntCounterVec {
        self.add(IntCounterVec::new(Opts::new(name, help), &[label]))
    }

    fn histogram(&self, name: &str, help: &str, buckets: &[f64]) -> Histogram {
        self.add(Histogram::with_opts(HistogramOpts::new(name, help).buckets(buckets.to_vec())))
    }
}

/// The tutorial's bounds in seconds, and finer ones below for models that are fast.
pub const LATENCY_BUCKETS: [f64; 16] =
    [0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];
const BATCHES: [f64; 8] = [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0];
