//! Clients that do what no well-behaved library does.

use std::sync::Arc;
use std::time::Duration;

use apiservice::authority::Issued;
use http_body_util::Empty;
use hyper::client::conn::http2::SendRequest;
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{CipherSuite, ClientConfig, RootCertStore, SupportedProtocolVersion};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};
use tokio::task::JoinHandle;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::served::Server;

/// A TLS connection over which a test writes what it likes.
pub(crate) struct Raw(pub(crate) TlsStream<TcpStream>);

impl Raw {
    pub(crate) async fn connect(server: &Server, alpn: &[&str], identity: Option<&Issued>) -> Raw {
        let builder = ClientConfig::builder().with_root_certificates(roots(server));
        let mut config = match identity {
            None => builder.with_no_client_auth(),
            Some(issued) => {
                let chain = CertificateDer::from_pem_slice(issued.certificate.as_bytes());
                let key = PrivateKeyDer::from_pem_slice(issued.key.as_bytes()).expect("a key");
                builder.with_client_auth_cert(vec![chain.expect("a certificate")], key).expect("a pair")
            }
        };
        config.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
        let socket = TcpSocket::new_v4().expect("a socket");
        // A client that reads nothing then holds up its server soon.
        socket.set_recv_buffer_size(8 << 10).expect("a small buffer");
        let stream = socket.connect(server.address).await.expect("a connection");
        let name = ServerName::IpAddress(server.address.ip().into());
        Raw(TlsConnector::from(Arc::new(config)).connect(name, stream).await.expect("a handshake"))
    }

    pub(crate) async fn send(&mut self, text: &str) {
        self.0.write_all(text.as_bytes()).await.expect("the server reads");
        self.0.flush().await.expect("the server reads");
    }

    /// Reads until the server has said something.
    pub(crate) async fn expect(&mut self, text: &str) {
        let mut all = Vec::new();
        while !String::from_utf8_lossy(&all).contains(text) {
            all.push(in_time(self.0.read_u8()).await.expect("the server goes on"));
        }
    }

    /// What the server says until it closes; a broken connection ends it too.
    pub(crate) async fn rest(&mut self) -> String {
        let mut all = Vec::new();
        let mut chunk = [0; 4096];
        while let Ok(read @ 1..) = in_time(self.0.read(&mut chunk)).await {
            all.extend_from_slice(&chunk[..read]);
        }
        String::from_utf8_lossy(&all).into_owned()
    }
}

fn roots(server: &Server) -> RootCertStore {
    let mut roots = RootCertStore::empty();
    let root = CertificateDer::from_pem_slice(server.authority.certificate().as_bytes());
    roots.add(root.expect("a certificate")).expect("an authority");
    roots
}

/// A handshake that calls the server by a name, with given versions of TLS and cipher suites; the server's own certificate.
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
    let name = ServerName::try_from(name.to_owned()).expect("a name");
    let mut stream = in_time(TlsConnector::from(Arc::new(config)).connect(name, stream)).await?;
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
    let own = CertificateDer::from_pem_slice(identity.certificate.as_bytes()).expect("a certificate");
    let chain = std::iter::once(own).chain(intermediates.iter().cloned()).collect();
    let key = PrivateKeyDer::from_pem_slice(identity.key.as_bytes()).expect("a key");
    let config = ClientConfig::builder()
        .with_root_certificates(roots(server))
        .with_client_auth_cert(chain, key)
        .expect("a pair");
    let stream = TcpStream::connect(server.address).await.expect("a connection");
    let name = ServerName::IpAddress(server.address.ip().into());
    let mut stream = in_time(TlsConnector::from(Arc::new(config)).connect(name, stream)).await?;
    stream.write_all(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n").await?;
    stream.read_u8().await.map(|_| ())
}

/// One connection of HTTP/2, and what ends when it does.
pub(crate) async fn http2(
    server: &Server,
    identity: Option<&Issued>,
) -> (SendRequest<Empty<bytes::Bytes>>, JoinHandle<hyper::Result<()>>) {
    let raw = Raw::connect(server, &["h2"], identity).await;
    let (sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(raw.0))
            .await
            .expect("HTTP/2");
    (sender, tokio::spawn(connection))
}

pub(crate) async fn get(
    sender: &mut SendRequest<Empty<bytes::Bytes>>,
    server: &Server,
    path: &str,
) -> hyper::Result<u16> {
    let request = http::Request::get(format!("{}{path}", server.url)).body(Empty::new()).expect("a request");
    Ok(in_time(sender.send_request(request)).await?.status().as_u16())
}

/// Whatever is waited for comes; the limit only ends a test that would wait for ever.
pub(crate) async fn in_time<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_mins(1), future).await.expect("it comes to pass")
}

/// Waits until something is so.
pub(crate) async fn until(condition: impl Fn() -> bool) {
    in_time(async {
        while !condition() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
}
