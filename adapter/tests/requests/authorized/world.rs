//! A small cluster behind the adapter: three nodes, four pods in two namespaces, a queue in each; and a Kubernetes API
//! that allows everything and keeps what it was asked.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use adapter::objects::Objects;
use adapter::objects::scraped::ScrapedObjects;
use adapter::source::recorded::vector;
use adapter::source::scripted::Script;
use adapter::source::{Listing, MetricSource, QueryResult, Sample, Samples, SourceError};
use apiservice::authn::Union;
use apiservice::authz::{AccessReviews, Chain};
use apiservice::review::ReviewLimits;
use axum::Router;
use axum::body::Body;
use http::{Method, Request, Response};
use http_body_util::BodyExt as _;
use promql_parser::parser::{Expr, parse};
use serde_json::{Value, json};
use testkit::router;

use crate::harness::{Listed, listing};

pub(crate) struct World {
    router: Router,
    reviews: Arc<Mutex<Vec<Value>>>,
}

const RULES: &str = r"
rules:
- seriesQuery: 'load'
  resources: {overrides: {namespace: {resource: namespace}, pod: {resource: pod}, node: {resource: node}}}
  metricsQuery: '<<.Series>>{<<.LabelMatchers>>}'
externalRules:
- seriesQuery: 'queue'
  resources: {overrides: {namespace: {resource: namespace}}}
  metricsQuery: '<<.Series>>{<<.LabelMatchers>>}'
resourceRules:
  cpu:
    containerQuery: 'cpu{<<.LabelMatchers>>}'
    nodeQuery: 'node_cpu{<<.LabelMatchers>>}'
    resources: {overrides: {node: {resource: node}, namespace: {resource: namespace}, pod: {resource: pod}}}
    containerLabel: container
  memory:
    containerQuery: 'memory{<<.LabelMatchers>>}'
    nodeQuery: 'node_memory{<<.LabelMatchers>>}'
    resources: {overrides: {node: {resource: node}, namespace: {resource: namespace}, pod: {resource: pod}}}
    containerLabel: container
";

const PODS: [[(&str, &str); 5]; 4] = [
    [("app", "web"), ("namespace", "a"), ("node", "n1"), ("pod", "web-0"), ("tier", "5")],
    [("app", "web"), ("namespace", "a"), ("node", "n2"), ("pod", "web-1"), ("tier", "3")],
    [("app", "web"), ("namespace", "b"), ("node", "n3"), ("pod", "web-0"), ("tier", "5")],
    [("app", "db"), ("namespace", "b"), ("node", "n3"), ("pod", "db"), ("tier", "1")],
];
const QUEUES: [[(&str, &str); 2]; 3] = [
    [("name", "q1"), ("namespace", "a")],
    [("name", "q2"), ("namespace", "a")],
    [("name", "q1"), ("namespace", "b")],
];

/// Evaluates selectors over the series of the cluster.
struct Selected;

impl Script for Selected {
    const NAME: &'static str = "selected";

    async fn list(&self, selector: &str, _: Instant) -> Result<Listing, SourceError> {
        let labels =
            if selector == "queue" { vec!["name", "namespace"] } else { vec!["namespace", "node", "pod"] };
        Ok(listing(selector, &labels))
    }

    async fn value(&self, promql: &str, _: Instant) -> Result<QueryResult, SourceError> {
        let Ok(Expr::VectorSelector(selector)) = parse(promql) else { panic!("not a selector: {promql}") };
        let name = selector.name.as_deref().unwrap_or_default();
        let pods = PODS.iter().map(|labels| &labels[..]);
        let queues = QUEUES.iter().map(|labels| &labels[..]);
        let of = |series: Vec<&'static [(&'static str, &'static str)]>| {
            vector(series.into_iter().map(|one| (one, 1.0)), 0)
        };
        let mut result = of(if name == "queue" { queues.collect() } else { pods.collect() });
        let has = |sample: &Sample| {
            let mut matchers = selector.matchers.matchers.iter();
            matchers.all(|matcher| matcher.is_match(sample.label(&matcher.name).unwrap_or_default()))
        };
        if let Samples::Vector(samples) = &mut result.value {
            samples.retain(has);
            if name.starts_with("node_") {
                for sample in samples.iter_mut() {
                    sample.labels.retain(|(label, _)| &**label == "node");
                }
                samples.dedup();
            }
        }
        Ok(result)
    }
}

impl World {
    pub(crate) async fn start() -> World {
        let rules = rules::load(RULES).expect("valid rules");
        let source: Arc<dyn MetricSource> = Arc::new(Selected);
        let objects: Arc<dyn Objects> = Arc::new(ScrapedObjects::new(Arc::clone(&source)));
        let listed = Listed::start(rules, source, objects, |_| {}).await;
        let reviews = Arc::new(Mutex::new(Vec::new()));
        // Nothing is kept, so every request has a review.
        let authorization = Chain::new(vec![Arc::new(AccessReviews::new(
            client(Arc::clone(&reviews)),
            Duration::ZERO,
            Duration::ZERO,
            ReviewLimits { per_second: 0, burst: 1 },
        ))]);
        let server = listed.server(Union::new(Vec::new()), authorization);
        World { router: server.into_router(), reviews }
    }

    /// The code, the answer, and what of resources access was asked for, if it was.
    pub(crate) async fn ask(&self, url: &str) -> (u16, Value, Option<Value>) {
        let reviews = || self.reviews.lock().expect("no code panics while it holds the lock");
        reviews().clear();
        let response = router::ask(&self.router, router::request(Method::GET, url, &[])).await;
        let review =
            reviews().pop().map(|spec| spec["resourceAttributes"].clone()).filter(|review| !review.is_null());
        (response.code, serde_json::from_slice(&response.body).unwrap_or_default(), review)
    }
}

/// A client of an API that allows everything.
fn client(reviews: Arc<Mutex<Vec<Value>>>) -> kube::Client {
    let service = tower::service_fn(move |request: Request<kube::client::Body>| {
        let reviews = Arc::clone(&reviews);
        async move {
            let body = request.into_body().collect().await?.to_bytes();
            let review: Value = serde_json::from_slice(&body).expect("JSON");
            reviews.lock().expect("no code panics while it holds the lock").push(review["spec"].clone());
            let answer = json!({
                "kind": "SubjectAccessReview", "apiVersion": "authorization.k8s.io/v1", "spec": {},
                "status": {"allowed": true},
            });
            Ok::<_, kube::Error>(Response::new(Body::from(answer.to_string())))
        }
    });
    kube::Client::new(service, "default")
}
