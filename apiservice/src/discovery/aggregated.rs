//! Aggregated discovery: every group in one document, the form that a kube-apiserver asks for
//! (`docs/contract.md#aggregated-discovery`).
//!
//! A group-version that is missing from it becomes empty in the cluster, so all of ours are in it (D1). A resource
//! never goes without its `responseKind`: old clients panic.

use serde::{Serialize, Serializer};

use crate::encode::Object;
use crate::encode::protobuf::{Encode, Message};
use crate::groups::{GroupDescription, Resource, Resources};
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
    resources: Entries<'a>,
    freshness: &'static str,
}

/// The resources of a group, made one by one while they are written.
struct Entries<'a>(&'a dyn Resources);

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Entry<'a> {
    resource: &'a str,
    response_kind: ResponseKind,
    scope: &'static str,
    singular_resource: &'static str,
    verbs: &'static [&'static str],
    #[serde(skip_serializing_if = "Option::is_none")]
    subresources: Option<Subresources<'a>>,
}

/// The subresources of a resource, likewise.
struct Subresources<'a> {
    of: Resource<'a>,
    resources: &'a dyn Resources,
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

/// The document.
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
                    resources: Entries(&*group.resources),
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

impl<'a> Entries<'a> {
    fn all(&self) -> impl Iterator<Item = Entry<'a>> {
        let resources = self.0;
        resources.resources().map(move |of| {
            // A parent that serves nothing itself: its kind is empty and clients drop it.
            let (kind, verbs): (_, &[_]) = if of.has_subresources { ("", &[]) } else { (of.kind, of.verbs) };
            Entry {
                resource: of.name,
                response_kind: response_kind(kind),
                scope: if of.namespaced { "Namespaced" } else { "Cluster" },
                singular_resource: "",
                verbs,
                subresources: of.has_subresources.then_some(Subresources { of, resources }),
            }
        })
    }
}

impl<'a> Subresources<'a> {
    fn all(&self) -> impl Iterator<Item = Subresource<'a>> {
        let of = self.of;
        let entry = move |subresource| Subresource {
            subresource,
            response_kind: response_kind(of.kind),
            verbs: of.verbs,
        };
        self.resources.subresources(of.name).map(entry)
    }
}

impl Serialize for Entries<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.all())
    }
}

impl Serialize for Subresources<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.all())
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
        message.messages(2, self.resources.all());
        message.string(3, self.freshness);
    }
}

impl Encode for Entry<'_> {
    fn encode(&self, message: &mut Message) {
        message.string(1, self.resource);
        message.message(2, &self.response_kind);
        message.string(3, self.scope);
        message.string(4, self.singular_resource);
        message.strings(5, self.verbs.iter().copied());
        message.messages(8, self.subresources.iter().flat_map(Subresources::all));
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
