//! Questions to the cluster about access (`docs/contract.md#access-reviews`, `docs/contract.md#attributes`).

use std::time::Duration;

use apiservice::authn::PeerCertificates;
use futures_util::future::{join, join_all};
use http::Method;
use serde_json::{Value, json};
use testkit::rows::each_row_async;
use testkit::wait::until_async;
use tokio::net::TcpListener;
use tokio::time::Instant;

use super::fake::{
    ACCESS_REVIEWS, FakeApi, Reply, TOKEN_REVIEWS, access_review, allowed, client_of, failure, refused,
    token_of,
};
use super::{C1, C2, E, M, POD, Server, Settings, no_certificates};

#[tokio::test]
async fn a_question_holds_all_that_is_known_of_the_caller() {
    let api = FakeApi::new();
    let client = api.client_over_loopback().await;
    let server = Server::asking(api, client, &Settings::default());
    let alice =
        json!({"username": "alice", "uid": "42", "groups": ["g1"], "extra": {"acme.com/project": ["p"]}});
    server.api.always(TOKEN_REVIEWS, token_of(&alice));
    let token = [("authorization", "Bearer secret")];
    assert_eq!(server.get(POD, &token).await.code, 200);
    assert_eq!(server.get("/version", &token).await.code, 200);
    let asked = server.api.asked(ACCESS_REVIEWS);
    let question = |attributes: &str, value: Value| {
        json!({
            "kind": "SubjectAccessReview", "apiVersion": "authorization.k8s.io/v1", "metadata": {},
            "spec": {
                attributes: value, "user": "alice", "uid": "42", "groups": ["g1", "system:authenticated"],
                "extra": {"acme.com/project": ["p"]},
            },
        })
    };
    assert_eq!(
        asked[0].body,
        question(
            "resourceAttributes",
            json!({
                "namespace": "default", "verb": "get", "group": "custom.metrics.k8s.io", "version": "v1beta2",
                "resource": "pods", "subresource": "m", "name": "web-1",
            })
        )
    );
    assert_eq!(asked[1].body, question("nonResourceAttributes", json!({"path": "/version", "verb": "get"})));
    assert_eq!((asked.len(), asked[0].method.as_str()), (2, "POST"));
}

