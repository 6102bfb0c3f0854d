//! Objects of the metrics APIs, version-neutral, and their wire forms.
//!
//! Field order and presence are those of upstream's generated types (`k8s.io/metrics/pkg/apis`), see
//! `docs/contract.md#custom-metrics-values`; the numbers of protobuf's fields are in `docs/contract.md#protobuf`. Each
//! type says both, JSON as its [`Serialize`] and protobuf as its [`Encode`]; one that can be a whole answer is an
//! [`crate::encode::Object`] too.

pub mod table;
pub mod usage;

mod external;
mod wire;

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Serialize, Serializer};

use crate::encode::protobuf::{Encode, Message};
use crate::quantity::Quantity;
pub use external::{ExternalMetricValue, ExternalMetricValueList};
pub(crate) use wire::ListMeta;
pub use wire::{MetricsVersion, Wire};

/// Values of one custom metric. The version that was asked for picks the wire form.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct MetricValueList {
    /// One entry an object; exactly one when an object was asked for by name.
    pub items: Vec<MetricValue>,
}

/// The value of a metric for one object. What all values of a list have in common they share.
#[derive(Debug, Clone, PartialEq)]
pub struct MetricValue {
    /// The object.
    pub described_object: ObjectReference,
    /// The metric's name.
    pub metric_name: Arc<str>,
    /// The metric selector of the request; `None` is written as `null`.
    pub selector: Option<Arc<LabelSelector>>,
    /// When the sample was taken.
    pub timestamp: Timestamp,
    /// What time the sample spans, in seconds; `None` leaves the field out.
    pub window_seconds: Option<i64>,
    /// The number.
    pub value: Quantity,
}

/// Which object a value is about.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ObjectReference {
    /// `Pod`, `Deployment`.
    pub kind: Arc<str>,
    /// `None` for cluster-scoped objects: the field is left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub namespace: Option<Arc<str>>,
    /// The object's name.
    pub name: Arc<str>,
    /// `v1`, `apps/v1`.
    pub api_version: Arc<str>,
}

/// A label selector as an object, the form in which an answer repeats the selector of a request.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct LabelSelector {
    /// Labels that must have exactly this value.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub match_labels: BTreeMap<String, String>,
    /// Further requirements.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub match_expressions: Vec<LabelSelectorRequirement>,
}

/// One requirement of a [`LabelSelector`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LabelSelectorRequirement {
    /// The label.
    pub key: String,
    /// `In`, `NotIn`, `Exists` or `DoesNotExist`.
    pub operator: &'static str,
    /// Empty for the operators that compare with nothing.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub values: Vec<String>,
}

/// A time in whole seconds, written as RFC 3339 in UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Timestamp {
    seconds: i64,
}

impl Timestamp {
    /// The second in which a time in milliseconds since the epoch lies.
    pub fn from_unix_ms(milliseconds: i64) -> Timestamp {
        Timestamp { seconds: milliseconds.div_euclid(1000) }
    }

    /// Seconds since the epoch.
    pub fn unix_seconds(self) -> i64 {
        self.seconds
    }
}

impl std::fmt::Display for Timestamp {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Beyond jiff's range (year 9999) there is no RFC 3339 text; such a time is not a sample's.
        let time = jiff::Timestamp::from_second(self.seconds).unwrap_or(jiff::Timestamp::MAX);
        write!(f, "{time:.0}")
    }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl Encode for Timestamp {
    fn encode(&self, message: &mut Message) {
        message.integer(1, self.seconds);
        // Parts of a second: there are none.
        message.integer(2, 0);
    }
}

impl Encode for Quantity {
    fn encode(&self, message: &mut Message) {
        message.display(1, self);
    }
}

impl Encode for ObjectReference {
    fn encode(&self, message: &mut Message) {
        message.string(1, &self.kind);
        message.string(2, self.namespace.as_deref().unwrap_or_default());
        message.string(3, &self.name);
        // The object's UID.
        message.string(4, "");
        message.string(5, &self.api_version);
        // Its resource version, and a part of it.
        message.string(6, "");
        message.string(7, "");
    }
}

impl Encode for LabelSelector {
    fn encode(&self, message: &mut Message) {
        message.map(1, &self.match_labels);
        message.messages(2, &self.match_expressions);
    }
}

impl Encode for LabelSelectorRequirement {
    fn encode(&self, message: &mut Message) {
        message.string(1, &self.key);
        message.string(2, self.operator);
        message.strings(3, self.values.iter().map(String::as_str));
    }
}
