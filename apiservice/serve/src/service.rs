//! What a program supplies: how a connection begins, and what answers its requests.

use std::io;
use std::sync::Arc;

use axum::body::Body;
use http::{HeaderName, Request, Response};
use hyper::body::Incoming;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;

use crate::caller::Caller;
use crate::preface;

/// How a connection begins.
pub trait Handshake: Send + Sync + 'static {
    /// What requests are read from.
    type Stream: AsyncRead + AsyncWrite + Unpin + Send + 'static;
    /// The client, as far as it is known from here on.
    type Peer: Send + Sync + 'static;

    /// Begins; takes as long as it likes, as the caller of this has a limit.
    fn begin(
        &self,
        stream: TcpStream,
    ) -> impl Future<Output = io::Result<Begun<Self::Stream, Self::Peer>>> + Send;
}

/// A connection that has begun.
pub struct Begun<S, P> {
    /// What requests are read from.
    pub stream: S,
    /// Whether the client speaks HTTP/2.
    pub is_http2: bool,
    /// What of the first request was read already.
    pub read: Vec<u8>,
    /// The client, as far as it is known.
    pub peer: P,
}

/// Connections without TLS: HTTP/1.1, or HTTP/2 whose client knows that it is spoken here.
#[derive(Debug, Clone, Copy, Default)]
pub struct Plain;

impl Handshake for Plain {
    type Stream = TcpStream;
    type Peer = ();

    async fn begin(&self, mut stream: TcpStream) -> io::Result<Begun<TcpStream, ()>> {
        let (is_http2, read) = preface::read(&mut stream).await?;
        Ok(Begun { stream, is_http2, read, peer: () })
    }
}

/// Answers requests.
pub trait Service<P>: Send + Sync + 'static {
    /// The answer to a request.
    fn call(
        &self,
        request: Request<Incoming>,
        caller: &Arc<Caller<P>>,
    ) -> impl Future<Output = Response<Body>> + Send + 'static + use<Self, P>;

    /// Whether a header is read by anything. What is not is left out of heads that are large or have many fields,
    /// before anything waits.
    fn reads(&self, name: &HeaderName, peer: &P) -> bool;

    /// The answer to a request that is not taken.
    fn refuse(&self, refusal: Refusal) -> Response<Body>;
}

/// Why a request is not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// It has more header fields than [`crate::Limits::header_fields`]: 431.
    TooManyFields,
    /// Its caller is not known and has too many others under way, or all long heads together take too much: 429.
    Busy,
}

/// In the extensions of a response: it is the last one of its connection. A caller without a credential, or with one
/// that is not valid, must not keep a connection on which requests cost so little. A caller with a verified certificate
/// keeps it all the same.
#[derive(Debug, Clone, Copy)]
pub struct LastAnswer;
