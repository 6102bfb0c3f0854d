//! What is known of a cluster's objects and kinds, over a Kubernetes API that answers what a test says.

use std::collections::HashMap;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use adapter::objects::mapping::RestMapping;
use adapter::objects::watched::{State as WatchState, WatchedObjects};
use adapter::objects::{Object, Objects as _, ObjectsError, Wanted};
use adapter::relist::{CatalogHandle, Changes, RelistSettings, Relister};
use adapter::source::recorded::Recorded;
use adapter::source::{Listing, MetricSource};
use adapter::telemetry::Telemetry;
use axum::body::Body;
use futures_util::stream;
use http::{Request, Response};
use rules::catalog::Series;
use rules::resource::{GroupResource, Kind, ResourceMapper as _, StaticMapper};
use selector::labels::Selector;
use serde_json::{Value, json};
use testkit::wait::until_async;
use tokio::runtime::Handle;
use tokio::sync::watch;

const PODS: &str = "/api/v1/pods";

/// A Kubernetes API without sockets, so that a stopped clock stands still while it is asked. Cheap to clone.
#[derive(Clone, Default)]
struct Api(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    answers: HashMap<String, (u16, Value)>,
    /// Path with query, and the Accept header.
    asked: Vec<(String, String)>,
    is_away: bool,
    forbids_watching: bool,
}

impl Api {
    fn client(&self) -> kube::Client {
        let api = self.clone();
        let service = tower::service_fn(move |request: Request<kube::client::Body>| {
            std::future::ready(api.answer(&request))
        });
        kube::Client::new(service, "default")
    }

    fn answers(&self, path: &str, code: u16, object: Value) {
        self.state().answers.insert(path.to_owned(), (code, object));
    }

    fn is_away(&self, is_away: bool) {
        self.state().is_away = is_away;
    }

    fn forbids_watching(&self, forbids: bool) {
        self.state().forbids_watching = forbids;
    }

    fn asked(&self, path: &str) -> Vec<(String, String)> {
        let of = |(target, _): &&(String, String)| target.split('?').next() == Some(path);
        self.state().asked.iter().filter(of).cloned().collect()
    }

    /// What the cluster serves, as aggregated discovery lists it.
    fn serves(&self, widgets: bool) {
        let resource = |name: &str, kind: &str| json!({"resource": name, "responseKind": {"group": "", "version": "", "kind": kind}, "scope": "Namespaced", "singularResource": "", "verbs": ["list"]});
        let namespaces = json!({"resource": "namespaces", "responseKind": {"group": "", "version": "", "kind": "Namespace"}, "scope": "Cluster", "singularResource": "", "verbs": ["list"]});
        let list = |items: Value| json!({"kind": "APIGroupDiscoveryList", "apiVersion": "apidiscovery.k8s.io/v2", "metadata": {}, "items": items});
        let core = json!([{"metadata": {}, "versions": [{"version": "v1", "resources": [resource("pods", "Pod"), namespaces]}]}]);
        self.answers("/api", 200, list(core));
        let groups = if widgets {
            json!([{"metadata": {"name": "example.com"}, "versions": [{"version": "v1", "resources": [resource("widgets", "Widget")]}]}])
        } else {
            json!([])
        };
        self.answers("/apis", 200, list(groups));
    }

    fn answer(&self, request: &Request<kube::client::Body>) -> io::Result<Response<Body>> {
        let target = request.uri().path_and_query().map(ToString::to_string).unwrap_or_default();
        let accept = request.headers().get("accept").map(|accept| accept.to_str().expect("text").to_owned());
        let mut state = self.state();
        let is_watch = target.contains("watch=true");
        state.asked.push((target.clone(), accept.unwrap_or_default()));
        if state.is_away {
            return Err(io::ErrorKind::ConnectionRefused.into());
        }
        let (code, object) =
            state.answers.get(request.uri().path()).cloned().unwrap_or((404, failure(404, "no such thing")));
        let (code, object) = if is_watch && state.forbids_watching {
            (403, failure(403, "pods is forbidden"))
        } else if target.contains("sendInitialEvents") && code == 200 {
            (422, failure(422, "sendInitialEvents is forbidden"))
        } else {
            (code, object)
        };
        // Nothing ever changes.
        let body = if is_watch && code == 200 {
            Body::from_stream(stream::pending::<io::Result<String>>())
        } else {
            object.to_string().into()
        };
        Ok(Response::builder().status(code).body(body).expect("a valid response"))
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.0.lock().expect("no code panics while it holds the lock")
    }
}

fn failure(code: u16, message: &str) -> Value {
    json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "message": message, "code": code})
}

