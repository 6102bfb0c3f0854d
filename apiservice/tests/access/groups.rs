//! D92: a caller's first question is about the whole API group.

use std::convert::Infallible;
use std::time::Duration;

use axum::body::Body;
use http::{Request, Response};
use http_body_util::BodyExt as _;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::fake::{ACCESS_REVIEWS, FakeApi, Reply, allowed, failure, refused};
use super::{C1, C2, E, M, POD, Server, Settings};

fn settings() -> Settings {
    Settings { asks_for_groups: true, ..Settings::default() }
}

#[tokio::test]
async fn a_group_that_is_allowed_as_a_whole_is_asked_for_once() {
    let server = Server::start(&settings());
    let other = format!("{C1}/namespaces/other/pods/*/n");
    for path in [POD, POD, other.as_str(), &format!("{C1}/nodes/a/m")] {
        assert_eq!(server.get(path, &[]).await.code, 200, "{path}");
    }
    let asked = server.api.asked(ACCESS_REVIEWS);
    assert_eq!(asked.len(), 1);
    let spec = json!({
        "resourceAttributes": {"verb": "get", "group": "custom.metrics.k8s.io", "version": "*", "resource": "*"},
        "user": "system:anonymous", "groups": ["system:unauthenticated"],
    });
    assert_eq!(asked[0].body["spec"], spec);
    // Another verb, another group, another caller, a path: each is another question.
    let list = format!("{C1}/namespaces/d/m");
    let external = format!("{E}/namespaces/d/m");
    let masked = [("x-remote-user", "alice")];
    let proxy = server.proxy("front-proxy-client");
    assert_eq!(server.get(&list, &[]).await.code, 200);
    assert_eq!(server.get(&external, &[]).await.code, 200);
    assert_eq!(server.send(http::Method::GET, POD, &masked, &proxy).await.code, 200);
    assert_eq!(server.get("/metrics", &[]).await.code, 200);
    assert_eq!(server.api.count(ACCESS_REVIEWS), 5);
}

#[tokio::test]
async fn a_group_that_is_not_allowed_as_a_whole_is_asked_for_request_by_request() {
    let server = Server::start(&settings());
    server.api.next(ACCESS_REVIEWS, [refused(""), allowed(), refused("not yours")]);
    assert_eq!(server.get(POD, &[]).await.code, 200);
    let other = server.get(&format!("{C2}/namespaces/other/pods/*/m"), &[]).await;
    assert!(other.code == 403 && other.message().ends_with("not yours"), "{}", other.message());
    let asked = server.api.asked(ACCESS_REVIEWS);
    let resources: Vec<&Value> =
        asked.iter().map(|asked| &asked.body["spec"]["resourceAttributes"]["resource"]).collect();
    assert_eq!(resources, ["*", "pods", "pods"], "the no is kept as well");
}

#[tokio::test]
async fn a_question_about_a_group_that_fails_leaves_the_request_its_own() {
    let server = Server::start(&settings());
    server.api.next(ACCESS_REVIEWS, [failure(400), allowed()]);
    assert_eq!(server.get(POD, &[]).await.code, 200);
    assert_eq!(server.api.count(ACCESS_REVIEWS), 2);
}

#[tokio::test(start_paused = true)]
async fn both_questions_take_three_seconds_at_most() {
    let server = Server::start(&settings());
    server.api.always(ACCESS_REVIEWS, Reply::Held(Box::new(allowed())));
    let started = Instant::now();
    let response = server.get(POD, &[]).await;
    let took = started.elapsed();
    assert!(took >= Duration::from_secs(3) && took < Duration::from_millis(3_010), "{took:?}");
    assert!(response.message().ends_with("did not answer within 3 s"), "{}", response.message());
}

/// Moka's clock is the machine's.
#[tokio::test]
async fn a_yes_to_a_group_ends_with_its_time() {
    const TTL: Duration = Duration::from_millis(200);
    let server = Server::start(&Settings { allowed_ttl: TTL, ..settings() });
    let started = Instant::now();
    assert_eq!(server.get(POD, &[]).await.code, 200);
    server.api.always(ACCESS_REVIEWS, refused(""));
    let refused = async || server.get(POD, &[]).await.code == 403;
    testkit::wait::until_async("access that was taken away to end", refused).await;
    assert!(started.elapsed() >= TTL, "{:?}", started.elapsed());
}

