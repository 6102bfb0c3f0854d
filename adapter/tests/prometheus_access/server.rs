//! A server on loopback that answers whatever a test says, with and without TLS, and keeps what it was asked.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use rustls::ServerConfig;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

/// A request as it came in.
#[derive(Debug, Clone, Default)]
pub(crate) struct Request {
    pub(crate) method: String,
    /// A path with its parameters; the whole URL at a proxy.
    pub(crate) target: String,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: String,
    /// The name that TLS asked for.
    pub(crate) tls_name: Option<String>,
}

/// What a server does with a request. Each connection takes one.
pub(crate) enum Reply {
    Text(String),
    /// Bytes go to and from another server from now on.
    Tunnel(SocketAddr),
}

pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    asked: Arc<Mutex<Vec<Request>>>,
}

impl Request {
    /// Every value of a header.
    pub(crate) fn header(&self, name: &str) -> Vec<&str> {
        self.headers.iter().filter(|(other, _)| other == name).map(|(_, value)| value.as_str()).collect()
    }

    pub(crate) fn path(&self) -> &str {
        self.target.split('?').next().unwrap_or_default()
    }
}

/// A good answer to a query and to a listing.
pub(crate) fn good() -> Reply {
    const GOOD: &str =
        r#"{"status":"success","data":{"resultType":"vector","result":[{"metric":{},"value":[1,"7.5"]}]}}"#;
    answer(200, &[("content-type", "application/json")], GOOD)
}

pub(crate) fn answer(code: u16, headers: &[(&str, &str)], body: &str) -> Reply {
    let headers =
        headers.iter().fold(String::new(), |lines, (name, value)| lines + name + ": " + value + "\r\n");
    let length = body.len();
    Reply::Text(format!(
        "HTTP/1.1 {code} X\r\n{headers}content-length: {length}\r\nconnection: close\r\n\r\n{body}"
    ))
}

impl Server {
    pub(crate) async fn plain(answers: impl Fn(&Request) -> Reply + Send + Sync + 'static) -> Server {
        Server::start(None, answers).await
    }

    pub(crate) async fn tls(
        config: ServerConfig,
        answers: impl Fn(&Request) -> Reply + Send + Sync + 'static,
    ) -> Server {
        Server::start(Some(TlsAcceptor::from(Arc::new(config))), answers).await
    }

    async fn start(
        tls: Option<TlsAcceptor>,
        answers: impl Fn(&Request) -> Reply + Send + Sync + 'static,
    ) -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let asked = Arc::<Mutex<Vec<Request>>>::default();
        let (keeps, answers) = (Arc::clone(&asked), Arc::new(answers));
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (tls, keeps, answers) = (tls.clone(), Arc::clone(&keeps), Arc::clone(&answers));
                tokio::spawn(async move {
                    let Some(tls) = tls else { return serve(stream, None, &keeps, &*answers).await };
                    // A client that does not like the certificate goes away.
                    let Ok(stream) = tls.accept(stream).await else { return };
                    let name = stream.get_ref().1.server_name().map(str::to_owned);
                    serve(stream, name, &keeps, &*answers).await;
                });
            }
        });
        Server { address, asked }
    }

    pub(crate) fn port(&self) -> u16 {
        self.address.port()
    }

    /// What was asked since this was asked last.
    pub(crate) fn take(&self) -> Vec<Request> {
        std::mem::take(&mut *self.asked.lock().expect("not poisoned"))
    }

    /// As [`Server::take`], where it was one request.
    pub(crate) fn take_one(&self) -> Request {
        let [request] = &self.take()[..] else { panic!("expected one request") };
        request.clone()
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
    keeps.lock().expect("not poisoned").push(request);
    match reply {
        Reply::Text(text) => {
            let _ = stream.write_all(text.as_bytes()).await;
            let _ = stream.shutdown().await;
        }
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
