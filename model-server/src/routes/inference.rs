//! What every way to ask for a computation has in common: a request is read before it is understood, and computed
//! after.

use std::borrow::Cow;
use std::time::{Duration, Instant};

use axum::body::Body;
use axum::extract::Request;
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, StatusCode, Version, header};
use axum::response::Response;
use futures_util::future::poll_immediate;
use http_body_util::BodyExt as _;

use super::body::{self, BodyProblem, WholeBody};
use super::origin;
use super::served::Served;
use crate::bodies::NoMemory;
use crate::queue::{Ask, Failure, Refused};
use crate::telemetry::{Outcome, RefusedBody};
use crate::tensor::{BatchAxis, Signature, Tensor};
use crate::worker::Pool;

/// Why a request gets no outputs, whatever its protocol and its content.
pub(super) enum Unserved {
    Body(BodyProblem),
    Refused(Refusal),
}

impl From<BodyProblem> for Unserved {
    fn from(problem: BodyProblem) -> Unserved {
        Unserved::Body(problem)
    }
}

impl From<Refusal> for Unserved {
    fn from(refusal: Refusal) -> Unserved {
        Unserved::Refused(refusal)
    }
}

impl Unserved {
    pub(super) fn outcome(&self) -> Outcome {
        match self {
            Unserved::Body(problem) => problem.outcome(),
            Unserved::Refused(refusal) => refusal.outcome(),
        }
    }

    /// The answer, as `error` writes errors.
    pub(super) fn response(
        self,
        served: &Served,
        error: impl FnOnce(StatusCode, String) -> Response,
    ) -> Response {
        match self {
            Unserved::Body(problem) => {
                let mut response = error(problem.status(), problem.to_string());
                let headers = response.headers_mut();
                // HTTP/2 has no such header: there it is left out, and the stream ends.
                if problem.leaves_rest() {
                    headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
                }
                if problem == BodyProblem::NoMemory {
                    headers.insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
                }
                response
            }
            Unserved::Refused(refusal) => {
                let status = refusal.status(served.settings.overload_status);
                let mut response = error(status, refusal.message().into_owned());
                refusal.announce(&mut response);
                response
            }
        }
    }
}

/// Why a request that can be understood is not answered with outputs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Refusal {
    /// The model is not loaded yet.
    Loading,
    /// The queue is full; what is there is done after so long.
    Full(Duration),
    /// What waits takes all memory for inputs; it is done after so long.
    NoMemory(Duration),
    /// It cannot be computed, or not in time.
    Failed(Failure),
    /// A browser sends it for a page of another site.
    CrossSite,
}

impl Refusal {
    pub(super) fn outcome(&self) -> Outcome {
        match self {
            Refusal::Loading | Refusal::Full(_) | Refusal::NoMemory(_) => Outcome::Rejected,
            Refusal::Failed(Failure::Expired) => Outcome::Expired,
            Refusal::Failed(Failure::Draining) => Outcome::Draining,
            Refusal::Failed(
                Failure::Model
                | Failure::OutOfMemory
                | Failure::Stalled
                | Failure::NoWorker
                | Failure::DeviceLost,
            ) => Outcome::Error,
            Refusal::Failed(Failure::Invalid(_)) | Refusal::CrossSite => Outcome::Invalid,
        }
    }

    pub(super) fn status(&self, overload: StatusCode) -> StatusCode {
        match self {
            Refusal::Full(_) | Refusal::NoMemory(_) => overload,
            Refusal::Failed(Failure::Expired) => StatusCode::GATEWAY_TIMEOUT,
            Refusal::Failed(Failure::Invalid(_)) => StatusCode::BAD_REQUEST,
            Refusal::Failed(Failure::Model) => StatusCode::INTERNAL_SERVER_ERROR,
            Refusal::CrossSite => StatusCode::FORBIDDEN,
            Refusal::Loading
            | Refusal::Failed(
                Failure::OutOfMemory
                | Failure::Stalled
                | Failure::NoWorker
                | Failure::DeviceLost
                | Failure::Draining,
            ) => StatusCode::SERVICE_UNAVAILABLE,
        }
    }

