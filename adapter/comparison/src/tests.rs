//! What explains a difference, and what does not.

use std::collections::BTreeMap;
use testkit::rows::each_row;

use super::*;

fn seen(code: u16, body: &str, query: &str) -> Seen {
    let headers = [("content-type", "application/json")]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .into();
    Seen {
        answer: Answer { code, headers, body: body.as_bytes().to_vec() },
        queries: vec![query.to_owned()],
        samples: vec![Sample { labels: BTreeMap::new(), value: 99.9996 }],
    }
}

fn exchange(upstream: Seen, ours: Seen) -> Exchange {
    Exchange {
        origin: "a test".to_owned(),
        request: Request {
            method: "GET".to_owned(),
            path: "/apis/custom.metrics.k8s.io/v1beta1/namespaces/default/pods/*/depth".to_owned(),
            headers: Vec::new(),
            caller: "admin".to_owned(),
        },
        upstream,
        ours,
        upstream_twin: None,
        chance: None,
        growing: Vec::new(),
        view: View::Wire,
        read: |_, _| None,
    }
}

fn list(version: &str, value: &str, time: &str) -> String {
    format!(
        "{{\"kind\":\"MetricValueList\",\"items\":[{{\"describedObject\":{{\"kind\":\"Pod\",\"name\":\"a\",\
         \"apiVersion\":\"{version}\"}},\"timestamp\":\"{time}\",\"value\":\"{value}\"}}]}}\n"
    )
}

