//! external.metrics.k8s.io/v1beta1 (`docs/contract.md#external-metrics`).

use std::sync::Arc;

use serde::ser::SerializeStruct as _;
use serde::{Serialize, Serializer};

use super::{ListMeta, Timestamp};
use crate::encode::Object;
use crate::encode::protobuf::{Encode, Message};
use crate::quantity::Quantity;

/// Values of one external metric. An autoscaler adds them up.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct ExternalMetricValueList {
    /// One entry a series, in the order of the source; empty when no series has a value.
    pub items: Vec<ExternalMetricValue>,
}

/// The value of one series.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ExternalMetricValue {
    /// The metric's name.
    pub metric_name: Arc<str>,
    /// The labels of the series, sorted by name, each once; `None`, written as `null`, for a number that never had
    /// labels.
    #[serde(serialize_with = "as_map")]
    pub metric_labels: Option<Vec<(Arc<str>, Arc<str>)>>,
    /// When the sample was taken.
    pub timestamp: Timestamp,
    /// What time the sample spans, in seconds; `None` leaves the field out.
    #[serde(rename = "window", skip_serializing_if = "Option::is_none")]
    pub window_seconds: Option<i64>,
    /// The number.
    pub value: Quantity,
}

impl Serialize for ExternalMetricValueList {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut list = serializer.serialize_struct("ExternalMetricValueList", 4)?;
        list.serialize_field("kind", self.kind())?;
        list.serialize_field("apiVersion", self.api_version())?;
        list.serialize_field("metadata", &ListMeta {})?;
        list.serialize_field("items", &self.items)?;
        list.end()
    }
}

impl Object for ExternalMetricValueList {
    fn api_version(&self) -> &'static str {
        "external.metrics.k8s.io/v1beta1"
    }

    fn kind(&self) -> &'static str {
        "ExternalMetricValueList"
    }
}

impl Encode for ExternalMetricValueList {
    fn encode(&self, message: &mut Message) {
        message.message(1, &ListMeta {});
        message.messages(2, &self.items);
    }
}

impl Encode for ExternalMetricValue {
    fn encode(&self, message: &mut Message) {
        message.string(1, &self.metric_name);
        message.map(2, self.metric_labels.iter().flatten().map(|(name, value)| (name, value)));
        message.message(3, &self.timestamp);
        if let Some(window) = self.window_seconds {
            message.integer(4, window);
        }
        message.message(5, &self.value);
    }
}

#[expect(clippy::ref_option, reason = "the form that serde calls")]
fn as_map<S: Serializer>(
    labels: &Option<Vec<(Arc<str>, Arc<str>)>>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    match labels {
        Some(labels) => serializer.collect_map(labels.iter().map(|(name, value)| (&**name, &**value))),
        None => serializer.serialize_none(),
    }
}