fn pod_list() -> Value {
    let pod = |namespace: &str, name: &str, app: &str| json!({"metadata": {"namespace": namespace, "name": name, "labels": {"app": app}, "annotations": {"a": "not kept"}}});
    json!({
        "kind": "PartialObjectMetadataList", "apiVersion": "meta.k8s.io/v1", "metadata": {"resourceVersion": "7"},
        "items": [pod("d", "web-2", "web"), pod("d", "web-1", "web"), pod("d", "other", "other"), pod("e", "web-1", "web")],
    })
}

fn pods() -> Arc<Kind> {
    StaticMapper::built_in().kind_for("pods", "").expect("pods")
}

/// The pods of a namespace that are labelled `app=web`.
async fn web(objects: &WatchedObjects, running: bool) -> Result<Vec<Object>, ObjectsError> {
    let (kind, selector) = (pods(), Selector::parse("app=web").expect("a selector"));
    let wanted = Wanted { kind: &kind, namespace: Some("d"), name: None, selector: &selector, running };
    objects.list(wanted, Instant::now() + Duration::from_secs(30)).await
}

#[tokio::test]
async fn objects_are_listed_once_by_their_metadata_alone() {
    let api = Api::default();
    api.answers(PODS, 200, pod_list());
    let objects = WatchedObjects::new(api.client(), Arc::default(), Handle::current());
    for _ in 0..3 {
        let found = web(&objects, false).await.expect("they are listed");
        let names: Vec<&str> = found.iter().map(|object| &*object.name).collect();
        assert_eq!(names, ["web-1", "web-2"], "sorted by name");
    }
    assert_eq!(web(&objects, true).await.expect("they are listed").len(), 2);
    let asked = api.asked(PODS);
    let lists: Vec<&(String, String)> =
        asked.iter().filter(|(target, _)| !target.contains("watch=true")).collect();
    assert_eq!(lists.len(), 2, "once for all pods and once for those that run: {asked:?}");
    assert!(lists[1].0.contains("fieldSelector=status.phase%3DRunning"), "{asked:?}");
    for (target, accept) in &asked {
        assert!(accept.contains("as=PartialObjectMetadata"), "{target}: {accept}");
    }
}

#[tokio::test(start_paused = true)]
async fn objects_that_cannot_be_listed_are_an_error_until_they_can() {
    let api = Api::default();
    api.answers(PODS, 403, failure(403, "pods is forbidden"));
    let objects = WatchedObjects::new(api.client(), Arc::default(), Handle::current());
    let error = web(&objects, false).await.expect_err("they are not listed");
    assert_eq!(
        error.to_string(),
        "the Kubernetes API answered 403: pods is forbidden; cannot list pods: requests that select pods fail; grant list \
         and watch on pods"
    );
    api.answers(PODS, 200, pod_list());
    let mut state = objects.state(&pods(), false);
    state.wait_for(|state| *state == WatchState::Known).await.expect("they are watched");
    assert_eq!(web(&objects, false).await.expect("they are listed").len(), 2);
}

/// The watcher of a library keeps what was listed once, for as long as it may not watch.
#[tokio::test(start_paused = true)]
async fn objects_that_cannot_be_watched_are_listed_again() {
    let api = Api::default();
    api.answers(PODS, 200, pod_list());
    api.forbids_watching(true);
    let objects = WatchedObjects::new(api.client(), Arc::default(), Handle::current());
    let mut state = objects.state(&pods(), false);
    let forbidden =
        state.wait_for(|state| matches!(state, WatchState::Forbidden(_))).await.expect("a state").clone();
    let WatchState::Forbidden(forbidden) = forbidden else { panic!("{forbidden:?}") };
    assert_eq!(
        forbidden.to_string(),
        "cannot watch pods: listing them every 15s instead; grant watch on pods"
    );
    assert_eq!(web(&objects, false).await.expect("they are listed").len(), 2);
    let mut fewer = pod_list();
    fewer["items"].as_array_mut().expect("a list").retain(|pod| pod["metadata"]["name"] != "web-1");
    api.answers(PODS, 200, fewer);
    // By the stopped clock, within a minute.
    let gone = async || web(&objects, false).await.expect("they are listed").len() == 1;
    until_async("the pod to be gone", gone).await;
}

/// Waits until the kinds have changed, by a clock that goes on whenever everybody waits.
async fn told(changes: &mut watch::Receiver<()>) {
    let told = tokio::time::timeout(MOST_HOURS, changes.changed()).await;
    told.expect("the kinds change").expect("they are followed");
}

