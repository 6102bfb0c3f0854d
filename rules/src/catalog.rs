//! Step 5 of a request: which rule answers for a metric of a resource.
//!
//! A catalog is built from the compiled rules and the series that were discovered for them, and never changes.
//! Where two rules make the same metric for the same resource, the first of the file has it (D33).

mod carried;
mod speller;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use crate::RuleSet;
use crate::compile::{Rule, RuleId};
use crate::plan::{Plan, PlanError, Query, QueryParts, widest_range};
use crate::policy::Policy;
use crate::resource::{GroupResource, Kind, ResolvedLabels, ResourceMapper};
use crate::selector::Selector;
use crate::written::Written;
use carried::{Carried, carried_labels};
use speller::Speller;

/// What discovery keeps of a series: its name and the names of its labels. Values do not matter here.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Series {
    /// The metric's name in Prometheus.
    pub name: Arc<str>,
    /// The names of the series' labels.
    pub label_names: Arc<[Arc<str>]>,
}

/// A metric of a resource, as discovery lists it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct CustomResource {
    /// The resource: `pods`, `deployments.apps`.
    pub resource: GroupResource,
    /// The metric's name in the API.
    pub metric: Arc<str>,
    /// Whether the resource's objects live in a namespace: what the cluster says of the resource (D32).
    pub namespaced: bool,
}

/// What became of one rule's series.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct RuleYield {
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
    metrics: BTreeMap<GroupResource, BTreeMap<Arc<str>, Entry>>,
    resources: Vec<CustomResource>,
    external: BTreeMap<Arc<str>, ExternalMatch>,
    yields: Vec<(RuleId, RuleYield)>,
    warnings: Vec<String>,
}

/// Objects to make a plan for.
#[derive(Debug, Clone, Copy)]
pub struct Objects<'a> {
    /// Their namespace; `None` for cluster-scoped kinds, and for a namespace's own metric.
    pub namespace: Option<&'a str>,
    /// Their names, at least one. A namespace's own metric has the namespace's name.
    pub names: &'a [&'a str],
}

/// The rule that answers for one metric of one resource. Cheap to clone.
#[derive(Debug, Clone)]
pub struct CustomMatch(Arc<Matched>);

#[derive(Debug)]
struct Matched {
    rule: Arc<Rule>,
    series: Arc<str>,
    written: Written,
    labels: Arc<[Arc<str>]>,
    label: Arc<str>,
    namespace_label: Option<Arc<str>>,
    window: Option<Duration>,
}

struct Entry {
    matched: CustomMatch,
    namespaced: bool,
}

/// The rule that answers for an external metric. Cheap to clone.
#[derive(Debug, Clone)]
pub struct ExternalMatch(Arc<MatchedExternal>);

#[derive(Debug)]
struct MatchedExternal {
    rule: Arc<Rule>,
    series: Arc<str>,
    written: Written,
    labels: Arc<[Arc<str>]>,
    /// `None` when the rule has no label for namespaces; a namespaced rule then makes no query.
    namespace_label: Option<Arc<str>>,
    window: Option<Duration>,
}

