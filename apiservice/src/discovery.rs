//! What the server serves: `/apis` and below, rendered once and published as a whole (contract, section 2).
//!
//! The aggregator asks for this every few seconds. It never depends on anything outside the process: a discovery
//! document that fails makes a cluster's namespaces impossible to delete.

mod aggregated;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Arc;

use arc_swap::ArcSwap;
use bytes::Bytes;
use http::HeaderValue;
use serde::Serialize;
use sha2::{Digest as _, Sha256};

use crate::negotiate::{self, Form};
use crate::openapi::OpenApi;
pub use aggregated::AggregatedVersion;

/// An API group as it is served.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupDescription {
    /// `custom.metrics.k8s.io`.
    pub name: String,
    /// Its versions, the preferred one first.
    pub versions: Vec<String>,
    /// What every version lists. Sorted when rendered, so that the documents are stable (D4).
    pub resources: Vec<ResourceEntry>,
}

/// One entry of an `APIResourceList`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct ResourceEntry {
    /// `pods/request_queue_depth` for custom metrics, `queue_depth` for external ones.
    pub name: String,
    /// Whether the resource's objects live in a namespace. All entries of one resource say the same (D32).
    pub namespaced: bool,
    /// The kind of the answer: `MetricValueList`.
    pub kind: &'static str,
    /// What can be done: `get`.
    pub verbs: &'static [&'static str],
}

/// One rendered document.
#[derive(Debug, Clone)]
pub struct Document {
    /// One line with a newline.
    pub compact: Bytes,
    /// Indented.
    pub pretty: Bytes,
    /// Quoted, strong.
    pub etag: HeaderValue,
}

/// Every discovery document. Immutable.
#[derive(Debug)]
pub struct Discovery {
    groups: Document,
    by_group: BTreeMap<String, Document>,
    by_version: BTreeMap<(String, String), Document>,
    aggregated: [Document; 2],
    openapi: OpenApi,
}

/// The discovery in force. Cheap to clone.
#[derive(Debug, Clone)]
pub struct DiscoveryHandle(Arc<ArcSwap<Discovery>>);

impl DiscoveryHandle {
    /// A handle on given documents.
    pub fn new(discovery: Discovery) -> DiscoveryHandle {
        DiscoveryHandle(Arc::new(ArcSwap::from_pointee(discovery)))
    }

    /// Replaces the documents.
    pub fn publish(&self, discovery: Discovery) {
        self.0.store(Arc::new(discovery));
    }

    /// The documents in force.
    pub fn load(&self) -> Arc<Discovery> {
        self.0.load_full()
    }
}

impl Discovery {
    /// Renders the documents of groups, in their order. `port` is where the server listens.
    pub fn render(groups: &[GroupDescription], port: u16) -> Discovery {
        let groups: Vec<GroupDescription> = groups
            .iter()
            .cloned()
            .map(|mut group| {
                group.resources.sort();
                group.resources.dedup();
                group
            })
            .collect();
        let address = [ServerAddress { client_cidr: "0.0.0.0/0", server_address: format!(":{port}") }];
        let list = ApiGroupList {
            kind: "APIGroupList",
            groups: groups.iter().map(|group| ApiGroup::of(group, Some(&address))).collect(),
        };
        let by_group =
            groups.iter().map(|group| (group.name.clone(), Document::of(&TypedGroup::of(group)))).collect();
        let by_version = groups
            .iter()
            .flat_map(|group| group.versions.iter().map(move |version| (group, version)))
            .map(|(group, version)| {
                let document = Document::of(&ApiResourceList::of(group, version));
                ((group.name.clone(), version.clone()), document)
            })
            .collect();
        let aggregated =
            AggregatedVersion::ALL.map(|version| Document::of(&aggregated::list(&groups, version)));
        let openapi = OpenApi::render(&groups);
        Discovery { groups: Document::of(&list), by_group, by_version, aggregated, openapi }
    }

    /// `/apis`.
    pub fn groups(&self) -> &Document {
        &self.groups
    }

    /// `/apis/GROUP`.
    pub fn group(&self, name: &str) -> Option<&Document> {
        self.by_group.get(name)
    }

