//! metrics.k8s.io/v1beta1: what nodes and containers use (`docs/contract.md#resource-metrics`).

use std::collections::BTreeMap;
use std::time::Duration;

use serde::ser::{SerializeMap as _, SerializeStruct as _};
use serde::{Serialize, Serializer};

use super::{ListMeta, Timestamp};
use crate::encode::Object;
use crate::encode::protobuf::{Encode, Message};
use crate::go_duration;
use crate::quantity::{Format, Quantity};

/// Whose use it is. `creationTimestamp` is the time of the answer, as upstream's.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct UsageMeta {
    /// The object's name.
    pub name: String,
    /// `None` for nodes: the field is left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// When the answer was made.
    pub creation_timestamp: Timestamp,
    /// The object's labels.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
}

/// CPU in cores, written with decimal suffixes, and memory in bytes, written with binary ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Usage {
    /// Cores.
    pub cpu: Quantity,
    /// Bytes.
    pub memory: Quantity,
}

/// What one node uses.
#[derive(Debug, Clone, PartialEq)]
pub struct NodeMetrics {
    /// The node.
    pub metadata: UsageMeta,
    /// When the oldest of the samples was taken.
    pub timestamp: Timestamp,
    /// What time the samples span.
    pub window: Duration,
    /// What it uses.
    pub usage: Usage,
}

/// What the containers of one pod use.
#[derive(Debug, Clone, PartialEq)]
pub struct PodMetrics {
    /// The pod.
    pub metadata: UsageMeta,
    /// When the oldest of the samples was taken.
    pub timestamp: Timestamp,
    /// What time the samples span.
    pub window: Duration,
    /// Sorted by name (D12).
    pub containers: Vec<ContainerMetrics>,
}

/// What one container uses.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ContainerMetrics {
    /// The container's name.
    pub name: String,
    /// What it uses.
    pub usage: Usage,
}

/// An object that can stand alone, with its kind, or in a list, without.
pub trait UsageObject: Serialize + Encode {
    /// `NodeMetrics` or `PodMetrics`.
    const KIND: &'static str;
    /// The kind of a list of them.
    const LIST_KIND: &'static str;

    /// Whose use it is.
    fn metadata(&self) -> &UsageMeta;

    /// What time the samples span.
    fn window(&self) -> Duration;

    /// The use as one pair of numbers: the sum of a pod's containers.
    fn total(&self) -> Usage;
}

impl UsageObject for NodeMetrics {
    const KIND: &'static str = "NodeMetrics";
    const LIST_KIND: &'static str = "NodeMetricsList";

    fn metadata(&self) -> &UsageMeta {
        &self.metadata
    }

    fn window(&self) -> Duration {
        self.window
    }

    fn total(&self) -> Usage {
        self.usage
    }
}

impl UsageObject for PodMetrics {
    const KIND: &'static str = "PodMetrics";
    const LIST_KIND: &'static str = "PodMetricsList";

    fn metadata(&self) -> &UsageMeta {
        &self.metadata
    }

    fn window(&self) -> Duration {
        self.window
    }

    fn total(&self) -> Usage {
        let sum = |of: fn(&Usage) -> Quantity| {
            let milli = self.containers.iter().map(|container| of(&container.usage).milli());
            Quantity::from_milli(milli.fold(0, i64::saturating_add))
        };
        Usage { cpu: sum(|usage| usage.cpu), memory: sum(|usage| usage.memory).with_format(Format::BinarySi) }
    }
}

/// One object as the whole answer.
#[derive(Debug)]
pub struct Single<'a, T>(pub &'a T);

/// Objects as a list.
#[derive(Debug)]
pub struct List<'a, T>(pub &'a [T]);

const API_VERSION: &str = "metrics.k8s.io/v1beta1";

impl<T: UsageObject> Serialize for Single<'_, T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        #[serde(rename_all = "camelCase")]
        struct Typed<'a, T> {
            kind: &'static str,
            api_version: &'static str,
            #[serde(flatten)]
            object: &'a T,
        }
        Typed { kind: T::KIND, api_version: API_VERSION, object: self.0 }.serialize(serializer)
    }
}

impl<T: UsageObject> Object for Single<'_, T> {
    fn api_version(&self) -> &'static str {
        API_VERSION
    }

    fn kind(&self) -> &'static str {
        T::KIND
    }
}

impl<T: UsageObject> Encode for Single<'_, T> {
    fn encode(&self, message: &mut Message) {
        self.0.encode(message);
    }
}

impl<T: UsageObject> Serialize for List<'_, T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut list = serializer.serialize_struct("List", 4)?;
        list.serialize_field("kind", T::LIST_KIND)?;
        list.serialize_field("apiVersion", API_VERSION)?;
        list.serialize_field("metadata", &ListMeta {})?;
        list.serialize_field("items", self.0)?;
        list.end()
    }
}

impl<T: UsageObject> Object for List<'_, T> {
    fn api_version(&self) -> &'static str {
        API_VERSION
    }

    fn kind(&self) -> &'static str {
        T::LIST_KIND
    }
}