/// What of a request has no effect on a rule's query.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Ignored {
    /// There is a namespace, and the query is the same without it.
    pub namespace: bool,
    /// There is a metric selector, and the query is the same without it.
    pub selector: bool,
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
        let found = |rule: &Rule| discovered.get(rule.series_query.as_str()).copied().unwrap_or_default();
        let custom: Vec<_> =
            rules.custom.iter().map(|rule| (rule.id, builder.add(rule, found(rule)))).collect();
        let external = rules.external.iter().map(|rule| (rule.id, builder.add_external(rule, found(rule))));
        let yields = custom.into_iter().chain(external).collect();
        let resources = builder
            .metrics
            .iter()
            .flat_map(|(resource, metrics)| {
                metrics.iter().map(|(metric, entry)| CustomResource {
                    resource: resource.clone(),
                    metric: Arc::clone(metric),
                    namespaced: entry.namespaced,
                })
            })
            .collect();
        Catalog {
            metrics: builder.metrics,
            resources,
            external: builder.external,
            yields,
            warnings: builder.warnings.into_iter().collect(),
        }
    }

    /// Every metric, sorted by resource and name.
    pub fn custom_resources(&self) -> &[CustomResource] {
        &self.resources
    }

    /// The rule for a metric of a resource; `None` when there is no such metric.
    pub fn custom(&self, resource: &GroupResource, metric: &str) -> Option<CustomMatch> {
        Some(self.metrics.get(resource)?.get(metric)?.matched.clone())
    }

    /// The name of every external metric, sorted.
    pub fn external_metrics(&self) -> impl Iterator<Item = &str> {
        self.external.keys().map(|name| &**name)
    }

    /// The rule for an external metric; `None` when there is no such metric.
    pub fn external(&self, metric: &str) -> Option<ExternalMatch> {
        self.external.get(metric).cloned()
    }

    /// What became of each rule's series, in the order of the file, custom rules first.
    pub fn yields(&self) -> &[(RuleId, RuleYield)] {
        &self.yields
    }

    /// What an operator should know: metrics that two rules make, labels whose kind the cluster lacks.
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }
}

impl CustomMatch {
    /// The rule.
    pub fn rule(&self) -> RuleId {
        self.0.rule.id
    }

    /// What the rule says of missing samples and NaN.
    pub fn policy(&self) -> Policy {
        self.0.rule.policy
    }

    /// The query for objects, limited by a metric selector.
    pub fn plan(&self, objects: &Objects<'_>, selector: &Selector) -> Result<Plan, PlanError> {
        let Matched { rule, written, labels, label, namespace_label, window, .. } = &*self.0;
        let mut parts = QueryParts::of(written);
        parts.selector(selector, labels)?;
        if let Some(namespace) = objects.namespace {
            let label = namespace_label
                .as_deref()
                .ok_or(PlanError::NoLabel { rule: rule.id, resource: "namespaces" })?;
            parts.namespace(label, namespace)?;
        }
        let template = (rule.id, &rule.metrics_query);
        let promql = parts.render_for((label, objects.names), template, written, &[label])?;
        Ok(Plan { query: Query { rule: rule.id, promql, window: *window }, join_label: Arc::clone(label) })
    }

    /// What of a request the query does not depend on: a template without `<<.LabelMatchers>>` leaves no place for it.
    pub fn ignored(&self, objects: &Objects<'_>, selector: &Selector) -> Ignored {
        let names = &objects.names[..objects.names.len().min(1)];
        Ignored::of(objects.namespace, selector, |namespace, selector| {
            Some(self.plan(&Objects { namespace, names }, selector).ok()?.query.promql)
        })
    }

    /// The text of the rule's query template.
    pub fn template(&self) -> &str {
        &self.0.rule.metrics_query.text
    }

    /// The metric's name in Prometheus.
    pub fn series(&self) -> &str {
        &self.0.series
    }

    /// The names of labels that any of its series carried when they were listed, sorted.
    pub fn labels(&self) -> &[Arc<str>] {
        &self.0.labels
    }

    /// The label that limits a query to a namespace; `None` when the rule has none.
    pub fn namespace_label(&self) -> Option<&str> {
        self.0.namespace_label.as_deref()
    }
}

impl ExternalMatch {
    /// The rule.
    pub fn rule(&self) -> RuleId {
        self.0.rule.id
    }

    /// What the rule says of missing samples and NaN.
    pub fn policy(&self) -> Policy {
        self.0.rule.policy
    }

    /// The query for a namespace, limited by a metric selector. A rule with `namespaced: false` does not look at the
    /// namespace. The selector comes first and adds to the namespace: it cannot replace it.
    pub fn plan(&self, namespace: &str, selector: &Selector) -> Result<Query, PlanError> {
        self.query(self.0.rule.namespaced.then_some(namespace), selector)
    }

