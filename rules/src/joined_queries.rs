//! Series queries that can be asked as one: thousands of rules each name a series, and which labels it must have.

use std::collections::BTreeMap;
use std::sync::Arc;

use promql_parser::label::{METRIC_NAME, MatchOp, Matcher};

use crate::declared;
use crate::quoting::{is_label_name, is_metric_name};

/// Series queries as they are asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SeriesQueries {
    /// One by itself, as written.
    One(Arc<str>),
    /// Several in one selector: what it finds is each query's by the name of the series.
    Joined {
        /// The selector.
        selector: String,
        /// The queries, as written, each with the name of its series. Several may have one name.
        queries: Vec<(Arc<str>, String)>,
    },
}

/// Joins series queries that differ in nothing but the literal name of the series, where there are many of them.
/// `joined` finds for each query exactly the series that the query finds by itself.
pub fn join(queries: impl IntoIterator<Item = Arc<str>>) -> Vec<SeriesQueries> {
    let mut asked = Vec::new();
    let mut alike: BTreeMap<Vec<String>, Vec<(Arc<str>, String)>> = BTreeMap::new();
    for query in queries {
        match literal(&query) {
            Some((name, labels)) => alike.entry(labels).or_default().push((query, name)),
            None => asked.push(SeriesQueries::One(query)),
        }
    }
    for (labels, queries) in alike {
        if queries.len() < MANY {
            asked.extend(queries.into_iter().map(|(query, _)| SeriesQueries::One(query)));
            continue;
        }
        for queries in queries.chunks(MOST) {
            let names: Vec<&str> = queries.iter().map(|(_, name)| name.as_str()).collect();
            let labels: String = labels.iter().flat_map(|label| [",", label, "!=\"\""]).collect();
            let selector = format!("{{{METRIC_NAME}=~\"{}\"{labels}}}", names.join("|"));
            asked.push(SeriesQueries::Joined { selector, queries: queries.to_vec() });
        }
    }
    asked
}

/// The name of a query's series and the labels that they must have; `None` for a query that says more, or that can be
/// about several names.
fn literal(query: &str) -> Option<(String, Vec<String>)> {
    let selector = declared::selector(query)?;
    let name = declared::name(&selector)?;
    if !selector.matchers.or_matchers.is_empty() {
        return None;
    }
    let is_name = |matcher: &&Matcher| matcher.name == METRIC_NAME;
    let (names, others): (Vec<&Matcher>, Vec<&Matcher>) =
        selector.matchers.matchers.iter().partition(is_name);
    // Another matcher of the name says more.
    if names.len() > usize::from(selector.name.is_none()) {
        return None;
    }
    let is_there = |matcher: &&Matcher| {
        matcher.op == MatchOp::NotEqual && matcher.value.is_empty() && is_label_name(&matcher.name)
    };
    if !is_metric_name(&name) || !others.iter().all(is_there) {
        return None;
    }
    let mut labels: Vec<String> = others.into_iter().map(|matcher| matcher.name.clone()).collect();
    labels.sort();
    labels.dedup();
    Some((name, labels))
}

/// Fewer are asked one by one, each with its own time and its own fault.
const MANY: usize = 20;
/// What one query asks for: its text stays below the 8 KiB that are sent by GET.
const MOST: usize = 100;

#[cfg(test)]
mod tests {
    use testkit::rows::each_row;

    use super::*;

    #[test]
    fn a_query_that_names_its_series_and_their_labels_is_literal() {
        let rows = [
            ("a", Some(("a", vec![]))),
            (r#"a{namespace!="",pod!=""}"#, Some(("a", vec!["namespace", "pod"]))),
            (r#"{pod!="",__name__="a:b",pod!=''}"#, Some(("a:b", vec!["pod"]))),
            (r#"a{code="5"}"#, None),
            (r#"a{pod=""}"#, None),
            (r#"a{pod=~".+"}"#, None),
            (r#"{__name__=~"a|b"}"#, None),
            (r#"{__name__="a",__name__!="b"}"#, None),
            (r#"{"a.b",pod!=""}"#, None),
            (r#"a{"k8s.pod"!=""}"#, None),
            ("a offset 5m", None),
            ("a[5m]", None),
            ("sum(a)", None),
            ("???", None),
        ];
        each_row(rows, |(query, expected)| {
            let expected = expected.map(|(name, labels)| {
                (name.to_owned(), labels.into_iter().map(str::to_owned).collect::<Vec<_>>())
            });
            assert_eq!(literal(query), expected, "{query}");
        });
    }

    #[test]
    fn many_queries_for_the_same_labels_are_one() {
        let queries = (0..120).map(|index| format!("m{index}{{pod!=\"\"}}")).chain(["other".to_owned()]);
        let asked = join(queries.map(Arc::from));
        let SeriesQueries::Joined { selector, queries } = &asked[1] else { panic!("{asked:?}") };
        assert_eq!(asked[0], SeriesQueries::One("other".into()));
        assert!(selector.starts_with(r#"{__name__=~"m0|m1|m2|"#), "{selector}");
        assert!(selector.ends_with(r#"|m99",pod!=""}"#), "{selector}");
        assert_eq!(queries[7], (r#"m7{pod!=""}"#.into(), "m7".to_owned()));
        let SeriesQueries::Joined { queries, .. } = &asked[2] else { panic!("{asked:?}") };
        assert_eq!((queries.len(), asked.len()), (20, 3));
    }

    #[test]
    fn few_queries_are_asked_one_by_one() {
        let asked = join((0..MANY - 1).map(|index| format!("m{index}").into()));
        assert_eq!(asked.len(), MANY - 1);
        assert!(asked.iter().all(|asked| matches!(asked, SeriesQueries::One(_))), "{asked:?}");
    }
}
