//! The serving authority in the APIServices, over a Kubernetes API that refuses what the real one refuses.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use adapter::cluster::identity::Identity;
use apiservice::health::{Endpoint, Health, Scope};
use apiservice::query::QueryParameters;
use axum::body::Body;
use futures_util::StreamExt as _;
use futures_util::stream;
use http::{Method, Request, Response};
use http_body_util::BodyExt as _;
use rules::RuleSet;
use serde_json::{Value, json};
use testkit::wait::until;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::sync::watch;

const V1: &str = "v1beta1.custom.metrics.k8s.io";
const EXTERNAL_V1: &str = "v1beta1.external.metrics.k8s.io";
const SERVICES: &str = "/apis/apiregistration.k8s.io/v1/apiservices";
const SECRETS: &str = "/api/v1/namespaces/monitoring/secrets";

/// Secrets and APIServices, without sockets, so that a stopped clock stands still while it is asked. Cheap to clone.
#[derive(Clone, Default)]
struct Api(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    secret: Option<Value>,
    services: BTreeMap<String, Value>,
    watches: Vec<(String, UnboundedSender<String>)>,
    /// Whether watches are refused.
    forbids_watching: bool,
    patched: usize,
    /// An APIService that the account may not read.
    forbidden: Option<&'static str>,
    /// The names that were asked for.
    asked: BTreeSet<String>,
}

impl Api {
    fn client(&self) -> kube::Client {
        let api = self.clone();
        let service = tower::service_fn(move |request: Request<kube::client::Body>| {
            let api = api.clone();
            async move { Ok::<_, std::io::Error>(api.answer(request).await) }
        });
        kube::Client::new(service, "default")
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().expect("the test panics alone")
    }

    /// Makes or replaces an APIService as a deployment of prometheus-adapter does.
    fn replace(&self, name: &str, service: &str) {
        let service = json!({"namespace": "monitoring", "name": service});
        let spec = json!({"insecureSkipTLSVerify": true, "service": service, "version": "v1beta1"});
        self.state().store(name, spec);
    }

    fn spec(&self, name: &str) -> Value {
        self.state().services[name]["spec"].clone()
    }

    async fn answer(&self, request: Request<kube::client::Body>) -> Response<Body> {
        let (parts, body) = request.into_parts();
        let body = body.collect().await.expect("a body").to_bytes();
        let given = || serde_json::from_slice::<Value>(&body).expect("JSON");
        let (path, query) = (parts.uri.path(), parts.uri.query().unwrap_or_default());
        let mut state = self.state();
        let (code, object) = match (parts.method, path.strip_prefix(SERVICES)) {
            (Method::GET, Some("")) => {
                let (_, name) = query.split_once("metadata.name%3D").expect("one name a watch");
                let name = name.split('&').next().unwrap_or_default();
                if query.contains("watch=true") && !state.forbids_watching {
                    let (sender, events) = unbounded_channel();
                    state.watches.push((name.to_owned(), sender));
                    return Response::new(Body::from_stream(lines(events)));
                }
                if state.forbids_watching {
                    (403, refusal(403, "Forbidden", "apiservices is forbidden"))
                } else {
                    let items: Vec<&Value> = state.services.get(name).into_iter().collect();
                    (
                        200,
                        json!({"apiVersion": "meta.k8s.io/v1", "kind": "PartialObjectMetadataList", "metadata": {"resourceVersion": "1"}, "items": items}),
                    )
                }
            }
            (Method::GET, Some(name)) => {
                let name = &name[1..];
                state.asked.insert(name.to_owned());
                if state.forbidden == Some(name) {
                    let message = format!("apiservices \"{name}\" is forbidden");
                    (403, refusal(403, "Forbidden", &message))
                } else {
                    found(state.services.get(name))
                }
            }
            (Method::PATCH, Some(name)) => state.patch(&name[1..], &given()),
            (Method::POST, None) if path == SECRETS => {
                state.secret = Some(given());
                (201, given())
            }
            (Method::GET, None) if path.starts_with(SECRETS) => found(state.secret.as_ref()),
            other => panic!("unexpected request: {other:?} {path}"),
        };
        Response::builder().status(code).body(object.to_string().into()).expect("a valid response")
    }
}

impl State {
    fn store(&mut self, name: &str, spec: Value) {
        let mut object = json!({
            "apiVersion": "apiregistration.k8s.io/v1",
            "kind": "APIService",
            "metadata": {"name": name, "resourceVersion": "2"},
        });
        object["spec"] = spec;
        let event = format!("{}\n", json!({"type": "MODIFIED", "object": object}));
        self.services.insert(name.to_owned(), object);
        self.watches.retain(|(watched, events)| watched != name || events.send(event.clone()).is_ok());
    }

    fn patch(&mut self, name: &str, patch: &Value) -> (u16, Value) {
        let mut spec = self.services[name]["spec"].clone();
        for (field, value) in patch["spec"].as_object().expect("a patch of the spec") {
            match value {
                Value::Null => spec.as_object_mut().expect("an object").remove(field),
                value => spec.as_object_mut().expect("an object").insert(field.clone(), value.clone()),
            };
        }
        if spec["insecureSkipTLSVerify"] == true && !spec["caBundle"].is_null() {
            let message =
                "spec.insecureSkipTLSVerify: Invalid value: true: may not be true if caBundle is present";
            return (422, refusal(422, "Invalid", message));
        }
        self.patched += 1;
        self.store(name, spec);
        (200, self.services[name].clone())
    }
}

