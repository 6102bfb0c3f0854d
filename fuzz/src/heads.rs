//! What a client writes to a server: requests over HTTP/1.1 or HTTP/2, or nothing of the kind.

use std::future::Future;
use std::net::{Ipv4Addr, SocketAddr};
use std::panic;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use axum::body::Body;
use http::{HeaderName, Request, Response, StatusCode};
use hyper::body::Incoming;
use serve::lifecycle::{Trigger, lifecycle};
use serve::{Caller, FREE_HEAD_BYTES, Limits, Plain, Refusal, Service, Stats};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;

/// What a client writes, after a byte that says whether it starts as HTTP/2 must and one that says how many bytes it
/// writes at a time: requests within the limits, or what loses the connection. The server does not panic, ends the
/// connection when its client is gone, and then has all the room for heads that it had before.
pub fn heads(input: &[u8]) {
    let [kind, step, sent @ ..] = input else { return };
    SERVER.runtime.block_on(async {
        let mut client = SERVER.connect().await;
        if kind % 2 == 1 {
            // A server that is done with a client does not read what else it writes.
            let _ = client.write_all(HTTP2).await;
        }
        for piece in sent.chunks(1 + 8 * usize::from(*step)) {
            if client.write_all(piece).await.is_err() {
                break;
            }
        }
        let _ = client.shutdown().await;
        let mut answers = Vec::new();
        let _ = in_time("the end of the connection", client.read_to_end(&mut answers)).await;
        drop(client);
        in_time("no connection", async {
            while SERVER.stats.open.load(Ordering::Relaxed) > 0 {
                tokio::task::yield_now().await;
            }
        })
        .await;
        assert_eq!(SERVER.status_of_a_head_that_takes_all_room().await, *b"HTTP/1.1 200", "room is lost");
        assert!(!HAS_PANICKED.load(Ordering::Relaxed), "the server panicked");
    });
}

/// Of an HTTP/2 client: its preface, and settings of which it has none.
const HTTP2: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";
/// Bytes that long heads may take beyond those that are free, all of them together.
const ROOM: usize = 6 << 10;
const FIELDS: usize = 32;
const PATIENCE: Duration = Duration::from_secs(20);

static HAS_PANICKED: AtomicBool = AtomicBool::new(false);
static SERVER: LazyLock<Server> = LazyLock::new(Server::start);

struct Server {
    runtime: Runtime,
    address: SocketAddr,
    stats: Arc<Stats>,
    /// The server runs as long as it is there.
    _trigger: Trigger,
}

impl Server {
    fn start() -> Server {
        let before = panic::take_hook();
        panic::set_hook(Box::new(move |panic| {
            HAS_PANICKED.store(true, Ordering::Relaxed);
            before(panic);
        }));
        let limits = Limits {
            header_bytes: FREE_HEAD_BYTES + ROOM + 1024,
            header_fields: FIELDS,
            all_header_bytes: ROOM,
            http2_streams: 8,
            ..Limits::default().with_connections(16)
        };
        let runtime = Runtime::new().expect("a runtime");
        let stats = Arc::new(Stats::default());
        let (trigger, shutdown) = lifecycle();
        let listener = serve::listen((Ipv4Addr::LOCALHOST, 0).into()).expect("a port");
        let address = listener.local_addr().expect("an address");
        let of_server = Arc::clone(&stats);
        runtime.spawn(async move {
            let listener = TcpListener::from_std(listener).expect("a socket that does not block");
            serve::serve(listener, Plain, WithinLimits, shutdown, limits, of_server).await;
        });
        Server { runtime, address, stats, _trigger: trigger }
    }

    async fn connect(&self) -> TcpStream {
        let client = TcpStream::connect(self.address).await.expect("a connection");
        client.set_nodelay(true).expect("a setting");
        // Does not wait after its end, so that ports are free again at once.
        client.set_zero_linger().expect("a setting");
        client
    }

    async fn status_of_a_head_that_takes_all_room(&self) -> [u8; 12] {
        let mut client = self.connect().await;
        let (start, end) = ("GET / HTTP/1.1\r\nConnection: close\r\nx-unread: ", "\r\n\r\n");
        let filling = "a".repeat(FREE_HEAD_BYTES + ROOM - start.len() - end.len());
        let mut status = [0; 12];
        client.write_all(format!("{start}{filling}{end}").as_bytes()).await.expect("the server reads");
        in_time("an answer", client.read_exact(&mut status)).await.expect("a status");
        status
    }
}

/// Answers 200 to every request, which is within the limits.
struct WithinLimits;

impl Service<()> for WithinLimits {
    fn call(
        &self,
        request: Request<Incoming>,
        _: &Arc<Caller<()>>,
    ) -> impl Future<Output = Response<Body>> + Send + 'static + use<> {
        let headers = request.headers();
        let bytes: usize = headers.iter().map(|(name, value)| name.as_str().len() + value.len()).sum();
        assert!(headers.len() <= FIELDS, "{} fields", headers.len());
        assert!(bytes <= FREE_HEAD_BYTES + ROOM + 1024, "{bytes} bytes");
        std::future::ready(Response::new(Body::from("ok")))
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

async fn in_time<T>(what: &str, waited_for: impl Future<Output = T>) -> T {
    let waited = tokio::time::timeout(PATIENCE, waited_for).await;
    waited.unwrap_or_else(|_| panic!("expected {what} within {PATIENCE:?}"))
}
