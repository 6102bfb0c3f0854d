//! The tutorial's endpoints, and what is shown of the server's life.

use std::sync::Arc;

use axum::body::Body;
use axum::http::{Request, header};
use model_server::model::Loader as _;
use model_server::model::onnx::OnnxLoader;

use testkit::exposition::value;

use crate::support::{self, Options, Server, Step};

#[tokio::test]
async fn answers_and_errors_are_fastapis() {
    let server = Server::start(Options::default());
    server.next(Step::Answer);
    let answer = server.send("POST", "/predict", r#"{"features":[1,2,3]}"#).await;
    assert_eq!(answer.code, 200);
    assert!(answer.text().starts_with(r#"{"prediction":[21.0],"latency_ms":"#), "{}", answer.text());
    assert_eq!(server.metric("inference_inputs_truncated_total"), 1.0);
    server.next(Step::Answer);
    let answer = server.send("POST", "/predict", r#"{"features":[1]}"#).await;
    assert_eq!(answer.json()["prediction"], serde_json::json!([1.0]));
    for (body, expected) in [
        (r#"{"x":1}"#, r#""type":"missing","loc":["body","features"],"msg":"Field required""#),
        (r#"{"features":[1,null]}"#, r#""loc":["body","features",1],"msg":"Input should be a valid number""#),
        ("[1]", r#""type":"model_attributes_type""#),
        ("{", r#""type":"json_invalid""#),
    ] {
        let answer = server.send("POST", "/predict", body).await;
        assert_eq!(answer.code, 422, "{body}");
        assert!(answer.text().starts_with(r#"{"detail":[{"#), "{body}: {}", answer.text());
        assert!(answer.text().contains(expected), "{body}: {}", answer.text());
    }
    let answer = server.send("POST", "/predict", &"x".repeat(5000)).await;
    assert_eq!(
        (answer.code, answer.text()),
        (413, r#"{"detail":"expected a body of at most 4096 bytes, found more"}"#)
    );
    assert_eq!(server.send("GET", "/predict", "").await.code, 405);
    assert_eq!(server.ended("invalid"), 5.0);
    assert_eq!(server.ended("ok"), 2.0);
}

#[tokio::test]
async fn a_server_that_loads_is_live_and_not_ready() {
    let options = Options::default();
    let loading = Server::loading(options);
    let server = &loading.server;
    let answer = server.send("POST", "/predict", r#"{"features":[1]}"#).await;
    assert_eq!((answer.code, answer.header("retry-after")), (503, Some("1")));
    let health = server.send("GET", "/health", "").await;
    assert_eq!((health.code, health.text()), (503, "model not loaded"));
    let live = server.send("GET", "/v2/health/live", "").await;
    assert_eq!((live.code, live.text()), (200, r#"{"live":true}"#));
    let ready = server.send("GET", "/v2/health/ready", "").await;
    let expected = r#"{"ready":false,"live":true,"reason":"model not loaded"}"#;
    assert_eq!((ready.code, ready.text()), (503, expected));
    assert_eq!(server.send("GET", "/v2/models/m/ready", "").await.code, 503);
    assert_eq!(server.send("GET", "/v2/models/m", "").await.code, 503);
    assert_eq!(server.metric(r#"model_ready{model="m",version="3"}"#), 0.0);
    assert_eq!(server.ended("rejected"), 1.0);
    loading.load(&options);
    let health = server.send("GET", "/health", "").await;
    assert_eq!((health.code, health.text()), (200, r#"{"status":"healthy"}"#));
    assert_eq!(server.metric(r#"model_ready{model="m",version="3"}"#), 1.0);
}

#[tokio::test]
async fn a_server_that_drains_is_live_not_ready_and_serves() {
    let server = Server::start(Options::default());
    server.served.life.drain();
    assert_eq!(server.send("GET", "/health", "").await.text(), "shutting down");
    let ready = server.send("GET", "/v2/health/ready", "").await;
    let expected = r#"{"ready":false,"live":true,"reason":"shutting down"}"#;
    assert_eq!((ready.code, ready.text()), (503, expected));
    assert_eq!(server.send("GET", "/v2/health/live", "").await.code, 200);
    server.next(Step::Answer);
    assert_eq!(server.predict().await.expect("no panic"), 200);
    assert_eq!(server.metric("server_draining"), 1.0);
}

#[tokio::test]
async fn every_metric_is_there_from_the_first_scrape() {
    let loading = Server::loading(Options { workers: 2, ..Options::default() });
    let answer = loading.server.send("GET", "/metrics", "").await;
    assert_eq!(answer.code, 200);
    assert_eq!(answer.header("content-type"), Some("text/plain; version=0.0.4; charset=utf-8"));
    let text = answer.text();
    let outcomes = ["ok", "invalid", "rejected", "expired", "cancelled", "error", "draining"];
    let outcomes =
        outcomes.map(|outcome| format!(r#"inference_requests_total{{model="m",outcome="{outcome}"}}"#));
    let reasons = [
        "library_not_found",
        "symbol_not_found",
        "driver_not_loaded",
        "driver_mismatch",
        "gpu_lost",
        "not_supported",
        "no_permission",
        "no_device",
        "timeout",
        "other",
    ];
    let reasons = reasons.map(|reason| format!(r#"gpu_metrics_errors_total{{reason="{reason}"}}"#));
    let zero = [
        r#"inference_latency_seconds_bucket{le="0.0001"}"#,
        r#"inference_latency_seconds_bucket{le="10"}"#,
        "inference_latency_seconds_count",
        "request_queue_depth",
        "inference_requests_waiting",
        "inference_requests_running",
        "request_queue_depth_peak",
        r#"inference_queue_seconds_count{model="m"}"#,
        r#"inference_compute_seconds_count{model="m"}"#,
        r#"inference_batch_size_count{model="m"}"#,
        "inference_worker_busy_seconds_total",
        "inference_duty_cycle_percent",
        "inference_inputs_truncated_total",
        "inference_body_memory_bytes",
        r#"inference_bodies_refused_total{reason="no_memory"}"#,
        r#"inference_bodies_refused_bytes_total{reason="too_large"}"#,
        r#"model_failed{model="m",reason="device_lost",version="3"}"#,
        r#"model_failed{model="m",reason="failing",version="3"}"#,
        "inference_out_of_memory_total",
        "gpu_metrics_up",
        r#"model_ready{model="m",version="3"}"#,
        r#"model_load_seconds{model="m",version="3"}"#,
        r#"model_warmup_seconds{model="m",version="3"}"#,
        "server_draining",
    ];
    let zero = zero.into_iter().map(str::to_owned).chain(outcomes).chain(reasons);
    let others = [
        ("inference_workers", 2.0),
        ("inference_queue_limit", 16.0),
        ("inference_max_batch_size", 1.0),
        (r#"model_info{backend="onnx",device="cpu",model="m",version="3"}"#, 1.0),
    ];
    let others = others.map(|(series, value)| (series.to_owned(), value));
    for (series, expected) in zero.map(|series| (series, 0.0)).chain(others) {
        assert_eq!(value(text, &series), Some(expected), "{series} in\n{text}");
    }
    for family in ["process_resident_memory_bytes ", "process_cpu_seconds_total ", "build_info{version="] {
        assert!(text.contains(&format!("\n{family}")), "{family} is not in\n{text}");
    }
    // What is not known is absent until the collector says something.
    assert_eq!(value(text, "gpu_utilization_percent"), None);
    loading.server.served.telemetry.gpu().none_by_choice();
    assert_eq!(loading.server.metric("gpu_utilization_percent"), 0.0);
}

#[tokio::test]
async fn busy_time_counts_while_it_passes() {
    let server = Server::start(Options::default());
    let client = server.predict();
    server.until("inference_requests_running", 1.0).await;
    let mut last = 0.0;
    for _ in 0..3 {
        let rising = async {
            while server.metric("inference_worker_busy_seconds_total") <= last {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(testkit::wait::PATIENCE, rising)
            .await
            .expect("it rises while the model computes");
        last = server.metric("inference_worker_busy_seconds_total");
    }
    assert!(server.metric("inference_duty_cycle_percent") > 0.0);
    server.next(Step::Answer);
    assert_eq!(client.await.expect("no panic"), 200);
    server.until("inference_requests_running", 0.0).await;
    let end = server.metric("inference_worker_busy_seconds_total");
    assert!(end >= last);
}

#[tokio::test]
async fn openmetrics_is_written_when_it_is_asked_for() {
    let server = Server::start(Options::default());
    let accept = "application/openmetrics-text;version=1.0.0;q=0.5,text/plain;version=0.0.4;q=0.3,*/*;q=0.2";
    let request = Request::get("/metrics").header(header::ACCEPT, accept).body(Body::empty());
    let answer = server.ask(request.expect("valid")).await;
    let content_type = answer.header("content-type");
    assert_eq!(content_type, Some("application/openmetrics-text; version=1.0.0; charset=utf-8"));
    let text = answer.text();
    assert!(text.ends_with("\n# EOF\n"));
    assert!(text.contains("# TYPE inference_requests counter\n"));
    assert_eq!(value(text, r#"inference_requests_total{model="m",outcome="ok"}"#), Some(0.0));
    assert_eq!(value(text, r#"inference_latency_seconds_bucket{le="1.0"}"#), Some(0.0));
}

#[tokio::test]
async fn the_admin_router_observes_and_computes_nothing() {
    let mut server = Server::start(Options::default());
    server.router = model_server::routes::admin_router(Arc::clone(&server.served));
    for path in ["/metrics", "/health", "/v2/health/live", "/v2/health/ready", "/v2/models/m/ready"] {
        assert_eq!(server.send("GET", path, "").await.code, 200, "{path}");
    }
    assert_eq!(server.send("POST", "/predict", r#"{"features":[1]}"#).await.code, 404);
}

#[tokio::test]
async fn the_admin_router_lists_the_model_and_exchanges_none() {
    let options = Options::default();
    let mut loading = Server::loading(options);
    loading.server.router = model_server::routes::admin_router(Arc::clone(&loading.server.served));
    let index = async |body: &str| loading.server.send("POST", "/v2/repository/index", body).await;
    let entry = |state: &str, reason: &str| serde_json::json!([{"name": "m", "version": "3", "state": state, "reason": reason}]);
    assert_eq!(index("").await.json(), entry("LOADING", "model not loaded"));
    assert_eq!(index(r#"{"ready":true}"#).await.json(), serde_json::json!([]));
    loading.load(&options);
    assert_eq!(index(r#"{"ready":true}"#).await.json(), entry("READY", ""));
    let answer = index(r#"{"ready":1}"#).await;
    assert_eq!(answer.code, 400, "{}", answer.text());
    assert!(
        answer.text().starts_with(r#"{"error":"expected {\"ready\": true or false}: "#),
        "{}",
        answer.text()
    );
    for (path, code, expected) in [
        ("m/load", 501, "expected no model to be loaded or unloaded: a server serves one for life"),
        ("m/unload", 501, "expected no model to be loaded or unloaded: a server serves one for life"),
        ("n/load", 404, r#"expected model "m", found "n""#),
    ] {
        let answer = loading.server.send("POST", &format!("/v2/repository/models/{path}"), "{}").await;
        assert_eq!(answer.code, code, "{path}");
        assert!(answer.json()["error"].as_str().expect("text").starts_with(expected), "{}", answer.text());
    }
    loading.server.served.life.drain();
    assert_eq!(index("{}").await.json(), entry("UNAVAILABLE", "shutting down"));
    // On the listener for everybody there is none of it.
    let everybody = model_server::routes::router(Arc::clone(&loading.server.served));
    let request = Request::post("/v2/repository/index").body(Body::empty()).expect("valid");
    assert_eq!(support::ask(everybody, request).await.code, 404);
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
    for name in ["linear.onnx", "demo-mlp.onnx", "narrow-mlp.onnx"] {
        let (kept, made) = (std::fs::read(models.join(name)), std::fs::read(dir.path().join(name)));
        assert!(kept.expect("readable") == made.expect("readable"), "{name} is not what the script writes");
    }
}

#[test]
fn a_file_that_is_no_onnx_is_told() {
    let dir = tempfile::tempdir().expect("a folder");
    let path = dir.path().join("model");
    std::fs::write(&path, b"garbage garbage").expect("writable");
    let error = OnnxLoader::new(Some(path)).load().err().expect("refused");
    assert!(error.to_string().contains("is not usable as an ONNX model"), "{error}");
}

#[tokio::test]
async fn a_page_of_another_site_cannot_keep_the_model_busy() {
    let server = Server::start(Options::default());
    let ask = async |path: &str, content_type: &str| {
        let request = Request::post(path)
            .header("sec-fetch-site", "cross-site")
            .header(header::CONTENT_TYPE, content_type)
            .body(Body::from(r#"{"features":[1]}"#));
        server.ask(request.expect("valid")).await.code
    };
    for path in ["/predict", "/v1/models/m:predict", "/v2/models/m/infer"] {
        assert_eq!(ask(path, "text/plain").await, 403, "{path}");
    }
    server.next(Step::Answer);
    assert_eq!(ask("/predict", "application/json").await, 200);
    assert_eq!((server.ended("invalid"), server.ended("ok")), (3.0, 1.0));
}
