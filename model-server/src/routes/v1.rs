//! KServe's first protocol, `POST /v1/models/{model}:predict`: what its client speaks when it is not told otherwise.
//! It asks for life at `/`.

use std::sync::Arc;

use axum::Router;
use axum::extract::{Path, Request, State};
use axum::http::StatusCode;
use axum::response::Response;
use axum::routing::get;
use serde::{Deserialize, Serialize};

use super::inference::{Received, compute, receive};
use super::problem::{Problem, error};
use super::v2::Numbers;
use super::{Served, write};
use crate::lifecycle::NotReady;

#[derive(Deserialize)]
struct Instances {
    instances: Vec<Numbers>,
}

#[derive(Serialize)]
struct Predictions<'a> {
    predictions: Vec<&'a [f32]>,
}

pub(super) fn router() -> Router<Arc<Served>> {
    Router::new().route("/", get(live)).route("/v1/models/{model}", get(ready).post(predict))
}

async fn live(State(served): State<Arc<Served>>) -> Response {
    #[derive(Serialize)]
    struct Live {
        status: &'static str,
    }
    if served.life.is_live() {
        write(StatusCode::OK, &Live { status: "alive" })
    } else {
        error(StatusCode::SERVICE_UNAVAILABLE, NotReady::Stuck.message())
    }
}

async fn ready(State(served): State<Arc<Served>>, Path(model): Path<String>) -> Response {
    #[derive(Serialize)]
    struct ModelReady<'a> {
        name: &'a str,
        ready: bool,
    }
    if let Err(problem) = check(&served, &model) {
        return problem.response(&served);
    }
    let ready = served.life.ready().is_ok();
    let code = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    write(code, &ModelReady { name: &model, ready })
}

async fn predict(
    State(served): State<Arc<Served>>,
    Path(target): Path<String>,
    request: Request,
) -> Response {
    let counted = served.telemetry.count();
    let result = answer(&served, &target, request).await;
    let (outcome, response) = Problem::settle(result, &served);
    counted.ends(outcome);
    response
}

async fn answer(served: &Served, target: &str, request: Request) -> Result<Response, Problem> {
    let Some(model) = target.strip_suffix(":predict") else {
        return Err(Problem::Unknown(format!("expected MODEL:predict, found {target:?}")));
    };
    check(served, model)?;
    let Received { body, at: received, shape, .. } =
        receive(served, request).await.map_err(Problem::Unserved)?;
    let (input, rows) =
        parse(&body, shape.input.width, served.settings.max_batch_size).map_err(Problem::Invalid)?;
    let numbers = compute(served, input, rows, None, received).await.map_err(Problem::Unserved)?;
    let predictions = numbers.chunks(shape.output.width).collect();
    let response = write(StatusCode::OK, &Predictions { predictions });
    served.telemetry.answered(received.elapsed());
    Ok(response)
}

fn check(served: &Served, model: &str) -> Result<(), Problem> {
    let known = &served.settings.identity.model;
    if model == known {
        Ok(())
    } else {
        Err(Problem::Unknown(format!("expected model {known:?}, found {model:?}")))
    }
}

/// The rows behind one another, and how many they are.
fn parse(body: &[u8], width: usize, max_rows: usize) -> Result<(Vec<f32>, usize), String> {
    let Instances { instances } =
        serde_json::from_slice(body).map_err(|error| format!("expected instances to predict: {error}"))?;
    let rows = instances.len();
    if rows == 0 || rows > max_rows {
        return Err(format!("expected 1 to {max_rows} instances, found {rows}"));
    }
    let mut input = Vec::with_capacity(rows * width);
    for (position, Numbers { numbers, .. }) in instances.into_iter().enumerate() {
        if numbers.len() != width {
            let found = numbers.len();
            return Err(format!("expected {width} numbers in instance {position}, found {found}"));
        }
        if numbers.iter().any(|number| !number.is_finite()) {
            return Err(format!("expected finite numbers in single precision in instance {position}"));
        }
        input.extend(numbers);
    }
    Ok((input, rows))
}
