//! The adapter as a process, over model servers: its own engine, a real Prometheus, kubectl, faults, the way out.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use e2e::api::values;
use e2e::component::{component, left_out};
use e2e::load::Load;
use e2e::prometheus::Prometheus;
use e2e::stack::{self, Pod};
use e2e::{Failure, api, kubelet};
use serde_json::Value;
use testkit::rows::each_row;

const C1: &str = "/apis/custom.metrics.k8s.io/v1beta1";
const C2: &str = "/apis/custom.metrics.k8s.io/v1beta2";
const NAMES: [&str; 6] = [
    "namespaces/gpu_utilization_percent",
    "namespaces/inference_latency_seconds_avg",
    "namespaces/request_queue_depth",
    "pods/gpu_utilization_percent",
    "pods/inference_latency_seconds_avg",
    "pods/request_queue_depth",
];

async fn pods(count: usize, dir: &Path) -> Result<Vec<Pod>, Failure> {
    let _ = rustls::crypto::ring::default_provider().install_default();
    stack::start_pods(count, &[], dir).await
}

fn names(list: &Value) -> Vec<String> {
    let entries = list["resources"].as_array().into_iter().flatten();
    entries.filter_map(|entry| entry["name"].as_str()).map(str::to_owned).collect()
}

async fn until(what: &str, check: impl AsyncFnMut() -> Result<bool, Failure>) -> Result<(), Failure> {
    e2e::until(what, Duration::from_mins(1), check).await
}

#[tokio::test]
async fn the_embedded_engine_serves_the_tutorials_metrics() -> Result<(), Failure> {
    let dir = tempfile::tempdir()?;
    let pods = pods(3, dir.path()).await?;
    let mut source = stack::targets(&pods);
    source.push("--scrape-interval=1s".to_owned());
    let adapter = stack::start_adapter(&source, dir.path()).await?;
    let api = &adapter.api;
    assert_eq!(names(&api.get(C1).await?.1), NAMES);
    assert_eq!(names(&api.get(C2).await?.1), NAMES);
    let (code, list) = api.get(&format!("{C1}/namespaces/default/pods/*/request_queue_depth")).await?;
    assert_eq!(code, 200, "{list}");
    let expected: Vec<(String, f64)> = (0..3).map(|number| (format!("model-{number}"), 0.0)).collect();
    assert_eq!(values(&list)?, expected);
    let (_, list) = api.get(&format!("{C2}/namespaces/default/pods/*/request_queue_depth")).await?;
    assert_eq!(list["items"][0]["metric"]["name"], "request_queue_depth");
    let (code, status) = api.get(&format!("{C1}/namespaces/default/pods/ghost/request_queue_depth")).await?;
    assert_eq!(code, 404);
    assert_eq!(status["message"], "the server could not find the metric request_queue_depth for pods ghost");
    // Latency appears with the requests.
    let addresses: Vec<String> = pods.iter().map(|pod| pod.address.clone()).collect();
    let mut load = Load::new(&addresses);
    load.set(6);
    until("a latency for every pod", || async {
        let (_, list) =
            api.get(&format!("{C1}/namespaces/default/pods/*/inference_latency_seconds_avg")).await?;
        let values = values(&list)?;
        Ok(values.len() == 3 && load.counts().0 > 100)
    })
    .await
}

#[tokio::test]
async fn kubectl_reads_it_by_the_kubeconfig() -> Result<(), Failure> {
    let Some(kubectl) = component("kubectl") else { return left_out("kubectl") };
    let dir = tempfile::tempdir()?;
    let pods = pods(1, dir.path()).await?;
    let adapter = stack::start_adapter(&stack::targets(&pods), dir.path()).await?;
    let get = |path: &str| -> Result<String, Failure> {
        let output = Command::new(&kubectl)
            .arg("--kubeconfig")
            .arg(&adapter.kubeconfig)
            .args(["get", "--raw", path])
            .output()?;
        if !output.status.success() {
            return Err(String::from_utf8_lossy(&output.stderr).into_owned().into());
        }
        Ok(String::from_utf8(output.stdout)?)
    };
    assert_eq!(names(&serde_json::from_str(&get(C1)?)?), NAMES);
    let list = serde_json::from_str(&get(&format!("{C2}/namespaces/default/pods/*/request_queue_depth"))?)?;
    assert_eq!(api::values(&list)?, [("model-0".to_owned(), 0.0)]);
    let refused = get(&format!("{C1}/namespaces/default/pods/*/nosuch")).expect_err("no such metric");
    assert_eq!(
        refused.to_string().trim(),
        "Error from server (NotFound): the server could not find the metric nosuch for pods"
    );
    Ok(())
}

