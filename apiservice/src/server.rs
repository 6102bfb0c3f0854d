//! Paths that every API server answers, and the gate in front of all of them: who is asking, may they, is there room.
//! What lies below a served group-version goes to a [`Handler`].

use std::any::Any;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::Response;
use bytes::Bytes;
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use http::request::Parts;
use http::{HeaderName, HeaderValue, Method, StatusCode, header};

use crate::attributes::{self, Attributes};
use crate::authn::{PeerCertificates, Union, User};
use crate::authz::{Chain, MASTERS};
use crate::discovery::{AggregatedVersion, DiscoveryHandle, Document};
use crate::go_duration;
use crate::health::{Endpoint, Health, Report};
use crate::negotiate::{self, Acceptable, Form};
use crate::openapi;
use crate::query::QueryParameters;
use crate::status::{ApiError, Class};
use crate::types::usage::{List, NodeMetrics, PodMetrics, Single};
use crate::types::{ExternalMetricValueList, MetricValueList, MetricsVersion, Wire};

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

async fn enter(State(gate): State<Arc<Gate>>, request: Request) -> Response {
    let started = Instant::now();
    let (parts, _) = request.into_parts();
    let query = QueryParameters::parse(parts.uri.query().unwrap_or_default());
    let acceptable = Acceptable::of(&parts, &query);
    let outcome = AssertUnwindSafe(gate.pass(&parts, &query, acceptable, started)).catch_unwind().await;
    let result = outcome.unwrap_or_else(|panic| {
        tracing::error!(panic = panic_text(&*panic), path = parts.uri.path(), "a request ended in a panic");
        Err(ApiError::internal("this server failed on the request; its log has the details"))
    });
    let mut response = match result {
        Ok(response) => response,
        Err(error) => negotiate::respond_error(&error, error_form(&error, acceptable)),
    };
    let headers = response.headers_mut();
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-cache, private"));
    headers.insert(AUDIT_ID, audit_id(&parts));
    let group =
        parts.uri.path().strip_prefix("/apis/").and_then(|rest| rest.split('/').next()).unwrap_or_default();
    let group = if gate.server.discovery.load().group(group).is_some() { group } else { "" };
    (gate.server.observer)(group, response.status().as_u16(), started.elapsed());
    response
}

