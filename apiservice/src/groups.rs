//! The served API groups, their versions and resources.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

/// An API group as it is served. Cheap to clone.
#[derive(Debug, Clone)]
pub struct GroupDescription {
    /// `custom.metrics.k8s.io`.
    pub name: String,
    /// Its versions, the preferred one first.
    pub versions: Vec<String>,
    /// What every version lists.
    pub resources: Arc<dyn Resources>,
}

impl GroupDescription {
    /// A group whose entries are known from the start, in any order.
    pub fn of(name: &str, versions: &[&str], entries: Vec<ResourceEntry>) -> GroupDescription {
        GroupDescription {
            name: name.to_owned(),
            versions: versions.iter().map(|&version| version.to_owned()).collect(),
            resources: Arc::new(Fixed::of(entries)),
        }
    }

    /// Whether its documents are those of another group.
    pub(crate) fn is_same(&self, other: &GroupDescription) -> bool {
        let (ours, others) = (&self.resources, &other.resources);
        self.name == other.name
            && self.versions == other.versions
            && ours.resources().eq(others.resources())
            && ours
                .resources()
                .all(|Resource { name, .. }| ours.subresources(name).eq(others.subresources(name)))
    }
}

/// What a group lists. There can be hundreds of thousands of entries: they are read where the program holds them,
/// whenever a document is rendered.
pub trait Resources: fmt::Debug + Send + Sync {
    /// The resources, in the order that their entries have (D4): by name, with `/` behind it where there are
    /// subresources. None of them twice.
    fn resources(&self) -> Box<dyn Iterator<Item = Resource<'_>> + '_>;

    /// The subresources of a resource, sorted, none of them twice.
    fn subresources(&self, resource: &str) -> Box<dyn Iterator<Item = &str> + '_>;

    /// How many entries there are, about: what a document takes to be rendered.
    fn count(&self) -> usize;
}

/// A resource of a group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Resource<'a> {
    /// `pods` for custom metrics, `queue_depth` for external ones.
    pub name: &'a str,
    /// Whether its entries are its subresources, and not itself.
    pub has_subresources: bool,
    /// Whether the resource's objects live in a namespace. All entries of one resource say the same (D32).
    pub namespaced: bool,
    /// The kind of the answer: `MetricValueList`.
    pub kind: &'static str,
    /// What can be done: `get`.
    pub verbs: &'static [&'static str],
}

/// One entry of an `APIResourceList`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResourceEntry {
    /// `pods/request_queue_depth` for custom metrics, `queue_depth` for external ones.
    pub name: String,
    /// As of [`Resource`].
    pub namespaced: bool,
    /// As of [`Resource`].
    pub kind: &'static str,
    /// As of [`Resource`].
    pub verbs: &'static [&'static str],
}

/// Entries by resource: its name, with `/` behind it where there are subresources, and these.
#[derive(Debug)]
struct Fixed(BTreeMap<String, (ResourceEntry, Vec<String>)>);

impl Fixed {
    fn of(entries: Vec<ResourceEntry>) -> Fixed {
        let mut resources: BTreeMap<String, (ResourceEntry, Vec<String>)> = BTreeMap::new();
        for entry in entries {
            let (resource, subresource) = match entry.name.split_once('/') {
                Some((resource, subresource)) => (format!("{resource}/"), Some(subresource.to_owned())),
                None => (entry.name.clone(), None),
            };
            let (_, subresources) = resources.entry(resource).or_insert((entry, Vec::new()));
            subresources.extend(subresource);
        }
        for (_, subresources) in resources.values_mut() {
            subresources.sort();
            subresources.dedup();
        }
        Fixed(resources)
    }
}

impl Resources for Fixed {
    fn resources(&self) -> Box<dyn Iterator<Item = Resource<'_>> + '_> {
        Box::new(self.0.iter().map(|(key, (entry, subresources))| Resource {
            name: key.strip_suffix('/').unwrap_or(key),
            has_subresources: !subresources.is_empty(),
            namespaced: entry.namespaced,
            kind: entry.kind,
            verbs: entry.verbs,
        }))
    }

    fn subresources(&self, resource: &str) -> Box<dyn Iterator<Item = &str> + '_> {
        let found = self.0.get(&format!("{resource}/"));
        Box::new(found.into_iter().flat_map(|(_, subresources)| subresources).map(String::as_str))
    }

    fn count(&self) -> usize {
        self.0.values().map(|(_, subresources)| subresources.len().max(1)).sum()
    }
}
