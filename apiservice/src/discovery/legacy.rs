//! Discovery as it was before the aggregated form: a list of groups, a group, a list of resources
//! (`docs/contract.md#legacy-discovery`).

use std::borrow::Cow;

use serde::{Serialize, Serializer};

use crate::encode::Object;
use crate::encode::protobuf::{Encode, Message};
use crate::groups::{GroupDescription, Resource, Resources};

/// Upstream leaves `apiVersion` out of this one, and clients know it so.
#[derive(Serialize)]
pub(super) struct ApiGroupList<'a> {
    kind: &'static str,
    groups: Vec<ApiGroup<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ApiGroup<'a> {
    name: &'a str,
    versions: Vec<GroupVersion<'a>>,
    preferred_version: Option<GroupVersion<'a>>,
    #[serde(rename = "serverAddressByClientCIDRs", skip_serializing_if = "<[_]>::is_empty")]
    server_addresses: &'a [ServerAddress],
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct TypedGroup<'a> {
    kind: &'static str,
    api_version: &'static str,
    #[serde(flatten)]
    group: ApiGroup<'a>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct GroupVersion<'a> {
    group_version: String,
    version: &'a str,
}

#[derive(Serialize)]
pub(super) struct ServerAddress {
    #[serde(rename = "clientCIDR")]
    client_cidr: &'static str,
    #[serde(rename = "serverAddress")]
    server_address: String,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ApiResourceList<'a> {
    kind: &'static str,
    api_version: &'static str,
    group_version: String,
    resources: ApiResources<'a>,
}

/// The entries of a group, made one by one while they are written.
struct ApiResources<'a>(&'a dyn Resources);

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ApiResource<'a> {
    name: Cow<'a, str>,
    singular_name: &'static str,
    namespaced: bool,
    kind: &'static str,
    verbs: &'static [&'static str],
}

impl<'a> ApiGroup<'a> {
    pub(super) fn of(group: &'a GroupDescription, server_addresses: &'a [ServerAddress]) -> ApiGroup<'a> {
        let version = |version: &'a String| GroupVersion {
            group_version: format!("{}/{version}", group.name),
            version,
        };
        ApiGroup {
            name: &group.name,
            versions: group.versions.iter().map(version).collect(),
            preferred_version: group.versions.first().map(version),
            server_addresses,
        }
    }
}

impl<'a> TypedGroup<'a> {
    pub(super) fn of(group: &'a GroupDescription) -> TypedGroup<'a> {
        TypedGroup { kind: "APIGroup", api_version: "v1", group: ApiGroup::of(group, &[]) }
    }
}

impl<'a> ApiResourceList<'a> {
    pub(super) fn of(group: &'a GroupDescription, version: &str) -> ApiResourceList<'a> {
        ApiResourceList {
            kind: "APIResourceList",
            api_version: "v1",
            group_version: format!("{}/{version}", group.name),
            resources: ApiResources(&*group.resources),
        }
    }
}

impl<'a> ApiResources<'a> {
    fn entries(&self) -> impl Iterator<Item = ApiResource<'a>> {
        let resources = self.0;
        let entry = |of: Resource<'a>, name| ApiResource {
            name,
            singular_name: "",
            namespaced: of.namespaced,
            kind: of.kind,
            verbs: of.verbs,
        };
        resources.resources().flat_map(move |resource| {
            let itself = (!resource.has_subresources).then(|| entry(resource, resource.name.into()));
            let below = resources.subresources(resource.name);
            let below = below.map(move |name| entry(resource, format!("{}/{name}", resource.name).into()));
            itself.into_iter().chain(below)
        })
    }
}

impl Serialize for ApiResources<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.entries())
    }
}

impl<'a> ApiGroupList<'a> {
    pub(super) fn of(groups: Vec<ApiGroup<'a>>) -> ApiGroupList<'a> {
        ApiGroupList { kind: "APIGroupList", groups }
    }
}

impl ServerAddress {
    /// Every client reaches the server by its port.
    pub(super) fn of(port: u16) -> ServerAddress {
        ServerAddress { client_cidr: "0.0.0.0/0", server_address: format!(":{port}") }
    }
}

impl Object for ApiGroupList<'_> {
    fn api_version(&self) -> &'static str {
        ""
    }

    fn kind(&self) -> &'static str {
        self.kind
    }
}

impl Encode for ApiGroupList<'_> {
    fn encode(&self, message: &mut Message) {
        message.messages(1, &self.groups);
    }
}

impl Object for TypedGroup<'_> {
    fn api_version(&self) -> &'static str {
        self.api_version
    }

    fn kind(&self) -> &'static str {
        self.kind
    }
}

impl Encode for TypedGroup<'_> {
    fn encode(&self, message: &mut Message) {
        self.group.encode(message);
    }
}

impl Encode for ApiGroup<'_> {
    fn encode(&self, message: &mut Message) {
        message.string(1, self.name);
        message.messages(2, &self.versions);
        match &self.preferred_version {
            Some(version) => message.message(3, version),
            None => message.message(3, &GroupVersion { group_version: String::new(), version: "" }),
        }
        message.messages(4, self.server_addresses);
    }
}

impl Encode for GroupVersion<'_> {
    fn encode(&self, message: &mut Message) {
        message.string(1, &self.group_version);
        message.string(2, self.version);
    }
}

impl Encode for ServerAddress {
    fn encode(&self, message: &mut Message) {
        message.string(1, self.client_cidr);
        message.string(2, &self.server_address);
    }
}

impl Object for ApiResourceList<'_> {
    fn api_version(&self) -> &'static str {
        self.api_version
    }

    fn kind(&self) -> &'static str {
        self.kind
    }
}

impl Encode for ApiResourceList<'_> {
    fn encode(&self, message: &mut Message) {
        message.string(1, &self.group_version);
        message.messages(2, self.resources.entries());
    }
}

impl Encode for ApiResource<'_> {
    fn encode(&self, message: &mut Message) {
        message.string(1, &self.name);
        message.boolean(2, self.namespaced);
        message.string(3, self.kind);
        message.nested(4, |verbs| verbs.strings(1, self.verbs.iter().copied()));
        message.string(6, self.singular_name);
        // Group and version where they are not the list's, and a hash of how objects are stored.
        message.string(8, "");
        message.string(9, "");
        message.string(10, "");
    }
}