/// Every row of the table, and the lines below it. What is empty is not sent.
#[tokio::test]
async fn what_is_asked_for_each_kind_of_request() {
    let server = Server::start(&Settings::default());
    let custom = |path: &str| format!("{C2}{path}");
    let external = |path: &str| format!("{E}{path}");
    let metrics = |path: &str| format!("{M}{path}");
    let rows = [
        ("GET", custom("/namespaces/d/pods/web-1/m"), ["get", "pods", "m", "web-1", "d"]),
        ("GET", custom("/namespaces/d/pods/*/m"), ["get", "pods", "m", "*", "d"]),
        ("GET", custom("/namespaces/d/pods/%2A/m?labelSelector=a"), ["get", "pods", "m", "*", "d"]),
        ("GET", custom("/namespaces/d/deployments.apps/web/m"), ["get", "deployments.apps", "m", "web", "d"]),
        ("GET", custom("/namespaces/d/metrics/m"), ["get", "metrics", "", "m", "d"]),
        ("GET", custom("/namespaces/*/metrics/m"), ["get", "metrics", "", "m", "*"]),
        ("GET", custom("/nodes/n1/m"), ["get", "nodes", "m", "n1", ""]),
        ("GET", custom("/namespaces/d/m"), ["list", "m", "", "", "d"]),
        ("GET", custom("/namespaces/d/pods/web-2/m?watch=true"), ["get", "pods", "m", "web-2", "d"]),
        ("GET", custom("/namespaces/d/Pods/web-1/m"), ["get", "Pods", "m", "web-1", "d"]),
        ("GET", custom("/namespaces/d/status"), ["get", "namespaces", "status", "d", "d"]),
        ("GET", custom("/namespaces/d"), ["get", "namespaces", "", "d", "d"]),
        ("GET", external("/namespaces/d/m"), ["list", "m", "", "", "d"]),
        ("GET", external("/namespaces/d/m?watch=1"), ["watch", "m", "", "", "d"]),
        ("GET", external("/namespaces/d/n?watch=0"), ["list", "n", "", "", "d"]),
        ("GET", metrics("/nodes"), ["list", "nodes", "", "", ""]),
        ("GET", metrics("/pods"), ["list", "pods", "", "", ""]),
        ("GET", metrics("/namespaces/d/pods"), ["list", "pods", "", "", "d"]),
        ("GET", metrics("/pods?fieldSelector=metadata.name%3Da%2Fb&limit=x"), ["list", "pods", "", "", ""]),
        ("GET", metrics("/pods/w?fieldSelector=metadata.name%3Dv"), ["get", "pods", "", "w", ""]),
        ("GET", metrics("/nodes/n1"), ["get", "nodes", "", "n1", ""]),
        ("HEAD", metrics("/nodes/n2"), ["get", "nodes", "", "n2", ""]),
        ("POST", custom("/namespaces/d/pods/web-1/m"), ["create", "pods", "m", "web-1", "d"]),
        ("PUT", custom("/namespaces/d/pods/web-1/m"), ["update", "pods", "m", "web-1", "d"]),
        ("PATCH", custom("/namespaces/d/pods/web-1/m"), ["patch", "pods", "m", "web-1", "d"]),
        ("DELETE", custom("/namespaces/d/pods/web-1/m"), ["delete", "pods", "m", "web-1", "d"]),
        ("DELETE", metrics("/nodes"), ["deletecollection", "nodes", "", "", ""]),
        ("GET", custom("/watch/namespaces/d/m"), ["watch", "m", "", "", "d"]),
        ("GET", custom("/proxy/nodes/n1/m"), ["proxy", "nodes", "", "n1", ""]),
    ];
    each_row_async(rows, async |(method, path, [verb, resource, subresource, name, namespace])| {
        let group_version: Vec<&str> = path.split('/').skip(2).take(2).collect();
        let given = [
            ("verb", verb),
            ("group", group_version[0]),
            ("version", group_version[1]),
            ("resource", resource),
            ("subresource", subresource),
            ("name", name),
            ("namespace", namespace),
        ];
        let given = given.into_iter().filter(|(_, value)| !value.is_empty());
        let attributes: Value = given
            .map(|(name, value)| (name.to_owned(), Value::from(value)))
            .collect::<serde_json::Map<_, _>>()
            .into();
        let mut spec = asked(&server, method, &path).await;
        // They have their own test.
        if let Some(asked) = spec["resourceAttributes"].as_object_mut() {
            asked.remove("fieldSelector");
        }
        let expected = json!({
            "resourceAttributes": attributes, "user": "system:anonymous", "groups": ["system:unauthenticated"],
        });
        assert_eq!(spec, expected, "{method} {path}");
    }).await;
    let rows = [
        ("GET", "/", "get"),
        ("GET", "/apis", "get"),
        ("GET", "/apis/custom.metrics.k8s.io", "get"),
        ("GET", C1, "get"),
        ("GET", "/openapi/v2", "get"),
        ("GET", "/openapi/v3/apis/metrics.k8s.io/v1beta1", "get"),
        ("GET", "/version", "get"),
        ("GET", "/metrics", "get"),
        ("DELETE", "/metrics", "delete"),
        ("GET", "/readyz/ping", "get"),
        ("HEAD", "/version", "head"),
        ("OPTIONS", "/apis", "options"),
        ("GET", "/debug/pprof/heap", "get"),
    ];
    each_row_async(rows, async |(method, path, verb)| {
        let spec = asked(&server, method, path).await;
        let expected = json!({
            "nonResourceAttributes": {"path": path, "verb": verb},
            "user": "system:anonymous", "groups": ["system:unauthenticated"],
        });
        assert_eq!(spec, expected, "{method} {path}");
    })
    .await;
}

