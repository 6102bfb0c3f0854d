//! Methods and callers: errors 12 and 15 to 18 of `docs/contract.md#errors`.

use http::Method;
use serde_json::json;
use testkit::rows::each_row_async;

use super::{Adapter, C1, E, M, NO_METHOD};

#[tokio::test]
async fn other_methods_than_get_are_refused() {
    let adapter = Adapter::started().await;
    let rows = [
        format!("{C1}/namespaces/default/pods/web-1/known"),
        format!("{C1}/namespaces/default/m"),
        format!("{E}/namespaces/default/q"),
        format!("{M}/nodes"),
        format!("{M}/namespaces/default/pods/silent"),
        "/apis".to_owned(),
        "/apis/custom.metrics.k8s.io".to_owned(),
        C1.to_owned(),
        "/version".to_owned(),
    ];
    each_row_async(rows, async |path| {
        for method in
            [Method::POST, Method::PUT, Method::PATCH, Method::DELETE, Method::HEAD, Method::OPTIONS]
        {
            let response = adapter.send(method.clone(), &path, &[("caller", "admin")]).await;
            assert_eq!(response.code, 405, "error-12: {method} {path}");
            assert!(!response.headers.contains_key("allow"), "error-12: {method} {path}");
            if method != Method::HEAD {
                let status = response.json();
                assert_eq!(
                    (&status["message"], &status["reason"], &status["details"]),
                    (&NO_METHOD.into(), &"MethodNotAllowed".into(), &json!({})),
                    "error-12: {method} {path}"
                );
            }
            // Access comes first.
            assert_eq!(adapter.send(method.clone(), &path, &[]).await.code, 403, "{method} {path}");
        }
    })
    .await;
    assert_eq!(adapter.source.asked(), [""; 0]);
}

#[tokio::test]
async fn who_may_read_what() {
    let adapter = Adapter::started().await;
    let depth = format!("{C1}/namespaces/default/pods/*/known");
    let rows = [
        ("/healthz", 200, 200),
        ("/livez", 200, 200),
        ("/readyz", 200, 200),
        ("/version", 200, 200),
        ("/readyz/ping", 403, 403),
        ("/metrics", 403, 403),
        ("/", 403, 403),
        ("/apis", 403, 200),
        ("/openapi/v2", 403, 200),
        (C1, 403, 200),
        (&depth, 403, 403),
    ];
    each_row_async(rows, async |(path, anonymous, known)| {
        for (headers, user, code) in
            [(&[] as &[_], "system:anonymous", anonymous), (&[("caller", "alice")], "alice", known)]
        {
            let response = adapter.send(Method::GET, path, headers).await;
            assert_eq!(response.code, code, "error-18: {path} as {user}");
            if code == 403 && path != depth {
                let message = format!("forbidden: User \"{user}\" cannot get path \"{path}\"");
                assert_eq!(
                    (response.message(), response.json()["details"].clone()),
                    (message, json!({})),
                    "error-18"
                );
            }
        }
    })
    .await;
    let refused = adapter.send(Method::GET, &depth, &[("caller", "alice")]).await;
    assert_eq!(
        refused.message(),
        r#"pods.custom.metrics.k8s.io "*" is forbidden: User "alice" cannot get resource "pods/known" in API group "custom.metrics.k8s.io" in the namespace "default""#
    );
    let impersonating = [("caller", "admin"), ("impersonate-user", "bob")];
    assert_eq!(adapter.send(Method::GET, &depth, &impersonating).await.code, 403, "D40");
}
