//! KServe's first protocol, `POST /v1/models/{model}:predict`: what its client speaks when it is not told otherwise.
//! It asks for life at `/`.

use std::fmt;
use std::sync::Arc;

use axum::Router;
use axum::extract::{Path, Request, State};
use axum::http::StatusCode;
use axum::response::Response;
use axum::routing::get;
use serde::Serialize;
use serde::de::{self, DeserializeSeed, Deserializer, IgnoredAny, SeqAccess, Visitor};

use super::cells::Cells;
use super::elements::Elements;
use super::excerpt::Excerpt;
use super::inference::{Received, compute, receive};
use super::json::{explain, not_a_string};
use super::plain;
use super::problem::{Problem, error};
use super::respond::write;
use super::served::Served;
use crate::tensor::{DataType, Tensor};

#[derive(Serialize)]
struct Predictions<'a> {
    predictions: Cells<'a>,
}

pub(super) fn router() -> Router<Arc<Served>> {
    Router::new()
        .route("/", get(live))
        .route("/v1/models", get(list))
        .route("/v1/models/{model}", get(ready).post(predict))
}

async fn live(State(served): State<Arc<Served>>) -> Response {
    #[derive(Serialize)]
    struct Live {
        status: &'static str,
    }
    match served.life.live() {
        Ok(()) => write(StatusCode::OK, &Live { status: "alive" }),
        Err(why) => error(StatusCode::SERVICE_UNAVAILABLE, why.message()),
    }
}

async fn list(State(served): State<Arc<Served>>) -> Response {
    #[derive(Serialize)]
    struct Models<'a> {
        models: [&'a str; 1],
    }
    write(StatusCode::OK, &Models { models: [&served.settings.identity.model] })
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
        return Err(Problem::Unknown(format!("expected MODEL:predict, found {}", Excerpt(target))));
    };
    check(served, model)?;
    let Received { body, label, at: received, signature, max_rows, .. } =
        receive(served, request).await.map_err(Problem::Unserved)?;
    let width = plain::row_width(served, signature, "/v1").map_err(Problem::Invalid)?;
    let (input, rows) = parse(&body, width, max_rows).map_err(Problem::Invalid)?;
    drop(body);
    let input = vec![Some(input)];
    let outputs =
        compute(served, signature, (input, rows), label, None, received).await.map_err(Problem::Unserved)?;
    let predictions = Cells::nested(plain::only(&outputs).map_err(Problem::Invalid)?);
    let response = write(StatusCode::OK, &Predictions { predictions });
    served.telemetry.answered(received.elapsed());
    Ok(response)
}

fn check(served: &Served, model: &str) -> Result<(), Problem> {
    let known = &served.settings.identity.model;
    if model == known {
        Ok(())
    } else {
        Err(Problem::Unknown(format!("expected model {known:?}, found {}", Excerpt(model))))
    }
}

/// The rows, and how many they are.
fn parse(body: &[u8], width: usize, max_rows: usize) -> Result<(Tensor, usize), String> {
    let mut json = serde_json::Deserializer::from_slice(body);
    let Instances { data, rows, problem } = BodySeed { width, max_rows }
        .deserialize(&mut json)
        .and_then(|instances| json.end().map(|()| instances))
        .map_err(|error| format!("expected instances to predict: {}", explain(&error)))?;
    if rows == 0 || rows > max_rows {
        return Err(format!("expected 1 to {max_rows} instances, found {rows}"));
    }
    if let Some(problem) = problem {
        return Err(problem);
    }
    let tensor = Tensor::new(DataType::Fp32, vec![rows, width], data).map_err(|error| error.to_string())?;
    Ok((tensor, rows))
}

/// The instances of a body, as far as they are what the model takes.
struct Instances {
    /// As they lie in memory.
    data: Vec<u8>,
    /// How many there are, those that are not kept included.
    rows: usize,
    /// What is wrong with the first one that is wrong; nothing is kept from there on.
    problem: Option<String>,
}

/// Reads `{"instances": [...]}`, and keeps no more than the model takes.
#[derive(Clone, Copy)]
struct BodySeed {
    width: usize,
    max_rows: usize,
}

impl<'de> DeserializeSeed<'de> for BodySeed {
    type Value = Instances;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Instances, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for BodySeed {
    type Value = Instances;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: de::MapAccess<'de>>(self, mut map: A) -> Result<Instances, A::Error> {
        let mut instances = None;
        while let Some(key) = map.next_key::<Key>()? {
            match key {
                Key::Other => drop(map.next_value::<IgnoredAny>()?),
                Key::Instances if instances.is_some() => return Err(de::Error::duplicate_field("instances")),
                Key::Instances => instances = Some(map.next_value_seed(ListSeed(self))?),
            }
        }
        instances.ok_or_else(|| de::Error::missing_field("instances"))
    }

    fn visit_str<E: de::Error>(self, _text: &str) -> Result<Instances, E> {
        Err(not_a_string(&self))
    }
}

struct ListSeed(BodySeed);

impl<'de> DeserializeSeed<'de> for ListSeed {
    type Value = Instances;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Instances, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for ListSeed {
    type Value = Instances;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of instances")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Instances, A::Error> {
        let ListSeed(BodySeed { width, max_rows }) = self;
        let mut instances = Instances { data: Vec::new(), rows: 0, problem: None };
        while instances.rows < max_rows && instances.problem.is_none() {
            let mut elements = Elements::new(DataType::Fp32, width);
            if list.next_element_seed(&mut elements)?.is_none() {
                return Ok(instances);
            }
            let Elements { data, count, problem, .. } = elements;
            let row = instances.rows;
            if let Some(problem) = problem {
                instances.problem = Some(problem.of(format_args!("instance {row}")));
            } else if count != width {
                instances.problem =
                    Some(format!("expected {width} numbers in instance {row}, found {count}"));
            }
            instances.data.extend(data);
            instances.rows += 1;
        }
        while list.next_element::<IgnoredAny>()?.is_some() {
            instances.rows += 1;
        }
        Ok(instances)
    }

    fn visit_str<E: de::Error>(self, _text: &str) -> Result<Instances, E> {
        Err(not_a_string(&self))
    }
}

#[derive(serde::Deserialize)]
#[serde(field_identifier, rename_all = "lowercase")]
enum Key {
    Instances,
    #[serde(other)]
    Other,
}
