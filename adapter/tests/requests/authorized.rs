//! Whatever a caller asks for, what is answered is part of what the access review named: over all groups, versions,
//! paths and selectors, with the review as it is sent to the Kubernetes API.
//!
//! `AUTHORIZED_CASES` says how many requests are made; a million take some minutes:
//! `AUTHORIZED_CASES=1000000 cargo test -p adapter --test authorized -- --nocapture`

mod world;

use std::cell::Cell;

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use serde_json::Value;
use testkit::rows::{each_row, each_row_async};

use self::world::World;

/// Requests of the review that found lists of everything behind a role for one object.
#[tokio::test]
async fn every_term_of_a_field_selector_holds() {
    let world = World::start().await;
    let rows = [
        ("nodes", None, &["n1", "n2", "n3"][..]),
        ("nodes?fieldSelector=metadata.name%3Dn1", Some("n1"), &["n1"]),
        ("nodes?fieldSelector=metadata.name%3D%3Dn1", Some("n1"), &["n1"]),
        ("nodes?fieldSelector=metadata.name%3Dn1,metadata.name!%3Dzz", Some("n1"), &["n1"]),
        ("nodes?fieldSelector=metadata.name%3Dn1,metadata.name%3Dn2", Some("n1"), &[]),
        ("nodes?fieldSelector=metadata.name%3Dn2,metadata.name%3Dn1", Some("n1"), &[]),
        ("nodes?fieldSelector=metadata.name%3Dn1,metadata.name!%3Dn1", Some("n1"), &[]),
        ("nodes?fieldSelector=metadata.name!%3Dn1", None, &["n2", "n3"]),
        ("nodes?fieldSelector=metadata.name!%3Dn1,metadata.name!%3Dn3", None, &["n2"]),
        ("nodes?fieldSelector=metadata.name%3D", None, &[]),
        ("nodes?fieldSelector=metadata.namespace%3D", None, &["n1", "n2", "n3"]),
        ("nodes?fieldSelector=metadata.namespace%3Da", None, &[]),
        (r"nodes?fieldSelector=metadata.name%3Dn1\,metadata.name!%3Dzz", None, &[]),
        ("pods?fieldSelector=metadata.name%3Dweb-0,metadata.name!%3Dzz", Some("web-0"), &["web-0", "web-0"]),
        ("pods?fieldSelector=metadata.namespace!%3Da", None, &["db", "web-0"]),
        ("pods?fieldSelector=metadata.namespace%3Db,metadata.name!%3Ddb", None, &["web-0"]),
        ("pods?fieldSelector=metadata.namespace%3Db,metadata.namespace%3Da", None, &[]),
        ("namespaces/a/pods?fieldSelector=metadata.namespace%3Db", None, &[]),
        ("namespaces/a/pods?fieldSelector=metadata.namespace!%3Da", None, &[]),
        ("namespaces/a/pods?fieldSelector=metadata.name!%3Dweb-0", None, &["web-1"]),
    ];
    each_row_async(rows, async |(path, name, expected)| {
        let (code, answer, review) = world.ask(&format!("/apis/metrics.k8s.io/v1beta1/{path}")).await;
        let is_refused = path.contains('\\');
        assert_eq!(code, if is_refused { 400 } else { 200 }, "{path}: {answer}");
        let review = review.expect("a review");
        assert_eq!(review["name"].as_str(), name, "{path}");
        let items = answer["items"].as_array().map_or(&[][..], Vec::as_slice);
        let names: Vec<&str> = items.iter().filter_map(|item| item["metadata"]["name"].as_str()).collect();
        assert_eq!(names, expected, "{path}");
    })
    .await;
}

