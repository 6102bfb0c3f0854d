//! Bodies of refusals: errors 16 to 18 of `docs/contract.md#errors`.

use super::fake::{ACCESS_REVIEWS, access_review, refused};
use super::{C1, E, M, POD, Server, Settings};
use serde_json::json;
use testkit::rows::each_row_async;

fn forbidden(message: &str, details: &str) -> String {
    format!(
        "{{\"kind\":\"Status\",\"apiVersion\":\"v1\",\"metadata\":{{}},\"status\":\"Failure\",\"message\":{message:?},\
         \"reason\":\"Forbidden\",\"details\":{details},\"code\":403}}\n"
    )
}

#[tokio::test]
async fn a_refusal_says_who_may_not_do_what() {
    let server = Server::start(&Settings::default());
    server.api.always(ACCESS_REVIEWS, refused(""));
    let rows = [
        (
            POD.to_owned(),
            r#"pods.custom.metrics.k8s.io "web-1" is forbidden: User "system:anonymous" cannot get resource "pods/m" in API group "custom.metrics.k8s.io" in the namespace "default""#,
            r#"{"name":"web-1","group":"custom.metrics.k8s.io","kind":"pods"}"#,
        ),
        (
            format!("{C1}/namespaces/d/metrics/m"),
            r#"metrics.custom.metrics.k8s.io "m" is forbidden: User "system:anonymous" cannot get resource "metrics" in API group "custom.metrics.k8s.io" in the namespace "d""#,
            r#"{"name":"m","group":"custom.metrics.k8s.io","kind":"metrics"}"#,
        ),
        (
            format!("{E}/namespaces/d/m"),
            r#"m.external.metrics.k8s.io is forbidden: User "system:anonymous" cannot list resource "m" in API group "external.metrics.k8s.io" in the namespace "d""#,
            r#"{"group":"external.metrics.k8s.io","kind":"m"}"#,
        ),
        (
            format!("{C1}/nodes/*/m"),
            r#"nodes.custom.metrics.k8s.io "*" is forbidden: User "system:anonymous" cannot get resource "nodes/m" in API group "custom.metrics.k8s.io" at the cluster scope"#,
            r#"{"name":"*","group":"custom.metrics.k8s.io","kind":"nodes"}"#,
        ),
        (
            format!("{M}/nodes"),
            r#"nodes.metrics.k8s.io is forbidden: User "system:anonymous" cannot list resource "nodes" in API group "metrics.k8s.io" at the cluster scope"#,
            r#"{"group":"metrics.k8s.io","kind":"nodes"}"#,
        ),
        ("/version".to_owned(), r#"forbidden: User "system:anonymous" cannot get path "/version""#, "{}"),
        (
            "/readyz/ping".to_owned(),
            r#"forbidden: User "system:anonymous" cannot get path "/readyz/ping""#,
            "{}",
        ),
        (
            C1.to_owned(),
            r#"forbidden: User "system:anonymous" cannot get path "/apis/custom.metrics.k8s.io/v1beta1""#,
            "{}",
        ),
    ];
    each_row_async(rows, async |(path, message, details)| {
        let response = server.get(&path, &[]).await;
        assert_eq!((response.code, response.text()), (403, forbidden(message, details).as_str()), "{path}");
        assert_eq!(response.headers["x-content-type-options"], "nosniff", "{path}");
        assert_eq!(response.headers["content-type"], "application/json", "{path}");
    })
    .await;
    assert!(server.handler.requests.lock().expect("no code panics while it holds the lock").is_empty());
}

/// The reason is the cluster's, the names are the caller's: a browser that shows either must read no markup.
#[tokio::test]
async fn reasons_are_appended_and_markup_is_escaped() {
    let server = Server::start(&Settings::default());
    let proxy = server.proxy("front-proxy-client");
    let headers = [("x-remote-user", "<b>&bob")];
    server.api.always(ACCESS_REVIEWS, refused("no <role> for you & yours"));
    let response = server.send(http::Method::GET, &format!("{C1}/nodes/a%3Cb/m"), &headers, &proxy).await;
    assert_eq!(
        response.message(),
        r#"nodes.custom.metrics.k8s.io "a&lt;b" is forbidden: User "&lt;b&gt;&amp;bob" cannot get resource "nodes/m" in API group "custom.metrics.k8s.io" at the cluster scope: no &lt;role&gt; for you &amp; yours"#
    );
    let denied = access_review(&json!({"allowed": false, "denied": true, "reason": "never"}));
    server.api.always(ACCESS_REVIEWS, denied);
    let response = server.get("/metrics", &[]).await;
    assert_eq!(response.message(), r#"forbidden: User "system:anonymous" cannot get path "/metrics": never"#);
}