/// D30: upstream looks at the kinds once, at its start.
#[tokio::test(start_paused = true)]
async fn a_kind_that_is_installed_later_is_found() {
    const INTERVAL: Duration = Duration::from_hours(1);
    let api = Api::default();
    api.serves(false);
    let mapping = Arc::new(RestMapping::default());
    let mut changes = mapping.changes();
    tokio::spawn(Arc::clone(&mapping).follow(api.client(), INTERVAL, || {}));
    told(&mut changes).await;
    assert!(mapping.kind_for("pods", "").is_some());
    // Asked for in vain it is looked for soon, and not with every request.
    let started = tokio::time::Instant::now();
    api.serves(true);
    for _ in 0..100 {
        assert!(mapping.kind_for("widgets", "example.com").is_none());
    }
    told(&mut changes).await;
    assert!(started.elapsed() < Duration::from_mins(1), "{:?}", started.elapsed());
    let kind = mapping.kind_for("widgets", "example.com").expect("it was found");
    assert_eq!((kind.api_version().as_str(), kind.namespaced), ("example.com/v1", true));
    assert_eq!(api.asked("/apis").len(), 2);
    // Without requests: the interval.
    api.serves(false);
    told(&mut changes).await;
    assert!(started.elapsed() >= INTERVAL, "{:?}", started.elapsed());
}

/// D31: upstream ends when the API is away at its start.
#[tokio::test(start_paused = true)]
async fn the_api_may_be_away_at_the_start() {
    let api = Api::default();
    api.serves(false);
    api.is_away(true);
    let (mapping, fetched) = (Arc::new(RestMapping::default()), Arc::new(AtomicBool::new(false)));
    let mut changes = mapping.changes();
    let success = Arc::clone(&fetched);
    tokio::spawn(Arc::clone(&mapping).follow(api.client(), Duration::from_hours(1), move || {
        success.store(true, Ordering::Relaxed);
    }));
    for _ in 0..100 {
        tokio::time::advance(Duration::from_millis(250)).await;
    }
    assert!(api.asked("/api").len() > 3, "it is tried again");
    assert!(!fetched.load(Ordering::Relaxed) && mapping.kind_for("pods", "").is_none());
    api.is_away(false);
    told(&mut changes).await;
    assert!(fetched.load(Ordering::Relaxed) && mapping.kind_for("pods", "").is_some());
}

const RULES: &str = r"
rules:
- seriesQuery: 'depth'
  resources: {overrides: {namespace: {resource: namespace}, pod: {resource: pod}, widget: {group: example.com, resource: widget}}}
  metricsQuery: 'depth{<<.LabelMatchers>>}'
";

/// D39: a rule may name a kind that the cluster does not have yet; the rest of the rule works meanwhile.
#[tokio::test(start_paused = true)]
async fn a_rule_waits_for_its_kind() {
    let api = Api::default();
    api.serves(false);
    let mapping = Arc::new(RestMapping::default());
    let mut changes = mapping.changes();
    tokio::spawn(Arc::clone(&mapping).follow(api.client(), Duration::from_mins(10), || {}));
    told(&mut changes).await;
    let source = Arc::new(Recorded::default());
    let label_names = ["namespace", "pod", "widget"].into_iter().map(Arc::from).collect();
    let series = vec![Series { name: "depth".into(), label_names }];
    source.lists("depth", Ok(Listing { series, warnings: Vec::new() }));
    let rules = Arc::new(rules::load(RULES).expect("valid rules"));
    let objects = Arc::new(WatchedObjects::new(api.client(), Arc::clone(&mapping), Handle::current()));
    let catalog = CatalogHandle::waiting(&rules, &*objects);
    let (_publish, follow) = watch::channel(Arc::clone(&rules));
    let settings = RelistSettings {
        interval: Duration::from_hours(1),
        max_age: Duration::from_hours(1),
        timeout: Duration::from_secs(5),
    };
    let relister = Relister::new(
        settings,
        source as Arc<dyn MetricSource>,
        objects,
        Changes { rules: follow, kinds: mapping.changes(), recoveries: watch::channel(()).1 },
        catalog.clone(),
        Arc::new(Telemetry::new(&rules)),
    );
    let (published, mut was_published) = tokio::sync::mpsc::unbounded_channel();
    tokio::spawn(relister.run(move |_| {
        published.send(()).expect("the test waits");
    }));
    was_published.recv().await.expect("the relister runs");
    let has = |group: &str, resource: &str| {
        catalog.load().catalog.custom(&GroupResource::new(group, resource), "depth").is_some()
    };
    assert!(has("", "pods") && has("", "namespaces") && !has("example.com", "widgets"));
    api.serves(true);
    let entered = async {
        while !has("example.com", "widgets") {
            was_published.recv().await.expect("the relister runs");
        }
    };
    // With the kinds, long before the series are listed again.
    let waited = tokio::time::timeout(Duration::from_mins(30), entered).await;
    assert!(waited.is_ok(), "the metric of the kind is not entered");
    assert!(has("", "pods"));
}

const MOST_HOURS: Duration = Duration::from_hours(3);
