//! The server over real sockets: TLS, client certificates, discovery, refusals, limits, the way out.

mod audit;
mod clients;
mod limits;
mod served;
mod slow;
mod tls;

use std::time::Duration;

use apiservice::accept::Ended;
use apiservice::authority::Authority;
use apiservice::lifecycle::Phase;
use reqwest::{Method, StatusCode};

use served::{C1, Server};
use testkit::rows::each_row_async;

#[tokio::test]
async fn certificates_say_who_is_asking() {
    let server = Server::start();
    let url = format!("{}{C1}", server.url);
    assert_eq!(server.admin().get(&url).send().await.expect("an answer").status(), 200);
    let anonymous = server.client(None).get(&url).send().await.expect("an answer");
    assert_eq!(anonymous.status(), 403);
    assert_eq!(anonymous.headers()["x-content-type-options"], "nosniff");
    assert_eq!(
        anonymous.text().await.expect("a body"),
        concat!(
            r#"{"kind":"Status","apiVersion":"v1","metadata":{},"status":"Failure","message":"forbidden: User \"system:"#,
            r#"anonymous\" cannot get path \"/apis/custom.metrics.k8s.io/v1beta1\"","reason":"Forbidden","details":{},"#,
            r#""code":403}"#,
            "\n"
        )
    );
    // A certificate that no known authority signed is a 401, on every path, and no broken connection.
    let stranger = Authority::new("another-ca").expect("a key");
    each_row_async([C1, "/healthz"], async |path| {
        let refused = server.client(Some(&stranger)).get(format!("{}{path}", server.url)).send().await;
        assert_eq!(refused.expect("an answer").status(), StatusCode::UNAUTHORIZED, "{path}");
    })
    .await;
    assert_eq!(
        server.client(None).get(format!("{}/healthz", server.url)).send().await.expect("ok").status(),
        200
    );
}

#[tokio::test]
async fn metrics_are_not_for_everybody() {
    let server = Server::start();
    let url = format!("{}/metrics", server.url);
    assert_eq!(server.client(None).get(&url).send().await.expect("an answer").status(), 403);
    let metrics = server.admin().get(&url).send().await.expect("an answer");
    assert_eq!(metrics.status(), 200);
    assert_eq!(metrics.headers()["content-type"], "text/plain; version=0.0.4; charset=utf-8");
    assert!(metrics.headers()["process-start-time-unix"].to_str().is_ok_and(|at| at.parse::<u64>().is_ok()));
}

