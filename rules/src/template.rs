//! Go text templates between `<<` and `>>`: what Go's text/template makes of the data that upstream gives it.
//!
//! `tests/data/templates.jsonl` holds templates and what Go makes of them, for the tests here and for those of Go.

mod check;
mod escape;
mod execute;
mod fault;
mod fields;
mod format;
mod functions;
mod keys;
mod lexer;
mod literal;
mod number;
mod parser;
mod pastes;
mod quote;
mod tree;
mod value;

#[cfg(test)]
mod tests;

pub use fault::TemplateError;
use fault::{Fault, place};
use fields::{LABEL, QUERY};
pub(crate) use fields::{LabelFields, QueryFields};
use tree::Tree;
use value::{Record, RecordType, Value};

/// A compiled template.
#[derive(Debug)]
pub(crate) struct Template {
    text: String,
    tree: Tree,
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

    /// Whether it does nothing but paste its fields.
    pub(crate) fn only_pastes(&self) -> bool {
        pastes::only(&self.tree)
    }
}
