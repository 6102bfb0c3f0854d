//! Clients that do what no well-behaved library does.

use std::net::Ipv4Addr;
use std::sync::Arc;

use apiservice::authority::Issued;
use http_body_util::Empty;
use hyper::client::conn::http2::SendRequest;
use rustls::pki_types::CertificateDer;
use rustls::{CipherSuite, ClientConfig, RootCertStore, SupportedProtocolVersion};
use testkit::wait::in_time;
use testkit::wire::tls::{self, Identity, Trust};
use testkit::wire::{self, Raw};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio_rustls::client::TlsStream;

use crate::served::Server;

/// A TLS connection over which a test writes what it likes.
pub(crate) async fn open(
    server: &Server,
    protocols: &[&str],
    identity: Option<&Issued>,
) -> Raw<TlsStream<TcpStream>> {
    let identity = identity.map(|issued| {
        Identity::from_pem(issued.certificate.as_bytes(), issued.key.as_bytes()).expect("a pair")
    });
    let config = tls::client(Trust::Roots(roots(server)), identity.as_ref(), protocols).expect("a pair");
    let stream = wire::connect(Ipv4Addr::LOCALHOST, server.address).await.expect("a connection");
    Raw(tls::connect(stream, &server.address.ip().to_string(), config).await.expect("a handshake"))
}

fn roots(server: &Server) -> RootCertStore {
    tls::roots(server.authority.certificate().as_bytes()).expect("an authority")
}

/// A handshake that calls the server by a name, with given versions of TLS and cipher suites; the server's own
/// certificate.
pub(crate) async fn shake_hands(
    server: &Server,
    name: &str,
    versions: &[&'static SupportedProtocolVersion],
    suites: &[CipherSuite],
) -> std::io::Result<CertificateDer<'static>> {
    let mut provider = rustls::crypto::ring::default_provider();
    provider.cipher_suites.retain(|suite| suites.is_empty() || suites.contains(&suite.suite()));
    let config = ClientConfig::builder_with_provider(Arc::new(provider))
        .with_protocol_versions(versions)
        .expect("suites of these versions")
        .with_root_certificates(roots(server))
        .with_no_client_auth();
    let stream = TcpStream::connect(server.address).await.expect("a connection");
    let mut stream = in_time("a handshake", tls::connect(stream, name, config)).await?;
    // In TLS 1.3 a refusal comes behind the client's part of the handshake.
    stream.write_all(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n").await?;
    stream.read_u8().await?;
    Ok(stream.get_ref().1.peer_certificates().expect("a chain")[0].clone().into_owned())
}

/// A handshake with a client certificate and whatever the client says is its chain.
pub(crate) async fn shake_hands_with(
    server: &Server,
    identity: &Issued,
    intermediates: &[CertificateDer<'static>],
) -> std::io::Result<()> {
    let Identity(mut chain, key) =
        Identity::from_pem(identity.certificate.as_bytes(), identity.key.as_bytes()).expect("a pair");
    chain.extend(intermediates.iter().cloned());
    let config = tls::client(Trust::Roots(roots(server)), Some(&Identity(chain, key)), &[]).expect("a pair");
    let stream = TcpStream::connect(server.address).await.expect("a connection");
    let name = server.address.ip().to_string();
    let mut stream = in_time("a handshake", tls::connect(stream, &name, config)).await?;
    stream.write_all(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n").await?;
    stream.read_u8().await.map(|_| ())
}

/// One connection of HTTP/2, and what ends when it does.
pub(crate) async fn http2(
    server: &Server,
    identity: Option<&Issued>,
) -> (SendRequest<Empty<bytes::Bytes>>, JoinHandle<hyper::Result<()>>) {
    wire::http2(open(server, &["h2"], identity).await.0).await
}

pub(crate) async fn get(
    sender: &mut SendRequest<Empty<bytes::Bytes>>,
    server: &Server,
    path: &str,
) -> hyper::Result<u16> {
    let request = http::Request::get(format!("{}{path}", server.url)).body(Empty::new()).expect("a request");
    Ok(in_time("an answer", sender.send_request(request)).await?.status().as_u16())
}
