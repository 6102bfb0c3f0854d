//! A Kubernetes API server as far as this crate asks one: it keeps what it is asked, and answers what a test says.

use std::collections::{HashMap, VecDeque};
use std::io;
use std::sync::{Arc, Mutex, MutexGuard};

use axum::body::Body;
use bytes::Bytes;
use futures_util::stream;
use http::{Method, Request, Response};
use http_body_util::BodyExt as _;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::time::Instant;

pub(crate) const TOKEN_REVIEWS: &str = "/apis/authentication.k8s.io/v1/tokenreviews";
pub(crate) const ACCESS_REVIEWS: &str = "/apis/authorization.k8s.io/v1/subjectaccessreviews";
pub(crate) const CONFIG_MAPS: &str = "/api/v1/namespaces/kube-system/configmaps";

/// What the server does with a question.
#[derive(Debug, Clone)]
pub(crate) enum Reply {
    /// An object.
    Object(u16, Value),
    /// No object: what a proxy in between might say.
    Text(u16, &'static str),
    /// The connection ends without an answer.
    Reset,
    /// Nothing until [`FakeApi::release`]; then the reply.
    Held(Box<Reply>),
    /// The ConfigMap as it stands, or its changes.
    ConfigMap,
}

/// A question, as it came.
#[derive(Debug, Clone)]
pub(crate) struct Asked {
    pub(crate) method: Method,
    pub(crate) path: String,
    pub(crate) query: String,
    pub(crate) body: Value,
    pub(crate) at: Instant,
}

/// Cheap to clone; clones are the same server.
#[derive(Clone)]
pub(crate) struct FakeApi {
    state: Arc<Mutex<State>>,
    /// How many questions came.
    count: watch::Sender<usize>,
    released: watch::Sender<bool>,
    /// How many changes of the ConfigMap there were.
    changes: watch::Sender<usize>,
}

#[derive(Default)]
struct State {
    asked: Vec<Asked>,
    /// Given first, once each.
    next: HashMap<String, VecDeque<Reply>>,
    /// Given from then on.
    standing: HashMap<String, Reply>,
    /// The versions of the ConfigMap, the newest last; null is a deletion.
    config_maps: Vec<Value>,
}

impl FakeApi {
    /// A server that authenticates no token and allows everything.
    pub(crate) fn new() -> FakeApi {
        let fake = FakeApi {
            state: Arc::default(),
            count: watch::channel(0).0,
            released: watch::channel(false).0,
            changes: watch::channel(0).0,
        };
        fake.always(TOKEN_REVIEWS, unknown_token());
        fake.always(ACCESS_REVIEWS, allowed());
        fake.always(CONFIG_MAPS, Reply::ConfigMap);
        fake
    }

    /// A client that reaches the server without sockets, so that a paused clock stands still while it is asked.
    pub(crate) fn client(&self) -> kube::Client {
        let fake = self.clone();
        let service =
            tower::service_fn(move |request: Request<kube::client::Body>| fake.clone().answer(request));
        kube::Client::new(service, "default")
    }

