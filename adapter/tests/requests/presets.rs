//! Each preset over what its server exposes, scraped: every rule makes a metric, and what its HPA asks for answers.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use adapter::objects::Objects;
use adapter::objects::scraped::ScrapedObjects;
use adapter::source::MetricSource;
use adapter::source::embedded::Embedded;
use apiservice::authn::{UNAUTHENTICATED, Union};
use apiservice::authz::{Chain, PrivilegedGroup};
use axum::Router;
use axum::routing::get;
use engine::EngineConfig;
use engine::scrape::{ScrapeConfig, Target};
use http::Method;
use rules::presets::Preset;
use serde::Deserialize;
use testkit::router::{self, Response};
use testkit::rows::each_row_async;
use testkit::wait::until_async;

use crate::harness::Listed;

/// What of an HPA names metrics.
#[derive(Deserialize)]
struct Autoscaler {
    spec: Spec,
}

#[derive(Deserialize)]
struct Spec {
    metrics: Vec<Metric>,
}

#[derive(Deserialize)]
#[serde(tag = "type")]
enum Metric {
    Pods { pods: Named },
    Resource {},
}

#[derive(Deserialize)]
struct Named {
    metric: Name,
}

#[derive(Deserialize)]
struct Name {
    name: String,
}

#[tokio::test]
async fn presets_answer_for_what_their_servers_expose() {
    each_row_async(Preset::ALL, async |preset| {
        let (router, unmade) = scraped(preset).await;
        assert_eq!(unmade, [""; 0], "rules without a metric");
        let hpa: Autoscaler = serde_saphyr::from_str(&read(preset, "hpa.yaml")).expect("an HPA");
        for metric in hpa.spec.metrics {
            let (path, name) = match metric {
                Metric::Pods { pods } => {
                    let metric = pods.metric.name;
                    let group = "/apis/custom.metrics.k8s.io/v1beta2/namespaces/default/pods/*";
                    (format!("{group}/{metric}"), "/items/0/describedObject/name")
                }
                Metric::Resource {} => (
                    "/apis/metrics.k8s.io/v1beta1/namespaces/default/pods".to_owned(),
                    "/items/0/metadata/name",
                ),
            };
            // A scrape that takes too long leaves a gap.
            let what = format!("a value for pod a by {path}");
            until_async(&what, async || {
                let response: Response = router::ask(&router, router::request(Method::GET, &path, &[])).await;
                assert_eq!(response.code, 200, "{path}: {}", response.text());
                response.json().pointer(name).and_then(|name| name.as_str()) == Some("a")
            })
            .await;
        }
    })
    .await;
}

/// A server over the preset's series after two scrapes, and the rules that make no metric of them.
async fn scraped(preset: Preset) -> (Router, Vec<String>) {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let text = read(preset, "metrics.txt");
    let target = Router::new().route("/metrics", get(async move || text)).route("/empty", get(async || ""));
    let address = router::serve(target).await;
    let labels = |labels: &[(&str, &str)]| {
        labels.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect::<Vec<_>>()
    };
    let pod = labels(&[("namespace", "default"), ("pod", "a")]);
    // Exporters of a node speak of its pods.
    let (scraped, others) = match preset.name() {
        "dcgm" => (labels(&[("namespace", "gpu-operator"), ("pod", "dcgm-exporter-x")]), Some(pod)),
        "kube-prometheus-resource" => (labels(&[("node", "node-1")]), Some(pod)),
        _ => (pod, None),
    };
    let target =
        |path: &str, labels| Target::new(&format!("http://{address}/{path}"), labels).expect("a URL");
    let mut targets = vec![target("metrics", scraped)];
    targets.extend(others.map(|labels| target("empty", labels)));
    let soon = Duration::from_millis(100);
    let config = ScrapeConfig { interval: soon, timeout: soon, ..ScrapeConfig::default() };
    let embedded = Embedded::start(EngineConfig::default(), config, targets).expect("a client");
    // A rate needs two.
    embedded.rounds(2).await;
    let source: Arc<dyn MetricSource> = Arc::new(embedded);
    let objects: Arc<dyn Objects> = Arc::new(ScrapedObjects::new(Arc::clone(&source)));
    let rules = rules::load(preset.text()).expect("valid rules");
    let (send, mut listed) = tokio::sync::mpsc::unbounded_channel();
    let server = Listed::start(rules, source, objects, move |snapshot| {
        let unmade = snapshot.catalog.rule_stats().iter().filter(|(_, made)| made.metrics == 0);
        // The test may be over.
        let _ = send.send(unmade.map(|(rule, made)| format!("{rule}: {made:?}")).collect());
    })
    .await;
    let authorization = Chain::new(vec![Arc::new(PrivilegedGroup(UNAUTHENTICATED))]);
    let router = server.server(Union::new(Vec::new()), authorization).into_router();
    (router, listed.recv().await.expect("a listing"))
}

fn read(preset: Preset, file: &str) -> String {
    let path: PathBuf =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../rules/presets").join(preset.name()).join(file);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}
