//! Requests to a router, without sockets; and routers on sockets.

use std::net::{Ipv4Addr, SocketAddr};

use axum::Router;
use axum::body::Body;
use bytes::Bytes;
use http::{HeaderMap, Request};
use http_body_util::BodyExt as _;
use serde_json::Value;
use tokio::net::TcpListener;
use tower::ServiceExt as _;

/// A whole answer.
#[derive(Debug, Clone)]
pub struct Response {
    /// The status code.
    pub code: u16,
    /// The headers.
    pub headers: HeaderMap,
    /// The body.
    pub body: Bytes,
}

/// What a router answers.
///
/// # Panics
/// The body ends before its time.
pub async fn ask(router: &Router, request: Request<Body>) -> Response {
    let Ok(response) = router.clone().oneshot(request).await;
    let (head, body) = response.into_parts();
    let body = body.collect().await.expect("a whole body").to_bytes();
    Response { code: head.status.as_u16(), headers: head.headers, body }
}

/// A request without a body.
///
/// # Panics
/// It is not valid.
pub fn request(method: http::Method, path: &str, headers: &[(&str, &str)]) -> Request<Body> {
    let mut request = Request::builder().method(method).uri(path);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.body(Body::empty()).expect("a valid request")
}

impl Response {
    /// The body as text.
    ///
    /// # Panics
    /// It is not text.
    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.body).expect("text")
    }

    /// A header.
    ///
    /// # Panics
    /// It is not text.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().expect("text"))
    }

    /// The header `content-type`.
    ///
    /// # Panics
    /// There is none.
    pub fn content_type(&self) -> &str {
        self.header("content-type").expect("a content type")
    }

    /// The body as JSON.
    ///
    /// # Panics
    /// It is not JSON.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {:?}", self.body))
    }

    /// The message of a Kubernetes `Status`.
    ///
    /// # Panics
    /// The body is not a `Status` with the code of the answer.
    pub fn message(&self) -> String {
        let status = self.json();
        assert_eq!((&status["kind"], &status["code"]), (&"Status".into(), &self.code.into()), "{status}");
        status["message"].as_str().expect("a message").to_owned()
    }
}

/// Serves a router over HTTP/1.1 on loopback until the test ends.
///
/// # Panics
/// No port is free.
pub async fn serve(router: Router) -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a port");
    let address = listener.local_addr().expect("an address");
    tokio::spawn(async move { axum::serve(listener, router).await });
    address
}

/// An address of loopback where nothing listens at the moment.
///
/// # Panics
/// No port is free.
pub fn closed_address() -> SocketAddr {
    let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
    listener.local_addr().expect("an address")
}
