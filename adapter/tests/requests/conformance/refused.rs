//! What is refused, and what fails: errors 1 to 11, 13, 14 and 20 of `docs/contract.md#errors`.

use adapter::source::recorded::vector;
use adapter::source::{SourceError, SourceErrorClass};
use serde_json::{Value, json};
use testkit::rows::each_row_async;

use super::{Adapter, C1, C2, E, IN_2001, M, NO_ROUTE};

/// Errors 1 to 9, 13 and 20 of `docs/contract.md#errors`.
#[tokio::test]
async fn requests_are_refused_with_the_status_of_their_error() {
    let adapter = Adapter::started().await;
    let error_1 = |resource: &str| format!("the server could not find the metric known for {resource}");
    let rows = [
        ("error-1, no object matches", "/namespaces/default/pods/*/known?labelSelector=app%3Dnosuch", "pods"),
        (
            "error-1, a comparison that nothing passes",
            "/namespaces/default/pods/*/known?labelSelector=tier%3E9",
            "pods",
        ),
        ("error-1, a namespaced resource at the root", "/pods/web-1/known", "pods"),
        ("error-1, a cluster's resource in a namespace", "/namespaces/default/nodes/n1/known", "nodes"),
        ("error-1, an unknown resource (D28)", "/namespaces/default/widgets/*/known", "widgets"),
    ];
    each_row_async(rows, async |(case, path, resource)| {
        adapter.refuses(case, &format!("{C1}{path}"), 404, "NotFound", Value::Null, &error_1(resource)).await;
    })
    .await;
    // Though Deployments may not be listed: the metric is looked up first.
    let no_metric = "the server could not find the metric nosuch for deployments.apps";
    adapter
        .refuses(
            "error-1, not error-11 (D28)",
            &format!("{C1}/namespaces/default/deployments.apps/*/nosuch"),
            404,
            "NotFound",
            Value::Null,
            no_metric,
        )
        .await;
    adapter
        .refuses(
            "error-2",
            &format!("{C1}/namespaces/default/pods/nope/known"),
            404,
            "NotFound",
            Value::Null,
            &format!("{} nope", error_1("pods")),
        )
        .await;
    let rows = [
        format!("{C1}/namespaces/default"),
        format!("{C1}/namespaces"),
        format!("{C1}/pods"),
        format!("{C1}/nodes/n1"),
        format!("{C1}/namespaces/default/pods/web-1/known/extra"),
        format!("{C1}/watch/namespaces/default/pods/web-1/known"),
        format!("{E}/q"),
        format!("{E}/namespaces/default/q/x"),
        format!("{M}/pods/web-1"),
        "/apis/custom.metrics.k8s.io/v1beta3".to_owned(),
        "/apis/custom.metrics.k8s.io/v1beta3/namespaces/default/pods/web-1/known".to_owned(),
    ];
    each_row_async(rows, async |path| {
        adapter.refuses("error-3", &path, 404, "NotFound", json!({}), NO_ROUTE).await;
    })
    .await;
    each_row_async(["/namespaces/default/pods", "/namespaces/default/m"], async |path| {
        adapter
            .refuses(
                "error-4",
                &format!("{C1}{path}"),
                400,
                "BadRequest",
                Value::Null,
                "invalid request path",
            )
            .await;
    })
    .await;
    let pods = format!("{C1}/namespaces/default/pods/*/known");
    let rows = [
        (
            "error-5",
            format!("{pods}?labelSelector=bad%3D%3D%3D"),
            "unable to parse requirement: found '=', expected: identifier",
        ),
        (
            "error-5, external",
            format!("{E}/namespaces/default/q?labelSelector=!!"),
            "unable to parse requirement: found '!', expected: identifier",
        ),
        (
            "error-6 (D10)",
            format!("{pods}?metricLabelSelector=!!"),
            "unable to parse requirement: found '!', expected: identifier",
        ),
        (
            "error-7",
            format!("{pods}?fieldSelector=metadata.name%3Dfoo"),
            "fieldSelector metadata.name doesn't match requested name",
        ),
        (
            "error-8",
            format!("{M}/nodes?fieldSelector=spec.nodeName%3Dx"),
            r#""spec.nodeName" is not a known field selector: only "metadata.name", "metadata.namespace""#,
        ),
        (
            "error-9",
            format!("{pods}?timeout=abc"),
            r#"invalid timeout specified in the request URL - time: invalid duration "abc""#,
        ),
        (
            "a limit that is no number",
            format!("{C1}/namespaces/default/pods/web-1/known?limit=abc"),
            r#"strconv.ParseInt: parsing "abc": invalid syntax"#,
        ),
    ];
    each_row_async(rows, async |(case, path, message)| {
        adapter.refuses(case, &path, 400, "BadRequest", Value::Null, message).await;
    })
    .await;
    let kind = |kind: &str, group: &str| json!({"group": group, "kind": kind});
    adapter
        .refuses(
            "error-13, external",
            &format!("{E}/namespaces/default/q?watch=true"),
            405,
            "MethodNotAllowed",
            kind("*", "external.metrics.k8s.io"),
            r#"watch is not supported on resources of kind "*.external.metrics.k8s.io""#,
        )
        .await;
    adapter
        .refuses(
            "error-13, pods",
            &format!("{M}/pods?watch=1"),
            405,
            "MethodNotAllowed",
            kind("pods", "metrics.k8s.io"),
            r#"watch is not supported on resources of kind "pods.metrics.k8s.io""#,
        )
        .await;
    adapter
        .refuses(
            "error-20, a pod without samples",
            &format!("{M}/namespaces/default/pods/silent"),
            404,
            "NotFound",
            json!({"name": "default/silent", "group": "metrics.k8s.io", "kind": "podmetrics"}),
            r#"podmetrics.metrics.k8s.io "default/silent" not found"#,
        )
        .await;
    adapter
        .refuses(
            "error-20, no pod",
            &format!("{M}/namespaces/default/pods/nope"),
            404,
            "NotFound",
            json!({"name": "nope", "kind": "pods"}),
            r#"pods "nope" not found"#,
        )
        .await;
    adapter
        .refuses(
            "error-20, no node",
            &format!("{M}/nodes/nx"),
            404,
            "NotFound",
            json!({"name": "nx", "kind": "node"}),
            r#"node "nx" not found"#,
        )
        .await;
}

