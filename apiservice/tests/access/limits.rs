//! How many questions about callers the Kubernetes API is asked, and who waits when there are too many.

use std::time::Duration;

use apiservice::review::ReviewLimits;
use futures_util::future::join_all;
use http::Method;
use serde_json::json;

use super::fake::{ACCESS_REVIEWS, TOKEN_REVIEWS, token_of, unknown_token};
use super::{C1, POD, Server, Settings, no_certificates};

/// One review a second is later than anybody may wait, so what is beyond the burst is refused immediately.
const TIGHT: ReviewLimits = ReviewLimits { per_second: 1, burst: 5 };

fn token(text: &str) -> (String, String) {
    ("authorization".to_owned(), format!("Bearer {text}"))
}

async fn codes(server: &Server, tokens: impl IntoIterator<Item = String>) -> Vec<u16> {
    let headers: Vec<_> = tokens.into_iter().map(|text| token(&text)).collect();
    join_all(headers.iter().map(async |(name, value)| server.get(POD, &[(name, value)]).await.code)).await
}

#[tokio::test(start_paused = true)]
async fn a_flood_of_invalid_tokens_leaves_known_callers_alone() {
    // Nothing is kept, so that each request is asked about.
    let server =
        Server::start(&Settings { token_ttl: Duration::ZERO, reviews: TIGHT, ..Settings::default() });
    server.api.always(TOKEN_REVIEWS, token_of(&json!({"username": "scraper"})));
    assert_eq!(codes(&server, ["scraper".to_owned()]).await, [200]);
    server.api.always(TOKEN_REVIEWS, unknown_token());
    let flood = codes(&server, (0..50).map(|number| format!("invalid-{number}"))).await;
    let count = |code| flood.iter().filter(|&&other| other == code).count();
    assert_eq!((count(401), count(429)), (4, 46), "the burst, less the one before");
    let refused = server.get(POD, &[("authorization", "Bearer another")]).await;
    assert_eq!((refused.code, &*refused.message()), (429, "Too many requests, please try again later."));
    assert_eq!(refused.headers["retry-after"], "1");
    assert_eq!(server.api.count(TOKEN_REVIEWS), 5);
    // A token that was valid a moment ago has places of its own, and so have certificates and what a proxy says.
    server.api.always(TOKEN_REVIEWS, token_of(&json!({"username": "scraper"})));
    assert_eq!(codes(&server, ["scraper".to_owned()]).await, [200]);
    assert!(server.user(&[], &server.certified("by-certificate", &[])).await.is_ok());
    assert!(server.user(&[("x-remote-user", "hpa")], &server.proxy("front-proxy-client")).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_token_that_is_no_longer_valid_is_a_strangers_again() {
    let server =
        Server::start(&Settings { token_ttl: Duration::ZERO, reviews: TIGHT, ..Settings::default() });
    server.api.always(TOKEN_REVIEWS, token_of(&json!({"username": "scraper"})));
    assert_eq!(codes(&server, ["scraper".to_owned()]).await, [200]);
    server.api.always(TOKEN_REVIEWS, unknown_token());
    assert_eq!(codes(&server, ["scraper".to_owned()]).await, [401], "as one that is known");
    codes(&server, (0..50).map(|number| format!("invalid-{number}"))).await;
    assert_eq!(codes(&server, ["scraper".to_owned()]).await, [429]);
}

#[tokio::test(start_paused = true)]
async fn a_flood_of_anonymous_questions_leaves_known_callers_alone() {
    let server = Server::start(&Settings { reviews: TIGHT, ..Settings::default() });
    let path = |number: usize| format!("{C1}/namespaces/default/pods/web-{number}/m");
    let paths: Vec<_> = (0..50).map(path).collect();
    let (proxy, client) = (server.proxy("front-proxy-client"), server.certified("by-certificate", &[]));
    let asked = async |headers: &[(&str, &str)], peer: &_| {
        let answers = paths.iter().map(|path| server.send(Method::GET, path, headers, peer));
        let codes: Vec<u16> = join_all(answers).await.iter().map(|response| response.code).collect();
        let count = |code| codes.iter().filter(|&&other| other == code).count();
        (count(200), count(429))
    };
    assert_eq!(asked(&[], &no_certificates()).await, (5, 45));
    // A proxy's own anonymous callers are strangers too, whose burst is over.
    let anonymous = [("x-remote-user", "system:anonymous"), ("x-remote-group", "system:unauthenticated")];
    assert_eq!(asked(&anonymous, &proxy).await.0, 5, "those that were asked about before");
    assert_eq!(server.api.count(ACCESS_REVIEWS), 5);
    assert_eq!(asked(&[("x-remote-user", "hpa")], &proxy).await, (5, 45));
    assert_eq!(asked(&[], &client).await.1, 50, "certificates and proxies share theirs");
    server.api.always(TOKEN_REVIEWS, token_of(&json!({"username": "scraper"})));
    assert_eq!(asked(&[("authorization", "Bearer scraper")], &no_certificates()).await, (5, 45));
}

#[tokio::test(start_paused = true)]
async fn what_is_a_little_too_much_waits() {
    let reviews = ReviewLimits { per_second: 10, burst: 1 };
    let server = Server::start(&Settings { reviews, ..Settings::default() });
    let paths: Vec<_> = (0..10).map(|number| format!("{C1}/nodes/n{number}/m")).collect();
    let started = tokio::time::Instant::now();
    let answers = join_all(paths.iter().map(|path| server.get(path, &[]))).await;
    let answered = answers.iter().filter(|response| response.code == 200).count();
    assert_eq!(answered, 6, "one at first, and as many as half a second serves");
    assert_eq!(started.elapsed(), Duration::from_millis(500));
    assert!(answers.iter().all(|response| matches!(response.code, 200 | 429)));
}
