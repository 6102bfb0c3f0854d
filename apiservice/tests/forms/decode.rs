//! Recorded bodies become objects: protobuf as a tree of values by a table of its fields, then every tree by its names.

use std::time::Duration;

use apiservice::go_duration;
use apiservice::quantity::{Format, ParseQuantityError, Quantity};
use apiservice::server::Answer;
use apiservice::types::usage::{ContainerMetrics, NodeMetrics, PodMetrics, Usage, UsageMeta};
use apiservice::types::{
    ExternalMetricValue, ExternalMetricValueList, LabelSelector, LabelSelectorRequirement, MetricValue,
    MetricValueList, ObjectReference, Timestamp,
};
use serde_json::{Map, Value, json};

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
            kind: text(&object["kind"]),
            namespace: object["namespace"].as_str().map(str::to_owned),
            name: text(&object["name"]),
            api_version: text(&object["apiVersion"]),
        },
        metric_name: text(if metric.is_null() { &item["metricName"] } else { &metric["name"] }),
        selector: selector.is_object().then(|| label_selector(selector)),
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
        metric_name: text(&item["metricName"]),
        metric_labels: item["metricLabels"].is_object().then(|| labels(&item["metricLabels"])),
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

/// How a field of a message is read.
enum Field {
    Text,
    Number,
    Message(Fields),
    /// Many of them.
    Messages(Fields),
    Texts,
    /// Pairs of texts.
    Labels,
    /// Pairs of a text and a message with one field.
    Quantities,
    /// A message whose first field, a number, is all that counts.
    FirstNumber,
    /// Likewise, a text.
    FirstText,
}

type Fields = &'static [(u32, &'static str, Field)];

const TIME: Field = Field::FirstNumber;
const QUANTITY: Field = Field::FirstText;
const SELECTOR: Fields = &[
    (1, "matchLabels", Field::Labels),
    (
        2,
        "matchExpressions",
        Field::Messages(&[
            (1, "key", Field::Text),
            (2, "operator", Field::Text),
            (3, "values", Field::Texts),
        ]),
    ),
];
const REFERENCE: Fields = &[
    (1, "kind", Field::Text),
    (2, "namespace", Field::Text),
    (3, "name", Field::Text),
    (5, "apiVersion", Field::Text),
];
const METRIC_VALUE_1: Fields = &[
    (1, "describedObject", Field::Message(REFERENCE)),
    (2, "metricName", Field::Text),
    (3, "timestamp", TIME),
    (4, "window", Field::Number),
    (5, "value", QUANTITY),
    (6, "selector", Field::Message(SELECTOR)),
];
const METRIC_VALUE_2: Fields = &[
    (1, "describedObject", Field::Message(REFERENCE)),
    (2, "metric", Field::Message(&[(1, "name", Field::Text), (2, "selector", Field::Message(SELECTOR))])),
    (3, "timestamp", TIME),
    (4, "windowSeconds", Field::Number),
    (5, "value", QUANTITY),
];
const EXTERNAL_VALUE: Fields = &[
    (1, "metricName", Field::Text),
    (2, "metricLabels", Field::Labels),
    (3, "timestamp", TIME),
    (4, "window", Field::Number),
    (5, "value", QUANTITY),
];
const METADATA: Field = Field::Message(&[
    (1, "name", Field::Text),
    (3, "namespace", Field::Text),
    (8, "creationTimestamp", TIME),
    (11, "labels", Field::Labels),
]);
const NODE: Fields = &[
    (1, "metadata", METADATA),
    (2, "timestamp", TIME),
    (3, "window", TIME),
    (4, "usage", Field::Quantities),
];
const POD: Fields = &[
    (1, "metadata", METADATA),
    (2, "timestamp", TIME),
    (3, "window", TIME),
    (4, "containers", Field::Messages(&[(1, "name", Field::Text), (2, "usage", Field::Quantities)])),
];

/// A protobuf body as a tree like that of JSON.
pub(crate) fn protobuf(body: &[u8]) -> Value {
    let envelope = body.strip_prefix(b"k8s\0").expect("the magic number");
    let type_meta = tree(nested(envelope, 1), &[(1, "apiVersion", Field::Text), (2, "kind", Field::Text)]);
    let items = |fields| [(2, "items", Field::Messages(fields))];
    let raw = nested(envelope, 2);
    let mut object = match (type_meta["apiVersion"].as_str(), type_meta["kind"].as_str()) {
        (Some("custom.metrics.k8s.io/v1beta1"), _) => with_items(tree(raw, &items(METRIC_VALUE_1))),
        (Some("custom.metrics.k8s.io/v1beta2"), _) => with_items(tree(raw, &items(METRIC_VALUE_2))),
        (_, Some("ExternalMetricValueList")) => with_items(tree(raw, &items(EXTERNAL_VALUE))),
        (_, Some("NodeMetricsList")) => with_items(tree(raw, &items(NODE))),
        (_, Some("PodMetricsList")) => with_items(tree(raw, &items(POD))),
        (_, Some("NodeMetrics")) => tree(raw, NODE),
        (_, Some("PodMetrics")) => tree(raw, POD),
        other => panic!("{other:?} is no kind of an answer"),
    };
    object.extend(type_meta);
    Value::Object(object)
}