#[tokio::test]
async fn discovery_is_rendered_once_and_sorted() {
    let server = Server::start();
    let admin = server.admin();
    let response = admin.get(format!("{}{C1}", server.url)).send().await.expect("an answer");
    let etag = response.headers()["etag"].clone();
    assert_eq!(response.headers()["cache-control"], "no-cache, private");
    let body = response.text().await.expect("a body");
    assert_eq!(
        body,
        concat!(
            r#"{"kind":"APIResourceList","apiVersion":"v1","groupVersion":"custom.metrics.k8s.io/v1beta1","resources":["#,
            r#"{"name":"namespaces/a","singularName":"","namespaced":false,"kind":"MetricValueList","verbs":["get"]},"#,
            r#"{"name":"pods/a","singularName":"","namespaced":true,"kind":"MetricValueList","verbs":["get"]},"#,
            r#"{"name":"pods/b","singularName":"","namespaced":true,"kind":"MetricValueList","verbs":["get"]}]}"#,
            "\n"
        )
    );
    let again = admin.get(format!("{}{C1}/", server.url)).header("if-none-match", &etag).send().await;
    assert_eq!(again.expect("an answer").status(), StatusCode::NOT_MODIFIED);
    let accept = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList";
    let aggregated =
        admin.get(format!("{}/apis", server.url)).header("accept", accept).send().await.expect("an answer");
    assert_eq!(aggregated.headers()["content-type"], accept);
    assert_eq!(
        (&aggregated.headers()["vary"], &aggregated.headers()["cache-control"]),
        (&"Accept".parse().expect("a value"), &"public".parse().expect("a value"))
    );
    let body = aggregated.text().await.expect("a body");
    for part in
        [r#""version":"v1beta1""#, r#""version":"v1beta2""#, r#""resource":"pods""#, r#""subresource":"b""#]
    {
        assert!(body.contains(part), "{part} is not in {body}");
    }
    let rows = [
        ("/apis/custom.metrics.k8s.io/v1beta3", 404),
        ("/apis/custom.metrics.k8s.io", 200),
        ("/apis/nope", 404),
        ("/foo", 404),
        ("/", 200),
        ("/version", 200),
        ("/apis/", 200),
    ];
    each_row_async(rows, async |(path, code)| {
        assert_eq!(
            admin.get(format!("{}{path}", server.url)).send().await.expect("ok").status(),
            code,
            "{path}"
        );
    })
    .await;
}

#[tokio::test]
async fn requests_are_refused_by_method_header_form_and_time() {
    let server = Server::start();
    let admin = server.admin();
    let path = format!("{}{C1}/namespaces/d/pods/x/a", server.url);
    each_row_async(
        [Method::POST, Method::PUT, Method::PATCH, Method::DELETE, Method::HEAD, Method::OPTIONS],
        async |method| {
            let response = admin.request(method.clone(), &path).send().await.expect("an answer");
            assert_eq!(response.status(), StatusCode::METHOD_NOT_ALLOWED, "{method}");
            assert!(!response.headers().contains_key("allow"));
        },
    )
    .await;
    let impersonated = admin.get(&path).header("Impersonate-User", "bob").send().await.expect("an answer");
    assert_eq!(impersonated.status(), StatusCode::FORBIDDEN);
    let pretty = admin.get(&path).header("accept", "text/plain").send().await.expect("an answer");
    assert_eq!(pretty.status(), StatusCode::NOT_ACCEPTABLE);
    let panicked = admin.get(format!("{path}/panic")).send().await.expect("an answer");
    assert_eq!(panicked.status(), StatusCode::INTERNAL_SERVER_ERROR);
    let late = admin.get(format!("{}{C1}/namespaces/d/pods/slow/a?timeout=50ms", server.url)).send().await;
    let late = late.expect("an answer");
    assert_eq!(late.status(), StatusCode::GATEWAY_TIMEOUT);
    assert!(late.text().await.expect("a body").contains(r#""reason":"Timeout""#));
    assert_eq!(admin.get(&path).send().await.expect("an answer").status(), 200);
}

#[tokio::test]
async fn draining_finishes_what_is_under_way() {
    let server = Server::start();
    let slow = server.admin().get(format!("{}{C1}/namespaces/d/pods/slow/a", server.url)).send();
    let slow = tokio::spawn(slow);
    server.entered.acquire().await.expect("never closed").forget();
    server.trigger.leave(Duration::ZERO).await;
    server.go.add_permits(1);
    assert_eq!(slow.await.expect("no panic").expect("an answer").status(), 200);
    let (late, url) = (server.client(None), format!("{}/healthz", server.url));
    assert_eq!(server.ended.await.expect("no panic"), Ended::Drained);
    assert!(late.get(url).send().await.is_err());
}

#[tokio::test]
async fn a_second_signal_ends_it_at_once() {
    let server = Server::start();
    let slow = server.admin().get(format!("{}{C1}/namespaces/d/pods/slow/a", server.url)).send();
    let slow = tokio::spawn(slow);
    server.entered.acquire().await.expect("never closed").forget();
    server.trigger.leave(Duration::ZERO).await;
    server.trigger.advance(Phase::Aborting);
    assert!(matches!(server.ended.await.expect("no panic"), Ended::Cut(_)));
    slow.abort();
}
