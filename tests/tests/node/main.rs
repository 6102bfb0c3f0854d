//! What is shipped, installed on a real node as a person installs it.

mod drop_in;
mod operator;
mod restarts;
mod tutorial;
mod upgrade;

use std::time::Duration;

use e2e::Failure;
use e2e::node::Node;
use serde_json::Value;

/// The queue of every pod in `default`, as autoscalers ask for it.
const DEPTH: &str = "/apis/custom.metrics.k8s.io/v1beta2/namespaces/default/pods/*/request_queue_depth";
const MINUTE: Duration = Duration::from_mins(1);

/// How many pods have a queue in the API.
async fn pods_measured(node: &Node) -> Result<usize, Failure> {
    let (code, values) = node.cluster.json(DEPTH).await?;
    if code != 200 {
        return Ok(0);
    }
    Ok(values["items"].as_array().map_or(0, Vec::len))
}

/// An object as JSON.
fn object(node: &Node, namespace: &str, name: &str) -> Result<Value, Failure> {
    Ok(serde_json::from_str(&node.cluster.kubectl(&["-n", namespace, "get", name, "-o", "json"])?)?)
}

/// The pods of an application as JSON.
fn pods(node: &Node, namespace: &str, selector: &str) -> Result<Vec<Value>, Failure> {
    let list = node.cluster.kubectl(&["-n", namespace, "get", "pods", "-l", selector, "-o", "json"])?;
    let list: Value = serde_json::from_str(&list)?;
    Ok(list["items"].as_array().cloned().unwrap_or_default())
}
