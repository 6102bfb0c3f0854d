//! Step 5 of a request: which rule answers for a metric of a resource.
//!
//! A catalog is built from the compiled rules and the series that were discovered for them, and never changes.
//! Where two rules make the same metric for the same resource, the first of the file is used (D33).

mod carried;
mod matched;
mod object_labels;
pub mod own_queries;
mod proofs;
mod series;
mod shared;
mod speller;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::RuleSet;
use crate::declared::Declared;
use crate::name::can_be_asked_for;
use crate::plan::widest_range;
use crate::query_parts::QueryParts;
use crate::quoted_names::Written;
use crate::resource::{GroupResource, ResolvedLabels, ResourceMapper};
use crate::rule::{Rule, RuleId, Section};
use carried::{Carried, carried_labels};
use matched::RuleQuery;
use object_labels::{ObjectLabel, ObjectLabels, namespace_label};
use series::metric_of;
use speller::Speller;

pub use matched::{CustomMatch, ExternalMatch, Ignored, Objects, Origin};
pub use series::Series;
pub use shared::SharedQuery;

/// A metric of a resource, as discovery lists it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CustomResource<'a> {
    /// The resource: `pods`, `deployments.apps`.
    pub resource: &'a GroupResource,
    /// The metric's name in the API.
    pub metric: &'a str,
    /// Whether the resource's objects live in a namespace: what the cluster says of the resource (D32).
    pub namespaced: bool,
}

/// What became of one rule's series.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct RuleStats {
    /// Series that its query found.
    pub series: usize,
    /// Of those, dropped by a filter or by a name that does not fit, or whose own name the query cannot hold.
    pub dropped: usize,
    /// Of the rest, those without any label that names a resource. Never any for an external rule.
    pub unmapped: usize,
    /// Entries of the catalog that are the rule's.
    pub metrics: usize,
}

/// Every metric that can be asked for. Immutable.
pub struct Catalog {
    metrics: BTreeMap<GroupResource, BTreeMap<Arc<str>, CustomMatch>>,
    external: BTreeMap<Arc<str>, ExternalMatch>,
    rule_stats: Vec<(RuleId, RuleStats)>,
    warnings: Vec<String>,
}

impl Catalog {
    /// Builds the catalog from what the series queries found; a query that is not in `discovered` found nothing.
    pub fn build(
        rules: &RuleSet,
        discovered: &HashMap<&str, &[Series]>,
        mapper: &dyn ResourceMapper,
    ) -> Catalog {
        let mut builder = Builder {
            mapper,
            metrics: BTreeMap::new(),
            external: BTreeMap::new(),
            warnings: BTreeSet::new(),
        };
        let found = |rule: &Rule| discovered.get(&*rule.series_query).copied().unwrap_or_default();
        let custom = rules.custom.iter().map(|rule| (rule.id, builder.add(rule, found(rule))));
        let mut rule_stats: Vec<_> = custom.collect();
        rule_stats
            .extend(rules.external.iter().map(|rule| (rule.id, builder.add_external(rule, found(rule)))));
        for (rule, (_, counts)) in rules.custom.iter().chain(&rules.external).zip(&mut rule_stats) {
            // Of series that could not be listed, it is not known that there are none (D17).
            let is_without = counts.series == 0 && discovered.contains_key(&*rule.series_query);
            if let Some(declared) = rule.declared.as_ref().filter(|_| is_without) {
                counts.metrics = builder.keep(rule, declared);
            }
        }
        Catalog {
            metrics: builder.metrics,
            external: builder.external,
            rule_stats,
            warnings: builder.warnings.into_iter().collect(),
        }
    }

