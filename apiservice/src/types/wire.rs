//! Version-neutral objects → what goes over the wire, without copying them.

use serde::ser::SerializeStruct as _;
use serde::{Serialize, Serializer};

use super::{LabelSelector, MetricValue, MetricValueList};
use crate::encode::Object;
use crate::encode::protobuf::{Encode, Message};

/// A version of custom.metrics.k8s.io.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MetricsVersion {
    /// `v1beta1`: `metricName`, `window`, `selector` side by side.
    V1Beta1,
    /// `v1beta2`: name and selector below `metric`, `windowSeconds`.
    V1Beta2,
}

/// An object in the wire form of a version.
#[derive(Debug, Clone, Copy)]
pub struct Wire<'a, T> {
    /// The object.
    pub object: &'a T,
    /// The version asked for.
    pub version: MetricsVersion,
}

impl MetricsVersion {
    /// The version by its name in a path.
    pub fn parse(text: &str) -> Option<MetricsVersion> {
        match text {
            "v1beta1" => Some(MetricsVersion::V1Beta1),
            "v1beta2" => Some(MetricsVersion::V1Beta2),
            _ => None,
        }
    }

    fn api_version(self) -> &'static str {
        match self {
            MetricsVersion::V1Beta1 => "custom.metrics.k8s.io/v1beta1",
            MetricsVersion::V1Beta2 => "custom.metrics.k8s.io/v1beta2",
        }
    }
}

impl Serialize for Wire<'_, MetricValueList> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut list = serializer.serialize_struct("MetricValueList", 4)?;
        list.serialize_field("kind", self.kind())?;
        list.serialize_field("apiVersion", self.api_version())?;
        list.serialize_field("metadata", &ListMeta {})?;
        list.serialize_field("items", &Items { items: &self.object.items, version: self.version })?;
        list.end()
    }
}

impl Object for Wire<'_, MetricValueList> {
    fn api_version(&self) -> &'static str {
        self.version.api_version()
    }

    fn kind(&self) -> &'static str {
        "MetricValueList"
    }
}

impl Encode for Wire<'_, MetricValueList> {
    fn encode(&self, message: &mut Message) {
        message.message(1, &ListMeta {});
        for object in &self.object.items {
            message.message(2, &Wire { object, version: self.version });
        }
    }
}

/// Metadata of a list or a Status: no field of it is ever set, so it is always `{}`.
#[derive(Debug, Serialize)]
pub(crate) struct ListMeta {}

impl Encode for ListMeta {
    fn encode(&self, message: &mut Message) {
        // Link to itself, resource version, where to continue.
        message.string(1, "");
        message.string(2, "");
        message.string(3, "");
    }
}

struct Items<'a> {
    items: &'a [MetricValue],
    version: MetricsVersion,
}

impl Serialize for Items<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.items.iter().map(|object| Wire { object, version: self.version }))
    }
}

impl Serialize for Wire<'_, MetricValue> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let value = self.object;
        let mut item = serializer.serialize_struct("MetricValue", 6)?;
        item.serialize_field("describedObject", &value.described_object)?;
        match self.version {
            MetricsVersion::V1Beta1 => {
                item.serialize_field("metricName", &value.metric_name)?;
                item.serialize_field("timestamp", &value.timestamp)?;
                if let Some(window) = value.window_seconds {
                    item.serialize_field("window", &window)?;
                }
                item.serialize_field("value", &value.value)?;
                item.serialize_field("selector", &value.selector)?;
            }
            MetricsVersion::V1Beta2 => {
                item.serialize_field("metric", &value.identifier())?;
                item.serialize_field("timestamp", &value.timestamp)?;
                if let Some(window) = value.window_seconds {
                    item.serialize_field("windowSeconds", &window)?;
                }
                item.serialize_field("value", &value.value)?;
            }
        }
        item.end()
    }
}

impl Encode for Wire<'_, MetricValue> {
    fn encode(&self, message: &mut Message) {
        let value = self.object;
        message.message(1, &value.described_object);
        match self.version {
            MetricsVersion::V1Beta1 => message.string(2, &value.metric_name),
            MetricsVersion::V1Beta2 => message.message(2, &value.identifier()),
        }
        message.message(3, &value.timestamp);
        if let Some(window) = value.window_seconds {
            message.integer(4, window);
        }
        message.message(5, &value.value);
        if let (MetricsVersion::V1Beta1, Some(selector)) = (self.version, &value.selector) {
            message.message(6, &**selector);
        }
    }
}

impl MetricValue {
    fn identifier(&self) -> MetricIdentifier<'_> {
        MetricIdentifier { name: &self.metric_name, selector: self.selector.as_deref() }
    }
}

#[derive(Serialize)]
struct MetricIdentifier<'a> {
    name: &'a str,
    selector: Option<&'a LabelSelector>,
}

impl Encode for MetricIdentifier<'_> {
    fn encode(&self, message: &mut Message) {
        message.string(1, self.name);
        if let Some(selector) = self.selector {
            message.message(2, selector);
        }
    }
}