/// As upstream since 1.31: the requirements of lists, as far as they can be read and have a form in a review.
#[tokio::test]
async fn a_question_about_a_list_holds_its_selectors() {
    let server = Server::start(&Settings::default());
    let requirement = |key: &str, operator: &str, values: &[&str]| {
        let mut requirement = json!({"key": key, "operator": operator});
        if !values.is_empty() {
            requirement["values"] = json!(values);
        }
        requirement
    };
    let rows = [
        (format!("{M}/nodes?fieldSelector="), None, vec![], vec![]),
        (
            format!(r"{M}/nodes?fieldSelector=metadata.name!%3Dzz,metadata.name%3Dn1,spec.a%3D%3Db\,c"),
            Some("n1"),
            vec![
                requirement("metadata.name", "NotIn", &["zz"]),
                requirement("metadata.name", "In", &["n1"]),
                requirement("spec.a", "In", &["b,c"]),
            ],
            vec![],
        ),
        (
            format!("{M}/namespaces/d/pods?labelSelector=a%3Db,c!%3Dd,e+in+(f,g),h+notin+(i),j,!k,l%3E1"),
            None,
            vec![],
            vec![
                requirement("a", "In", &["b"]),
                requirement("c", "NotIn", &["d"]),
                requirement("e", "In", &["f", "g"]),
                requirement("h", "NotIn", &["i"]),
                requirement("j", "Exists", &[]),
                requirement("k", "DoesNotExist", &[]),
            ],
        ),
        (
            format!("{E}/namespaces/d/m?labelSelector=a%3Db&watch=1"),
            None,
            vec![],
            vec![requirement("a", "In", &["b"])],
        ),
        // What cannot be read limits nothing, and is refused when access to everything is granted.
        (
            format!("{M}/nodes?fieldSelector=metadata.name%3Dn1&labelSelector=!!"),
            None,
            vec![requirement("metadata.name", "In", &["n1"])],
            vec![],
        ),
        (format!("{M}/nodes?fieldSelector=metadata.name%3Dn1,x"), None, vec![], vec![]),
        // One object, by its path: selectors say nothing.
        (
            format!("{M}/nodes/n2?fieldSelector=metadata.name%3Dn1&labelSelector=a"),
            Some("n2"),
            vec![],
            vec![],
        ),
        (format!("{C1}/namespaces/d/pods/*/m?labelSelector=a"), Some("*"), vec![], vec![]),
        (format!("{M}/watch/pods?fieldSelector=metadata.name%3Dw"), None, vec![], vec![]),
    ];
    each_row_async(rows, async |(path, name, fields, labels)| {
        let spec = asked(&server, "GET", &path).await;
        let of = |selector: &str| {
            let requirements = &spec["resourceAttributes"][selector]["requirements"];
            requirements.as_array().cloned().unwrap_or_default()
        };
        assert_eq!(spec["resourceAttributes"]["name"].as_str(), name, "{path}");
        assert_eq!((of("fieldSelector"), of("labelSelector")), (fields, labels), "{path}");
    })
    .await;
}

/// The question that a request leads to.
async fn asked(server: &Server, method: &str, path: &str) -> Value {
    let before = server.api.count(ACCESS_REVIEWS);
    // Every row is a question of its own, whatever the rows before it were answered.
    server.api.always(ACCESS_REVIEWS, failure(403));
    let method: Method = method.parse().expect("a method");
    server.send(method, path, &[], &no_certificates()).await;
    let asked = server.api.asked(ACCESS_REVIEWS);
    assert_eq!(asked.len(), before + 1, "{path}");
    asked[before].body["spec"].clone()
}

