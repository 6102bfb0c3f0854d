//! The Open Inference Protocol, version 2, over HTTP, as Triton and KServe speak it.
//!
//! Numbers come as JSON or, by the binary tensor extension, as they lie in memory; errors are `{"error": "..."}`.

mod describe;
mod infer;
mod named;
mod repository;
mod request;
mod response;

use std::sync::Arc;

use axum::Router;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use axum::routing::{get, post};
use serde::Serialize;

use self::named::Named;
pub(super) use self::repository::router as repository;
use super::problem::error;
use super::respond::write;
use super::served::Served;
use crate::readiness::NotReady;
use crate::tensor::{Signature, Tensor};

/// The inputs of a request to infer that is JSON, of one row where the model says how many there are.
///
/// # Errors
/// What was expected and found where it is none.
pub fn inputs_of_one_row(json: &[u8], signature: &Signature) -> Result<Vec<Option<Tensor>>, String> {
    request::parse(&HeaderMap::new(), json, signature, 1).map(|asked| asked.inputs)
}

/// Everything but the probes.
pub(super) fn router() -> Router<Arc<Served>> {
    Router::new()
        .route("/v2", get(describe::server))
        .route("/v2/", get(describe::server))
        .route("/v2/models/stats", get(describe::stats_of_all))
        .route("/v2/models/{model}", get(describe::model))
        .route("/v2/models/{model}/versions/{version}", get(describe::model))
        .route("/v2/models/{model}/config", get(describe::config))
        .route("/v2/models/{model}/versions/{version}/config", get(describe::config))
        .route("/v2/models/{model}/stats", get(describe::stats))
        .route("/v2/models/{model}/versions/{version}/stats", get(describe::stats))
        .route("/v2/models/{model}/infer", post(infer::infer))
        .route("/v2/models/{model}/versions/{version}/infer", post(infer::infer))
}

/// Live and ready.
pub(super) fn probes() -> Router<Arc<Served>> {
    Router::new()
        .route("/v2/health/live", get(live))
        .route("/v2/health/ready", get(ready))
        .route("/v2/models/{model}/ready", get(model_ready))
        .route("/v2/models/{model}/versions/{version}/ready", get(model_ready))
}

async fn live(State(served): State<Arc<Served>>) -> Response {
    #[derive(Serialize)]
    struct Live {
        live: bool,
        #[serde(skip_serializing_if = "Option::is_none")]
        reason: Option<&'static str>,
    }
    let why = served.life.live().err();
    write(status(why.is_none()), &Live { live: why.is_none(), reason: why.map(NotReady::message) })
}

async fn ready(State(served): State<Arc<Served>>) -> Response {
    // The protocol's text says `live`, KServe's client reads `ready`.
    #[derive(Serialize)]
    struct Ready {
        ready: bool,
        live: bool,
        #[serde(skip_serializing_if = "Option::is_none")]
        reason: Option<&'static str>,
    }
    let why = served.life.ready().err();
    let reason = why.map(NotReady::message);
    write(status(why.is_none()), &Ready { ready: why.is_none(), live: served.life.live().is_ok(), reason })
}

async fn model_ready(State(served): State<Arc<Served>>, Path(named): Path<Named>) -> Response {
    #[derive(Serialize)]
    struct ModelReady<'a> {
        name: &'a str,
        ready: bool,
    }
    if let Err(text) = named.check(&served) {
        return error(StatusCode::NOT_FOUND, text);
    }
    let ready = served.life.ready().is_ok();
    write(status(ready), &ModelReady { name: &named.model, ready })
}

fn status(well: bool) -> StatusCode {
    if well { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE }
}
