//! Why a request of a protocol is not answered, as `{"error": "..."}`.

use axum::http::StatusCode;
use axum::response::Response;
use serde::Serialize;

use super::inference::Unserved;
use super::respond::write;
use super::served::Served;
use crate::telemetry::Outcome;

pub(super) enum Problem {
    /// No such model or version.
    Unknown(String),
    Invalid(String),
    Unserved(Unserved),
}

impl Problem {
    /// How a request ends, and its answer.
    pub(super) fn settle(result: Result<Response, Problem>, served: &Served) -> (Outcome, Response) {
        match result {
            Ok(response) => (Outcome::Ok, response),
            Err(problem) => (problem.outcome(), problem.response(served)),
        }
    }

    fn outcome(&self) -> Outcome {
        match self {
            Problem::Unknown(_) | Problem::Invalid(_) => Outcome::Invalid,
            Problem::Unserved(why) => why.outcome(),
        }
    }

    pub(super) fn response(self, served: &Served) -> Response {
        match self {
            Problem::Unknown(text) => error(StatusCode::NOT_FOUND, text),
            Problem::Invalid(text) => error(StatusCode::BAD_REQUEST, text),
            Problem::Unserved(why) => why.response(served, error),
        }
    }
}

pub(super) fn error(code: StatusCode, text: impl Into<String>) -> Response {
    #[derive(Serialize)]
    struct Body {
        error: String,
    }
    write(code, &Body { error: text.into() })
}
