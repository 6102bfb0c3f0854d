//! Compiled rules of `rules` and `externalRules`.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use promql::regexp::{self, Regexp};

use crate::declared::{self, Declared};
use crate::name::NameRule;
use crate::policy::Policy;
use crate::resource::{ResolvedLabels, ResourceLabels, ResourceMapper};
use crate::template::Template;

/// A rule by its section and place: `rules[3]`. What logs, errors and metrics name a rule by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RuleId {
    /// Which list the rule is in.
    pub section: Section,
    /// Its place in the list, from 0.
    pub index: usize,
}

/// A list of rules.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Section {
    /// `rules`: custom.metrics.k8s.io.
    Custom,
    /// `externalRules`: external.metrics.k8s.io.
    External,
    /// `resourceRules`: metrics.k8s.io. The first is `cpu`, the second `memory`.
    Resource,
}

impl fmt::Display for RuleId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.section, self.index) {
            (Section::Custom, index) => write!(f, "rules[{index}]"),
            (Section::External, index) => write!(f, "externalRules[{index}]"),
            (Section::Resource, 0) => f.write_str("resourceRules.cpu"),
            (Section::Resource, _) => f.write_str("resourceRules.memory"),
        }
    }
}

/// A compiled rule of `rules` or `externalRules`.
pub struct Rule {
    /// Which rule of the file it is.
    pub id: RuleId,
    /// The selector that finds its series, as written. Whatever is known of it is kept by this text.
    pub series_query: Arc<str>,
    /// What missing samples and NaN stand for.
    pub policy: Policy,
    /// Whether a query is limited to the namespace of the request. Only external rules look at it.
    pub namespaced: bool,
    pub(crate) labels: Arc<ResourceLabels>,
    pub(crate) metrics_query: QueryTemplate,
    pub(crate) name: NameRule,
    pub(crate) filters: Vec<Filter>,
    /// What stays listed without series: only with an `onEmpty` that answers for them (D89).
    pub(crate) declared: Option<Declared>,
}

/// A query template and its text. Cheap to clone.
#[derive(Clone)]
pub(crate) struct QueryTemplate {
    pub(crate) text: Arc<str>,
    pub(crate) template: Arc<Template>,
}

pub(crate) enum Filter {
    Is(Regexp),
    IsNot(Regexp),
}

/// What a rule makes of the name of a series.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Naming {
    /// The metric's name in the API.
    Metric(String),
    /// A filter drops the series: its place in `seriesFilters`, from 0.
    Filtered(usize),
    /// The name does not fit `name.matches`.
    DoesNotFit,
}

impl Rule {
    /// The API's name for a series; `None` when a filter drops the series or its name does not fit `name.matches`.
    pub fn metric_of(&self, series: &str) -> Option<String> {
        match self.naming_of(series) {
            Naming::Metric(metric) => Some(metric),
            Naming::Filtered(_) | Naming::DoesNotFit => None,
        }
    }

    /// What becomes of a series' name.
    pub fn naming_of(&self, series: &str) -> Naming {
        match self.filters.iter().position(|filter| !filter.keeps(series)) {
            Some(filter) => Naming::Filtered(filter),
            None => self.name.metric(series).map_or(Naming::DoesNotFit, Naming::Metric),
        }
    }

    /// Whether the series passes every filter.
    pub fn keeps(&self, series: &str) -> bool {
        self.filters.iter().all(|filter| filter.keeps(series))
    }

    /// The only name that a series of its series query can have; `None` for a query that does not fix the name.
    pub fn literal_series(&self) -> Option<String> {
        declared::literal_name(&self.series_query)
    }

    /// The one metric that the rule makes, when the file says it.
    pub(crate) fn only_metric(&self) -> Option<String> {
        if let Some(series) = self.literal_series() {
            return self.metric_of(&series).filter(|metric| !metric.is_empty());
        }
        let r#as = self.name.r#as();
        let is_plain = regexp::references(r#as).next().is_none();
        (is_plain && !r#as.is_empty()).then(|| r#as.to_owned())
    }

    /// The labels that its series query demands of a series, whatever their value.
    pub fn demanded_labels(&self) -> BTreeSet<String> {
        declared::demanded_labels(&self.series_query)
    }

    /// The text of its query template.
    pub fn template(&self) -> &str {
        &self.metrics_query.text
    }

    /// Which labels name which objects of a cluster.
    pub fn labels_in(&self, mapper: &dyn ResourceMapper) -> ResolvedLabels {
        self.labels.resolve(mapper)
    }
}

impl Filter {
    fn keeps(&self, series: &str) -> bool {
        match self {
            Filter::Is(pattern) => pattern.is_match(series),
            Filter::IsNot(pattern) => !pattern.is_match(series),
        }
    }
}

impl fmt::Debug for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Rule")
            .field("id", &self.id)
            .field("series_query", &self.series_query)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for QueryTemplate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.text.fmt(f)
    }
}