    pub(super) fn message(&self) -> Cow<'static, str> {
        let text = match self {
            Refusal::Failed(Failure::Invalid(why)) => {
                return format!("the model refuses the inputs: {why}").into();
            }
            Refusal::Loading => "model not loaded",
            Refusal::Full(_) => "too many requests are waiting",
            Refusal::NoMemory(_) => "there is no memory for the request: those that are waiting take it",
            Refusal::Failed(Failure::Expired) => "the request waited longer than it may",
            Refusal::Failed(Failure::Model) => "the model failed on this request",
            Refusal::Failed(Failure::OutOfMemory) => "there is no memory to compute the request",
            Refusal::Failed(Failure::Stalled) => "the worker does not answer",
            Refusal::Failed(Failure::NoWorker) => "no worker is left",
            Refusal::Failed(Failure::DeviceLost) => "the model's device does not work any more",
            Refusal::Failed(Failure::Draining) => "the server is shutting down",
            Refusal::CrossSite => origin::REFUSED,
        };
        text.into()
    }

    /// Tells the client when to come again, where that helps.
    pub(super) fn announce(&self, response: &mut Response) {
        let seconds = match self {
            Refusal::Loading => 1,
            Refusal::Full(time) | Refusal::NoMemory(time) => {
                let whole = time.as_secs() + u64::from(time.subsec_nanos() > 0);
                whole.clamp(1, LONGEST_RETRY.as_secs())
            }
            Refusal::Failed(_) | Refusal::CrossSite => return,
        };
        response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
    }
}

/// Nothing learned from a few slow requests should keep clients away for longer.
const LONGEST_RETRY: Duration = Duration::from_mins(2);

/// A request that came whole and would find room: worth parsing.
pub(super) struct Received<'a> {
    pub(super) headers: HeaderMap,
    /// To be dropped before the request waits.
    pub(super) body: WholeBody<'a>,
    /// What its client calls the request, for the log.
    pub(super) label: Option<Box<str>>,
    /// When the body was there: what is waited for counts from here on.
    pub(super) at: Instant,
    /// What the model takes and gives.
    pub(super) signature: &'a Signature,
    /// Rows of a request at most.
    pub(super) max_rows: usize,
}

/// Reads a request, if it would find room.
///
/// # Errors
/// There is no body, or no room.
pub(super) async fn receive(served: &Served, request: Request) -> Result<Received<'_>, Unserved> {
    let (Parts { headers, version, .. }, body) = request.into_parts();
    let pool = match admits(served, &headers) {
        Ok(pool) => pool,
        Err(refusal) => {
            if version <= Version::HTTP_11 {
                discard(&headers, body, served.bodies.limits().bytes).await;
            }
            return Err(refusal.into());
        }
    };
    let body = body::read(&headers, body, &served.bodies).await?;
    let (signature, max_rows) = (pool.signature(), pool.max_batch_size());
    let label = label(&headers);
    Ok(Received { headers, body, label, at: Instant::now(), signature, max_rows })
}

/// The request's id, or that of the trace that it belongs to, as far as a line of the log should be long.
fn label(headers: &HeaderMap) -> Option<Box<str>> {
    let value = headers.get("x-request-id").or_else(|| headers.get("traceparent"))?;
    let text = value.to_str().ok()?;
    Some(text[..text.floor_char_boundary(LONGEST_LABEL)].into())
}

/// A UUID, or a trace with its span.
const LONGEST_LABEL: usize = 64;

/// Whether a request would be computed, as far as that is known before its body is read.
fn admits<'a>(served: &'a Served, headers: &HeaderMap) -> Result<&'a Pool, Refusal> {
    if origin::is_cross_site(headers) {
        return Err(Refusal::CrossSite);
    }
    let pool = served.life.pool().ok_or(Refusal::Loading)?;
    served.queue.has_room().map_err(|refused| refusal(served, refused))?;
    Ok(pool)
}