#[tokio::test]
async fn a_field_selector_on_a_metric_holds_or_is_refused() {
    let world = World::start().await;
    let rows = [
        (
            "custom.metrics.k8s.io/v1beta1/namespaces/a/pods/web-0/load?fieldSelector=metadata.name%3Dweb-0",
            200,
        ),
        (
            "custom.metrics.k8s.io/v1beta1/namespaces/a/pods/web-0/load?fieldSelector=metadata.name%3Dweb-0,metadata.name!%3Dx",
            200,
        ),
        (
            "custom.metrics.k8s.io/v1beta1/namespaces/a/pods/web-0/load?fieldSelector=metadata.name%3Dweb-0,metadata.namespace%3Da",
            200,
        ),
        (
            "custom.metrics.k8s.io/v1beta1/namespaces/a/pods/web-0/load?fieldSelector=metadata.name%3Dweb-0,metadata.namespace%3Db",
            400,
        ),
        (
            "custom.metrics.k8s.io/v1beta1/namespaces/a/pods/web-0/load?fieldSelector=metadata.name%3Dweb-0,metadata.name!%3Dweb-0",
            400,
        ),
        ("custom.metrics.k8s.io/v1beta1/namespaces/a/pods/web-0/load?fieldSelector=metadata.name!%3Dx", 400),
        ("custom.metrics.k8s.io/v1beta1/namespaces/a/pods/*/load?fieldSelector=metadata.name%3D*", 200),
        (
            "custom.metrics.k8s.io/v1beta1/namespaces/a/pods/*/load?fieldSelector=metadata.name%3D*,metadata.name!%3Dweb-0",
            400,
        ),
    ];
    each_row_async(rows, async |(path, code)| {
        let (got, answer, _) = world.ask(&format!("/apis/{path}")).await;
        assert_eq!(got, code, "{path}: {answer}");
    })
    .await;
    let external = async |query: &str| {
        let path = format!("/apis/external.metrics.k8s.io/v1beta1/namespaces/a/queue?fieldSelector={query}");
        let (code, answer, _) = world.ask(&path).await;
        assert_eq!(code, 200, "{query}: {answer}");
        answer["items"].as_array().expect("a list").len()
    };
    // A value has no name, so none has this one.
    assert_eq!(external("metadata.name%3Dqueue").await, 0);
    assert_eq!(external("metadata.namespace%3Db").await, 0);
    assert_eq!(external("metadata.name!%3Dqueue,metadata.namespace%3Da").await, 2);
    assert_eq!(external("").await, 2);
}

#[test]
fn what_is_answered_is_part_of_what_was_reviewed() {
    let cases = std::env::var("AUTHORIZED_CASES").ok().and_then(|text| text.parse().ok()).unwrap_or(4096);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let world = runtime.block_on(World::start());
    let [shown, empty, refused] = [const { Cell::new(0_u32) }; 3];
    let started = std::time::Instant::now();
    let config = Config { cases, failure_persistence: None, ..Config::default() };
    let checked = TestRunner::new(config).run(&url(), |url| {
        let (code, answer, review) = runtime.block_on(world.ask(&url));
        let items = items(&answer);
        prop_assert!(items.is_empty() || code == 200, "{} {}", code, url);
        for item in &items {
            let review = review.as_ref().expect("nothing is shown without a review");
            if let Err(why) = is_named(review, item) {
                prop_assert!(false, "{url}\n{review}\ndoes not name\n{item}\n{why}");
            }
        }
        let kind = match (items.is_empty(), code) {
            (false, _) => &shown,
            (true, 200) => &empty,
            (true, _) => &refused,
        };
        kind.set(kind.get() + 1);
        Ok(())
    });
    if let Err(failure) = checked {
        panic!("{failure}");
    }
    let (shown, empty, refused) = (shown.get(), empty.get(), refused.get());
    println!(
        "{cases} requests in {:?}: {shown} showed objects, {empty} none, {refused} were refused",
        started.elapsed()
    );
    // What the generator makes is worth something.
    each_row([shown, empty, refused], |count| {
        assert!(count > cases / 50, "{shown} showed objects, {empty} none, {refused} were refused");
    });
}

/// The objects of an answer: of a list, or the one.
fn items(answer: &Value) -> Vec<Value> {
    match (answer["kind"].as_str(), answer["items"].as_array()) {
        (Some("Status") | None, _) => Vec::new(),
        (_, Some(items)) => items.clone(),
        (_, None) => vec![answer.clone()],
    }
}