    /// Every metric, sorted by resource and name.
    pub fn custom_resources(&self) -> impl Iterator<Item = CustomResource<'_>> {
        self.metrics.iter().flat_map(|(resource, metrics)| {
            metrics.iter().map(move |(metric, matched)| CustomResource {
                resource,
                metric,
                namespaced: matched.namespaced,
            })
        })
    }

    /// Every resource with metrics, sorted, and whether its objects live in a namespace.
    pub fn resources(&self) -> impl Iterator<Item = (&GroupResource, bool)> {
        self.metrics
            .iter()
            .filter_map(|(resource, metrics)| Some((resource, metrics.values().next()?.namespaced)))
    }

    /// The names of a resource's metrics, sorted.
    pub fn metrics_of(&self, resource: &GroupResource) -> impl Iterator<Item = &str> {
        self.metrics.get(resource).into_iter().flatten().map(|(metric, _)| &**metric)
    }

    /// How many custom metrics there are.
    pub fn custom_count(&self) -> usize {
        self.metrics.values().map(BTreeMap::len).sum()
    }

    /// The rule for a metric of a resource; `None` when it does not exist.
    pub fn custom(&self, resource: &GroupResource, metric: &str) -> Option<CustomMatch> {
        self.metrics.get(resource)?.get(metric).cloned()
    }

    /// The name of every external metric, sorted.
    pub fn external_metrics(&self) -> impl ExactSizeIterator<Item = &str> {
        self.external.keys().map(|name| &**name)
    }

    /// The rule for an external metric; `None` when it does not exist.
    pub fn external(&self, metric: &str) -> Option<ExternalMatch> {
        self.external.get(metric).cloned()
    }

    /// What became of each rule's series, in the order of the file, custom rules first.
    pub fn rule_stats(&self) -> &[(RuleId, RuleStats)] {
        &self.rule_stats
    }

    /// What an operator should know: metrics that two rules make, labels whose kind the cluster lacks.
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }
}

impl fmt::Debug for Catalog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Catalog")
            .field("custom", &self.custom_count())
            .field("external", &self.external.len())
            .finish_non_exhaustive()
    }
}

struct Builder<'a> {
    mapper: &'a dyn ResourceMapper,
    metrics: BTreeMap<GroupResource, BTreeMap<Arc<str>, CustomMatch>>,
    external: BTreeMap<Arc<str>, ExternalMatch>,
    warnings: BTreeSet<String>,
}

