//! A server for tests, on a free port of loopback, and clients that write what they like.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use http::{HeaderName, Request, Response, StatusCode};
use http_body_util::Empty;
use hyper::body::Incoming;
use hyper::client::conn::http2::SendRequest;
use hyper_util::rt::{TokioExecutor, TokioIo};
use serve::lifecycle::{Trigger, lifecycle};
use serve::{Caller, Ended, LastAnswer, Limits, Plain, Refusal, Service, Stats, Trust};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::Semaphore;

/// Far more than any test takes, so that only what a test shortens can end a connection.
const NEVER: Duration = Duration::from_hours(1);
/// Short, and long enough for a request meanwhile.
pub(crate) const BRIEF: Duration = Duration::from_millis(200);

/// Limits that end nothing by time.
pub(crate) fn patient() -> Limits {
    Limits {
        handshake: NEVER,
        headers: NEVER,
        exchange: None,
        answer: NEVER,
        idle: NEVER,
        linger: NEVER,
        grace: None,
        ..Limits::default()
    }
}

/// Answers as the path says.
struct ByPath {
    entered: Arc<Semaphore>,
    go: Arc<Semaphore>,
}

impl Service<()> for ByPath {
    fn call(
        &self,
        request: Request<Incoming>,
        caller: &Arc<Caller<()>>,
    ) -> impl Future<Output = Response<Body>> + Send + 'static + use<> {
        let path = request.uri().path().to_owned();
        match path.as_str() {
            "/certificate" => caller.verified(Trust::Certificate),
            "/token" => caller.verified(Trust::Token),
            _ => {}
        }
        let (entered, go) = (Arc::clone(&self.entered), Arc::clone(&self.go));
        async move {
            let mut response = Response::new(Body::from("ok"));
            match path.as_str() {
                "/slow" => {
                    entered.add_permits(1);
                    go.acquire().await.expect("never closed").forget();
                }
                "/large" => *response.body_mut() = Body::from(vec![b'a'; LARGE]),
                "/last" => {
                    response.extensions_mut().insert(LastAnswer);
                }
                "/fields" => *response.body_mut() = Body::from(request.headers().len().to_string()),
                _ => {}
            }
            response
        }
    }

    fn reads(&self, name: &HeaderName, (): &()) -> bool {
        name.as_str().starts_with("x-read")
    }

    fn refuse(&self, refusal: Refusal) -> Response<Body> {
        let mut response = Response::new(Body::empty());
        *response.status_mut() = match refusal {
            Refusal::TooManyFields => StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            Refusal::Busy => StatusCode::TOO_MANY_REQUESTS,
        };
        response
    }
}

pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    pub(crate) stats: Arc<Stats>,
    pub(crate) trigger: Trigger,
    /// A permit for each request of `/slow` that waits.
    pub(crate) entered: Arc<Semaphore>,
    pub(crate) go: Arc<Semaphore>,
    pub(crate) ended: tokio::task::JoinHandle<Ended>,
}

impl Server {
    pub(crate) fn start(limits: Limits) -> Server {
        let listener = serve::listen((Ipv4Addr::LOCALHOST, 0).into()).expect("a port");
        let listener = TcpListener::from_std(listener).expect("a socket that does not block");
        let address = listener.local_addr().expect("an address");
        let (entered, go) = (Arc::new(Semaphore::new(0)), Arc::new(Semaphore::new(0)));
        let service = ByPath { entered: Arc::clone(&entered), go: Arc::clone(&go) };
        let (trigger, shutdown) = lifecycle();
        let stats = Arc::new(Stats::default());
        let ended =
            tokio::spawn(serve::serve(listener, Plain, service, shutdown, limits, Arc::clone(&stats)));
        Server { address, stats, trigger, entered, go, ended }
    }

    /// A connection over which a test writes what it likes.
    pub(crate) async fn raw(&self) -> Raw {
        self.raw_from(1).await
    }

    /// One from 127.0.0.N.
    pub(crate) async fn raw_from(&self, host: u8) -> Raw {
        let socket = TcpSocket::new_v4().expect("a socket");
        // A client that reads nothing then holds up its server soon.
        socket.set_recv_buffer_size(8 << 10).expect("a small buffer");
        socket.bind((IpAddr::from([127, 0, 0, host]), 0).into()).expect("an address of loopback");
        Raw(socket.connect(self.address).await.expect("a connection"))
    }

    /// One on which a request was answered.
    pub(crate) async fn asked_from(&self, host: u8, path: &str) -> Raw {
        let mut raw = self.raw_from(host).await;
        assert_eq!(raw.get(path).await, 200);
        raw
    }