/// Whether a caller with what the review asks for may see this object.
fn is_named(review: &Value, item: &Value) -> Result<(), String> {
    let text = |field: &str| review[field].as_str().unwrap_or_default();
    let expect = |what: &str, expected: &str, found: &str| {
        if expected == found {
            Ok(())
        } else {
            Err(format!("{what}: expected {expected:?}, found {found:?}"))
        }
    };
    let of = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    if !matches!(text("verb"), "get" | "list") {
        return Err(format!("nothing is read by {}", text("verb")));
    }
    let described = &item["describedObject"];
    let (name, namespace, labels) = match text("group") {
        "metrics.k8s.io" => {
            let namespace = of(&item["metadata"]["namespace"]);
            expect("resource", text("resource"), if namespace.is_empty() { "nodes" } else { "pods" })?;
            expect("subresource", text("subresource"), "")?;
            (of(&item["metadata"]["name"]), namespace, &item["metadata"]["labels"])
        }
        "custom.metrics.k8s.io" => {
            // One version calls it so, the other so.
            let metric = if item["metricName"].is_null() {
                of(&item["metric"]["name"])
            } else {
                of(&item["metricName"])
            };
            let (name, namespace) = (of(&described["name"]), of(&described["namespace"]));
            if text("resource") == "metrics" {
                expect("metric", text("name"), &metric)?;
                expect("kind", "Namespace", &of(&described["kind"]))?;
                // No namespace is called so, and no Role is of it: only who may in all namespaces may in this one.
                if text("namespace") == "*" {
                    return Ok(());
                }
                return expect("namespace", text("namespace"), &name);
            }
            expect("metric", text("subresource"), &metric)?;
            let resource = text("resource").to_lowercase();
            let resource = resource.trim_end_matches('.').trim_end_matches('s');
            expect("kind", resource, &of(&described["kind"]).to_lowercase())?;
            if text("name") == "*" {
                return expect("namespace", text("namespace"), &namespace);
            }
            expect("name", text("name"), &name)?;
            let of_namespace = if described["kind"] == "Namespace" { name.clone() } else { namespace };
            return expect("namespace", text("namespace"), &of_namespace);
        }
        "external.metrics.k8s.io" => {
            expect("resource", text("resource"), &of(&item["metricName"]))?;
            (String::new(), of(&item["metricLabels"]["namespace"]), &item["metricLabels"])
        }
        other => return Err(format!("group {other}")),
    };
    if !text("name").is_empty() {
        expect("name", text("name"), &name)?;
    }
    if !text("namespace").is_empty() {
        expect("namespace", text("namespace"), &namespace)?;
    }
    let requirements =
        |selector: &str| review[selector]["requirements"].as_array().cloned().unwrap_or_default();
    let has = |requirement: &Value, found: &Value| {
        let values = requirement["values"].as_array().cloned().unwrap_or_default();
        match requirement["operator"].as_str() {
            Some("In") => values.contains(found),
            Some("NotIn") => !values.contains(found),
            Some("Exists") => !found.is_null(),
            Some("DoesNotExist") => found.is_null(),
            _ => false,
        }
    };
    for requirement in requirements("fieldSelector") {
        let found = match requirement["key"].as_str() {
            Some("metadata.name") => name.clone(),
            Some("metadata.namespace") => namespace.clone(),
            _ => return Err(format!("a field that is not known: {requirement}")),
        };
        if !has(&requirement, &found.into()) {
            return Err(format!("fields: {requirement}"));
        }
    }
    for requirement in requirements("labelSelector") {
        if !has(&requirement, &labels[requirement["key"].as_str().unwrap_or_default()]) {
            return Err(format!("labels: {requirement}"));
        }
    }
    Ok(())
}

/// A path and its query: mostly such as are answered, with whatever could be read in two ways.
fn url() -> impl Strategy<Value = String> {
    let ends = prop_oneof![8 => Just(""), 1 => Just("/")];
    let query = proptest::collection::vec(parameter(), 0..3);
    (path(), ends, query).prop_map(|(path, end, query)| {
        format!("/apis/{path}{end}{}{}", if query.is_empty() { "" } else { "?" }, query.join("&"))
    })
}

