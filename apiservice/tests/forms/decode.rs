//! Recorded bodies become objects: trees of values by their names.

use std::time::Duration;

use apiservice::go_duration;
use apiservice::quantity::{Format, ParseQuantityError, Quantity};
use apiservice::server::Answer;
use apiservice::types::usage::{ContainerMetrics, NodeMetrics, PodMetrics, Usage, UsageMeta};
use apiservice::types::{
    ExternalMetricValue, ExternalMetricValueList, LabelSelector, LabelSelectorRequirement, MetricValue,
    MetricValueList, ObjectReference, Timestamp,
};
use serde_json::Value;

/// The object of a tree; an error where a number is none that we serve.
pub(crate) fn answer(tree: &Value) -> Result<Answer, ParseQuantityError> {
    let items = || tree["items"].as_array().expect("items").iter();
    Ok(match tree["kind"].as_str().expect("a kind") {
        "MetricValueList" => Answer::MetricValues(MetricValueList {
            items: items().map(metric_value).collect::<Result<_, _>>()?,
        }),
        "ExternalMetricValueList" => Answer::ExternalMetricValues(ExternalMetricValueList {
            items: items().map(external_value).collect::<Result<_, _>>()?,
        }),
        "NodeMetrics" => Answer::Node(node(tree)?),
        "NodeMetricsList" => Answer::Nodes(items().map(node).collect::<Result<_, _>>()?),
        "PodMetrics" => Answer::Pod(pod(tree)?),
        "PodMetricsList" => Answer::Pods(items().map(pod).collect::<Result<_, _>>()?),
        other => panic!("{other} is no kind of an answer"),
    })
}

fn metric_value(item: &Value) -> Result<MetricValue, ParseQuantityError> {
    let object = &item["describedObject"];
    let metric = &item["metric"];
    let selector = if metric.is_null() { &item["selector"] } else { &metric["selector"] };
    let window = if metric.is_null() { &item["window"] } else { &item["windowSeconds"] };
    Ok(MetricValue {
        described_object: ObjectReference {
            kind: text(&object["kind"]).into(),
            namespace: object["namespace"].as_str().map(Into::into),
            name: text(&object["name"]).into(),
            api_version: text(&object["apiVersion"]).into(),
        },
        metric_name: text(if metric.is_null() { &item["metricName"] } else { &metric["name"] }).into(),
        selector: selector.is_object().then(|| label_selector(selector).into()),
        timestamp: timestamp(&item["timestamp"]),
        window_seconds: window.as_i64(),
        value: Quantity::parse(&text(&item["value"]))?,
    })
}

fn label_selector(selector: &Value) -> LabelSelector {
    let requirement = |requirement: &Value| LabelSelectorRequirement {
        key: text(&requirement["key"]),
        operator: match requirement["operator"].as_str() {
            Some("In") => "In",
            Some("NotIn") => "NotIn",
            Some("Exists") => "Exists",
            _ => "DoesNotExist",
        },
        values: requirement["values"].as_array().into_iter().flatten().map(text).collect(),
    };
    LabelSelector {
        match_labels: labels(&selector["matchLabels"]),
        match_expressions: selector["matchExpressions"]
            .as_array()
            .into_iter()
            .flatten()
            .map(requirement)
            .collect(),
    }
}

fn external_value(item: &Value) -> Result<ExternalMetricValue, ParseQuantityError> {
    Ok(ExternalMetricValue {
        metric_name: text(&item["metricName"]).into(),
        metric_labels: item["metricLabels"].is_object().then(|| {
            let labels = labels(&item["metricLabels"]).into_iter();
            labels.map(|(name, value)| (name.into(), value.into())).collect()
        }),
        timestamp: timestamp(&item["timestamp"]),
        window_seconds: item["window"].as_i64(),
        value: Quantity::parse(&text(&item["value"]))?,
    })
}