    fn query(&self, namespace: Option<&str>, selector: &Selector) -> Result<Query, PlanError> {
        let MatchedExternal { rule, written, labels, namespace_label, window, .. } = &*self.0;
        let mut parts = QueryParts::of(written);
        parts.selector(selector, labels)?;
        if let Some(namespace) = namespace {
            let label = namespace_label
                .as_deref()
                .ok_or(PlanError::NoLabel { rule: rule.id, resource: "namespaces" })?;
            parts.namespace(label, namespace)?;
        }
        let promql = parts.render(rule.id, &rule.metrics_query, written, &[])?;
        Ok(Query { rule: rule.id, promql, window: *window })
    }

    /// What of a request the query does not depend on. A rule with `namespaced: false` ignores the namespace on purpose.
    pub fn ignored(&self, namespace: &str, selector: &Selector) -> Ignored {
        let namespace = self.0.rule.namespaced.then_some(namespace);
        Ignored::of(namespace, selector, |namespace, selector| {
            Some(self.query(namespace, selector).ok()?.promql)
        })
    }

    /// The text of the rule's query template.
    pub fn template(&self) -> &str {
        &self.0.rule.metrics_query.text
    }

    /// The metric's name in Prometheus.
    pub fn series(&self) -> &str {
        &self.0.series
    }

    /// The names of labels that any of its series carried when they were listed, sorted.
    pub fn labels(&self) -> &[Arc<str>] {
        &self.0.labels
    }

    /// The label that limits a query to a namespace; `None` when the rule has none or does not look at the namespace.
    pub fn namespace_label(&self) -> Option<&str> {
        self.0.namespace_label.as_deref().filter(|_| self.0.rule.namespaced)
    }
}

impl Ignored {
    fn of(
        namespace: Option<&str>,
        selector: &Selector,
        render: impl Fn(Option<&str>, &Selector) -> Option<String>,
    ) -> Ignored {
        let Some(text) = render(namespace, selector) else { return Ignored::default() };
        let is_same = |other: Option<String>| other.is_some_and(|other| other == text);
        Ignored {
            namespace: namespace.is_some() && is_same(render(None, selector)),
            selector: !selector.is_empty() && is_same(render(namespace, &Selector::everything())),
        }
    }
}

struct Builder<'a> {
    mapper: &'a dyn ResourceMapper,
    metrics: BTreeMap<GroupResource, BTreeMap<Arc<str>, Entry>>,
    external: BTreeMap<Arc<str>, ExternalMatch>,
    warnings: BTreeSet<String>,
}

