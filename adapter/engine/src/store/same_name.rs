//! The series of one name, found by the values of the labels that queries for objects name: a cluster's pods all have
//! the same few metrics.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use promql_parser::label::{MatchOp, Matcher};

use crate::labels::Labels;

#[derive(Debug)]
pub(super) struct SameName<S> {
    series: BTreeMap<Labels, S>,
    /// By the value of each of the labels in [`INDEXED`].
    by_value: [HashMap<Arc<str>, BTreeMap<Labels, S>>; INDEXED.len()],
}

impl<S> Default for SameName<S> {
    fn default() -> SameName<S> {
        SameName { series: BTreeMap::new(), by_value: Default::default() }
    }
}

impl<S: Clone> SameName<S> {
    pub(super) fn insert(&mut self, labels: &Labels, series: S) {
        for (label, by_value) in INDEXED.iter().zip(&mut self.by_value) {
            if let Some(value) = labels.shared_value(label) {
                by_value.entry(Arc::clone(value)).or_default().insert(labels.clone(), series.clone());
            }
        }
        self.series.insert(labels.clone(), series);
    }

    pub(super) fn remove(&mut self, labels: &Labels) {
        for (label, by_value) in INDEXED.iter().zip(&mut self.by_value) {
            let Some(value) = labels.value(label) else { continue };
            if let Some(same_value) = by_value.get_mut(value) {
                same_value.remove(labels);
                if same_value.is_empty() {
                    by_value.remove(value);
                }
            }
        }
        self.series.remove(labels);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.series.is_empty()
    }

    /// The series that matchers may match, in order: those that they do, and others.
    pub(super) fn candidates<'a>(
        &'a self,
        matchers: &[Matcher],
    ) -> Box<dyn Iterator<Item = (&'a Labels, &'a S)> + 'a> {
        let named = matchers.iter().filter_map(|matcher| {
            let label = INDEXED.iter().position(|label| *label == matcher.name)?;
            let by_value = &self.by_value[label];
            Some(values(matcher)?.iter().filter_map(|value| by_value.get(&**value)).collect::<Vec<_>>())
        });
        let size = |parts: &[&BTreeMap<Labels, S>]| parts.iter().map(|part| part.len()).sum::<usize>();
        match named.min_by_key(|parts| size(parts)).as_deref() {
            Some([]) => Box::new(std::iter::empty()),
            Some([part]) => Box::new(part.iter()),
            Some(parts) if size(parts) < self.series.len() => {
                let mut found: Vec<_> = parts.iter().copied().flatten().collect();
                found.sort_unstable_by_key(|(labels, _)| *labels);
                Box::new(found.into_iter())
            }
            _ => Box::new(self.series.iter()),
        }
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&Labels, &S)> {
        self.series.iter()
    }
}

/// The only values that a matcher matches, each once; `None` where there may be others, or none is needed.
fn values(matcher: &Matcher) -> Option<BTreeSet<Cow<'_, str>>> {
    let values: BTreeSet<_> = match matcher.op {
        MatchOp::Equal => [Cow::Borrowed(matcher.value.as_str())].into(),
        MatchOp::Re(_) => matcher.value.split('|').map(literal).collect::<Option<_>>()?,
        MatchOp::NotEqual | MatchOp::NotRe(_) => return None,
    };
    (!values.contains("")).then_some(values)
}

/// The one text that a part of a regular expression matches; `None` where it means more than its letters.
fn literal(pattern: &str) -> Option<Cow<'_, str>> {
    let unescaped: Cow<'_, str> =
        if pattern.contains('\\') { pattern.replace("\\.", "\u{0}").into() } else { pattern.into() };
    let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | ':' | '/' | '\u{0}');
    if !unescaped.chars().all(is_plain) || pattern.contains('\u{0}') {
        return None;
    }
    Some(if unescaped.contains('\u{0}') { unescaped.replace('\u{0}', ".").into() } else { unescaped })
}

/// The labels of objects and of their namespaces, as targets have them.
const INDEXED: [&str; 2] = ["namespace", "pod"];

#[cfg(test)]
mod tests {
    use testkit::rows::each_row;

    use super::*;

    #[test]
    fn an_expression_of_names_is_its_names() {
        let rows = [
            ("a", Some("a")),
            ("model-server-7c9f-x", Some("model-server-7c9f-x")),
            (r"a\.b", Some("a.b")),
            ("a.b", None),
            (r"a\d", None),
            ("(a)", None),
            ("a+", None),
            ("", Some("")),
        ];
        each_row(rows, |(pattern, expected)| assert_eq!(literal(pattern).as_deref(), expected));
    }
}