impl Builder<'_> {
    fn add(&mut self, rule: &Arc<Rule>, series: &[Series]) -> RuleStats {
        let labels = self.labels(rule);
        let mut counts = RuleStats { series: series.len(), ..RuleStats::default() };
        // Many series differ only in label values that discovery already dropped; one of each is enough, and in a
        // fixed order the outcome does not depend on Prometheus' order.
        let distinct: BTreeSet<&Series> = series.iter().collect();
        let carried = carried_labels(distinct.iter().copied());
        let mut objects = ObjectLabels::of(&labels, self.mapper);
        let (mut speller, mut names) = (Speller::default(), Unaskable::default());
        for series in distinct {
            match metric_of(rule, &series.name) {
                None => counts.dropped += 1,
                Some(metric) => {
                    names.look_at(&metric);
                    let of = SeriesOf { name: &series.name, carried: Some(&carried[&*series.name]) };
                    let objects = objects.of_series(&series.label_names);
                    match self.enter(rule, (&objects, of), &metric, &mut speller) {
                        Entered::Nowhere => counts.unmapped += 1,
                        Entered::Unwritable => counts.dropped += 1,
                        Entered::For(metrics) => counts.metrics += metrics,
                    }
                }
            }
        }
        self.warnings.extend(speller.warning(rule));
        self.warnings.extend(names.warning(rule));
        self.warnings.extend(Carried::of(rule, &carried).lacks(&labels, self.mapper));
        counts
    }

    /// An external metric is its name alone: labels of its series name no objects.
    fn add_external(&mut self, rule: &Arc<Rule>, series: &[Series]) -> RuleStats {
        let labels = self.labels(rule);
        let namespace_label = namespace_label(&labels, self.mapper);
        let mut counts = RuleStats { series: series.len(), ..RuleStats::default() };
        let carried = carried_labels(series);
        let distinct: BTreeSet<&Arc<str>> = series.iter().map(|series| &series.name).collect();
        let (mut speller, mut names) = (Speller::default(), Unaskable::default());
        let mut query = None;
        for series in distinct {
            let Some(metric) = metric_of(rule, series) else {
                counts.dropped += 1;
                continue;
            };
            names.look_at(&metric);
            if let Some(ExternalMatch { origin: first }) = self.external.get(&metric) {
                self.warnings.extend(made_twice(&metric, first, (rule.id, series)));
                continue;
            }
            let of = SeriesOf { name: series, carried: Some(&carried[&**series]) };
            if self.enter_external(rule, (&mut query, of), namespace_label.as_ref(), &metric, &mut speller) {
                counts.metrics += 1;
            } else {
                counts.dropped += 1;
            }
        }
        self.warnings.extend(speller.warning(rule));
        self.warnings.extend(names.warning(rule));
        if let Some(label) = namespace_label.filter(|_| rule.namespaced) {
            self.warnings.extend(Carried::of(rule, &carried).lacks_namespace(&label));
        }
        counts
    }

    /// Enters the metric that a rule declares, where no series of any rule makes it. Returns the number of entries.
    fn keep(&mut self, rule: &Arc<Rule>, declared: &Declared) -> usize {
        let Declared { series, metric, labels: label_names } = declared;
        let labels = rule.labels.resolve(self.mapper);
        // What it could warn of, it warns of when there are series.
        let speller = &mut Speller::default();
        let of = SeriesOf { name: series, carried: None };
        if rule.id.section == Section::Custom {
            let objects = ObjectLabels::of(&labels, self.mapper).of_series(label_names);
            return match self.enter(rule, (&objects, of), metric, speller) {
                Entered::For(metrics) => metrics,
                Entered::Nowhere | Entered::Unwritable => 0,
            };
        }
        if self.external.contains_key(metric) {
            return 0;
        }
        let namespace_label = namespace_label(&labels, self.mapper);
        usize::from(self.enter_external(rule, (&mut None, of), namespace_label.as_ref(), metric, speller))
    }

    /// The rule's labels in this cluster; an override that names nothing here waits for its kind (D39).
    fn labels(&mut self, rule: &Rule) -> ResolvedLabels {
        let labels = rule.labels.resolve(self.mapper);
        for (label, resource) in &labels.unknown {
            self.warnings.insert(format!(
                "{}: the label {label:?} stands for {resource}, which the cluster does not serve (yet)",
                rule.id
            ));
        }
        labels
    }

    /// Enters a metric that has no entry yet; `false` when the rule's query cannot hold the series' name. `query` is
    /// what the query is for all series of the rule, once it is known.
    fn enter_external(
        &mut self,
        rule: &Arc<Rule>,
        (query, series): (&mut Option<Arc<RuleQuery>>, SeriesOf<'_>),
        namespace_label: Option<&Arc<str>>,
        metric: &Arc<str>,
        speller: &mut Speller,
    ) -> bool {
        let limit = namespace_label.filter(|_| rule.namespaced);
        let Some(written) = speller.write(rule, series.name, limit, None) else { return false };
        let query = query.get_or_insert_with(|| {
            let window = sample_window(rule, &written, None);
            Arc::new(RuleQuery { rule: Arc::clone(rule), namespace_label: namespace_label.cloned(), window })
        });
        let origin = Origin::new(query, series.name, written, series.carried);
        self.external.insert(Arc::clone(metric), ExternalMatch { origin: Arc::new(origin) });
        true
    }

    /// Enters a series' metric for each resource of its labels.
    fn enter(
        &mut self,
        rule: &Arc<Rule>,
        (objects, series): (&[ObjectLabel], SeriesOf<'_>),
        metric: &Arc<str>,
        speller: &mut Speller,
    ) -> Entered {
        if objects.is_empty() {
            return Entered::Nowhere;
        }
        let (mut entered, mut unwritable) = (0, 0);
        for ObjectLabel { resource, namespaced, label, namespace_label, query } in objects {
            if !self.metrics.contains_key(resource) {
                self.metrics.insert(resource.clone(), BTreeMap::new());
            }
            let Some(metrics) = self.metrics.get_mut(resource) else { continue };
            if let Some(CustomMatch { origin: first, .. }) = metrics.get(metric) {
                if series.carried.is_some() {
                    let name = format!("{resource}/{metric}");
                    self.warnings.extend(made_twice(&name, first, (rule.id, series.name)));
                }
                continue;
            }
            let limit = namespace_label.as_ref().filter(|_| *namespaced);
            let Some(written) = speller.write(rule, series.name, limit, Some(label)) else {
                unwritable += 1;
                continue;
            };
            let query = query.get_or_init(|| {
                let window = sample_window(rule, &written, Some(label));
                let namespace_label = namespace_label.clone();
                Arc::new(RuleQuery { rule: Arc::clone(rule), namespace_label, window })
            });
            let origin = Arc::new(Origin::new(query, series.name, written, series.carried));
            let matched = CustomMatch { origin, label: Arc::clone(label), namespaced: *namespaced };
            metrics.insert(Arc::clone(metric), matched);
            entered += 1;
        }
        if entered == 0 && unwritable > 0 { Entered::Unwritable } else { Entered::For(entered) }
    }
}

/// What a rule's metric is made of.
#[derive(Clone, Copy)]
struct SeriesOf<'a> {
    name: &'a Arc<str>,
    /// The labels that any series of the name carries; `None` when there is none, and the rule declares its labels.
    carried: Option<&'a Arc<[Arc<str>]>>,
}

