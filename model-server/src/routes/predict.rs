//! `POST /predict`: the tutorial's body in, its answer out, FastAPI's error bodies.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use axum::body::Bytes;
use axum::extract::State;
use axum::extract::rejection::BytesRejection;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::Response;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::Served;
use crate::queue::Refused;
use crate::telemetry::Outcome;

#[derive(Deserialize)]
struct Request {
    features: Vec<f64>,
}

/// FastAPI's body of an error.
#[derive(Serialize)]
struct Detail<T> {
    detail: T,
}

#[derive(Serialize)]
struct Prediction {
    prediction: Vec<f64>,
    latency_ms: f64,
}

pub(super) async fn predict(
    State(served): State<Arc<Served>>,
    body: Result<Bytes, BytesRejection>,
) -> Response {
    let received = Instant::now();
    let body = match body {
        Ok(body) => body,
        Err(rejection) => {
            served.telemetry.ended(Outcome::Invalid);
            return detail(rejection.status(), rejection.body_text());
        }
    };
    let Some(shape) = served.shape.get() else {
        served.telemetry.ended(Outcome::Rejected);
        return retry_later(detail(StatusCode::SERVICE_UNAVAILABLE, "model not loaded"), 1);
    };
    let mut row = match features(&body) {
        Ok(row) => row,
        Err(errors) => {
            served.telemetry.ended(Outcome::Invalid);
            return detail(StatusCode::UNPROCESSABLE_ENTITY, errors);
        }
    };
    // As the tutorial: what is missing is zero, what is too much is cut off.
    if row.len() > shape.inputs {
        served.telemetry.truncated();
    }
    row.resize(shape.inputs, 0.0);
    let (ticket, answer) = match served.queue.admit(row, received) {
        Ok(admitted) => admitted,
        Err(Refused::Full) => {
            served.telemetry.ended(Outcome::Rejected);
            return retry_later(detail(served.overload_status, "too many requests are waiting"), 1);
        }
        Err(Refused::Closed) => {
            let draining = served.draining.load(Ordering::Acquire);
            served.telemetry.ended(if draining { Outcome::Draining } else { Outcome::Error });
            let why = if draining { "the server is shutting down" } else { "no worker is left" };
            return detail(StatusCode::SERVICE_UNAVAILABLE, why);
        }
    };
    match answer.await {
        Ok(Ok(output)) => {
            let took = received.elapsed();
            let body = Prediction {
                prediction: output.into_iter().map(f64::from).collect(),
                latency_ms: (took.as_secs_f64() * 100_000.0).round() / 100.0,
            };
            let response = write(StatusCode::OK, &body);
            served.telemetry.answered(received.elapsed());
            ticket.end(Outcome::Ok);
            response
        }
        Ok(Err(error)) => {
            ticket.end(Outcome::Error);
            detail(StatusCode::INTERNAL_SERVER_ERROR, format!("the model failed: {error}"))
        }
        // The worker dropped it: it failed, or the queue was abandoned.
        Err(_) => {
            ticket.end(Outcome::Error);
            detail(StatusCode::SERVICE_UNAVAILABLE, "the worker is gone")
        }
    }
}

/// The row, or FastAPI's list of what is wrong.
fn features(body: &[u8]) -> Result<Vec<f32>, Value> {
    match serde_json::from_slice::<Request>(body) {
        Ok(request) => {
            let mut row = Vec::with_capacity(request.features.len());
            for (position, number) in request.features.into_iter().enumerate() {
                let single = number as f32;
                if !single.is_finite() {
                    return Err(json!([{
                        "type": "finite_number",
                        "loc": ["body", "features", position],
                        "msg": "Input should be a finite number",
                        "input": number,
                    }]));
                }
                row.push(single);
            }
            Ok(row)
        }
        Err(error) => Err(explain(body, &error)),
    }
}

/// Looks at a body again that is not what was expected, and says why as FastAPI does.
fn explain(body: &[u8], error: &serde_json::Error) -> Value {
    let Ok(value) = serde_json::from_slice::<Value>(body) else {
        return json!([{
            "type": "json_invalid",
            "loc": ["body", error.column()],
            "msg": "JSON decode error",
            "input": {},
            "ctx": {"error": error.to_string()},
        }]);
    };
    let Value::Object(object) = &value else {
        return json!([{
            "type": "model_attributes_type",
            "loc": ["body"],
            "msg": "Input should be a valid dictionary or object to extract fields from",
            "input": value,
        }]);
    };
    let Some(features) = object.get("features") else {
        return json!([{"type": "missing", "loc": ["body", "features"], "msg": "Field required", "input": value}]);
    };
    let Value::Array(items) = features else {
        return json!([{
            "type": "list_type",
            "loc": ["body", "features"],
            "msg": "Input should be a valid list",
            "input": features,
        }]);
    };
    let wrong: Vec<Value> = items
        .iter()
        .enumerate()
        .filter(|(_, item)| !item.is_number())
        .map(|(position, item)| {
            json!({
                "type": "float_type",
                "loc": ["body", "features", position],
                "msg": "Input should be a valid number",
                "input": item,
            })
        })
        .collect();
    Value::Array(wrong)
}

fn detail(code: StatusCode, detail: impl Serialize) -> Response {
    write(code, &Detail { detail })
}

fn retry_later(mut response: Response, seconds: u32) -> Response {
    response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
    response
}

fn write(code: StatusCode, body: &impl Serialize) -> Response {
    match serde_json::to_vec(body) {
        Ok(body) => super::json(code, body),
        Err(error) => {
            // A NaN cannot be written, and a model may compute one.
            tracing::error!(%error, "an answer could not be written");
            super::json(
                StatusCode::INTERNAL_SERVER_ERROR,
                br#"{"detail":"the answer holds no number"}"#.to_vec(),
            )
        }
    }
}