impl<T: UsageObject> Encode for List<'_, T> {
    fn encode(&self, message: &mut Message) {
        message.message(1, &ListMeta {});
        message.messages(2, self.0);
    }
}

// Written by hand: a window is text in Go's form, and a flattened derive would lose the order of the fields.
impl Serialize for NodeMetrics {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("metadata", &self.metadata)?;
        map.serialize_entry("timestamp", &self.timestamp)?;
        map.serialize_entry("window", &go_duration::format(self.window))?;
        map.serialize_entry("usage", &self.usage)?;
        map.end()
    }
}

impl Serialize for PodMetrics {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("metadata", &self.metadata)?;
        map.serialize_entry("timestamp", &self.timestamp)?;
        map.serialize_entry("window", &go_duration::format(self.window))?;
        map.serialize_entry("containers", &self.containers)?;
        map.end()
    }
}

impl Encode for NodeMetrics {
    fn encode(&self, message: &mut Message) {
        message.message(1, &self.metadata);
        message.message(2, &self.timestamp);
        encode_window(message, self.window);
        self.usage.encode_as(message, 4);
    }
}

impl Encode for PodMetrics {
    fn encode(&self, message: &mut Message) {
        message.message(1, &self.metadata);
        message.message(2, &self.timestamp);
        encode_window(message, self.window);
        message.messages(4, &self.containers);
    }
}

impl Encode for ContainerMetrics {
    fn encode(&self, message: &mut Message) {
        message.string(1, &self.name);
        self.usage.encode_as(message, 2);
    }
}

impl Usage {
    /// A map from a resource's name to its quantity.
    fn encode_as(&self, message: &mut Message, field: u32) {
        for (name, quantity) in [("cpu", &self.cpu), ("memory", &self.memory)] {
            message.nested(field, |entry| {
                entry.string(1, name);
                entry.message(2, quantity);
            });
        }
    }
}

fn encode_window(message: &mut Message, window: Duration) {
    // A window is minutes; one beyond the 292 years that fit is none.
    let nanoseconds = i64::try_from(window.as_nanos()).unwrap_or(i64::MAX);
    message.nested(3, |duration| duration.integer(1, nanoseconds));
}

impl Encode for UsageMeta {
    fn encode(&self, message: &mut Message) {
        encode_object_meta(
            message,
            &self.name,
            self.namespace.as_deref().unwrap_or_default(),
            Some(self.creation_timestamp),
        );
        message.map(11, &self.labels);
    }
}

/// The fields of an `ObjectMeta` that are always written.
pub(crate) fn encode_object_meta(
    message: &mut Message,
    name: &str,
    namespace: &str,
    creation_timestamp: Option<Timestamp>,
) {
    message.string(1, name);
    // Name that a generated one starts with.
    message.string(2, "");
    message.string(3, namespace);
    // Link to itself, UID, resource version, generation.
    message.string(4, "");
    message.string(5, "");
    message.string(6, "");
    message.integer(7, 0);
    message.nested(8, |time| {
        if let Some(timestamp) = creation_timestamp {
            timestamp.encode(time);
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    fn usage(cpu: i64, memory: i64) -> Usage {
        Usage {
            cpu: Quantity::from_milli(cpu),
            memory: Quantity::from_milli(memory).with_format(Format::BinarySi),
        }
    }

    #[test]
    fn as_the_contract_shows_them() {
        let at = Timestamp::from_unix_ms(1_795_461_565_000);
        let metadata = UsageMeta {
            name: "web-1".to_owned(),
            namespace: Some("default".to_owned()),
            creation_timestamp: at,
            labels: [("app".to_owned(), "web".to_owned())].into(),
        };
        let containers =
            vec![ContainerMetrics { name: "main".to_owned(), usage: usage(12, 123_456_789_000) }];
        let pod = PodMetrics { metadata, timestamp: at, window: Duration::from_mins(5), containers };
        assert_eq!(
            serde_json::to_string(&List(std::slice::from_ref(&pod))).expect("JSON"),
            r#"{"kind":"PodMetricsList","apiVersion":"metrics.k8s.io/v1beta1","metadata":{},"items":[{"metadata":{"name":"web-1","namespace":"default","creationTimestamp":"2026-11-23T19:19:25Z","labels":{"app":"web"}},"timestamp":"2026-11-23T19:19:25Z","window":"5m0s","containers":[{"name":"main","usage":{"cpu":"12m","memory":"123456789"}}]}]}"#
        );
        let metadata = UsageMeta {
            name: "n1".to_owned(),
            namespace: None,
            creation_timestamp: at,
            labels: BTreeMap::new(),
        };
        let node = NodeMetrics {
            metadata,
            timestamp: at,
            window: Duration::ZERO,
            usage: usage(1234, 1_048_576_000),
        };
        assert_eq!(
            serde_json::to_string(&Single(&node)).expect("JSON"),
            r#"{"kind":"NodeMetrics","apiVersion":"metrics.k8s.io/v1beta1","metadata":{"name":"n1","creationTimestamp":"2026-11-23T19:19:25Z"},"timestamp":"2026-11-23T19:19:25Z","window":"0s","usage":{"cpu":"1234m","memory":"1Mi"}}"#
        );
    }
}