/// `docs/contract.md#error-14`. Custom metrics ignore what external and resource metrics refuse.
#[tokio::test]
async fn options_that_cannot_go_together() {
    let adapter = Adapter::started().await;
    let cause = |reason: &str, message: &str| json!({"reason": reason, "message": message, "field": "resourceVersionMatch"});
    let unless = "Forbidden: resourceVersionMatch is forbidden unless resourceVersion is provided";
    let both = "Forbidden: resourceVersionMatch is forbidden when continue is provided";
    let zero = r#"Forbidden: resourceVersionMatch "exact" is forbidden for resourceVersion "0""#;
    let unknown = r#"Unsupported value: "x": supported values: "Exact", "NotOlderThan", """#;
    let (forbidden, unsupported) = ("FieldValueForbidden", "FieldValueNotSupported");
    let rows = [
        ("resourceVersionMatch=Exact", vec![(forbidden, unless)]),
        ("resourceVersionMatch=Exact&resourceVersion=0", vec![(forbidden, zero)]),
        ("resourceVersionMatch=NotOlderThan&resourceVersion=1&continue=c", vec![(forbidden, both)]),
        ("resourceVersionMatch=x", vec![(forbidden, unless), (unsupported, unknown)]),
    ];
    each_row_async(rows, async |(query, causes)| {
        let texts: Vec<String> =
            causes.iter().map(|(_, text)| format!("resourceVersionMatch: {text}")).collect();
        let text = if texts.len() == 1 { texts.concat() } else { format!("[{}]", texts.join(", ")) };
        let message = format!("ListOptions.meta.k8s.io \"\" is invalid: {text}");
        let causes: Vec<Value> = causes.iter().map(|(reason, text)| cause(reason, text)).collect();
        let details = json!({"group": "meta.k8s.io", "kind": "ListOptions", "causes": causes});
        for path in
            [format!("{E}/namespaces/default/q"), format!("{M}/namespaces/nope/pods"), format!("{M}/nodes")]
        {
            let path = format!("{path}?{query}");
            adapter.refuses("error-14", &path, 422, "Invalid", details.clone(), &message).await;
        }
        assert_eq!(adapter.get(&format!("{C1}/namespaces/default/pods/web-1/known?{query}")).await.code, 200);
    })
    .await;
    assert_eq!(
        adapter
            .get(&format!("{E}/namespaces/default/q?resourceVersionMatch=NotOlderThan&resourceVersion=0"))
            .await
            .code,
        200
    );
    assert_eq!(
        adapter.get(&format!("{M}/namespaces/nope/pods/x?resourceVersionMatch=Exact")).await.code,
        404,
        "no list"
    );
}

