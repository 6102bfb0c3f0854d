//! A server on loopback that answers what a test says, with and without TLS, and keeps what it was asked. Each
//! connection takes one request.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustls::ServerConfig;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;

/// A request as it came in.
#[derive(Debug, Clone, Default)]
pub struct Request {
    /// Its method.
    pub method: String,
    /// A path with its parameters; the whole URL at a proxy.
    pub target: String,
    /// Names in lower case, and values.
    pub headers: Vec<(String, String)>,
    /// Its body.
    pub body: String,
    /// The name that TLS asked for.
    pub tls_name: Option<String>,
}

/// What a server does with a request.
#[derive(Debug, Clone)]
pub enum Reply {
    /// Sends these bytes, head and all, and closes.
    Bytes(Vec<u8>),
    /// Closes without an answer.
    Close,
    /// Neither answers nor closes.
    Hang,
    /// Bytes go to and from another server from now on.
    Tunnel(SocketAddr),
}

/// A running server. Dropping it ends it.
#[derive(Debug)]
pub struct Server {
    /// Where it listens.
    pub address: SocketAddr,
    asked: Arc<Mutex<Vec<Request>>>,
    task: JoinHandle<()>,
}

/// A whole answer.
pub fn answer(code: u16, headers: &[(&str, &str)], body: impl AsRef<[u8]>) -> Reply {
    let body = body.as_ref();
    let headers =
        headers.iter().fold(String::new(), |lines, (name, value)| lines + name + ": " + value + "\r\n");
    let length = body.len();
    let head = format!("HTTP/1.1 {code} X\r\n{headers}content-length: {length}\r\nconnection: close\r\n\r\n");
    Reply::Bytes([head.as_bytes(), body].concat())
}

impl Request {
    /// Every value of a header.
    pub fn header(&self, name: &str) -> Vec<&str> {
        self.headers.iter().filter(|(other, _)| other == name).map(|(_, value)| value.as_str()).collect()
    }

    /// The path alone.
    pub fn path(&self) -> &str {
        self.target.split('?').next().unwrap_or_default()
    }
}

impl Server {
    /// A server without TLS.
    ///
    /// # Panics
    /// No port is free.
    pub async fn plain(answers: impl Fn(&Request) -> Reply + Send + Sync + 'static) -> Server {
        Server::start(None, answers).await
    }

    /// A server with TLS.
    ///
    /// # Panics
    /// No port is free.
    pub async fn tls(
        config: ServerConfig,
        answers: impl Fn(&Request) -> Reply + Send + Sync + 'static,
    ) -> Server {
        Server::start(Some(TlsAcceptor::from(Arc::new(config))), answers).await
    }

    /// A server that reads nothing: it sends these bytes to each client and closes.
    ///
    /// # Panics
    /// No port is free.
    pub async fn deaf(bytes: &'static [u8]) -> Server {
        Server::accepting(move |mut stream, _| async move {
            let _ = stream.write_all(bytes).await;
        })
        .await
    }

    async fn start(
        tls: Option<TlsAcceptor>,
        answers: impl Fn(&Request) -> Reply + Send + Sync + 'static,
    ) -> Server {
        let answers = Arc::new(answers);
        Server::accepting(move |stream, keeps| {
            let (tls, answers) = (tls.clone(), Arc::clone(&answers));
            async move {
                let Some(tls) = tls else { return serve(stream, None, &keeps, &*answers).await };
                // A client that does not like the certificate goes away.
                let Ok(stream) = tls.accept(stream).await else { return };
                let name = stream.get_ref().1.server_name().map(str::to_owned);
                serve(stream, name, &keeps, &*answers).await;
            }
        })
        .await
    }

    async fn accepting<F>(serve: impl Fn(TcpStream, Arc<Mutex<Vec<Request>>>) -> F + Send + 'static) -> Server
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let asked = Arc::<Mutex<Vec<Request>>>::default();
        let keeps = Arc::clone(&asked);
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, Arc::clone(&keeps)));
            }
        });
        Server { address, asked, task }
    }

    /// The port of 127.0.0.1 where it listens.
    pub fn port(&self) -> u16 {
        self.address.port()
    }

    /// What was asked since this was asked last.
    pub fn take(&self) -> Vec<Request> {
        std::mem::take(&mut *lock(&self.asked))
    }

    /// As [`Server::take`], where it was one request.
    ///
    /// # Panics
    /// It was not one request.
    pub fn take_one(&self) -> Request {
        match &self.take()[..] {
            [request] => request.clone(),
            others => panic!("expected one request, found {others:#?}"),
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    tls_name: Option<String>,
    keeps: &Mutex<Vec<Request>>,
    answers: &(dyn Fn(&Request) -> Reply + Send + Sync),
) {
    let Some(request) = read(&mut stream).await else { return };
    let request = Request { tls_name, ..request };
    let reply = answers(&request);
    lock(keeps).push(request);
    match reply {
        Reply::Bytes(bytes) => {
            // A client that left before the end has what it wanted.
            let _ = stream.write_all(&bytes).await;
            let _ = stream.shutdown().await;
        }
        Reply::Close => {}
        Reply::Hang => std::future::pending().await,
        Reply::Tunnel(address) => {
            let mut other = TcpStream::connect(address).await.expect("a server");
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await;
            let _ = tokio::io::copy_bidirectional(&mut stream, &mut other).await;
        }
    }
}

/// `None` when the client went away.
async fn read(stream: &mut (impl AsyncRead + Unpin)) -> Option<Request> {
    let mut bytes = Vec::new();
    let mut buffer = vec![0; 16384];
    loop {
        let count = stream.read(&mut buffer).await.ok().filter(|count| *count > 0)?;
        bytes.extend_from_slice(&buffer[..count]);
        let text = String::from_utf8_lossy(&bytes);
        let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
        let mut lines = head.lines();
        let mut line = lines.next()?.split(' ').map(str::to_owned);
        let pair = |line: &str| {
            let (name, value) = line.split_once(": ")?;
            Some((name.to_lowercase(), value.to_owned()))
        };
        let request = Request {
            method: line.next()?,
            target: line.next()?,
            headers: lines.filter_map(pair).collect(),
            body: body.to_owned(),
            tls_name: None,
        };
        let length = request.header("content-length").first().map_or(0, |text| text.parse().unwrap_or(0));
        if body.len() >= length {
            return Some(request);
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
