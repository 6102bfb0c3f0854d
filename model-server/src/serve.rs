//! Accepts connections and serves them: capped, timed, drained.

mod alarm;

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::{HeaderValue, Request, Response, Version, header};
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::task::JoinSet;
use tower::ServiceExt as _;

use self::alarm::Alarm;
pub use serve::listen;

/// How connections are served.
#[derive(Debug, Clone, Copy)]
pub struct Connections {
    /// How many at a time; more wait to be accepted.
    pub most: usize,
    /// How long the head of a request may take to come, and an idle connection may stay open.
    pub header_timeout: Duration,
}

/// How far the server is on its way to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stage {
    /// Far from it.
    Serving,
    /// Each answer asks its client to come back on another connection.
    Closing,
    /// Nothing is accepted any more; what is under way ends.
    Stopping,
}

/// Serves until told to stop and the last connection is done.
pub async fn serve(
    listener: TcpListener,
    router: Router,
    connections: Connections,
    mut stage: watch::Receiver<Stage>,
) {
    let room = Arc::new(Semaphore::new(connections.most));
    let mut open = JoinSet::new();
    loop {
        tokio::select! {
            () = reached(&mut stage, Stage::Stopping) => break,
            Some(_) = open.join_next() => {}
            (stream, permit) = accept(&listener, &room) => {
                let served = connection(stream, router.clone(), connections, stage.clone());
                open.spawn(async move {
                    served.await;
                    drop(permit);
                });
            }
        }
    }
    drop(listener);
    while open.join_next().await.is_some() {}
}

async fn accept(listener: &TcpListener, room: &Arc<Semaphore>) -> (TcpStream, OwnedSemaphorePermit) {
    loop {
        // The semaphore is never closed, so this only waits.
        let Ok(permit) = Arc::clone(room).acquire_owned().await else { std::future::pending().await };
        match listener.accept().await {
            Ok((stream, _)) => return (stream, permit),
            Err(error) => {
                // Out of file descriptors, say: it passes, and trying at once would be a busy loop.
                tracing::warn!(%error, "a connection could not be accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

async fn connection(
    stream: TcpStream,
    router: Router,
    connections: Connections,
    mut stage: watch::Receiver<Stage>,
) {
    // Answers are small; nothing is gained by waiting for more of them.
    let _ = stream.set_nodelay(true);
    let closing = Arc::new(Closing::new(stage.clone()));
    let service = hyper::service::service_fn(move |request: Request<Incoming>| {
        let version = request.version();
        let closing = Arc::clone(&closing);
        let answer = Begins { future: router.clone().oneshot(request.map(Body::new)), begun: false };
        async move {
            let Ok(mut response): Result<Response<Body>, Infallible> = answer.await;
            // Keep-alive connections would keep feeding a server that ends. HTTP/2 has a frame of its own for this.
            if version <= Version::HTTP_11 && closing.now() {
                response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
            }
            Ok::<_, Infallible>(response)
        }
    });
    let mut builder = auto::Builder::new(TokioExecutor::new());
    let wait = connections.header_timeout;
    builder.http1().timer(Alarm::new(wait)).header_read_timeout(wait);
    builder.http2().timer(TokioTimer::new()).keep_alive_interval(wait).max_concurrent_streams(STREAMS);
    let connection = builder.serve_connection(TokioIo::new(stream), service);
    tokio::pin!(connection);
    // How a connection ends is its client's affair.
    tokio::select! {
        _ = connection.as_mut() => {}
        () = reached(&mut stage, Stage::Stopping) => {
            connection.as_mut().graceful_shutdown();
            let _ = connection.await;
        }
    }
}

/// Whether the server is on its way to its end, asked for every request of a connection. The stage itself would be asked under
/// a lock that all connections share.
struct Closing {
    from_the_start: bool,
    stage: watch::Receiver<Stage>,
}

impl Closing {
    fn new(mut stage: watch::Receiver<Stage>) -> Closing {
        let from_the_start = *stage.borrow_and_update() >= Stage::Closing;
        Closing { from_the_start, stage }
    }

    fn now(&self) -> bool {
        // It only goes on from `Serving`; when its sender is gone the program ends anyway.
        self.from_the_start || self.stage.has_changed().unwrap_or(true)
    }
}

/// A future that begins in any case. When a client leaves at once, hyper drops what answers it without ever polling it: its
/// request would be counted nowhere.
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

async fn reached(stage: &mut watch::Receiver<Stage>, wanted: Stage) {
    // When the sender is gone the program ends anyway.
    let _ = stage.wait_for(|stage| *stage >= wanted).await;
}

const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// Requests at a time on one connection.
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

    #[test]
    fn a_connection_knows_of_the_end_from_its_beginning_on() {
        let (stage, stages) = watch::channel(Stage::Serving);
        let early = Closing::new(stages.clone());
        assert!(!early.now());
        stage.send_replace(Stage::Closing);
        assert!(early.now() && Closing::new(stages.clone()).now());
        stage.send_replace(Stage::Stopping);
        assert!(early.now() && Closing::new(stages).now());
    }
}
