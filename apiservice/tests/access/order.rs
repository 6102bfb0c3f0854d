//! The order of authenticators (`docs/contract.md#order-of-authenticators`): front proxy, client certificate, token.
//! The first success wins; what failed is remembered; nothing shown is anonymous.

use serde_json::json;
use testkit::rows::{each_row, each_row_async};

use super::fake::{TOKEN_REVIEWS, token_of};
use super::{Authority, POD, Server, Settings, anonymous, no_certificates, peer, user};

const TOKEN: (&str, &str) = ("authorization", "Bearer secret");
const REMOTE: [(&str, &str); 2] = [("x-remote-user", "through-proxy"), ("x-remote-group", "g")];

#[tokio::test]
async fn the_first_success_wins() {
    let server = Server::start(&Settings::default());
    server.api.always(TOKEN_REVIEWS, token_of(&json!({"username": "by-token"})));
    let (proxy, client) =
        (server.proxy("front-proxy-client"), server.certified("by-certificate", &["o1", "o2"]));
    let stranger = peer(&Authority::new("strangers").expect("a key"), "stranger", &[]);
    let remote = user("through-proxy", &["g", "system:authenticated"]);
    let certified = user("by-certificate", &["o1", "o2", "system:authenticated"]);
    let by_token = user("by-token", &["system:authenticated"]);
    let all = [REMOTE[0], REMOTE[1], TOKEN];
    assert_eq!(server.user(&all, &proxy).await, Ok(remote));
    assert_eq!(server.user(&all, &client).await, Ok(certified), "the headers of no proxy say nothing");
    assert_eq!(server.api.count(TOKEN_REVIEWS), 0, "neither needed the token");
    assert_eq!(server.user(&all, &stranger).await, Ok(by_token.clone()));
    assert_eq!(server.user(&[TOKEN], &proxy).await, Ok(by_token), "a proxy that names no user");
}

#[tokio::test]
async fn a_credential_that_fails_is_a_401_whatever_else_is_shown() {
    let server = Server::start(&Settings::default());
    let stranger = peer(&Authority::new("strangers").expect("a key"), "stranger", &[]);
    let (proxy, other) = (server.proxy("front-proxy-client"), server.proxy("another-proxy"));
    let rows = [
        ("a certificate of strangers", &[] as &[_], &stranger),
        ("a certificate of strangers and a bad token", &[TOKEN], &stranger),
        ("a bad token", &[TOKEN], &no_certificates()),
        ("a proxy that names no user", &[], &proxy),
        ("a proxy that is not among the allowed", &REMOTE, &other),
    ];
    each_row_async(rows, async |(what, headers, peer)| {
        assert_eq!(server.user(headers, peer).await, Err(401), "{what}");
        // On every path, even those that everybody may use.
        assert_eq!(server.send(http::Method::GET, "/healthz", headers, peer).await.code, 401, "{what}");
    })
    .await;
    let response = server.get(POD, &[TOKEN]).await;
    assert_eq!(
        response.text(),
        concat!(
            r#"{"kind":"Status","apiVersion":"v1","metadata":{},"status":"Failure","message":"Unauthorized","#,
            r#""reason":"Unauthorized","code":401}"#,
            "\n"
        )
    );
    each_row(["www-authenticate", "x-content-type-options"], |header| {
        assert!(!response.headers.contains_key(header), "{header}");
    });
}

#[tokio::test]
async fn nothing_shown_is_anonymous() {
    let server = Server::start(&Settings::default());
    let nameless = server.certified("", &["o1"]);
    let rows = [
        ("nothing", &[] as &[_], &no_certificates()),
        ("headers of a proxy, without its certificate", &REMOTE, &no_certificates()),
        ("another scheme", &[("authorization", "Basic YTpi")], &no_certificates()),
    ];
    each_row_async(rows, async |(what, headers, peer)| {
        assert_eq!(server.user(headers, peer).await, Ok(anonymous()), "{what}");
    })
    .await;
    // Without authorities a certificate means nothing, and a good one without a name has no opinion.
    server.front_proxy.store(None);
    assert_eq!(server.user(&[], &nameless).await, Ok(anonymous()));
    server.client_authorities.store(None);
    let client = server.certified("by-certificate", &[]);
    assert_eq!(server.user(&[], &client).await, Ok(anonymous()));
    assert_eq!(server.api.count(TOKEN_REVIEWS), 0);
}

/// kube-apiserver passes on its own anonymous callers as such: they gain nothing on the way.
#[tokio::test]
async fn who_is_anonymous_stays_so_behind_a_proxy() {
    let server = Server::start(&Settings::default());
    let proxy = server.proxy("front-proxy-client");
    let rows = [
        ("system:anonymous", vec!["system:unauthenticated"]),
        ("system:anonymous", vec![]),
        ("someone", vec!["system:unauthenticated"]),
        ("someone", vec!["system:authenticated", "g"]),
    ];
    each_row_async(rows, async |(name, groups)| {
        let mut headers = vec![("x-remote-user", name)];
        headers.extend(groups.iter().map(|group| ("x-remote-group", *group)));
        assert_eq!(server.user(&headers, &proxy).await, Ok(user(name, &groups)));
    })
    .await;
}
