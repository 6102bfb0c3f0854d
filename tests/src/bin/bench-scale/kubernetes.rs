//! A kube-apiserver with any number of pods, over TLS: lists, watches and streaming lists of metadata, access reviews,
//! aggregated discovery. It allows everything, and counts what it is asked.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use apiservice::authority::Authority;
use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{Path, RawQuery, State};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{get, post};
use e2e::Failure;
use futures_util::{StreamExt as _, stream};
use http::{HeaderMap, StatusCode, header};
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use hyper_util::service::TowerToHyperService;
use serde_json::{Value, json};
use testkit::wire::tls;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio_rustls::TlsAcceptor;
use tokio_util::task::AbortOnDropHandle;

use crate::pods::{Place, Pods, VERSION, namespace_name};
use crate::prometheus::parameters;

/// A server on loopback, until dropped.
pub(crate) struct Kubernetes {
    pub(crate) address: SocketAddr,
    shared: Arc<Shared>,
    _serving: AbortOnDropHandle<()>,
}

struct Shared {
    pods: Pods,
    /// Whether it serves streaming lists: `sendInitialEvents`.
    streams: bool,
    /// How often all resource versions have become too old.
    expired: watch::Sender<usize>,
    access_reviews: AtomicUsize,
    /// How often all pods were sent whole.
    whole: AtomicUsize,
}

/// The query of a request.
#[derive(Debug)]
struct Parameters(String);

impl Parameters {
    fn get(&self, name: &str) -> Option<String> {
        parameters(self.0.as_bytes(), name).pop()
    }
}

impl Kubernetes {
    /// Starts a server with these pods. Its certificate, for `localhost`, is signed by an authority.
    pub(crate) async fn start(
        pods: Pods,
        streams: bool,
        authority: &Authority,
    ) -> Result<Kubernetes, Failure> {
        let issued = authority.issue_server("kube-apiserver", &["localhost".to_owned()], &[])?;
        let identity = tls::Identity::from_pem(issued.certificate.as_bytes(), issued.key.as_bytes())?;
        let mut config = tls::server(identity, None)?;
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        let shared = Arc::new(Shared {
            pods,
            streams,
            expired: watch::channel(0).0,
            access_reviews: AtomicUsize::new(0),
            whole: AtomicUsize::new(0),
        });
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let router = router(Arc::clone(&shared));
        let serving = tokio::spawn(serve(listener, TlsAcceptor::from(Arc::new(config)), router));
        Ok(Kubernetes { address, shared, _serving: AbortOnDropHandle::new(serving) })
    }

    /// Ends every watch with 410: clients list again.
    pub(crate) fn expire(&self) {
        self.shared.expired.send_modify(|times| *times += 1);
    }

    /// How often all pods were sent whole, by list or by stream.
    pub(crate) fn sent_whole(&self) -> usize {
        self.shared.whole.load(Ordering::Relaxed)
    }

    /// SubjectAccessReviews so far.
    pub(crate) fn access_reviews(&self) -> usize {
        self.shared.access_reviews.load(Ordering::Relaxed)
    }
}

async fn serve(listener: TcpListener, acceptor: TlsAcceptor, router: Router) {
    while let Ok((stream, _)) = listener.accept().await {
        let (acceptor, router) = (acceptor.clone(), router.clone());
        tokio::spawn(async move {
            let _ = stream.set_nodelay(true);
            // What a client breaks off is its own affair.
            let Ok(stream) = acceptor.accept(stream).await else { return };
            let service = TowerToHyperService::new(router);
            let _ = auto::Builder::new(TokioExecutor::new())
                .serve_connection(TokioIo::new(stream), service)
                .await;
        });
    }
}

fn router(shared: Arc<Shared>) -> Router {
    Router::new()
        .route("/version", get(version))
        .route("/api", get(core_discovery))
        .route("/apis", get(group_discovery))
        .route("/apis/authentication.k8s.io/v1/tokenreviews", post(token_review))
        .route("/apis/authorization.k8s.io/v1/subjectaccessreviews", post(access_review))
        .route("/api/v1/pods", get(all_pods))
        .route("/api/v1/namespaces/{namespace}/pods", get(pods_of_namespace))
        .fallback(get(nothing))
        .with_state(shared)
}

