//! `/metrics` and `/health`.

use std::sync::Arc;

use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};

use super::respond::write_bytes;
use super::served::Served;
use crate::telemetry::Format;

pub(super) async fn metrics(State(served): State<Arc<Served>>, headers: HeaderMap) -> Response {
    let accept = headers.get(header::ACCEPT).and_then(|accept| accept.to_str().ok());
    let format = Format::of(accept);
    ([(header::CONTENT_TYPE, format.content_type())], served.telemetry.text(format)).into_response()
}

/// The tutorial's probe, which it uses for readiness and liveness.
pub(super) async fn health(State(served): State<Arc<Served>>) -> Response {
    match served.life.ready() {
        Ok(()) => write_bytes(StatusCode::OK, br#"{"status":"healthy"}"#.to_vec()),
        Err(why) => (StatusCode::SERVICE_UNAVAILABLE, why.message()).into_response(),
    }
}
