//! One query for the objects that many callers ask about (D85), where the rule's query proves that each object's
//! samples are the same in it.

use std::sync::Arc;

use selector::labels::Selector;

use super::matched::CustomMatch;
use super::proofs::Proof;
use crate::plan::{PlanError, Query};
use crate::query_parts::QueryParts;
use crate::regrouped::only_gains;
use crate::separable::{Limit, is_limited_only_by};

/// A rule's query for all objects of some scopes, from whose answer each caller's objects can be picked. A scope is a
/// namespace, or the object itself if it lives in none.
pub struct SharedQuery<'a> {
    matched: &'a CustomMatch,
    selector: &'a Selector,
    proof: Arc<Proof>,
}

impl<'a> SharedQuery<'a> {
    /// How a metric's query for a metric selector is shared; `None` where an object's samples may depend on other
    /// objects' series, or where this is not known.
    pub fn of(matched: &'a CustomMatch, selector: &'a Selector) -> Option<SharedQuery<'a>> {
        let proof = matched.origin.proofs.get_or_prove(selector, || prove(matched, selector))?;
        Some(SharedQuery { matched, selector, proof })
    }

    /// Equal for queries that give the same objects the same samples.
    pub fn text(&self) -> &Arc<str> {
        &self.proof.text
    }

    /// The label that holds a sample's scope; `None` where a query is for one scope and its samples need not say so.
    pub fn scope_label(&self) -> Option<&Arc<str>> {
        match (self.proof.many, self.matched.namespaced) {
            (true, true) => self.matched.origin.query.namespace_label.as_ref(),
            (true, false) => Some(&self.matched.label),
            (false, _) => None,
        }
    }

    /// The label that holds the object's name.
    pub fn join_label(&self) -> &Arc<str> {
        &self.matched.label
    }

    /// The query for scopes: one, unless samples say theirs.
    pub fn query(&self, scopes: &[&str]) -> Result<Query, PlanError> {
        let origin = &self.matched.origin;
        let parts = if self.matched.namespaced {
            origin.limited(Some(scopes), self.selector)?
        } else {
            let mut parts = origin.limited(None, self.selector)?;
            parts.objects(&self.matched.label, scopes)?;
            parts
        };
        let promql = fill(self.matched, &parts, self.proof.many)?;
        Ok(Query { rule: origin.query.rule.id, promql, window: origin.query.window })
    }
}

fn prove(matched: &CustomMatch, selector: &Selector) -> Option<Arc<Proof>> {
    // Else what holds for the names below need not hold for others.
    if !matched.origin.query.rule.metrics_query.template.only_pastes() {
        return None;
    }
    let names = Limit { label: &matched.label, pattern: NAMES_PATTERN };
    let proven = |scopes: Option<&[&str]>, limits: &[Limit<'_>], many: bool| {
        let mut parts = matched.origin.limited(scopes, selector).ok()?;
        parts.objects(&matched.label, &NAMES).ok()?;
        let limited = fill(matched, &parts, many).ok()?;
        // Each request by itself has groups of the objects alone.
        let alone = fill(matched, &parts, false).ok()?;
        let regrouped = alone != limited;
        if regrouped && !matched.namespace_label().is_some_and(|label| only_gains(label, &alone, &limited)) {
            return None;
        }
        // What limits a query to one namespace stays in it.
        let kept = if many { None } else { scopes };
        let unlimited = fill(matched, &matched.origin.limited(kept, selector).ok()?, many).ok()?;
        is_limited_only_by(limits, &limited, &unlimited)
            .then(|| Arc::new(Proof { text: unlimited.into(), many }))
    };
    if !matched.namespaced {
        return proven(None, &[names], true);
    }
    let namespaces = Limit { label: matched.namespace_label()?, pattern: NAMESPACES_PATTERN };
    proven(Some(&NAMESPACES), &[namespaces, names], true)
        .or_else(|| proven(Some(&NAMESPACES[..1]), &[names], false))
}

/// The rule's query. Samples of `many` namespaces say which one they are of.
fn fill(matched: &CustomMatch, parts: &QueryParts<'_>, many: bool) -> Result<String, PlanError> {
    let rule = &matched.origin.query.rule;
    let namespace = matched.namespace_label().filter(|_| many && matched.namespaced);
    let group_by: Vec<&str> = namespace.into_iter().chain([&*matched.label]).collect();
    parts.render(rule.id, &rule.metrics_query, &matched.origin.written(), &group_by)
}

