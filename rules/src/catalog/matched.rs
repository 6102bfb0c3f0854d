//! What the catalog finds for a metric: the rule that answers for it, and the queries that the rule makes.

use std::slice;
use std::sync::Arc;
use std::time::Duration;

use selector::labels::Selector;

use super::proofs::Proofs;
use crate::plan::{Plan, PlanError, Query};
use crate::policy::Policy;
use crate::query_parts::QueryParts;
use crate::quoted_names::Written;
use crate::rule::{Rule, RuleId};

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
pub struct CustomMatch {
    pub(super) origin: Arc<Origin>,
    /// The label that names the objects.
    pub(super) label: Arc<str>,
    pub(super) namespaced: bool,
}

/// The rule that answers for an external metric. Cheap to clone.
#[derive(Debug, Clone)]
pub struct ExternalMatch {
    pub(super) origin: Arc<Origin>,
}

/// What a metric is made of: a rule, and the series that the rule names it after. There can be hundreds of thousands.
#[derive(Debug)]
pub struct Origin {
    pub(super) query: Arc<RuleQuery>,
    pub(super) series: Arc<str>,
    /// How the query writes names; `None` where none of them needs quotes.
    written: Option<Box<Written>>,
    /// `None` when there is no series, and the rule stays listed without (D89).
    labels: Option<Arc<[Arc<str>]>>,
    pub(super) proofs: Proofs,
}

/// What of a rule's query is the same for all of its series.
#[derive(Debug)]
pub(super) struct RuleQuery {
    pub(super) rule: Arc<Rule>,
    /// `None` when the rule has no label for namespaces; a query for a namespace then cannot be made.
    pub(super) namespace_label: Option<Arc<str>>,
    pub(super) window: Option<Duration>,
}

/// What of a request has no effect on a rule's query.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Ignored {
    /// There is a namespace, and the query is the same without it.
    pub namespace: bool,
    /// There is a metric selector, and the query is the same without it.
    pub selector: bool,
}

impl CustomMatch {
    /// The rule and the series.
    pub fn origin(&self) -> &Origin {
        &self.origin
    }

    /// The query for objects, limited by a metric selector.
    pub fn plan(&self, objects: &Objects<'_>, selector: &Selector) -> Result<Plan, PlanError> {
        let RuleQuery { rule, window, .. } = &*self.origin.query;
        let written = self.origin.written();
        let parts = self.origin.limited(objects.namespace.as_ref().map(slice::from_ref), selector)?;
        let template = (rule.id, &rule.metrics_query);
        let promql = parts.render_for((&self.label, objects.names), template, &written, &[&self.label])?;
        let query = Query { rule: rule.id, promql, window: *window };
        Ok(Plan { query, join_label: Arc::clone(&self.label) })
    }

    /// What of a request the query does not depend on: a template without `<<.LabelMatchers>>` leaves no place for it.
    pub fn ignored(&self, objects: &Objects<'_>, selector: &Selector) -> Ignored {
        let names = &objects.names[..objects.names.len().min(1)];
        Ignored::of(objects.namespace, selector, |namespace, selector| {
            Some(self.plan(&Objects { namespace, names }, selector).ok()?.query.promql)
        })
    }

    /// The label that names the objects.
    pub fn object_label(&self) -> &str {
        &self.label
    }

    /// The label that limits a query to a namespace; `None` when the rule has none.
    pub fn namespace_label(&self) -> Option<&str> {
        self.origin.query.namespace_label.as_deref()
    }
}

impl ExternalMatch {
    /// The rule and the series.
    pub fn origin(&self) -> &Origin {
        &self.origin
    }

    /// The query for a namespace, limited by a metric selector. A rule with `namespaced: false` does not look at the
    /// namespace. The selector comes first and adds to the namespace: it cannot replace it.
    pub fn plan(&self, namespace: &str, selector: &Selector) -> Result<Query, PlanError> {
        self.query(self.origin.query.rule.namespaced.then_some(namespace), selector)
    }

    fn query(&self, namespace: Option<&str>, selector: &Selector) -> Result<Query, PlanError> {
        let RuleQuery { rule, window, .. } = &*self.origin.query;
        let parts = self.origin.limited(namespace.as_ref().map(slice::from_ref), selector)?;
        let promql = parts.render(rule.id, &rule.metrics_query, &self.origin.written(), &[])?;
        Ok(Query { rule: rule.id, promql, window: *window })
    }

    /// What of a request the query does not depend on. A rule with `namespaced: false` ignores the namespace on
    /// purpose.
    pub fn ignored(&self, namespace: &str, selector: &Selector) -> Ignored {
        let namespace = self.origin.query.rule.namespaced.then_some(namespace);
        Ignored::of(namespace, selector, |namespace, selector| {
            Some(self.query(namespace, selector).ok()?.promql)
        })
    }

    /// The label that limits a query to a namespace; `None` when the rule has none or does not look at the namespace.
    pub fn namespace_label(&self) -> Option<&str> {
        self.origin.query.namespace_label.as_deref().filter(|_| self.origin.query.rule.namespaced)
    }
}

impl Origin {
    pub(super) fn new(
        query: &Arc<RuleQuery>,
        series: &Arc<str>,
        written: Written,
        labels: Option<&Arc<[Arc<str>]>>,
    ) -> Origin {
        let is_plain = written == Written::plainly(series);
        Origin {
            query: Arc::clone(query),
            series: Arc::clone(series),
            written: (!is_plain).then(|| Box::new(written)),
            labels: labels.cloned(),
            proofs: Proofs::default(),
        }
    }

    /// How its query writes names.
    pub(super) fn written(&self) -> Written {
        self.written.as_deref().cloned().unwrap_or_else(|| Written::plainly(&self.series))
    }

    /// The rule.
    pub fn rule(&self) -> RuleId {
        self.query.rule.id
    }

    /// What the rule says of missing samples and NaN.
    pub fn policy(&self) -> Policy {
        self.query.rule.policy
    }

    /// The rule itself.
    pub fn made_by(&self) -> &Rule {
        &self.query.rule
    }

    /// The text of the rule's query template.
    pub fn template(&self) -> &str {
        self.query.rule.template()
    }

    /// The label that says of a sample which namespace it is of, whether or not the rule limits its query by it.
    pub fn label_of_namespaces(&self) -> Option<&str> {
        self.query.namespace_label.as_deref()
    }

    /// The widest range that the rule's query looks at; `None` for a query over instants.
    pub fn window(&self) -> Option<Duration> {
        self.query.window
    }

    /// The metric's name in Prometheus.
    pub fn series(&self) -> &str {
        &self.series
    }

    /// The names of labels that any of its series carried when they were listed, sorted; empty without series.
    pub fn labels(&self) -> &[Arc<str>] {
        self.labels.as_deref().unwrap_or_default()
    }

    /// Whether any series was listed. A rule whose `onEmpty` answers for none stays listed without (D89).
    pub fn has_series(&self) -> bool {
        self.labels.is_some()
    }

    /// The parts of a query for namespaces and a metric selector.
    pub(super) fn limited<'a>(
        &'a self,
        namespaces: Option<&[&str]>,
        selector: &'a Selector,
    ) -> Result<QueryParts<'a>, PlanError> {
        let mut parts = QueryParts::of(&self.written());
        parts.selector(selector, self.labels())?;
        if let Some(namespaces) = namespaces {
            let label = self
                .query
                .namespace_label
                .as_deref()
                .ok_or(PlanError::NoLabel { rule: self.query.rule.id, resource: "namespaces" })?;
            parts.namespaces(label, namespaces)?;
        }
        Ok(parts)
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
