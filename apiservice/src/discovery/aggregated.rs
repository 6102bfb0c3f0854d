//! Aggregated discovery: every group in one document, the form that a kube-apiserver asks for
//! (`docs/contract.md#aggregated-discovery`).
//!
//! A group-version that is missing from it becomes empty in the cluster, so all of ours are in it (D1). A resource
//! never goes without its `responseKind`: old clients panic.

use serde::Serialize;

use crate::encode::Object;
use crate::encode::protobuf::{Encode, Message};
use crate::groups::{GroupDescription, ResourceEntry};
use crate::media_type::Form;
use crate::types::ListMeta;
use crate::types::usage::encode_object_meta;

/// A version of `apidiscovery.k8s.io`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AggregatedVersion {
    /// `v2`, Kubernetes 1.30 and later.
    V2 = 0,
    /// `v2beta1`, Kubernetes 1.26 to 1.29.
    V2Beta1 = 1,
}

impl AggregatedVersion {
    pub(super) const ALL: [AggregatedVersion; 2] = [AggregatedVersion::V2, AggregatedVersion::V2Beta1];

    fn api_version(self) -> &'static str {
        match self {
            AggregatedVersion::V2 => "apidiscovery.k8s.io/v2",
            AggregatedVersion::V2Beta1 => "apidiscovery.k8s.io/v2beta1",
        }
    }

    /// What a client asks for as `as=`.
    pub(crate) const KIND: &'static str = "APIGroupDiscoveryList";

    /// The version by its group and name.
    pub(crate) fn named(group: &str, version: &str) -> Option<AggregatedVersion> {
        let asked = |found: &AggregatedVersion| found.api_version().split_once('/') == Some((group, version));
        AggregatedVersion::ALL.into_iter().find(asked)
    }

    /// The media type that the document is sent as in a form, in the order of parameters that clients compare with.
    pub fn media_type(self, form: Form) -> String {
        let (group, version) = self.api_version().split_once('/').unwrap_or_default();
        format!("{};g={group};v={version};as={}", form.media_type(), AggregatedVersion::KIND)
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct GroupList<'a> {
    kind: &'static str,
    api_version: &'static str,
    metadata: ListMeta,
    items: Vec<Group<'a>>,
}

#[derive(Serialize)]
struct Group<'a> {
    metadata: Name<'a>,
    versions: Vec<Version<'a>>,
}

#[derive(Serialize)]
struct Name<'a> {
    name: &'a str,
}

#[derive(Serialize)]
struct Version<'a> {
    version: &'a str,
    resources: Vec<Resource<'a>>,
    freshness: &'static str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Resource<'a> {
    resource: &'a str,
    response_kind: ResponseKind,
    scope: &'static str,
    singular_resource: &'static str,
    verbs: &'static [&'static str],
    #[serde(skip_serializing_if = "Vec::is_empty")]
    subresources: Vec<Subresource<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Subresource<'a> {
    subresource: &'a str,
    response_kind: ResponseKind,
    verbs: &'static [&'static str],
}

#[derive(Serialize)]
struct ResponseKind {
    group: &'static str,
    version: &'static str,
    kind: &'static str,
}

/// The document. Resources must be sorted by name, so that the entries of one parent stand together.
pub(super) fn list(groups: &[GroupDescription], version: AggregatedVersion) -> GroupList<'_> {
    let items = groups
        .iter()
        .map(|group| Group {
            metadata: Name { name: &group.name },
            versions: group
                .versions
                .iter()
                .map(|version| Version {
                    version,
                    resources: resources(&group.resources),
                    freshness: "Current",
                })
                .collect(),
        })
        .collect();
    GroupList {
        kind: AggregatedVersion::KIND,
        api_version: version.api_version(),
        metadata: ListMeta {},
        items,
    }
}

fn resources(entries: &[ResourceEntry]) -> Vec<Resource<'_>> {
    let mut resources: Vec<Resource<'_>> = Vec::new();
    for entry in entries {
        let Some((parent, metric)) = entry.name.split_once('/') else {
            resources.push(resource(&entry.name, entry, entry.kind, entry.verbs));
            continue;
        };
        if resources.last().is_none_or(|last| last.resource != parent) {
            // A parent that serves nothing itself: its kind is empty and clients drop it.
            resources.push(resource(parent, entry, "", &[]));
        }
        if let Some(last) = resources.last_mut() {
            last.subresources.push(Subresource {
                subresource: metric,
                response_kind: response_kind(entry.kind),
                verbs: entry.verbs,
            });
        }
    }
    resources
}

fn resource<'a>(
    name: &'a str,
    entry: &ResourceEntry,
    kind: &'static str,
    verbs: &'static [&'static str],
) -> Resource<'a> {
    Resource {
        resource: name,
        response_kind: response_kind(kind),
        scope: if entry.namespaced { "Namespaced" } else { "Cluster" },
        singular_resource: "",
        verbs,
        subresources: Vec::new(),
    }
}

fn response_kind(kind: &'static str) -> ResponseKind {
    ResponseKind { group: "", version: "", kind }
}

impl Object for GroupList<'_> {
    fn api_version(&self) -> &'static str {
        self.api_version
    }

    fn kind(&self) -> &'static str {
        self.kind
    }
}

impl Encode for GroupList<'_> {
    fn encode(&self, message: &mut Message) {
        message.message(1, &self.metadata);
        message.messages(2, &self.items);
    }
}

impl Encode for Group<'_> {
    fn encode(&self, message: &mut Message) {
        message.nested(1, |metadata| encode_object_meta(metadata, self.metadata.name, "", None));
        message.messages(2, &self.versions);
    }
}

impl Encode for Version<'_> {
    fn encode(&self, message: &mut Message) {
        message.string(1, self.version);
        message.messages(2, &self.resources);
        message.string(3, self.freshness);
    }
}

impl Encode for Resource<'_> {
    fn encode(&self, message: &mut Message) {
        message.string(1, self.resource);
        message.message(2, &self.response_kind);
        message.string(3, self.scope);
        message.string(4, self.singular_resource);
        message.strings(5, self.verbs.iter().copied());
        message.messages(8, &self.subresources);
    }
}

impl Encode for Subresource<'_> {
    fn encode(&self, message: &mut Message) {
        message.string(1, self.subresource);
        message.message(2, &self.response_kind);
        message.strings(4, self.verbs.iter().copied());
    }
}

impl Encode for ResponseKind {
    fn encode(&self, message: &mut Message) {
        message.string(1, self.group);
        message.string(2, self.version);
        message.string(3, self.kind);
    }
}
