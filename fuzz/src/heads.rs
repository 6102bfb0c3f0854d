//! What a client writes to a server: requests over HTTP/1.1 or HTTP/2, or nothing of the kind.

use std::panic;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, LazyLock};

use axum::body::Body;
use http::{HeaderName, Request, Response};
use hyper::body::Incoming;
use serve::{Caller, FREE_HEAD_BYTES, Limits, Refusal, Service};
use testkit::served::{self, Served};
use testkit::wait::in_time;
use testkit::wire::frame;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
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
            let _ = client.write_all(&frame::preface()).await;
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
            // A fuzzer runs this for every input: there is no time for pauses between looks.
            while SERVER.served.stats.open.load(Ordering::Relaxed) > 0 {
                tokio::task::yield_now().await;
            }
        })
        .await;
        assert_eq!(SERVER.status_of_a_head_that_takes_all_room().await, *b"HTTP/1.1 200", "room is lost");
        assert!(!HAS_PANICKED.load(Ordering::Relaxed), "the server panicked");
    });
}

/// Bytes that long heads may take beyond those that are free, all of them together.
const ROOM: usize = 6 << 10;
const FIELDS: usize = 32;

static HAS_PANICKED: AtomicBool = AtomicBool::new(false);
static SERVER: LazyLock<Server> = LazyLock::new(Server::start);

struct Server {
    runtime: Runtime,
    /// It runs as long as it is there.
    served: Served,
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
        let served = {
            let _inside = runtime.enter();
            Served::start(WithinLimits, limits)
        };
        Server { runtime, served }
    }

    async fn connect(&self) -> TcpStream {
        let client = TcpStream::connect(self.served.address).await.expect("a connection");
        client.set_nodelay(true).expect("a setting");
        // Does not wait after its end, so that ports are free again immediately.
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
        served::refuse(refusal)
    }
}
