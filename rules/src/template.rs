//! Go text templates between `<<` and `>>`, with the five fields that a query has.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

use gotmpl::{MissingKey, Template, Value};

use crate::quoting;

/// Why a template does not compile or does not run.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct TemplateError(String);

/// What a query template may use: upstream's `queryTemplateArgs` (`pkg/naming/metrics_query.go`).
#[derive(Debug, Clone)]
pub(crate) struct QueryFields<'a> {
    /// `.Series`: the series' name.
    pub(crate) series: &'a str,
    /// `.LabelMatchers`: PromQL matchers joined by commas.
    pub(crate) label_matchers: &'a str,
    /// `.LabelValuesByName`: the values of each matched label, joined by `|`.
    pub(crate) label_values_by_name: &'a [(Cow<'a, str>, &'a str)],
    /// `.GroupBySlice`; `.GroupBy` is the same joined by commas.
    pub(crate) group_by: &'a [Cow<'a, str>],
}

/// Compiles a template.
pub(crate) fn compile(text: &str) -> Result<Template, TemplateError> {
    Template::new("query")
        .delims("<<", ">>")
        .missing_key(MissingKey::Error)
        .func("index", index)
        .parse(text)
        .map_err(|error| TemplateError(error.to_string()))
}

/// Go's `index` over what a query has: maps of strings, where a key that is not there is empty, and lists.
fn index(arguments: &[Value]) -> gotmpl::Result<Value> {
    let refuse = |message: String| Err(gotmpl::TemplateError::Exec(message));
    let Some((first, indices)) = arguments.split_first() else {
        return refuse("index: expected a map or a list, found nothing".to_owned());
    };
    indices.iter().try_fold(first.clone(), |value, index| match (&value, index) {
        (Value::Map(map), Value::String(key)) => {
            // Labels that need quotes are there in quotes; a rule may look one up by its name.
            let found = map.get(key).or_else(|| map.get(&*quoting::label(key)));
            Ok(found.cloned().unwrap_or_else(|| "".into()))
        }
        (Value::List(list), Value::Int(position)) => {
            match usize::try_from(*position).ok().and_then(|position| list.get(position)) {
                Some(item) => Ok(item.clone()),
                None => {
                    refuse(format!("index: {position} is out of range, expected less than {}", list.len()))
                }
            }
        }
        _ => refuse(format!("index: cannot look up {index} here")),
    })
}

/// Runs a template.
pub(crate) fn execute(template: &Template, data: &Value) -> Result<String, TemplateError> {
    template.execute_to_string(data).map_err(|error| TemplateError(error.to_string()))
}

impl QueryFields<'_> {
    pub(crate) fn to_value(&self) -> Value {
        let by_name: BTreeMap<Arc<str>, Value> = self
            .label_values_by_name
            .iter()
            .map(|(name, values)| (Arc::from(&**name), (*values).into()))
            .collect();
        let slice: Vec<Value> = self.group_by.iter().map(|label| Value::from(&**label)).collect();
        let fields: BTreeMap<Arc<str>, Value> = [
            (Arc::from("Series"), self.series.into()),
            (Arc::from("LabelMatchers"), self.label_matchers.into()),
            (Arc::from("LabelValuesByName"), by_name.into()),
            (Arc::from("GroupBy"), self.group_by.join(",").into()),
            (Arc::from("GroupBySlice"), slice.into()),
        ]
        .into();
        fields.into()
    }
}
