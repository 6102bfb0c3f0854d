//! What there is instead of what a selector asks for: the labels of the objects, and the values of the series' labels.
//! Of the namespace asked for only.

use std::collections::BTreeMap;
use std::time::Instant;

use rules::catalog::own_queries;
use selector::labels::{Requirement, Selector};

use super::Answerer;
use super::sought::Sought;
use crate::objects::{Object, Wanted};
use crate::values::InNamespace;

impl Answerer {
    /// The labels of objects where a selector matches none of them, as the end of a sentence; empty without a selector,
    /// and when they cannot be listed.
    pub(super) async fn labels_instead(&self, wanted: Wanted<'_>, deadline: Instant) -> String {
        if wanted.selector.is_empty() {
            return String::new();
        }
        let all = Wanted { selector: &Selector::everything(), ..wanted };
        let objects = self.objects.list(all, deadline).await;
        objects.map(|objects| labels_instead(wanted.selector, &objects)).unwrap_or_default()
    }

    /// The values that series of the namespace have in the labels of a metric selector, as the end of a sentence.
    pub(super) async fn values_instead(&self, sought: &Sought<'_>) -> String {
        let mut have = Vec::new();
        for Requirement { key, .. } in sought.selector.requirements().iter().take(SHOWN) {
            let Some((label, namespace)) = sought.origin.label_of_namespaces().zip(sought.namespace) else {
                break;
            };
            let Some(promql) = own_queries::values_of(sought.origin, key, namespace, SHOWN + 1) else {
                break;
            };
            let Some(samples) = self.ask_further(sought.context, &promql).await else { break };
            let whose = InNamespace { label, namespace };
            let own = samples.iter().filter(|sample| whose.is_own(sample));
            let mut values: Vec<String> =
                own.filter_map(|sample| Some(format!("{:?}", sample.label(key)?))).collect();
            if values.is_empty() {
                continue;
            }
            values.sort();
            values.dedup();
            let more = if values.len() > SHOWN { " and others" } else { "" };
            values.truncate(SHOWN);
            have.push(format!("{key} is {}{more}", values.join(", ")));
        }
        if have.is_empty() {
            ": without it there are some".to_owned()
        } else {
            format!(", where {}", have.join(" and "))
        }
    }
}

/// The labels of objects of which a selector matches none, as the end of a sentence.
fn labels_instead(selector: &Selector, objects: &[Object]) -> String {
    if objects.is_empty() {
        return ": there are none at all".to_owned();
    }
    let unmet = selector.requirements().iter().filter(|requirement| {
        !objects.iter().any(|object| requirement.matches(label(object, &requirement.key)))
    });
    let unmet: Vec<String> =
        unmet.take(SHOWN).map(|requirement| held_instead(&requirement.key, objects)).collect();
    if unmet.is_empty() {
        format!(
            ": each part of the selector matches some of the {}, and none matches all parts",
            objects.len()
        )
    } else {
        format!(", where {}", unmet.join(" and "))
    }
}

/// What objects have in a label: `2 of 3 have app=web`.
fn held_instead(key: &str, objects: &[Object]) -> String {
    let all = objects.len();
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for value in objects.iter().filter_map(|object| label(object, key)) {
        *counts.entry(value).or_default() += 1;
    }
    if counts.is_empty() {
        return format!("none of {all} has the label {key}");
    }
    let mut counts: Vec<(&str, usize)> = counts.into_iter().collect();
    counts.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    let more = if counts.len() > SHOWN { " and others have other values" } else { "" };
    let shown: Vec<String> = counts
        .iter()
        .take(SHOWN)
        .map(|(value, count)| {
            format!("{count} of {all} {} {key}={value}", if *count == 1 { "has" } else { "have" })
        })
        .collect();
    format!("{}{more}", shown.join(", "))
}

fn label<'o>(object: &'o Object, key: &str) -> Option<&'o str> {
    object.labels.iter().find(|(name, _)| **name == *key).map(|(_, value)| &**value)
}

/// Labels of a selector, and values of a label.
const SHOWN: usize = 3;

#[cfg(test)]
mod tests {
    use testkit::rows::each_row;

    use super::*;

    fn object(labels: &[(&str, &str)]) -> Object {
        let labels = labels.iter().map(|(name, value)| ((*name).into(), (*value).into()));
        Object { namespace: None, name: "x".into(), labels: labels.collect() }
    }

    #[test]
    fn objects_that_a_selector_does_not_match_are_shown_by_its_own_labels() {
        let objects = [
            object(&[("app", "web"), ("tier", "a")]),
            object(&[("app", "web"), ("secret", "x")]),
            object(&[("app", "api"), ("tier", "b")]),
        ];
        let rows = [
            ("app=db", ", where 2 of 3 have app=web, 1 of 3 has app=api"),
            ("name=web", ", where none of 3 has the label name"),
            (
                "app=db,name",
                ", where 2 of 3 have app=web, 1 of 3 has app=api and none of 3 has the label name",
            ),
            (
                "app=api,tier=a",
                ": each part of the selector matches some of the 3, and none matches all parts",
            ),
        ];
        each_row(rows, |(selector, expected)| {
            let selector = Selector::parse(selector).expect("a selector");
            assert_eq!(labels_instead(&selector, &objects), expected, "{selector}");
        });
        assert_eq!(labels_instead(&Selector::everything(), &[]), ": there are none at all");
    }
}
