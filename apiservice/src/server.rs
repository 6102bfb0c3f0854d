//! Paths that every API server answers, and the gate in front of all of them: who is asking, may they, is there room.
//! What lies below a served group-version goes to a [`Handler`].

mod apis;
mod paths;

use std::any::Any;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use bytes::Bytes;
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use http::request::Parts;
use http::{HeaderName, HeaderValue, Method, Response, header};

use crate::attributes::{self, Attributes};
use crate::authn::{PeerCertificates, Union, User};
use crate::authz::{Chain, MASTERS};
use crate::discovery::DiscoveryHandle;
use crate::encode::gzip;
use crate::go_duration;
use crate::health::Health;
use crate::negotiate::Accept;
use crate::query::QueryParameters;
use crate::respond;
use crate::status::{ApiError, Class};
use crate::types::usage::{NodeMetrics, PodMetrics};
use crate::types::{ExternalMetricValueList, MetricValueList};
use apis::Below;

/// A request for something below a served group-version: authenticated, authorised, a GET.
#[derive(Debug, Clone)]
pub struct ApiRequest {
    /// The API group.
    pub group: String,
    /// Its version.
    pub version: String,
    /// The segments behind the version, decoded; at least one.
    pub segments: Vec<String>,
    /// The query parameters.
    pub query: QueryParameters,
    /// Who is asking.
    pub user: User,
    /// When the answer must be there.
    pub deadline: Instant,
}

/// What a handler answers with.
#[derive(Debug, Clone, PartialEq)]
pub enum Answer {
    /// custom.metrics.k8s.io, in whichever version was asked for.
    MetricValues(MetricValueList),
    /// external.metrics.k8s.io.
    ExternalMetricValues(ExternalMetricValueList),
    /// metrics.k8s.io: one node.
    Node(NodeMetrics),
    /// metrics.k8s.io: nodes.
    Nodes(Vec<NodeMetrics>),
    /// metrics.k8s.io: one pod.
    Pod(PodMetrics),
    /// metrics.k8s.io: pods.
    Pods(Vec<PodMetrics>),
}

/// Answers what lies below the served group-versions.
pub trait Handler: Send + Sync + 'static {
    /// The answer to one request.
    fn handle(&self, request: ApiRequest) -> BoxFuture<'_, Result<Answer, ApiError>>;
}

/// Limits on requests.
#[derive(Debug, Clone, Copy)]
pub struct RequestLimits {
    /// Longest time for an answer; `?timeout=` can only shorten it.
    pub timeout: Duration,
    /// Requests under way at once; more are refused with 429, except from `system:masters`.
    pub in_flight: usize,
}

impl Default for RequestLimits {
    /// Upstream's limits (contract, section 9).
    fn default() -> RequestLimits {
        RequestLimits { timeout: Duration::from_mins(1), in_flight: 400 }
    }
}

/// Renders the text of `/metrics`.
pub type MetricsText = Arc<dyn Fn() -> String + Send + Sync>;

/// Told of every answer: group (empty for other paths), status code, seconds.
pub type Observer = Arc<dyn Fn(&str, u16, Duration) + Send + Sync>;

/// Everything that a server is made of.
pub struct ApiServer {
    /// Answers requests below the served group-versions.
    pub handler: Arc<dyn Handler>,
    /// What is served.
    pub discovery: DiscoveryHandle,
    /// The health checks.
    pub health: Health,
    /// Who is asking.
    pub authentication: Union,
    /// May they.
    pub authorization: Chain,
    /// Limits on requests.
    pub limits: RequestLimits,
    /// The text of `/metrics`.
    pub metrics: MetricsText,
    /// Told of every answer.
    pub observer: Observer,
}

impl ApiServer {
    /// The server as a router, to be served by [`crate::accept::serve`].
    pub fn into_router(self) -> Router {
        let gate = Arc::new(Gate { server: self, in_flight: AtomicUsize::new(0) });
        Router::new().fallback(enter).with_state(gate)
    }
}

struct Gate {
    server: ApiServer,
    in_flight: AtomicUsize,
}

