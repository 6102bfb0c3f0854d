//! Bearer tokens (`docs/contract.md#bearer-tokens`).

use std::time::Duration;

use futures_util::future::{join, join_all};
use serde_json::json;
use testkit::rows::each_row_async;
use testkit::wait::until_async;
use tokio::time::Instant;

use super::fake::{FakeApi, Reply, TOKEN_REVIEWS, failure, token_of, unknown_token};
use super::{POD, Server, Settings, anonymous, no_certificates, user};

const TOKEN: [(&str, &str); 1] = [("authorization", "Bearer secret")];

fn alice() -> Reply {
    token_of(
        &json!({"username": "alice", "uid": "42", "groups": ["g1"], "extra": {"acme.com/project": ["p", "q"]}}),
    )
}

#[tokio::test]
async fn a_token_is_reviewed_without_audiences() {
    let api = FakeApi::new();
    let client = api.client_over_loopback().await;
    let server = Server::asking(api, client, &Settings::default());
    server.api.always(TOKEN_REVIEWS, alice());
    let mut expected = user("alice", &["g1", "system:authenticated"]);
    expected.uid = "42".to_owned();
    expected.extra.insert("acme.com/project".to_owned(), vec!["p".to_owned(), "q".to_owned()]);
    assert_eq!(server.user(&TOKEN, &no_certificates()).await, Ok(expected));
    let asked = server.api.asked(TOKEN_REVIEWS);
    assert_eq!((asked.len(), asked[0].method.as_str()), (1, "POST"));
    assert_eq!(
        asked[0].body,
        json!({
            "kind": "TokenReview", "apiVersion": "authentication.k8s.io/v1", "metadata": {},
            "spec": {"token": "secret"},
        })
    );
}

#[tokio::test]
async fn what_is_a_bearer_token() {
    let server = Server::start(&Settings::default());
    server.api.always(TOKEN_REVIEWS, token_of(&json!({"username": "alice"})));
    each_row_async(["Bearer secret", "bearer secret", "BEARER secret"], async |header| {
        let user = server.user(&[("authorization", header)], &no_certificates()).await.expect(header);
        assert_eq!(user.name, "alice", "{header}");
    })
    .await;
    assert_eq!(server.api.count(TOKEN_REVIEWS), 1);
    each_row_async(
        ["", "Bearer", "Bearer ", "Basic YWxpY2U6c2VjcmV0", "secret", "Bearersecret x"],
        async |header| {
            assert_eq!(
                server.user(&[("authorization", header)], &no_certificates()).await,
                Ok(anonymous()),
                "{header}"
            );
        },
    )
    .await;
    assert_eq!(server.api.count(TOKEN_REVIEWS), 1, "nothing of that is a token");
}

#[tokio::test]
async fn judgements_are_kept() {
    let server = Server::start(&Settings::default());
    let without_user = Reply::Object(201, json!({"spec": {}, "status": {"authenticated": true}}));
    let without_status = Reply::Object(201, json!({"spec": {}}));
    let rows = [
        ("good", alice(), None),
        // D34: kube-apiserver gives an error with every bad token, and upstream keeps no answer with an error.
        ("bad", unknown_token(), Some(401)),
        ("no user's", without_user, Some(401)),
        ("unjudged", without_status, Some(401)),
    ];
    each_row_async(rows, async |(token, reply, code)| {
        let before = server.api.count(TOKEN_REVIEWS);
        server.api.always(TOKEN_REVIEWS, reply);
        for _ in 0..3 {
            let header = format!("Bearer {token}");
            let outcome = server.user(&[("authorization", &header)], &no_certificates()).await;
            assert_eq!(outcome.err(), code, "{token}");
        }
        assert_eq!(server.api.count(TOKEN_REVIEWS), before + 1, "{token}");
    })
    .await;
}

#[tokio::test]
async fn judgements_are_kept_no_longer_than_said() {
    const TTL: Duration = Duration::from_millis(200);
    each_row_async([alice(), unknown_token()], async |reply| {
        let server = Server::start(&Settings { token_ttl: TTL, ..Settings::default() });
        server.api.always(TOKEN_REVIEWS, reply);
        let started = Instant::now();
        let asked_again = async || {
            let _ = server.user(&TOKEN, &no_certificates()).await;
            server.api.count(TOKEN_REVIEWS) == 2
        };
        until_async("the token is judged again", asked_again).await;
        assert!(started.elapsed() >= TTL, "asked again after {:?}", started.elapsed());
    })
    .await;
}

