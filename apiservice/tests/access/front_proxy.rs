//! The front proxy (`docs/contract.md#front-proxy`).

use std::collections::BTreeMap;
use std::sync::Arc;

use super::{Authority, Server, Settings, proxy_settings, user};

#[tokio::test]
async fn a_proxys_headers_say_who_is_asking() {
    let server = Server::start(&Settings::default());
    let proxy = server.proxy("front-proxy-client");
    let headers = [
        ("X-Remote-User", "alice"),
        ("X-Remote-User", "not-read"),
        ("x-remote-group", "g2"),
        ("x-remote-group", "g1"),
        ("x-remote-group", "with, comma"),
        ("x-remote-uid", "42"),
        ("X-Remote-Extra-Scopes", "a%2Fb"),
        ("x-remote-extra-scopes", "c"),
        // Lower-cased first and decoded then, so what is escaped keeps its case; values are taken as they are.
        ("X-Remote-Extra-Acme.COM%2FPro%4Aect", "p"),
        ("x-remote-extra-100%zz", "as it is"),
        ("x-remote-extra-", "no key"),
        ("x-remote", "something else"),
    ];
    let mut expected = user("alice", &["g2", "g1", "with, comma", "system:authenticated"]);
    expected.uid = "42".to_owned();
    expected.extra = [
        ("", vec!["no key"]),
        ("100%zz", vec!["as it is"]),
        ("acme.com/proJect", vec!["p"]),
        ("scopes", vec!["a%2Fb", "c"]),
    ]
    .into_iter()
    .map(|(key, values)| (key.to_owned(), values.into_iter().map(str::to_owned).collect()))
    .collect::<BTreeMap<_, _>>();
    assert_eq!(server.user(&headers, &proxy).await, Ok(expected));
}

#[tokio::test]
async fn which_headers_are_read_is_configured() {
    let server = Server::start(&Settings::default());
    let proxy = server.proxy("front-proxy-client");
    let names = |names: &[&'static str]| {
        names.iter().map(|name| http::HeaderName::from_static(name)).collect::<Vec<_>>()
    };
    let mut settings = proxy_settings(&server.proxies);
    settings.username_headers = names(&["x-first", "x-second"]);
    settings.group_headers = names(&["x-group-b", "x-group-a"]);
    settings.uid_headers = Vec::new();
    settings.extra_prefixes = vec!["x-one-".to_owned(), "x-two-".to_owned()];
    server.front_proxy.store(Some(Arc::new(settings)));
    let headers = [
        ("x-first", ""),
        ("x-second", "alice"),
        ("x-group-a", "a"),
        ("x-group-b", "b"),
        ("x-remote-uid", "42"),
        ("x-one-k", "1"),
        ("x-two-k", "2"),
        ("x-remote-extra-k", "3"),
    ];
    // Groups in the order of the configured headers; no identifier, since none is configured.
    let mut expected = user("alice", &["b", "a", "system:authenticated"]);
    expected.extra.insert("k".to_owned(), vec!["1".to_owned(), "2".to_owned()]);
    assert_eq!(server.user(&headers, &proxy).await, Ok(expected));
    // No user is named: no opinion, and the certificate is not a client's.
    assert_eq!(server.user(&[("x-first", ""), ("x-remote-user", "alice")], &proxy).await, Err(401));
}

#[tokio::test]
async fn a_proxy_is_who_has_a_good_certificate_and_an_allowed_name() {
    let server = Server::start(&Settings::default());
    let strangers = Authority::new("proxies").expect("a key");
    let same_name = super::peer(&strangers, "front-proxy-client", &[]);
    let headers = [("x-remote-user", "alice")];
    assert!(server.user(&headers, &server.proxy("front-proxy-client")).await.is_ok());
    assert_eq!(server.user(&headers, &server.proxy("other")).await, Err(401));
    assert_eq!(server.user(&headers, &same_name).await, Err(401), "another authority of the same name");
    let certificate =
        server.proxies.issue_server("front-proxy-client", &["x".to_owned()], &[]).expect("a key");
    let for_servers = super::certificate(&certificate.certificate);
    assert_eq!(server.user(&headers, &for_servers).await, Err(401), "a certificate for servers only");
    // No names mean any.
    let mut settings = proxy_settings(&server.proxies);
    settings.allowed_names = Vec::new();
    server.front_proxy.store(Some(Arc::new(settings)));
    assert!(server.user(&headers, &server.proxy("other")).await.is_ok());
    assert_eq!(server.user(&headers, &same_name).await, Err(401));
}