async fn enter(State(gate): State<Arc<Gate>>, request: Request) -> Response<Body> {
    let started = Instant::now();
    let (parts, _) = request.into_parts();
    let query = QueryParameters::parse(parts.uri.query().unwrap_or_default());
    let accept = Accept::of(&parts, &query);
    let outcome = AssertUnwindSafe(gate.pass(&parts, &query, &accept, started)).catch_unwind().await;
    let result = outcome.unwrap_or_else(|panic| {
        tracing::error!(panic = panic_text(&*panic), path = parts.uri.path(), "a request ended in a panic");
        Err(ApiError::internal("this server failed on the request; its log has the details"))
    });
    let response = result.unwrap_or_else(|error| respond::error(&error, accept.error_form()));
    let mut response = gzip::compress(&parts.headers, response).await;
    let headers = response.headers_mut();
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-cache, private"));
    headers.insert(AUDIT_ID, audit_id(&parts));
    let group =
        parts.uri.path().strip_prefix("/apis/").and_then(|rest| rest.split('/').next()).unwrap_or_default();
    let group = if gate.server.discovery.load().group(group).is_some() { group } else { "" };
    (gate.server.observer)(group, response.status().as_u16(), started.elapsed());
    response.map(Body::from)
}

impl Gate {
    async fn pass(
        &self,
        parts: &Parts,
        query: &QueryParameters,
        accept: &Accept<'_>,
        started: Instant,
    ) -> Result<Response<Bytes>, ApiError> {
        let deadline = started + self.timeout(query)?;
        // Whoever is asked on the way takes of the request's time: the cluster, who the caller is and whether they may.
        tokio::time::timeout_at(deadline.into(), self.pass_within(parts, query, accept, deadline))
            .await
            .map_err(|_| ApiError::timeout("request did not complete within the allotted timeout"))?
    }

    async fn pass_within(
        &self,
        parts: &Parts,
        query: &QueryParameters,
        accept: &Accept<'_>,
        deadline: Instant,
    ) -> Result<Response<Bytes>, ApiError> {
        let path = parts.uri.path();
        let user = self.user(parts).await?;
        refuse_impersonation(parts)?;
        let segments = if path.starts_with("/apis/") { attributes::segments(path)? } else { Vec::new() };
        let attributes = Attributes::of(&parts.method, path, &segments, query);
        let _room = self.room(&user)?;
        self.server.authorization.check(&user, &attributes).await?;
        if path == "/apis" || path.starts_with("/apis/") {
            let request = Below { parts, query, accept, segments, user, deadline };
            return self.apis(request).await;
        }
        self.other(parts, query, accept)
    }

    fn timeout(&self, query: &QueryParameters) -> Result<Duration, ApiError> {
        let longest = self.server.limits.timeout;
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
        self.server.authentication.user(parts, peer).await.map_err(|error| {
            tracing::debug!(%error, path = parts.uri.path(), "authentication failed");
            ApiError::unauthorized()
        })
    }

    fn room(&self, user: &User) -> Result<Room<'_>, ApiError> {
        let room = Room(&self.in_flight);
        let before = self.in_flight.fetch_add(1, Ordering::Relaxed);
        if before >= self.server.limits.in_flight && !user.groups.iter().any(|group| group == MASTERS) {
            return Err(ApiError::new(
                Class::TooManyRequests,
                "Too many requests, please try again later.",
                None,
            ));
        }
        Ok(room)
    }
}

/// A place among the requests under way; given back when the request ends, however it ends.
struct Room<'a>(&'a AtomicUsize);

impl Drop for Room<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

fn get_only(parts: &Parts) -> Result<(), ApiError> {
    if parts.method == Method::GET { Ok(()) } else { Err(ApiError::method_not_allowed()) }
}

/// Impersonation is kube-apiserver's business: whoever comes through it has been resolved already (D40).
fn refuse_impersonation(parts: &Parts) -> Result<(), ApiError> {
    match parts.headers.keys().find(|name| name.as_str().starts_with("impersonate-")) {
        None => Ok(()),
        Some(name) => Err(ApiError::new(
            Class::Forbidden,
            format!("the header {name} is not accepted here: impersonate through kube-apiserver"),
            None,
        )),
    }
}

fn audit_id(parts: &Parts) -> HeaderValue {
    parts.headers.get(AUDIT_ID).cloned().unwrap_or_else(|| {
        // A UUID's digits and dashes are always a valid header value.
        HeaderValue::from_str(&uuid::Uuid::new_v4().to_string()).unwrap_or(HeaderValue::from_static(""))
    })
}

fn panic_text(panic: &(dyn Any + Send)) -> &str {
    panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("not a text")
}

const AUDIT_ID: HeaderName = HeaderName::from_static("audit-id");