/// Lets the body of a refused request arrive and keeps nothing of it: over HTTP/1 a client that is still sending
/// would find its connection closed, and perhaps no answer. What the client does not send within a moment is not
/// waited for.
async fn discard(headers: &HeaderMap, mut body: Body, most: usize) {
    let mut left = most;
    loop {
        match poll_immediate(body.frame()).await {
            Some(Some(Ok(frame))) => {
                left = left.saturating_sub(frame.data_ref().map_or(0, bytes::Bytes::len));
            }
            Some(None | Some(Err(_))) => return,
            None => break,
        }
    }
    // Who expects to be told to go on has not sent anything.
    let expects = headers.contains_key(header::EXPECT);
    if expects || body::announced(headers).is_some_and(|length| length > left as u64) {
        return;
    }
    tokio::spawn(tokio::time::timeout(DISCARDED_FOR, async move {
        while let Some(Ok(frame)) = body.frame().await {
            let length = frame.data_ref().map_or(0, bytes::Bytes::len);
            let Some(rest) = left.checked_sub(length) else { return };
            left = rest;
        }
    }));
}

/// How long the rest of a refused request's body may take to arrive.
const DISCARDED_FOR: Duration = Duration::from_secs(5);

/// Computes a request of `rows` rows, however many others compute at the same time; `timeout` is what the client
/// asked for. The result has a tensor for each output of the model.
pub(super) async fn compute(
    served: &Served,
    signature: &Signature,
    (inputs, rows): (Vec<Option<Tensor>>, usize),
    label: Option<Box<str>>,
    timeout: Option<Duration>,
    received: Instant,
) -> Result<Vec<Tensor>, Unserved> {
    let deadline = served.settings.timeouts.of(timeout).map(|time| received + time);
    // A client that leaves does not free it: its request stays where it is until somebody takes it.
    let bytes = inputs.iter().flatten().map(|input| input.data().len()).sum();
    let memory = served.bodies.input(bytes).map_err(|NoMemory| {
        served.telemetry.bodies().refused(RefusedBody::NoMemory, bytes as u64);
        Refusal::NoMemory(served.telemetry.time_to_empty(Instant::now()))
    })?;
    // Where a model looks at all rows together, as to scale them, one that is not finite would spoil the others.
    let odd = inputs.iter().flatten().any(|input| input.first_odd().is_some());
    // Rows of others would be computed with its constants.
    let own = signature.inputs.iter().zip(&inputs).any(|(spec, input)| spec.optional && input.is_some());
    let alone = odd || own || signature.batch != BatchAxis::Dynamic;
    let ticket = served
        .queue
        .admit(Ask { inputs, rows, alone, label, deadline, memory }, received)
        .map_err(|refused| refusal(served, refused))?;
    // Requests that came together are computed together: whose turn it is first would else be computed alone.
    tokio::task::yield_now().await;
    if ticket.waits()
        && let Some(pool) = served.life.pool()
    {
        pool.serve(&served.queue);
    }
    Ok(ticket.wait().await.map_err(Refusal::Failed)?)
}

fn refusal(served: &Served, refused: Refused) -> Refusal {
    match refused {
        Refused::Full => Refusal::Full(served.telemetry.time_to_empty(Instant::now())),
        Refused::Closed(why) => Refusal::Failed(why),
    }
}

#[cfg(test)]
mod tests {
    use axum::response::IntoResponse as _;

    use super::*;

    #[test]
    fn when_to_come_again_is_whole_seconds_rounded_up_and_not_too_long() {
        for (millis, expected) in
            [(0, "1"), (1, "1"), (1000, "1"), (1001, "2"), (59_500, "60"), (86_400_000, "120")]
        {
            let mut response = ().into_response();
            Refusal::Full(Duration::from_millis(millis)).announce(&mut response);
            assert_eq!(response.headers()[header::RETRY_AFTER], expected);
        }
        let mut response = ().into_response();
        Refusal::Failed(Failure::Model).announce(&mut response);
        assert!(!response.headers().contains_key(header::RETRY_AFTER));
    }
}
