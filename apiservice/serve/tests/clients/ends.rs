//! How connections end in an orderly way: by a last answer, and with the server.

use http_body_util::Empty;
use serve::Ended;
use serve::lifecycle::Phase;

use crate::server::{Server, in_time, patient};

#[tokio::test]
async fn a_last_answer_closes_its_connection_in_both_versions() {
    let server = Server::start(patient());
    let mut one = server.raw().await;
    one.send("GET /last HTTP/1.1\r\nHost: x\r\n\r\n").await;
    let answer = one.rest_text().await;
    assert!(answer.starts_with("HTTP/1.1 200 ") && answer.contains("connection: close"), "{answer}");
    let mut two = server.http2().await;
    let request = server.request("/last").body(Empty::new()).expect("a request");
    assert_eq!(in_time(two.send_request(request)).await.expect("an answer").status(), 200);
    in_time(async {
        while !two.is_closed() {
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
    })
    .await;
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
    in_time(server.entered.acquire()).await.expect("never closed").forget();
    server.trigger.advance(Phase::Leaving);
    // The server notices in its own time; until then answers are as ever.
    in_time(async { while told.get("/").await == 200 && told.is_open() {} }).await;
    server.trigger.advance(Phase::Draining);
    assert_eq!(idle.rest().await, b"");
    server.go.add_permits(1);
    assert!(busy.rest_text().await.starts_with("HTTP/1.1 200 "));
    assert_eq!(in_time(server.ended).await.expect("no panic"), Ended::Drained);
}
