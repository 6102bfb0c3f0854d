//! The options of a Kubernetes list, each read once: what access control is asked about is what is answered.

use selector::fields::{FieldSelector, FieldSelectorError};
use selector::labels::{Selector, SelectorError};
use selector::names;

use crate::query::QueryParameters;

/// The options that decide which objects a list holds. Those that are given twice count by their first value, as
/// upstream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListOptions {
    /// `labelSelector`; selects everything when absent or empty.
    pub labels: Result<Selector, SelectorError>,
    /// `fieldSelector`; selects everything when absent or empty.
    pub fields: Result<FieldSelector, FieldSelectorError>,
    /// `watch`: given, and neither `0` nor `false`.
    pub watch: bool,
    /// Whether the options that must be numbers are.
    pub numbers: Result<(), NumberError>,
}

/// An option that is not a number, in Go's words.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("strconv.ParseInt: parsing {text:?}: {reason}")]
pub struct NumberError {
    text: String,
    reason: &'static str,
}

impl ListOptions {
    /// Reads the options of a request.
    pub fn of(query: &QueryParameters) -> ListOptions {
        ListOptions {
            labels: Selector::parse(query.first("labelSelector").unwrap_or_default()),
            fields: FieldSelector::parse(query.first("fieldSelector").unwrap_or_default()),
            watch: query
                .first("watch")
                .is_some_and(|text| text != "0" && !text.eq_ignore_ascii_case("false")),
            numbers: ["limit", "timeoutSeconds"]
                .into_iter()
                .try_for_each(|name| number(query.first(name).unwrap_or_default())),
        }
    }

    /// The one object that a list may hold; `None` when it may hold others. Upstream reads it only where it can read
    /// all options (`k8s.io/apiserver/pkg/endpoints/request/requestinfo.go`).
    pub fn name(&self) -> Option<&str> {
        if self.numbers.is_err() || self.labels.is_err() {
            return None;
        }
        let name = self.fields.as_ref().ok()?.exact(NAME)?;
        Some(name).filter(|name| !name.is_empty() && names::is_path_segment(name))
    }
}

fn number(text: &str) -> Result<(), NumberError> {
    if text.is_empty() || text.parse::<i64>().is_ok() {
        return Ok(());
    }
    let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
    let is_integer = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    let reason = if is_integer { "value out of range" } else { "invalid syntax" };
    Err(NumberError { text: text.to_owned(), reason })
}

/// The field that names an object.
pub const NAME: &str = "metadata.name";
/// The field of an object's namespace.
pub const NAMESPACE: &str = "metadata.namespace";

#[cfg(test)]
mod tests {
    use testkit::rows::each_row;

    use super::*;

    #[test]
    fn the_name_of_a_list_is_read_as_upstream_reads_it() {
        let rows = [
            ("", None),
            ("fieldSelector=metadata.name%3Dn1", Some("n1")),
            ("fieldSelector=metadata.name%3D%3Dn1,metadata.name!%3Dzz", Some("n1")),
            ("fieldSelector=metadata.name%3Dn2,metadata.name%3Dn1", Some("n1")),
            ("fieldSelector=metadata.name!%3Dn1", None),
            ("fieldSelector=metadata.name%3D", None),
            ("fieldSelector=metadata.name%3D..", None),
            ("fieldSelector=metadata.name%3Da%2Fb", None),
            (r"fieldSelector=metadata.name%3Da\,b", Some("a,b")),
            ("fieldSelector=metadata.name%3Dn1,x", None),
            ("fieldSelector=metadata.name%3Dn1&labelSelector=!!", None),
            ("fieldSelector=metadata.name%3Dn1&limit=x", None),
            ("fieldSelector=&fieldSelector=metadata.name%3Dn1", None),
        ];
        each_row(rows, |(query, name)| {
            assert_eq!(ListOptions::of(&QueryParameters::parse(query)).name(), name, "{query}");
        });
    }

    #[test]
    fn whatever_is_not_false_watches() {
        let rows = [
            ("", false),
            ("watch=0", false),
            ("watch=false", false),
            ("watch=False", false),
            ("watch", true),
            ("watch=", true),
            ("watch=1", true),
            ("watch=no", true),
            ("watch=0&watch=1", false),
        ];
        each_row(rows, |(query, watch)| {
            assert_eq!(ListOptions::of(&QueryParameters::parse(query)).watch, watch, "{query}");
        });
    }
}
