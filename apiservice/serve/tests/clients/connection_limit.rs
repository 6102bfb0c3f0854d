//! More connections than there are places.

use std::sync::atomic::Ordering::Relaxed;

use serve::Limits;
use tokio::io::AsyncReadExt as _;

use testkit::wait::{in_time, until};
use testkit::wire::Raw;

use crate::server::{Server, patient};

/// Without places for certificates.
fn places(connections: usize) -> Limits {
    Limits { connections, reserved: 0, handshakes: connections, ..patient() }
}

/// The one of several that the server ended.
async fn ended(connections: &mut [&mut Raw]) -> usize {
    let mut ended = None;
    until("the end of one of the connections", || {
        ended = connections.iter().position(|connection| !connection.is_open());
        ended.is_some()
    })
    .await;
    ended.expect("one has ended")
}

#[tokio::test]
async fn one_too_many_ends_the_one_that_is_idle_for_the_longest_time() {
    let server = Server::start(places(3));
    let mut first = server.asked_from(1, "/").await;
    let mut second = server.asked_from(2, "/").await;
    let mut third = server.asked_from(3, "/").await;
    assert_eq!(first.get("/").await, 200);
    let mut fourth = server.asked_from(4, "/").await;
    assert_eq!(ended(&mut [&mut first, &mut second, &mut third, &mut fourth]).await, 1);
    assert_eq!(third.get("/").await, 200);
    // Of those that the last look found, only what has done nothing since goes.
    let mut fifth = server.asked_from(5, "/").await;
    assert_eq!(ended(&mut [&mut first, &mut third, &mut fourth, &mut fifth]).await, 0);
    assert_eq!(server.stats().evicted_idle.load(Relaxed), 2);
    assert_eq!(server.stats().open.load(Relaxed), 3);
}

#[tokio::test]
async fn silent_ones_go_before_idle_ones_and_those_before_busy_ones() {
    let server = Server::start(places(4));
    let mut busy = server.raw_from(1).await;
    busy.send("GET /slow HTTP/1.1\r\nHost: x\r\n\r\n").await;
    in_time("a request under way", server.entered.acquire()).await.expect("never closed").forget();
    let mut in_head = server.raw_from(2).await;
    in_head.send("GET / HTTP/1.1\r\n").await;
    let mut idle = server.asked_from(3, "/").await;
    let mut silent = server.raw_from(4).await;
    until("accepted == 4", || server.stats().accepted.load(Relaxed) == 4).await;
    let mut newcomers = Vec::new();
    for host in 5..9 {
        newcomers.push(server.raw_from(host).await);
        newcomers.last_mut().expect("one").send("GET /slow HTTP/1.1\r\nHost: x\r\n\r\n").await;
        in_time("a request under way", server.entered.acquire()).await.expect("never closed").forget();
    }
    assert_eq!(silent.rest().await, b"");
    assert_eq!(idle.rest().await, b"");
    assert_eq!(in_head.rest().await, b"");
    assert_eq!(busy.rest().await, b"", "all others are younger");
    let stats = server.stats();
    let counts =
        [&stats.evicted_handshakes, &stats.evicted_idle, &stats.evicted_busy].map(|of| of.load(Relaxed));
    assert_eq!(counts, [1, 1, 2]);
}

#[tokio::test]
async fn a_probe_is_answered_while_all_places_are_busy() {
    let server = Server::start(places(8));
    let mut busy = Vec::new();
    for _ in 0..20 {
        let mut raw = server.raw_from(2).await;
        raw.send("GET /slow HTTP/1.1\r\nHost: x\r\n\r\n").await;
        busy.push(raw);
    }
    for _ in 0..20 {
        server.asked_from(1, "/").await;
    }
}

#[tokio::test]
async fn an_address_at_its_share_only_displaces_its_own() {
    // A quarter of eight.
    let server = Server::start(places(8));
    let mut others = Vec::new();
    for host in 2..8 {
        others.push(server.asked_from(host, "/").await);
    }
    let mut crowd = vec![server.asked_from(1, "/").await, server.asked_from(1, "/").await];
    for _ in 0..10 {
        crowd.push(server.asked_from(1, "/").await);
        assert_eq!(crowd.remove(0).rest().await, b"");
    }
    for other in &mut others {
        assert_eq!(other.get("/").await, 200);
    }
}

#[tokio::test]
async fn a_crowd_that_came_first_makes_room_for_others() {
    let server = Server::start(places(8));
    let mut old = server.asked_from(2, "/").await;
    let mut crowd = Vec::new();
    for _ in 0..7 {
        crowd.push(server.asked_from(1, "/").await);
    }
    for host in 3..8 {
        server.asked_from(host, "/").await;
    }
    assert_eq!(old.get("/").await, 200, "it is idle for longer, but not of a crowd");
}

#[tokio::test]
async fn known_callers_stay_and_certificates_have_places_of_their_own() {
    let server = Server::start(Limits { reserved: 2, ..places(6) });
    let mut certificate = server.asked_from(1, "/certificate").await;
    let mut token = server.asked_from(1, "/token").await;
    for host in 2..20 {
        server.asked_from(host, "/").await;
    }
    // Strangers and tokens hold four places now, none of which another certificate needs.
    let mut another = server.asked_from(1, "/certificate").await;
    for known in [&mut certificate, &mut token, &mut another] {
        assert_eq!(known.get("/").await, 200);
    }
}

#[tokio::test]
async fn a_token_goes_where_no_stranger_is_left() {
    let server = Server::start(Limits { reserved: 1, ..places(4) });
    let mut certificate = server.asked_from(1, "/certificate").await;
    let mut tokens = Vec::new();
    for host in 2..5 {
        tokens.push(server.asked_from(host, "/token").await);
    }
    server.asked_from(6, "/").await;
    assert_eq!(tokens[0].rest().await, b"");
    assert_eq!(certificate.get("/").await, 200);
}

#[tokio::test]
async fn a_handshake_too_many_ends_the_oldest() {
    let server = Server::start(Limits { handshakes: 3, ..places(100) });
    let mut silent = Vec::new();
    for _ in 0..3 {
        silent.push(server.raw_from(1).await);
    }
    until("accepted == 3", || server.stats().accepted.load(Relaxed) == 3).await;
    // Each is over before the next one begins.
    for _ in 0..5 {
        server.asked_from(2, "/").await;
    }
    assert_eq!(in_time("the end of the connection", silent[0].0.read(&mut [0])).await.unwrap_or(0), 0);
    assert!(silent[1].is_open() && silent[2].is_open());
    assert_eq!(server.stats().evicted_handshakes.load(Relaxed), 1);
}
