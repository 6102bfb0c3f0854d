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
use axum::http::{Method, StatusCode, Uri};
use axum::response::Response;
use axum::routing::{get, post};

use self::excerpt::Excerpt;
use self::problem::error;
pub use self::served::{Served, Settings};
pub use self::v2::inputs_of_one_row;

/// All endpoints.
pub fn router(served: Arc<Served>) -> Router {
    let inference =
        Router::new().route("/predict", post(predict::predict)).merge(v1::router()).merge(v2::router());
    inference
        .merge(observing())
        .fallback(unknown_path)
        .method_not_allowed_fallback(unknown_method)
        .with_state(served)
}

/// Metrics, probes, and the list of models.
pub fn admin_router(served: Arc<Served>) -> Router {
    observing()
        .merge(v2::repository())
        .fallback(unknown_path)
        .method_not_allowed_fallback(unknown_method)
        .with_state(served)
}

/// Clients show the body of an error to their users.
async fn unknown_path(uri: Uri) -> Response {
    error(StatusCode::NOT_FOUND, format!("expected a path of this server, found {}", Excerpt(uri.path())))
}

async fn unknown_method(method: Method, uri: Uri) -> Response {
    let (method, path) = (Excerpt(method.as_str()), Excerpt(uri.path()));
    error(StatusCode::METHOD_NOT_ALLOWED, format!("expected another method for {path}, found {method}"))
}

fn observing() -> Router<Arc<Served>> {
    Router::new()
        .route("/metrics", get(observe::metrics))
        .route("/health", get(observe::health))
        .merge(v2::probes())
}
