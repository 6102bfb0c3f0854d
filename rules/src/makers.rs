//! Which rule makes a metric, as far as a file alone tells: without the series that exist.

use promql::regexp;

use crate::RuleSet;
use crate::policy::Policy;
use crate::resource::{GroupResource, ResourceMapper};
use crate::rule::{Rule, RuleId};

/// A rule that makes a metric, if its series exist.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Maker {
    /// The rule.
    pub rule: RuleId,
    /// What it says of missing samples and NaN.
    pub policy: Policy,
    /// Whether the metric stays listed while its series do not exist (D89).
    pub stays_listed: bool,
}

impl RuleSet {
    /// The first rule that makes a custom metric of a resource.
    pub fn custom_maker(
        &self,
        resource: &GroupResource,
        metric: &str,
        mapper: &dyn ResourceMapper,
    ) -> Option<Maker> {
        let rule = self.custom.iter().find(|rule| may_make(rule, metric) && maps(rule, resource, mapper))?;
        let stays_listed = stays_listed_for(rule, resource, mapper);
        Some(Maker { stays_listed, ..maker(rule) })
    }

    /// The first rule that makes a custom metric of whatever resource.
    pub fn any_custom_maker(&self, metric: &str) -> Option<Maker> {
        self.custom.iter().find(|rule| may_make(rule, metric)).map(|rule| maker(rule))
    }

    /// The first rule that makes an external metric.
    pub fn external_maker(&self, metric: &str) -> Option<Maker> {
        self.external.iter().find(|rule| may_make(rule, metric)).map(|rule| maker(rule))
    }

    /// The metrics whose names the file spells out: by the rules of `rules`, then by those of `externalRules`.
    pub fn spelled_out_metrics(&self) -> impl Iterator<Item = String> {
        self.custom.iter().chain(&self.external).filter_map(|rule| rule.only_metric())
    }
}

fn maker(rule: &Rule) -> Maker {
    Maker { rule: rule.id, policy: rule.policy, stays_listed: rule.declared.is_some() }
}

fn stays_listed_for(rule: &Rule, resource: &GroupResource, mapper: &dyn ResourceMapper) -> bool {
    let Some(declared) = &rule.declared else { return false };
    let labels = rule.labels.resolve(mapper);
    let kinds = declared.labels.iter().filter_map(|label| labels.kind_of(label, mapper));
    let mut known = kinds.map(|kind| kind.group_resource());
    let mut unknown = labels.unknown.iter().filter(|(label, _)| declared.labels.contains(label));
    known.any(|kind| kind == *resource) || unknown.any(|(_, unknown)| unknown == resource)
}

/// Whether some series could give the metric its name.
fn may_make(rule: &Rule, metric: &str) -> bool {
    if let Some(series) = rule.literal_series() {
        return !metric.is_empty() && rule.metric_of(&series).as_deref() == Some(metric);
    }
    let r#as = rule.name.r#as();
    if matches!(r#as, "$0" | "${0}") {
        // The metric is called as its series.
        return rule.metric_of(metric).as_deref() == Some(metric);
    }
    let mut rest = r#as;
    let mut texts = Vec::new();
    for reference in regexp::references(r#as) {
        let Some((before, after)) = rest.split_once(reference.text) else { break };
        texts.push(before);
        rest = after;
    }
    texts.push(rest);
    fits(metric, &texts)
}

fn maps(rule: &Rule, resource: &GroupResource, mapper: &dyn ResourceMapper) -> bool {
    let labels = rule.labels.resolve(mapper);
    labels.has_template()
        || labels.overrides().filter_map(|(_, kind)| kind).any(|kind| kind.group_resource() == *resource)
        || labels.unknown.iter().any(|(_, unknown)| unknown == resource)
}

/// Whether a text holds others in their order, with anything between them: the first at its start, the last at its end.
fn fits(text: &str, parts: &[&str]) -> bool {
    let [first, middle @ .., last] = parts else { return parts.first().is_some_and(|only| *only == text) };
    let Some(mut rest) = text.strip_prefix(first) else { return false };
    for part in middle {
        let Some((_, after)) = rest.split_once(part) else { return false };
        rest = after;
    }
    rest.ends_with(last)
}

