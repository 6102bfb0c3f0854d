//! How objects are listed and watched, over a Kubernetes API that answers one request after the other as a test says.

use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use adapter::objects::watched::{State, WatchedObjects};
use adapter::objects::{Objects as _, Wanted};
use axum::body::Body;
use futures_util::{StreamExt as _, stream};
use http::{Request, Response};
use rules::resource::{Kind, ResourceMapper as _, StaticMapper};
use selector::labels::Selector;
use serde_json::{Value, json};
use testkit::wait::until_async;
use tokio::runtime::Handle;

/// What is answered to a request.
enum Answer {
    /// An object.
    Object(u16, Value),
    /// Events of a watch that goes on.
    Events(Vec<Value>),
    /// Events of a watch that ends.
    Ended(Vec<Value>),
    /// Nothing, ever.
    Nothing,
}

use Answer::{Ended, Events, Nothing, Object};

/// A Kubernetes API without sockets, so that a stopped clock stands still while it is asked. Requests beyond its script
/// are not answered. Cheap to clone.
#[derive(Clone, Default)]
struct Api(Arc<Mutex<Script>>);

#[derive(Default)]
struct Script {
    answers: VecDeque<Answer>,
    /// The query of each request.
    asked: Vec<String>,
}

impl Api {
    fn answering(answers: impl IntoIterator<Item = Answer>) -> Api {
        Api(Arc::new(Mutex::new(Script { answers: answers.into_iter().collect(), asked: Vec::new() })))
    }

    fn objects(&self) -> WatchedObjects {
        let api = self.clone();
        let service = tower::service_fn(move |request: Request<kube::client::Body>| {
            let answer = {
                let mut script = api.script();
                script.asked.push(request.uri().query().unwrap_or_default().to_owned());
                script.answers.pop_front().unwrap_or(Nothing)
            };
            async move {
                let text = |events: Vec<Value>| {
                    stream::iter(events.into_iter().map(|event| io::Result::Ok(format!("{event}\n"))))
                };
                let (code, body) = match answer {
                    Object(code, object) => (code, Body::from(object.to_string())),
                    Events(events) => (200, Body::from_stream(text(events).chain(stream::pending()))),
                    Ended(events) => (200, Body::from_stream(text(events))),
                    Nothing => std::future::pending().await,
                };
                Ok::<_, io::Error>(Response::builder().status(code).body(body).expect("a valid response"))
            }
        });
        WatchedObjects::new(kube::Client::new(service, "default"), Arc::default(), Handle::current())
    }

    /// Waits until a number of requests came; what they asked for, without what they all have.
    async fn asked(&self, count: usize) -> Vec<String> {
        until_async("requests", async || self.script().asked.len() >= count).await;
        let always = ["watch=true", "timeoutSeconds=290", "allowWatchBookmarks=true"];
        let asked = self.script().asked.clone();
        let said = |query: &String| {
            let kind = if query.contains("watch=true") { "watch" } else { "list" };
            let said =
                query.split('&').filter(|parameter| !always.contains(parameter) && !parameter.is_empty());
            std::iter::once(kind).chain(said).collect::<Vec<_>>().join(" ")
        };
        asked.iter().map(said).collect()
    }

    fn script(&self) -> MutexGuard<'_, Script> {
        self.0.lock().expect("no code panics while it holds the lock")
    }
}

fn pod(name: &str, version: &str) -> Value {
    json!({"metadata": {"namespace": "d", "name": name, "resourceVersion": version, "labels": {"app": "web"}, "annotations": {"a": "b"}}})
}

fn list(names: &[&str], version: &str, next: &str) -> Answer {
    let items: Vec<Value> = names.iter().map(|name| pod(name, "1")).collect();
    let list = json!({
        "kind": "PartialObjectMetadataList", "apiVersion": "meta.k8s.io/v1",
        "metadata": {"resourceVersion": version, "continue": next}, "items": items,
    });
    Object(200, list)
}

fn event(kind: &str, name: &str, version: &str) -> Value {
    json!({"type": kind, "object": pod(name, version)})
}

