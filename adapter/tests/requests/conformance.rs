//! A case for each row of `docs/contract.md#errors` and `docs/contract.md#compatibility` that can be asked of
//! the adapter in process, behind access control as a cluster's default roles make it. Names of cases begin with the
//! anchor of their error.

mod access;
mod answered;
mod refused;

use std::sync::Arc;

use adapter::objects::error::ListError;
use adapter::objects::scraped::ScrapedObjects;
use adapter::objects::{Object, Objects, ObjectsError, Wanted};
use adapter::source::MetricSource;
use adapter::source::recorded::{Recorded, vector};
use apiservice::attributes::Attributes;
use apiservice::authn::{Authenticator, AuthnError, PeerCertificates, Union, User};
use apiservice::authz::{
    AlwaysAllowPaths, Authorizer, AuthzError, Chain, Decision, MASTERS, PrivilegedGroup,
};
use apiservice::health::Scope;
use axum::Router;
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use http::Method;
use http::request::Parts;
use rules::resource::ResourceMapper;
use serde_json::{Value, json};
use testkit::router::{self, Response};

use crate::harness::{Listed, listing};

const RULES: &str = r#"
rules:
- seriesQuery: 'known{namespace!="",pod!=""}'
  resources: {overrides: {namespace: {resource: namespace}, pod: {resource: pod}, node: {resource: node}, service: {resource: service}, deployment: {group: apps, resource: deployment}}}
  metricsQuery: '<<.Series>>{<<.LabelMatchers>>}'
externalRules:
- seriesQuery: 'q'
  resources: {overrides: {namespace: {resource: namespace}}}
  metricsQuery: '<<.Series>>{<<.LabelMatchers>>}'
resourceRules:
  cpu:
    containerQuery: 'cpu{<<.LabelMatchers>>}'
    nodeQuery: 'node_cpu{<<.LabelMatchers>>}'
    resources: {overrides: {instance: {resource: node}, namespace: {resource: namespace}, pod: {resource: pod}}}
    containerLabel: container
  memory:
    containerQuery: 'memory{<<.LabelMatchers>>}'
    nodeQuery: 'node_memory{<<.LabelMatchers>>}'
    resources: {overrides: {instance: {resource: node}, namespace: {resource: namespace}, pod: {resource: pod}}}
    containerLabel: container
"#;
const C1: &str = "/apis/custom.metrics.k8s.io/v1beta1";
const C2: &str = "/apis/custom.metrics.k8s.io/v1beta2";
const E: &str = "/apis/external.metrics.k8s.io/v1beta1";
const M: &str = "/apis/metrics.k8s.io/v1beta1";
/// 2001-09-09T01:46:40Z
const IN_2001: i64 = 1_000_000_000_000;
const NO_ROUTE: &str = "the server could not find the requested resource";
const NO_METHOD: &str = "the server does not allow this method on the requested resource";

struct Adapter {
    source: Arc<Recorded>,
    router: Router,
}

/// The pods `silent` and `web-1`, `far` in another namespace, and the node `n1`; Deployments may not be listed.
struct Cluster(ScrapedObjects);

impl Objects for Cluster {
    fn mapper(&self) -> &dyn ResourceMapper {
        self.0.mapper()
    }

    fn list<'a>(
        &'a self,
        wanted: Wanted<'a>,
        deadline: std::time::Instant,
    ) -> BoxFuture<'a, Result<Vec<Object>, ObjectsError>> {
        if wanted.kind.plural == "deployments" {
            let forbidden = ListError::Refused { code: 403, message: "deployments.apps is forbidden".into() };
            return std::future::ready(Err(forbidden.into())).boxed();
        }
        self.0.list(wanted, deadline)
    }
}

/// A header names the caller; `nobody` is unknown.
struct ByHeader;

impl Authenticator for ByHeader {
    fn authenticate<'a>(
        &'a self,
        request: &'a Parts,
        _: &'a PeerCertificates,
    ) -> BoxFuture<'a, Result<Option<User>, AuthnError>> {
        let named = request.headers.get("caller").map(|name| name.to_str().expect("text").to_owned());
        let user = named.map(|name| {
            let groups = if name == "admin" { vec![MASTERS.to_owned()] } else { Vec::new() };
            User { name, groups, ..User::default() }
        });
        std::future::ready(Ok(user)).boxed()
    }

    fn reads(&self, name: &http::HeaderName, _: &PeerCertificates) -> bool {
        name == "caller"
    }
}

/// A cluster's default roles: everybody reads the version, and authenticated callers read discovery too.
struct DefaultRoles;

