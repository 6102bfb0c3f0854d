//! How much a server takes on: concurrent requests, bytes of headers, bytes of bodies, streams; and for how long.

use apiservice::accept::Limits;
use apiservice::tls::TlsSettings;
use futures_util::future::join_all;
use testkit::rows::each_row_async;
use testkit::wait::in_time;
use testkit::wire::frame;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::clients::{get, http2, open};
use crate::served::{C1, Options, Server};

const SLOW: &str = "/apis/custom.metrics.k8s.io/v1beta1/namespaces/d/pods/slow/a";

/// One request more than there is room for is refused immediately, health shows all the same, and afterwards there is
/// room.
async fn fills_up(server: &Server, clients: Vec<reqwest::Client>) {
    let waiting: Vec<_> = (0..400)
        .map(|number| {
            let request = clients[number % clients.len()].get(format!("{}{SLOW}", server.url));
            tokio::spawn(request.send())
        })
        .collect();
    in_time("a request under way", server.entered.acquire_many(400)).await.expect("never closed").forget();
    let late = server.builder(Some(&server.reader())).build().expect("a client");
    let path = format!("{}{C1}", server.url);
    for _ in 0..30 {
        let refused = late.get(&path).send().await.expect("an answer");
        assert_eq!(refused.status(), 429);
        assert_eq!(refused.headers()["retry-after"], "1");
        let text = refused.text().await.expect("a body");
        assert!(text.contains(r#""message":"Too many requests, please try again later.""#), "{text}");
        // client-go asks the body, not the header, how long to wait.
        assert!(text.contains(r#""details":{"retryAfterSeconds":1}"#), "{text}");
    }
    assert_eq!(late.get(format!("{}/healthz", server.url)).send().await.expect("an answer").status(), 200);
    assert_eq!(server.admin().get(&path).send().await.expect("an answer").status(), 200);
    // Requests that would change something do not take the place of those that read.
    assert_eq!(late.post(&path).send().await.expect("an answer").status(), 405);
    server.go.add_permits(400);
    for answer in in_time("all answers", join_all(waiting)).await {
        assert_eq!(answer.expect("no panic").expect("an answer").status(), 200);
    }
    assert_eq!(late.get(&path).send().await.expect("an answer").status(), 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn four_hundred_requests_over_http2() {
    let server = Server::start();
    let reader = server.reader();
    // A connection holds a hundred streams.
    let clients = (0..4).map(|_| server.builder(Some(&reader)).build().expect("a client")).collect();
    fills_up(&server, clients).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn four_hundred_requests_over_http1() {
    let server = Server::start();
    let client = server.builder(Some(&server.reader())).http1_only().build().expect("a client");
    fills_up(&server, vec![client]).await;
}

/// Sends a head that never ends; what the server says, and that it stopped reading, comes back.
async fn endless_head(server: &Server, bytes: usize) -> String {
    let mut raw = open(server, &["http/1.1"], None).await;
    raw.send("GET /healthz HTTP/1.1\r\nHost: x\r\nX-Long: ").await;
    let chunk = vec![b'a'; 16 << 10];
    let mut sent = 0;
    while sent < bytes && in_time("the server to read or to close", raw.0.write_all(&chunk)).await.is_ok() {
        sent += chunk.len();
    }
    assert!(sent < bytes, "the server took {sent} bytes of a head");
    raw.rest_text().await
}

/// Resident memory of this process, in bytes: the clients' part of it is a few buffers.
fn resident() -> usize {
    let text = std::fs::read_to_string("/proc/self/status").expect("Linux");
    let line = text.lines().find(|line| line.starts_with("VmRSS:")).expect("a number");
    line.split_whitespace().nth(1).and_then(|kib| kib.parse::<usize>().ok()).expect("a number") << 10
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_head_without_end_is_cut_and_takes_no_memory() {
    let server = Server::start();
    endless_head(&server, 64 << 20).await;
    let before = resident();
    let sizes = join_all((0..48).map(|_| endless_head(&server, 64 << 20))).await;
    // What arrives before the connection closes is a refusal.
    for answer in sizes.iter().filter(|answer| !answer.is_empty()) {
        assert!(answer.starts_with("HTTP/1.1 431 "), "{answer}");
    }
    let grown = resident().saturating_sub(before);
    assert!(grown < 128 << 20, "48 heads of up to 64 MiB left {grown} bytes in memory");
    assert_eq!(server.admin().get(format!("{}/healthz", server.url)).send().await.expect("ok").status(), 200);
}

#[tokio::test]
async fn long_headers_over_http2_are_refused() {
    let server = Server::start();
    let admin = server.admin();
    let long =
        |bytes| admin.get(format!("{}/healthz", server.url)).header("x-long", "a".repeat(bytes)).send();
    assert_eq!(long(200 << 10).await.expect("an answer").status(), 200);
    match long(300 << 10).await {
        Ok(answer) => assert_eq!(answer.status(), 431),
        Err(error) => assert!(!error.is_timeout(), "{error}"),
    }
    assert_eq!(long(1).await.expect("an answer").status(), 200);
}

#[tokio::test]
async fn a_caller_in_many_groups_is_let_in() {
    let server = Server::start();
    let reader = server.reader();
    each_row_async(
        [server.builder(Some(&reader)), server.builder(Some(&reader)).http1_only()],
        async |builder| {
            let mut request = builder.build().expect("a client").get(format!("{}{C1}", server.url));
            for group in 0..2000 {
                request = request
                    .header("x-remote-group", format!("a-group-with-a-name-of-a-usual-length-{group}"));
            }
            assert_eq!(request.send().await.expect("an answer").status(), 200);
        },
    )
    .await;
}

#[tokio::test]
async fn more_headers_than_that_are_refused() {
    let server = Server::start();
    let mut request = server.admin().get(format!("{}/healthz", server.url));
    for _ in 0..2100 {
        request = request.header("a", "b");
    }
    let refused = request.send().await.expect("an answer");
    assert_eq!((refused.status().as_u16(), refused.version()), (431, http::Version::HTTP_2));
}

#[tokio::test]
async fn bodies_are_read_up_to_a_limit_and_never_used() {
    let server = Server::start();
    let reader = server.reader();
    let mut raw = open(&server, &["http/1.1"], Some(&reader)).await;
    let head = |length: usize, more: &str| {
        format!("POST {C1} HTTP/1.1\r\nHost: x\r\nContent-Length: {length}\r\n{more}\r\n")
    };
    // A small one is read, and the connection goes on.
    raw.send(format!("{}{}", head(100_000, ""), "b".repeat(100_000))).await;
    raw.send(format!("GET {C1} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")).await;
    let both = raw.rest_text().await;
    let codes: Vec<_> = both.match_indices("HTTP/1.1 ").map(|(at, _)| &both[at + 9..at + 12]).collect();
    assert_eq!(codes, ["405", "200"], "{both}");
    // A large one is not.
    let mut raw = open(&server, &["http/1.1"], Some(&reader)).await;
    raw.send(format!("{}{}", head(1 << 30, ""), "b".repeat(300 << 10))).await;
    let refused = raw.rest_text().await;
    assert!(refused.starts_with("HTTP/1.1 405 ") && refused.contains("connection: close"), "{refused}");
    // One that is announced is not even asked for.
    let mut raw = open(&server, &["http/1.1"], Some(&reader)).await;
    raw.send(head(1000, "Expect: 100-continue\r\n")).await;
    let refused = raw.rest_text().await;
    assert!(refused.starts_with("HTTP/1.1 405 "), "{refused}");
}

#[tokio::test]
async fn the_settings_of_http2_tell_the_limits() {
    let accept = Limits { http2_streams: 7, ..Limits::default() };
    let server = Server::with(Options { accept, ..Options::default() });
    let mut raw = open(&server, &["h2"], None).await;
    raw.send(frame::preface()).await;
    let mut head = [0; 9];
    in_time("a frame", raw.0.read_exact(&mut head)).await.expect("a frame");
    assert_eq!(head[3], frame::SETTINGS, "SETTINGS come first");
    let mut payload = vec![0; usize::from(u16::from_be_bytes([head[1], head[2]]))];
    in_time("its payload", raw.0.read_exact(&mut payload)).await.expect("the frame");
    let setting = |wanted: u16| {
        payload
            .chunks_exact(6)
            .find(|entry| u16::from_be_bytes([entry[0], entry[1]]) == wanted)
            .map(|entry| u32::from_be_bytes([entry[2], entry[3], entry[4], entry[5]]))
    };
    assert_eq!(setting(3), Some(7), "concurrent streams");
    assert_eq!(setting(6), Some(256 << 10), "bytes of headers");
    assert!(setting(4).is_none_or(|window| window <= 65_535), "bytes of a body");
}

#[tokio::test]
async fn http2_can_be_switched_off() {
    let tls = TlsSettings { http1_only: true, ..TlsSettings::default() };
    let server = Server::with(Options { tls, ..Options::default() });
    let mut raw = open(&server, &["h2", "http/1.1"], None).await;
    assert_eq!(raw.0.get_ref().1.alpn_protocol(), Some(b"http/1.1".as_slice()));
    // A client that speaks it unasked is not understood.
    raw.send("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await;
    let answer = raw.rest_text().await;
    assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 400 "), "{answer}");
    let answer = server.admin().get(format!("{}/healthz", server.url)).send().await.expect("an answer");
    assert_eq!((answer.status().as_u16(), answer.version()), (200, http::Version::HTTP_11));
}

#[tokio::test]
async fn over_http2_strangers_are_answered_and_sent_away() {
    let server = Server::start();
    // An anonymous caller, and one whose certificate is not valid.
    let stranger = apiservice::authority::Authority::new("another-ca").expect("a key");
    let stranger = stranger.issue_client("admin", &[]).expect("a key");
    each_row_async([(None, 200), (Some(&stranger), 401)], async |(identity, code)| {
        let (mut sender, connection) = http2(&server, identity).await;
        assert_eq!(get(&mut sender, &server, "/healthz").await.expect("an answer"), code);
        in_time("the end of the connection", connection).await.expect("no panic").expect("an orderly end");
    })
    .await;
    // A known caller keeps the connection, until the server drains.
    let (mut sender, connection) = http2(&server, Some(&server.reader())).await;
    for _ in 0..3 {
        assert_eq!(get(&mut sender, &server, C1).await.expect("an answer"), 200);
    }
    assert!(!connection.is_finished());
    server.trigger.leave(std::time::Duration::ZERO).await;
    in_time("the end of the connection", connection).await.expect("no panic").expect("an orderly end");
    in_time("the end of the server", server.ended).await.expect("no panic");
}

#[tokio::test]
async fn over_http1_strangers_are_answered_and_sent_away() {
    let server = Server::start();
    let request = |path: &str| format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n");
    let stranger = apiservice::authority::Authority::new("another-ca").expect("a key");
    let stranger = stranger.issue_client("admin", &[]).expect("a key");
    each_row_async([(None, "200"), (Some(&stranger), "401")], async |(identity, code)| {
        let mut raw = open(&server, &["http/1.1"], identity).await;
        raw.send(request("/healthz")).await;
        let answer = raw.rest_text().await;
        assert!(
            answer.starts_with(&format!("HTTP/1.1 {code} ")) && answer.contains("connection: close"),
            "{answer}"
        );
    })
    .await;
    // A known caller keeps the connection.
    let mut raw = open(&server, &["http/1.1"], Some(&server.reader())).await;
    for _ in 0..3 {
        raw.send(request("/healthz")).await;
        raw.expect("\r\n\r\nok").await;
    }
}

#[tokio::test]
async fn the_deadline_covers_the_question_who_is_asking() {
    let server = Server::start();
    let url = format!("{}{C1}?timeout=50ms", server.url);
    let late = server.admin().get(url).header("x-hang", "1").send().await.expect("an answer");
    assert_eq!(late.status(), 504);
    assert!(late.text().await.expect("a body").contains("did not complete within the allotted timeout"));
}
