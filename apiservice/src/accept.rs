//! Step 1 of a request: TCP → TLS → a served connection. Connections are capped, handshakes timed, and on the way out
//! every connection is told to finish.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use rustls::ServerConfig;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_rustls::TlsAcceptor;
use tokio_util::task::TaskTracker;
use tower::ServiceExt as _;

use crate::authn::PeerCertificates;
use crate::lifecycle::{Phase, Shutdown};

/// Limits of the listener.
#[derive(Debug, Clone, Copy)]
pub struct AcceptLimits {
    /// Connections open at once; further ones wait in the kernel's queue.
    pub connections: usize,
    /// Time for a TLS handshake.
    pub handshake: Duration,
    /// Time for the headers of a request.
    pub headers: Duration,
    /// Bytes of the headers of a request.
    pub header_bytes: usize,
    /// HTTP/2 streams at once in a connection.
    pub http2_streams: u32,
    /// Time for requests under way when draining.
    pub grace: Duration,
}

impl Default for AcceptLimits {
    /// Upstream's limits (contract, section 9).
    fn default() -> AcceptLimits {
        AcceptLimits {
            connections: 4096,
            handshake: Duration::from_secs(10),
            headers: Duration::from_secs(32),
            header_bytes: 1 << 20,
            http2_streams: 100,
            grace: Duration::from_mins(1),
        }
    }
}

/// What the listener counted since it started.
#[derive(Debug, Default)]
pub struct AcceptStats {
    /// Connections accepted.
    pub accepted: AtomicU64,
    /// Of those, ended by a failed TLS handshake.
    pub handshakes_failed: AtomicU64,
    /// Of those, ended because the handshake took too long.
    pub handshakes_timed_out: AtomicU64,
}

/// How serving ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// Every connection finished.
    Drained,
    /// So many connections were cut: the grace was over, or a second signal came.
    Cut(usize),
}

/// Serves until the shutdown says otherwise.
pub async fn serve(
    listener: TcpListener,
    tls: Arc<ServerConfig>,
    router: Router,
    shutdown: Shutdown,
    limits: AcceptLimits,
    stats: Arc<AcceptStats>,
) -> Ended {
    let acceptor = TlsAcceptor::from(tls);
    let places = Arc::new(Semaphore::new(limits.connections));
    let connections = TaskTracker::new();
    loop {
        // The semaphore is never closed, so a place is always granted in the end.
        let (place, (stream, address)) = tokio::select! {
            () = shutdown.reached(Phase::Draining) => break,
            accepted = async { (Arc::clone(&places).acquire_owned().await, accept(&listener).await) } => accepted,
        };
        stats.accepted.fetch_add(1, Ordering::Relaxed);
        let connection =
            Connection { address, limits, shutdown: shutdown.clone(), stats: Arc::clone(&stats) };
        let (acceptor, router) = (acceptor.clone(), router.clone());
        connections.spawn(async move {
            connection.run(stream, acceptor, router).await;
            drop(place);
        });
    }
    drop(listener);
    connections.close();
    tokio::select! {
        () = connections.wait() => Ended::Drained,
        () = shutdown.reached(Phase::Aborting) => Ended::Cut(connections.len()),
        () = tokio::time::sleep(limits.grace) => Ended::Cut(connections.len()),
    }
}

async fn accept(listener: &TcpListener) -> (TcpStream, SocketAddr) {
    loop {
        match listener.accept().await {
            Ok(accepted) => return accepted,
            Err(error) => {
                // Out of file descriptors, or the peer is gone already: neither gets better by spinning.
                tracing::warn!(%error, "a connection could not be accepted");
                tokio::time::sleep(PAUSE_AFTER_ERROR).await;
            }
        }
    }
}

struct Connection {
    address: SocketAddr,
    limits: AcceptLimits,
    shutdown: Shutdown,
    stats: Arc<AcceptStats>,
}

impl Connection {
    async fn run(self, stream: TcpStream, acceptor: TlsAcceptor, router: Router) {
        let _ = stream.set_nodelay(true);
        let tls = match tokio::time::timeout(self.limits.handshake, acceptor.accept(stream)).await {
            Ok(Ok(tls)) => tls,
            Ok(Err(error)) => {
                self.stats.handshakes_failed.fetch_add(1, Ordering::Relaxed);
                tracing::debug!(%error, peer = %self.address, "TLS handshake failed");
                return;
            }
            Err(_) => {
                self.stats.handshakes_timed_out.fetch_add(1, Ordering::Relaxed);
                tracing::debug!(peer = %self.address, "TLS handshake timed out");
                return;
            }
        };
        let chain = tls.get_ref().1.peer_certificates().unwrap_or_default();
        let peer = PeerCertificates(Arc::new(
            chain.iter().map(|certificate| certificate.clone().into_owned()).collect(),
        ));
        let service = service_fn(move |mut request: hyper::Request<Incoming>| {
            request.extensions_mut().insert(peer.clone());
            router.clone().oneshot(request.map(Body::new))
        });
        let mut builder = auto::Builder::new(TokioExecutor::new());
        builder
            .http1()
            .timer(TokioTimer::new())
            .header_read_timeout(self.limits.headers)
            .max_buf_size(self.limits.header_bytes);
        builder
            .http2()
            .timer(TokioTimer::new())
            .max_header_list_size(u32::try_from(self.limits.header_bytes).unwrap_or(u32::MAX))
            .max_concurrent_streams(self.limits.http2_streams)
            .keep_alive_interval(Some(KEEP_ALIVE));
        let connection = builder.serve_connection(TokioIo::new(tls), service);
        let mut connection = std::pin::pin!(connection);
        let result = tokio::select! {
            result = connection.as_mut() => result,
            () = self.shutdown.reached(Phase::Draining) => {
                connection.as_mut().graceful_shutdown();
                connection.await
            }
        };
        if let Err(error) = result {
            tracing::debug!(%error, peer = %self.address, "connection ended early");
        }
    }
}

const PAUSE_AFTER_ERROR: Duration = Duration::from_millis(50);
const KEEP_ALIVE: Duration = Duration::from_secs(30);
