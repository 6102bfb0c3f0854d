//! Step 1 of a request: TCP → TLS → a served connection. Connections and handshakes are capped, everything that a client
//! can do slowly is timed, and on the way out every connection is told to finish.

mod activity;
mod connection;
mod frames;
mod plain;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use axum::Router;
use rustls::ServerConfig;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_rustls::TlsAcceptor;
use tokio_util::task::TaskTracker;

use self::connection::Connection;
use crate::lifecycle::{Phase, Shutdown};

pub(crate) use self::connection::CertificateExpiry;

/// Limits of the listener.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AcceptLimits {
    /// Connections open at once; further ones wait in the kernel's queue.
    pub connections: usize,
    /// Of those, in the TLS handshake; further ones wait in the kernel's queue.
    pub handshakes: usize,
    /// Time for a TLS handshake.
    pub handshake: Duration,
    /// Time for the headers of a request, from their first byte.
    pub headers: Duration,
    /// Bytes of the headers of a request; more are answered with 431 or by closing.
    pub header_bytes: usize,
    /// Bytes for the long headers of all requests together that are not answered yet: over HTTP/1.1 those beyond the first
    /// [`FREE_HEAD_BYTES`] of each, over HTTP/2 [`PACKED_HEAD_BYTES`] for each that takes more than one frame. Whoever sends more
    /// is cut: with as many connections as there may be, each within `header_bytes`, the memory would not do.
    pub all_header_bytes: usize,
    /// Number of headers of a request in HTTP/1.1; more are answered with 431. A front proxy sends one for each group of
    /// the caller.
    pub headers_count: usize,
    /// Time for a request and its answer, the client's taking of it included; then the connection is cut.
    pub exchange: Duration,
    /// Time without a request; then the client is told to leave.
    pub idle: Duration,
    /// Time for a client that was told to leave and has nothing under way; then the connection is cut.
    pub linger: Duration,
    /// HTTP/2 streams at once in a connection.
    pub http2_streams: u32,
    /// Time for requests under way when draining.
    pub grace: Duration,
}

impl Default for AcceptLimits {
    /// Upstream's limits (contract, section 9); where it has none, twice the longest request for an exchange.
    fn default() -> AcceptLimits {
        AcceptLimits {
            connections: 4096,
            handshakes: 1024,
            handshake: Duration::from_secs(10),
            headers: Duration::from_secs(32),
            header_bytes: 1 << 20,
            all_header_bytes: 32 << 20,
            headers_count: 2048,
            exchange: Duration::from_mins(2),
            idle: Duration::from_secs(90),
            linger: Duration::from_secs(10),
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
    /// Of those, told to leave because nothing was asked for too long.
    pub idle: AtomicU64,
    /// Of those, cut because a request's head or the taking of an answer took too long.
    pub slow: AtomicU64,
    /// Connections open now.
    pub open: AtomicU64,
}

/// Where a request comes from: the other end of its connection, which may be a proxy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PeerAddress(pub SocketAddr);

/// In the extensions of a response: over HTTP/2 it is the last one of its connection. Whoever shows no credential, or a
/// bad one, shall not keep a connection on which requests cost so little (contract, section 9).
#[derive(Debug, Clone, Copy)]
pub struct LastAnswer;

/// How serving ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// Every connection finished.
    Drained,
    /// So many connections were cut: the grace was over, or a second signal came.
    Cut(usize),
}

/// Listens as [`serve::listen`] does.
///
/// # Errors
/// What the operating system refuses.
pub fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    serve::listen(address).and_then(TcpListener::from_std)
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
    let handshakes = Arc::new(Semaphore::new(limits.handshakes));
    let heads = Arc::new(Semaphore::new(limits.all_header_bytes));
    let connections = TaskTracker::new();
    loop {
        let next = async {
            let place = Arc::clone(&places).acquire_owned().await.ok()?;
            let handshaking = Arc::clone(&handshakes).acquire_owned().await.ok()?;
            Some((place, handshaking, accept(&listener).await))
        };
        let (place, handshaking, (stream, address)) = tokio::select! {
            () = shutdown.reached(Phase::Draining) => break,
            // The semaphores are never closed, so a place is always granted in the end.
            accepted = next => match accepted { Some(accepted) => accepted, None => break },
        };
        stats.accepted.fetch_add(1, Ordering::Relaxed);
        stats.open.fetch_add(1, Ordering::Relaxed);
        let open = Open(Arc::clone(&stats));
        let connection = Connection {
            address,
            limits,
            heads: Arc::clone(&heads),
            shutdown: shutdown.clone(),
            stats: Arc::clone(&stats),
        };
        let (acceptor, router) = (acceptor.clone(), router.clone());
        connections.spawn(async move {
            connection.run(stream, acceptor, router, handshaking).await;
            drop((place, open));
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
            // An IPv4 client of a socket for both families is shown by its IPv4 address.
            Ok((stream, address)) => {
                return (stream, SocketAddr::new(address.ip().to_canonical(), address.port()));
            }
            Err(error) => {
                // Out of file descriptors, or the peer is gone already: neither gets better by spinning.
                tracing::warn!(%error, "a connection could not be accepted");
                tokio::time::sleep(PAUSE_AFTER_ERROR).await;
            }
        }
    }
}

/// Counted as open until dropped.
struct Open(Arc<AcceptStats>);

impl Drop for Open {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Ordering::Relaxed);
    }
}

/// More than the headers of a request usually are; a token is some thousand bytes.
pub const FREE_HEAD_BYTES: usize = 8 << 10;
/// What one may come to over HTTP/2, where few bytes stand for many.
pub const PACKED_HEAD_BYTES: usize = 2 << 20;
const PAUSE_AFTER_ERROR: Duration = Duration::from_millis(50);
