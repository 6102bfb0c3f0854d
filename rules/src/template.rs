//! Go text templates between `<<` and `>>`: what Go's text/template makes of the data that upstream gives it.
//!
//! `tests/data/templates.jsonl` holds templates and what Go makes of them, for the tests here and for those of Go.

mod check;
mod escape;
mod execute;
mod format;
mod functions;
mod keys;
mod lexer;
mod literal;
mod number;
mod parser;
mod tree;
mod value;

#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::collections::BTreeMap;

use tree::Tree;
use value::{List, Record, RecordType, Type, Value};

/// Why a template does not compile or does not run.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}, column {column}: {message}")]
pub struct TemplateError {
    /// 1-based line of the template.
    pub line: usize,
    /// 1-based column, in characters.
    pub column: usize,
    /// What was expected and what was found.
    pub message: String,
}

/// A compiled template.
#[derive(Debug)]
pub(crate) struct Template {
    text: String,
    tree: Tree,
}

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

/// What is wrong at a byte of a template.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Fault {
    at: usize,
    message: String,
}

impl Template {
    /// Compiles the template of a query.
    pub(crate) fn query(text: &str) -> Result<Template, TemplateError> {
        Template::compile("metrics-query", text, &QUERY)
    }

    /// Compiles the template of a label.
    pub(crate) fn label(text: &str) -> Result<Template, TemplateError> {
        Template::compile("resource-label", text, &LABEL)
    }

    fn compile(name: &'static str, text: &str, data: &'static RecordType) -> Result<Template, TemplateError> {
        let template = Template {
            text: text.to_owned(),
            tree: parser::parse(name, text).map_err(|fault| place(text, fault))?,
        };
        match check::check(&template.tree, data).into_iter().next() {
            Some(fault) => Err(place(text, fault)),
            None => Ok(template),
        }
    }

    /// Runs the template of a query.
    pub(crate) fn fill_query(&self, fields: &QueryFields<'_>) -> Result<String, TemplateError> {
        fields.with_record(|record| self.fill(record))
    }

    /// Runs the template of a label.
    pub(crate) fn fill_label(&self, fields: LabelFields<'_>) -> Result<String, TemplateError> {
        fields.with_record(|record| self.fill(record))
    }

    fn fill(&self, data: &Record<'_>) -> Result<String, TemplateError> {
        let text =
            execute::execute(&self.tree, &Value::Record(data)).map_err(|fault| place(&self.text, fault))?;
        String::from_utf8(text).map_err(|error| {
            let at = error.utf8_error().valid_up_to();
            let message = format!("expected UTF-8, found a broken character at byte {at} of what it renders");
            place(&self.text, Fault { at: 0, message })
        })
    }
}

impl Template {
    /// Names of labels whose values a query template asks for by a constant name.
    pub(crate) fn label_names(&self) -> Vec<&str> {
        keys::label_names(&self.tree)
    }
}

impl QueryFields<'_> {
    fn with_record<T>(&self, run: impl FnOnce(&Record<'_>) -> T) -> T {
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
    fn with_record<T>(&self, run: impl FnOnce(&Record<'_>) -> T) -> T {
        let LabelFields { group, resource } = *self;
        let text = if group.is_empty() { resource.to_owned() } else { format!("{resource}.{group}") };
        let is_empty = Value::Bool(group.is_empty() && resource.is_empty());
        let values = vec![Value::text(group), Value::text(resource), Value::text(&text), is_empty];
        run(&Record { kind: &LABEL, values, text: Some(&text) })
    }
}

/// Text of a template for a message.
fn short(text: &str) -> Cow<'_, str> {
    match text.char_indices().nth(40) {
        Some((end, _)) => format!("{}…", &text[..end]).into(),
        None => text.into(),
    }
}

fn place(text: &str, fault: Fault) -> TemplateError {
    let before = &text[..fault.at];
    let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
    TemplateError {
        line: before.matches('\n').count() + 1,
        column: before[line_start..].chars().count() + 1,
        message: fault.message,
    }
}

static QUERY: RecordType = RecordType {
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

static LABEL: RecordType = RecordType {
    name: "schema.GroupResource",
    fields: &[("Group", Type::Text), ("Resource", Type::Text)],
    methods: &[("String", Type::Text), ("Empty", Type::Bool)],
};
