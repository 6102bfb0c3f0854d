//! What an autoscaler asks for, and the path by which it asks.

use k8s_openapi::api::autoscaling::v2::{
    HorizontalPodAutoscalerSpec, MetricIdentifier, MetricSpec, MetricTarget,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use kube::core::GroupVersionKind;

use super::client::{Client, ClientError, escaped};
use crate::config::AskedMetric;

/// Why it is not known what an autoscaler asks for.
#[derive(Debug, thiserror::Error)]
pub(super) enum AskedError {
    #[error(transparent)]
    Client(#[from] ClientError),
    /// The autoscaler's target cannot be found.
    #[error("cannot find the pods that the autoscaler counts")]
    Target(#[source] Box<kube::Error>),
    /// The object of a metric is of a kind that the cluster does not know.
    #[error(
        "the metric {metric} is of the object {kind} {name}, and the cluster has no kind {kind} in {version}"
    )]
    NoKind { metric: String, kind: String, name: String, version: String },
    /// The cluster does not say whether it knows that kind.
    #[error("cannot look up the kind {kind} of the metric {metric}")]
    Kind {
        metric: String,
        kind: String,
        #[source]
        cause: Box<kube::Error>,
    },
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

/// What an autoscaler asks for a metric, and its target; `None` for the use of CPU and memory, which it asks otherwise.
pub(super) async fn of_metric<'m>(
    client: &Client,
    namespace: &str,
    spec: &HorizontalPodAutoscalerSpec,
    metric: &'m MetricSpec,
) -> Result<Option<(AskedMetric, &'m MetricTarget)>, AskedError> {
    let asked = |identifier: &MetricIdentifier, objects: Option<(String, String)>| AskedMetric {
        name: identifier.name.clone(),
        objects,
        selector: None,
        metric_selector: identifier.selector.as_ref().map(selector_text),
    };
    if let Some(pods) = &metric.pods {
        let selector = Some(pods_selector(client, namespace, spec).await?);
        let objects = Some(("pods".to_owned(), "*".to_owned()));
        Ok(Some((AskedMetric { selector, ..asked(&pods.metric, objects) }, &pods.target)))
    } else if let Some(object) = &metric.object {
        let described = &object.described_object;
        let version = described.api_version.as_deref();
        let resource = Resource::of(client, version, &described.kind).await.map_err(|cause| {
            let (metric, kind) = (object.metric.name.clone(), described.kind.clone());
            match cause {
                kube::Error::Discovery(_) => AskedError::NoKind {
                    metric,
                    kind,
                    name: described.name.clone(),
                    version: version.unwrap_or("v1").to_owned(),
                },
                cause => AskedError::Kind { metric, kind, cause: Box::new(cause) },
            }
        })?;
        let objects = Some((resource.name, described.name.clone()));
        Ok(Some((asked(&object.metric, objects), &object.target)))
    } else if let Some(external) = &metric.external {
        let AskedMetric { name, metric_selector, .. } = asked(&external.metric, None);
        let asked = AskedMetric { name, objects: None, selector: metric_selector, metric_selector: None };
        Ok(Some((asked, &external.target)))
    } else {
        Ok(None)
    }
}

/// The name of a metric.
pub(super) fn name_of(metric: &MetricSpec) -> &str {
    let identified = [
        metric.pods.as_ref().map(|pods| &pods.metric),
        metric.object.as_ref().map(|object| &object.metric),
        metric.external.as_ref().map(|external| &external.metric),
    ];
    let resources = [
        metric.resource.as_ref().map(|resource| &resource.name),
        metric.container_resource.as_ref().map(|resource| &resource.name),
    ];
    let names = identified.into_iter().flatten().map(|identifier| &identifier.name);
    names.chain(resources.into_iter().flatten()).next().map_or("", String::as_str)
}

/// The selector of the pods that the autoscaler counts, as the scale of its target says.
async fn pods_selector(
    client: &Client,
    namespace: &str,
    spec: &HorizontalPodAutoscalerSpec,
) -> Result<String, AskedError> {
    let target = &spec.scale_target_ref;
    let Resource { plural, root, .. } = Resource::of(client, target.api_version.as_deref(), &target.kind)
        .await
        .map_err(|cause| AskedError::Target(Box::new(cause)))?;
    let path = format!("{root}/namespaces/{}/{plural}/{}/scale", escaped(namespace), escaped(&target.name));
    let scale: serde_json::Value = client.object(&path).await?;
    Ok(scale["status"]["selector"].as_str().unwrap_or_default().to_owned())
}

/// A kind of the cluster.
struct Resource {
    /// As a path of custom metrics names it: `deployments.apps`.
    name: String,
    /// As its own API names it: `deployments`.
    plural: String,
    /// The root of its API: `/apis/apps/v1`.
    root: String,
}

impl Resource {
    async fn of(client: &Client, api_version: Option<&str>, kind: &str) -> kube::Result<Resource> {
        let api_version = api_version.unwrap_or_default();
        let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
        let named = GroupVersionKind::gvk(group, version, kind);
        let plural = kube::discovery::pinned_kind(&client.kube(), &named).await?.0.plural;
        Ok(if group.is_empty() {
            Resource { name: plural.clone(), plural, root: format!("/api/{version}") }
        } else {
            Resource { name: format!("{plural}.{group}"), plural, root: format!("/apis/{api_version}") }
        })
    }
}

/// A selector as a parameter holds it.
fn selector_text(selector: &LabelSelector) -> String {
    let equal = selector.match_labels.iter().flatten().map(|(label, value)| format!("{label}={value}"));
    let others = selector.match_expressions.iter().flatten().map(|requirement| {
        let values = requirement.values.iter().flatten().cloned().collect::<Vec<_>>().join(",");
        match requirement.operator.as_str() {
            "In" => format!("{} in ({values})", requirement.key),
            "NotIn" => format!("{} notin ({values})", requirement.key),
            "DoesNotExist" => format!("!{}", requirement.key),
            _ => requirement.key.clone(),
        }
    });
    equal.chain(others).collect::<Vec<_>>().join(",")
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
