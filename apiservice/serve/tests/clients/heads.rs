//! Heads of requests: how large they may be, how many fields they may have, and what is kept of them.

use std::sync::atomic::Ordering::Relaxed;

use http_body_util::{BodyExt as _, Empty};
use serve::Limits;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use testkit::rows::each_row_async;
use testkit::wait::{in_time, until};
use testkit::wire::frame;

use crate::server::{Server, patient};

/// A head over HTTP/1.1 with a number of fields.
fn fields(path: &str, count: usize, field: &str) -> String {
    // The first one is `Host`.
    format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{}\r\n", field.repeat(count - 2))
}

#[tokio::test]
async fn the_number_of_fields_is_bounded_in_both_versions() {
    let server = Server::start(Limits { header_fields: 300, ..patient() });
    each_row_async([(300, "200"), (301, "431")], async |(count, code)| {
        let mut raw = server.raw().await;
        raw.send(fields("/", count, "a: b\r\n")).await;
        assert_eq!(raw.rest_text().await.get(9..12), Some(code), "{count} fields");
    })
    .await;
    let mut two = server.http2().await;
    each_row_async([(300, 200), (301, 431)], async |(count, code)| {
        let mut request = server.request("/");
        for _ in 0..count {
            request = request.header("a", "b");
        }
        let answer =
            in_time("an answer", two.send_request(request.body(Empty::new()).expect("a request"))).await;
        assert_eq!(answer.expect("an answer").status(), code, "{count} fields");
    })
    .await;
    assert_eq!(server.stats().refused_fields.load(Relaxed), 1);
}

#[tokio::test]
async fn the_size_of_a_head_is_bounded_in_both_versions() {
    let server = Server::start(Limits { header_bytes: 64 << 10, ..patient() });
    each_row_async([(50 << 10, "200"), (70 << 10, "431")], async |(size, code)| {
        let mut raw = server.raw().await;
        let head =
            format!("GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\nX-Long: {}\r\n\r\n", "a".repeat(size));
        let _ = in_time("the server to read or to close", raw.0.write_all(head.as_bytes())).await;
        let answer = raw.rest_text().await;
        // The refusal is lost where the server closes with bytes unread.
        assert!(answer.get(9..12) == Some(code) || (code == "431" && answer.is_empty()), "{size}: {answer}");
    })
    .await;
    let mut two = server.http2().await;
    each_row_async([(50 << 10, 200), (70 << 10, 431)], async |(size, code)| {
        let request = server.request("/").header("x-long", "a".repeat(size)).body(Empty::new());
        let answer = in_time("an answer", two.send_request(request.expect("a request"))).await;
        assert_eq!(answer.expect("an answer").status(), code, "{size} bytes");
    })
    .await;
}

#[tokio::test]
async fn a_byte_that_stands_for_a_field_counts_as_the_field() {
    let server = Server::start(Limits { header_bytes: 64 << 10, ..patient() });
    // Defines a field and repeats it: each takes 34 bytes of the bound.
    each_row_async([(1000, true), (4000, false)], async |(repeats, is_taken)| {
        let mut raw = server.raw().await;
        let block = [frame::get("/"), frame::FIELD.to_vec(), vec![frame::AGAIN; repeats]].concat();
        raw.send([frame::preface(), frame::request(1, &block)].concat()).await;
        assert_eq!(raw.is_ok().await, is_taken, "{repeats} repeats");
    })
    .await;
}

#[tokio::test]
async fn a_caller_in_2047_groups_is_let_in() {
    let server = Server::start(patient());
    let group = "x-read-group: a-group-with-a-name-of-usual-length-and-a-bit-more\r\n";
    let mut one = server.raw().await;
    one.send(fields("/", 2048, group)).await;
    assert_eq!(one.rest_text().await.get(9..12), Some("200"));
    let mut two = server.http2().await;
    let mut request = server.request("/fields");
    for number in 0..2047 {
        request = request
            .header("x-read-group", format!("a-group-with-a-name-of-usual-length-and-a-bit-more-{number}"));
    }
    let answer = in_time("an answer", two.send_request(request.body(Empty::new()).expect("a request"))).await;
    let body = answer.expect("an answer").into_body().collect().await.expect("a body").to_bytes();
    assert_eq!(body, "2047");
}

#[tokio::test]
async fn of_large_heads_only_what_is_read_reaches_the_program() {
    let server = Server::start(patient());
    let mut raw = server.raw().await;
    raw.send(fields("/fields", 1000, "X-Other: b\r\n").replacen("X-Other", "X-Read", 3)).await;
    assert!(raw.rest_text().await.ends_with("\r\n\r\n3"));
}