/// A protobuf list of resources as it would be with its entries in the order of their names.
pub(crate) fn resources_by_name(body: &[u8]) -> Vec<u8> {
    let raw = nested(&body[4..], 2);
    let mut entries: Vec<&[u8]> = Vec::new();
    let mut others = Vec::new();
    for (number, value, bytes) in fields(raw) {
        match (number, value) {
            (2, Raw::Bytes(_)) => entries.push(bytes),
            _ => others.extend_from_slice(bytes),
        }
    }
    let name = |entry: &[u8]| match fields(entry).next() {
        Some((_, Raw::Bytes(entry), _)) => nested(entry, 1).to_vec(),
        _ => panic!("an entry without a name"),
    };
    entries.sort_by_key(|entry| name(entry));
    others.extend(entries.concat());
    // As long as before: only the order has changed.
    let start = body.len() - others.len() - END_OF_ENVELOPE;
    let mut body = body.to_vec();
    body[start..start + others.len()].copy_from_slice(&others);
    body
}

/// Two empty fields stand behind the object.
const END_OF_ENVELOPE: usize = 4;

fn with_items(mut list: Map<String, Value>) -> Map<String, Value> {
    list.entry("items").or_insert_with(|| json!([]));
    list
}

fn tree(message: &[u8], names: &[(u32, &'static str, Field)]) -> Map<String, Value> {
    let mut tree = Map::new();
    for (number, value, _) in fields(message) {
        let Some((_, name, field)) = names.iter().find(|(known, ..)| *known == number) else { continue };
        match (field, value) {
            // Absent and empty are one thing in upstream's messages.
            (Field::Text, Raw::Bytes(b"")) => {}
            (Field::Text, Raw::Bytes(bytes)) => set(&mut tree, name, string(bytes)),
            (Field::Number, Raw::Number(number)) => set(&mut tree, name, number as i64),
            (Field::Message(names), Raw::Bytes(bytes)) => set(&mut tree, name, self::tree(bytes, names)),
            (Field::FirstNumber, Raw::Bytes(bytes)) => {
                let first = self::tree(bytes, &[(1, "first", Field::Number)]);
                set(&mut tree, name, first["first"].clone());
            }
            (Field::FirstText, Raw::Bytes(bytes)) => set(&mut tree, name, string(nested(bytes, 1))),
            (Field::Messages(names), Raw::Bytes(bytes)) => {
                push(&mut tree, name, self::tree(bytes, names).into());
            }
            (Field::Texts, Raw::Bytes(bytes)) => push(&mut tree, name, string(bytes).into()),
            (Field::Labels, Raw::Bytes(bytes)) => put(&mut tree, name, bytes, string(nested(bytes, 2))),
            (Field::Quantities, Raw::Bytes(bytes)) => {
                put(&mut tree, name, bytes, string(nested(nested(bytes, 2), 1)));
            }
            (_, value) => panic!("{name} holds {value:?}"),
        }
    }
    tree
}

fn set(tree: &mut Map<String, Value>, name: &str, value: impl Into<Value>) {
    tree.insert(name.to_owned(), value.into());
}

fn push(tree: &mut Map<String, Value>, name: &str, value: Value) {
    tree.entry(name).or_insert_with(|| json!([])).as_array_mut().expect("a list").push(value);
}

/// The first field of an entry is its key.
fn put(tree: &mut Map<String, Value>, name: &str, entry: &[u8], value: String) {
    let map = tree.entry(name).or_insert_with(|| json!({})).as_object_mut().expect("a map");
    map.insert(string(nested(entry, 1)), value.into());
}

fn string(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).expect("text")
}

/// The bytes of a field; it must be there.
fn nested(message: &[u8], number: u32) -> &[u8] {
    fields(message)
        .find_map(|(found, value, _)| match value {
            Raw::Bytes(bytes) if found == number => Some(bytes),
            _ => None,
        })
        .unwrap_or_else(|| panic!("no field {number}"))
}

#[derive(Debug)]
enum Raw<'a> {
    Number(u64),
    Bytes(&'a [u8]),
}

/// Number, value and all bytes of each field.
fn fields(mut message: &[u8]) -> impl Iterator<Item = (u32, Raw<'_>, &[u8])> {
    std::iter::from_fn(move || {
        let start = message;
        let tag = if message.is_empty() { return None } else { varint(&mut message) };
        let number = varint(&mut message);
        let value = match tag & 7 {
            0 => Raw::Number(number),
            2 => {
                let (value, rest) = message.split_at(number as usize);
                message = rest;
                Raw::Bytes(value)
            }
            other => panic!("wire type {other}"),
        };
        Some(((tag >> 3) as u32, value, &start[..start.len() - message.len()]))
    })
}

fn varint(bytes: &mut &[u8]) -> u64 {
    let mut number = 0;
    for shift in (0..).step_by(7) {
        let (byte, rest) = bytes.split_first().expect("a number");
        *bytes = rest;
        number |= u64::from(byte & 0x7f) << shift;
        if *byte < 0x80 {
            break;
        }
    }
    number
}
