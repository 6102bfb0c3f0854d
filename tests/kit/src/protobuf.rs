//! Kubernetes' protobuf as trees of values, by tables of its fields.

use serde_json::{Map, Value, json};

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

const STATUS: Fields = &[
    (2, "status", Field::Text),
    (3, "message", Field::Text),
    (4, "reason", Field::Text),
    (
        5,
        "details",
        Field::Message(&[
            (1, "name", Field::Text),
            (2, "group", Field::Text),
            (3, "kind", Field::Text),
            (4, "causes", Field::Messages(&[(2, "message", Field::Text)])),
        ]),
    ),
    (6, "code", Field::Number),
];
const GROUP_VERSION: Fields = &[(1, "groupVersion", Field::Text), (2, "version", Field::Text)];
const GROUP: Fields = &[
    (1, "name", Field::Text),
    (2, "versions", Field::Messages(GROUP_VERSION)),
    (3, "preferredVersion", Field::Message(GROUP_VERSION)),
    (
        4,
        "serverAddressByClientCIDRs",
        Field::Messages(&[(1, "clientCIDR", Field::Text), (2, "serverAddress", Field::Text)]),
    ),
];
const RESOURCE_LIST: Fields = &[
    (1, "groupVersion", Field::Text),
    (
        2,
        "resources",
        Field::Messages(&[
            (1, "name", Field::Text),
            (2, "namespaced", Field::Number),
            (3, "kind", Field::Text),
            (4, "verbs", Field::Message(&[(1, "verbs", Field::Texts)])),
        ]),
    ),
];

/// A protobuf body as a tree like that of JSON.
pub fn tree_of(body: &[u8]) -> Value {
    let envelope = body.strip_prefix(b"k8s\0").expect("the magic number");
    let type_meta = tree(nested(envelope, 1), &[(1, "apiVersion", Field::Text), (2, "kind", Field::Text)]);
    let items = |fields| [(2, "items", Field::Messages(fields))];
    let raw = nested(envelope, 2);
    // A list of groups has no version.
    let of_type = |name: &str| type_meta.get(name).and_then(Value::as_str);
    let mut object = match (of_type("apiVersion"), of_type("kind")) {
        (Some("custom.metrics.k8s.io/v1beta1"), _) => with_items(tree(raw, &items(METRIC_VALUE_1))),
        (Some("custom.metrics.k8s.io/v1beta2"), _) => with_items(tree(raw, &items(METRIC_VALUE_2))),
        (_, Some("ExternalMetricValueList")) => with_items(tree(raw, &items(EXTERNAL_VALUE))),
        (_, Some("NodeMetricsList")) => with_items(tree(raw, &items(NODE))),
        (_, Some("PodMetricsList")) => with_items(tree(raw, &items(POD))),
        (_, Some("NodeMetrics")) => tree(raw, NODE),
        (_, Some("PodMetrics")) => tree(raw, POD),
        (_, Some("Status")) => tree(raw, STATUS),
        (_, Some("APIGroupList")) => tree(raw, &[(1, "groups", Field::Messages(GROUP))]),
        (_, Some("APIGroup")) => tree(raw, GROUP),
        (_, Some("APIResourceList")) => tree(raw, RESOURCE_LIST),
        other => panic!("{other:?} is no kind of an answer"),
    };
    object.extend(type_meta);
    Value::Object(object)
}

/// A protobuf list of resources as it would be with its entries in the order of their names.
pub fn resources_by_name(body: &[u8]) -> Vec<u8> {
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