async fn version() -> Response {
    object(StatusCode::OK, &json!({"major": "1", "minor": "34", "gitVersion": "v1.34.0"}))
}

async fn core_discovery() -> Response {
    let resource = |name: &str, kind: &str, scope: &str| {
        json!({"resource": name, "responseKind": {"group": "", "version": "v1", "kind": kind}, "scope": scope,
               "singularResource": kind.to_lowercase(), "verbs": ["get", "list", "watch"]})
    };
    let resources = json!([
        resource("pods", "Pod", "Namespaced"),
        resource("services", "Service", "Namespaced"),
        resource("nodes", "Node", "Cluster"),
        resource("namespaces", "Namespace", "Cluster"),
    ]);
    discovery(
        &json!([{"metadata": {}, "versions": [{"version": "v1", "resources": resources, "freshness": "Current"}]}]),
    )
}

async fn group_discovery() -> Response {
    discovery(&json!([]))
}

fn discovery(items: &Value) -> Response {
    let list = json!({"kind": "APIGroupDiscoveryList", "apiVersion": "apidiscovery.k8s.io/v2", "metadata": {}, "items": items});
    let media_type = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList";
    ([(header::CONTENT_TYPE, media_type)], list.to_string()).into_response()
}

async fn token_review() -> Response {
    let review = json!({"kind": "TokenReview", "apiVersion": "authentication.k8s.io/v1", "spec": {},
        "status": {"authenticated": true, "user": {"username": "bench", "groups": ["system:authenticated"]}}});
    object(StatusCode::CREATED, &review)
}

async fn access_review(State(shared): State<Arc<Shared>>) -> Response {
    shared.access_reviews.fetch_add(1, Ordering::Relaxed);
    let review = json!({"kind": "SubjectAccessReview", "apiVersion": "authorization.k8s.io/v1", "spec": {},
        "status": {"allowed": true, "reason": "RBAC: allowed by the bench"}});
    object(StatusCode::CREATED, &review)
}

async fn all_pods(State(shared): State<Arc<Shared>>, RawQuery(query): RawQuery) -> Response {
    let query = Parameters(query.unwrap_or_default());
    if query.get("watch").is_some_and(|watch| watch == "true" || watch == "1") {
        return watch_pods(shared, &query);
    }
    let at = query.get("continue").and_then(|token| token.parse::<usize>().ok()).unwrap_or_default();
    // The watch cache answers `resourceVersion=0` whole, whatever the limit is.
    let is_cached = query.get("resourceVersion").is_some_and(|version| version == "0");
    let limit = query.get("limit").and_then(|limit| limit.parse::<usize>().ok()).filter(|limit| *limit > 0);
    let limit = limit.filter(|_| !is_cached).unwrap_or(usize::MAX);
    let end = at.saturating_add(limit).min(shared.pods.count);
    let next = if end < shared.pods.count { end.to_string() } else { String::new() };
    let head = format!(
        r#"{{"kind":"PartialObjectMetadataList","apiVersion":"meta.k8s.io/v1","metadata":{{"resourceVersion":"{VERSION}","continue":"{next}"}},"items":["#
    );
    let places = shared.pods.places().skip(at).take(end - at);
    let items = chunks(places, |place, is_first, out| {
        if !is_first {
            out.push(',');
        }
        place.write(out);
    });
    let is_last = next.is_empty();
    let tail = stream::once(async move {
        if is_last {
            shared.whole.fetch_add(1, Ordering::Relaxed);
        }
        Bytes::from_static(b"]}\n")
    });
    streamed(stream::once(async { Bytes::from(head) }).chain(items).chain(tail))
}

