//! `/debug/status`: what it shows, in which form, and to whom.

use std::sync::Arc;

use adapter::objects::Objects;
use adapter::objects::scraped::ScrapedObjects;
use adapter::source::recorded::{Recorded, vector};
use adapter::source::{MetricSource, SourceError, SourceErrorClass};
use apiservice::authn::Union;
use apiservice::authz::{AlwaysAllowPaths, Authorizer, Chain};
use axum::Router;
use http::Method;
use testkit::router::{self, Response};
use testkit::rows::each_row_async;

use crate::explanations::Explains;
use crate::harness::{Listed, listing};

const RULES: &str = r#"
rules:
- seriesQuery: 'depth{pod!=""}'
  resources: {overrides: {namespace: {resource: namespace}, pod: {resource: pod}}}
  metricsQuery: 'max(<<.Series>>{<<.LabelMatchers>>}) by (<<.GroupBy>>)'
- seriesQuery: 'away'
  resources: {overrides: {namespace: {resource: namespace}}}
  metricsQuery: '<<.Series>>{<<.LabelMatchers>>}'
"#;
const VALUE: &str = "/apis/custom.metrics.k8s.io/v1beta1/namespaces/default/pods/a/depth";

/// A server that allows these paths and nothing else; without any it allows everything.
async fn started(allowed: &[&str]) -> Router {
    let source = Arc::new(Recorded::default());
    source.lists(r#"depth{pod!=""}"#, Ok(listing("depth", &["namespace", "pod"])));
    source.lists("away", Err(SourceError::new(SourceErrorClass::Unavailable, "cannot reach <Prometheus>")));
    let pod: &[(&str, &str)] = &[("pod", "a")];
    source.answers(r#"max(depth{namespace="default",pod="a"}) by (pod)"#, Ok(vector([(pod, 1.0)], 0)));
    source.answers(r#"max(depth{namespace="default",pod="b"}) by (pod)"#, Ok(vector([(pod, 1.0)], 0)));
    let seam: Arc<dyn MetricSource> = Arc::clone(&source) as _;
    let objects: Arc<dyn Objects> = Arc::new(ScrapedObjects::new(Arc::clone(&seam)));
    let rules = rules::load(RULES).unwrap_or_else(|faults| panic!("{faults}"));
    let listed = Listed::start(rules, seam, objects, |_| {}).await;
    let paths = allowed.iter().map(|path| (*path).to_owned()).collect();
    let authorizer: Arc<dyn Authorizer> =
        if allowed.is_empty() { Arc::new(Explains(true)) } else { Arc::new(AlwaysAllowPaths::new(paths)) };
    let authorization = Chain::new(vec![authorizer]);
    let answerer = listed.answerer(authorization.clone());
    let mut server = listed.server(Union::new(Vec::new()), authorization);
    server.pages = vec![listed.page(answerer.history())];
    server.handler = Arc::new(answerer);
    server.into_router()
}

async fn get(router: &Router, path: &str, accept: &str) -> Response {
    router::ask(router, router::request(Method::GET, path, &[("accept", accept)])).await
}

#[tokio::test]
async fn the_status_shows_rules_queries_and_answers_without_a_value() {
    let router = started(&[]).await;
    assert_eq!(get(&router, VALUE, "*/*").await.code, 200);
    assert_eq!(get(&router, &VALUE.replace("/a/", "/b/"), "*/*").await.code, 404);
    let response = get(&router, "/debug/status", "application/json").await;
    assert_eq!((response.code, response.content_type()), (200, "application/json"));
    let status = response.json();
    let [first, second] = [&status["rules"][0], &status["rules"][1]];
    assert_eq!(
        (&first["id"], &first["metrics"], &first["error"]),
        (&"rules[0]".into(), &2.into(), &().into())
    );
    assert_eq!((&second["metrics"], &second["error"]), (&0.into(), &"cannot reach <Prometheus>".into()));
    assert_eq!(status["slowQueries"].as_array().map(Vec::len), Some(2), "{status}");
    let missing = &status["withoutValue"][0];
    assert_eq!(missing["asked"], "namespaces/default/pods/b/depth", "{status}");
    assert_eq!(missing["step"], "sample", "{status}");
    assert!(missing["why"].as_str().is_some_and(|why| why.contains("in none is the label")), "{status}");
    assert_eq!(status["source"]["name"], "recorded");
    // What a browser sends.
    let page = get(&router, "/debug/status", "text/html,application/xhtml+xml,*/*;q=0.8").await;
    assert_eq!((page.code, page.content_type()), (200, "text/html; charset=utf-8"));
    assert_eq!(page.header("vary"), Some("Accept"));
    assert!(
        page.header("content-security-policy").is_some_and(|policy| policy.starts_with("default-src 'none'"))
    );
    let text = page.text();
    assert!(text.contains("listing failed: cannot reach &lt;Prometheus&gt;"), "{text}");
    assert!(text.contains("<code>namespaces/default/pods/b/depth</code>"), "{text}");
    let rows = [("*/*", 200), ("", 200), ("application/json;q=0.5", 200), ("image/png", 406)];
    each_row_async(rows, async |(accept, code)| {
        let response = get(&router, "/debug/status", accept).await;
        assert_eq!((response.code, response.content_type()), (code, "application/json"), "{accept}");
    })
    .await;
    assert!(get(&router, "/", "*/*").await.text().contains("\"/debug/status\""));
    let post = router::ask(&router, router::request(Method::POST, "/debug/status", &[])).await;
    assert_eq!(post.code, 405);
}

#[tokio::test]
async fn the_status_needs_access_to_its_path() {
    let router = started(&["/healthz"]).await;
    let refused = get(&router, "/debug/status", "application/json").await;
    assert_eq!(refused.code, 403);
    assert!(refused.message().contains(r#"cannot get path "/debug/status""#), "{}", refused.message());
    let router = started(&["/debug/status"]).await;
    assert_eq!(get(&router, "/debug/status", "application/json").await.code, 200);
}
