//! An autoscaler: its conditions, and for each of its metrics the value, the target and what one is to the other.

use std::fmt;

use apiservice::quantity::Quantity;
use k8s_openapi::api::autoscaling::v2::{
    HorizontalPodAutoscaler, HorizontalPodAutoscalerSpec, HorizontalPodAutoscalerStatus, MetricSpec,
    MetricTarget,
};
use serde::Serialize;
use serve::error_chain;

use super::super::asked::{self, AskedError, name_of, path};
use super::super::client::{Client, escaped};
use super::ask::{ExplainError, has_value, one};
use crate::explanation::Explanation;

/// An autoscaler and its metrics.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct HpaExplanation {
    /// The cause in one sentence.
    cause: String,
    /// `default/web`.
    hpa: String,
    replicas: Replicas,
    conditions: Vec<Condition>,
    metrics: Vec<MetricExplanation>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Replicas {
    current: i32,
    desired: i32,
    least: i32,
    most: i32,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Condition {
    r#type: String,
    status: String,
    reason: String,
    message: String,
}

/// One metric of an autoscaler.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct MetricExplanation {
    /// `Pods`, `Object`, `External`.
    source: String,
    name: String,
    /// The number that is compared with the target; `None` without a value.
    #[serde(skip_serializing_if = "Option::is_none")]
    value: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    target: Option<f64>,
    /// Value by target: above 1 the autoscaler adds pods.
    #[serde(skip_serializing_if = "Option::is_none")]
    ratio: Option<f64>,
    /// `None` for metrics that this adapter does not serve.
    #[serde(skip_serializing_if = "Option::is_none")]
    explanation: Option<Explanation>,
    /// Why there is no explanation.
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

/// Explains an autoscaler, or one of its metrics.
pub(super) async fn explain(
    client: &Client,
    namespace: &str,
    name: &str,
    only: Option<&str>,
) -> Result<HpaExplanation, ExplainError> {
    let place = format!("namespaces/{}/horizontalpodautoscalers/{}", escaped(namespace), escaped(name));
    let hpa: HorizontalPodAutoscaler = client.object(&format!("/apis/autoscaling/v2/{place}")).await?;
    let (spec, status) = (hpa.spec.unwrap_or_default(), hpa.status.unwrap_or_default());
    let mut metrics = Vec::new();
    for metric in spec.metrics.iter().flatten().take(MOST_METRICS) {
        if only.is_none_or(|only| name_of(metric) == only) {
            metrics.push(of_metric(client, namespace, (&spec, &status), metric).await?);
        }
    }
    let conditions: Vec<Condition> = status
        .conditions
        .into_iter()
        .flatten()
        .map(|condition| Condition {
            r#type: condition.type_,
            status: condition.status,
            reason: condition.reason.unwrap_or_default(),
            message: condition.message.unwrap_or_default(),
        })
        .collect();
    let cause = cause(&metrics, &conditions, only);
    Ok(HpaExplanation {
        cause,
        hpa: format!("{namespace}/{name}"),
        replicas: Replicas {
            current: status.current_replicas.unwrap_or_default(),
            desired: status.desired_replicas,
            least: spec.min_replicas.unwrap_or(1),
            most: spec.max_replicas,
        },
        conditions,
        metrics,
    })
}

impl HpaExplanation {
    /// Whether every metric has a value.
    pub(super) fn has_values(&self) -> bool {
        self.metrics
            .iter()
            .all(|metric| metric.explanation.as_ref().is_none_or(has_value) && metric.error.is_none())
    }
}

/// The first metric without a value, else the first condition that keeps the autoscaler from scaling, else the metric
/// that asks for the most pods.
fn cause(metrics: &[MetricExplanation], conditions: &[Condition], only: Option<&str>) -> String {
    let lacking = metrics.iter().find_map(|metric| match (&metric.explanation, &metric.error) {
        (_, Some(error)) => Some(error.clone()),
        (Some(explanation), None) if !has_value(explanation) => Some(explanation.cause.message.clone()),
        _ => None,
    });
    if let Some(lacking) = lacking {
        return lacking;
    }
    let holding = conditions.iter().find(|condition| {
        matches!(condition.r#type.as_str(), "AbleToScale" | "ScalingActive") && condition.status != "True"
    });
    if let Some(Condition { r#type, status, reason, message }) = holding {
        return format!(
            "every metric has a value, and the autoscaler says {type} {status}: {reason}: {message}"
        );
    }
    let ratios = metrics.iter().filter_map(|metric| Some((metric.ratio?, metric)));
    match ratios.max_by(|(left, _), (right, _)| left.total_cmp(right)) {
        Some((ratio, metric)) => format!(
            "{} is {} of a target of {}, a ratio of {ratio:.2}",
            metric.name,
            number(metric.value),
            number(metric.target)
        ),
        None => match only {
            Some(only) => format!("the autoscaler has no metric {only}"),
            None => "the autoscaler has no metric that the adapter serves".to_owned(),
        },
    }
}

async fn of_metric(
    client: &Client,
    namespace: &str,
    (spec, status): (&HorizontalPodAutoscalerSpec, &HorizontalPodAutoscalerStatus),
    metric: &MetricSpec,
) -> Result<MetricExplanation, ExplainError> {
    let mut explained = MetricExplanation {
        source: metric.type_.clone(),
        name: name_of(metric).to_owned(),
        value: None,
        target: None,
        ratio: None,
        explanation: None,
        error: None,
    };
    let (metric, target) = match asked::of_metric(client, namespace, spec, metric).await {
        Ok(Some(asked)) => asked,
        Ok(None) => return Ok(explained),
        Err(error @ (AskedError::NoKind { .. } | AskedError::Kind { .. })) => {
            explained.error = Some(error_chain(&error));
            return Ok(explained);
        }
        Err(error) => return Err(error.into()),
    };
    let path = path(namespace, &metric);
    match one(client, &path).await {
        Ok(explanation) => {
            if has_value(&explanation) {
                explained.compare(&values(client, &path).await?, target, status);
            }
            explained.explanation = Some(explanation);
        }
        Err(error @ (ExplainError::Refused { .. } | ExplainError::NotExplained(_))) => {
            explained.error = Some(error.to_string());
        }
        Err(error) => return Err(error),
    }
    Ok(explained)
}

/// The values of the answer that the autoscaler gets.
async fn values(client: &Client, path: &str) -> Result<Vec<f64>, ExplainError> {
    let list: serde_json::Value = client.object(path).await?;
    let items = list["items"].as_array().cloned().unwrap_or_default();
    let values = items.iter().filter_map(|item| Quantity::parse(item["value"].as_str()?).ok());
    Ok(values.map(Quantity::as_f64).collect())
}

impl MetricExplanation {
    /// As the autoscaler compares: the average of the pods; the sum of external values; by replica, if the target is an
    /// average and the values are not those of pods.
    fn compare(&mut self, values: &[f64], target: &MetricTarget, status: &HorizontalPodAutoscalerStatus) {
        let sum: f64 = values.iter().sum();
        let replicas = f64::from(status.current_replicas.unwrap_or_default());
        let number = |quantity: &Option<k8s_openapi::apimachinery::pkg::api::resource::Quantity>| {
            Quantity::parse(&quantity.as_ref()?.0).ok().map(Quantity::as_f64)
        };
        let (value, target) =
            match (self.source.as_str(), number(&target.average_value), number(&target.value)) {
                ("Pods", Some(average), _) => (sum / values.len() as f64, average),
                (_, Some(average), _) => (sum / replicas, average),
                (_, None, Some(target)) => (sum, target),
                (_, None, None) => return,
            };
        self.value = Some(value).filter(|value| value.is_finite());
        self.target = Some(target);
        self.ratio = Some(value / target).filter(|ratio| ratio.is_finite());
    }
}

impl fmt::Display for HpaExplanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let HpaExplanation { cause, hpa, replicas, conditions, metrics } = self;
        let Replicas { current, desired, least, most } = replicas;
        writeln!(f, "{cause}\n")?;
        writeln!(f, "hpa       {hpa}: {current} replicas, wants {desired}, of {least} to {most}")?;
        for Condition { r#type, status, reason, message } in conditions {
            writeln!(f, "condition {type} {status}: {reason}: {message}")?;
        }
        for MetricExplanation { source, name, value, target, ratio, explanation, error } in metrics {
            write!(f, "\nmetric    {name} of {source}: ")?;
            match (value, ratio) {
                (Some(_), Some(ratio)) => {
                    writeln!(f, "value {}, target {}, ratio {ratio:.2}", number(*value), number(*target))?;
                }
                _ if explanation.is_some() || error.is_some() => writeln!(f, "no value")?,
                _ => writeln!(f, "not from this adapter's custom or external metrics")?,
            }
            if let Some(error) = error {
                writeln!(f, "{error}")?;
            }
            if let Some(explanation) = explanation {
                write!(f, "{explanation}")?;
            }
        }
        Ok(())
    }
}

/// Three digits after the point at most.
fn number(value: Option<f64>) -> String {
    value.map_or_else(|| "unknown".to_owned(), |value| ((value * 1000.0).round() / 1000.0).to_string())
}

/// An autoscaler may have any number.
const MOST_METRICS: usize = 50;