#[tokio::test]
async fn decisions_are_kept() {
    let server = Server::start(&Settings::default());
    let rows = [
        (format!("{C1}/nodes/a/m"), allowed(), 200),
        (format!("{C1}/nodes/b/m"), refused(""), 403),
        (format!("{C1}/nodes/c/m"), access_review(&json!({"allowed": false, "denied": true})), 403),
    ];
    each_row_async(rows, async |(path, reply, code)| {
        let before = server.api.count(ACCESS_REVIEWS);
        server.api.always(ACCESS_REVIEWS, reply);
        for _ in 0..3 {
            assert_eq!(server.get(&path, &[]).await.code, code, "{path}");
        }
        assert_eq!(server.api.count(ACCESS_REVIEWS), before + 1, "{path}");
    })
    .await;
}

#[tokio::test]
async fn decisions_are_kept_no_longer_than_said() {
    const TTL: Duration = Duration::from_millis(200);
    each_row_async([(allowed(), refused("")), (refused(""), allowed())], async |(short, long)| {
        let is_allowed_short =
            matches!(&short, Reply::Object(_, review) if review["status"]["allowed"] == true);
        let (allowed_ttl, denied_ttl) =
            if is_allowed_short { (TTL, super::AN_HOUR) } else { (super::AN_HOUR, TTL) };
        let server = Server::start(&Settings { allowed_ttl, denied_ttl, ..Settings::default() });
        server.api.always(ACCESS_REVIEWS, long);
        server.get("/metrics", &[]).await;
        server.api.always(ACCESS_REVIEWS, short);
        let started = Instant::now();
        let asked_again = async || {
            server.get(POD, &[]).await;
            server.api.count(ACCESS_REVIEWS) == 3
        };
        until_async("the question is asked again", asked_again).await;
        assert!(started.elapsed() >= TTL, "asked again after {:?}", started.elapsed());
        // The other outcome has its own time.
        server.get("/metrics", &[]).await;
        assert_eq!(server.api.count(ACCESS_REVIEWS), 3);
    })
    .await;
}

#[tokio::test]
async fn whatever_differs_is_another_question() {
    let server = Server::start(&Settings::default());
    let proxy = server.proxy("front-proxy-client");
    let caller = |name: &'static str, more: &[(&'static str, &'static str)]| {
        let mut headers = vec![("x-remote-user", name)];
        headers.extend_from_slice(more);
        headers
    };
    let (pods, alice) = (format!("{C1}/namespaces/d/pods"), caller("alice", &[]));
    let questions = [
        (format!("{pods}/a/m"), alice.clone()),
        (format!("{pods}/b/m"), alice.clone()),
        (format!("{pods}/a/n"), alice.clone()),
        (format!("{C1}/namespaces/e/pods/a/m"), alice.clone()),
        (format!("{C1}/namespaces/d/jobs.batch/a/m"), alice.clone()),
        (format!("{C2}/namespaces/d/pods/a/m"), alice.clone()),
        (format!("{E}/namespaces/d/m"), alice.clone()),
        ("/version".to_owned(), alice.clone()),
        ("/metrics".to_owned(), alice),
        (format!("{pods}/a/m"), caller("bob", &[])),
        (format!("{pods}/a/m"), caller("alice", &[("x-remote-group", "g")])),
        (format!("{pods}/a/m"), caller("alice", &[("x-remote-uid", "1")])),
        (format!("{pods}/a/m"), caller("alice", &[("x-remote-extra-k", "v")])),
    ];
    for (count, (path, headers)) in questions.iter().enumerate() {
        server.send(Method::GET, path, headers, &proxy).await;
        assert_eq!(server.api.count(ACCESS_REVIEWS), count + 1, "{path} {headers:?}");
    }
    for (path, headers) in &questions {
        // What does not change the question does not ask it again.
        server.send(Method::GET, &format!("{path}?x=y"), headers, &proxy).await;
    }
    assert_eq!(server.api.count(ACCESS_REVIEWS), questions.len());
}