#[cfg(test)]
mod tests {
    use testkit::rows::each_row;

    use super::*;
    use crate::resource::StaticMapper;

    const RULES: &str = r#"
rules:
- {seriesQuery: depth, resources: {overrides: {namespace: {resource: namespace}, pod: {resource: pod}}}, metricsQuery: "depth{<<.LabelMatchers>>}"}
- {seriesQuery: '{__name__=~"^http_.*_total$"}', resources: {overrides: {namespace: {resource: namespace}, service: {resource: service}}}, name: {matches: "^http_(.*)_total$", as: "${1}_per_second"}, metricsQuery: "rate(<<.Series>>{<<.LabelMatchers>>}[2m])"}
- {seriesQuery: '{pod!=""}', seriesFilters: [{isNot: "_total$"}], resources: {template: "<<.Resource>>"}, metricsQuery: "<<.Series>>{<<.LabelMatchers>>}"}
externalRules:
- {seriesQuery: lag, resources: {namespaced: false}, name: {as: backlog}, onEmpty: zero, metricsQuery: "sum(lag{<<.LabelMatchers>>})"}
"#;

    #[test]
    fn rules_are_found_by_what_they_may_make() {
        let rules = crate::load(RULES).expect("valid rules");
        let mapper = StaticMapper::built_in();
        let rows = [
            ("pods", "depth", Some("rules[0]")),
            ("services", "get_per_second", Some("rules[1]")),
            ("pods", "get_per_second", Some("rules[2]")),
            // A template maps every kind.
            ("services", "depth", Some("rules[2]")),
            ("deployments", "http_total", None),
        ];
        each_row(rows, |(resource, metric, expected)| {
            let found = rules.custom_maker(&GroupResource::new("", resource), metric, &mapper);
            assert_eq!(found.map(|maker| maker.rule.to_string()).as_deref(), expected, "{resource}/{metric}");
        });
        assert!(rules.external_maker("backlog").is_some() && rules.external_maker("lag").is_none());
        assert!(rules.any_custom_maker("http_total").is_none());
    }

    #[test]
    fn a_metric_stays_listed_for_the_resources_that_the_file_tells() {
        let rules = crate::load(
            r#"
rules:
- {seriesQuery: depth, resources: {overrides: {namespace: {resource: namespace}, pool: {group: example.com, resource: pools}}}, onEmpty: zero, metricsQuery: "depth{<<.LabelMatchers>>}"}
- {seriesQuery: 'load{pod!=""}', resources: {template: "<<.Resource>>"}, onEmpty: zero, metricsQuery: "load{<<.LabelMatchers>>}"}
- {seriesQuery: 'size{pod!=""}', resources: {template: "<<.Resource>>"}, metricsQuery: "size{<<.LabelMatchers>>}"}
"#,
        );
        let (rules, mapper) = (rules.expect("valid rules"), StaticMapper::built_in());
        let rows = [
            ("namespaces", "depth", true),
            ("pools.example.com", "depth", true),
            ("pods", "load", true),
            ("services", "load", false),
            ("pods", "size", false),
        ];
        each_row(rows, |(resource, metric, expected)| {
            let (plural, group) = resource.split_once('.').unwrap_or((resource, ""));
            let maker = rules.custom_maker(&GroupResource::new(group, plural), metric, &mapper);
            assert_eq!(maker.map(|maker| maker.stays_listed), Some(expected), "{resource}/{metric}");
        });
    }

    #[test]
    fn texts_fit_between_groups() {
        let rows = [
            ("a_b", vec!["", "_b"], true),
            ("a_b", vec!["a", ""], true),
            ("a_b_c", vec!["a", "b", "c"], true),
            ("a_b_c", vec!["a", "x", "c"], false),
            ("ab", vec!["abc", ""], false),
            ("x", vec!["x"], true),
        ];
        each_row(rows, |(text, parts, expected)| {
            assert_eq!(fits(text, &parts), expected, "{text} {parts:?}");
        });
    }
}
