//! What is answered, and in which form.

use adapter::source::QueryResult;
use adapter::source::recorded::vector;
use http::Method;
use serde_json::{Value, json};
use testkit::rows::each_row_async;

use super::{Adapter, C1, E, IN_2001, M, value_of};

#[tokio::test]
async fn lists_hold_the_values_of_the_objects_asked_for() {
    let adapter = Adapter::started().await;
    let pod = || json!([value_of("Pod", "web-1", "1500m")]);
    let rows = [
        ("one object", "/namespaces/default/pods/web-1/known"),
        (
            "a field selector that repeats the name",
            "/namespaces/default/pods/web-1/known?fieldSelector=metadata.name%3Dweb-1",
        ),
        ("a slash at the end", "/namespaces/default/pods/*/known/"),
        ("upper case", "/namespaces/default/Pods/*/known"),
        ("an empty group", "/namespaces/default/pods./web-1/known"),
        ("watch", "/namespaces/default/pods/web-1/known?watch=true"),
        ("a selector for a named object", "/namespaces/default/pods/web-1/known?labelSelector=app%3Dnosuch"),
    ];
    each_row_async(rows, async |(case, path)| {
        adapter.lists(case, &format!("{C1}{path}"), pod()).await;
    })
    .await;
    adapter
        .lists(
            "a singular",
            &format!("{C1}/namespaces/default/service/svc/known"),
            json!([value_of("Service", "svc", "2")]),
        )
        .await;
    let not_equal = r#"known{a!="b",namespace="default",pod="web-1"}"#;
    adapter.source.answers(not_equal, Ok(one_pod(1.0)));
    let mut echoed = value_of("Pod", "web-1", "1");
    echoed["selector"] = json!({"matchExpressions": [{"key": "a", "operator": "NotIn", "values": ["b"]}]});
    adapter
        .lists(
            "!= in a metric selector",
            &format!("{C1}/namespaces/default/pods/web-1/known?metricLabelSelector=a!%3Db"),
            json!([echoed]),
        )
        .await;
    let queue = json!([{"metricName": "q", "metricLabels": {"queue": "a"}, "value": "3"}]);
    adapter.lists("external", &format!("{E}/namespaces/default/q"), queue).await;
    let rows = [
        ("external, nothing matches", format!("{E}/namespaces/default/q?labelSelector=queue%3Dnone")),
        (
            "external, another namespace in the selector",
            format!("{E}/namespaces/default/q?labelSelector=namespace%3Dother"),
        ),
        ("pods of a namespace that is not there", format!("{M}/namespaces/nope/pods")),
    ];
    each_row_async(rows, async |(case, path)| {
        adapter.lists(case, &path, json!([])).await;
    })
    .await;
    let asked = adapter.source.asked();
    assert!(
        asked.iter().any(|query| query == r#"q{namespace="other",namespace="default"}"#),
        "both matchers are sent"
    );
    // The time is the sample's, however old.
    each_row_async(
        [format!("{C1}/namespaces/default/pods/web-1/known"), format!("{E}/namespaces/default/q")],
        async |path| {
            assert_eq!(
                adapter.get(&path).await.json()["items"][0]["timestamp"],
                "2001-09-09T01:46:40Z",
                "{path}"
            );
        },
    )
    .await;
}

fn one_pod(value: f64) -> QueryResult {
    vector([(&[("pod", "web-1")] as &[_], value)], IN_2001)
}

#[tokio::test]
async fn forms_that_are_not_made() {
    let adapter = Adapter::started().await;
    let list = "application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io";
    let rows = [
        ("error-19, compact", "application/*", json!({}), r#"{"kind":"Status","apiVersion":"v1","#),
        ("error-19, indented", "text/plain", json!({}), "{\n  \"kind\": \"Status\",\n"),
        ("error-19, parameters", list, Value::Null, "{\n  \"kind\": \"Status\",\n"),
    ];
    each_row_async(rows, async |(case, accept, details, beginning)| {
        let headers = [("caller", "admin"), ("accept", accept)];
        let response =
            adapter.send(Method::GET, &format!("{C1}/namespaces/default/pods/*/known"), &headers).await;
        let status = response.json();
        assert_eq!(
            (response.code, &status["reason"], &status["details"]),
            (406, &"NotAcceptable".into(), &details),
            "{case}"
        );
        assert!(response.text().starts_with(beginning), "{case}: {}", response.text());
    })
    .await;
}

#[tokio::test]
async fn aggregated_discovery_is_served_in_both_versions() {
    let adapter = Adapter::started().await;
    each_row_async(["v2", "v2beta1"], async |version| {
        let accept = format!("application/json;g=apidiscovery.k8s.io;v={version};as=APIGroupDiscoveryList");
        let headers = [("caller", "admin"), ("accept", accept.as_str())];
        let first = adapter.send(Method::GET, "/apis", &headers).await;
        assert_eq!((first.code, first.headers["content-type"].as_bytes()), (200, accept.as_bytes()));
        let items = first.json()["items"].clone();
        let names: Vec<&str> = items
            .as_array()
            .expect("a list")
            .iter()
            .filter_map(|item| item["metadata"]["name"].as_str())
            .collect();
        assert_eq!(names, ["custom.metrics.k8s.io", "external.metrics.k8s.io", "metrics.k8s.io"], "D1");
        assert_eq!(items[0]["versions"].as_array().map(Vec::len), Some(2), "D2");
        let etag = first.headers["etag"].to_str().expect("text").to_owned();
        for (held, code) in [(etag.clone(), 304), (format!("W/{etag}"), 200), ("\"x\"".to_owned(), 200)] {
            let headers = [headers[0], headers[1], ("if-none-match", &held)];
            let again = adapter.send(Method::GET, "/apis", &headers).await;
            assert_eq!((again.code, again.body.is_empty()), (code, code == 304), "{held}");
        }
    })
    .await;
}