/// A caller writes the path, and could fill the memory with it or have it asked for each time.
#[tokio::test]
async fn a_question_of_any_length_is_kept() {
    let server = Server::start(&Settings::default());
    let proxy = server.proxy("front-proxy-client");
    let groups: Vec<String> = (0..500).map(|number| format!("a-group-with-a-long-name-{number}")).collect();
    let mut headers = vec![("x-remote-user", "alice")];
    headers.extend(groups.iter().map(|group| ("x-remote-group", group.as_str())));
    let twice = async |path: &str, proxy: &PeerCertificates| {
        let before = server.api.count(ACCESS_REVIEWS);
        for _ in 0..2 {
            assert_eq!(server.send(Method::GET, path, &headers, proxy).await.code, 200);
        }
        server.api.count(ACCESS_REVIEWS) - before
    };
    assert_eq!(twice(&format!("{C1}/nodes/{}/m", "n".repeat(10_000)), &proxy).await, 1);
    assert_eq!(twice(&format!("{C1}/nodes/n/m"), &proxy).await, 1);
}

#[tokio::test]
async fn equal_questions_share_one_call() {
    let server = Server::start(&Settings::default());
    server.api.always(ACCESS_REVIEWS, Reply::Held(Box::new(allowed())));
    let release = async {
        server.api.came(1).await;
        server.api.release();
    };
    let (responses, ()) = join(join_all((0..20).map(|_| server.get(POD, &[]))), release).await;
    assert!(responses.iter().all(|response| response.code == 200));
    assert_eq!(server.api.count(ACCESS_REVIEWS), 1);
}

#[tokio::test(start_paused = true)]
async fn failures_refuse_and_are_not_remembered() {
    let server = Server::start(&Settings::default());
    let rows = [
        (failure(500), "the Kubernetes API answered 500: boom"),
        (failure(429), "the Kubernetes API answered 429: boom"),
        (Reply::Text(502, "bad gateway"), "the Kubernetes API answered 502: bad gateway"),
        (failure(403), "the Kubernetes API answered 403: boom"),
        (Reply::Reset, "the Kubernetes API could not be asked"),
        (Reply::Text(200, "<html>"), "the Kubernetes API could not be asked"),
    ];
    each_row_async(rows, async |(reply, what)| {
        server.api.always(ACCESS_REVIEWS, reply);
        let response = server.get(POD, &[]).await;
        let message = response.message();
        let said = message
            .starts_with("Internal error occurred: unable to authorize the request: the Kubernetes API");
        assert!(response.code == 500 && said, "{message}");
        // Within the budget of three seconds, the last thing that happened is what is said.
        assert!(message.contains(what) || message.ends_with("did not answer within 3 s"), "{message}");
        assert_eq!(response.headers["content-type"], "application/json");
        assert!(!response.headers.contains_key("retry-after"), "the Go client would retry ten times");
        assert!(response.text().contains(r#""reason":"InternalError""#), "{}", response.text());
    })
    .await;
    server.api.always(ACCESS_REVIEWS, allowed());
    assert_eq!(server.get(POD, &[]).await.code, 200);
    assert_eq!(server.handler.requests.lock().expect("no code panics while it holds the lock").len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_decision_takes_three_seconds_at_most() {
    each_row_async([Reply::Held(Box::new(allowed())), failure(500)], async |reply| {
        let server = Server::start(&Settings::default());
        server.api.always(ACCESS_REVIEWS, reply);
        let started = Instant::now();
        let response = server.get(POD, &[]).await;
        let took = started.elapsed();
        assert!(took >= Duration::from_secs(3) && took < Duration::from_millis(3_010), "{took:?}");
        let message = response.message();
        assert!(
            response.code == 500 && message.ends_with("the Kubernetes API did not answer within 3 s"),
            "{message}"
        );
        server.api.release();
        server.api.always(ACCESS_REVIEWS, allowed());
        assert_eq!(server.get(POD, &[]).await.code, 200);
    })
    .await;
}

#[tokio::test]
async fn a_refused_connection_refuses_the_request() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    drop(listener);
    let client = client_of(&format!("http://{address}"));
    let server = Server::asking(FakeApi::new(), client, &Settings::default());
    let response = server.get(POD, &[]).await;
    assert_eq!(response.code, 500, "{}", response.text());
    // What needs no review is served.
    assert_eq!(server.get("/healthz", &[]).await.code, 200);
}
