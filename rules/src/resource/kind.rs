//! Names of kinds and resources.

use std::fmt;

/// A resource by its group and plural name: `deployments.apps`. The core group is empty and not written.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct GroupResource {
    /// The plural, lower-case.
    pub resource: String,
    /// The API group; empty for the core group.
    pub group: String,
}

/// A kind of object that a cluster serves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kind {
    /// The API group; empty for the core group.
    pub group: String,
    /// The group's preferred version of the kind: `v1`.
    pub version: String,
    /// The kind's name: `Deployment`.
    pub kind: String,
    /// The resource's name: `deployments`.
    pub plural: String,
    /// The resource's name for one object: `deployment`.
    pub singular: String,
    /// Whether objects live in a namespace.
    pub namespaced: bool,
}

impl GroupResource {
    /// A resource of a group.
    pub fn new(group: &str, resource: &str) -> GroupResource {
        GroupResource { group: group.to_owned(), resource: resource.to_owned() }
    }
}

impl fmt::Display for GroupResource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.group.is_empty() {
            f.write_str(&self.resource)
        } else {
            write!(f, "{}.{}", self.resource, self.group)
        }
    }
}

impl Kind {
    /// The resource's group and plural.
    pub fn group_resource(&self) -> GroupResource {
        GroupResource::new(&self.group, &self.plural)
    }

    /// Group and version as objects carry it: `v1`, `apps/v1`.
    pub fn api_version(&self) -> String {
        if self.group.is_empty() { self.version.clone() } else { format!("{}/{}", self.group, self.version) }
    }
}
