//! What is decided before the cluster is asked, and around it: privileged callers, open paths, impersonation, room,
//! time.

use std::time::Duration;

use apiservice::authz::MASTERS;
use apiservice::server::RequestLimits;
use futures_util::future::join;
use http::Method;
use serde_json::json;
use testkit::rows::each_row_async;
use tokio::time::Instant;

use super::fake::{ACCESS_REVIEWS, Reply, TOKEN_REVIEWS, allowed, failure, refused, token_of, unknown_token};
use super::{C1, POD, Server, Settings, no_certificates};

#[tokio::test]
async fn masters_may_everything_without_a_review() {
    let server = Server::start(&Settings::default());
    server.api.always(ACCESS_REVIEWS, failure(500));
    let proxy = server.proxy("front-proxy-client");
    let through_proxy = [("x-remote-user", "system:kube-aggregator"), ("x-remote-group", MASTERS)];
    each_row_async([POD, C1, "/metrics", "/readyz/ping"], async |path| {
        assert_ne!(server.send(Method::GET, path, &through_proxy, &proxy).await.code, 500, "{path}");
        let admin = server.certified("admin", &[MASTERS]);
        assert_ne!(server.send(Method::GET, path, &[], &admin).await.code, 500, "{path}");
    })
    .await;
    assert_eq!(server.api.count(ACCESS_REVIEWS), 0);
}

#[tokio::test]
async fn open_paths_need_no_review() {
    let settings =
        Settings { always_allow: vec!["/healthz", "/livez", "/debug/*", "/apis/*"], ..Settings::default() };
    let server = Server::start(&settings);
    server.api.always(ACCESS_REVIEWS, refused(""));
    let rows = [
        ("GET", "/healthz", 200),
        ("GET", "/healthz?verbose", 200),
        ("POST", "/healthz", 200),
        ("GET", "/livez", 200),
        ("GET", "/healthz/ping", 403),
        ("GET", "/healthz/", 403),
        ("GET", "//healthz", 403),
        ("GET", "/readyz", 403),
        ("GET", "/debug/pprof/", 404),
        ("GET", "/debug", 403),
        ("GET", C1, 200),
        // A pattern of paths opens no resource.
        ("GET", POD, 403),
    ];
    each_row_async(rows, async |(method, path, code)| {
        let method: Method = method.parse().expect("a method");
        assert_eq!(
            server.send(method.clone(), path, &[], &no_certificates()).await.code,
            code,
            "{method} {path}"
        );
    })
    .await;
}

/// D37: nothing of a profiler answers, and metrics cannot be reset.
#[tokio::test]
async fn there_is_no_profiler_and_nothing_to_reset() {
    let server = Server::start(&Settings::default());
    let admin = server.certified("admin", &[MASTERS]);
    let rows = [
        (Method::GET, "/debug/pprof/", 404),
        (Method::GET, "/debug/pprof/heap", 404),
        (Method::PUT, "/debug/flags/v", 404),
        (Method::GET, "/metrics/slis", 404),
        (Method::DELETE, "/metrics", 405),
    ];
    each_row_async(rows, async |(method, path, code)| {
        assert_eq!(server.send(method.clone(), path, &[], &admin).await.code, code, "{method} {path}");
    })
    .await;
    let index = server.send(Method::GET, "/", &[], &admin).await;
    let index = index.text();
    assert!(!index.contains("debug") && !index.contains("slis"), "{index}");
}

#[tokio::test]
async fn impersonation_is_refused() {
    let server = Server::start(&Settings::default());
    let admin = server.certified("admin", &[MASTERS]);
    each_row_async(
        ["Impersonate-User", "impersonate-group", "Impersonate-Uid", "Impersonate-Extra-scopes"],
        async |header| {
            for (path, peer) in [(POD, &admin), ("/healthz", &no_certificates())] {
                let response = server.send(Method::GET, path, &[(header, "bob")], peer).await;
                assert_eq!(response.code, 403, "{header} {path}");
                assert_eq!(
                    response.message(),
                    format!(
                        "the header {} is not accepted here: impersonate through kube-apiserver",
                        header.to_lowercase()
                    )
                );
            }
        },
    )
    .await;
    // Unauthenticated callers are told that first.
    server.api.always(TOKEN_REVIEWS, unknown_token());
    let unknown = server.get(POD, &[("impersonate-user", "bob"), ("authorization", "Bearer x")]).await;
    assert_eq!(unknown.code, 401);
    assert_eq!(server.api.count(ACCESS_REVIEWS), 0);
    assert!(server.handler.requests.lock().expect("no code panics while it holds the lock").is_empty());
}

