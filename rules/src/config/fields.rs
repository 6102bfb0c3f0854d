//! The fields of a rule file, as written.

use std::time::Duration;

use super::place::{Place, Placed};
use crate::allow::Extent;
use crate::fault::Fault;
use crate::policy::{OnEmpty, OnNan, OnPartial};

/// A rule file as written.
#[derive(Debug, Default)]
pub(crate) struct Config {
    pub(crate) rules: Vec<DiscoveryRule>,
    pub(crate) external_rules: Vec<DiscoveryRule>,
    pub(crate) resource_rules: Option<ResourceRules>,
    /// Whether it has the form of the Helm chart's values.
    pub(crate) helm_values: bool,
    /// Where its parts are: each rule, then each section.
    pub(crate) extents: Vec<Extent>,
}

/// One rule of `rules` or `externalRules`.
#[derive(Debug)]
pub(crate) struct DiscoveryRule {
    pub(crate) place: Place,
    pub(crate) series_query: Placed<String>,
    pub(crate) series_filters: Vec<SeriesFilter>,
    pub(crate) resources: ResourceMapping,
    pub(crate) name: NameMapping,
    pub(crate) metrics_query: Placed<String>,
    pub(crate) on_nan: OnNan,
    pub(crate) on_empty: OnEmpty,
    pub(crate) on_partial: OnPartial,
    /// What of the rule could not be read.
    pub(crate) faults: Vec<Fault>,
}

#[derive(Debug)]
pub(crate) struct SeriesFilter {
    pub(crate) place: Place,
    pub(crate) is: Option<Placed<String>>,
    pub(crate) is_not: Option<Placed<String>>,
}

#[derive(Debug, Default)]
pub(crate) struct ResourceMapping {
    pub(crate) template: Option<Placed<String>>,
    /// Label → resource, in the order of the file.
    pub(crate) overrides: Vec<(String, Placed<ResourceName>)>,
    /// Only external rules look at it; true when absent.
    pub(crate) namespaced: Option<bool>,
}

/// A resource as an override names it: singular or plural, the group may be left out.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct ResourceName {
    pub(crate) group: String,
    pub(crate) resource: String,
}

#[derive(Debug, Default)]
pub(crate) struct NameMapping {
    pub(crate) matches: Option<Placed<String>>,
    /// Empty means the default.
    pub(crate) r#as: Placed<String>,
}

#[derive(Debug)]
pub(crate) struct ResourceRules {
    pub(crate) place: Place,
    pub(crate) cpu: ResourceRule,
    pub(crate) memory: ResourceRule,
    /// What `window` says; one minute when absent or zero is the server's decision, not this file's.
    pub(crate) window: Option<Duration>,
    /// What of them could not be read.
    pub(crate) faults: Vec<Fault>,
}

#[derive(Debug, Default)]
pub(crate) struct ResourceRule {
    /// `None` when the file has none.
    pub(crate) place: Option<Place>,
    pub(crate) container_query: Placed<String>,
    pub(crate) node_query: Placed<String>,
    pub(crate) resources: ResourceMapping,
    pub(crate) container_label: String,
}