impl Gate {
    async fn pass(
        &self,
        parts: &Parts,
        query: &QueryParameters,
        acceptable: Acceptable,
        started: Instant,
    ) -> Result<Response, ApiError> {
        let path = parts.uri.path();
        let deadline = started + self.timeout(query)?;
        let user = self.user(parts).await?;
        refuse_impersonation(parts)?;
        let segments = if path.starts_with("/apis/") { attributes::segments(path)? } else { Vec::new() };
        let attributes = Attributes::of(&parts.method, path, &segments, query);
        let _room = self.room(&user)?;
        self.server.authorization.check(&user, &attributes).await?;
        if path == "/apis" || path.starts_with("/apis/") {
            let request = Below { parts, query, acceptable, segments, user, deadline };
            return self.apis(request).await;
        }
        self.other(parts, query, acceptable)
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

    async fn apis(&self, request: Below<'_>) -> Result<Response, ApiError> {
        let Below { parts, query, acceptable, segments, user, deadline } = request;
        let discovery = self.server.discovery.load();
        let segments: Vec<&str> = segments.iter().map(String::as_str).collect();
        // `/apis` itself is not split: only what lies below it can name something.
        let document = match segments[..] {
            [] | ["apis"] => {
                get_only(parts)?;
                let accept = parts.headers.get(header::ACCEPT).and_then(|value| value.to_str().ok());
                if let Some(version) = accept.and_then(AggregatedVersion::accepted) {
                    return Ok(aggregated(parts, version, discovery.aggregated(version)));
                }
                discovery.groups()
            }
            ["apis", group] => match discovery.group(group) {
                Some(document) => document,
                None => return Ok(self.index(StatusCode::NOT_FOUND)),
            },
            ["apis", group, version, ref rest @ ..] => match discovery.version(group, version) {
                Some(document) if rest.is_empty() => document,
                Some(_) => {
                    get_only(parts)?;
                    let request = ApiRequest {
                        group: group.to_owned(),
                        version: version.to_owned(),
                        segments: rest.iter().map(|&segment| segment.to_owned()).collect(),
                        query: query.clone(),
                        user,
                        deadline,
                    };
                    return self.handle(request, acceptable).await;
                }
                None if discovery.group(group).is_some() => return Err(ApiError::no_route()),
                None => return Ok(self.index(StatusCode::NOT_FOUND)),
            },
            _ => return Ok(self.index(StatusCode::NOT_FOUND)),
        };
        get_only(parts)?;
        let form = form(acceptable)?;
        Ok(discovery_response(parts, document, form))
    }

    async fn handle(&self, request: ApiRequest, acceptable: Acceptable) -> Result<Response, ApiError> {
        if acceptable == Acceptable::NoMediaType {
            return Err(negotiate::no_media_type());
        }
        let version = request.version.clone();
        let deadline = tokio::time::Instant::from_std(request.deadline);
        let answer = tokio::time::timeout_at(deadline, self.server.handler.handle(request))
            .await
            .map_err(|_| ApiError::timeout("request did not complete within the allotted timeout"))??;
        let form = form(acceptable)?;
        Ok(match &answer {
            Answer::MetricValues(object) => {
                let version = MetricsVersion::parse(&version).ok_or_else(ApiError::no_route)?;
                negotiate::respond(StatusCode::OK, &Wire { object, version }, form)
            }
            Answer::ExternalMetricValues(list) => negotiate::respond(StatusCode::OK, list, form),
            Answer::Node(node) => negotiate::respond(StatusCode::OK, &Single(node), form),
            Answer::Nodes(nodes) => negotiate::respond(StatusCode::OK, &List(nodes), form),
            Answer::Pod(pod) => negotiate::respond(StatusCode::OK, &Single(pod), form),
            Answer::Pods(pods) => negotiate::respond(StatusCode::OK, &List(pods), form),
        })
    }

    fn other(
        &self,
        parts: &Parts,
        query: &QueryParameters,
        acceptable: Acceptable,
    ) -> Result<Response, ApiError> {
        let path = parts.uri.path();
        if let Some(path) = path.strip_prefix("/openapi/") {
            get_only(parts)?;
            return self.openapi(parts, query, acceptable, path);
        }
        match path {
            "/" | "/index.html" => return Ok(self.index(StatusCode::OK)),
            "/version" => {
                get_only(parts)?;
                form(acceptable)?;
                return Ok(negotiate::respond(StatusCode::OK, &VERSION, Form { pretty: true }));
            }
            "/metrics" => {
                get_only(parts)?;
                let text = (self.server.metrics)();
                return Ok(negotiate::raw(StatusCode::OK, METRICS_TEXT, text.into()));
            }
            _ => {}
        }
        let mut segments = path.trim_start_matches('/').splitn(2, '/');
        let endpoint = segments.next().and_then(Endpoint::parse).filter(|_| !path.starts_with("//"));
        let health = &self.server.health;
        match (endpoint, segments.next()) {
            (Some(endpoint), None | Some("")) => Ok(health_response(health.report(endpoint, query), true)),
            (Some(endpoint), Some(check)) => Ok(health
                .report_one(endpoint, check)
                .map_or_else(|| self.index(StatusCode::NOT_FOUND), |report| health_response(report, false))),
            (None, _) => Ok(self.index(StatusCode::NOT_FOUND)),
        }
    }

    /// What lies below `/openapi/`. A document of version 3 that is asked for by its hash never changes; one asked for by
    /// another hash is answered with what there is now: upstream redirects, which the aggregator cannot follow (D6).
    fn openapi(
        &self,
        parts: &Parts,
        query: &QueryParameters,
        acceptable: Acceptable,
        path: &str,
    ) -> Result<Response, ApiError> {
        let discovery = self.server.discovery.load();
        let openapi = discovery.openapi();
        let found = match path {
            "v2" => Some(&openapi.v2),
            "v3" => Some(&openapi.v3_index),
            _ => path.strip_prefix("v3/").and_then(|path| openapi.v3.get(path)),
        };
        // D7: what there is no document of is not found.
        let Some(document) = found else { return Ok(self.index(StatusCode::NOT_FOUND)) };
        let mut response = discovery_response(parts, document, form(acceptable)?);
        let headers = response.headers_mut();
        headers.insert(header::VARY, HeaderValue::from_static("Accept"));
        if path.starts_with("v3/") && query.first("hash") == Some(openapi::hash(document)) {
            headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("public, immutable"));
        }
        Ok(response)
    }

