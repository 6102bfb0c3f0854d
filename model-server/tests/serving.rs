//! The server over a model that the test holds in its hand: what the gauges say is what is true.

use std::sync::atomic::AtomicBool;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::{Request, StatusCode};
use http_body_util::BodyExt as _;
use model_server::model::onnx::OnnxLoader;
use model_server::model::{Loader, Model, ModelError};
use model_server::queue::Queue;
use model_server::routes::{self, Served};
use model_server::telemetry::{Capacity, LATENCY_BUCKETS, Telemetry};
use model_server::worker::{self, WorkerSettings};
use tower::ServiceExt as _;

/// A model that computes when the test says so.
struct Held {
    go: Receiver<Step>,
}

enum Step {
    Answer,
    Fail,
    Panic,
}

struct HeldLoader(Mutex<Option<Receiver<Step>>>);

impl Loader for HeldLoader {
    fn load(&self) -> Result<Box<dyn Model>, ModelError> {
        let go = self.0.lock().expect("not poisoned").take().expect("loaded once");
        Ok(Box::new(Held { go }))
    }
}

impl Model for Held {
    fn inputs(&self) -> usize {
        2
    }

    fn outputs(&self) -> usize {
        1
    }

    fn infer(&mut self, input: Vec<f32>, rows: usize) -> Result<Vec<f32>, ModelError> {
        match self.go.recv() {
            Ok(Step::Answer) => Ok(input.chunks(2).map(|row| row[0] + 10.0 * row[1]).collect()),
            Ok(Step::Fail) => Err(ModelError(format!("refused {rows} rows"))),
            Ok(Step::Panic) => panic!("as the test asked"),
            Err(_) => Err(ModelError("the test is over".to_owned())),
        }
    }
}

struct Server {
    router: Router,
    go: Sender<Step>,
    served: Arc<Served>,
}

impl Server {
    fn start(max_batch_size: usize, queue_limit: usize) -> Server {
        let window = Duration::from_secs(15);
        let capacity = Capacity { workers: 1, queue_limit, max_batch_size, window };
        let telemetry = Arc::new(Telemetry::new(capacity, &LATENCY_BUCKETS));
        let queue = Arc::new(Queue::new(queue_limit, Arc::clone(&telemetry)));
        let (go, held) = channel();
        let settings = WorkerSettings { workers: 1, max_batch_size, warmup_iterations: 0 };
        let shape = worker::start(&HeldLoader(Mutex::new(Some(held))), settings, &queue, &telemetry)
            .expect("it loads");
        let served = Arc::new(Served {
            queue,
            telemetry,
            shape: OnceLock::from(shape),
            draining: AtomicBool::new(false),
            overload_status: StatusCode::SERVICE_UNAVAILABLE,
        });
        Server { router: routes::router(Arc::clone(&served), 1024), go, served }
    }

    async fn send(&self, method: &str, path: &str, body: &str) -> (u16, String) {
        let request =
            Request::builder().method(method).uri(path).body(Body::from(body.to_owned())).expect("valid");
        let response = self.router.clone().oneshot(request).await.expect("the router always answers");
        let code = response.status().as_u16();
        let body = response.into_body().collect().await.expect("a whole body").to_bytes();
        (code, String::from_utf8(body.to_vec()).expect("text"))
    }

