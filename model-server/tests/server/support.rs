//! A server over a model that the test holds in its hand.

use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread::ThreadId;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::http::{HeaderMap, Request, StatusCode};
use http_body_util::BodyExt as _;
use model_server::bodies::{BodyBudget, BodyLimits};
use model_server::config::Timeouts;
use model_server::model::{InferError, Loader, Model, ModelError};
use model_server::queue::Queue;
use model_server::queue::batching::Limits;
use model_server::readiness::Readiness;
use model_server::routes::{self, Served, Settings};
use model_server::telemetry::{Capacity, Format, Identity, LATENCY_BUCKETS, Telemetry};
use model_server::tensor::{DataType, Dim, Signature, Tensor, TensorSpec};
use model_server::worker::{self, Pool, WarmupSettings, WorkerSettings};
use testkit::exposition;
use testkit::wait::until;
use tower::ServiceExt as _;

/// What the model does next.
pub(crate) enum Step {
    /// Computes `x0 + 10 * x1` of each row.
    Answer,
    /// Refuses.
    Fail,
    /// Says what is wrong with the inputs.
    Invalid,
    /// Finds no memory.
    OutOfMemory,
    /// Says that its device is broken.
    Device,
    /// Computes no number for rows whose first number is negative.
    NoNumber,
    /// Computes the first row alone, however many there are.
    FewRows,
    Panic,
}

/// A model that computes when the test says so.
struct Held {
    signature: Signature,
    ran_on: Arc<Mutex<Vec<ThreadId>>>,
    steps: Arc<Mutex<Receiver<Step>>>,
}

struct HeldLoader {
    steps: Arc<Mutex<Receiver<Step>>>,
    ran_on: Arc<Mutex<Vec<ThreadId>>>,
    /// How many more times it loads.
    loads: Mutex<usize>,
}

impl Loader for HeldLoader {
    fn load(&self) -> Result<Box<dyn Model>, ModelError> {
        let mut loads = self.loads.lock().expect("not poisoned");
        *loads = loads.checked_sub(1).ok_or_else(|| ModelError::backend("it cannot be loaded again"))?;
        let signature = Signature::new(vec![rows("x", 2)], vec![rows("y", 1)]);
        Ok(Box::new(Held { signature, steps: Arc::clone(&self.steps), ran_on: Arc::clone(&self.ran_on) }))
    }
}

/// Any number of rows of `width` FP32 numbers.
pub(crate) fn rows(name: &str, width: usize) -> TensorSpec {
    TensorSpec {
        name: name.to_owned(),
        datatype: DataType::Fp32,
        shape: Some(vec![Dim::Dynamic, Dim::Fixed(width)]),
        optional: false,
    }
}

impl Model for Held {
    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn infer(&mut self, inputs: &[Option<Tensor>]) -> Result<Vec<Tensor>, InferError> {
        let input = inputs[0].as_ref().and_then(Tensor::numbers::<f32>).expect("single precision");
        let rows = input.len() / 2;
        self.ran_on.lock().expect("not poisoned").push(std::thread::current().id());
        // The lock is let go before anything is done: a panic must not poison it.
        let step = self.steps.lock().expect("not poisoned").recv();
        let compute = |row: &[f32]| row[0] + 10.0 * row[1];
        match step {
            Ok(Step::Answer) => {
                let sums: Vec<f32> = input.chunks(2).map(compute).collect();
                Ok(vec![Tensor::of(vec![rows, 1], &sums)?])
            }
            Ok(Step::NoNumber) => {
                let odd = |row: &[f32]| if row[0] < 0.0 { f32::NAN } else { compute(row) };
                let sums: Vec<f32> = input.chunks(2).map(odd).collect();
                Ok(vec![Tensor::of(vec![rows, 1], &sums)?])
            }
            Ok(Step::FewRows) => Ok(vec![Tensor::of(vec![1, 1], &[compute(&input)])?]),
            Ok(Step::OutOfMemory) => Err(InferError::OutOfMemory(format!("{rows} rows"))),
            Ok(Step::Device) => {
                Err(InferError::Device("CUDA error: device-side assert triggered".to_owned()))
            }
            Ok(Step::Fail) => Err(InferError::refused(format!("refused {rows} rows"))),
            Ok(Step::Invalid) => Err(InferError::invalid("index 7 of 5")),
            Ok(Step::Panic) => panic!("as the test asked"),
            Err(_) => Err(InferError::refused("the test is over")),
        }
    }
}

/// What a test may set.
#[derive(Clone, Copy)]
pub(crate) struct Options {
    pub(crate) workers: usize,
    pub(crate) max_batch_size: usize,
    pub(crate) max_batch_delay: Duration,
    pub(crate) queue_limit: usize,
    pub(crate) queue_row_limit: usize,
    pub(crate) timeouts: Timeouts,
    pub(crate) stall_timeout: Duration,
    pub(crate) inline_below: Duration,
    pub(crate) overload_status: StatusCode,
    pub(crate) unhealthy_after: Option<u32>,
    pub(crate) loads: usize,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            workers: 1,
            max_batch_size: 1,
            max_batch_delay: Duration::ZERO,
            queue_limit: 16,
            queue_row_limit: usize::MAX,
            timeouts: Timeouts { default: None, max: None },
            stall_timeout: Duration::from_secs(30),
            inline_below: Duration::ZERO,
            overload_status: StatusCode::SERVICE_UNAVAILABLE,
            unhealthy_after: None,
            loads: 100,
        }
    }
}

pub(crate) struct Server {
    pub(crate) router: Router,
    pub(crate) served: Arc<Served>,
    steps: Sender<Step>,
    /// The thread of each execution.
    pub(crate) ran_on: Arc<Mutex<Vec<ThreadId>>>,
}

