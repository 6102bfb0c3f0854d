//! One connection: the handshake, its requests, its end.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, SystemTime};

use axum::Router;
use axum::body::Body;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use socket2::{SockRef, TcpKeepalive};
use tokio::net::TcpStream;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tower::ServiceExt as _;

use super::activity::{Activity, Due, Exchange, Sending, Watched};
use super::{AcceptLimits, AcceptStats, LastAnswer, PeerAddress, plain};
use crate::authn::{PeerCertificates, not_after};
use crate::lifecycle::{Phase, Shutdown};

pub(super) struct Connection {
    pub(super) address: SocketAddr,
    pub(super) limits: AcceptLimits,
    /// Bytes of headers that all connections together may still send.
    pub(super) heads: Arc<Semaphore>,
    pub(super) shutdown: Shutdown,
    pub(super) stats: Arc<AcceptStats>,
}

impl Connection {
    /// `handshaking` is given back when the handshake is over.
    pub(super) async fn run(
        self,
        stream: TcpStream,
        acceptor: TlsAcceptor,
        router: Router,
        handshaking: OwnedSemaphorePermit,
    ) {
        let _ = stream.set_nodelay(true);
        let _ = SockRef::from(&stream).set_tcp_keepalive(&TcpKeepalive::new().with_time(TCP_KEEP_ALIVE));
        let Some(tls) = self.handshake(stream, &acceptor).await else { return };
        drop(handshaking);
        self.serve(tls, router).await;
    }

    async fn handshake(&self, stream: TcpStream, acceptor: &TlsAcceptor) -> Option<TlsStream<TcpStream>> {
        let handshake = async {
            if plain::begins(&stream).await? {
                plain::refuse(stream).await?;
                return Err(io::Error::other("expected TLS, found an HTTP request"));
            }
            acceptor.accept(stream).await
        };
        match tokio::time::timeout(self.limits.handshake, handshake).await {
            Ok(Ok(tls)) => Some(tls),
            Ok(Err(error)) => {
                self.stats.handshakes_failed.fetch_add(1, Ordering::Relaxed);
                tracing::debug!(%error, peer = %self.address, "TLS handshake failed");
                None
            }
            Err(_) => {
                self.stats.handshakes_timed_out.fetch_add(1, Ordering::Relaxed);
                tracing::debug!(peer = %self.address, "TLS handshake timed out");
                None
            }
        }
    }

    async fn serve(self, tls: TlsStream<TcpStream>, router: Router) {
        let session = tls.get_ref().1;
        // What was agreed on is what is spoken: a client cannot get HTTP/2 where it is switched off.
        let is_http2 = session.alpn_protocol() == Some(b"h2");
        let chain = session.peer_certificates().unwrap_or_default();
        let peer = PeerCertificates::new(chain.iter().map(|one| one.clone().into_owned()).collect());
        let expires = chain.first().and_then(not_after).map(CertificateExpiry);
        let address = PeerAddress(self.address);
        let activity = Activity::new(is_http2, self.heads);
        let watch = Arc::clone(&activity);
        let service = service_fn(move |mut request: hyper::Request<Incoming>| {
            let exchange = watch.begin();
            let extensions = request.extensions_mut();
            extensions.insert(peer.clone());
            extensions.insert(address);
            expires.map(|expires| extensions.insert(expires));
            let answer = router.clone().oneshot(request.map(Body::new));
            let watch = Arc::clone(&watch);
            async move { Ok::<_, Infallible>(sending(answer.await, exchange, is_http2.then_some(&watch))) }
        });
        let stream = TokioIo::new(Watched { stream: tls, activity: Arc::clone(&activity) });
        let builder = builder(&self.limits, is_http2);
        let mut connection = std::pin::pin!(builder.serve_connection(stream, service));
        let mut leaving = false;
        let result = loop {
            tokio::select! {
                result = connection.as_mut() => break result,
                () = self.shutdown.reached(Phase::Draining), if !leaving => {}
                due = activity.due(&self.limits) => match due {
                    Due::Leave => {}
                    Due::Idle if !leaving => {
                        self.stats.idle.fetch_add(1, Ordering::Relaxed);
                    }
                    Due::Idle => break Ok(()),
                    Due::Head | Due::Exchange => {
                        self.stats.slow.fetch_add(1, Ordering::Relaxed);
                        tracing::debug!(peer = %self.address, ?due, "a slow client's connection is cut");
                        break Ok(());
                    }
                },
            }
            leaving = true;
            activity.told_to_leave();
            // HTTP/1.1: the answer under way is the last one. HTTP/2: GOAWAY, and the streams there are finish.
            connection.as_mut().graceful_shutdown();
        };
        if let Err(error) = result {
            tracing::debug!(%error, peer = %self.address, "connection ended early");
        }
    }
}

/// When the certificate that a client showed ends.
#[derive(Debug, Clone, Copy)]
pub(crate) struct CertificateExpiry(pub(crate) SystemTime);

fn sending(
    answer: Result<hyper::Response<Body>, Infallible>,
    exchange: Exchange,
    http2: Option<&Arc<Activity>>,
) -> hyper::Response<Sending> {
    let Ok(answer) = answer;
    if let Some(activity) = http2.filter(|_| answer.extensions().get::<LastAnswer>().is_some()) {
        activity.last_answer();
    }
    answer.map(|body| Sending { body, _exchange: exchange })
}

fn builder(limits: &AcceptLimits, is_http2: bool) -> auto::Builder<TokioExecutor> {
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        // Timed by `Activity`, which tells waiting for a request from being sent one.
        .header_read_timeout(None)
        .max_headers(limits.headers_count)
        .max_buf_size(limits.header_bytes);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_header_list_size(u32::try_from(limits.header_bytes).unwrap_or(u32::MAX))
        .max_concurrent_streams(limits.http2_streams)
        // Bodies are never used here, so there is no reason to take much of them in.
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .keep_alive_interval(Some(KEEP_ALIVE));
    if is_http2 { builder.http2_only() } else { builder.http1_only() }
}

/// A ping over HTTP/2: finds clients that are gone.
const KEEP_ALIVE: Duration = Duration::from_secs(30);
/// The same below TLS, for HTTP/1.1 (contract, section 9).
const TCP_KEEP_ALIVE: Duration = Duration::from_mins(3);
/// The least that HTTP/2 knows as a start.
const STREAM_WINDOW: u32 = 65_535;
const CONNECTION_WINDOW: u32 = 256 << 10;