impl Builder<'_> {
    fn add(&mut self, rule: &Arc<Rule>, series: &[Series]) -> RuleYield {
        let labels = self.labels(rule);
        let mut counts = RuleYield { series: series.len(), ..RuleYield::default() };
        // Many series differ only in label values that discovery already dropped; one of each is enough, and in a
        // fixed order the outcome does not depend on Prometheus' order.
        let distinct: BTreeSet<&Series> = series.iter().collect();
        let carried = carried_labels(distinct.iter().copied());
        let mut speller = Speller::default();
        for series in distinct {
            match metric_of(rule, &series.name) {
                None => counts.dropped += 1,
                Some(metric) => {
                    let place = (&labels, series, &carried[&*series.name]);
                    match self.enter(rule, place, &metric, &mut speller) {
                        Entered::Nowhere => counts.unmapped += 1,
                        Entered::Unwritable => counts.dropped += 1,
                        Entered::For(metrics) => counts.metrics += metrics,
                    }
                }
            }
        }
        self.warnings.extend(speller.warning(rule));
        self.warnings.extend(Carried::of(rule, &carried).lacks(&labels, self.mapper));
        counts
    }

    /// An external metric is its name alone: labels of its series name no objects.
    fn add_external(&mut self, rule: &Arc<Rule>, series: &[Series]) -> RuleYield {
        let labels = self.labels(rule);
        let namespace_label = self.namespace_label(&labels);
        let mut counts = RuleYield { series: series.len(), ..RuleYield::default() };
        let carried = carried_labels(series);
        let distinct: BTreeSet<&Arc<str>> = series.iter().map(|series| &series.name).collect();
        let mut speller = Speller::default();
        for series in distinct {
            let Some(metric) = metric_of(rule, series) else {
                counts.dropped += 1;
                continue;
            };
            if let Some(ExternalMatch(first)) = self.external.get(&metric) {
                self.warnings.extend(made_twice(&metric, (first.rule.id, &first.series), (rule.id, series)));
                continue;
            }
            let limit = namespace_label.as_ref().filter(|_| rule.namespaced);
            let Some(written) = speller.write(rule, series, limit, None) else {
                counts.dropped += 1;
                continue;
            };
            counts.metrics += 1;
            let matched = MatchedExternal {
                rule: Arc::clone(rule),
                series: Arc::clone(series),
                labels: Arc::clone(&carried[&**series]),
                namespace_label: namespace_label.clone(),
                window: sample_window(rule, &written, None),
                written,
            };
            self.external.insert(metric, ExternalMatch(Arc::new(matched)));
        }
        self.warnings.extend(speller.warning(rule));
        if let Some(label) = namespace_label.filter(|_| rule.namespaced) {
            self.warnings.extend(Carried::of(rule, &carried).lacks_namespace(&label));
        }
        counts
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

    fn namespace_label(&self, labels: &ResolvedLabels) -> Option<Arc<str>> {
        self.mapper.kind_for("namespaces", "").and_then(|namespace| labels.label_of(&namespace))
    }

    /// Enters a series' metric for each resource of its labels.
    fn enter(
        &mut self,
        rule: &Arc<Rule>,
        (labels, series, carried): (&ResolvedLabels, &Series, &Arc<[Arc<str>]>),
        metric: &Arc<str>,
        speller: &mut Speller,
    ) -> Entered {
        let kinds: BTreeMap<GroupResource, Arc<Kind>> = series
            .label_names
            .iter()
            .filter_map(|label| labels.kind_of(label, self.mapper))
            .map(|kind| (kind.group_resource(), kind))
            .collect();
        if kinds.is_empty() {
            return Entered::Nowhere;
        }
        let namespace_label = self.namespace_label(labels);
        let (mut entered, mut unwritable) = (0, 0);
        for (resource, kind) in kinds {
            let Some(label) = labels.label_of(&kind) else { continue };
            let metrics = self.metrics.entry(resource.clone()).or_default();
            if let Some(Entry { matched: CustomMatch(first), .. }) = metrics.get(metric) {
                let name = format!("{resource}/{metric}");
                self.warnings.extend(made_twice(
                    &name,
                    (first.rule.id, &first.series),
                    (rule.id, &series.name),
                ));
                continue;
            }
            let limit = namespace_label.as_ref().filter(|_| kind.namespaced);
            let Some(written) = speller.write(rule, &series.name, limit, Some(&label)) else {
                unwritable += 1;
                continue;
            };
            let matched = Matched {
                rule: Arc::clone(rule),
                series: Arc::clone(&series.name),
                labels: Arc::clone(carried),
                window: sample_window(rule, &written, Some(&label)),
                written,
                label,
                namespace_label: namespace_label.clone(),
            };
            let entry = Entry { matched: CustomMatch(Arc::new(matched)), namespaced: kind.namespaced };
            metrics.insert(Arc::clone(metric), entry);
            entered += 1;
        }
        if entered == 0 && unwritable > 0 { Entered::Unwritable } else { Entered::For(entered) }
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

/// Says that a metric is made by two rules, or of two series by one, and which of them has it (D33).
fn made_twice(metric: &str, first: (RuleId, &str), second: (RuleId, &str)) -> Option<String> {
    let ((first_rule, first_series), (rule, series)) = (first, second);
    if first_rule != rule {
        Some(format!("{metric} is made by {first_rule} and by {rule}; {first_rule} has it"))
    } else if first_series != series {
        Some(format!("{metric} is made of more than one series by {rule}; {first_series} has it"))
    } else {
        None
    }
}

/// The API's name for a series of a rule; `None` when the rule drops it.
fn metric_of(rule: &Rule, series: &str) -> Option<Arc<str>> {
    rule.metric_of(series).filter(|metric| !metric.is_empty()).map(Arc::from)
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