/// Roles at random, and requests at random: with the question about the group each is answered as without it.
#[tokio::test]
async fn no_request_is_allowed_that_its_own_review_refuses() {
    let mut random = fastrand::Rng::with_seed(92);
    let (mut yes, mut no) = (0, 0);
    for _ in 0..50 {
        let roles = Roles::at_random(&mut random);
        let plain = Server::asking(FakeApi::new(), roles.client(), &Settings::default());
        let grouped = Server::asking(FakeApi::new(), roles.client(), &settings());
        for _ in 0..20 {
            let path = path_at_random(&mut random);
            let (expected, found) = (plain.get(&path, &[]).await, grouped.get(&path, &[]).await);
            assert_eq!(found.code, expected.code, "{path} by {roles:?}");
            if expected.code == 200 { yes += 1 } else { no += 1 }
        }
    }
    assert!(yes > 100 && no > 100, "{yes} allowed, {no} refused");
}

fn path_at_random(random: &mut fastrand::Rng) -> String {
    let namespace = ["a", "b"][random.usize(..2)];
    let name = ["x", "y", "*"][random.usize(..3)];
    match random.usize(..6) {
        0 => format!("{C1}/namespaces/{namespace}/pods/{name}/m"),
        1 => format!("{C2}/namespaces/{namespace}/jobs.batch/{name}/n"),
        2 => format!("{C2}/nodes/{name}/m"),
        3 => format!("{E}/namespaces/{namespace}/m?labelSelector=a%3Db"),
        4 => format!("{M}/namespaces/{namespace}/pods"),
        _ => format!("{M}/nodes"),
    }
}

/// Rules that are granted, each in one namespace or in the whole cluster.
#[derive(Debug, Clone)]
struct Roles(Vec<(Option<&'static str>, Rule)>);

/// As of RBAC. Nothing in `names` means any.
#[derive(Debug, Clone)]
struct Rule {
    verbs: Vec<&'static str>,
    groups: Vec<&'static str>,
    resources: Vec<&'static str>,
    names: Vec<&'static str>,
}

impl Roles {
    fn at_random(random: &mut fastrand::Rng) -> Roles {
        let mut some = |of: &[&'static str]| -> Vec<&'static str> {
            let mut picked: Vec<&str> = of.iter().copied().filter(|_| random.u8(..) < 90).collect();
            if picked.is_empty() {
                picked.push(of[random.usize(..of.len())]);
            }
            picked
        };
        let mut rules = Vec::new();
        for _ in 0..3 {
            let rule = Rule {
                verbs: some(&["*", "get", "list"]),
                groups: some(&[
                    "*",
                    "custom.metrics.k8s.io",
                    "external.metrics.k8s.io",
                    "metrics.k8s.io",
                    "custom.metrics.k8s.io",
                ]),
                resources: some(&["*", "*/m", "pods", "pods/m", "nodes/m", "m"]),
                names: some(&["", "", "", "x"]).into_iter().filter(|name| !name.is_empty()).collect(),
            };
            let namespace = Some(some(&["", "a", "b"])[0]).filter(|namespace| !namespace.is_empty());
            rules.push((namespace, rule));
        }
        Roles(rules)
    }

    /// `kubernetes/kubernetes: plugin/pkg/auth/authorizer/rbac/rbac.go`, `pkg/apis/rbac/v1/evaluation_helpers.go`.
    fn allow(&self, asked: &Value) -> bool {
        let of = |field: &str| asked[field].as_str().unwrap_or_default();
        let full = match of("subresource") {
            "" => of("resource").to_owned(),
            subresource => format!("{}/{subresource}", of("resource")),
        };
        let any_subresource = format!("*/{}", of("subresource"));
        self.0.iter().any(|(namespace, rule)| {
            let has =
                |given: &[&str], wanted: &str| given.iter().any(|given| *given == "*" || *given == wanted);
            namespace.is_none_or(|namespace| namespace == of("namespace"))
                && has(&rule.verbs, of("verb"))
                && has(&rule.groups, of("group"))
                && (has(&rule.resources, &full)
                    || (!of("subresource").is_empty() && rule.resources.contains(&any_subresource.as_str())))
                && (rule.names.is_empty() || rule.names.contains(&of("name")))
        })
    }

    fn client(&self) -> kube::Client {
        let roles = self.clone();
        let service = tower::service_fn(move |request: Request<kube::client::Body>| {
            let roles = roles.clone();
            async move {
                let body = request.into_body().collect().await.expect("a body").to_bytes();
                let review: Value = serde_json::from_slice(&body).expect("JSON");
                let allowed = roles.allow(&review["spec"]["resourceAttributes"]);
                let answer = json!({
                    "kind": "SubjectAccessReview", "apiVersion": "authorization.k8s.io/v1", "spec": {},
                    "status": {"allowed": allowed},
                });
                Ok::<_, Infallible>(Response::new(Body::from(answer.to_string())))
            }
        });
        kube::Client::new(service, "default")
    }
}
