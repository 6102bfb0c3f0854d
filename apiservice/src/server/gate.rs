//! The gate in front of every path: how long may it take, who is asking, is there room, may they.

use std::any::Any;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant, SystemTime};

use axum::body::Body;
use axum::extract::{Request, State};
use bytes::Bytes;
use futures_util::FutureExt as _;
use http::request::Parts;
use http::{HeaderValue, Response, Version, header};
use http_body_util::BodyExt as _;
use hyper::body::Body as _;
use serve::{Caller, LastAnswer, Trust, error_chain};

use super::holding::Unsent;
use super::observe::{Authentication, Exchange, Kind, Observer};
use super::request::{AUDIT_ID, IncomingRequest};
use super::routes::Routes;
use super::routes::apis::{ApisRequest, MadeForOne};
use crate::accept::{CertificateExpiry, Peer};
use crate::audit::{Audit, AuditTrail, Outcome};
use crate::authn::{ANONYMOUS, Credential, PeerCertificates, Union, User};
use crate::authz::{AuthzError, Chain, MASTERS};
use crate::encode::gzip;
use crate::go_duration;
use crate::health::Endpoint;
use crate::negotiate::Accept;
use crate::query::QueryParameters;
use crate::respond;
use crate::status::{ApiError, Class};

pub(super) struct Gate {
    routes: Routes,
    pub(super) authentication: Union,
    authorization: Chain,
    limits: RequestLimits,
    observer: Arc<dyn Observer>,
    audit: Option<Arc<Audit>>,
    reading: AtomicUsize,
    mutating: AtomicUsize,
    unsent: Unsent,
}

/// Limits on requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RequestLimits {
    /// Longest time for an answer; `?timeout=` can only shorten it.
    pub timeout: Duration,
    /// Maximum number of concurrent read requests; more are refused with 429, except from `system:masters` and for
    /// health.
    pub in_flight: usize,
    /// The same for all other requests. None of them is served: they are refused without being in the way of others.
    pub mutating_in_flight: usize,
}

impl Default for RequestLimits {
    /// Upstream's limits (`docs/contract.md#limits`).
    fn default() -> RequestLimits {
        RequestLimits { timeout: Duration::from_mins(1), in_flight: 400, mutating_in_flight: 200 }
    }
}

