//! What is answered over HTTP: the tutorial's `/predict`, `/metrics` and `/health`, the Open Inference Protocol in
//! [`v2`], and KServe's first one in [`v1`].

mod body;
mod coding;
mod excerpt;
mod features;
mod inference;
mod json;
mod observe;
mod origin;
mod predict;
mod problem;
mod v1;
mod v2;

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use serde::Serialize;

use crate::bodies::BodyBudget;
use crate::config::Timeouts;
use crate::lifecycle::Lifecycle;
use crate::queue::Queue;
use crate::telemetry::{Identity, Telemetry};

/// What the handlers share.
pub struct Served {
    /// Where requests wait.
    pub queue: Arc<Queue>,
    /// The metrics.
    pub telemetry: Arc<Telemetry>,
    /// Where the server is in its life.
    pub life: Lifecycle,
    /// What bodies may take.
    pub bodies: Arc<BodyBudget>,
    /// What it is told to do.
    pub settings: Settings,
}

/// What the handlers are told to do.
#[derive(Debug, Clone)]
pub struct Settings {
    /// What is served.
    pub identity: Identity,
    /// Threads that compute.
    pub workers: usize,
    /// Rows of one execution, and so of one request, at most.
    pub max_batch_size: usize,
    /// How long a request may wait for others to fill its batch.
    pub max_batch_delay: Duration,
    /// What a request is answered with that finds the queue full: 503 or 429.
    pub overload_status: StatusCode,
    /// How long requests may wait for their execution.
    pub timeouts: Timeouts,
}

/// All endpoints.
pub fn router(served: Arc<Served>) -> Router {
    let inference =
        Router::new().route("/predict", post(predict::predict)).merge(v1::router()).merge(v2::router());
    inference.merge(observing()).with_state(served)
}

/// Metrics, probes, and the list of models.
pub fn admin_router(served: Arc<Served>) -> Router {
    observing().merge(v2::repository()).with_state(served)
}

fn observing() -> Router<Arc<Served>> {
    Router::new()
        .route("/metrics", get(observe::metrics))
        .route("/health", get(observe::health))
        .merge(v2::probes())
}

fn write(code: StatusCode, body: &impl Serialize) -> Response {
    // Numbers, strings, lists and structures of them can always be written.
    write_bytes(code, serde_json::to_vec(body).unwrap_or_default())
}

fn write_bytes(code: StatusCode, body: Vec<u8>) -> Response {
    (code, [(header::CONTENT_TYPE, "application/json")], body).into_response()
}
