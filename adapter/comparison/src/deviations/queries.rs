//! What is sent to Prometheus.

use super::errors::status;
use crate::context::{Context, EXTERNAL, USAGE, is_plain};
use crate::normal::Normal;

/// Where the rule's query has a place for it, such a name is a matcher; upstream pastes it, and Prometheus refuses the
/// query.
pub(super) fn names_as_matchers(expected: &mut Normal, context: &Context<'_>) {
    let ours = context.ours;
    if expected.code != 500 || !matches!(ours.code, 200 | 404) {
        return;
    }
    let pasted = if context.by_meaning() {
        // The query is not known.
        let custom = context.custom().map(|(metric, _)| metric);
        let external = context.external().map(|(_, metric)| metric);
        custom.or(external).is_some_and(|metric| !is_plain(metric))
    } else {
        expected.queries != ours.queries
            && ours.queries.iter().map(|query| with_pasted_names(query)).eq(expected.queries.iter().cloned())
    };
    if pasted {
        // Upstream has no answer to compare with.
        expected.clone_from(ours);
    }
}

/// A query as upstream writes it: `{__name__="NAME",` is `NAME{`.
pub(super) fn with_pasted_names(query: &str) -> String {
    let mut pasted = String::new();
    let mut rest = query;
    while let Some((before, behind)) = rest.split_once("{__name__=\"") {
        let (name, matchers) = behind.split_once('"').unwrap_or((behind, ""));
        pasted.extend([before, name, "{"]);
        rest = matchers.strip_prefix(',').unwrap_or(matchers);
    }
    pasted + rest
}

/// Where no node has a value, one more query shows the log what the label of nodes holds.
pub(super) fn nodes_without_values(expected: &mut Normal, context: &Context<'_>) {
    let ours = &context.ours.queries;
    if context.group() != USAGE || context.rest().first() != Some(&"nodes") {
        return;
    }
    let Some(extra) = ours.iter().find(|query| !expected.queries.contains(query)) else { return };
    let others: Vec<&String> = ours.iter().filter(|query| *query != extra).collect();
    if others.iter().any(|query| is_without_a_matcher(extra, query))
        && others.into_iter().eq(expected.queries.iter())
    {
        expected.queries.clone_from(ours);
    }
}

/// Whether a query is another one without one of its matchers, wherever that stands.
pub(super) fn is_without_a_matcher(query: &str, other: &str) -> bool {
    let same = query.bytes().zip(other.bytes()).take_while(|(one, other)| one == other).count();
    let Some(start) = other.get(..same).and_then(|before| before.rfind(['{', ','])) else { return false };
    let matcher: Vec<&str> = other[start + 1..].splitn(3, '"').collect();
    let [label, value, _] = matcher[..] else { return false };
    label.contains('=') && other.replace(&format!("{label}\"{value}\""), "") == query
}

/// Names and values are escaped in regular expressions, and a key that needs quotes is refused unless a series has such
/// a label.
pub(super) fn escaped(expected: &mut Normal, context: &Context<'_>) {
    let selector = context.series_selector();
    if selector.contains('/')
        && context.ours.code == 400
        && context.our_message().contains("is not a label of this metric's series")
    {
        *expected = status(expected, 400, "BadRequest", context.our_message());
        expected.queries.clear();
        return;
    }
    let unescaped = |query: &String| query.replace(r"\\.", ".");
    if expected.queries != context.ours.queries
        && context.ours.queries.iter().map(unescaped).eq(expected.queries.iter().cloned())
    {
        expected.queries.clone_from(&context.ours.queries);
    }
}

/// A name that no object can have never reaches Prometheus.
pub(super) fn names_that_are_none(expected: &mut Normal, context: &Context<'_>) {
    let of_a_name =
        |letter: char| letter.is_ascii_lowercase() || letter.is_ascii_digit() || "-.*".contains(letter);
    let named = match context.rest()[..] {
        ["namespaces", namespace, _, name, _] => namespace.chars().chain(name.chars()).all(of_a_name),
        ["namespaces", namespace, _] if context.group() == EXTERNAL => {
            namespace.chars().all(of_a_name) && namespace != "*"
        }
        ["namespaces", name, "metrics", _] | [_, name, _] => name.chars().all(of_a_name),
        _ => true,
    };
    let nothing = expected.code == 404 || expected.items().is_some_and(|items| items.is_empty());
    if !named && nothing && context.ours.queries.is_empty() {
        expected.queries.clear();
    }
}
