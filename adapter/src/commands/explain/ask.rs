//! Asks for explanations, and says why there is none.

use serde::Deserialize as _;

use super::super::client::{Client, ClientError, escaped};
use crate::config::AskedMetric;
use crate::explanation::Explanation;

/// Why there is no explanation.
#[derive(Debug, thiserror::Error)]
pub(super) enum ExplainError {
    #[error(transparent)]
    Client(#[from] ClientError),
    /// kube-apiserver, or the adapter, answers with an error.
    #[error("{message}{hint}")]
    Refused { message: String, hint: String },
    /// Another server has the API.
    #[error(
        "expected an explanation, found {0}: the server of this API does not know explain=json; is it prometheus-adapter?"
    )]
    NotExplained(String),
    /// The autoscaler's target cannot be found.
    #[error("cannot find the pods that the autoscaler counts")]
    Target(#[source] Box<kube::Error>),
    #[error("cannot write the explanation")]
    Write(#[source] serde_json::Error),
}

/// Whether a metric has a value.
pub(super) fn has_value(explanation: &Explanation) -> bool {
    explanation.answer.code == 200 && explanation.answer.values > 0
}

/// The path that an autoscaler asks for a metric.
pub(super) fn path(namespace: &str, metric: &AskedMetric) -> String {
    let AskedMetric { name, objects, selector, metric_selector } = metric;
    let namespace = escaped(namespace);
    let name = escaped(name);
    let parameters: Vec<String> = [("labelSelector", selector), ("metricLabelSelector", metric_selector)]
        .into_iter()
        .filter_map(|(parameter, value)| Some(format!("{parameter}={}", escaped(value.as_deref()?))))
        .collect();
    let query = if parameters.is_empty() { String::new() } else { format!("?{}", parameters.join("&")) };
    match objects {
        None => format!("/apis/{EXTERNAL}/namespaces/{namespace}/{name}{query}"),
        Some((resource, object)) if resource == "namespaces" || resource == "namespace" => {
            // A namespace's own metric; without a name, that of the namespace itself.
            let of = if object == "*" { namespace } else { escaped(object) };
            format!("/apis/{CUSTOM}/namespaces/{of}/metrics/{name}{query}")
        }
        Some((resource, object)) => {
            format!(
                "/apis/{CUSTOM}/namespaces/{namespace}/{}/{}/{name}{query}",
                escaped(resource),
                escaped(object)
            )
        }
    }
}

/// The explanation of a path.
pub(super) async fn one(client: &Client, path: &str) -> Result<Explanation, ExplainError> {
    let join = if path.contains('?') { '&' } else { '?' };
    let answer = client.get(&format!("{path}{join}explain=json")).await?;
    if answer.code != 200 {
        let hint = hint(client, path, answer.code).await;
        return Err(ExplainError::Refused { message: answer.message(), hint });
    }
    let tree: serde_json::Value = serde_json::from_slice(&answer.body)
        .map_err(|error| ExplainError::NotExplained(format!("no JSON ({error})")))?;
    if let Some(kind) = tree["kind"].as_str() {
        return Err(ExplainError::NotExplained(format!("a {kind}")));
    }
    Explanation::deserialize(tree)
        .map_err(|error| ExplainError::NotExplained(format!("other JSON ({error})")))
}

/// Whether the API leads to a server at all, where that may be why it is refused.
async fn hint(client: &Client, path: &str, code: u16) -> String {
    if !matches!(code, 404 | 503) {
        return String::new();
    }
    let [_, _, group, version, ..] = path.split('/').collect::<Vec<_>>()[..] else { return String::new() };
    let name = format!("{version}.{group}");
    let service: Result<serde_json::Value, ClientError> =
        client.object(&format!("/apis/apiregistration.k8s.io/v1/apiservices/{name}")).await;
    match service {
        Err(ClientError::Status { code: 404, .. }) => {
            format!("; the APIService {name} does not exist: no server is registered for this API")
        }
        Err(_) => String::new(),
        Ok(service) => {
            let conditions = service["status"]["conditions"].as_array().cloned().unwrap_or_default();
            let available = conditions.iter().find(|condition| condition["type"] == "Available");
            match available {
                Some(condition) if condition["status"] != "True" => {
                    let text = |field: &str| condition[field].as_str().unwrap_or_default().to_owned();
                    format!(
                        "; the APIService {name} is not available: {}: {}",
                        text("reason"),
                        text("message")
                    )
                }
                _ => String::new(),
            }
        }
    }
}

/// Served by every deployment, prometheus-adapter's too.
const CUSTOM: &str = "custom.metrics.k8s.io/v1beta1";
const EXTERNAL: &str = "external.metrics.k8s.io/v1beta1";

#[cfg(test)]
mod tests {
    use testkit::rows::each_row;

    use super::*;

    #[test]
    fn paths_are_those_of_an_autoscaler() {
        let metric = |objects: Option<(&str, &str)>, selector: Option<&str>| AskedMetric {
            name: "depth".to_owned(),
            objects: objects.map(|(resource, name)| (resource.to_owned(), name.to_owned())),
            selector: selector.map(str::to_owned),
            metric_selector: None,
        };
        let rows = [
            (metric(Some(("pods", "*")), None), "custom.metrics.k8s.io/v1beta1/namespaces/a/pods/*/depth"),
            (
                metric(Some(("deployments.apps", "web/x")), Some("app in (a,b)")),
                "custom.metrics.k8s.io/v1beta1/namespaces/a/deployments.apps/web%2Fx/depth?labelSelector=app%20in%20%28a%2Cb%29",
            ),
            (
                metric(Some(("namespace", "*")), None),
                "custom.metrics.k8s.io/v1beta1/namespaces/a/metrics/depth",
            ),
            (
                metric(None, Some("q=1")),
                "external.metrics.k8s.io/v1beta1/namespaces/a/depth?labelSelector=q%3D1",
            ),
        ];
        each_row(rows, |(metric, expected)| assert_eq!(path("a", &metric), format!("/apis/{expected}")));
    }
}
