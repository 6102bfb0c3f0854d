//! One connection: the handshake, its requests, its end.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Poll, ready};
use std::time::Duration;

use axum::body::Body;
use http::{HeaderValue, Method, Request, Response, Version, header};
use hyper::body::{Body as _, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use socket2::{SockRef, TcpKeepalive};
use tokio::net::TcpStream;

use crate::activity::{Activity, Due, Exchange, Next};
use crate::caller::Caller;
use crate::connection_limit::Ticket;
use crate::head;
use crate::limits::{FREE_HEAD_BYTES, Limits};
use crate::sending::Sending;
use crate::service::{Begun, Handshake, LastAnswer, Refusal, Service};
use crate::stats::{Stats, add};
use crate::trust::Trust;
use crate::watched::Watched;

/// What the connections of a listener share.
pub(crate) struct Shared<H, S> {
    pub(crate) handshake: H,
    pub(crate) service: S,
    pub(crate) stats: Arc<Stats>,
}

impl<H: Handshake, S: Service<H::Peer>> Shared<H, S> {
    /// Serves a connection until it ends.
    pub(crate) async fn run(self: Arc<Self>, stream: TcpStream, address: SocketAddr, ticket: Ticket) {
        // Answers are small; nothing is gained by waiting for more of them.
        let _ = stream.set_nodelay(true);
        let _ = SockRef::from(&stream).set_tcp_keepalive(&TcpKeepalive::new().with_time(TCP_KEEP_ALIVE));
        let activity = Arc::clone(ticket.activity());
        let Some(begun) = self.begin(stream, address, activity.common().limits.handshake).await else {
            return;
        };
        ticket.handshake_is_over();
        activity.begun(begun.is_http2);
        self.serve(begun, address, ticket, activity).await;
    }

    async fn begin(
        &self,
        stream: TcpStream,
        peer: SocketAddr,
        limit: Duration,
    ) -> Option<Begun<H::Stream, H::Peer>> {
        match tokio::time::timeout(limit, self.handshake.begin(stream)).await {
            Ok(Ok(begun)) => Some(begun),
            Ok(Err(error)) => {
                add(&self.stats.handshakes_failed);
                tracing::debug!(%error, %peer, "handshake failed");
                None
            }
            Err(_) => {
                add(&self.stats.handshakes_timed_out);
                tracing::debug!(%peer, "handshake timed out");
                None
            }
        }
    }

    async fn serve(
        self: Arc<Self>,
        begun: Begun<H::Stream, H::Peer>,
        address: SocketAddr,
        ticket: Ticket,
        activity: Arc<Activity>,
    ) {
        let Begun { stream, is_http2, read, peer } = begun;
        let caller = Arc::new(Caller { address, peer, ticket });
        let service = service_fn(|request| self.answer(request, &caller, &activity));
        let stats = Arc::clone(&self.stats);
        let stream = TokioIo::new(Watched::new(stream, read, is_http2, Arc::clone(&activity), stats));
        let builder = builder(&activity.common().limits, is_http2);
        let mut connection = pin!(builder.serve_connection(stream, service));
        let mut alarm = pin!(tokio::time::sleep(activity.common().limits.headers));
        let ended = std::future::poll_fn(|context| {
            loop {
                if is_http2 {
                    activity.turn();
                }
                if let Poll::Ready(result) = connection.as_mut().poll(context) {
                    return Poll::Ready(result.map_err(|error| error.to_string()));
                }
                match activity.next(context.waker()) {
                    Next::Leave => {
                        // HTTP/1.1: the answer under way is the last one. HTTP/2: GOAWAY, and the streams there are
                        // finish.
                        connection.as_mut().graceful_shutdown();
                        continue;
                    }
                    Next::At(at) if at < alarm.deadline() => alarm.as_mut().reset(at),
                    Next::At(_) => {}
                }
                ready!(alarm.as_mut().poll(context));
                match activity.due() {
                    None => {
                        if let Next::At(at) = activity.next(context.waker()) {
                            alarm.as_mut().reset(at);
                        }
                    }
                    Some((Due::Idle, false)) => {
                        add(&self.stats.idle);
                        activity.leave();
                    }
                    Some((Due::Idle, true)) => return Poll::Ready(Ok(())),
                    Some((due @ (Due::Head | Due::Exchange | Due::Answer), _)) => {
                        add(&self.stats.slow);
                        return Poll::Ready(Err(format!("too slow: {due:?}")));
                    }
                }
            }
        });
        if let Err(error) = ended.await {
            tracing::debug!(%error, peer = %address, "connection ended early");
        }
    }

    fn answer(
        self: &Arc<Self>,
        mut request: Request<Incoming>,
        caller: &Arc<Caller<H::Peer>>,
        activity: &Arc<Activity>,
    ) -> impl Future<Output = Result<Response<Sending>, Infallible>> + use<H, S> {
        let (version, is_head) = (request.version(), request.method() == Method::HEAD);
        let admitted = self.admit(&mut request, &caller.peer, activity);
        let answer = admitted
            .map(|exchange| (self.service.call(request, caller), exchange))
            .map_err(|refusal| self.service.refuse(refusal));
        async move {
            let (mut answer, exchange) = match answer {
                Ok((answer, exchange)) => {
                    let mut answer = answer.await;
                    exchange.answered();
                    finish(&mut answer, version, exchange.activity());
                    (answer, Some(exchange))
                }
                Err(refused) => (refused, None),
            };
            if is_head {
                leave_body_out(&mut answer);
            }
            Ok(answer.map(|body| Sending::new(body, exchange)))
        }
    }

    /// Everything that is decided before anything waits.
    fn admit(
        &self,
        request: &mut Request<Incoming>,
        peer: &H::Peer,
        activity: &Arc<Activity>,
    ) -> Result<Exchange, Refusal> {
        // hyper counts those of HTTP/1.1.
        if request.headers().len() > activity.common().limits.header_fields {
            add(&self.stats.refused_fields);
            return Err(Refusal::TooManyFields);
        }
        let weight = head::trim(request, |name| self.service.reads(name, peer));
        activity.begin(weight.saturating_sub(FREE_HEAD_BYTES)).ok_or_else(|| {
            add(&self.stats.refused_busy);
            Refusal::Busy
        })
    }
}

/// Leaves the body out of an answer to HEAD, but for its length: hyper does so over HTTP/1.1 alone, and over HTTP/2 a
/// body is an error.
fn leave_body_out(answer: &mut Response<Body>) {
    if let Some(length) = answer.body().size_hint().exact() {
        answer.headers_mut().entry(header::CONTENT_LENGTH).or_insert(length.into());
    }
    *answer.body_mut() = Body::empty();
}

/// Says that an answer is the last one of its connection, where it is.
fn finish(answer: &mut Response<Body>, version: Version, activity: &Activity) {
    let is_last = answer.extensions().get::<LastAnswer>().is_some() && activity.trust() < Trust::Certificate;
    if version == Version::HTTP_2 {
        if is_last {
            activity.leave();
        }
    } else if is_last || activity.common().is_leaving() {
        // Clients of a server that ends do well to come back on another connection. HTTP/2 has a frame of its own for
        // this.
        answer.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
}

fn builder(limits: &Limits, is_http2: bool) -> auto::Builder<TokioExecutor> {
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        // Timed by `Activity`, which tells waiting for a request from being sent one.
        .header_read_timeout(None)
        .max_headers(limits.header_fields)
        .max_buf_size(limits.header_bytes);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_header_list_size(u32::try_from(limits.header_bytes).unwrap_or(u32::MAX))
        .max_concurrent_streams(limits.http2_streams)
        .initial_stream_window_size(limits.http2_stream_window)
        .initial_connection_window_size(limits.http2_connection_window)
        .max_send_buf_size(SEND_BUFFER)
        .keep_alive_interval(Some(KEEP_ALIVE));
    if is_http2 { builder.http2_only() } else { builder.http1_only() }
}

/// A ping over HTTP/2: finds clients that are gone.
const KEEP_ALIVE: Duration = Duration::from_secs(30);
/// The same below HTTP (`docs/contract.md#limits`).
const TCP_KEEP_ALIVE: Duration = Duration::from_mins(3);
/// Bytes of an answer that an HTTP/2 stream takes before its client does.
const SEND_BUFFER: usize = 64 << 10;