/// The event after the last object of a streaming list.
fn all_sent(version: &str) -> Value {
    json!({"type": "BOOKMARK", "object": {"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1",
        "metadata": {"resourceVersion": version, "annotations": {"k8s.io/initial-events-end": "true"}}}})
}

fn bookmark(version: &str) -> Value {
    json!({"type": "BOOKMARK", "object": {"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1",
        "metadata": {"resourceVersion": version}}})
}

fn status(code: u16) -> Value {
    json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "message": "told so", "code": code})
}

/// An API server that does not stream lists.
fn streams_nothing() -> Answer {
    Object(422, status(422))
}

fn pods() -> Arc<Kind> {
    StaticMapper::built_in().kind_for("pods", "").expect("pods")
}

/// The names of the known pods; waits for the first list of them.
async fn names(objects: &WatchedObjects) -> Vec<String> {
    let (kind, selector) = (pods(), Selector::parse("app=web").expect("a selector"));
    let wanted =
        Wanted { kind: &kind, namespace: Some("d"), name: None, selector: &selector, running: false };
    let deadline = Instant::now() + Duration::from_hours(1);
    let found = objects.list(wanted, deadline).await.expect("they are listed");
    found.iter().map(|object| object.name.to_string()).collect()
}

async fn become_known(objects: &WatchedObjects, expected: &[&str]) {
    until_async(&format!("{expected:?}"), async || names(objects).await == expected).await;
}

#[tokio::test(start_paused = true)]
async fn objects_and_their_changes_come_in_one_stream_where_the_server_has_it() {
    let events = [event("ADDED", "a", "5"), event("ADDED", "b", "3"), bookmark("6"), all_sent("7")];
    let changes = [event("MODIFIED", "c", "8"), event("DELETED", "a", "9")];
    let api = Api::answering([Events(events.into_iter().chain(changes).collect())]);
    let objects = api.objects();
    become_known(&objects, &["b", "c"]).await;
    assert_eq!(
        api.asked(1).await,
        ["watch sendInitialEvents=true resourceVersionMatch=NotOlderThan resourceVersion="]
    );
}

#[tokio::test(start_paused = true)]
async fn objects_are_not_known_before_all_of_them_were_sent() {
    let api = Api::answering([Events(vec![event("ADDED", "a", "5")])]);
    let objects = api.objects();
    let mut state = objects.state(&pods(), false);
    // It never says that this was all; then it is asked for a list.
    let asked = api.asked(2).await;
    assert_eq!(asked[1], "list resourceVersion=0");
    assert_eq!(*state.borrow_and_update(), State::Listing);
}

#[tokio::test(start_paused = true)]
async fn a_server_that_streams_no_list_is_asked_for_one_out_of_its_watch_cache() {
    let api = Api::answering([
        streams_nothing(),
        list(&["a", "b"], "7", ""),
        Events(vec![event("ADDED", "c", "8")]),
    ]);
    let objects = api.objects();
    become_known(&objects, &["a", "b", "c"]).await;
    assert_eq!(api.asked(3).await[1..], ["list resourceVersion=0", "watch resourceVersion=7"]);
}

#[tokio::test(start_paused = true)]
async fn a_watch_that_ends_goes_on_from_what_was_seen_last() {
    let rows = [event("MODIFIED", "a", "8"), event("DELETED", "b", "8"), bookmark("8")];
    for last in rows {
        let api = Api::answering([
            streams_nothing(),
            list(&["a", "b"], "7", ""),
            Ended(vec![last.clone()]),
            Events(vec![event("ADDED", "c", "9")]),
        ]);
        let objects = api.objects();
        until_async("c to be known", async || names(&objects).await.contains(&"c".to_owned())).await;
        assert_eq!(api.asked(4).await[3], "watch resourceVersion=8", "{last}");
    }
}

