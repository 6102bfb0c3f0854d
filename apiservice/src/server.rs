//! Paths that every API server answers, and the gate in front of all of them: who is asking, may they, is there room.
//! What lies below a served group-version goes to a [`Handler`].

mod apis;
mod connected;
mod gate;
mod holding;
mod observe;
mod paths;
mod request;

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use futures_util::future::BoxFuture;

use crate::accept::Peer;
use crate::attributes::Attributes;
use crate::audit::Audit;
use crate::authn::{Union, User};
use crate::authz::Chain;
use crate::discovery::DiscoveryHandle;
use crate::health::Health;
use crate::query::QueryParameters;
use crate::status::ApiError;
use crate::types::usage::{NodeMetrics, PodMetrics};
use crate::types::{ExternalMetricValueList, MetricValueList};
use connected::Connected;
use gate::Gate;

pub(crate) use request::{Received, header};

pub use holding::Holding;
pub use observe::{Authentication, Exchange, Kind, Observer, Unobserved};

/// A request for something below a served group-version: authenticated, authorised, a GET.
#[derive(Debug, Clone)]
pub struct ApiRequest {
    /// The API group.
    pub group: String,
    /// Its version.
    pub version: String,
    /// The segments behind the version, decoded; at least one.
    pub segments: Vec<String>,
    /// What access was granted to: the selectors to answer by are in its options.
    pub attributes: Arc<Attributes>,
    /// The query parameters.
    pub query: QueryParameters,
    /// Who is asking.
    pub user: User,
    /// When the answer must be there.
    pub deadline: Instant,
    /// Keeps what the handler puts there until the answer's body is made.
    pub holding: Holding,
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
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RequestLimits {
    /// Longest time for an answer; `?timeout=` can only shorten it.
    pub timeout: Duration,
    /// Requests under way at once that read; more are refused with 429, except from `system:masters` and for health.
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

/// Renders the text of `/metrics`.
pub type MetricsText = Arc<dyn Fn() -> String + Send + Sync>;

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
    /// Told of what becomes of requests.
    pub observer: Arc<dyn Observer>,
    /// Records requests; `None` records none.
    pub audit: Option<Arc<Audit>>,
}

impl ApiServer {
    /// The server as what [`crate::accept::serve`] has answer requests.
    pub fn into_service(self) -> impl serve::Service<Peer> {
        Connected(Arc::new(Gate::new(self)))
    }

    /// The server as a router, for requests that come over no connection.
    pub fn into_router(self) -> Router {
        Router::new().fallback(gate::enter).with_state(Arc::new(Gate::new(self)))
    }
}