    /// `/apis/GROUP/VERSION`.
    pub fn version(&self, group: &str, version: &str) -> Option<&Document> {
        self.by_version.get(&(group.to_owned(), version.to_owned()))
    }

    /// `/apis` in the aggregated form.
    pub fn aggregated(&self, version: AggregatedVersion) -> &Document {
        &self.aggregated[version as usize]
    }

    /// `/openapi/`.
    pub fn openapi(&self) -> &OpenApi {
        &self.openapi
    }

    /// The paths that lead to discovery documents.
    pub fn paths(&self) -> impl Iterator<Item = String> {
        let groups = self.by_group.keys().map(|group| format!("/apis/{group}"));
        let versions = self.by_version.keys().map(|(group, version)| format!("/apis/{group}/{version}"));
        let openapi = ["/openapi/v2", "/openapi/v3", "/openapi/v3/"].map(str::to_owned);
        std::iter::once("/apis".to_owned()).chain(groups).chain(versions).chain(openapi)
    }
}

impl Document {
    pub(crate) fn of(object: &impl Serialize) -> Document {
        // Documents hold only strings, booleans and lists of them: serde_json writes those without fail.
        let render = |pretty| negotiate::encode(object, Form { pretty }).unwrap_or_default();
        let compact = render(false);
        let digest = Sha256::digest(&compact);
        let mut hex = String::with_capacity(2 * digest.len());
        for byte in digest {
            let _ = write!(hex, "{byte:02X}");
        }
        // Hexadecimal digits and quotes are always a valid header value.
        let etag = HeaderValue::from_str(&format!("\"{hex}\"")).unwrap_or(HeaderValue::from_static("\"\""));
        Document { compact, pretty: render(true), etag }
    }

    /// The bytes in a form.
    pub fn body(&self, form: Form) -> Bytes {
        if form.pretty { self.pretty.clone() } else { self.compact.clone() }
    }
}

/// Upstream leaves `apiVersion` out of this one, and clients know it so.
#[derive(Serialize)]
struct ApiGroupList<'a> {
    kind: &'static str,
    groups: Vec<ApiGroup<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ApiGroup<'a> {
    name: &'a str,
    versions: Vec<GroupVersion<'a>>,
    preferred_version: Option<GroupVersion<'a>>,
    #[serde(rename = "serverAddressByClientCIDRs", skip_serializing_if = "Option::is_none")]
    server_addresses: Option<&'a [ServerAddress]>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct TypedGroup<'a> {
    kind: &'static str,
    api_version: &'static str,
    #[serde(flatten)]
    group: ApiGroup<'a>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct GroupVersion<'a> {
    group_version: String,
    version: &'a str,
}

#[derive(Serialize)]
struct ServerAddress {
    #[serde(rename = "clientCIDR")]
    client_cidr: &'static str,
    #[serde(rename = "serverAddress")]
    server_address: String,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ApiResourceList<'a> {
    kind: &'static str,
    api_version: &'static str,
    group_version: String,
    resources: Vec<ApiResource<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ApiResource<'a> {
    name: &'a str,
    singular_name: &'static str,
    namespaced: bool,
    kind: &'static str,
    verbs: &'static [&'static str],
}

impl<'a> ApiGroup<'a> {
    fn of(group: &'a GroupDescription, server_addresses: Option<&'a [ServerAddress]>) -> ApiGroup<'a> {
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
    fn of(group: &'a GroupDescription) -> TypedGroup<'a> {
        TypedGroup { kind: "APIGroup", api_version: "v1", group: ApiGroup::of(group, None) }
    }
}

impl<'a> ApiResourceList<'a> {
    fn of(group: &'a GroupDescription, version: &str) -> ApiResourceList<'a> {
        let resource = |entry: &'a ResourceEntry| ApiResource {
            name: &entry.name,
            singular_name: "",
            namespaced: entry.namespaced,
            kind: entry.kind,
            verbs: entry.verbs,
        };
        ApiResourceList {
            kind: "APIResourceList",
            api_version: "v1",
            group_version: format!("{}/{version}", group.name),
            resources: group.resources.iter().map(resource).collect(),
        }
    }
}
