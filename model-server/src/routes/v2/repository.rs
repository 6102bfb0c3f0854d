//! The model repository extension, on the admin listener alone: which models there are. The one that there is cannot be
//! exchanged: a rollout does that, with probes and a way back.

use std::sync::Arc;

use axum::Router;
use axum::extract::{Path, Request, State};
use axum::http::StatusCode;
use axum::response::Response;
use axum::routing::post;
use serde::{Deserialize, Serialize};

use super::named::Named;
use crate::readiness::NotReady;
use crate::routes::body;
use crate::routes::inference::Unserved;
use crate::routes::json::{Flag, Object, explain};
use crate::routes::problem::error;
use crate::routes::respond::write;
use crate::routes::served::Served;

pub(in crate::routes) fn router() -> Router<Arc<Served>> {
    Router::new()
        .route("/v2/repository/index", post(index))
        .route("/v2/repository/models/{model}/load", post(exchange))
        .route("/v2/repository/models/{model}/unload", post(exchange))
}

#[derive(Default, Deserialize)]
struct Question {
    /// Only models that are ready.
    ready: Option<Flag>,
}

#[derive(Serialize)]
struct Entry<'a> {
    name: &'a str,
    version: &'a str,
    state: &'static str,
    reason: &'static str,
}

async fn index(State(served): State<Arc<Served>>, request: Request) -> Response {
    let (head, body) = request.into_parts();
    let body = match body::read(&head.headers, body, &served.bodies).await {
        Ok(body) => body,
        Err(problem) => return Unserved::from(problem).response(&served, error),
    };
    let question = if body.is_empty() { Ok(Object::default()) } else { serde_json::from_slice(&body) };
    let only_ready = match question {
        Ok(Object(Question { ready })) => ready.is_some_and(|Flag(ready)| ready),
        Err(why) => {
            let why = explain(&why);
            return error(StatusCode::BAD_REQUEST, format!("expected {{\"ready\": true or false}}: {why}"));
        }
    };
    let (state, reason) = match served.life.ready() {
        Ok(()) => ("READY", ""),
        Err(why @ NotReady::Loading) => ("LOADING", why.message()),
        Err(why) => ("UNAVAILABLE", why.message()),
    };
    let identity = &served.settings.identity;
    let entry = Entry { name: &identity.model, version: &identity.version, state, reason };
    let entries: &[Entry] = if only_ready && state != "READY" { &[] } else { &[entry] };
    write(StatusCode::OK, &entries)
}

async fn exchange(State(served): State<Arc<Served>>, Path(named): Path<Named>) -> Response {
    match named.check(&served) {
        Ok(()) => error(
            StatusCode::NOT_IMPLEMENTED,
            "expected no model to be loaded or unloaded: a server serves one for life; start another server for another \
             model or version",
        ),
        Err(text) => error(StatusCode::NOT_FOUND, text),
    }
}