pub(crate) struct Answer {
    pub(crate) code: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Answer {
    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).expect("text")
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().expect("text"))
    }

    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).expect("JSON")
    }
}

impl Server {
    pub(crate) fn start(options: Options) -> Server {
        let server = Server::loading(options);
        server.load(&options);
        server.server
    }

    /// A server whose model is not loaded yet.
    pub(crate) fn loading(options: Options) -> Loading {
        let Options {
            workers,
            max_batch_size,
            max_batch_delay,
            queue_limit,
            queue_row_limit,
            timeouts,
            overload_status,
            ..
        } = options;
        let window = Duration::from_secs(15);
        let capacity = Capacity { workers, queue_limit, max_batch_size, window };
        let identity = Identity {
            model: "m".to_owned(),
            version: "3".to_owned(),
            backend: "onnx",
            device: "cpu".to_owned(),
        };
        let telemetry = Arc::new(Telemetry::new(capacity, &identity, &LATENCY_BUCKETS));
        let limits = Limits {
            requests: queue_limit,
            rows: queue_row_limit,
            batch_rows: max_batch_size,
            batch_delay: max_batch_delay,
        };
        let queue = Arc::new(Queue::new(limits, worker::places(workers), Arc::clone(&telemetry)));
        let bodies = BodyLimits { bytes: 4096, memory: 1 << 20, time: Duration::from_secs(20) };
        let served = Arc::new(Served {
            bodies: Arc::new(BodyBudget::new(bodies, telemetry.bodies().clone())),
            queue,
            telemetry: Arc::clone(&telemetry),
            life: Readiness::new(telemetry),
            settings: Settings {
                identity,
                workers,
                max_batch_size,
                max_batch_delay,
                overload_status,
                timeouts,
            },
        });
        let (steps, held) = channel();
        let server =
            Server { router: routes::router(Arc::clone(&served)), served, steps, ran_on: Arc::default() };
        Loading { server, held: Mutex::new(Some(held)) }
    }

    /// What the model does next.
    pub(crate) fn next(&self, step: Step) {
        self.steps.send(step).expect("a model waits");
    }

    pub(crate) async fn ask(&self, request: Request<Body>) -> Answer {
        ask(self.router.clone(), request).await
    }

    pub(crate) async fn send(&self, method: &str, path: &str, body: &str) -> Answer {
        let request = Request::builder().method(method).uri(path).body(Body::from(body.to_owned()));
        self.ask(request.expect("valid")).await
    }

    /// A request that is under way.
    pub(crate) fn predict(&self) -> tokio::task::JoinHandle<u16> {
        self.predict_row("[1,2]")
    }

    pub(crate) fn predict_row(&self, row: &str) -> tokio::task::JoinHandle<u16> {
        let body = format!(r#"{{"features":{row}}}"#);
        let request = Request::post("/predict").body(Body::from(body)).expect("valid");
        let router = self.router.clone();
        tokio::spawn(async move { ask(router, request).await.code })
    }

    pub(crate) fn metrics(&self) -> String {
        String::from_utf8(self.served.telemetry.text(Format::Text)).expect("text")
    }

    pub(crate) fn metric(&self, series: &str) -> f64 {
        let text = self.metrics();
        exposition::value(&text, series).unwrap_or_else(|| panic!("no {series} in\n{text}"))
    }

    pub(crate) fn ended(&self, outcome: &str) -> f64 {
        self.metric(&format!(r#"inference_requests_total{{model="m",outcome="{outcome}"}}"#))
    }

    /// Waits until a metric has a value.
    pub(crate) async fn until(&self, series: &str, value: f64) {
        until(&format!("{series} to be {value}"), || self.metric(series) == value).await;
    }

    /// No request is counted anywhere.
    pub(crate) fn assert_empty(&self) {
        let gauges = ["request_queue_depth", "inference_requests_waiting", "inference_requests_running"];
        for gauge in gauges.into_iter().chain(["inference_rows_waiting", "inference_rows_running"]) {
            assert_eq!(self.metric(gauge), 0.0, "{gauge}");
        }
    }
}

/// A server whose model is not loaded yet.
pub(crate) struct Loading {
    pub(crate) server: Server,
    held: Mutex<Option<Receiver<Step>>>,
}

impl Loading {
    pub(crate) fn load(&self, options: &Options) {
        let steps = self.held.lock().expect("not poisoned").take().expect("loaded once");
        let loader: Arc<dyn Loader> = Arc::new(HeldLoader {
            steps: Arc::new(Mutex::new(steps)),
            ran_on: Arc::clone(&self.server.ran_on),
            loads: Mutex::new(options.loads),
        });
        self.load_by(&loader, options, 0);
    }

    /// Loads another model than the one that is held.
    pub(crate) fn load_by(&self, loader: &Arc<dyn Loader>, options: &Options, iterations: usize) {
        let settings = WorkerSettings {
            warmup: WarmupSettings {
                input: None,
                iterations,
                max_batch_size: options.max_batch_size,
                workers: options.workers,
                memory: None,
                every_size: false,
            },
            unhealthy_after: options.unhealthy_after,
            stall_timeout: options.stall_timeout,
            inline_below: options.inline_below,
            threads_prepare: false,
        };
        let served = &self.server.served;
        let pool = Pool::start(loader, settings, &served.queue, &served.telemetry);
        served.life.loaded(pool.expect("it loads"));
    }
}

pub(crate) async fn ask(router: Router, request: Request<Body>) -> Answer {
    let response = router.oneshot(request).await.expect("the router always answers");
    let (head, body) = response.into_parts();
    let body = body.collect().await.expect("a whole body").to_bytes();
    Answer { code: head.status.as_u16(), headers: head.headers, body }
}
