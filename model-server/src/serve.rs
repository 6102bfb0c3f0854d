//! Serves the routes to clients over HTTP/1.1 and HTTP/2, by [`serve()`].

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::{HeaderName, Request, Response, StatusCode, header};
use axum::response::IntoResponse as _;
use hyper::body::Incoming;
use serve::lifecycle::Shutdown;
use serve::{Caller, Limits, Plain, Refusal, Stats};
use tokio::net::TcpListener;
use tower::ServiceExt as _;

/// How connections are served.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Connections {
    /// How many at a time; one more ends another.
    pub most: usize,
    /// How long the head of a request may take to come.
    pub header_timeout: Duration,
    /// How long a connection may stay open without a request.
    pub idle_timeout: Duration,
    /// How long a client may take for an answer.
    pub answer_timeout: Duration,
}

/// Serves until told to stop and the last connection is done.
pub async fn serve(
    listener: TcpListener,
    router: Router,
    connections: Connections,
    shutdown: Shutdown,
    stats: Arc<Stats>,
) {
    serve::serve(listener, Plain, Answers(router), shutdown, connections.limits(), stats).await;
}

impl Connections {
    fn limits(self) -> Limits {
        Limits {
            connections: self.most,
            // No client is authenticated here: there are no places to keep, and no handshake that is more than a few
            // bytes.
            reserved: 0,
            handshakes: self.most,
            handshake: self.header_timeout,
            headers: self.header_timeout,
            header_bytes: HEADER_BYTES,
            header_fields: HEADER_FIELDS,
            all_header_bytes: ALL_HEADER_BYTES,
            // The queue and the body have limits of their own.
            exchange: None,
            answer: self.answer_timeout,
            idle: self.idle_timeout,
            linger: LINGER,
            http2_streams: STREAMS,
            http2_stream_window: 65_535,
            http2_connection_window: 1 << 20,
            grace: None,
        }
    }
}

/// The routes.
struct Answers(Router);

impl serve::Service<()> for Answers {
    fn call(
        &self,
        request: Request<Incoming>,
        _: &Arc<Caller<()>>,
    ) -> impl Future<Output = Response<Body>> + Send + 'static + use<> {
        let answer = Begins { future: self.0.clone().oneshot(request.map(Body::new)), begun: false };
        async move {
            let Ok(response): Result<Response<Body>, Infallible> = answer.await;
            response
        }
    }

    fn reads(&self, _: &HeaderName, (): &()) -> bool {
        // A head is so small that nothing is gained by leaving some out.
        true
    }

    fn refuse(&self, refusal: Refusal) -> Response<Body> {
        match refusal {
            Refusal::TooManyFields => (
                StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
                format!("expected at most {HEADER_FIELDS} header fields, found more"),
            )
                .into_response(),
            Refusal::Busy => (
                StatusCode::TOO_MANY_REQUESTS,
                [(header::RETRY_AFTER, "1")],
                "too many requests with long headers, or too many at the same time on one connection",
            )
                .into_response(),
        }
    }
}

/// A future that begins in any case. When a client leaves immediately, hyper drops what answers it without ever polling
/// it: its request would be counted nowhere.
struct Begins<F: Future + Unpin> {
    future: F,
    begun: bool,
}

impl<F: Future + Unpin> Future for Begins<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        self.begun = true;
        Pin::new(&mut self.future).poll(context)
    }
}

impl<F: Future + Unpin> Drop for Begins<F> {
    fn drop(&mut self) {
        if !self.begun {
            let _ = Pin::new(&mut self.future).poll(&mut Context::from_waker(Waker::noop()));
        }
    }
}

const HEADER_BYTES: usize = 64 << 10;
/// hyper's own number: it needs no allocation up to it.
const HEADER_FIELDS: usize = 100;
const ALL_HEADER_BYTES: usize = 32 << 20;
const LINGER: Duration = Duration::from_secs(5);
/// Requests at a time on one HTTP/2 connection.
const STREAMS: u32 = 256;

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    #[tokio::test]
    async fn what_is_dropped_before_its_first_turn_begins_and_what_began_does_not_again() {
        let begun = Cell::new(0);
        let counting = || {
            let future = Box::pin(async {
                begun.set(begun.get() + 1);
                tokio::task::yield_now().await;
            });
            Begins { future, begun: false }
        };
        drop(counting());
        assert_eq!(begun.get(), 1);
        counting().await;
        assert_eq!(begun.get(), 2);
        let mut left = counting();
        assert_eq!(Pin::new(&mut left).poll(&mut Context::from_waker(Waker::noop())), Poll::Pending);
        drop(left);
        assert_eq!(begun.get(), 3);
    }
}
