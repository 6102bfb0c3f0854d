//! `POST /predict`: the tutorial's body in, its answer out, FastAPI's error bodies.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::Response;
use serde::Serialize;

use super::cells::Cells;
use super::features::{self, Faults};
use super::inference::{Received, Unserved, compute, receive};
use super::plain;
use super::respond::write;
use super::served::Served;
use crate::telemetry::Outcome;

/// FastAPI's body of an error.
#[derive(Serialize)]
struct Detail<T> {
    detail: T,
}

#[derive(Serialize)]
struct Prediction<'a> {
    prediction: Cells<'a>,
    latency_ms: f64,
}

enum Problem {
    /// The model takes or gives something else than the tutorial's does.
    OtherModel(String),
    Invalid(Faults),
    Unserved(Unserved),
}

impl From<Unserved> for Problem {
    fn from(why: Unserved) -> Problem {
        Problem::Unserved(why)
    }
}

pub(super) async fn predict(State(served): State<Arc<Served>>, request: Request) -> Response {
    let counted = served.telemetry.count();
    let (outcome, response) = match answer(&served, request).await {
        Ok(response) => (Outcome::Ok, response),
        Err(Problem::OtherModel(text)) => (Outcome::Invalid, detail(StatusCode::BAD_REQUEST, text)),
        Err(Problem::Invalid(faults)) => (Outcome::Invalid, detail(StatusCode::UNPROCESSABLE_ENTITY, faults)),
        Err(Problem::Unserved(why)) => (why.outcome(), why.response(&served, detail)),
    };
    counted.ends(outcome);
    response
}

async fn answer(served: &Served, request: Request) -> Result<Response, Problem> {
    let Received { body, label, at: received, signature, .. } = receive(served, request).await?;
    let width = plain::row_width(served, signature, "/predict").map_err(Problem::OtherModel)?;
    let mut row = features::parse(&body, width).map_err(Problem::Invalid)?;
    drop(body);
    // As the tutorial: what is missing is zero, what is too much is cut off.
    if row.count > width {
        served.telemetry.truncated();
    }
    row.numbers.resize(width, 0.0);
    let input = plain::rows(&row.numbers, 1, width);
    let outputs = compute(served, signature, (input, 1), label, None, received).await?;
    let took = received.elapsed();
    let prediction = Prediction {
        // As Python writes them: in double precision.
        prediction: Cells::in_double(plain::only(&outputs).map_err(Problem::OtherModel)?),
        latency_ms: (took.as_secs_f64() * 100_000.0).round() / 100.0,
    };
    let response = write(StatusCode::OK, &prediction);
    served.telemetry.answered(received.elapsed());
    Ok(response)
}

fn detail(code: StatusCode, detail: impl Serialize) -> Response {
    write(code, &Detail { detail })
}
