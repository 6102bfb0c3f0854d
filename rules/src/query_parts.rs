//! Step 7 of a request: a matched rule and names become PromQL.
//!
//! What a caller wrote reaches PromQL only if it is a Kubernetes name, a valid label value, or the key of a label that
//! a series of the metric has; all consist of characters that need no escape in a quoted string, and the only one with
//! a meaning in a regular expression is the dot, which is escaped (D15). So no template, however it pastes its fields,
//! can be made to select other series.

use std::borrow::Cow;
use std::sync::Arc;

use selector::labels::{Operator, Requirement, Selector};
use selector::names;

use crate::plan::PlanError;
use crate::quoted_names::Written;
use crate::quoting::{self, is_label_name};
use crate::rule::{QueryTemplate, RuleId};
use crate::separable::{self, Limit};
use crate::template::QueryFields;

/// The parts of a query, gathered matcher by matcher in upstream's order (`pkg/naming/metrics_query.go`): metric
/// selector, namespace, resource.
#[derive(Default, Clone)]
pub(crate) struct QueryParts<'a> {
    matchers: String,
    values_by_name: Vec<(&'a str, String)>,
}

impl<'a> QueryParts<'a> {
    pub(crate) fn of(written: &Written) -> QueryParts<'a> {
        let matchers = written.name_matcher.as_deref().unwrap_or_default().to_owned();
        QueryParts { matchers, values_by_name: Vec::new() }
    }

    /// `known` are the labels that need quotes and may be selected by all the same.
    pub(crate) fn selector(&mut self, selector: &'a Selector, known: &[Arc<str>]) -> Result<(), PlanError> {
        selector.requirements().iter().try_for_each(|requirement| self.requirement(requirement, known))
    }

    fn requirement(&mut self, requirement: &'a Requirement, known: &[Arc<str>]) -> Result<(), PlanError> {
        let Requirement { key, operator, values } = requirement;
        if !is_label_name(key) && !known.iter().any(|label| **label == **key) {
            return Err(PlanError::UnsupportedLabel { key: key.clone() });
        }
        match operator {
            Operator::Equals => self.equals(key, "=", values.first().map_or("", String::as_str)),
            Operator::NotEquals => self.equals(key, "!=", values.first().map_or("", String::as_str)),
            Operator::Exists => self.equals(key, "!=", ""),
            Operator::DoesNotExist => self.equals(key, "=", ""),
            Operator::In => self.any_of(key, "=~", values.iter().map(String::as_str)),
            Operator::NotIn => self.any_of(key, "!~", values.iter().map(String::as_str)),
            Operator::GreaterThan | Operator::LessThan => {
                return Err(PlanError::UnsupportedOperator { key: key.clone(), operator: *operator });
            }
        }
        Ok(())
    }

    pub(crate) fn namespaces(&mut self, label: &'a str, namespaces: &[&str]) -> Result<(), PlanError> {
        if let Some(other) = namespaces.iter().find(|namespace| !names::is_dns_label(namespace)) {
            return Err(PlanError::NotAKubernetesName { what: "namespace", name: (*other).to_owned() });
        }
        self.one_of(label, namespaces);
        Ok(())
    }

    pub(crate) fn objects(&mut self, label: &'a str, names: &[&str]) -> Result<(), PlanError> {
        names.iter().try_for_each(|name| object_name(name))?;
        self.one_of(label, names);
        Ok(())
    }

    fn one_of(&mut self, label: &'a str, values: &[&str]) {
        match values {
            [value] => self.equals(label, "=", value),
            values => self.any_of(label, "=~", values.iter().copied()),
        }
    }

    /// Fills the rule's template with what was gathered and with the objects. Many names are left out where the rule's
    /// query gives each object the same samples without (D41).
    pub(crate) fn render_for(
        &self,
        (label, names): (&'a str, &[&str]),
        (rule, template): (RuleId, &QueryTemplate),
        written: &Written,
        group_by: &[&str],
    ) -> Result<String, PlanError> {
        let limited = |names: &[&str]| {
            let mut parts = self.clone();
            parts.objects(label, names)?;
            parts.render(rule, template, written, group_by)
        };
        let bytes: usize = names.iter().map(|name| name.len() + 1).sum();
        if names.len() > MANY_NAMES || (names.len() > 1 && bytes > MANY_BYTES) {
            names.iter().try_for_each(|name| object_name(name))?;
            // Names change nothing of a query but the matchers that hold them: two stand for all.
            let (two, all) = (limited(&names[..2])?, self.render(rule, template, written, group_by)?);
            let pattern = joined(names[..2].iter().copied(), r"\.");
            if separable::is_limited_only_by(&[Limit { label, pattern: &pattern }], &two, &all) {
                return Ok(all);
            }
        }
        limited(names)
    }

    pub(crate) fn equals(&mut self, label: &'a str, operator: &str, value: &str) {
        self.matcher(label, operator, value);
        self.values_by_name.push((label, value.to_owned()));
    }

    fn any_of<'v>(&mut self, label: &'a str, operator: &str, values: impl Iterator<Item = &'v str> + Clone) {
        // Inside the matcher's quotes a backslash is written twice; a rule's own quotes may be of any kind, so there
        // the dot is escaped in the one form that needs no backslash.
        self.matcher(label, operator, &joined(values.clone(), r"\\."));
        self.values_by_name.push((label, joined(values, "[.]")));
    }

    fn matcher(&mut self, label: &str, operator: &str, value: &str) {
        if !self.matchers.is_empty() {
            self.matchers.push(',');
        }
        self.matchers.extend([&quoting::label(label), operator, "\"", value, "\""]);
    }

    pub(crate) fn matchers(&self) -> &str {
        &self.matchers
    }

    /// Fills the rule's template.
    pub(crate) fn render(
        &self,
        rule: RuleId,
        template: &QueryTemplate,
        written: &Written,
        group_by: &[&str],
    ) -> Result<String, PlanError> {
        let group_by: Vec<Cow<'_, str>> = group_by.iter().map(|label| written.label(label)).collect();
        let values_by_name: Vec<(Cow<'_, str>, &str)> = self
            .values_by_name
            .iter()
            .map(|(label, values)| (written.label(label), values.as_str()))
            .collect();
        let fields = QueryFields {
            series: &written.series,
            label_matchers: &self.matchers,
            label_values_by_name: &values_by_name,
            group_by: &group_by,
        };
        let text =
            template.template.fill_query(&fields).map_err(|cause| PlanError::Template { rule, cause })?;
        if text.is_empty() { Err(PlanError::Empty { rule }) } else { Ok(text) }
    }
}

fn object_name(name: &str) -> Result<(), PlanError> {
    if names::is_dns_subdomain(name) {
        return Ok(());
    }
    Err(PlanError::NotAKubernetesName { what: "name", name: name.to_owned() })
}

fn joined<'v>(values: impl Iterator<Item = &'v str>, dot: &str) -> String {
    let mut text = String::new();
    for (position, value) in values.enumerate() {
        if position > 0 {
            text.push('|');
        }
        for (position, part) in value.split('.').enumerate() {
            if position > 0 {
                text.push_str(dot);
            }
            text.push_str(part);
        }
    }
    text
}

/// From more names on, or more bytes of them, a query leaves them out where it may.
const MANY_NAMES: usize = 100;
const MANY_BYTES: usize = 8 * 1024;
