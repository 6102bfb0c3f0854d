//! The tutorial's endpoints: `/predict`, `/metrics`, `/health`.

mod predict;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use axum::Router;
use axum::extract::{DefaultBodyLimit, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};

use crate::queue::Queue;
use crate::telemetry::Telemetry;
use crate::worker::Shape;

/// What the handlers share.
pub struct Served {
    /// Where requests wait.
    pub queue: Arc<Queue>,
    /// The metrics.
    pub telemetry: Arc<Telemetry>,
    /// Set once the model is loaded and warm.
    pub shape: OnceLock<Shape>,
    /// The server is ending.
    pub draining: AtomicBool,
    /// What a full queue is answered with: 503 or 429.
    pub overload_status: StatusCode,
}

/// The endpoints.
pub fn router(served: Arc<Served>, max_body_bytes: usize) -> Router {
    Router::new()
        .route("/predict", post(predict::predict))
        .route("/metrics", get(metrics))
        .route("/health", get(health))
        .layer(DefaultBodyLimit::max(max_body_bytes))
        .layer(middleware::from_fn_with_state(Arc::clone(&served), close_when_draining))
        .with_state(served)
}

async fn metrics(State(served): State<Arc<Served>>) -> Response {
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], served.telemetry.text())
        .into_response()
}

async fn health(State(served): State<Arc<Served>>) -> Response {
    if served.draining.load(Ordering::Acquire) {
        return (StatusCode::SERVICE_UNAVAILABLE, "shutting down").into_response();
    }
    if served.shape.get().is_none() {
        return (StatusCode::SERVICE_UNAVAILABLE, "model not loaded").into_response();
    }
    json(StatusCode::OK, br#"{"status":"healthy"}"#.to_vec())
}

/// Keep-alive connections would keep feeding a server that ends.
async fn close_when_draining(
    State(served): State<Arc<Served>>,
    request: axum::extract::Request,
    next: Next,
) -> Response {
    let mut response = next.run(request).await;
    if served.draining.load(Ordering::Acquire) {
        response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    response
}

fn json(code: StatusCode, body: Vec<u8>) -> Response {
    (code, [(header::CONTENT_TYPE, "application/json")], body).into_response()
}