impl Authorizer for DefaultRoles {
    fn authorize<'a>(
        &'a self,
        user: &'a User,
        attributes: &'a Attributes,
    ) -> BoxFuture<'a, Result<Decision, AuthzError>> {
        let path = attributes.path.as_str();
        let known = user.name != "system:anonymous";
        let discovery = path == "/apis" || path.starts_with("/apis/") || path.starts_with("/openapi/");
        let may = attributes.resource.is_none()
            && attributes.verb == "get"
            && (path == "/version" || (known && discovery));
        let decision = if may { Decision::Allow } else { Decision::NoOpinion { reason: String::new() } };
        std::future::ready(Ok(decision)).boxed()
    }
}

impl Adapter {
    async fn started() -> Adapter {
        let source = Arc::new(Recorded::default());
        source.lists(
            r#"known{namespace!="",pod!=""}"#,
            Ok(listing("known", &["deployment", "namespace", "node", "pod", "service"])),
        );
        source.lists("q", Ok(listing("q", &["namespace", "queue"])));
        let targets: [(&[(&str, &str)], f64); 3] = [
            (&[("namespace", "default"), ("pod", "web-1"), ("app", "web"), ("node", "n1")], 1.0),
            (&[("namespace", "default"), ("pod", "silent"), ("app", "web"), ("tier", "5")], 1.0),
            (&[("namespace", "other"), ("pod", "far"), ("app", "far")], 1.0),
        ];
        source.answers("up", Ok(vector(targets, IN_2001)));
        let one: [(&[(&str, &str)], f64); 1] = [(&[("pod", "web-1")], 1.5)];
        for names in [r#"pod="web-1""#, r#"pod=~"silent|web-1""#] {
            let query = format!(r#"known{{namespace="default",{names}}}"#);
            source.answers(&query, Ok(vector(one, IN_2001)));
        }
        for query in [
            r#"known{namespace="default",pod="nope"}"#,
            r#"q{queue="none",namespace="default"}"#,
            r#"q{namespace="other",namespace="default"}"#,
            r#"cpu{namespace="default",pod="silent"}"#,
            r#"memory{namespace="default",pod="silent"}"#,
        ] {
            source.answers(query, Ok(vector([], IN_2001)));
        }
        let service: [(&[(&str, &str)], f64); 1] = [(&[("service", "svc")], 2.0)];
        source.answers(r#"known{namespace="default",service="svc"}"#, Ok(vector(service, IN_2001)));
        let queue: [(&[(&str, &str)], f64); 1] = [(&[("queue", "a")], 3.0)];
        source.answers(r#"q{namespace="default"}"#, Ok(vector(queue, IN_2001)));

        let rules = rules::load(RULES).expect("valid rules");
        let seam: Arc<dyn MetricSource> = Arc::clone(&source) as _;
        let objects: Arc<dyn Objects> = Arc::new(Cluster(ScrapedObjects::new(Arc::clone(&seam))));
        let listed = Listed::start(rules, seam, objects, |_| {}).await;
        let open = ["/healthz", "/livez", "/readyz"].map(str::to_owned).to_vec();
        let authorization = Chain::new(vec![
            Arc::new(PrivilegedGroup(MASTERS)),
            Arc::new(AlwaysAllowPaths::new(open)),
            Arc::new(DefaultRoles),
        ]);
        let server = listed.server(Union::new(vec![Arc::new(ByHeader)]), authorization);
        server.health.check("ping", Scope::Alive).pass();
        Adapter { source, router: server.into_router() }
    }

    async fn send(&self, method: Method, path: &str, headers: &[(&str, &str)]) -> Response {
        router::ask(&self.router, router::request(method, path, headers)).await
    }

    /// As somebody who may everything.
    async fn get(&self, path: &str) -> Response {
        self.send(Method::GET, path, &[("caller", "admin")]).await
    }

    /// A case of an error: its Status must hold just these.
    async fn refuses(&self, case: &str, path: &str, code: u16, reason: &str, details: Value, message: &str) {
        let response = self.get(path).await;
        let mut expected = json!({
            "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "message": message,
            "reason": reason, "code": code,
        });
        if details != Value::Null {
            expected["details"] = details;
        }
        assert_eq!((response.code, response.json()), (code, expected), "{case}: {path}");
    }

    /// A case of a list: its items, without times.
    async fn lists(&self, case: &str, path: &str, items: Value) {
        let response = self.get(path).await;
        assert_eq!(response.code, 200, "{case}: {path}: {}", response.text());
        let mut found = response.json()["items"].clone();
        for item in found.as_array_mut().expect("a list") {
            item.as_object_mut().expect("an object").remove("timestamp");
        }
        assert_eq!(found, items, "{case}: {path}");
    }
}

fn value_of(kind: &str, name: &str, value: &str) -> Value {
    json!({
        "describedObject": {"kind": kind, "namespace": "default", "name": name, "apiVersion": "v1"},
        "metricName": "known", "value": value, "selector": null,
    })
}