#[tokio::test]
async fn a_full_server_refuses_all_but_masters() {
    let limits = RequestLimits { in_flight: 3, ..RequestLimits::default() };
    let server = Server::start(&Settings { limits, ..Settings::default() });
    let admin = server.certified("admin", &[MASTERS]);
    let path = format!("{C1}/nodes/slow/m");
    let fill = futures_util::future::join_all((0..3).map(|_| server.get(&path, &[])));
    let mut entered = server.handler.entered.subscribe();
    let full = async {
        entered.wait_for(|count| *count == 3).await.expect("the server lives");
        let reviews = server.api.count(ACCESS_REVIEWS);
        each_row_async([POD, C1], async |path| {
            let refused = server.get(path, &[]).await;
            assert_eq!(refused.code, 429, "{path}");
            assert_eq!(refused.headers["retry-after"], "1");
            assert_eq!(refused.message(), "Too many requests, please try again later.");
        })
        .await;
        assert_eq!(server.api.count(ACCESS_REVIEWS), reviews, "who is refused costs the cluster nothing");
        assert_eq!(server.send(Method::GET, POD, &[], &admin).await.code, 200);
        server.handler.go.add_permits(3);
    };
    let (filled, ()) = join(fill, full).await;
    assert!(filled.iter().all(|response| response.code == 200));
    // Every place was given back, those of the refused too.
    assert_eq!(server.get(POD, &[]).await.code, 200);
}

#[tokio::test]
async fn a_client_that_leaves_gives_its_place_back() {
    let limits = RequestLimits { in_flight: 1, ..RequestLimits::default() };
    let server = Server::start(&Settings { limits, ..Settings::default() });
    let path = format!("{C1}/nodes/slow/m");
    let mut entered = server.handler.entered.subscribe();
    tokio::select! {
        _ = server.get(&path, &[]) => panic!("it waits"),
        seen = entered.wait_for(|count| *count == 1) => drop(seen),
    }
    assert_eq!(server.get(POD, &[]).await.code, 200);
}

/// All concurrently: a request's time is measured by a clock that does not stop.
#[tokio::test(start_paused = true)]
async fn a_request_has_a_minute_or_what_it_asks_for() {
    let server = Server::start(&Settings::default());
    let cases = [
        ("", 60),
        ("?timeout=", 60),
        ("?timeout=3s", 3),
        ("?timeout=0", 60),
        ("?timeout=-1s", 60),
        ("?timeout=5m", 60),
    ];
    let started = Instant::now();
    let requests = cases.map(|(query, seconds)| {
        let (server, path) = (&server, format!("{C1}/nodes/slow/m{query}"));
        async move {
            let late = server.get(&path, &[]).await;
            let took = started.elapsed();
            let least = Duration::from_secs(seconds);
            assert!(took >= least && took < least + Duration::from_millis(1_500), "{query}: {took:?}");
            let expected = concat!(
                r#"{"kind":"Status","apiVersion":"v1","metadata":{},"status":"Failure","message":"Timeout: request did not "#,
                r#"complete within the allotted timeout","reason":"Timeout","details":{},"code":504}"#,
                "\n"
            );
            assert_eq!((late.code, late.text()), (504, expected), "{query}");
        }
    });
    futures_util::future::join_all(requests).await;
}

/// The deadline counts from the start of a request: what the cluster is asked first counts too.
#[tokio::test(start_paused = true)]
async fn a_token_review_counts_for_the_deadline() {
    a_review_counts_for_the_deadline(TOKEN_REVIEWS).await;
}

#[tokio::test(start_paused = true)]
async fn an_access_review_counts_for_the_deadline() {
    a_review_counts_for_the_deadline(ACCESS_REVIEWS).await;
}

async fn a_review_counts_for_the_deadline(slow: &str) {
    let server = Server::start(&Settings::default());
    server.api.always(TOKEN_REVIEWS, token_of(&json!({"username": "alice"})));
    server.api.always(slow, Reply::Held(Box::new(allowed())));
    let started = Instant::now();
    let late = server.get(&format!("{POD}?timeout=1s"), &[("authorization", "Bearer x")]).await;
    // A request's time is measured by a clock that does not stop; a review alone would take three or ten seconds.
    let took = started.elapsed();
    assert!(took >= Duration::from_secs(1) && took < Duration::from_millis(2_500), "{took:?}");
    let message = "Timeout: request did not complete within the allotted timeout";
    assert_eq!((late.code, late.message().as_str()), (504, message));
}
