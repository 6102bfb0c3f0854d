//! How a query writes the names it is about: series and labels.
//!
//! Names that PromQL reads without quotes are pasted as they are, and that is the whole of it. For the others a rule's
//! query is rendered once with sample names, and its tree tells which way of filling the template's fields means what
//! the rule means:
//!
//! - `.GroupBy`, `.GroupBySlice` and the keys of `.LabelValuesByName` hold labels in quotes where they need them, or as
//!   they are for a rule that writes the quotes itself: `by ("<<.GroupBy>>")`.
//! - `.Series` holds the name as it is for a rule that quotes it, or does not use it; for
//!   `<<.Series>>{<<.LabelMatchers>>}` it is empty, and `.LabelMatchers` begins with a matcher of the name. Otherwise
//!   the series cannot be asked for (D42).

use std::borrow::Cow;
use std::sync::Arc;

use promql_parser::label::METRIC_NAME;

use crate::quoting;

/// The names of a query, as its template's fields hold them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Written {
    /// `.Series`.
    pub(crate) series: Arc<str>,
    /// What `.LabelMatchers` begins with.
    pub(crate) name_matcher: Option<Arc<str>>,
    /// Whether labels are in quotes where they need them.
    pub(crate) quotes_labels: bool,
}

impl Written {
    /// A series and labels, none of which needs quotes.
    pub(crate) fn plainly(series: &Arc<str>) -> Written {
        Written { series: Arc::clone(series), name_matcher: None, quotes_labels: true }
    }

    /// A label as the fields hold it.
    pub(crate) fn label<'n>(&self, name: &'n str) -> Cow<'n, str> {
        if self.quotes_labels { quoting::label(name) } else { Cow::Borrowed(name) }
    }
}

/// How a query writes names that need quotes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Form {
    pub(crate) quotes_labels: bool,
    /// `None` when the query has no place for the name.
    pub(crate) series: Option<SeriesForm>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SeriesForm {
    AsItIs,
    InMatchers,
}

impl Form {
    /// `None` when the query cannot hold the name.
    pub(crate) fn write(self, series: &Arc<str>) -> Option<Written> {
        let plain = Written { quotes_labels: self.quotes_labels, ..Written::plainly(series) };
        match self.series {
            _ if quoting::is_metric_name(series) => Some(plain),
            // The name stands between the rule's own quotes, whichever they are.
            Some(SeriesForm::AsItIs) => quoting::needs_no_escape(series).then_some(plain),
            Some(SeriesForm::InMatchers) => {
                Some(Written { series: "".into(), name_matcher: Some(name_matcher(series).into()), ..plain })
            }
            None => None,
        }
    }
}

pub(crate) fn name_matcher(series: &str) -> String {
    format!("{METRIC_NAME}=\"{}\"", quoting::escape(series))
}