#[tokio::test]
async fn equal_lookups_share_one_call() {
    let server = Server::start(&Settings::default());
    server.api.always(TOKEN_REVIEWS, Reply::Held(Box::new(alice())));
    let peer = no_certificates();
    // All are under way before the API is first asked: they are polled one after the other by this one task.
    let lookups = join_all((0..20).map(|_| server.user(&TOKEN, &peer)));
    let other = server.user(&[("authorization", "Bearer other")], &peer);
    let release = async {
        server.api.came(2).await;
        server.api.release();
    };
    let ((users, other), ()) = join(join(lookups, other), release).await;
    assert!(users.iter().all(|user| user.as_ref().is_ok_and(|user| user.name == "alice")), "{users:?}");
    assert!(other.is_ok());
    assert_eq!(server.api.count(TOKEN_REVIEWS), 2);
}

#[tokio::test(start_paused = true)]
async fn what_passes_is_waited_for() {
    let server = Server::start(&Settings::default());
    server
        .api
        .next(TOKEN_REVIEWS, [failure(500), failure(429), Reply::Text(503, "no upstream"), Reply::Reset]);
    server.api.always(TOKEN_REVIEWS, alice());
    assert!(server.user(&TOKEN, &no_certificates()).await.is_ok());
    let asked = server.api.asked(TOKEN_REVIEWS);
    assert_eq!(asked.len(), 5);
    let mut wait = Duration::from_millis(500);
    for pair in asked.windows(2) {
        // The clock counts whole milliseconds.
        let (waited, most) = (pair[1].at - pair[0].at, wait.mul_f64(1.2) + Duration::from_millis(2));
        assert!(waited >= wait && waited <= most, "waited {waited:?} instead of {wait:?} to {most:?}");
        wait = wait.mul_f64(1.5);
    }
}

/// Over a socket, where a reset is one.
#[tokio::test]
async fn a_connection_that_breaks_is_made_again() {
    let api = FakeApi::new();
    let client = api.client_over_loopback().await;
    let server = Server::asking(api, client, &Settings::default());
    server.api.next(TOKEN_REVIEWS, [Reply::Reset]);
    server.api.always(TOKEN_REVIEWS, alice());
    assert!(server.user(&TOKEN, &no_certificates()).await.is_ok());
    assert_eq!(server.api.count(TOKEN_REVIEWS), 2);
}

#[tokio::test(start_paused = true)]
async fn what_does_not_pass_is_asked_once() {
    let server = Server::start(&Settings::default());
    each_row_async([400, 401, 403, 404, 422], async |code| {
        let before = server.api.count(TOKEN_REVIEWS);
        server.api.always(TOKEN_REVIEWS, failure(code));
        assert_eq!(server.user(&TOKEN, &no_certificates()).await, Err(401), "{code}");
        assert_eq!(server.api.count(TOKEN_REVIEWS), before + 1, "{code}");
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_token_that_cannot_be_judged_is_refused_and_not_remembered() {
    let server = Server::start(&Settings::default());
    server.api.always(TOKEN_REVIEWS, failure(500));
    for round in 1..=2 {
        let refused = server.get(POD, &TOKEN).await;
        assert_eq!((refused.code, refused.message().as_str()), (401, "Unauthorized"));
        assert_eq!(server.api.count(TOKEN_REVIEWS), 5 * round);
    }
    server.api.always(TOKEN_REVIEWS, alice());
    assert!(server.user(&TOKEN, &no_certificates()).await.is_ok());
    assert_eq!(server.handler.requests.lock().expect("no code panics while it holds the lock").len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_judgement_takes_ten_seconds_at_most() {
    let server = Server::start(&Settings::default());
    server.api.always(TOKEN_REVIEWS, Reply::Held(Box::new(alice())));
    let started = Instant::now();
    assert_eq!(server.user(&TOKEN, &no_certificates()).await, Err(401));
    let took = started.elapsed();
    assert!(took >= Duration::from_secs(10) && took < Duration::from_millis(10_010), "{took:?}");
    // Nothing of it is left: the next caller has the answer.
    server.api.release();
    assert!(server.user(&TOKEN, &no_certificates()).await.is_ok());
}
