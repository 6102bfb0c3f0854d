//! What is answered over HTTP: the tutorial's `/predict`, `/metrics` and `/health`, the Open Inference Protocol in
//! [`v2`], and KServe's first one in [`v1`].

mod body;
mod cells;
mod coding;
mod elements;
mod excerpt;
mod features;
mod inference;
mod json;
mod observe;
mod origin;
mod plain;
mod predict;
mod problem;
mod respond;
mod served;
mod v1;
mod v2;

use std::sync::Arc;

use axum::Router;
use axum::routing::{get, post};

pub use self::served::{Served, Settings};

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