/// `docs/contract.md#error-10`, `docs/contract.md#error-11`: what we depend on fails.
#[tokio::test]
async fn values_that_cannot_be_had_are_errors_with_a_cause() {
    let adapter = Adapter::started().await;
    let causes = |text: &str| json!({"causes": [{"message": text}]});
    let not_listed =
        "unable to list matching resources: the Kubernetes API answered 403: deployments.apps is forbidden";
    adapter
        .refuses(
            "error-11",
            &format!("{C1}/namespaces/default/deployments.apps/*/known"),
            500,
            "InternalError",
            causes(not_listed),
            &format!("Internal error occurred: {not_listed}"),
        )
        .await;
    let fails = |class, queries: &[&str]| {
        for query in queries {
            adapter.source.answers(query, Err(SourceError::new(class, "Prometheus answered boom")));
        }
    };
    let queries = [
        r#"known{namespace="default",pod="web-1"}"#,
        r#"q{namespace="default"}"#,
        r#"node_cpu{instance="n1"}"#,
        r#"node_memory{instance="n1"}"#,
        r#"cpu{namespace="default",pod="web-1"}"#,
        r#"memory{namespace="default",pod="web-1"}"#,
    ];
    let paths = [
        (format!("{C1}/namespaces/default/pods/web-1/known"), "rules[0]"),
        (format!("{C2}/namespaces/default/pods/web-1/known"), "rules[0]"),
        (format!("{E}/namespaces/default/q"), "externalRules[0]"),
        (format!("{M}/nodes"), "resourceRules.cpu"),
        (format!("{M}/namespaces/default/pods/web-1"), "resourceRules.cpu"),
    ];
    let rows = [
        (SourceErrorClass::Unavailable, 503, "ServiceUnavailable"),
        (SourceErrorClass::Timeout, 504, "Timeout"),
        (SourceErrorClass::BadQuery, 500, "InternalError"),
        (SourceErrorClass::WrongType, 500, "InternalError"),
    ];
    each_row_async(rows, async |(class, code, reason)| {
        fails(class, &queries);
        for (path, rule) in &paths {
            let response = adapter.get(path).await;
            assert_eq!(
                (response.code, &response.json()["reason"]),
                (code, &reason.into()),
                "error-10: {path}"
            );
            let cause = format!("unable to fetch metrics by {rule}: Prometheus answered boom");
            assert!(response.message().contains(&cause), "error-10: {path}: {}", response.text());
            assert!(!response.headers.contains_key("retry-after"), "error-10: {path}");
        }
        assert_eq!(adapter.get("/readyz").await.text(), "ok");
    })
    .await;
    // Where one namespace fails, the pods of the others are shown (D13).
    let used: [(&[(&str, &str)], f64); 1] = [(&[("pod", "far"), ("container", "c")], 1.0)];
    for resource in ["cpu", "memory"] {
        let query = |rest: &str| format!("{resource}{{{rest}}}");
        let away = SourceError::new(SourceErrorClass::Unavailable, "gone");
        adapter.source.answers(&query(r#"namespace="default",pod=~"silent|web-1""#), Err(away));
        adapter.source.answers(&query(r#"namespace="other",pod="far""#), Ok(vector(used, IN_2001)));
    }
    let list = adapter.get(&format!("{M}/pods")).await;
    let items = list.json()["items"].clone();
    let names: Vec<&Value> =
        items.as_array().expect("a list").iter().map(|pod| &pod["metadata"]["name"]).collect();
    assert_eq!((list.code, names), (200, vec![&Value::from("far")]));
}
