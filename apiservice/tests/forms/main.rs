//! The forms of answers (`docs/contract.md#negotiation`), through the whole server but TLS.

mod bodies;
mod decode;
mod recorded;

use std::sync::Arc;

use apiservice::authn::{UNAUTHENTICATED, Union};
use apiservice::authz::{Chain, PrivilegedGroup};
use apiservice::discovery::{Discovery, DiscoveryHandle, GroupDescription, ResourceEntry};
use apiservice::health::Health;
use apiservice::server::{Answer, ApiRequest, ApiServer, Handler, RequestLimits, Unobserved};
use apiservice::status::ApiError;
use axum::Router;
use bytes::Bytes;
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use http::Method;
use testkit::router::{self, Response};

const C1: &str = "/apis/custom.metrics.k8s.io/v1beta1";
const C2: &str = "/apis/custom.metrics.k8s.io/v1beta2";
const E: &str = "/apis/external.metrics.k8s.io/v1beta1";
const M: &str = "/apis/metrics.k8s.io/v1beta1";

const JSON: &str = "application/json";
const YAML: &str = "application/yaml";
const PROTOBUF: &str = "application/vnd.kubernetes.protobuf";
const TABLE: &str = "application/json;as=Table;v=v1;g=meta.k8s.io";

/// A server whose objects are all the same.
struct Api {
    router: Router,
}

struct Always(Result<Answer, ApiError>);

impl Handler for Always {
    fn handle(&self, _: ApiRequest) -> BoxFuture<'_, Result<Answer, ApiError>> {
        std::future::ready(self.0.clone()).boxed()
    }
}

impl Api {
    fn answering(answer: Result<Answer, ApiError>) -> Api {
        Api::serving(groups(&["v1beta1", "v1beta2"]), answer)
    }

    fn serving(groups: Vec<GroupDescription>, answer: Result<Answer, ApiError>) -> Api {
        let server = ApiServer {
            handler: Arc::new(Always(answer)),
            discovery: DiscoveryHandle::new(Discovery::new(groups, 16443)),
            health: Health::default(),
            authentication: Union::new(Vec::new()),
            authorization: Chain::new(vec![Arc::new(PrivilegedGroup(UNAUTHENTICATED))]),
            limits: RequestLimits::default(),
            metrics: Arc::new(String::new),
            pages: Vec::new(),
            observer: Arc::new(Unobserved),
            audit: None,
        };
        Api { router: server.into_router() }
    }

    async fn get(&self, path: &str, headers: &[(&str, &str)]) -> Response {
        router::ask(&self.router, router::request(Method::GET, path, headers)).await
    }

    /// A body that must have a code and a media type.
    async fn body(&self, path: &str, accept: &str, code: u16, media_type: &str) -> Bytes {
        let response = self.get(path, &[("accept", accept)]).await;
        assert_eq!((response.code, response.content_type()), (code, media_type), "{path} as {accept}");
        response.body
    }

    /// A body that must have a code and a media type, and is text.
    async fn text(&self, path: &str, accept: &str, code: u16, media_type: &str) -> String {
        let body = self.body(path, accept, code, media_type).await;
        String::from_utf8(body.to_vec()).expect("text")
    }
}

/// All groups, each with a resource.
fn groups(custom_versions: &[&str]) -> Vec<GroupDescription> {
    let entry = |name: &str, namespaced, kind, verbs| ResourceEntry {
        name: name.to_owned(),
        namespaced,
        kind,
        verbs,
    };
    let group = GroupDescription::of;
    let (get, list): (&[&str], &[&str]) = (&["get"], &["get", "list"]);
    vec![
        group(
            "custom.metrics.k8s.io",
            custom_versions,
            vec![entry("pods/depth", true, "MetricValueList", get)],
        ),
        group(
            "external.metrics.k8s.io",
            &["v1beta1"],
            vec![entry("queue_length", true, "ExternalMetricValueList", get)],
        ),
        group(
            "metrics.k8s.io",
            &["v1beta1"],
            vec![entry("nodes", false, "NodeMetrics", list), entry("pods", true, "PodMetrics", list)],
        ),
    ]
}