    /// A client that reaches the server over loopback.
    pub(crate) async fn client_over_loopback(&self) -> kube::Client {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let fake = self.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let fake = fake.clone();
                let service = service_fn(move |request| fake.clone().answer(request));
                tokio::spawn(async move {
                    // An answer that is an error ends the connection.
                    let _ = hyper::server::conn::http1::Builder::new()
                        .serve_connection(TokioIo::new(stream), service)
                        .await;
                });
            }
        });
        client_of(&format!("http://{address}"))
    }

    /// From now on a question below this path is answered so.
    pub(crate) fn always(&self, path: &str, reply: Reply) {
        self.lock().standing.insert(path.to_owned(), reply);
    }

    /// The next questions below this path are answered so, one after the other.
    pub(crate) fn next(&self, path: &str, replies: impl IntoIterator<Item = Reply>) {
        self.lock().next.entry(path.to_owned()).or_default().extend(replies);
    }

    /// Lets all held replies go, those that are asked for later too.
    pub(crate) fn release(&self) {
        self.released.send_replace(true);
    }

    /// Waits until a number of questions came.
    pub(crate) async fn came(&self, count: usize) {
        self.count.subscribe().wait_for(|came| *came >= count).await.expect("the fake lives");
    }

    /// The questions below a path so far.
    pub(crate) fn asked(&self, path: &str) -> Vec<Asked> {
        self.lock().asked.iter().filter(|asked| asked.path == path).cloned().collect()
    }

    /// How many questions came below a path.
    pub(crate) fn count(&self, path: &str) -> usize {
        self.asked(path).len()
    }

    /// The ConfigMap is this from now on.
    pub(crate) fn config_map(&self, data: &Value) {
        let mut state = self.lock();
        let version = state.config_maps.len() + 1;
        state.config_maps.push(json!({
            "metadata": {
                "name": "extension-apiserver-authentication", "namespace": "kube-system",
                "resourceVersion": version.to_string(),
            },
            "data": data,
        }));
        self.changes.send_replace(version);
    }

    /// The ConfigMap is not there any more.
    pub(crate) fn delete_config_map(&self) {
        let mut state = self.lock();
        state.config_maps.push(Value::Null);
        self.changes.send_replace(state.config_maps.len());
    }

    async fn answer<B>(self, request: Request<B>) -> io::Result<Response<Body>>
    where
        B: hyper::body::Body<Data = Bytes>,
    {
        let (parts, body) = request.into_parts();
        let body = body.collect().await.map_err(|_| io::ErrorKind::InvalidData)?.to_bytes();
        let path = parts.uri.path().to_owned();
        let asked = Asked {
            method: parts.method,
            path: path.clone(),
            query: parts.uri.query().unwrap_or_default().to_owned(),
            body: if body.is_empty() { Value::Null } else { serde_json::from_slice(&body)? },
            at: Instant::now(),
        };
        let is_watch = asked.query.split('&').any(|parameter| parameter == "watch=true");
        let mut reply = {
            let mut state = self.lock();
            state.asked.push(asked);
            let once = state.next.get_mut(&path).and_then(VecDeque::pop_front);
            once.or_else(|| state.standing.get(&path).cloned()).unwrap_or(Reply::Text(404, "no such thing"))
        };
        self.count.send_modify(|count| *count += 1);
        while let Reply::Held(then) = reply {
            self.released.subscribe().wait_for(|released| *released).await.expect("the fake lives");
            reply = *then;
        }
        match reply {
            Reply::Object(code, object) => Ok(response(code, "application/json", object.to_string())),
            Reply::Text(code, text) => Ok(response(code, "text/plain", text)),
            Reply::ConfigMap if is_watch => Ok(response(200, "application/json", self.changes())),
            Reply::ConfigMap => {
                let newest = self.lock().config_maps.last().cloned();
                let items = newest.into_iter().filter(|map| !map.is_null()).collect::<Vec<_>>();
                let version = self.lock().config_maps.len().to_string();
                let list = json!({"kind": "ConfigMapList", "apiVersion": "v1", "metadata": {"resourceVersion": version}, "items": items});
                Ok(response(200, "application/json", list.to_string()))
            }
            Reply::Reset | Reply::Held(_) => Err(io::ErrorKind::ConnectionReset.into()),
        }
    }

    /// Every change of the ConfigMap behind the newest version there is now.
    fn changes(&self) -> Body {
        let known = self.lock().config_maps.len();
        let changes = stream::unfold((self.clone(), known), |(fake, known)| async move {
            fake.changes.subscribe().wait_for(|count| *count > known).await.expect("the fake lives");
            let before = known.checked_sub(1).map(|before| fake.lock().config_maps[before].clone());
            let before = before.filter(|map| !map.is_null());
            let mut map = fake.lock().config_maps[known].clone();
            let kind = match &before {
                None => "ADDED",
                Some(_) if map.is_null() => "DELETED",
                Some(_) => "MODIFIED",
            };
            if map.is_null() {
                map = before.unwrap_or_default();
                map["metadata"]["resourceVersion"] = (known + 1).to_string().into();
            }
            map["kind"] = "ConfigMap".into();
            map["apiVersion"] = "v1".into();
            let event = format!("{}\n", json!({"type": kind, "object": map}));
            Some((Ok::<_, io::Error>(event), (fake, known + 1)))
        });
        Body::from_stream(changes)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no code panics while it holds the lock")
    }
}

/// A client of the server at an address, as the adapter makes one: callers retry by themselves.
pub(crate) fn client_of(url: &str) -> kube::Client {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let mut config = kube::Config::new(url.parse().expect("a URL"));
    config.default_retry = false;
    kube::Client::try_from(config).expect("a client")
}

fn response(code: u16, content_type: &str, body: impl Into<Body>) -> Response<Body> {
    let response = Response::builder().status(code).header("content-type", content_type);
    response.body(body.into()).expect("a valid response")
}

/// The token stands for a user.
pub(crate) fn token_of(user: &Value) -> Reply {
    token_review(&json!({"authenticated": true, "user": user}))
}

/// The token is not valid, with a reason.
pub(crate) fn unknown_token() -> Reply {
    token_review(&json!({"user": {}, "error": "invalid bearer token"}))
}

fn token_review(status: &Value) -> Reply {
    let review = json!({"kind": "TokenReview", "apiVersion": "authentication.k8s.io/v1", "spec": {}, "status": status});
    Reply::Object(201, review)
}

/// The caller may.
pub(crate) fn allowed() -> Reply {
    access_review(&json!({"allowed": true, "reason": "RBAC: allowed by a test"}))
}

/// The caller may not, for a reason, which may be empty.
pub(crate) fn refused(reason: &str) -> Reply {
    access_review(&json!({"allowed": false, "reason": reason}))
}

pub(crate) fn access_review(status: &Value) -> Reply {
    let review = json!({
        "kind": "SubjectAccessReview", "apiVersion": "authorization.k8s.io/v1", "spec": {}, "status": status,
    });
    Reply::Object(201, review)
}

/// The API server answers with an error.
pub(crate) fn failure(code: u16) -> Reply {
    Reply::Object(
        code,
        json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "message": "boom", "code": code}),
    )
}
