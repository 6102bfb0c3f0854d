//! The fields that templates may use, as upstream names them.

use std::borrow::Cow;
use std::collections::BTreeMap;

use super::value::{List, Record, RecordType, Type, Value};

/// What a query template may use: upstream's `queryTemplateArgs` (`pkg/naming/metrics_query.go`).
#[derive(Debug, Clone)]
pub(crate) struct QueryFields<'a> {
    /// `.Series`: the series' name.
    pub(crate) series: &'a str,
    /// `.LabelMatchers`: PromQL matchers joined by commas.
    pub(crate) label_matchers: &'a str,
    /// `.LabelValuesByName`: the values of each matched label, joined by `|`. The last of a label counts.
    pub(crate) label_values_by_name: &'a [(Cow<'a, str>, &'a str)],
    /// `.GroupBySlice`; `.GroupBy` is the same joined by commas.
    pub(crate) group_by: &'a [Cow<'a, str>],
}

/// What a label template may use: a resource and its group, as upstream's `schema.GroupResource` has them.
#[derive(Debug, Clone, Copy)]
pub(crate) struct LabelFields<'a> {
    /// `.Group`
    pub(crate) group: &'a str,
    /// `.Resource`
    pub(crate) resource: &'a str,
}

impl QueryFields<'_> {
    pub(super) fn with_record<T>(&self, run: impl FnOnce(&Record<'_>) -> T) -> T {
        let by_name: BTreeMap<&str, &str> =
            self.label_values_by_name.iter().map(|(name, values)| (&**name, *values)).collect();
        let labels: Vec<&str> = self.group_by.iter().map(|label| &**label).collect();
        let group_by = labels.join(",");
        let values = vec![
            Value::text(self.series),
            Value::text(self.label_matchers),
            Value::Map(&by_name),
            Value::text(&group_by),
            Value::List(List { items: &labels, length: labels.len() }),
        ];
        run(&Record { kind: &QUERY, values, text: None })
    }
}

impl LabelFields<'_> {
    pub(super) fn with_record<T>(&self, run: impl FnOnce(&Record<'_>) -> T) -> T {
        let LabelFields { group, resource } = *self;
        let text = if group.is_empty() { resource.to_owned() } else { format!("{resource}.{group}") };
        let is_empty = Value::Bool(group.is_empty() && resource.is_empty());
        let values = vec![Value::text(group), Value::text(resource), Value::text(&text), is_empty];
        run(&Record { kind: &LABEL, values, text: Some(&text) })
    }
}

pub(super) static QUERY: RecordType = RecordType {
    name: "naming.queryTemplateArgs",
    fields: &[
        ("Series", Type::Text),
        ("LabelMatchers", Type::Text),
        ("LabelValuesByName", Type::Map),
        ("GroupBy", Type::Text),
        ("GroupBySlice", Type::List),
    ],
    methods: &[],
};

pub(super) static LABEL: RecordType = RecordType {
    name: "schema.GroupResource",
    fields: &[("Group", Type::Text), ("Resource", Type::Text)],
    methods: &[("String", Type::Text), ("Empty", Type::Bool)],
};
