//! Clients that take their time: before the handshake, before a request, within one, and over an answer.

use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use apiservice::accept::Limits;
use testkit::rows::each_row_async;
use testkit::wait::{in_time, until};
use tokio::io::AsyncReadExt as _;
use tokio::net::TcpStream;

use crate::clients::open;
use crate::served::{C1, Options, Server};

/// Far more than any test takes, so that only what a test shortens can end a connection.
const NEVER: Duration = Duration::from_hours(1);

fn patient() -> Limits {
    Limits {
        handshake: NEVER,
        headers: NEVER,
        exchange: Some(NEVER),
        answer: NEVER,
        idle: NEVER,
        ..Limits::default()
    }
}

fn started(accept: Limits) -> Server {
    Server::with(Options { accept, ..Options::default() })
}

#[tokio::test]
async fn half_open_handshakes_end_and_let_others_in() {
    let server = started(Limits { handshake: Duration::from_millis(200), handshakes: 8, ..patient() });
    let mut silent = Vec::new();
    for _ in 0..24 {
        silent.push(TcpStream::connect(server.address).await.expect("a connection"));
    }
    // Three times as many as there are places: a client that shakes hands gets through all the same.
    let answer = in_time("an answer", server.admin().get(format!("{}/healthz", server.url)).send()).await;
    assert_eq!(answer.expect("an answer").status(), 200);
    for mut stream in silent {
        assert_eq!(
            in_time("the end of the connection", stream.read(&mut [0])).await.unwrap_or(0),
            0,
            "closed"
        );
    }
    // The oldest made room for those that came when there was none.
    let (late, evicted) = (&server.stats.handshakes_timed_out, &server.stats.evicted_handshakes);
    assert_eq!(late.load(Relaxed) + evicted.load(Relaxed), 24);
    assert!(evicted.load(Relaxed) >= 16);
}

#[tokio::test]
async fn a_silent_client_is_sent_away() {
    let brief = Duration::from_millis(100);
    let server = started(Limits { idle: brief, headers: brief, linger: brief, ..patient() });
    for alpn in ["h2", "http/1.1"] {
        let mut raw = open(&server, &[alpn], None).await;
        raw.rest_text().await;
    }
    // After a request too.
    let mut raw = open(&server, &["http/1.1"], Some(&server.reader())).await;
    raw.send("GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n").await;
    assert!(raw.rest_text().await.starts_with("HTTP/1.1 200 "));
    assert_eq!(server.stats.idle.load(Relaxed), 3);
    until("open == 0", || server.stats.open.load(Relaxed) == 0).await;
}

#[tokio::test]
async fn a_head_that_does_not_end_is_cut() {
    let server = started(Limits { headers: Duration::from_millis(500), ..patient() });
    let mut raw = open(&server, &["http/1.1"], Some(&server.reader())).await;
    raw.send("GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n").await;
    raw.expect("\r\n\r\nok").await;
    // The time of a head begins with its first byte, not with the connection or the end of the last answer.
    raw.send("GET /healthz HTTP/1.1\r\n").await;
    assert_eq!(raw.rest_text().await, "");
    assert_eq!(server.stats.slow.load(Relaxed), 1);
}

#[tokio::test]
async fn an_answer_that_is_not_taken_is_given_up() {
    let brief = Duration::from_millis(100);
    let large = format!("{C1}/namespaces/d/pods/large/a");
    let server = started(Limits { answer: brief, ..patient() });
    let reader = server.reader();
    let mut raw = open(&server, &["http/1.1"], Some(&reader)).await;
    raw.send(format!("GET {large} HTTP/1.1\r\nHost: x\r\nAccept: application/json\r\n\r\n")).await;
    until("accepted == 1 && open == 0", || {
        server.stats.accepted.load(Relaxed) == 1 && server.stats.open.load(Relaxed) == 0
    })
    .await;
    let answer = raw.rest_text().await;
    let expected = answer
        .lines()
        .find_map(|line| line.strip_prefix("content-length: "))
        .and_then(|length| length.parse::<usize>().ok())
        .expect("a length");
    assert!(answer.len() < expected, "all {expected} bytes were sent to a client that took none");
}

#[tokio::test]
async fn a_request_without_an_end_is_cut() {
    let server = started(Limits { exchange: Some(Duration::from_millis(200)), ..patient() });
    let reader = server.reader();
    each_row_async([true, false], async |alpn| {
        let mut builder = server.builder(Some(&reader));
        if !alpn {
            builder = builder.http1_only();
        }
        let client = builder.build().expect("a client");
        let url = format!("{}{C1}/namespaces/d/pods/slow/a", server.url);
        assert!(in_time("an answer", client.get(url).send()).await.is_err(), "cut");
    })
    .await;
    until("slow >= 2", || server.stats.slow.load(Relaxed) >= 2).await;
}