    pub(crate) async fn http2(&self) -> SendRequest<Empty<Bytes>> {
        let stream = TokioIo::new(self.raw().await.0);
        let (sender, connection) =
            hyper::client::conn::http2::handshake(TokioExecutor::new(), stream).await.expect("HTTP/2");
        tokio::spawn(connection);
        sender
    }

    pub(crate) fn request(&self, path: &str) -> http::request::Builder {
        Request::get(format!("http://{}{path}", self.address))
    }
}

pub(crate) struct Raw(pub(crate) TcpStream);

impl Raw {
    pub(crate) async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.0.write_all(bytes.as_ref()).await.expect("the server reads");
    }

    /// Asks over HTTP/1.1; the status.
    pub(crate) async fn get(&mut self, path: &str) -> u16 {
        self.send(format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n")).await;
        self.answer().await
    }

    /// The status of an answer with a short body; 0 if the server closes.
    pub(crate) async fn answer(&mut self) -> u16 {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            match in_time(self.0.read_u8()).await {
                Ok(byte) => head.push(byte),
                Err(_) => return 0,
            }
        }
        let head = String::from_utf8(head).expect("text");
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).expect("a length");
        let mut body = vec![0; length.parse().expect("a number")];
        in_time(self.0.read_exact(&mut body)).await.expect("the body");
        head[9..12].parse().expect("a status")
    }

    /// What the server says until it closes; a broken connection ends it too.
    pub(crate) async fn rest(&mut self) -> Vec<u8> {
        let mut all = Vec::new();
        let mut chunk = [0; 4096];
        while let Ok(read @ 1..) = in_time(self.0.read(&mut chunk)).await {
            all.extend_from_slice(&chunk[..read]);
        }
        all
    }

    pub(crate) async fn rest_text(&mut self) -> String {
        String::from_utf8_lossy(&self.rest().await).into_owned()
    }

    /// Whether the first HTTP/2 answer is 200.
    pub(crate) async fn is_ok(&mut self) -> bool {
        let mut came = Vec::new();
        loop {
            if let Some(is_ok) = frame::is_ok(&came) {
                return is_ok;
            }
            assert!(in_time(self.0.read_buf(&mut came)).await.expect("the server answers") > 0, "it closed");
        }
    }

    /// Whether the connection is open: nothing came and it did not end.
    pub(crate) fn is_open(&self) -> bool {
        matches!(self.0.try_read(&mut [0]), Err(error) if error.kind() == std::io::ErrorKind::WouldBlock)
    }
}

/// Frames of HTTP/2 (RFC 9113, section 6), for what no client library would send.
pub(crate) mod frame {
    pub(crate) const DATA: u8 = 0;
    pub(crate) const HEADERS: u8 = 1;
    pub(crate) const SETTINGS: u8 = 4;
    pub(crate) const PING: u8 = 6;
    pub(crate) const CONTINUATION: u8 = 9;
    pub(crate) const END_STREAM: u8 = 1;
    pub(crate) const END_HEADERS: u8 = 4;

    pub(crate) fn new(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
        let length = u32::try_from(payload.len()).expect("a short frame").to_be_bytes();
        let mut frame = length[1..].to_vec();
        frame.extend([kind, flags]);
        frame.extend(stream.to_be_bytes());
        frame.extend(payload);
        frame
    }

    pub(crate) fn preface() -> Vec<u8> {
        let mut bytes = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
        bytes.extend(new(SETTINGS, 0, 0, &[]));
        bytes
    }

    /// `GET http://x` with a path of up to 126 bytes, by HPACK's static table (RFC 7541, appendix A).
    pub(crate) fn get(path: &str) -> Vec<u8> {
        let mut block = vec![0x82, 0x86, 0x01, 1, b'x', 0x04];
        block.push(u8::try_from(path.len()).expect("a short path"));
        block.extend(path.bytes());
        block
    }

    /// Whether the first HEADERS frame of the server's bytes says 200; `None` without one.
    pub(crate) fn is_ok(mut bytes: &[u8]) -> Option<bool> {
        while let [high, middle, low, kind, _, _, _, _, _, rest @ ..] = bytes {
            let length = u32::from_be_bytes([0, *high, *middle, *low]) as usize;
            let (payload, rest) = rest.split_at_checked(length)?;
            if *kind == HEADERS {
                // The table of HPACK holds this status.
                return Some(payload.first() == Some(&0x88));
            }
            bytes = rest;
        }
        None
    }
}

/// Whatever is waited for comes; the limit only ends a test that would wait forever.
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

/// More than the buffers of a connection take.
pub(crate) const LARGE: usize = 16 << 20;