fn found(object: Option<&Value>) -> (u16, Value) {
    object.map_or_else(|| (404, refusal(404, "NotFound", "not found")), |object| (200, object.clone()))
}

fn refusal(code: u16, reason: &str, message: &str) -> Value {
    json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "message": message, "reason": reason, "code": code})
}

fn lines(events: UnboundedReceiver<String>) -> impl futures_util::Stream<Item = std::io::Result<String>> {
    stream::unfold(events, |mut events| async { Some((Ok(events.recv().await?), events)) }).boxed()
}

const CUSTOM: &str =
    "rules: [{seriesQuery: depth, metricsQuery: depth, resources: {template: <<.Resource>>}}]\n";
const EXTERNAL: &str =
    "externalRules: [{seriesQuery: depth, metricsQuery: depth, resources: {namespaced: false}}]\n";

fn rule_set(text: &str) -> Arc<RuleSet> {
    Arc::new(rules::load(text).expect("valid rules"))
}

/// An adapter's identity, kept in order in the background.
fn follow(api: &Api) -> Health {
    let (sender, served) = watch::channel(rule_set(CUSTOM));
    // Never dropped: rules are followed for as long as the test runs.
    std::mem::forget(sender);
    follow_rules(api, served)
}

fn follow_rules(api: &Api, served: watch::Receiver<Arc<RuleSet>>) -> Health {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let identity = Identity {
        namespace: "monitoring".to_owned(),
        service: "adapter".to_owned(),
        secret: "adapter-ca".to_owned(),
    };
    let certificate = identity.provisional().expect("a key");
    let health = Health::default();
    let published = health.check("serving-certificate-published", Scope::Ready);
    tokio::spawn(identity.follow(api.client(), certificate, published, served));
    health
}

fn is_published(spec: &Value) -> bool {
    spec["caBundle"].is_string() && spec.get("insecureSkipTLSVerify").is_none()
}

#[tokio::test(start_paused = true)]
async fn a_skip_of_verification_goes_when_the_bundle_comes() {
    let api = Api::default();
    api.replace(V1, "adapter");
    api.replace("v1beta1.metrics.k8s.io", "metrics-server");
    let health = follow(&api);
    until("the authority is published", || health.passes(Endpoint::Readyz)).await;
    assert!(is_published(&api.spec(V1)), "{}", api.spec(V1));
    // Another server's is left alone.
    assert_eq!(api.spec("v1beta1.metrics.k8s.io")["insecureSkipTLSVerify"], true);
    assert_eq!(api.state().patched, 1);
}

#[tokio::test(start_paused = true)]
async fn a_replaced_apiservice_is_patched_within_a_second() {
    let api = Api::default();
    let health = follow(&api);
    until("the adapter is ready", || health.passes(Endpoint::Readyz)).await;
    // One is made while the adapter runs, and replaced twice.
    for round in 1..=3 {
        until("the APIServices are watched", || api.state().watches.len() >= 2).await;
        tokio::time::sleep(Duration::from_mins(2)).await;
        api.replace(V1, "adapter");
        let took = until("the authority is published", || is_published(&api.spec(V1))).await;
        assert!(took < Duration::from_secs(1), "{took:?}");
        assert_eq!(api.state().patched, round);
    }
}

#[tokio::test(start_paused = true)]
async fn apiservices_that_may_not_be_watched_are_looked_at() {
    let api = Api::default();
    api.state().forbids_watching = true;
    let health = follow(&api);
    until("the adapter is ready", || health.passes(Endpoint::Readyz)).await;
    api.replace(V1, "adapter");
    let took = until("the authority is published", || is_published(&api.spec(V1))).await;
    assert!(took <= Duration::from_secs(31), "{took:?}");
}

#[tokio::test(start_paused = true)]
async fn apiservices_are_looked_at_once_the_rules_serve_them() {
    let api = Api::default();
    api.replace(V1, "adapter");
    api.replace(EXTERNAL_V1, "adapter");
    let (reload, served) = watch::channel(rule_set(CUSTOM));
    let health = follow_rules(&api, served);
    until("the adapter is ready", || health.passes(Endpoint::Readyz)).await;
    tokio::time::sleep(Duration::from_mins(2)).await;
    let custom = [V1, "v1beta2.custom.metrics.k8s.io"].map(str::to_owned);
    assert_eq!(api.state().asked, BTreeSet::from(custom));
    reload.send_replace(rule_set(&format!("{CUSTOM}{EXTERNAL}")));
    let took = until("the authority is published", || is_published(&api.spec(EXTERNAL_V1))).await;
    assert!(took < Duration::from_secs(1), "{took:?}");
}

#[tokio::test(start_paused = true)]
async fn an_apiservice_that_may_not_be_read_is_named_and_the_others_are_published() {
    let api = Api::default();
    api.replace(V1, "adapter");
    api.state().forbidden = Some(EXTERNAL_V1);
    let (_reload, served) = watch::channel(rule_set(&format!("{CUSTOM}{EXTERNAL}")));
    let health = follow_rules(&api, served);
    until("the adapter is ready", || health.passes(Endpoint::Readyz)).await;
    assert!(is_published(&api.spec(V1)));
    let checks = health.report(Endpoint::Readyz, &QueryParameters::parse("verbose")).body;
    let remark =
        format!("[+]serving-certificate-published ok: cannot get or patch the APIService {EXTERNAL_V1}\n");
    assert!(checks.contains(&remark), "{checks}");
}