#[tokio::test]
async fn unfinished_heads_of_all_connections_share_one_room() {
    let server = Server::start(Limits { all_header_bytes: 200 << 10, ..patient() });
    let long = |kib: usize| {
        format!("GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\nX-Long: {}", "a".repeat(kib << 10))
    };
    let mut first = server.raw().await;
    first.send(long(100)).await;
    let mut second = server.raw().await;
    // It may be cut before it has said everything.
    let _ = in_time("the server to read or to close", second.0.write_all(long(150).as_bytes())).await;
    assert_eq!(second.rest().await, b"");
    assert_eq!(server.stats().header_room.load(Relaxed), 1);
    // What was taken is given back with the answer.
    first.send("\r\n\r\n").await;
    assert!(first.rest_text().await.starts_with("HTTP/1.1 200 "));
    let mut third = server.raw().await;
    third.send(long(150) + "\r\n\r\n").await;
    assert!(third.rest_text().await.starts_with("HTTP/1.1 200 "));
}

#[tokio::test]
async fn packed_heads_that_do_not_end_share_that_room_too() {
    let server = Server::start(Limits { all_header_bytes: 2 << 20, ..patient() });
    let block = [frame::get("/"), frame::FIELD.to_vec(), vec![frame::AGAIN; 14_000]].concat();
    let endless = [frame::preface(), frame::new(frame::HEADERS, frame::END_STREAM, 1, &block)].concat();
    let mut all = Vec::new();
    for _ in 0..4 {
        let mut raw = server.raw().await;
        raw.send(&endless).await;
        all.push(raw);
    }
    // 14 KB stand for 1.4 MB.
    until("header_room == 3", || server.stats().header_room.load(Relaxed) == 3).await;
    // Usual requests take none of it.
    let mut two = server.http2().await;
    let request = server.request("/").body(Empty::new()).expect("a request");
    assert_eq!(in_time("an answer", two.send_request(request)).await.expect("an answer").status(), 200);
    // With the end of a head the room is there again.
    drop(all);
    until("open == 1", || server.stats().open.load(Relaxed) == 1).await;
    let mut again = server.raw().await;
    let end = frame::new(frame::CONTINUATION, frame::END_HEADERS, 1, &[]);
    again.send([endless, end].concat()).await;
    again.is_ok().await;
    assert_eq!(server.stats().header_room.load(Relaxed), 3);
}

#[tokio::test]
async fn a_burst_of_packed_heads_is_answered_one_by_one() {
    let server = Server::start(patient());
    let mut raw = server.raw().await;
    let first = [frame::get("/"), frame::FIELD.to_vec(), vec![frame::AGAIN; 1000]].concat();
    let more = [frame::get("/"), vec![frame::AGAIN; 1000]].concat();
    let mut sent = frame::preface();
    for number in 0..90 {
        let block = if number == 0 { &first } else { &more };
        sent.extend(frame::request(2 * number + 1, block));
    }
    raw.send(sent).await;
    let mut came = Vec::new();
    while bodies(&came) < 90 {
        assert!(
            in_time("answers", raw.0.read_buf(&mut came)).await.expect("the server answers") > 0,
            "it closed"
        );
    }
}

/// Bodies `ok` among the frames of a server.
fn bodies(bytes: &[u8]) -> usize {
    frame::all(bytes).filter(|frame| frame.kind == frame::DATA && frame.payload == b"ok").count()
}

#[tokio::test]
async fn a_stranger_has_few_requests_under_way_and_a_known_caller_many() {
    // Room for two besides the first.
    let server = Server::start(Limits { all_header_bytes: 20 << 10, ..patient() });
    let ask = |sender: &mut hyper::client::conn::http2::SendRequest<Empty<bytes::Bytes>>, path: &str| {
        sender.send_request(server.request(path).body(Empty::new()).expect("a request"))
    };
    let mut two = server.http2().await;
    let waiting: Vec<_> = (0..3).map(|_| tokio::spawn(ask(&mut two, "/slow"))).collect();
    in_time("a request under way", server.entered.acquire_many(3)).await.expect("never closed").forget();
    assert_eq!(in_time("an answer", ask(&mut two, "/")).await.expect("an answer").status(), 429);
    assert_eq!(server.stats().refused_busy.load(Relaxed), 1);
    // Each connection has one, whatever others do: a probe needs no more.
    let mut probe = server.http2().await;
    assert_eq!(in_time("an answer", ask(&mut probe, "/")).await.expect("an answer").status(), 200);
    let mut known = server.http2().await;
    assert_eq!(in_time("an answer", ask(&mut known, "/token")).await.expect("an answer").status(), 200);
    let more: Vec<_> = (0..20).map(|_| tokio::spawn(ask(&mut known, "/slow"))).collect();
    in_time("a request under way", server.entered.acquire_many(20)).await.expect("never closed").forget();
    server.go.add_permits(23);
    for answer in waiting.into_iter().chain(more) {
        assert_eq!(in_time("an answer", answer).await.expect("no panic").expect("an answer").status(), 200);
    }
    assert_eq!(in_time("an answer", ask(&mut two, "/")).await.expect("an answer").status(), 200);
}
