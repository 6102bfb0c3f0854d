//! A server that answers as the path says, and its clients.

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use http::{HeaderName, Request, Response};
use http_body_util::Empty;
use hyper::body::Incoming;
use hyper::client::conn::http2::SendRequest;
use serve::{Caller, LastAnswer, Limits, Refusal, Service, Stats, Trust};
use testkit::served::{self, Served};
use testkit::wire::{self, Raw};
use tokio::sync::Semaphore;

/// Far more than any test takes, so that only what a test shortens can end a connection.
const NEVER: Duration = Duration::from_hours(1);
/// Short, and long enough for a request meanwhile.
pub(crate) const BRIEF: Duration = Duration::from_millis(200);

/// Limits that end nothing by time.
pub(crate) fn patient() -> Limits {
    Limits {
        handshake: NEVER,
        headers: NEVER,
        exchange: None,
        answer: NEVER,
        idle: NEVER,
        linger: NEVER,
        grace: None,
        ..Limits::default()
    }
}

/// Answers as the path says.
struct ByPath {
    entered: Arc<Semaphore>,
    go: Arc<Semaphore>,
}

impl Service<()> for ByPath {
    fn call(
        &self,
        request: Request<Incoming>,
        caller: &Arc<Caller<()>>,
    ) -> impl Future<Output = Response<Body>> + Send + 'static + use<> {
        let path = request.uri().path().to_owned();
        match path.as_str() {
            "/certificate" => caller.verified(Trust::Certificate),
            "/token" => caller.verified(Trust::Token),
            _ => {}
        }
        let (entered, go) = (Arc::clone(&self.entered), Arc::clone(&self.go));
        async move {
            let mut response = Response::new(Body::from("ok"));
            match path.as_str() {
                "/slow" => {
                    entered.add_permits(1);
                    go.acquire().await.expect("never closed").forget();
                }
                "/large" => *response.body_mut() = Body::from(vec![b'a'; LARGE]),
                "/last" => {
                    response.extensions_mut().insert(LastAnswer);
                }
                "/fields" => *response.body_mut() = Body::from(request.headers().len().to_string()),
                _ => {}
            }
            response
        }
    }

    fn reads(&self, name: &HeaderName, (): &()) -> bool {
        name.as_str().starts_with("x-read")
    }

    fn refuse(&self, refusal: Refusal) -> Response<Body> {
        served::refuse(refusal)
    }
}

pub(crate) struct Server {
    pub(crate) served: Served,
    /// A permit for each request of `/slow` that waits.
    pub(crate) entered: Arc<Semaphore>,
    pub(crate) go: Arc<Semaphore>,
}

impl Server {
    pub(crate) fn start(limits: Limits) -> Server {
        let (entered, go) = (Arc::new(Semaphore::new(0)), Arc::new(Semaphore::new(0)));
        let service = ByPath { entered: Arc::clone(&entered), go: Arc::clone(&go) };
        Server { served: Served::start(service, limits), entered, go }
    }

    pub(crate) fn stats(&self) -> &Stats {
        &self.served.stats
    }

    /// A connection over which a test writes what it likes.
    pub(crate) async fn raw(&self) -> Raw {
        self.raw_from(1).await
    }

    /// One from 127.0.0.N.
    pub(crate) async fn raw_from(&self, host: u8) -> Raw {
        let from = Ipv4Addr::new(127, 0, 0, host);
        Raw(wire::connect(from, self.served.address).await.expect("a connection"))
    }

    /// One on which a request was answered.
    pub(crate) async fn asked_from(&self, host: u8, path: &str) -> Raw {
        let mut raw = self.raw_from(host).await;
        assert_eq!(raw.get(path).await, 200);
        raw
    }

    pub(crate) async fn http2(&self) -> SendRequest<Empty<Bytes>> {
        wire::http2(self.raw().await.0).await.0
    }

    pub(crate) fn request(&self, path: &str) -> http::request::Builder {
        Request::get(format!("http://{}{path}", self.served.address))
    }
}

/// More than the buffers of a connection take.
pub(crate) const LARGE: usize = 16 << 20;