fn watch_pods(shared: Arc<Shared>, query: &Parameters) -> Response {
    let sends_initial_events = query.get("sendInitialEvents").is_some_and(|send| send == "true");
    if sends_initial_events && !shared.streams {
        let message = "sendInitialEvents: Forbidden: sendInitialEvents is forbidden for watch unless the WatchList feature gate is enabled";
        let status = json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
            "message": message, "reason": "Invalid", "code": 422});
        return object(StatusCode::UNPROCESSABLE_ENTITY, &status);
    }
    let pods = if sends_initial_events { shared.pods } else { Pods::none() };
    let events = chunks(pods.places(), |place, _, out| {
        out.push_str(r#"{"type":"ADDED","object":"#);
        place.write(out);
        out.push_str("}\n");
    });
    let mut expired = shared.expired.subscribe();
    let told = Arc::clone(&shared);
    let mark = stream::iter(sends_initial_events.then_some(())).map(move |()| {
        told.whole.fetch_add(1, Ordering::Relaxed);
        Bytes::from(format!(
            r#"{{"type":"BOOKMARK","object":{{"kind":"PartialObjectMetadata","apiVersion":"meta.k8s.io/v1","metadata":{{"resourceVersion":"{VERSION}","annotations":{{"k8s.io/initial-events-end":"true"}}}}}}}}{}"#,
            '\n'
        ))
    });
    let end = stream::once(async move {
        let _ = expired.changed().await;
        // The sender lives as long as the server.
        drop(shared);
        Bytes::from_static(GONE.as_bytes())
    });
    streamed(events.chain(mark).chain(end))
}

/// What prometheus-adapter asks for with each request.
async fn pods_of_namespace(
    State(shared): State<Arc<Shared>>,
    Path(namespace): Path<String>,
    RawQuery(query): RawQuery,
) -> Response {
    let query = Parameters(query.unwrap_or_default());
    let number = (0..shared.pods.namespaces).find(|number| namespace_name(*number) == namespace);
    let selector = query.get("labelSelector").unwrap_or_default();
    let deployment = selector.strip_prefix("app=app-").and_then(|number| number.parse::<usize>().ok());
    let mut body = format!(
        r#"{{"kind":"PartialObjectMetadataList","apiVersion":"meta.k8s.io/v1","metadata":{{"resourceVersion":"{VERSION}"}},"items":["#
    );
    let places: Vec<Place> = match (number, deployment) {
        (Some(number), Some(deployment)) => shared.pods.of_deployment(number, deployment).collect(),
        (Some(number), None) if selector.is_empty() => shared.pods.of(number).collect(),
        _ => Vec::new(),
    };
    for (position, place) in places.into_iter().enumerate() {
        if position > 0 {
            body.push(',');
        }
        place.write(&mut body);
    }
    body.push_str("]}\n");
    ([(header::CONTENT_TYPE, "application/json")], body).into_response()
}

/// An empty list of any other kind, and a watch of it that never tells anything.
async fn nothing(RawQuery(query): RawQuery) -> Response {
    if Parameters(query.unwrap_or_default()).get("watch").is_some() {
        return streamed(stream::pending());
    }
    let list = json!({"kind": "PartialObjectMetadataList", "apiVersion": "meta.k8s.io/v1",
        "metadata": {"resourceVersion": VERSION.to_string()}, "items": []});
    object(StatusCode::OK, &list)
}

/// Texts of many pods in pieces of about 64 kB, made when they are sent.
fn chunks(
    mut places: impl Iterator<Item = Place> + Send,
    mut write: impl FnMut(Place, bool, &mut String) + Send,
) -> impl stream::Stream<Item = Bytes> + Send {
    let mut is_first = true;
    let next = move || {
        let mut chunk = String::new();
        for place in places.by_ref() {
            write(place, std::mem::take(&mut is_first), &mut chunk);
            if chunk.len() > CHUNK {
                break;
            }
        }
        (!chunk.is_empty()).then(|| Bytes::from(chunk))
    };
    stream::iter(std::iter::from_fn(next))
}

fn object(code: StatusCode, object: &Value) -> Response {
    (code, [(header::CONTENT_TYPE, "application/json")], object.to_string()).into_response()
}

fn streamed(chunks: impl stream::Stream<Item = Bytes> + Send + 'static) -> Response {
    let mut headers = HeaderMap::new();
    headers.insert(header::CONTENT_TYPE, header::HeaderValue::from_static("application/json"));
    (headers, Body::from_stream(chunks.map(Ok::<_, Infallible>))).into_response()
}

const CHUNK: usize = 64 * 1024;
const GONE: &str = concat!(
    r#"{"type":"ERROR","object":{"kind":"Status","apiVersion":"v1","metadata":{},"status":"Failure","#,
    r#""message":"too old resource version","reason":"Expired","code":410}}"#,
    "\n"
);