/// Names of one rule's metrics that no autoscaler can ask for. A name that `name.as` spells out is the lints' affair.
#[derive(Default)]
struct Unaskable(BTreeSet<Arc<str>>);

impl Unaskable {
    fn look_at(&mut self, metric: &Arc<str>) {
        if !can_be_asked_for(metric) {
            self.0.insert(Arc::clone(metric));
        }
    }

    fn warning(self, rule: &Rule) -> Option<String> {
        let first = self.0.first().filter(|_| can_be_asked_for(rule.name.r#as()))?;
        Some(format!(
            "{}: {} metrics like {first:?} cannot be asked for by an autoscaler, whose requests cannot hold / or % in a name; \
             rename them by name.matches and name.as",
            rule.id,
            self.0.len()
        ))
    }
}

/// What became of a series' metric.
enum Entered {
    /// The number of resources with the metric.
    For(usize),
    /// No label of the series names a resource.
    Nowhere,
    /// The rule's query cannot hold the series' name.
    Unwritable,
}

/// The warning that a metric is made by two rules, or of two series by one, and which of them is used (D33).
fn made_twice(metric: &str, first: &Origin, (rule, series): (RuleId, &str)) -> Option<String> {
    let (first_rule, first_series) = (first.rule(), first.series());
    if first_rule != rule {
        Some(format!("{metric} is made by {first_rule} and by {rule}; using {first_rule}"))
    } else if first_series != series {
        Some(format!("{metric} is made of more than one series by {rule}; using {first_series}"))
    } else {
        None
    }
}

/// The widest range of the rule's query, read from a sample of it: names do not change it.
fn sample_window(rule: &Rule, written: &Written, label: Option<&str>) -> Option<Duration> {
    let mut parts = QueryParts::of(written);
    if let Some(label) = label {
        parts.objects(label, &["x"]).ok()?;
    }
    let text = parts.render(rule.id, &rule.metrics_query, written, label.as_slice()).ok()?;
    promql::parse(&text).ok().as_ref().and_then(widest_range)
}