/// An error in a watch, one as its answer, and the same in a stream.
#[tokio::test(start_paused = true)]
async fn what_is_too_old_to_watch_is_listed_again_as_new_as_it_was_seen() {
    let gone = json!({"type": "ERROR", "object": status(410)});
    let rows = [
        vec![streams_nothing(), list(&["a"], "7", ""), Events(vec![gone.clone()]), list(&["b"], "9", "")],
        vec![streams_nothing(), list(&["a"], "7", ""), Object(410, status(410)), list(&["b"], "9", "")],
        vec![
            Events(vec![event("ADDED", "a", "1"), all_sent("7"), gone]),
            Events(vec![event("ADDED", "b", "8"), all_sent("9")]),
        ],
    ];
    for answers in rows {
        let count = answers.len();
        let api = Api::answering(answers);
        let objects = api.objects();
        become_known(&objects, &["b"]).await;
        let asked = api.asked(count).await;
        assert!(asked[count - 1].ends_with("resourceVersion=7"), "{asked:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_was_known_stays_known_while_all_is_listed_again() {
    let gone = json!({"type": "ERROR", "object": status(410)});
    let answers =
        [Events(vec![event("ADDED", "a", "1"), all_sent("7"), gone]), Events(vec![event("ADDED", "b", "8")])];
    let api = Api::answering(answers);
    let objects = api.objects();
    let _state = objects.state(&pods(), false);
    api.asked(2).await;
    assert_eq!(names(&objects).await, ["a"]);
}

/// A list of the newest comes from the storage, and in pages.
#[tokio::test(start_paused = true)]
async fn a_server_without_the_version_seen_last_is_asked_for_the_newest() {
    let too_large = json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "message": "Too large resource version", "code": 504,
        "details": {"causes": [{"reason": "ResourceVersionTooLarge", "message": "Too large resource version"}]}});
    for refusal in [Object(410, status(410)), Object(504, too_large)] {
        let api = Api::answering([
            streams_nothing(),
            list(&["a"], "7", ""),
            Object(410, status(410)),
            refusal,
            list(&["b"], "9", "more"),
            list(&["c"], "9", ""),
        ]);
        let objects = api.objects();
        become_known(&objects, &["b", "c"]).await;
        let asked = api.asked(7).await;
        assert_eq!(
            asked[3..],
            [
                "list resourceVersion=7",
                "list limit=500",
                "list limit=500 continue=more",
                "watch resourceVersion=9"
            ]
        );
    }
}

#[tokio::test(start_paused = true)]
async fn pages_that_grow_too_old_are_read_in_one() {
    let api = Api::answering([
        streams_nothing(),
        list(&["a"], "7", ""),
        Object(410, status(410)),
        Object(410, status(410)),
        list(&["b"], "9", "more"),
        Object(410, status(410)),
        list(&["b", "c"], "10", ""),
    ]);
    let objects = api.objects();
    become_known(&objects, &["b", "c"]).await;
    assert_eq!(api.asked(7).await[4..7], ["list limit=500", "list limit=500 continue=more", "list"]);
}

#[tokio::test(start_paused = true)]
async fn a_server_that_is_busy_is_asked_for_a_stream_again() {
    let api = Api::answering([
        Object(503, status(503)),
        Object(503, status(503)),
        Events(vec![event("ADDED", "a", "1"), all_sent("7")]),
    ]);
    let objects = api.objects();
    let mut state = objects.state(&pods(), false);
    state.wait_for(|state| *state == State::Known).await.expect("they are watched");
    assert_eq!(names(&objects).await, ["a"]);
    let asked = api.asked(3).await;
    assert!(asked[1] == "list resourceVersion=0" && asked[2].contains("sendInitialEvents=true"), "{asked:?}");
}

#[tokio::test(start_paused = true)]
async fn a_watch_that_ends_immediately_is_not_asked_for_without_a_pause() {
    let ended = (0..20).map(|_| Ended(Vec::new()));
    let first = [streams_nothing(), list(&["a"], "7", "")];
    let api = Api::answering(first.into_iter().chain(ended));
    let objects = api.objects();
    let began = tokio::time::Instant::now();
    assert_eq!(names(&objects).await, ["a"]);
    api.asked(8).await;
    assert!(began.elapsed() > Duration::from_secs(5), "{:?}", began.elapsed());
}
