//! How connections end in an orderly way: by a last answer, and with the server.

use http_body_util::{BodyExt as _, Empty};
use serve::Ended;
use serve::lifecycle::Phase;

use testkit::wait::{in_time, until};

use crate::server::{Server, patient};

#[tokio::test]
async fn a_last_answer_closes_its_connection_in_both_versions() {
    let server = Server::start(patient());
    let mut one = server.raw().await;
    one.send("GET /last HTTP/1.1\r\nHost: x\r\n\r\n").await;
    let answer = one.rest_text().await;
    assert!(answer.starts_with("HTTP/1.1 200 ") && answer.contains("connection: close"), "{answer}");
    let mut two = server.http2().await;
    let request = server.request("/last").body(Empty::new()).expect("a request");
    assert_eq!(in_time("an answer", two.send_request(request)).await.expect("an answer").status(), 200);
    until("the end of the connection", || two.is_closed()).await;
}

#[tokio::test]
async fn an_answer_to_head_has_a_length_and_no_body_in_both_versions() {
    let server = Server::start(patient());
    let mut one = server.raw().await;
    one.send("HEAD / HTTP/1.1\r\nHost: x\r\n\r\nHEAD /last HTTP/1.1\r\nHost: x\r\n\r\n").await;
    let answers = one.rest_text().await;
    assert_eq!(answers.matches("content-length: 2\r\n").count(), 2, "{answers}");
    assert!(answers.ends_with("\r\n\r\n"), "{answers}");
    let request = server.request("/large").method("HEAD").body(Empty::new()).expect("a request");
    let answer = in_time("an answer", server.http2().await.send_request(request)).await.expect("an answer");
    assert!(answer.headers().contains_key("content-length"), "{answer:?}");
    let body =
        in_time("a body", answer.into_body().collect()).await.expect("an answer without an error").to_bytes();
    assert!(body.is_empty(), "{} bytes", body.len());
}

#[tokio::test]
async fn a_caller_with_a_certificate_keeps_the_connection() {
    // kube-apiserver passes on requests of anonymous callers too, among those of others.
    let server = Server::start(patient());
    let mut raw = server.asked_from(1, "/certificate").await;
    assert_eq!(raw.get("/last").await, 200);
    assert_eq!(raw.get("/").await, 200);
}

#[tokio::test]
async fn a_server_that_leaves_tells_its_clients_and_drains() {
    let server = Server::start(patient());
    let mut idle = server.asked_from(1, "/").await;
    let mut told = server.asked_from(1, "/").await;
    let mut busy = server.raw().await;
    busy.send("GET /slow HTTP/1.1\r\nHost: x\r\n\r\n").await;
    in_time("a request under way", server.entered.acquire()).await.expect("never closed").forget();
    server.served.trigger.advance(Phase::Leaving);
    // The server notices in its own time; until then answers are as ever.
    in_time("the server to tell its client", async { while told.get("/").await == 200 && told.is_open() {} })
        .await;
    server.served.trigger.advance(Phase::Draining);
    assert_eq!(idle.rest().await, b"");
    server.go.add_permits(1);
    assert!(busy.rest_text().await.starts_with("HTTP/1.1 200 "));
    assert_eq!(
        in_time("the end of the server", server.served.ended).await.expect("no panic"),
        Ended::Drained
    );
}
