//! Connections over which a test writes what it likes: what no client library would send, and at what pace it likes.

pub mod frame;
pub mod target;
pub mod tls;

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Empty;
use hyper::client::conn::http2::{SendRequest, handshake};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};
use tokio::task::JoinHandle;

use crate::wait::in_time;

/// A connection.
pub struct Raw<S = TcpStream>(pub S);

/// A TCP connection from an address of loopback. It takes in little: a client that reads nothing then holds up its
/// server soon.
///
/// # Errors
/// What the operating system refuses.
pub async fn connect(from: Ipv4Addr, to: SocketAddr) -> io::Result<TcpStream> {
    let socket = TcpSocket::new_v4()?;
    socket.set_recv_buffer_size(8 << 10)?;
    socket.bind((from, 0).into())?;
    socket.connect(to).await
}

/// A client of HTTP/2 that behaves well, and what ends when its connection does.
///
/// # Panics
/// The connection ends before its time.
pub async fn http2<S>(stream: S) -> (SendRequest<Empty<Bytes>>, JoinHandle<hyper::Result<()>>)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (sender, connection) =
        handshake(TokioExecutor::new(), TokioIo::new(stream)).await.expect("a connection of HTTP/2");
    (sender, tokio::spawn(connection))
}

/// A request over HTTP/1.1; each header ends with a line break.
pub fn request(path: &str, headers: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n{headers}\r\n")
}

impl<S: AsyncRead + AsyncWrite + Unpin> Raw<S> {
    /// Writes.
    ///
    /// # Panics
    /// The server does not take it.
    pub async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.0.write_all(bytes.as_ref()).await.expect("the server reads");
        self.0.flush().await.expect("the server reads");
    }

    /// Writes; whether the server took it.
    pub async fn write(&mut self, bytes: impl AsRef<[u8]>) -> bool {
        let writing = async {
            self.0.write_all(bytes.as_ref()).await?;
            self.0.flush().await
        };
        tokio::time::timeout(LONGEST, writing).await.is_ok_and(|written| written.is_ok())
    }

    /// Asks over HTTP/1.1; the status.
    ///
    /// # Panics
    /// As [`Raw::status`].
    pub async fn get(&mut self, path: &str) -> u16 {
        self.send(request(path, "")).await;
        self.status().await
    }

    /// The status of an answer with a short body; 0 if the server closes.
    ///
    /// # Panics
    /// The answer has no length, or is cut.
    pub async fn status(&mut self) -> u16 {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            match in_time("a head", self.0.read_u8()).await {
                Ok(byte) => head.push(byte),
                Err(_) => return 0,
            }
        }
        let head = String::from_utf8(head).expect("text");
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).expect("a length");
        let mut body = vec![0; length.parse().expect("a number")];
        in_time("a body", self.0.read_exact(&mut body)).await.expect("the body");
        head[9..12].parse().expect("a status")
    }

    /// Reads until the server has sent a text.
    ///
    /// # Panics
    /// The server closes before.
    pub async fn expect(&mut self, text: &str) {
        let mut all = Vec::new();
        while !String::from_utf8_lossy(&all).contains(text) {
            all.push(in_time(text, self.0.read_u8()).await.expect("the server goes on"));
        }
    }

    /// What the server sends until it closes; a broken connection ends it too.
    pub async fn rest(&mut self) -> Vec<u8> {
        let mut all = Vec::new();
        let mut chunk = [0; 4096];
        while let Ok(read @ 1..) = in_time("the end of the connection", self.0.read(&mut chunk)).await {
            all.extend_from_slice(&chunk[..read]);
        }
        all
    }

    /// As [`Raw::rest`], as text.
    pub async fn rest_text(&mut self) -> String {
        String::from_utf8_lossy(&self.rest().await).into_owned()
    }

    /// What the server sends first over HTTP/1.1: a status code, or `closed`, or `nothing` for a minute.
    pub async fn code(&mut self) -> String {
        let mut head = [0; 12];
        match tokio::time::timeout(LONGEST, self.0.read_exact(&mut head)).await {
            Ok(Ok(_)) => String::from_utf8_lossy(&head[9..]).into_owned(),
            Ok(Err(_)) => "closed".to_owned(),
            Err(_) => "nothing".to_owned(),
        }
    }

    /// Why the server ends an HTTP/2 connection: the error code of its GOAWAY, or `closed`, or `nothing` for a minute.
    pub async fn goodbye(&mut self) -> String {
        let reading = async {
            loop {
                let mut head = [0; 9];
                self.0.read_exact(&mut head).await?;
                let length = u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize;
                let mut payload = vec![0; length];
                self.0.read_exact(&mut payload).await?;
                if head[3] == frame::GOAWAY {
                    return Ok::<_, io::Error>(format!("GOAWAY {}", payload[7]));
                }
            }
        };
        match tokio::time::timeout(LONGEST, reading).await {
            Ok(Ok(code)) => code,
            Ok(Err(_)) => "closed".to_owned(),
            Err(_) => "nothing".to_owned(),
        }
    }

    /// Whether the first answer over HTTP/2 is 200.
    ///
    /// # Panics
    /// The server closes before.
    pub async fn is_ok(&mut self) -> bool {
        let mut came = Vec::new();
        loop {
            if let Some(is_ok) = frame::is_ok(&came) {
                return is_ok;
            }
            let read = in_time("an answer", self.0.read_buf(&mut came)).await;
            assert!(read.expect("the server answers") > 0, "it closed");
        }
    }

    /// Waits until the server closes, and answers what keeps an HTTP/2 connection alive if `pings`. `false` if it did
    /// not within `limit`.
    pub async fn is_closed_within(&mut self, limit: Duration, pings: bool) -> bool {
        let reading = async {
            let mut pending = Vec::new();
            let mut part = vec![0; 16 << 10];
            loop {
                match self.0.read(&mut part).await {
                    Ok(0) | Err(_) => return,
                    Ok(count) => pending.extend_from_slice(&part[..count]),
                }
                while let Some((frame, length)) = pings.then(|| frame::first(&pending)).flatten() {
                    let answer = frame.acknowledged();
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

impl Raw {
    /// Whether the connection is open: nothing came and it did not end.
    pub fn is_open(&self) -> bool {
        matches!(self.0.try_read(&mut [0]), Err(error) if error.kind() == io::ErrorKind::WouldBlock)
    }
}

/// How long a client waits that may be kept waiting.
const LONGEST: Duration = Duration::from_mins(1);
