//! What a correction of an answer may look at.

use std::collections::HashMap;

use crate::exchange::{Exchange, Sample, View};
use crate::json::Json;
use crate::normal::{Normal, identity};

/// Where an answer is corrected, and what a correction may look at.
pub(crate) struct Context<'a> {
    pub(crate) exchange: &'a Exchange,
    pub(crate) ours: &'a Normal,
    pub(crate) segments: Vec<String>,
}

impl Context<'_> {
    pub(crate) fn by_meaning(&self) -> bool {
        self.exchange.view == View::Meaning
    }

    /// Our items by what they are about.
    pub(crate) fn our_items(&self) -> HashMap<String, &Json> {
        by_identity(self.ours.json().and_then(|json| json.get("items")).map_or(&[][..], Json::entries))
    }

    pub(crate) fn group(&self) -> &str {
        if self.segments.first().is_some_and(|first| first == "apis") {
            self.segments.get(1).map_or("", String::as_str)
        } else {
            ""
        }
    }

    /// `/apis`, a group, a group-version.
    pub(crate) fn is_discovery(&self) -> bool {
        self.segments.first().is_some_and(|first| first == "apis") && self.segments.len() <= 3
    }

    /// The segments behind the version.
    pub(crate) fn rest(&self) -> Vec<&str> {
        self.segments.iter().skip(3).map(String::as_str).collect()
    }

    /// Metric and resource of a custom metric.
    pub(crate) fn custom(&self) -> Option<(&str, &str)> {
        match self.rest()[..] {
            _ if self.group() != CUSTOM => None,
            ["namespaces", _, "metrics", metric] => Some((metric, "namespaces")),
            ["namespaces", _, resource, _, metric] | [resource, _, metric] => Some((metric, resource)),
            _ => None,
        }
    }

    /// Namespace and metric of an external metric.
    pub(crate) fn external(&self) -> Option<(&str, &str)> {
        match self.rest()[..] {
            ["namespaces", namespace, metric] if self.group() == EXTERNAL => Some((namespace, metric)),
            _ => None,
        }
    }

    /// The selector that picks series.
    pub(crate) fn series_selector(&self) -> String {
        let parameter = if self.group() == EXTERNAL { "labelSelector" } else { "metricLabelSelector" };
        self.exchange.request.parameter(parameter).unwrap_or_default()
    }

    pub(crate) fn our_message(&self) -> &str {
        self.ours.message().unwrap_or_default()
    }

    /// The last sample that one of whose labels has a value: the last is the one that counts.
    pub(crate) fn sample_of(&self, name: &str) -> Option<&Sample> {
        let samples = self.exchange.ours.samples.iter().rev();
        samples.into_iter().find(|sample| sample.labels.values().any(|value| value == name))
    }

    pub(crate) fn sample_with(&self, labels: &Json) -> Option<&Sample> {
        let none = Vec::new();
        let fields = match labels {
            Json::Object(fields) => fields,
            // A scalar.
            _ => &none,
        };
        self.exchange.ours.samples.iter().find(|sample| {
            sample.labels.len() == fields.len()
                && fields
                    .iter()
                    .all(|(name, value)| sample.labels.get(name).map(String::as_str) == value.as_text())
        })
    }
}

/// Entries of a list by what they are about.
pub(crate) fn by_identity(entries: &[Json]) -> HashMap<String, &Json> {
    entries.iter().filter_map(|entry| Some((identity(entry)?, entry))).collect()
}

/// Whether PromQL takes a name without quotes.
pub(crate) fn is_plain(name: &str) -> bool {
    name.chars().all(|letter| letter.is_ascii_alphanumeric() || letter == '_' || letter == ':')
}

pub(crate) const CUSTOM: &str = "custom.metrics.k8s.io";

pub(crate) const EXTERNAL: &str = "external.metrics.k8s.io";

pub(crate) const USAGE: &str = "metrics.k8s.io";