pub(super) async fn enter(State(gate): State<Arc<Gate>>, request: Request) -> Response<Body> {
    let (parts, body) = request.into_parts();
    let received = IncomingRequest::new(parts);
    let accept = Accept::of(&received.parts, &received.query);
    let mut trail = AuditTrail::new(&received, gate.audit.as_deref());
    let result = gate.answer(&received, &accept, &mut trail).await;
    let result = match result {
        Ok(mut response) => {
            let made_for_one = response.extensions_mut().remove::<MadeForOne>().is_some();
            let response = gzip::compress(&received.parts.headers, response).await;
            if made_for_one { gate.unsent.admit(response) } else { Ok(response) }
        }
        Err(error) => Err(error),
    };
    let (mut response, error) = match result {
        Ok(response) => (response, None),
        Err(error) => (respond::error(&error, accept.error_form()), Some(error)),
    };
    let code = response.status().as_u16();
    let headers = response.headers_mut();
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-cache, private"));
    if let Ok(audit_id) = HeaderValue::from_str(&received.audit_id) {
        headers.insert(AUDIT_ID, audit_id);
    }
    if trail.user.as_ref().map_or(code == 401, |user| user.name == ANONYMOUS) {
        response.extensions_mut().insert(LastAnswer);
    }
    trail.finish(Outcome { code, error: error.as_ref() });
    let resource = received.attributes.resource.as_ref();
    gate.observer.answered(&Exchange {
        attributes: &received.attributes,
        served: resource.is_some_and(|of| gate.routes.discovery.load().group(&of.group).is_some()),
        code,
        took: received.started.elapsed(),
    });
    log(&received, code);
    let unread = discard(received.parts.version, &received.parts, body).await;
    if unread {
        response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    gzip::into_sent(response)
}

/// One line for a request, with the names that kube-apiserver's own log has for them. Whether it is written is decided
/// by the level of this target.
fn log(received: &IncomingRequest, code: u16) {
    tracing::info!(
        target: "apiservice::requests",
        verb = %received.attributes.verb.to_uppercase(),
        URI = received.uri(),
        latency = ?received.started.elapsed(),
        userAgent = received.user_agent(),
        "audit-ID" = received.audit_id,
        srcIP = received.peer().map(tracing::field::display),
        resp = code,
        "HTTP"
    );
}

/// Reads an unexpected body, so that the next request of an HTTP/1.1 connection can be told from it; says
/// whether there is more of it than that is worth. HTTP/2 needs none of this.
async fn discard(version: Version, parts: &Parts, body: Body) -> bool {
    if version == Version::HTTP_2 || body.is_end_stream() {
        return false;
    }
    if parts.headers.contains_key(header::EXPECT) {
        // The client waits for a word before it sends the body, and the answer is that word.
        return true;
    }
    let read = async {
        let mut body = body;
        let mut left = LARGEST_DISCARDED;
        while let Some(Ok(frame)) = body.frame().await {
            let bytes = frame.data_ref().map_or(0, Bytes::len);
            if bytes > left {
                return true;
            }
            left -= bytes;
        }
        false
    };
    tokio::time::timeout(LONGEST_DISCARDING, read).await.unwrap_or(true)
}

impl Gate {
    pub(super) fn new(
        routes: Routes,
        authentication: Union,
        authorization: Chain,
        limits: RequestLimits,
        observer: Arc<dyn Observer>,
        audit: Option<Arc<Audit>>,
    ) -> Gate {
        Gate {
            routes,
            authentication,
            authorization,
            limits,
            observer,
            audit,
            reading: AtomicUsize::new(0),
            mutating: AtomicUsize::new(0),
            unsent: Unsent::new(),
        }
    }

    /// Whatever happens on the way, there is an answer, and it comes in time.
    async fn answer(
        &self,
        received: &IncomingRequest,
        accept: &Accept<'_>,
        trail: &mut AuditTrail<'_>,
    ) -> Result<Response<Bytes>, ApiError> {
        let deadline = received.started + self.timeout(&received.query)?;
        let passing = AssertUnwindSafe(self.pass(received, accept, deadline, &mut *trail)).catch_unwind();
        match tokio::time::timeout_at(deadline.into(), passing).await {
            Ok(Ok(result)) => result,
            Ok(Err(panic)) => {
                trail.panicked = true;
                let panic = panic_text(&*panic);
                tracing::error!(panic, path = received.path(), "request handler panicked");
                Err(ApiError::internal("this server failed on the request; its log has the details"))
            }
            Err(_) => Err(ApiError::timeout("request did not complete within the allotted timeout")),
        }
    }

    async fn pass(
        &self,
        received: &IncomingRequest,
        accept: &Accept<'_>,
        deadline: Instant,
        trail: &mut AuditTrail<'_>,
    ) -> Result<Response<Bytes>, ApiError> {
        let IncomingRequest { parts, query, attributes, .. } = received;
        let user = self.user(parts).await?;
        trail.authenticated(user.clone());
        let user = &user;
        refuse_impersonation(parts)?;
        let segments = received.segments.clone()?;
        let _room = self.room(user, received)?;
        let decision = self.authorization.authorize(user, attributes).await;
        self.observer.authorized(decision.as_ref().ok());
        let decision = decision.map_err(|error| match error {
            AuthzError::Busy => {
                tracing::debug!(path = %attributes.path, "cannot authorize the request: too many access reviews");
                ApiError::too_many_requests()
            }
            failed => {
                tracing::error!(error = %failed, path = %attributes.path, "cannot authorize the request");
                ApiError::internal(format!("unable to authorize the request: {failed}"))
            }
        })?;
        let allowed = decision.enforce(user, attributes);
        trail.decision = Some(decision);
        allowed?;
        let path = received.path();
        if path == "/apis" || path.starts_with("/apis/") {
            let user = user.clone();
            let request = ApisRequest { parts, query, accept, segments, attributes, user, deadline };
            return self.routes.apis(request).await;
        }
        self.routes.other(parts, query, accept).await
    }

    fn timeout(&self, query: &QueryParameters) -> Result<Duration, ApiError> {
        let longest = self.limits.timeout;
        let Some(text) = query.first("timeout").filter(|text| !text.is_empty()) else { return Ok(longest) };
        let asked = go_duration::parse_signed(text).map_err(|error| {
            ApiError::bad_request(format!("invalid timeout specified in the request URL - {error}"))
        })?;
        // Zero, negative and longer than allowed all mean the longest, as upstream.
        Ok(u64::try_from(asked)
            .ok()
            .map(Duration::from_nanos)
            .filter(|asked| !asked.is_zero() && *asked < longest)
            .unwrap_or(longest))
    }

    async fn user(&self, parts: &Parts) -> Result<User, ApiError> {
        let none = PeerCertificates::default();
        let peer = parts.extensions.get::<PeerCertificates>().unwrap_or(&none);
        let authenticated = self.authentication.user(parts, peer).await;
        let outcome = if authenticated.is_ok() { Authentication::Success } else { Authentication::Error };
        let expires = parts.extensions.get::<CertificateExpiry>();
        let left =
            expires.map(|CertificateExpiry(end)| end.duration_since(SystemTime::now()).unwrap_or_default());
        self.observer.authenticated(outcome, left);
        let user = authenticated.map_err(|error| {
            tracing::debug!(error = %error_chain(&error), path = parts.uri.path(), "authentication failed");
            if error.is_busy() { ApiError::too_many_requests() } else { ApiError::unauthorized() }
        })?;
        if user.name != ANONYMOUS
            && let Some(caller) = parts.extensions.get::<Arc<Caller<Peer>>>()
        {
            caller.verified(match user.credential {
                Credential::Certificate => Trust::Certificate,
                Credential::Token | Credential::None => Trust::Token,
            });
        }
        Ok(user)
    }

    fn room(&self, user: &User, received: &IncomingRequest) -> Result<InFlightGuard<'_>, ApiError> {
        let limits = &self.limits;
        let (kind, count, limit) = match received.attributes.verb.as_str() {
            "get" | "list" | "watch" => (Kind::ReadOnly, &self.reading, limits.in_flight),
            _ => (Kind::Mutating, &self.mutating, limits.mutating_in_flight),
        };
        let before = count.fetch_add(1, Ordering::Relaxed);
        let room = InFlightGuard { kind, count, observer: &*self.observer };
        room.observer.in_flight(kind, before + 1);
        // A server with much to do is not a broken one: its health must show all the same.
        let is_health = || received.path().strip_prefix('/').and_then(Endpoint::parse).is_some();
        if before >= limit && !user.groups.iter().any(|group| group == MASTERS) && !is_health() {
            return Err(ApiError::too_many_requests());
        }
        Ok(room)
    }
}