#[tokio::test]
async fn the_same_over_a_real_prometheus() -> Result<(), Failure> {
    let Some(program) = component("prometheus") else { return left_out("prometheus") };
    let dir = tempfile::tempdir()?;
    let pods = pods(2, dir.path()).await?;
    let targets: Vec<_> = pods.iter().map(|pod| kubelet::target("default", "model-server", pod)).collect();
    let mut prometheus = Prometheus::start(&program, &targets, dir.path()).await?;
    let url = prometheus.url();
    until("Prometheus has scraped every pod", || async {
        Ok(prometheus.query("request_queue_depth").await?.len() == 2)
    })
    .await?;
    let adapter = stack::start_adapter(&[format!("--prometheus-url={url}")], dir.path()).await?;
    let api = &adapter.api;
    assert_eq!(names(&api.get(C1).await?.1), NAMES);
    // A constant: what the API says is what Prometheus says.
    let (_, list) = api.get(&format!("{C1}/namespaces/default/pods/*/gpu_utilization_percent")).await?;
    let mut direct: Vec<(String, f64)> = prometheus
        .query("gpu_utilization_percent")
        .await?
        .into_iter()
        .map(|(labels, value)| (labels["pod"].as_str().unwrap_or_default().to_owned(), value))
        .collect();
    direct.sort_by(|left, right| left.0.cmp(&right.0));
    assert_eq!(values(&list)?, direct);
    // Prometheus goes: an error with its cause, discovery as before; it comes back: answers again.
    prometheus.stop();
    let path = format!("{C1}/namespaces/default/pods/model-0/request_queue_depth");
    let (code, status) = api.get(&path).await?;
    assert_eq!(code, 503, "{status}");
    assert_eq!(
        status["message"],
        format!(
            "unable to fetch metrics by rules[1]: cannot reach Prometheus at {url}: Connection refused (os error 111)"
        )
    );
    assert_eq!(names(&api.get(C1).await?.1), NAMES);
    assert_eq!(api.text("/readyz").await?.0, 200);
    prometheus.resume().await?;
    until("answers again", || async { Ok(api.get(&path).await?.0 == 200) }).await
}

#[tokio::test]
async fn a_broken_rule_file_is_refused_with_every_fault() -> Result<(), Failure> {
    let dir = tempfile::tempdir()?;
    let rules = dir.path().join("rules.yaml");
    std::fs::write(&rules, "rules:\n- seriesQuery: a\n  mericsQuery: b\n- name: {matches: '('}\n")?;
    let output = Command::new(stack::program("adapter")?)
        .args(["--standalone", "--secure-port=0", "--prometheus-url=http://127.0.0.1:1", "--config"])
        .arg(&rules)
        .output()?;
    assert_eq!(output.status.code(), Some(64));
    let text = String::from_utf8(output.stderr)?;
    let rows = [
        "rules[0] (line 3, column 3): unknown field \"mericsQuery\"",
        "rules[1] (line 4, column 3): expected a series selector in seriesQuery, found nothing",
        "rules[1].name.matches (line 4, column 19): expected a regular expression, found \"(\": missing )",
    ];
    each_row(rows, |fault| {
        assert!(text.contains(fault), "{fault} is not in {text}");
    });
    Ok(())
}

#[tokio::test]
async fn promtool_finds_no_fault_in_the_metrics_of_both() -> Result<(), Failure> {
    let Some(promtool) = component("promtool") else { return left_out("promtool") };
    let dir = tempfile::tempdir()?;
    let pods = pods(1, dir.path()).await?;
    let adapter = stack::start_adapter(&stack::targets(&pods), dir.path()).await?;
    let model_server = format!("http://{}/metrics", pods[0].address);
    let mut load = Load::new(&[pods[0].address.clone()]);
    load.set(4);
    until("requests", || async { Ok(load.counts().0 > 100) }).await?;
    let (code, _) = adapter.api.get(&format!("{C1}/namespaces/default/pods/*/request_queue_depth")).await?;
    assert_eq!(code, 200);
    let (code, text) = adapter.api.text("/metrics").await?;
    assert_eq!(code, 200, "{text}");
    // Kubernetes' own name, which its users know.
    let kubernetes = "authentication_attempts counter metrics should have \"_total\" suffix\n";
    for (text, expected) in [(reqwest::get(model_server).await?.text().await?, ""), (text, kubernetes)] {
        let path = dir.path().join("metrics");
        std::fs::write(&path, &text)?;
        let output =
            Command::new(&promtool).args(["check", "metrics"]).stdin(std::fs::File::open(&path)?).output()?;
        assert_eq!(String::from_utf8(output.stderr)?, expected, "{text}");
    }
    Ok(())
}

#[tokio::test]
async fn it_ends_without_a_failed_request() -> Result<(), Failure> {
    let dir = tempfile::tempdir()?;
    let pods = pods(1, dir.path()).await?;
    let mut adapter = stack::start_adapter(&stack::targets(&pods), dir.path()).await?;
    let api = adapter.api.clone();
    let path = format!("{C1}/namespaces/default/pods/*/request_queue_depth");
    let asking = tokio::spawn(async move {
        let mut answered = 0;
        // Until the server is gone, every answer is a good one.
        while let Ok((code, body)) = api.text(&path).await {
            assert_eq!(code, 200, "{body}");
            answered += 1;
        }
        answered
    });
    let log = adapter.process.log().len();
    adapter.process.terminate()?;
    let status = adapter.process.wait(Duration::from_secs(30)).await?;
    assert!(status.success(), "{status}: {}", &adapter.process.log()[log..]);
    assert!(asking.await? > 0);
    Ok(())
}

#[tokio::test]
async fn strangers_are_refused() -> Result<(), Failure> {
    let dir = tempfile::tempdir()?;
    let pods = pods(1, dir.path()).await?;
    let adapter = stack::start_adapter(&stack::targets(&pods), dir.path()).await?;
    let address = adapter.process.log();
    let address = address.split_once("address=").and_then(|(_, rest)| rest.split_whitespace().next());
    let address = address.ok_or("no address in the log")?;
    let stranger = reqwest::Client::builder().tls_danger_accept_invalid_certs(true).build()?;
    for (path, code) in
        [("/healthz", 200), ("/readyz", 200), ("/metrics", 403), ("/apis", 403), (C1, 403), ("/", 403)]
    {
        let response = stranger.get(format!("https://{address}{path}")).send().await?;
        assert_eq!(response.status().as_u16(), code, "{path}");
    }
    Ok(())
}
