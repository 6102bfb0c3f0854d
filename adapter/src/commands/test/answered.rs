//! A request of a test, and its answer as lines that can be compared.

use std::sync::Arc;
use std::time::{Duration, Instant};

use apiservice::attributes::{self, Attributes};
use apiservice::authn::User;
use apiservice::list_options::ListOptions;
use apiservice::quantity::Quantity;
use apiservice::query::QueryParameters;
use apiservice::server::{Answer, ApiRequest, Holding};
use http::Method;

use super::file::{Request, Values};

/// The request of a path below a group's version, as the server reads it.
///
/// # Errors
/// A path that the server refuses, or that is not one of an API.
pub(super) fn request(path: &str) -> Result<ApiRequest, String> {
    let (path, query) = path.split_once('?').unwrap_or((path, ""));
    let segments = attributes::segments(path).map_err(|error| error.message().to_owned())?;
    let query = QueryParameters::parse(query);
    let ["apis", group, version, ref rest @ ..] = segments.iter().map(String::as_str).collect::<Vec<_>>()[..]
    else {
        return Err(format!("expected a path like /apis/custom.metrics.k8s.io/v1beta2/…, found {path:?}"));
    };
    let options = ListOptions::of(&query);
    Ok(ApiRequest {
        group: group.to_owned(),
        version: version.to_owned(),
        segments: rest.iter().map(|&segment| segment.to_owned()).collect(),
        attributes: Arc::new(Attributes::of(&Method::GET, path, &segments, options)),
        query,
        user: User::default(),
        deadline: Instant::now() + LONGEST,
        holding: Holding::default(),
    })
}

/// What a request expects, a line for each value.
pub(super) fn expected(request: &Request) -> Vec<String> {
    let mut lines: Vec<String> = match &request.values {
        Some(Values::OfObjects(values)) => values.iter().map(|(name, value)| line(name, value.0)).collect(),
        Some(Values::External(values)) => values.iter().map(|value| plain(value.0).to_string()).collect(),
        None => Vec::new(),
    };
    let usage = request.usage.iter().flatten();
    lines.extend(usage.map(|(name, used)| line_of_two(name, used.cpu.0, used.memory.0)));
    lines
}

/// What an answer holds, a line for each value.
pub(super) fn found(answer: &Answer) -> Vec<String> {
    match answer {
        Answer::MetricValues(list) => {
            let mut lines: Vec<String> =
                list.items.iter().map(|item| line(&item.described_object.name, item.value)).collect();
            lines.sort();
            lines
        }
        Answer::ExternalMetricValues(list) => {
            list.items.iter().map(|item| plain(item.value).to_string()).collect()
        }
        Answer::Node(node) => nodes(std::slice::from_ref(node)),
        Answer::Nodes(list) => nodes(list),
        Answer::Pod(pod) => pods(std::slice::from_ref(pod)),
        Answer::Pods(list) => pods(list),
        // Only `?explain=true` is answered so.
        Answer::Document { .. } => vec!["an explanation".to_owned()],
    }
}

fn nodes(nodes: &[apiservice::types::usage::NodeMetrics]) -> Vec<String> {
    let line = |node: &apiservice::types::usage::NodeMetrics| {
        line_of_two(&node.metadata.name, node.usage.cpu, node.usage.memory)
    };
    sorted(nodes.iter().map(line))
}

fn pods(pods: &[apiservice::types::usage::PodMetrics]) -> Vec<String> {
    sorted(pods.iter().flat_map(|pod| {
        pod.containers.iter().map(|container| {
            let name = format!("{}/{}", pod.metadata.name, container.name);
            line_of_two(&name, container.usage.cpu, container.usage.memory)
        })
    }))
}

fn sorted(lines: impl Iterator<Item = String>) -> Vec<String> {
    let mut lines: Vec<String> = lines.collect();
    lines.sort();
    lines
}

fn line(name: &str, value: Quantity) -> String {
    format!("{name}: {}", plain(value))
}

fn line_of_two(name: &str, cpu: Quantity, memory: Quantity) -> String {
    format!("{name}: cpu {}, memory {}", plain(cpu), plain(memory))
}

/// One way to write a number, whichever way it was given: `4Ki` is `4096`.
fn plain(quantity: Quantity) -> Quantity {
    Quantity::from_milli(quantity.milli())
}

/// For one request.
const LONGEST: Duration = Duration::from_secs(30);