#[test]
fn equal_but_for_times_and_orders() {
    let one = seen(200, &list("apps/v1", "1", "2026-01-01T00:00:00Z"), r#"x{pod=~"a|b"}"#);
    let other = seen(200, &list("apps/v1", "1", "2026-01-01T00:00:09Z"), r#"x{pod=~"b|a"}"#);
    assert_eq!(verdict(&exchange(one, other)), Verdict::Equal);
}

#[test]
fn deviations_are_named() {
    let one = seen(200, &list("/v1", "99999m", ""), "x");
    let other = seen(200, &list("v1", "100", ""), "x");
    assert_eq!(verdict(&exchange(one, other)), Verdict::Deviates(vec!["D8", "D16"]));
}

#[test]
fn anything_else_is_a_difference() {
    let upstream = || seen(200, &list("v1", "1", ""), "x");
    let rows = [
        seen(200, &list("v1", "2", ""), "x"),
        seen(200, &list("v1", "999m", ""), "x"),
        seen(200, &list("/v1", "1", ""), "x"),
        seen(404, &list("v1", "1", ""), "x"),
        seen(200, list("v1", "1", "").trim_end(), "x"),
        seen(
            200,
            &list("v1", "1", "")
                .replace("\"kind\":\"Pod\",\"name\":\"a\"", "\"name\":\"a\",\"kind\":\"Pod\""),
            "x",
        ),
        seen(200, &list("v1", "1", ""), "y"),
    ];
    each_row(rows, |ours| {
        let exchange = exchange(upstream(), ours);
        assert!(matches!(verdict(&exchange), Verdict::Unexplained { .. }), "{exchange}");
    });
}

/// Answers of which nothing else is known, to a list of pods' values or to discovery.
fn by_meaning(path: &str, upstream: (u16, &str), ours: (u16, &str)) -> Verdict {
    let seen =
        |(code, body): (u16, &str)| Seen { queries: Vec::new(), samples: Vec::new(), ..seen(code, body, "") };
    let mut exchange = exchange(seen(upstream), seen(ours));
    exchange.view = View::Meaning;
    path.clone_into(&mut exchange.request.path);
    verdict(&exchange)
}

const PODS: &str = "/apis/custom.metrics.k8s.io/v1beta1/namespaces/default/pods/*/depth";
const LISTED: &str = "/apis/custom.metrics.k8s.io/v1beta1";

fn items(items: &[(&str, &str, &str)]) -> String {
    let item = |(name, value, more): &(&str, &str, &str)| {
        format!(
            r#"{{"describedObject":{{"kind":"Pod","namespace":"default","name":"{name}","apiVersion":"v1"}},"timestamp":"now","value":"{value}"{more}}}"#
        )
    };
    format!(
        r#"{{"kind":"MetricValueList","items":[{}]}}"#,
        items.iter().map(item).collect::<Vec<_>>().join(",")
    )
}

fn resources(resources: &[(&str, bool)]) -> String {
    let entry =
        |(name, namespaced): &(&str, bool)| format!(r#"{{"name":"{name}","namespaced":{namespaced}}}"#);
    let entries: Vec<String> = resources.iter().map(entry).collect();
    format!(r#"{{"kind":"APIResourceList","resources":[{}]}}"#, entries.join(","))
}

#[test]
fn deviations_are_named_where_answers_alone_are_known() {
    let error = |code: u16, message: &str| {
        format!(
            r#"{{"kind":"Status","apiVersion":"v1","metadata":{{}},"status":"Failure","message":"{message}","reason":"x","code":{code}}}"#
        )
    };
    let lost = "-9223372036854775808m";
    let general = "Internal error occurred: unable to fetch metrics";
    let with_cause = "unable to fetch metrics by rules[0]: cannot reach Prometheus";
    let failed = |code: u16, reason: &str, message: &str| {
        error(code, message).replace("\"x\"", &format!("\"{reason}\""))
    };
    let quoted = "/apis/custom.metrics.k8s.io/v1beta1/namespaces/default/pods/*/http.requests";
    let rows = [
        // Neither orders nor layout are compared.
        (
            PODS,
            (200, items(&[("a", "1", ""), ("b", "2", "")])),
            (200, items(&[("b", "2", ""), ("a", "1", "")]) + "\n"),
            vec![],
        ),
        (PODS, (200, items(&[("a", "1", "")])), (200, items(&[("a", "1", r#","window":120"#)])), vec!["D9"]),
        (PODS, (200, items(&[("a", "99999m", "")])), (200, items(&[("a", "100", "")])), vec!["D16"]),
        (
            PODS,
            (200, items(&[("a", lost, ""), ("b", "1", "")])),
            (200, items(&[("b", "1", "")])),
            vec!["D25"],
        ),
        // NaN.
        (PODS, (200, items(&[("a", lost, "")])), (200, items(&[("a", "0", "")])), vec!["D25"]),
        (
            PODS,
            (500, failed(500, "InternalError", general)),
            (503, failed(503, "ServiceUnavailable", with_cause)),
            vec!["D27"],
        ),
        (quoted, (500, error(500, "bad_data")), (200, items(&[("a", "1", "")])), vec!["D42"]),
        (
            LISTED,
            (200, resources(&[("pods/b", true), ("pods/a", true)])),
            (200, resources(&[("pods/a", true), ("pods/b", true)])),
            vec![],
        ),
        (
            LISTED,
            (200, resources(&[("pods/a", false), ("pods/a", true)])),
            (200, resources(&[("pods/a", true)])),
            vec!["D32"],
        ),
        (LISTED, (200, resources(&[("pods/a.b", true)])), (200, resources(&[])), vec!["D42"]),
    ];
    each_row(rows, |(path, (code, upstream), (our_code, ours), numbers)| {
        let expected = if numbers.is_empty() { Verdict::Equal } else { Verdict::Deviates(numbers) };
        assert_eq!(by_meaning(path, (code, &upstream), (our_code, &ours)), expected);
    });
}

#[test]
fn what_no_number_explains_is_shown_by_its_place() {
    let pod = |name: &str| format!("items[Pod default/{name}]");
    let rows = [
        (
            (200, items(&[("a", "3", ""), ("b", "1", "")])),
            (200, items(&[("a", "4", ""), ("c", "1", "")])),
            vec![
                (pod("a") + ".value", Some("3"), Some("4")),
                (pod("b"), Some("1"), None),
                (pod("c"), None, Some("1")),
            ],
        ),
        (
            (404, "no such page".to_owned()),
            (200, items(&[])),
            vec![("answer".to_owned(), Some("404 no such page"), Some("200 0 items"))],
        ),
        // Two thousandths are more than rounding makes, and so is one towards zero.
        (
            (200, items(&[("a", "3", "")])),
            (200, items(&[("a", "3002m", "")])),
            vec![(pod("a") + ".value", Some("3"), Some("3002m"))],
        ),
        (
            (200, items(&[("a", "3", "")])),
            (200, items(&[("a", "2999m", "")])),
            vec![(pod("a") + ".value", Some("3"), Some("2999m"))],
        ),
        // A number that is too large is missing, but no other one.
        ((200, items(&[("a", "9e14", "")])), (200, items(&[])), vec![(pod("a"), Some("9e14"), None)]),
    ];
    each_row(rows, |((code, upstream), (our_code, ours), expected)| {
        let verdict = by_meaning(PODS, (code, &upstream), (our_code, &ours));
        let Verdict::Unexplained { differences, .. } = verdict else { panic!("{verdict:?}") };
        let found: Vec<_> = differences
            .iter()
            .map(|one| (one.at.clone(), one.expected.as_deref(), one.found.as_deref()))
            .collect();
        assert_eq!(found, expected);
    });
}

#[test]
fn quantities_are_within_a_part_of_the_larger_one() {
    let difference = |expected: &str, found: &str| {
        let verdict =
            by_meaning(PODS, (200, &items(&[("a", expected, "")])), (200, &items(&[("a", found, "")])));
        let Verdict::Unexplained { differences, .. } = verdict else { panic!("{verdict:?}") };
        differences[0].clone()
    };
    assert!(difference("100", "99").is_within(0.01) && difference("99", "100").is_within(0.01));
    assert!(!difference("100", "98").is_within(0.01) && !difference("0", "1").is_within(0.5));
    assert!(!difference("1", "-1").is_within(0.9));
}

#[test]
fn every_number_that_explains_a_difference_has_a_title() {
    for number in ["D1", "D9", "D33", "D42", "D90"] {
        assert!(title(number).is_some(), "{number}");
    }
    assert_eq!(title("D0"), None);
}
