//! Why a request of a protocol is not answered, as `{"error": "..."}`.

use axum::http::StatusCode;
use axum::response::Response;
use serde::Serialize;

use super::body::BodyProblem;
use super::inference::Refusal;
use super::{Served, write};
use crate::telemetry::Outcome;

pub(super) enum Problem {
    /// No such model or version.
    Unknown(String),
    Body(BodyProblem),
    Invalid(String),
    Refused(Refusal),
}

impl From<BodyProblem> for Problem {
    fn from(problem: BodyProblem) -> Problem {
        Problem::Body(problem)
    }
}

impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Problem {
        Problem::Refused(refusal)
    }
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
            Problem::Body(problem) => problem.outcome(),
            Problem::Refused(refusal) => refusal.outcome(),
        }
    }

    pub(super) fn response(self, served: &Served) -> Response {
        match self {
            Problem::Unknown(text) => error(StatusCode::NOT_FOUND, text),
            Problem::Body(problem) => error(problem.status(), problem.to_string()),
            Problem::Invalid(text) => error(StatusCode::BAD_REQUEST, text),
            Problem::Refused(refusal) => {
                let mut response = error(refusal.status(served.settings.overload_status), refusal.message());
                refusal.announce(&mut response);
                response
            }
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
