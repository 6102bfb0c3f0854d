//! The served API groups, their versions and resources.

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
