//! Clients that take their time: before a request, within one, and over an answer.

use std::sync::atomic::Ordering::Relaxed;

use serve::Limits;

use testkit::rows::each_row_async;
use testkit::wait::{in_time, until};
use testkit::wire::frame;

use crate::server::{BRIEF, LARGE, Server, patient};

#[tokio::test]
async fn silent_clients_and_partial_prefaces_are_cut() {
    let server = Server::start(Limits { handshake: BRIEF, ..patient() });
    each_row_async(["", "P", "PRI * HT", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r"], async |sent| {
        let mut raw = server.raw().await;
        raw.send(sent).await;
        assert_eq!(raw.rest().await, b"", "{sent:?}");
    })
    .await;
    assert_eq!(server.stats().handshakes_timed_out.load(Relaxed), 4);
    until("open == 0", || server.stats().open.load(Relaxed) == 0).await;
}

#[tokio::test]
async fn a_head_that_does_not_end_is_cut_in_both_versions() {
    let server = Server::start(Limits { headers: BRIEF, ..patient() });
    let mut one = server.asked_from(1, "/").await;
    one.send("GET / HTTP/1.1\r\nHost: x\r\n").await;
    assert_eq!(one.rest().await, b"");
    let mut two = server.raw().await;
    two.send([frame::preface(), frame::new(frame::HEADERS, frame::END_STREAM, 1, &frame::get("/"))].concat())
        .await;
    two.rest().await;
    assert_eq!((server.stats().slow.load(Relaxed), server.stats().idle.load(Relaxed)), (2, 0));
}

#[tokio::test]
async fn the_time_of_a_head_begins_with_its_first_byte() {
    let server = Server::start(Limits { headers: BRIEF, ..patient() });
    let mut raw = server.asked_from(1, "/").await;
    // The time itself is what is tested: it is over, and nothing ended.
    tokio::time::sleep(BRIEF * 2).await;
    assert_eq!(raw.get("/").await, 200);
}

#[tokio::test]
async fn a_connection_that_never_asks_has_the_time_of_a_head() {
    let server = Server::start(Limits { headers: BRIEF, linger: BRIEF, ..patient() });
    let mut raw = server.raw().await;
    raw.send(frame::preface()).await;
    raw.rest().await;
    assert_eq!(server.stats().idle.load(Relaxed), 1);
}

#[tokio::test]
async fn idle_connections_end_in_both_versions_though_they_answer_pings() {
    let server = Server::start(Limits { idle: BRIEF, linger: BRIEF, ..patient() });
    let mut one = server.asked_from(1, "/").await;
    assert_eq!(one.rest().await, b"");
    let mut two = server.raw().await;
    let get = frame::request(1, &frame::get("/"));
    two.send([frame::preface(), get].concat()).await;
    until("accepted == 2", || server.stats().accepted.load(Relaxed) == 2).await;
    let mut pings = tokio::time::interval(BRIEF / 10);
    in_time("the end of the connection", async {
        while server.stats().open.load(Relaxed) > 0 {
            pings.tick().await;
            let _ = two.0.try_write(&frame::new(frame::PING, 0, 0, &[0; 8]));
            let _ = two.0.try_read(&mut [0; 4096]);
        }
    })
    .await;
    assert_eq!(server.stats().idle.load(Relaxed), 2);
}

#[tokio::test]
async fn a_connection_with_a_request_under_way_is_not_idle() {
    let server = Server::start(Limits { idle: BRIEF, headers: BRIEF, linger: BRIEF, ..patient() });
    let mut raw = server.raw().await;
    raw.send("GET /slow HTTP/1.1\r\nHost: x\r\n\r\n").await;
    in_time("a request under way", server.entered.acquire()).await.expect("never closed").forget();
    // The time itself is what is tested: it is over, and nothing ended.
    tokio::time::sleep(BRIEF * 3).await;
    server.go.add_permits(1);
    assert_eq!(raw.status().await, 200);
}

#[tokio::test]
async fn an_answer_that_is_not_read_is_cut_in_both_versions() {
    let server = Server::start(Limits { answer: BRIEF, ..patient() });
    let mut one = server.raw().await;
    one.send("GET /large HTTP/1.1\r\nHost: x\r\n\r\n").await;
    until("slow == 1", || server.stats().slow.load(Relaxed) == 1).await;
    assert!(one.rest().await.len() < LARGE);
    let mut two = server.raw().await;
    let get = frame::request(1, &frame::get("/large"));
    two.send([frame::preface(), get].concat()).await;
    until("slow == 2", || server.stats().slow.load(Relaxed) == 2).await;
    assert!(two.rest().await.len() < LARGE);
}

#[tokio::test]
async fn many_answers_that_are_not_read_end_too() {
    let server =
        Server::start(Limits { answer: BRIEF, idle: BRIEF, linger: BRIEF, headers: BRIEF, ..patient() });
    let mut raw = server.raw().await;
    let pipelined = "GET / HTTP/1.1\r\nHost: x\r\n\r\n".repeat(100_000);
    // As many as the server takes while no client reads its answers.
    let _ =
        tokio::time::timeout(BRIEF, tokio::io::AsyncWriteExt::write_all(&mut raw.0, pipelined.as_bytes()))
            .await;
    until("open == 0", || server.stats().open.load(Relaxed) == 0).await;
}

#[tokio::test]
async fn a_request_without_an_answer_is_cut_in_both_versions() {
    let server = Server::start(Limits { exchange: Some(BRIEF), ..patient() });
    let mut one = server.raw().await;
    one.send("GET /slow HTTP/1.1\r\nHost: x\r\n\r\n").await;
    assert_eq!(one.rest().await, b"");
    let mut two = server.http2().await;
    let request = server.request("/slow").body(http_body_util::Empty::new()).expect("a request");
    assert!(in_time("an answer", two.send_request(request)).await.is_err());
    assert_eq!(server.stats().slow.load(Relaxed), 2);
}