/// A group, a version and what lies below them.
fn path() -> impl Strategy<Value = String> {
    let namespace = || {
        prop_oneof![
            12 => Just("a"), 8 => Just("b"), 1 => Just("*"), 1 => Just("none"), 1 => Just("status"),
        ]
    };
    let name = || {
        prop_oneof![
            8 => Just("web-0"), 4 => Just("web-1"), 2 => Just("db"), 4 => Just("n1"), 8 => Just("*"), 2 => Just("%2A"),
            1 => Just("a"), 1 => Just("web%2F0"), 1 => Just("status"), 1 => Just("metrics"),
        ]
    };
    let resource = || {
        prop_oneof![
            12 => Just("pods"), 3 => Just("nodes"), 1 => Just("Pods"), 1 => Just("pod"), 1 => Just("pods."),
            1 => Just("namespaces"), 1 => Just("metrics"),
        ]
    };
    let metric =
        || prop_oneof![12 => Just("load"), 3 => Just("queue"), 1 => Just("status"), 1 => Just("pods")];
    let version = || prop_oneof![4 => Just("v1beta1"), 3 => Just("v1beta2"), 1 => Just("v1")];
    let segment = prop_oneof![
        namespace(),
        name(),
        resource(),
        metric(),
        Just("watch"),
        Just("proxy"),
        Just("namespaces"),
        Just("queue"),
    ];
    let usage = prop_oneof![
        3 => Just("nodes".to_owned()),
        3 => Just("pods".to_owned()),
        1 => name().prop_map(|name| format!("nodes/{name}")),
        3 => namespace().prop_map(|namespace| format!("namespaces/{namespace}/pods")),
        2 => (namespace(), name()).prop_map(|(namespace, name)| format!("namespaces/{namespace}/pods/{name}")),
    ];
    let custom = prop_oneof![
        6 => (namespace(), resource(), name(), metric()).prop_map(|(namespace, resource, name, metric)| {
            format!("namespaces/{namespace}/{resource}/{name}/{metric}")
        }),
        2 => (name(), metric()).prop_map(|(name, metric)| format!("nodes/{name}/{metric}")),
        1 => (namespace(), metric()).prop_map(|(name, metric)| format!("namespaces/{name}/metrics/{metric}")),
    ];
    let external = prop_oneof![
        6 => namespace().prop_map(|namespace| format!("namespaces/{namespace}/queue")),
        1 => (namespace(), metric()).prop_map(|(namespace, metric)| format!("namespaces/{namespace}/{metric}")),
    ];
    let group =
        prop_oneof![Just("custom.metrics.k8s.io"), Just("external.metrics.k8s.io"), Just("metrics.k8s.io"),];
    let other = (group, version(), proptest::collection::vec(segment, 1..6))
        .prop_map(|(group, version, segments)| format!("{group}/{version}/{}", segments.join("/")));
    prop_oneof![
        5 => usage.prop_map(|path| format!("metrics.k8s.io/v1beta1/{path}")),
        3 => (version(), custom).prop_map(|(version, path)| format!("custom.metrics.k8s.io/{version}/{path}")),
        2 => external.prop_map(|path| format!("external.metrics.k8s.io/v1beta1/{path}")),
        2 => other,
    ]
}

fn parameter() -> impl Strategy<Value = String> {
    let comma = || prop_oneof![30 => Just(","), 1 => Just(r"\,"), 1 => Just(",,"), 1 => Just("%2C"), 1 => Just("&fieldSelector=")];
    let fields = proptest::collection::vec((field_term(), comma()), 1..4)
        .prop_map(|terms| terms.into_iter().map(|(term, comma)| term + comma).collect::<String>());
    let fields = (fields, any::<bool>()).prop_map(|(text, cut)| {
        let text = if cut { text.trim_end_matches(',').to_owned() } else { text };
        format!("fieldSelector={text}")
    });
    let labels = prop_oneof![
        Just("app=web"),
        Just("app!%3Dweb"),
        Just("app"),
        Just("!app"),
        Just("app in (web,db)"),
        Just("app notin (web)"),
        Just("tier>4"),
        Just("tier<4"),
        Just("app=web,app=db"),
        Just("namespace=b"),
        Just("name=q1"),
        Just("!!"),
        Just(""),
    ]
    .prop_map(|text| {
        format!(
            "labelSelector={}",
            text.replace('=', "%3D").replace(' ', "+").replace('>', "%3E").replace('<', "%3C")
        )
    });
    let other = prop_oneof![
        Just("watch=true"),
        Just("watch=0"),
        Just("watch=False"),
        Just("watch="),
        Just("watch=no"),
        Just("limit=1"),
        Just("limit=x"),
        Just("timeoutSeconds=y"),
        Just("namespace=b"),
        Just("continue=x"),
        Just("%zz=1"),
        Just("a;b"),
        Just("metricLabelSelector=app%3Dweb"),
    ]
    .prop_map(str::to_owned);
    prop_oneof![6 => fields, 2 => labels, 1 => other]
}

fn field_term() -> impl Strategy<Value = String> {
    let field = prop_oneof![
        30 => Just("metadata.name"), 12 => Just("metadata.namespace"), 1 => Just("spec.nodeName"), 1 => Just(""),
        1 => Just("metadata.name%20"), 1 => Just(r"metadata.name\"),
    ];
    let operator = prop_oneof![20 => Just("%3D"), 6 => Just("%3D%3D"), 16 => Just("!%3D"), 1 => Just("="), 1 => Just("!"), 1 => Just("%3D!%3D")];
    let value = prop_oneof![
        4 => Just("web-0"), 2 => Just("web-1"), 3 => Just("n1"), 2 => Just("n2"), 3 => Just("a"), 2 => Just("b"), 1 => Just(""),
        1 => Just("*"), 1 => Just(".."), 1 => Just("web%2F0"), 1 => Just(r"web\-0"), 1 => Just(r"web-0\%3D"), 1 => Just(r"n1\\"),
        1 => Just("queue"), 1 => Just("web-0%20"), 1 => Just("+web-0"),
    ];
    (field, operator, value).prop_map(|(field, operator, value)| format!("{field}{operator}{value}"))
}