/// Stand for any namespaces and names: a query differs in nothing but its matchers' values.
const NAMESPACES: [&str; 2] = ["shared-namespace-a", "shared-namespace-b"];
const NAMESPACES_PATTERN: &str = "shared-namespace-a|shared-namespace-b";
const NAMES: [&str; 2] = ["shared-name-a", "shared-name-b"];
const NAMES_PATTERN: &str = "shared-name-a|shared-name-b";

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use testkit::rows::each_row;

    use super::*;
    use crate::catalog::{Catalog, Series};
    use crate::resource::{GroupResource, StaticMapper};

    fn matched(query: &str, resource: &str) -> CustomMatch {
        let query = query.replace('\'', "''");
        let rules = format!(
            "rules:\n- seriesQuery: depth\n  resources: {{template: <<.Resource>>}}\n  metricsQuery: '{query}'\n"
        );
        let rules = crate::load(&rules).expect("a valid rule");
        let label_names = ["namespace", "pod", "node", "code"].map(Into::into).into();
        let series = [Series { name: "depth".into(), label_names }];
        let discovered = HashMap::from([("depth", series.as_slice())]);
        let catalog = Catalog::build(&rules, &discovered, &StaticMapper::built_in());
        catalog.custom(&GroupResource::new("", resource), "depth").expect("a metric")
    }

    #[test]
    fn one_query_is_for_several_namespaces_and_all_of_their_objects() {
        let sum = "sum(<<.Series>>{<<.LabelMatchers>>}) by (<<.GroupBy>>)";
        let rows = [
            (sum, "", r#"sum(depth{namespace=~"a|b"}) by (namespace,pod)"#),
            (sum, "code=5xx", r#"sum(depth{code="5xx",namespace=~"a|b"}) by (namespace,pod)"#),
            ("<<.Series>>{<<.LabelMatchers>>}", "", r#"depth{namespace=~"a|b"}"#),
        ];
        each_row(rows, |(query, selector, expected)| {
            let (matched, selector) =
                (matched(query, "pods"), Selector::parse(selector).expect("a selector"));
            let shared = SharedQuery::of(&matched, &selector).expect("shared");
            assert_eq!(shared.scope_label().map(|label| &**label), Some("namespace"));
            assert_eq!(shared.query(&["a", "b"]).expect("a query").promql, expected);
        });
        let (matched, everything) = (matched(sum, "pods"), Selector::everything());
        let shared = SharedQuery::of(&matched, &everything).expect("shared");
        assert_eq!(
            shared.query(&["a"]).expect("a query").promql,
            r#"sum(depth{namespace="a"}) by (namespace,pod)"#
        );
        assert!(shared.query(&["a\"} or x{"]).is_err());
    }

    #[test]
    fn a_query_whose_samples_do_not_say_their_namespace_is_for_one() {
        let (matched, everything) =
            (matched("sum(<<.Series>>{<<.LabelMatchers>>}) by (pod)", "pods"), Selector::everything());
        let shared = SharedQuery::of(&matched, &everything).expect("shared");
        assert_eq!(shared.scope_label(), None);
        assert_eq!(shared.query(&["a"]).expect("a query").promql, r#"sum(depth{namespace="a"}) by (pod)"#);
    }

    #[test]
    fn objects_outside_of_namespaces_are_asked_for_by_name() {
        let (matched, everything) = (
            matched("max(<<.Series>>{<<.LabelMatchers>>}) by (<<.GroupBy>>)", "nodes"),
            Selector::everything(),
        );
        let shared = SharedQuery::of(&matched, &everything).expect("shared");
        assert_eq!(shared.scope_label().map(|label| &**label), Some("node"));
        let query = shared.query(&["n-1", "n-2.x"]).expect("a query");
        assert_eq!(query.promql, r#"max(depth{node=~"n-1|n-2\\.x"}) by (node)"#);
    }

    #[test]
    fn queries_that_compute_with_their_fields_or_join_objects_are_not_shared() {
        let rows = [
            "sum(<<.Series>>{<<.LabelMatchers>>})",
            "<<.Series>>{<<.LabelMatchers>>} / scalar(sum(<<.Series>>{<<.LabelMatchers>>}))",
            "<<.Series>>{pod=~\"<<index .LabelValuesByName \"pod\">>\",<<.LabelMatchers>>}",
            "<<.Series>>{<<.LabelMatchers>>}<<if eq .GroupBy \"pod\">> * 2<<end>>",
            "<<.Series>>{<<.LabelMatchers>>} ???",
        ];
        each_row(rows, |query| {
            assert!(SharedQuery::of(&matched(query, "pods"), &Selector::everything()).is_none(), "{query}");
        });
    }
}
