//! What is read of an object's metadata. `managedFields`, annotations and owners, most of its text, are skipped without
//! being kept.

use std::collections::BTreeMap;

use serde::Deserialize;

/// An object, of which only metadata was asked for.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Named {
    #[serde(default)]
    pub(super) metadata: Metadata,
}

/// The part of an object's metadata that is used.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Metadata {
    pub(super) name: String,
    /// Empty for cluster-scoped objects.
    pub(super) namespace: String,
    labels: Option<BTreeMap<String, String>>,
    pub(super) resource_version: String,
}

impl Metadata {
    pub(super) fn labels(&self) -> &BTreeMap<String, String> {
        const NONE: &BTreeMap<String, String> = &BTreeMap::new();
        self.labels.as_ref().unwrap_or(NONE)
    }
}

/// The metadata of a list.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct ListMetadata {
    /// Empty where the server keeps none.
    pub(super) resource_version: String,
    /// Of the next page; empty on the last one.
    #[serde(rename = "continue")]
    pub(super) next: String,
}
