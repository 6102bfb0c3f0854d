//! Step 1 of a request: TCP → TLS → a served connection. [`mod@serve`] has the limits; here is how TLS begins.

mod plain;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::SystemTime;

use rustls::ServerConfig;
use serve::lifecycle::Shutdown;
use serve::{Begun, Handshake, Service};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use crate::authn::{PeerCertificates, not_after};

pub use serve::{Ended, Limits, Stats};

/// Where a request comes from: the other end of its connection, which may be a proxy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PeerAddress(pub SocketAddr);

/// When the certificate that a client showed ends.
#[derive(Debug, Clone, Copy)]
pub(crate) struct CertificateExpiry(pub(crate) SystemTime);

/// What the TLS handshake told of a client.
#[derive(Debug)]
pub struct Peer {
    pub(crate) certificates: PeerCertificates,
    pub(crate) expires: Option<CertificateExpiry>,
}

/// Listens as [`serve::listen`] does.
///
/// # Errors
/// What the operating system refuses.
pub fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    serve::listen(address).and_then(TcpListener::from_std)
}

/// Serves over TLS until the shutdown says otherwise.
pub async fn serve(
    listener: TcpListener,
    tls: Arc<ServerConfig>,
    service: impl Service<Peer>,
    shutdown: Shutdown,
    limits: Limits,
    stats: Arc<Stats>,
) -> Ended {
    serve::serve(listener, Tls(tls.into()), service, shutdown, limits, stats).await
}

struct Tls(TlsAcceptor);

impl Handshake for Tls {
    type Stream = TlsStream<TcpStream>;
    type Peer = Peer;

    async fn begin(&self, stream: TcpStream) -> io::Result<Begun<TlsStream<TcpStream>, Peer>> {
        if plain::begins(&stream).await? {
            plain::refuse(stream).await?;
            return Err(io::Error::other("expected TLS, found an HTTP request"));
        }
        let stream = self.0.accept(stream).await?;
        let session = stream.get_ref().1;
        // What was agreed on is what is spoken: a client cannot get HTTP/2 where it is switched off.
        let is_http2 = session.alpn_protocol() == Some(b"h2");
        let chain = session.peer_certificates().unwrap_or_default();
        let certificates = PeerCertificates::new(chain.iter().map(|one| one.clone().into_owned()).collect());
        let expires = chain.first().and_then(not_after).map(CertificateExpiry);
        Ok(Begun { stream, is_http2, read: Vec::new(), peer: Peer { certificates, expires } })
    }
}
