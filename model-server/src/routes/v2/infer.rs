//! `POST /v2/models/{model}/infer`.

use std::sync::Arc;

use axum::extract::{Path, Request, State};
use axum::response::Response;

use super::named::Named;
use super::request::{self, Asked};
use super::response::{Answered, response};
use crate::routes::coding::Coding;
use crate::routes::inference::{Received, compute, receive};
use crate::routes::problem::Problem;
use crate::routes::served::Served;

pub(super) async fn infer(
    State(served): State<Arc<Served>>,
    Path(named): Path<Named>,
    request: Request,
) -> Response {
    let counted = served.telemetry.count();
    let result = answer(&served, &named, request).await;
    let (outcome, response) = Problem::settle(result, &served);
    counted.ends(outcome);
    response
}

async fn answer(served: &Served, named: &Named, request: Request) -> Result<Response, Problem> {
    named.check(served).map_err(Problem::Unknown)?;
    let settings = &served.settings;
    let Received { headers, body, label, at: received, signature, max_rows } =
        receive(served, request).await.map_err(Problem::Unserved)?;
    let Asked { id, inputs, rows, timeout, outputs } =
        request::parse(&headers, &body, signature, max_rows).map_err(Problem::Invalid)?;
    drop(body);
    let computed = compute(served, signature, (inputs, rows), label, timeout, received)
        .await
        .map_err(Problem::Unserved)?;
    let named = outputs.iter().filter_map(|wanted| {
        let (spec, tensor) = (signature.outputs.get(wanted.number)?, computed.get(wanted.number)?);
        Some(Answered { name: &spec.name, tensor, binary: wanted.binary })
    });
    let coding = Coding::asked(&headers);
    let response = response(&settings.identity, id.as_deref(), &named.collect::<Vec<_>>(), coding)
        .map_err(Problem::Invalid)?;
    served.telemetry.answered(received.elapsed());
    Ok(response)
}