/// A place among the requests under way; given back when the request ends, however it ends.
struct InFlightGuard<'a> {
    kind: Kind,
    count: &'a AtomicUsize,
    observer: &'a dyn Observer,
}

impl Drop for InFlightGuard<'_> {
    fn drop(&mut self) {
        let before = self.count.fetch_sub(1, Ordering::Relaxed);
        self.observer.in_flight(self.kind, before.saturating_sub(1));
    }
}

/// Impersonation is kube-apiserver's business: the callers that it forwards are resolved already (D40).
fn refuse_impersonation(parts: &Parts) -> Result<(), ApiError> {
    match parts.headers.keys().find(|name| name.as_str().starts_with(IMPERSONATE)) {
        None => Ok(()),
        Some(name) => Err(ApiError::new(
            Class::Forbidden,
            format!("the header {name} is not accepted here: impersonate through kube-apiserver"),
            None,
        )),
    }
}

fn panic_text(panic: &(dyn Any + Send)) -> &str {
    panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("not a text")
}

/// How the names of headers begin that name somebody to impersonate.
pub(super) const IMPERSONATE: &str = "impersonate-";
/// As much as Go's server reads of a body that its handler left.
const LARGEST_DISCARDED: usize = 256 << 10;
const LONGEST_DISCARDING: Duration = Duration::from_secs(5);
