//! Aggregated discovery: every group in one document, the form that a kube-apiserver asks for (contract, section 2.3).
//!
//! A group-version that is missing from it becomes empty in the cluster, so all of ours are in it (D1). A resource
//! never goes without its `responseKind`: old clients panic.

use serde::Serialize;

use super::{GroupDescription, ResourceEntry};

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

    /// The media type that the document is sent as.
    pub fn media_type(self) -> &'static str {
        match self {
            AggregatedVersion::V2 => "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList",
            AggregatedVersion::V2Beta1 => {
                "application/json;g=apidiscovery.k8s.io;v=v2beta1;as=APIGroupDiscoveryList"
            }
        }
    }

    /// The version that an `Accept` header prefers; `None` when it asks for the legacy form first.
    pub fn accepted(accept: &str) -> Option<AggregatedVersion> {
        let first = accept.split(',').find_map(|clause| {
            let mut parts = clause.split(';').map(str::trim);
            let media_type = parts.next()?;
            if !matches!(media_type, "application/json" | "*/*") {
                return None;
            }
            let parameters: Vec<&str> = parts.collect();
            let asks = |parameter: &str| parameters.contains(&parameter);
            if parameters.iter().all(|parameter| parameter.starts_with("q=")) {
                return Some(None);
            }
            if !asks("g=apidiscovery.k8s.io") || !asks("as=APIGroupDiscoveryList") {
                return None;
            }
            AggregatedVersion::ALL
                .into_iter()
                .find(|version| {
                    asks(match version {
                        AggregatedVersion::V2 => "v=v2",
                        AggregatedVersion::V2Beta1 => "v=v2beta1",
                    })
                })
                .map(Some)
        });
        first.flatten()
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct GroupList<'a> {
    kind: &'static str,
    api_version: &'static str,
    metadata: Empty,
    items: Vec<Group<'a>>,
}

#[derive(Serialize)]
struct Empty {}

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
    GroupList { kind: "APIGroupDiscoveryList", api_version: version.api_version(), metadata: Empty {}, items }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_kube_apiservers_send() {
        let v2 = AggregatedVersion::V2.media_type();
        let v2beta1 = AggregatedVersion::V2Beta1.media_type();
        for (accept, expected) in [
            (format!("{v2},{v2beta1}"), Some(AggregatedVersion::V2)),
            (v2beta1.to_owned(), Some(AggregatedVersion::V2Beta1)),
            (format!("{v2},application/json"), Some(AggregatedVersion::V2)),
            (format!("application/json,{v2}"), None),
            ("application/json".to_owned(), None),
            (String::new(), None),
            ("application/json;as=Table;v=v1;g=meta.k8s.io".to_owned(), None),
        ] {
            assert_eq!(AggregatedVersion::accepted(&accept), expected, "{accept}");
        }
    }
}