fn node(item: &Value) -> Result<NodeMetrics, ParseQuantityError> {
    Ok(NodeMetrics {
        metadata: metadata(&item["metadata"]),
        timestamp: timestamp(&item["timestamp"]),
        window: window(&item["window"]),
        usage: usage(&item["usage"])?,
    })
}

fn pod(item: &Value) -> Result<PodMetrics, ParseQuantityError> {
    let container = |container: &Value| {
        Ok(ContainerMetrics { name: text(&container["name"]), usage: usage(&container["usage"])? })
    };
    Ok(PodMetrics {
        metadata: metadata(&item["metadata"]),
        timestamp: timestamp(&item["timestamp"]),
        window: window(&item["window"]),
        containers: item["containers"]
            .as_array()
            .expect("containers")
            .iter()
            .map(container)
            .collect::<Result<_, _>>()?,
    })
}

fn metadata(metadata: &Value) -> UsageMeta {
    UsageMeta {
        name: text(&metadata["name"]),
        namespace: metadata["namespace"].as_str().map(str::to_owned),
        creation_timestamp: timestamp(&metadata["creationTimestamp"]),
        labels: labels(&metadata["labels"]),
    }
}

fn usage(usage: &Value) -> Result<Usage, ParseQuantityError> {
    Ok(Usage {
        cpu: Quantity::parse(&text(&usage["cpu"]))?,
        memory: Quantity::parse(&text(&usage["memory"]))?.with_format(Format::BinarySi),
    })
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

fn labels(value: &Value) -> std::collections::BTreeMap<String, String> {
    value.as_object().into_iter().flatten().map(|(name, value)| (name.clone(), text(value))).collect()
}

/// Text in JSON and YAML, seconds in protobuf.
fn timestamp(value: &Value) -> Timestamp {
    let seconds = value.as_i64().unwrap_or_else(|| {
        let time: jiff::Timestamp = value.as_str().expect("a time").parse().expect("a time");
        time.as_second()
    });
    Timestamp::from_unix_ms(seconds * 1000)
}

/// Text in JSON and YAML, nanoseconds in protobuf.
fn window(value: &Value) -> Duration {
    match value.as_u64() {
        Some(nanoseconds) => Duration::from_nanos(nanoseconds),
        None => go_duration::parse(&text(value)).expect("a duration"),
    }
}

/// The objects whose metadata a table holds, as far as the table tells of them: a pod has one container.
pub(crate) fn table(tree: &Value) -> Answer {
    let quantity = |cell: &Value| Quantity::parse(&text(cell)).expect("a quantity");
    let rows: Vec<(UsageMeta, Usage, Duration)> = tree["rows"]
        .as_array()
        .expect("rows")
        .iter()
        .map(|row| {
            let cells = &row["cells"];
            let memory = quantity(&cells[2]).with_format(Format::BinarySi);
            let usage = Usage { cpu: quantity(&cells[1]), memory };
            (metadata(&row["object"]["metadata"]), usage, window(&cells[3]))
        })
        .collect();
    from_parts(rows)
}

/// Objects with the metadata of a list of metadata.
pub(crate) fn partial(tree: &Value) -> Answer {
    let nothing = Usage { cpu: Quantity::from_milli(0), memory: Quantity::from_milli(0) };
    let items = tree["items"].as_array().expect("items").iter();
    from_parts(items.map(|item| (metadata(&item["metadata"]), nothing, Duration::ZERO)).collect())
}

fn from_parts(parts: Vec<(UsageMeta, Usage, Duration)>) -> Answer {
    let timestamp = Timestamp::from_unix_ms(0);
    if parts.iter().all(|(metadata, ..)| metadata.namespace.is_none()) {
        return Answer::Nodes(
            parts
                .into_iter()
                .map(|(metadata, usage, window)| NodeMetrics { metadata, timestamp, window, usage })
                .collect(),
        );
    }
    let pod = |(metadata, usage, window)| PodMetrics {
        metadata,
        timestamp,
        window,
        containers: vec![ContainerMetrics { name: "all".to_owned(), usage }],
    };
    Answer::Pods(parts.into_iter().map(pod).collect())
}
