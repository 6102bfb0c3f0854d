//! Connections over which anything is written, and frames of HTTP/2 that no client library would send.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use e2e::Failure;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, SignatureScheme};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};
use tokio::sync::Semaphore;
use tokio_rustls::TlsConnector;

/// A server as clients without manners see it.
pub(crate) struct Target {
    pub(crate) address: SocketAddr,
    is_tls: bool,
    /// Connections at once on their way: more would overflow the kernel's queue of a small machine.
    connecting: Semaphore,
}

/// A certificate chain and its key.
pub(crate) type Identity = (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>);

trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}
impl<S: AsyncRead + AsyncWrite + Unpin + Send> Stream for S {}

/// One connection.
pub(crate) struct Raw(Box<dyn Stream>);

impl Target {
    pub(crate) fn tls(port: u16) -> Target {
        Target { address: (Ipv4Addr::LOCALHOST, port).into(), is_tls: true, connecting: Semaphore::new(16) }
    }

    pub(crate) fn plain(address: SocketAddr) -> Target {
        Target { address, is_tls: false, connecting: Semaphore::new(16) }
    }

    /// A TCP connection that takes in little, from another address than that of callers with manners.
    pub(crate) async fn tcp(&self) -> Result<TcpStream, Failure> {
        let _place = self.connecting.acquire().await?;
        let socket = TcpSocket::new_v4()?;
        socket.set_recv_buffer_size(8 << 10)?;
        socket.bind((ATTACKERS, 0).into())?;
        Ok(tokio::time::timeout(PATIENCE, socket.connect(self.address)).await??)
    }

    /// A connection that speaks `protocol`; over TLS with a client certificate, if there is one.
    pub(crate) async fn open(&self, protocol: &str, identity: Option<&Identity>) -> Result<Raw, Failure> {
        let stream = self.tcp().await?;
        if !self.is_tls {
            return Ok(Raw(Box::new(stream)));
        }
        let builder = ClientConfig::builder()
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(AnyServer(Arc::clone(provider()?))));
        let mut config = match identity {
            Some((chain, key)) => builder.with_client_auth_cert(chain.clone(), key.clone_key())?,
            None => builder.with_no_client_auth(),
        };
        config.alpn_protocols = vec![protocol.as_bytes().to_vec()];
        let connecting =
            TlsConnector::from(Arc::new(config)).connect(ServerName::try_from("localhost")?, stream);
        Ok(Raw(Box::new(tokio::time::timeout(PATIENCE, connecting).await??)))
    }
}

impl Raw {
    /// Writes; whether the server took it.
    pub(crate) async fn write(&mut self, bytes: &[u8]) -> bool {
        let writing = async { self.0.write_all(bytes).await.is_ok() && self.0.flush().await.is_ok() };
        tokio::time::timeout(PATIENCE, writing).await.unwrap_or(false)
    }

    /// What the server says first over HTTP/1.1: a status code, or that it closed.
    pub(crate) async fn code(&mut self) -> String {
        let mut head = [0; 12];
        match tokio::time::timeout(PATIENCE, self.0.read_exact(&mut head)).await {
            Ok(Ok(_)) => String::from_utf8_lossy(&head[9..]).into_owned(),
            Ok(Err(_)) => "closed".to_owned(),
            Err(_) => "nothing".to_owned(),
        }
    }

    /// Waits until the server closes, and answers what keeps an HTTP/2 connection alive if `pings`. `false` if it did
    /// not within `limit`.
    pub(crate) async fn is_closed_within(&mut self, limit: Duration, pings: bool) -> bool {
        let reading = async {
            let mut pending = Vec::new();
            let mut part = vec![0; 16 << 10];
            loop {
                match self.0.read(&mut part).await {
                    Ok(0) | Err(_) => return,
                    Ok(count) => pending.extend_from_slice(&part[..count]),
                }
                while let Some((frame, length)) = pings.then(|| frame::first(&pending)).flatten() {
                    let answer = match (frame.kind, frame.flags) {
                        (frame::PING, 0) => frame::new(frame::PING, frame::ACK, 0, &frame.payload),
                        (frame::SETTINGS, 0) => frame::new(frame::SETTINGS, frame::ACK, 0, &[]),
                        _ => Vec::new(),
                    };
                    pending.drain(..length);
                    if !self.write(&answer).await {
                        return;
                    }
                }
            }
        };
        tokio::time::timeout(limit, reading).await.is_ok()
    }
}

/// Trusts every server: these clients are not to be protected.
#[derive(Debug)]
struct AnyServer(Arc<CryptoProvider>);

impl ServerCertVerifier for AnyServer {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, cert, signed, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, cert, signed, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

fn provider() -> Result<&'static Arc<CryptoProvider>, Failure> {
    CryptoProvider::get_default().ok_or_else(|| "no crypto provider is installed".into())
}

pub(crate) fn request(path: &str, headers: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n{headers}\r\n")
}

/// Frames of HTTP/2 (RFC 9113, section 6).
pub(crate) mod frame {
    pub(crate) const HEADERS: u8 = 1;
    pub(crate) const SETTINGS: u8 = 4;
    pub(crate) const PING: u8 = 6;
    pub(crate) const ACK: u8 = 1;
    pub(crate) const END_STREAM: u8 = 1;
    pub(crate) const END_HEADERS: u8 = 4;
    /// `GET https://x/`, from the static table of HPACK (RFC 7541, appendix A).
    pub(crate) const GET: &[u8] = &[0x82, 0x87, 0x84, 0x41, 1, b'x'];

    pub(crate) struct Frame {
        pub(crate) kind: u8,
        pub(crate) flags: u8,
        pub(crate) payload: Vec<u8>,
    }

    pub(crate) fn new(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
        let length = u32::try_from(payload.len()).expect("a short frame").to_be_bytes();
        let mut frame = length[1..].to_vec();
        frame.extend([kind, flags]);
        frame.extend(stream.to_be_bytes());
        frame.extend(payload);
        frame
    }

    /// The first frame and its length with its head; `None` while it has not come whole.
    pub(crate) fn first(bytes: &[u8]) -> Option<(Frame, usize)> {
        let head: [u8; 9] = bytes.get(..9)?.try_into().ok()?;
        let length = 9 + u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize;
        let payload = bytes.get(9..length)?.to_vec();
        Some((Frame { kind: head[3], flags: head[4], payload }, length))
    }

    pub(crate) fn preface() -> Vec<u8> {
        let mut bytes = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
        bytes.extend(new(SETTINGS, 0, 0, &[]));
        bytes
    }
}

/// Linux has all of 127.0.0.0/8 on loopback.
const ATTACKERS: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);
/// How long a client waits for anything at all.
const PATIENCE: Duration = Duration::from_mins(1);