    /// The paths there are; also the body of a 404 for a path under no known prefix.
    fn index(&self, code: StatusCode) -> Response {
        let health = &self.server.health;
        let mut paths: Vec<String> = self.server.discovery.load().paths().collect();
        for endpoint in Endpoint::ALL {
            let name = endpoint.name();
            paths.push(format!("/{name}"));
            paths.extend(health.names(endpoint).into_iter().map(|check| format!("/{name}/{check}")));
        }
        paths.extend(["/metrics", "/version"].map(str::to_owned));
        paths.sort();
        negotiate::respond(code, &Index { paths }, Form { pretty: true })
    }
}

/// A request for something below `/apis`.
struct Below<'a> {
    parts: &'a Parts,
    query: &'a QueryParameters,
    acceptable: Acceptable,
    segments: Vec<String>,
    user: User,
    deadline: Instant,
}

/// A place among the requests under way; given back when the request ends, however it ends.
struct Room<'a>(&'a AtomicUsize);

impl Drop for Room<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[derive(serde::Serialize)]
struct Index {
    paths: Vec<String>,
}

/// What upstream's adapter says of itself; clients only look whether it is there.
#[derive(serde::Serialize)]
#[serde(rename_all = "camelCase")]
struct VersionInfo {
    major: &'static str,
    minor: &'static str,
    git_version: &'static str,
    git_commit: &'static str,
    git_tree_state: &'static str,
    build_date: &'static str,
    go_version: &'static str,
    compiler: &'static str,
    platform: &'static str,
}

fn get_only(parts: &Parts) -> Result<(), ApiError> {
    if parts.method == Method::GET { Ok(()) } else { Err(ApiError::method_not_allowed()) }
}

fn form(acceptable: Acceptable) -> Result<Form, ApiError> {
    match acceptable {
        Acceptable::Form(form) => Ok(form),
        Acceptable::NoMediaType => Err(negotiate::no_media_type()),
        Acceptable::NoParameters => Err(negotiate::no_parameters()),
    }
}

/// Errors are sent in any case; a 406 is always indented, other errors only when the client asked for it.
fn error_form(error: &ApiError, acceptable: Acceptable) -> Form {
    match (error.class(), acceptable) {
        (_, Acceptable::Form(form)) => form,
        (Class::NotAcceptable, _) => Form { pretty: true },
        _ => Form { pretty: false },
    }
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

fn discovery_response(parts: &Parts, document: &Document, form: Form) -> Response {
    if let Some(unchanged) = unchanged(parts, document) {
        return unchanged;
    }
    let mut response = negotiate::raw(StatusCode::OK, negotiate::JSON, document.body(form));
    response.headers_mut().insert(header::ETAG, document.etag.clone());
    response
}

fn aggregated(parts: &Parts, version: AggregatedVersion, document: &Document) -> Response {
    let mut response = unchanged(parts, document)
        .unwrap_or_else(|| negotiate::raw(StatusCode::OK, version.media_type(), document.compact.clone()));
    let headers = response.headers_mut();
    headers.insert(header::ETAG, document.etag.clone());
    headers.insert(header::VARY, HeaderValue::from_static("Accept"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("public"));
    response
}

/// 304 when the client has the document already. A weak tag never matches.
fn unchanged(parts: &Parts, document: &Document) -> Option<Response> {
    let held = parts.headers.get(header::IF_NONE_MATCH)?;
    let matches = held.to_str().ok()?.split(',').any(|tag| tag.trim().as_bytes() == document.etag.as_bytes());
    matches.then(|| {
        let mut response = Response::new(Body::empty());
        *response.status_mut() = StatusCode::NOT_MODIFIED;
        response.headers_mut().insert(header::ETAG, document.etag.clone());
        response
    })
}

fn health_response(report: Report, whole: bool) -> Response {
    let code = if report.healthy { StatusCode::OK } else { StatusCode::INTERNAL_SERVER_ERROR };
    let mut response = negotiate::raw(code, negotiate::TEXT, Bytes::from(report.body));
    if whole || !report.healthy {
        response.headers_mut().insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    }
    response
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
const METRICS_TEXT: &str = "text/plain; version=0.0.4; charset=utf-8";
const VERSION: VersionInfo = VersionInfo {
    major: "1",
    minor: "0",
    git_version: "",
    git_commit: "",
    git_tree_state: "",
    build_date: "",
    go_version: "",
    compiler: "",
    platform: "",
};
