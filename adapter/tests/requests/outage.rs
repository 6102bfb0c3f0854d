//! A slow or dead metric source: what requests get, how long it takes, and where it shows. The clock stands still while
//! something works, so the times are exact.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use adapter::objects::Objects;
use adapter::objects::scraped::ScrapedObjects;
use adapter::source::recorded::vector;
use adapter::source::scripted::{Script, hang};
use adapter::source::{Listing, MetricSource, QueryResult, SourceError};
use apiservice::authn::{UNAUTHENTICATED, Union};
use apiservice::authz::{Chain, PrivilegedGroup};
use axum::Router;
use futures_util::future::{join, join_all};
use http::Method;
use testkit::router::{self, Response};

use crate::harness::{Listed, listing};

const RULES: &str = "
rules:
- seriesQuery: 'depth'
  resources: {overrides: {namespace: {resource: namespace}, pod: {resource: pod}}}
  metricsQuery: 'max(<<.Series>>{<<.LabelMatchers>>}) by (<<.GroupBy>>)'
";

/// What becomes of a query.
#[derive(Clone, Copy)]
enum Answer {
    /// The value 7 for the pod `a`, after a time.
    After(Duration),
    Never,
}

struct Source(Mutex<Answer>);

impl Source {
    fn answers(&self, answer: Answer) {
        *self.0.lock().expect("not poisoned") = answer;
    }
}

impl Script for Source {
    const NAME: &'static str = "slow";

    async fn list(&self, _: &str, _: Instant) -> Result<Listing, SourceError> {
        Ok(listing("depth", &["namespace", "pod"]))
    }

    async fn value(&self, _: &str, deadline: Instant) -> Result<QueryResult, SourceError> {
        let answer = *self.0.lock().expect("not poisoned");
        if let Answer::After(time) = answer
            && tokio::time::timeout_at(deadline.into(), tokio::time::sleep(time)).await.is_ok()
        {
            return Ok(vector([(&[("pod", "a")] as &[_], 7.0)], 0));
        }
        hang(deadline, "Prometheus did not answer in time (http://prometheus:9090)").await
    }
}

struct Adapter {
    source: Arc<Source>,
    router: Router,
}

impl Adapter {
    async fn started(answer: Answer) -> Adapter {
        let source = Arc::new(Source(Mutex::new(answer)));
        let seam: Arc<dyn MetricSource> = Arc::clone(&source) as _;
        let objects: Arc<dyn Objects> = Arc::new(ScrapedObjects::new(Arc::clone(&seam)));
        let rules = rules::load(RULES).expect("valid rules");
        let listed = Listed::start(rules, seam, objects, |_| {}).await;
        let authorization = Chain::new(vec![Arc::new(PrivilegedGroup(UNAUTHENTICATED))]);
        let answerer = listed.answerer(authorization.clone());
        let mut server = listed.server(Union::new(Vec::new()), authorization);
        server.pages = vec![listed.page(answerer.history())];
        server.handler = Arc::new(answerer);
        server.health = listed.health.clone();
        Adapter { source, router: server.into_router() }
    }

    async fn get(&self, path: &str) -> Response {
        router::ask(&self.router, router::request(Method::GET, path, &[("accept", "application/json")])).await
    }

    /// An answer, and after how many seconds it came.
    async fn value(&self, namespace: &str) -> (Response, u64) {
        let began = tokio::time::Instant::now();
        let path = format!("/apis/custom.metrics.k8s.io/v1beta1/namespaces/{namespace}/pods/a/depth");
        (self.get(&path).await, began.elapsed().as_secs())
    }
}

#[tokio::test(start_paused = true)]
async fn an_open_breaker_is_a_503_with_its_cause_and_shows_in_the_health_check() {
    let adapter = Adapter::started(Answer::Never).await;
    for (response, took) in join_all((0..5).map(|_| adapter.value("default"))).await {
        assert_eq!((response.code, took), (504, 10), "{}", response.text());
        assert!(response.message().contains("did not answer in time (http://prometheus:9090)"));
    }
    let (response, took) = adapter.value("other").await;
    assert_eq!((response.code, took), (503, 0));
    let message = response.message();
    let expected = "unable to fetch metrics by rules[0]: the metric source is not asked, as it has not answered since 20";
    assert!(message.starts_with(expected) && message.ends_with("Z: no answer in time"), "{message}");
    // Go's clients would try again, and hold a worker of the autoscaler meanwhile.
    assert_eq!(response.header("retry-after"), None);
    let ready = adapter.get("/readyz?verbose").await;
    assert_eq!(ready.code, 200, "an outage does not take the server out of service");
    assert!(ready.text().contains("[+]source ok: no answer since 20"), "{}", ready.text());
    let source = adapter.get("/debug/status").await.json()["source"].clone();
    assert_eq!((&source["breaker"], &source["queryLimit"]), (&"open".into(), &20.into()), "{source}");
    let page = router::request(Method::GET, "/debug/status", &[("accept", "text/html")]);
    let page = router::ask(&adapter.router, page).await;
    let page = page.text();
    assert!(page.contains("The circuit breaker is open: queries fail without being sent."), "{page}");

    adapter.source.answers(Answer::After(Duration::ZERO));
    tokio::time::sleep(Duration::from_secs(5)).await;
    for _ in 0..3 {
        let (response, took) = adapter.value("default").await;
        assert_eq!((response.code, took), (200, 0), "{}", response.text());
        assert!(response.text().contains(r#""value":"7""#), "{}", response.text());
    }
    assert!(adapter.get("/readyz?verbose").await.text().contains("[+]source ok\n"));
}

#[tokio::test(start_paused = true)]
async fn a_burst_of_one_namespace_leaves_anothers_request_alone() {
    let adapter = Adapter::started(Answer::After(Duration::from_secs(4))).await;
    let burst = join_all((0..300).map(|_| adapter.value("busy")));
    let single = async {
        tokio::time::sleep(Duration::from_secs(1)).await;
        adapter.value("quiet").await
    };
    let (burst, (single, took)) = join(burst, single).await;
    assert_eq!((single.code, took), (200, 4), "as long as its own query takes: {}", single.text());
    let in_time = burst.iter().filter(|(response, _)| response.code == 200).count();
    assert_eq!(in_time, 30, "fifteen places, twice within the timeout of 10 s");
    for (response, took) in burst.iter().filter(|(response, _)| response.code != 200) {
        assert!(matches!(response.code, 503 | 504) && *took == 10, "{took} s: {}", response.text());
    }
}
