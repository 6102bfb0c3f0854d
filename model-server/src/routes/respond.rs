//! JSON responses.

use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;

pub(in crate::routes) fn write(code: StatusCode, body: &impl Serialize) -> Response {
    // Numbers, strings, lists and structures of them can always be written.
    write_bytes(code, serde_json::to_vec(body).unwrap_or_default())
}

pub(super) fn write_bytes(code: StatusCode, body: Vec<u8>) -> Response {
    (code, [(header::CONTENT_TYPE, "application/json")], body).into_response()
}