    fn predict(&self) -> tokio::task::JoinHandle<u16> {
        let router = self.router.clone();
        tokio::spawn(async move {
            let request = Request::post("/predict").body(Body::from(r#"{"features":[1,2]}"#)).expect("valid");
            router.oneshot(request).await.expect("the router always answers").status().as_u16()
        })
    }

    fn metric(&self, series: &str) -> f64 {
        let text = String::from_utf8(self.served.telemetry.text()).expect("text");
        let line = text.lines().find(|line| line.split(' ').next() == Some(series));
        let line = line.unwrap_or_else(|| panic!("no {series} in\n{text}"));
        line.split(' ').nth(1).expect("a value").parse().expect("a number")
    }

    /// Waits until a metric has a value.
    async fn until(&self, series: &str, value: f64) {
        let waiting = async {
            while self.metric(series) != value {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(Duration::from_secs(20), waiting)
            .await
            .unwrap_or_else(|_| panic!("{series} is {}, expected {value}", self.metric(series)));
    }
}

#[tokio::test]
async fn depth_counts_what_is_admitted_and_not_finished() {
    let server = Server::start(1, 16);
    let clients: Vec<_> = (0..5).map(|_| server.predict()).collect();
    server.until("request_queue_depth", 5.0).await;
    server.until("inference_requests_running", 1.0).await;
    assert_eq!(server.metric("inference_requests_waiting"), 4.0);
    for left in (0..5).rev() {
        server.go.send(Step::Answer).expect("the worker waits");
        server.until("request_queue_depth", f64::from(left)).await;
    }
    for client in clients {
        assert_eq!(client.await.expect("no panic"), 200);
    }
    assert_eq!(server.metric("inference_requests_waiting"), 0.0);
    assert_eq!(server.metric("inference_requests_running"), 0.0);
    assert_eq!(server.metric("request_queue_depth_peak"), 5.0);
    assert_eq!(server.metric(r#"inference_requests_total{outcome="ok"}"#), 5.0);
    assert_eq!(server.metric("inference_latency_seconds_count"), 5.0);
    assert_eq!(server.metric("inference_queue_seconds_count"), 5.0);
}

#[tokio::test]
async fn a_batch_is_what_is_waiting() {
    let server = Server::start(8, 16);
    let first = server.predict();
    server.until("inference_requests_running", 1.0).await;
    let others: Vec<_> = (0..3).map(|_| server.predict()).collect();
    server.until("inference_requests_waiting", 3.0).await;
    server.go.send(Step::Answer).expect("the worker waits");
    server.until("inference_requests_running", 3.0).await;
    server.go.send(Step::Answer).expect("the worker waits");
    for client in others.into_iter().chain([first]) {
        assert_eq!(client.await.expect("no panic"), 200);
    }
    assert_eq!(server.metric("inference_batch_size_sum"), 4.0);
    assert_eq!(server.metric("inference_batch_size_count"), 2.0);
}

#[tokio::test]
async fn a_client_that_leaves_is_not_counted_any_more() {
    let server = Server::start(1, 16);
    let (running, waiting) = (server.predict(), server.predict());
    server.until("request_queue_depth", 2.0).await;
    server.until("inference_requests_running", 1.0).await;
    waiting.abort();
    running.abort();
    server.until("request_queue_depth", 0.0).await;
    assert_eq!(server.metric(r#"inference_requests_total{outcome="cancelled"}"#), 2.0);
    server.go.send(Step::Answer).expect("the worker computes what nobody waits for");
    // What was cancelled while it waited is not computed: the next step is for the next client.
    let next = server.predict();
    server.go.send(Step::Answer).expect("the worker waits");
    assert_eq!(next.await.expect("no panic"), 200);
    assert_eq!(server.metric("inference_batch_size_count"), 2.0);
}

#[tokio::test]
async fn a_full_queue_refuses_at_once() {
    let server = Server::start(1, 1);
    let running = server.predict();
    server.until("inference_requests_running", 1.0).await;
    let waiting = server.predict();
    server.until("inference_requests_waiting", 1.0).await;
    let (code, body) = server.send("POST", "/predict", r#"{"features":[1]}"#).await;
    assert_eq!((code, body.as_str()), (503, r#"{"detail":"too many requests are waiting"}"#));
    assert_eq!(server.send("GET", "/health", "").await.0, 200);
    server.go.send(Step::Answer).expect("the worker waits");
    server.go.send(Step::Answer).expect("the worker waits");
    assert_eq!((running.await.expect("no panic"), waiting.await.expect("no panic")), (200, 200));
    assert_eq!(server.metric(r#"inference_requests_total{outcome="rejected"}"#), 1.0);
}

#[tokio::test]
async fn a_model_that_fails_is_500_and_one_that_panics_takes_the_server_out() {
    let server = Server::start(1, 16);
    let client = server.predict();
    server.go.send(Step::Fail).expect("the worker waits");
    assert_eq!(client.await.expect("no panic"), 500);
    let client = server.predict();
    server.go.send(Step::Panic).expect("the worker waits");
    assert_eq!(client.await.expect("no panic"), 503);
    server.until("model_ready", 0.0).await;
    assert_eq!(server.send("POST", "/predict", r#"{"features":[1]}"#).await.0, 503);
    assert_eq!(server.metric("request_queue_depth"), 0.0);
    assert_eq!(server.metric(r#"inference_requests_total{outcome="error"}"#), 3.0);
}

#[tokio::test]
async fn answers_and_errors_are_fastapis() {
    let server = Server::start(1, 16);
    server.go.send(Step::Answer).expect("the worker waits");
    let (code, body) = server.send("POST", "/predict", r#"{"features":[1,2,3]}"#).await;
    assert_eq!(code, 200);
    assert!(body.starts_with(r#"{"prediction":[21.0],"latency_ms":"#), "{body}");
    assert_eq!(server.metric("inference_inputs_truncated_total"), 1.0);
    for (body, expected) in [
        (r#"{"x":1}"#, r#""loc":["body","features"],"msg":"Field required","type":"missing""#),
        (
            r#"{"features":1}"#,
            r#""loc":["body","features"],"msg":"Input should be a valid list","type":"list_type""#,
        ),
        (
            r#"{"features":[1,"a"]}"#,
            r#""loc":["body","features",1],"msg":"Input should be a valid number","type":"float_type""#,
        ),
        (
            r#"{"features":[1,1e39]}"#,
            r#""loc":["body","features",1],"msg":"Input should be a finite number","type":"finite_number""#,
        ),
        ("[1]", r#""type":"model_attributes_type""#),
        ("{", r#""type":"json_invalid""#),
    ] {
        let (code, answer) = server.send("POST", "/predict", body).await;
        assert_eq!(code, 422, "{body}");
        assert!(answer.contains(expected), "{body}: {answer}");
    }
    assert_eq!(server.send("POST", "/predict", &"x".repeat(2000)).await.0, 413);
    assert_eq!(server.send("GET", "/predict", "").await.0, 405);
    assert_eq!(server.metric(r#"inference_requests_total{outcome="invalid"}"#), 7.0);
}

#[tokio::test]
async fn every_metric_is_there_from_the_first_scrape() {
    let server = Server::start(1, 16);
    let (code, text) = server.send("GET", "/metrics", "").await;
    assert_eq!(code, 200);
    for name in [
        "inference_latency_seconds_bucket{le=\"0.0001\"} 0",
        "inference_latency_seconds_count 0",
        "request_queue_depth 0",
        "gpu_utilization_percent 0",
        "inference_requests_waiting 0",
        "inference_requests_running 0",
        "inference_requests_total{outcome=\"cancelled\"} 0",
        "inference_worker_busy_seconds_total 0",
        "server_draining 0",
        "inference_queue_limit 16",
        "process_resident_memory_bytes ",
    ] {
        assert!(text.contains(&format!("\n{name}")), "{name} is not in\n{text}");
    }
    assert_eq!(server.send("GET", "/health", "").await, (200, r#"{"status":"healthy"}"#.to_owned()));
    server.served.draining.store(true, std::sync::atomic::Ordering::Release);
    assert_eq!(server.send("GET", "/health", "").await.0, 503);
}

#[test]
fn the_built_in_model_computes_what_it_should() {
    #[derive(serde::Deserialize)]
    struct Golden {
        features: Vec<f32>,
        prediction: Vec<f64>,
    }
    let golden: Vec<Golden> = serde_json::from_str(include_str!("../models/golden.json")).expect("valid");
    let mut model = OnnxLoader { path: None }.load().expect("the built-in model loads");
    assert_eq!((model.inputs(), model.outputs()), (768, 2));
    // One by one and all together.
    let rows: Vec<f32> = golden.iter().flat_map(|golden| golden.features.iter().copied()).collect();
    let together = model.infer(rows, golden.len()).expect("it computes");
    for (golden, together) in golden.iter().zip(together.chunks(2)) {
        let alone = model.infer(golden.features.clone(), 1).expect("it computes");
        for ((expected, alone), together) in golden.prediction.iter().zip(&alone).zip(together) {
            assert!((f64::from(*alone) - expected).abs() < 1e-5, "{alone} {expected}");
            assert!((f64::from(*together) - expected).abs() < 1e-5, "{together} {expected}");
        }
    }
}

#[test]
fn the_models_are_what_the_script_writes() {
    let models = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("models");
    let dir = tempfile::tempdir().expect("a folder");
    let script =
        std::process::Command::new("python3").arg(models.join("generate.py")).arg(dir.path()).status();
    let Ok(status) = script else {
        eprintln!("not run: python3, which writes the models anew, is not on this machine");
        return;
    };
    assert!(status.success());
    for name in ["linear.onnx", "demo-mlp.onnx", "golden.json"] {
        let (kept, made) = (std::fs::read(models.join(name)), std::fs::read(dir.path().join(name)));
        assert!(kept.expect("readable") == made.expect("readable"), "{name} is not what the script writes");
    }
}

#[test]
fn other_files_are_recognised() {
    let dir = tempfile::tempdir().expect("a folder");
    for (content, expected) in [
        (&b"PK\x03\x04rest"[..], "expected an ONNX file, found a zip archive, such as a PyTorch file,"),
        (b"{}", "expected an ONNX file, found JSON or safetensors"),
        (b"", "expected an ONNX file, found nothing"),
        (b"garbage garbage", "is not usable as an ONNX model"),
    ] {
        let path = dir.path().join("model");
        std::fs::write(&path, content).expect("writable");
        let error = OnnxLoader { path: Some(path) }.load().err().expect("refused");
        assert!(error.to_string().contains(expected), "{error}");
    }
}
