//! The interface to the program: a request below a served group-version, and its answer.

use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use futures_util::future::BoxFuture;

use super::holding::Holding;
use crate::attributes::Attributes;
use crate::authn::User;
use crate::query::QueryParameters;
use crate::status::ApiError;
use crate::types::usage::{NodeMetrics, PodMetrics};
use crate::types::{ExternalMetricValueList, MetricValueList};

/// A request for something below a served group-version: authenticated, authorised, a GET.
#[derive(Debug, Clone)]
pub struct ApiRequest {
    /// The API group.
    pub group: String,
    /// Its version.
    pub version: String,
    /// The segments after the version, decoded; at least one.
    pub segments: Vec<String>,
    /// What access was granted to: the selectors to answer by are in its options.
    pub attributes: Arc<Attributes>,
    /// The query parameters.
    pub query: QueryParameters,
    /// The caller of a request.
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
    /// A document that is not an object of an API, in the one form that it has.
    Document {
        /// The media type of the body.
        content_type: &'static str,
        /// The body.
        body: Bytes,
    },
}

/// Answers what lies below the served group-versions.
pub trait Handler: Send + Sync + 'static {
    /// The answer to one request.
    fn handle(&self, request: ApiRequest) -> BoxFuture<'_, Result<Answer, ApiError>>;
}
