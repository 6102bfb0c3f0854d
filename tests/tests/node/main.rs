//! What is shipped, installed on a real node as a person installs it.

mod chart;
mod drop_in;
mod operator;
mod reads;
mod restarts;
mod tutorial;
mod upgrade;

use std::time::{Duration, Instant};

use e2e::node::{ContainerProcess, Node};
use e2e::{Failure, until};
use serde_json::Value;

/// The queue of every pod in `default`, as autoscalers ask for it.
const DEPTH: &str = "/apis/custom.metrics.k8s.io/v1beta2/namespaces/default/pods/*/request_queue_depth";
const MINUTE: Duration = Duration::from_mins(1);

/// Waits until both model servers have a queue in the API. The operator, a scrape and a listing of the series come
/// first.
async fn until_measured(node: &Node) -> Result<(), Failure> {
    until("both pods have a queue", 4 * MINUTE, || async {
        // A server that has just been ended answers nothing.
        let Ok((code, values)) = node.cluster.json(DEPTH).await else { return Ok(false) };
        Ok(code == 200 && values["items"].as_array().map_or(0, Vec::len) == 2)
    })
    .await
}

/// The values of a query, as the Prometheus on the node answers it.
async fn query(node: &Node, text: &str) -> Result<Vec<Value>, Failure> {
    let text = percent_encoding::utf8_percent_encode(text, percent_encoding::NON_ALPHANUMERIC);
    let data = ask_prometheus(node, &format!("query?query={text}")).await?;
    Ok(data["result"].as_array().cloned().unwrap_or_default())
}

/// What the Prometheus on the node scrapes, and why it cannot.
async fn targets(node: &Node) -> Result<String, Failure> {
    let data = ask_prometheus(node, "targets?state=active").await?;
    let targets = data["activeTargets"].as_array().cloned().unwrap_or_default();
    let lines = targets.iter().map(|target| format!("{}: {}\n", target["scrapeUrl"], target["lastError"]));
    Ok(lines.collect())
}

async fn ask_prometheus(node: &Node, question: &str) -> Result<Value, Failure> {
    let service = "services/prometheus-kube-prometheus-prometheus:9090";
    let path = format!("/api/v1/namespaces/monitoring/{service}/proxy/api/v1/{question}");
    let (code, answer) = node.cluster.json(&path).await?;
    if code != 200 {
        return Err(format!("{question}: {code}: {answer}").into());
    }
    Ok(answer["data"].clone())
}

/// An object as JSON.
fn object(node: &Node, namespace: &str, name: &str) -> Result<Value, Failure> {
    Ok(serde_json::from_str(&node.cluster.kubectl(&["-n", namespace, "get", name, "-o", "json"])?)?)
}

/// Waits for the program of the adapter in a pod that is about to start, and until it is ready. Gives how long after
/// its start that was.
async fn until_adapter_ready(
    node: &Node,
    namespace: &str,
    selector: &str,
    port: u16,
) -> Result<(ContainerProcess, Duration), Failure> {
    let deadline = Instant::now() + 2 * MINUTE;
    let mut uid = None;
    let (process, began) = loop {
        if uid.is_none() {
            let pods = pods(node, namespace, selector)?;
            uid = pods.first().and_then(|pod| pod["metadata"]["uid"].as_str().map(str::to_owned));
        }
        if let Some(process) = uid.as_ref().and_then(|uid| node.processes(uid, "adapter").pop()) {
            break (process, Instant::now());
        }
        if Instant::now() > deadline {
            return Err(format!("no adapter started in {namespace}\n{}", node.describe(namespace)).into());
        }
        tokio::time::sleep(Duration::from_millis(2)).await;
    };
    let http = reqwest::Client::builder().tls_danger_accept_invalid_certs(true).build()?;
    let url = format!("https://{}:{port}/readyz", process.address()?);
    while !http.get(&url).send().await.is_ok_and(|response| response.status().is_success()) {
        if Instant::now() > deadline {
            return Err(
                format!("the adapter in {namespace} is not ready\n{}", node.describe(namespace)).into()
            );
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    Ok((process, began.elapsed()))
}

/// The pods of an application as JSON.
fn pods(node: &Node, namespace: &str, selector: &str) -> Result<Vec<Value>, Failure> {
    let list = node.cluster.kubectl(&["-n", namespace, "get", "pods", "-l", selector, "-o", "json"])?;
    let list: Value = serde_json::from_str(&list)?;
    Ok(list["items"].as_array().cloned().unwrap_or_default())
}
