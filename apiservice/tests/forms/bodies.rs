//! Bodies of our own in every form. The protobuf ones were made by `k8s.io/metrics` and `k8s.io/apimachinery` 0.36 from
//! the same objects.

use std::time::Duration;

use apiservice::discovery::{GroupDescription, ResourceEntry};
use apiservice::quantity::{Format, Quantity};
use apiservice::server::Answer;
use apiservice::status::{ApiError, Cause, Class, Details};
use apiservice::types::usage::{ContainerMetrics, NodeMetrics, PodMetrics, Usage, UsageMeta};
use apiservice::types::{
    ExternalMetricValue, ExternalMetricValueList, LabelSelector, LabelSelectorRequirement, MetricValue,
    MetricValueList, ObjectReference, Timestamp,
};
use testkit::rows::each_row_async;

use super::{Api, C1, C2, E, JSON, M, PROTOBUF, TABLE, YAML, groups};

/// 2026-11-23T19:19:25Z
fn at() -> Timestamp {
    Timestamp::from_unix_ms(1_795_461_565_900)
}

fn custom() -> Answer {
    let requirement = |key: &str, operator, values: &[&str]| LabelSelectorRequirement {
        key: key.to_owned(),
        operator,
        values: values.iter().map(|value| (*value).to_owned()).collect(),
    };
    let selector = LabelSelector {
        match_labels: [("code", "200"), ("a", "b")].map(|(k, v)| (k.to_owned(), v.to_owned())).into(),
        match_expressions: vec![requirement("path", "In", &["a", "b"]), requirement("x", "Exists", &[])],
    };
    Answer::MetricValues(MetricValueList {
        items: vec![MetricValue {
            described_object: ObjectReference {
                kind: "Deployment".into(),
                namespace: Some("default".into()),
                name: "web".into(),
                api_version: "apps/v1".into(),
            },
            metric_name: "depth".into(),
            selector: Some(selector.into()),
            timestamp: at(),
            window_seconds: Some(120),
            value: Quantity::from_milli(7500),
        }],
    })
}

fn external() -> Answer {
    let value = |labels: Option<&[(&str, &str)]>, window_seconds, milli| ExternalMetricValue {
        metric_name: "queue".into(),
        metric_labels: labels.map(|labels| labels.iter().map(|(k, v)| ((*k).into(), (*v).into())).collect()),
        timestamp: at(),
        window_seconds,
        value: Quantity::from_milli(milli),
    };
    Answer::ExternalMetricValues(ExternalMetricValueList {
        items: vec![value(Some(&[("a", "yes"), ("b", "1")]), Some(120), 7500), value(None, None, 0)],
    })
}

fn usage(cpu: i64, memory: i64) -> Usage {
    Usage {
        cpu: Quantity::from_milli(cpu),
        memory: Quantity::from_milli(memory * 1000).with_format(Format::BinarySi),
    }
}

fn pod() -> PodMetrics {
    PodMetrics {
        metadata: UsageMeta {
            name: "web-1".to_owned(),
            namespace: Some("default".to_owned()),
            creation_timestamp: at(),
            labels: [("app".to_owned(), "web".to_owned())].into(),
        },
        timestamp: at(),
        window: Duration::from_mins(5),
        containers: vec![ContainerMetrics { name: "main".to_owned(), usage: usage(12, 123_456_789) }],
    }
}

fn node() -> NodeMetrics {
    NodeMetrics {
        metadata: UsageMeta {
            name: "n1".to_owned(),
            namespace: None,
            creation_timestamp: at(),
            labels: [].into(),
        },
        timestamp: at(),
        window: Duration::ZERO,
        usage: usage(12, 123_456_789),
    }
}

#[tokio::test]
async fn custom_metrics_are_written_in_every_form() {
    let api = Api::answering(Ok(custom()));
    let (v1beta1, v1beta2) = (format!("{C1}/namespaces/d/x/y/depth"), format!("{C2}/namespaces/d/x/y/depth"));
    assert_eq!(
        api.body(&v1beta1, PROTOBUF, 200, PROTOBUF).await[..],
        b"k8s\x00\n0\n\x1dcustom.metrics.k8s.io/v1beta1\x12\x0fMetricValueList\
          \x12\x87\x01\n\x06\n\x00\x12\x00\x1a\x00\
          \x12}\n)\n\nDeployment\x12\x07default\x1a\x03web\"\x00*\x07apps/v12\x00:\x00\x12\x05depth\
          \x1a\x08\x08\xbd\xa3\x92\xd8\x06\x10\x00 x*\x07\n\x057500m\
          24\n\x06\n\x01a\x12\x01b\n\x0b\n\x04code\x12\x03200\x12\x10\n\x04path\x12\x02In\x1a\x01a\x1a\x01b\
          \x12\x0b\n\x01x\x12\x06Exists\x1a\x00\"\x00"[..],
        "docs/contract.md#protobuf"
    );
    assert_eq!(
        api.body(&v1beta2, "application/vnd.kubernetes.protobuf, */*", 200, PROTOBUF).await[..],
        b"k8s\x00\n0\n\x1dcustom.metrics.k8s.io/v1beta2\x12\x0fMetricValueList\
          \x12\x89\x01\n\x06\n\x00\x12\x00\x1a\x00\
          \x12\x7f\n)\n\nDeployment\x12\x07default\x1a\x03web\"\x00*\x07apps/v12\x00:\x00\
          \x12=\n\x05depth\x124\n\x06\n\x01a\x12\x01b\n\x0b\n\x04code\x12\x03200\
          \x12\x10\n\x04path\x12\x02In\x1a\x01a\x1a\x01b\x12\x0b\n\x01x\x12\x06Exists\
          \x1a\x08\x08\xbd\xa3\x92\xd8\x06\x10\x00 x*\x07\n\x057500m\x1a\x00\"\x00"[..],
        "docs/contract.md#protobuf"
    );
    let yaml = "\
apiVersion: custom.metrics.k8s.io/v1beta2
items:
- describedObject:
    apiVersion: apps/v1
    kind: Deployment
    name: web
    namespace: default
  metric:
    name: depth
    selector:
      matchExpressions:
      - key: path
        operator: In
        values:
        - a
        - b
      - key: x
        operator: Exists
      matchLabels:
        a: b
        code: \"200\"
  timestamp: \"2026-11-23T19:19:25Z\"
  value: 7500m
  windowSeconds: 120
kind: MetricValueList
metadata: {}
";
    assert_eq!(api.text(&v1beta2, YAML, 200, YAML).await, yaml, "docs/contract.md#yaml");
    let api = Api::answering(Ok(Answer::MetricValues(MetricValueList::default())));
    assert_eq!(
        api.body(&v1beta1, PROTOBUF, 200, PROTOBUF).await[..],
        b"k8s\x00\n0\n\x1dcustom.metrics.k8s.io/v1beta1\x12\x0fMetricValueList\x12\x08\n\x06\n\x00\x12\x00\x1a\x00\
          \x1a\x00\"\x00"[..]
    );
    assert_eq!(
        api.text(&v1beta1, "application/json;pretty=1", 200, JSON).await,
        "{\n  \"kind\": \"MetricValueList\",\n  \"apiVersion\": \"custom.metrics.k8s.io/v1beta1\",\n  \
         \"metadata\": {},\n  \"items\": []\n}"
    );
}

#[tokio::test]
async fn external_metrics_are_written_in_every_form() {
    let api = Api::answering(Ok(external()));
    let path = format!("{E}/namespaces/d/queue");
    assert_eq!(
        api.body(&path, PROTOBUF, 200, PROTOBUF).await[..],
        b"k8s\x00\n:\n\x1fexternal.metrics.k8s.io/v1beta1\x12\x17ExternalMetricValueList\
          \x12P\n\x06\n\x00\x12\x00\x1a\x00\
          \x12.\n\x05queue\x12\x08\n\x01a\x12\x03yes\x12\x06\n\x01b\x12\x011\
          \x1a\x08\x08\xbd\xa3\x92\xd8\x06\x10\x00 x*\x07\n\x057500m\
          \x12\x16\n\x05queue\x1a\x08\x08\xbd\xa3\x92\xd8\x06\x10\x00*\x03\n\x010\x1a\x00\"\x00"[..],
        "docs/contract.md#protobuf"
    );
    let yaml = "\
apiVersion: external.metrics.k8s.io/v1beta1
items:
- metricLabels:
    a: \"yes\"
    b: \"1\"
  metricName: queue
  timestamp: \"2026-11-23T19:19:25Z\"
  value: 7500m
  window: 120
- metricLabels: null
  metricName: queue
  timestamp: \"2026-11-23T19:19:25Z\"
  value: \"0\"
kind: ExternalMetricValueList
metadata: {}
";
    assert_eq!(api.text(&path, YAML, 200, YAML).await, yaml);
}

#[tokio::test]
async fn resource_metrics_are_written_in_every_form() {
    let api = Api::answering(Ok(Answer::Pods(vec![pod()])));
    let message = b"r\n0\n\x05web-1\x12\x00\x1a\x07default\"\x00*\x002\x008\x00B\x08\x08\xbd\xa3\x92\xd8\x06\x10\x00\
                    Z\n\n\x03app\x12\x03web\x12\x08\x08\xbd\xa3\x92\xd8\x06\x10\x00\x1a\x07\x08\x80\xf0\x92\xcb\xdd\x08\
                    \"+\n\x04main\x12\x0c\n\x03cpu\x12\x05\n\x0312m\x12\x15\n\x06memory\x12\x0b\n\t123456789\
                    \x1a\x00\"\x00";
    let head =
        b"k8s\x00\n(\n\x16metrics.k8s.io/v1beta1\x12\x0ePodMetricsList\x12|\n\x06\n\x00\x12\x00\x1a\x00\x12";
    assert_eq!(
        api.body(&format!("{M}/pods"), PROTOBUF, 200, PROTOBUF).await,
        [&head[..], message].concat(),
        "docs/contract.md#protobuf"
    );
    let api = Api::answering(Ok(Answer::Pod(pod())));
    let head = b"k8s\x00\n$\n\x16metrics.k8s.io/v1beta1\x12\nPodMetrics\x12";
    let path = format!("{M}/namespaces/default/pods/web-1");
    assert_eq!(api.body(&path, PROTOBUF, 200, PROTOBUF).await, [&head[..], message].concat());
    let api = Api::answering(Ok(Answer::Nodes(vec![node()])));
    assert_eq!(
        api.body(&format!("{M}/nodes"), PROTOBUF, 200, PROTOBUF).await[..],
        b"k8s\x00\n)\n\x16metrics.k8s.io/v1beta1\x12\x0fNodeMetricsList\x12Y\n\x06\n\x00\x12\x00\x1a\x00\
          \x12O\n\x1a\n\x02n1\x12\x00\x1a\x00\"\x00*\x002\x008\x00B\x08\x08\xbd\xa3\x92\xd8\x06\x10\x00\
          \x12\x08\x08\xbd\xa3\x92\xd8\x06\x10\x00\x1a\x02\x08\x00\
          \"\x0c\n\x03cpu\x12\x05\n\x0312m\"\x15\n\x06memory\x12\x0b\n\t123456789\x1a\x00\"\x00"[..]
    );
}

/// `docs/contract.md#tables`.
#[tokio::test]
async fn tables_are_written() {
    let mut two = pod();
    two.containers.push(ContainerMetrics { name: "side".to_owned(), usage: usage(12, 123_456_789) });
    let api = Api::answering(Ok(Answer::Pods(vec![two.clone()])));
    let path = format!("{M}/pods");
    let columns = concat!(
        r#""columnDefinitions":["#,
        r#"{"name":"Name","type":"string","format":"name","description":"Name of the resource","priority":0},"#,
        r#"{"name":"cpu","type":"string","format":"quantity","description":"","priority":0},"#,
        r#"{"name":"memory","type":"string","format":"quantity","description":"","priority":0},"#,
        r#"{"name":"Window","type":"string","format":"duration","description":"","priority":0}]"#,
    );
    let cells = r#""cells":["web-1","24m","246913578","5m0s"]"#;
    let metadata = r#""metadata":{"name":"web-1","namespace":"default","creationTimestamp":"2026-11-23T19:19:25Z","labels":{"app":"web"}}"#;
    let table = |version: &str, object: &str| {
        format!(
            r#"{{"kind":"Table","apiVersion":"meta.k8s.io/{version}","metadata":{{}},{columns},"rows":[{{{cells},"object":{object}}}]}}"#
        ) + "\n"
    };
    let partial = |version: &str| {
        format!(r#"{{"kind":"PartialObjectMetadata","apiVersion":"meta.k8s.io/{version}",{metadata}}}"#)
    };
    assert_eq!(api.text(&path, TABLE, 200, JSON).await, table("v1", &partial("v1")));
    let v1beta1 = TABLE.replace("v=v1", "v=v1beta1");
    assert_eq!(api.text(&path, &v1beta1, 200, JSON).await, table("v1beta1", &partial("v1beta1")));
    let asked = |include: &str| format!("{path}?includeObject={include}");
    assert_eq!(api.text(&asked("Metadata"), TABLE, 200, JSON).await, table("v1", &partial("v1")));
    assert_eq!(api.text(&asked("None"), TABLE, 200, JSON).await, table("v1", "null"));
    let whole = api.text(&asked("Object"), TABLE, 200, JSON).await;
    assert!(
        whole.contains(&format!(
            r#""object":{{"kind":"PodMetrics","apiVersion":"metrics.k8s.io/v1beta1",{metadata},"timestamp""#
        )),
        "{whole}"
    );
    let refused = api.text(&asked("All"), &format!("{TABLE},application/json"), 400, JSON).await;
    assert!(refused.contains(
        r#"includeObject: Invalid value: \"All\": must be 'Metadata', 'Object', 'None', or empty""#
    ));
    // It is a table's parameter.
    assert_eq!(api.get(&asked("All"), &[]).await.code, 200);
    // A single object is a table of one row.
    let one = Api::answering(Ok(Answer::Pod(two)));
    let single = format!("{M}/namespaces/default/pods/web-1");
    assert_eq!(one.text(&single, TABLE, 200, JSON).await, table("v1", &partial("v1")));
    let empty = Api::answering(Ok(Answer::Nodes(Vec::new())));
    assert_eq!(
        empty.text(&format!("{M}/nodes"), TABLE, 200, JSON).await,
        "{\"kind\":\"Table\",\"apiVersion\":\"meta.k8s.io/v1\",\"metadata\":{},\"columnDefinitions\":null,\"rows\":null}\n",
    );
    let nodes = Api::answering(Ok(Answer::Nodes(vec![node()])));
    let yaml = nodes.text(&format!("{M}/nodes"), &TABLE.replace("json", "yaml"), 200, YAML).await;
    assert!(
        yaml.contains("rows:\n- cells:\n  - n1\n  - 12m\n  - \"123456789\"\n  - 0s\n  object:\n"),
        "{yaml}"
    );
}

/// `docs/contract.md#tables`, `docs/contract.md#media-types`.
#[tokio::test]
async fn metadata_alone_is_written() {
    let list =
        |version: &str| format!("application/json;as=PartialObjectMetadataList;v={version};g=meta.k8s.io");
    let single =
        |version: &str| format!("application/json;as=PartialObjectMetadata;v={version};g=meta.k8s.io");
    let protobuf = |accept: String| accept.replace("json", "vnd.kubernetes.protobuf");
    let pods = format!("{M}/pods");
    let metadata = r#""metadata":{"name":"web-1","namespace":"default","creationTimestamp":"2026-11-23T19:19:25Z","labels":{"app":"web"}}"#;
    let api = Api::answering(Ok(Answer::Pods(vec![pod()])));
    assert_eq!(
        api.text(&pods, &list("v1beta1"), 200, JSON).await,
        format!(
            r#"{{"kind":"PartialObjectMetadataList","apiVersion":"meta.k8s.io/v1beta1","metadata":{{}},"items":[{{"kind":"PartialObjectMetadata","apiVersion":"meta.k8s.io/v1beta1",{metadata}}}]}}"#
        ) + "\n"
    );
    let message =
        b"0\n\x05web-1\x12\x00\x1a\x07default\"\x00*\x002\x008\x00B\x08\x08\xbd\xa3\x92\xd8\x06\x10\x00\
                    Z\n\n\x03app\x12\x03web";
    let end = b"\x1a\x00\"\x00";
    let head = b"k8s\x00\n+\n\x0emeta.k8s.io/v1\x12\x19PartialObjectMetadataList\x12<\n\x06\n\x00\x12\x00\x1a\x00\x122\n";
    assert_eq!(
        api.body(&pods, &protobuf(list("v1")), 200, PROTOBUF).await,
        [&head[..], message, end].concat()
    );
    // The older version has its fields the other way round.
    let head = b"k8s\x00\n0\n\x13meta.k8s.io/v1beta1\x12\x19PartialObjectMetadataList\x12<\n2\n";
    let metadata_field = b"\x12\x06\n\x00\x12\x00\x1a\x00";
    assert_eq!(
        api.body(&pods, &protobuf(list("v1beta1")), 200, PROTOBUF).await,
        [&head[..], message, metadata_field, end].concat()
    );
    // One object from a list is not to be had, and the other way round; each after the answer is known.
    let refused = api.text(&pods, &single("v1"), 406, JSON).await;
    assert!(
        refused.contains("you requested PartialObjectMetadata, but the requested object is a list (*metrics.PodMetricsList)"),
        "{refused}"
    );
    let one = Api::answering(Ok(Answer::Pod(pod())));
    let path = format!("{M}/namespaces/default/pods/web-1");
    assert_eq!(
        one.text(&path, &single("v1"), 200, JSON).await,
        format!(r#"{{"kind":"PartialObjectMetadata","apiVersion":"meta.k8s.io/v1",{metadata}}}"#) + "\n"
    );
    let head = b"k8s\x00\n'\n\x0emeta.k8s.io/v1\x12\x15PartialObjectMetadata\x122\n";
    assert_eq!(
        one.body(&path, &protobuf(single("v1")), 200, PROTOBUF).await,
        [&head[..], message, end].concat()
    );
    assert_eq!(
        one.text(&path, &list("v1"), 406, JSON).await,
        "{\n  \"kind\": \"Status\",\n  \"apiVersion\": \"v1\",\n  \"metadata\": {},\n  \"status\": \"Failure\",\n  \
         \"message\": \"you requested PartialObjectMetadataList, but the requested object is not a list \
         (*metrics.PodMetrics)\",\n  \"reason\": \"NotAcceptable\",\n  \"code\": 406\n}"
    );
    let empty = Api::answering(Ok(Answer::Pods(Vec::new())));
    assert_eq!(
        empty.text(&pods, &list("v1"), 200, JSON).await,
        "{\"kind\":\"PartialObjectMetadataList\",\"apiVersion\":\"meta.k8s.io/v1\",\"metadata\":{},\"items\":null}\n"
    );
    // Only resource metrics have metadata.
    let api = Api::answering(Ok(custom()));
    let refused = api.text(&format!("{C1}/namespaces/d/pods/x/depth"), &list("v1"), 406, JSON).await;
    assert!(
        refused.contains("only the following media types are accepted: application/json, application/yaml")
    );
}

/// `docs/contract.md#not-acceptable`.
#[tokio::test]
async fn forms_that_are_not_known_are_not_acceptable() {
    let api = Api::answering(Ok(custom()));
    let path = format!("{C1}/namespaces/d/pods/x/depth");
    let three = "application/json, application/yaml, application/vnd.kubernetes.protobuf";
    let five =
        format!("{three}, application/json;stream=watch, application/vnd.kubernetes.protobuf;stream=watch");
    let compact = |available: &str| {
        format!(
            r#"{{"kind":"Status","apiVersion":"v1","metadata":{{}},"status":"Failure","message":"406: Not Acceptable\n\nAvailable representations: {available}","reason":"NotAcceptable","details":{{}},"code":406}}"#
        )
    };
    let indented = |available: &str| {
        format!(
            "{{\n  \"kind\": \"Status\",\n  \"apiVersion\": \"v1\",\n  \"metadata\": {{}},\n  \"status\": \"Failure\",\n  \
             \"message\": \"406: Not Acceptable\\n\\nAvailable representations: {available}\",\n  \
             \"reason\": \"NotAcceptable\",\n  \"details\": {{}},\n  \"code\": 406\n}}"
        )
    };
    // What the route refuses and the writer of errors accepts is answered as usual.
    assert_eq!(api.text(&path, "application/*", 406, JSON).await, compact(&five) + "\n");
    each_row_async(["text/html", "application/cbor", "APPLICATION/JSON"], async |accept| {
        assert_eq!(api.text(&path, accept, 406, JSON).await, indented(&five), "{accept}");
    })
    .await;
    // Each route names what it makes.
    assert_eq!(api.text("/apis", "text/html", 406, JSON).await, indented(three));
    assert_eq!(api.text(C1, "text/html", 406, JSON).await, indented(three));
    let node = format!("{M}/nodes/n1");
    assert_eq!(api.text(&node, "text/html", 406, JSON).await, indented(three));
    let pod = format!("{M}/namespaces/d/pods/x");
    assert_eq!(api.text(&pod, "text/html", 406, JSON).await, indented(three));
    assert_eq!(api.text(&format!("{M}/nodes"), "text/html", 406, JSON).await, indented(&five));
    assert!(api.text("/version", YAML, 406, YAML).await.contains("representations: application/json\n"));
    // The aggregated form is not a group's.
    let aggregated = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList";
    let refused = api.text("/apis/custom.metrics.k8s.io", aggregated, 406, JSON).await;
    assert!(
        refused.contains(&format!("\"only the following media types are accepted: {three}\"")),
        "{refused}"
    );
    // Nothing is asked for when the route refuses: an error of the handler would show otherwise.
    let api = Api::answering(Err(ApiError::unavailable("away")));
    assert_eq!(api.get(&path, &[("accept", "text/html")]).await.code, 406);
}

/// `docs/contract.md#not-acceptable`: an error is never hidden by a form that cannot be made.
#[tokio::test]
async fn errors_are_written_in_every_form() {
    let details = Details {
        name: "x".to_owned(),
        kind: "pods".to_owned(),
        causes: vec![Cause { message: "gone".to_owned(), ..Cause::default() }],
        ..Details::default()
    };
    let error = ApiError::new(Class::NotFound, "pods \"x\" not found", Some(details));
    let api = Api::answering(Err(error));
    let path = format!("{M}/namespaces/d/pods/x");
    assert_eq!(
        api.body(&path, "application/vnd.kubernetes.protobuf, */*", 404, PROTOBUF).await[..],
        b"k8s\x00\n\x0c\n\x02v1\x12\x06Status\x12O\n\x06\n\x00\x12\x00\x1a\x00\x12\x07Failure\
          \x1a\x12pods \"x\" not found\"\x08NotFound*\x1b\n\x01x\x12\x00\x1a\x04pods\"\n\n\x00\x12\x04gone\x1a\x00\
          (\x002\x000\x94\x03\x1a\x00\"\x00"[..],
        "docs/contract.md#protobuf"
    );
    let yaml = "\
apiVersion: v1
code: 404
details:
  causes:
  - message: gone
  kind: pods
  name: x
kind: Status
message: pods \"x\" not found
metadata: {}
reason: NotFound
status: Failure
";
    assert_eq!(api.text(&path, YAML, 404, YAML).await, yaml);
    let compact = r#"{"kind":"Status","apiVersion":"v1","metadata":{},"status":"Failure","message":"pods \"x\" not found","reason":"NotFound","details":{"name":"x","kind":"pods","causes":[{"message":"gone"}]},"code":404}"#;
    assert_eq!(
        api.text(&path, &format!("{TABLE},application/json"), 404, JSON).await,
        format!("{compact}\n")
    );
    let indented = api.text(&path, TABLE, 404, JSON).await;
    assert!(
        indented.starts_with("{\n  \"kind\": \"Status\",") && indented.ends_with("\"code\": 404\n}"),
        "{indented}"
    );
    // Without details; and one that the server itself makes.
    let api = Api::answering(Err(ApiError::new(Class::NotFound, "m", None)));
    assert_eq!(
        api.body(&path, PROTOBUF, 404, PROTOBUF).await[..],
        b"k8s\x00\n\x0c\n\x02v1\x12\x06Status\x12!\n\x06\n\x00\x12\x00\x1a\x00\x12\x07Failure\x1a\x01m\
          \"\x08NotFound0\x94\x03\x1a\x00\"\x00"[..]
    );
    assert!(api.text(&format!("{M}?timeout=x"), YAML, 400, YAML).await.contains("reason: BadRequest\n"));
}

/// `docs/contract.md#discovery`.
#[tokio::test]
async fn discovery_is_written_in_every_form() {
    let mut served = groups(&["v1beta1"]);
    served.truncate(2);
    let queue = ResourceEntry {
        name: "queue".to_owned(),
        namespaced: true,
        kind: "ExternalMetricValueList",
        verbs: &["get"],
    };
    served[1] = GroupDescription::of("external.metrics.k8s.io", &["v1beta1"], vec![queue]);
    let api = Api::serving(served, Err(ApiError::no_route()));
    let group = "/apis/custom.metrics.k8s.io";
    assert_eq!(
        api.body(group, PROTOBUF, 200, PROTOBUF).await[..],
        b"k8s\x00\n\x0e\n\x02v1\x12\x08APIGroup\x12k\n\x15custom.metrics.k8s.io\
          \x12(\n\x1dcustom.metrics.k8s.io/v1beta1\x12\x07v1beta1\
          \x1a(\n\x1dcustom.metrics.k8s.io/v1beta1\x12\x07v1beta1\x1a\x00\"\x00"[..]
    );
    let yaml = "\
apiVersion: v1
kind: APIGroup
name: custom.metrics.k8s.io
preferredVersion:
  groupVersion: custom.metrics.k8s.io/v1beta1
  version: v1beta1
versions:
- groupVersion: custom.metrics.k8s.io/v1beta1
  version: v1beta1
";
    assert_eq!(api.text(group, YAML, 200, YAML).await, yaml);
    // Every form has a tag of its own.
    each_row_async([JSON, YAML, PROTOBUF, "application/json;pretty=1"], async |accept| {
        let response = api.get(C1, &[("accept", accept)]).await;
        let etag = response.header("etag").expect("a tag").to_owned();
        for other in [JSON, YAML, PROTOBUF, "application/json;pretty=1"] {
            let again = api.get(C1, &[("accept", other), ("if-none-match", &etag)]).await;
            assert_eq!(again.code == 304, accept == other, "{accept} held, {other} asked for");
            assert_eq!(again.body.is_empty(), accept == other);
        }
        let weak = api.get(C1, &[("accept", accept), ("if-none-match", &format!("W/{etag}"))]).await;
        assert_eq!(weak.code, 200);
    })
    .await;
    let aggregated = |form: &str| format!("{form};g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList");
    let accept = aggregated(PROTOBUF);
    assert_eq!(
        api.body("/apis", &accept, 200, &accept).await[..],
        b"k8s\x00\n/\n\x16apidiscovery.k8s.io/v2\x12\x15APIGroupDiscoveryList\x12\x82\x02\n\x06\n\x00\x12\x00\x1a\x00\
          \x12~\n%\n\x15custom.metrics.k8s.io\x12\x00\x1a\x00\"\x00*\x002\x008\x00B\x00\
          \x12U\n\x07v1beta1\x12A\n\x04pods\x12\x06\n\x00\x12\x00\x1a\x00\x1a\nNamespaced\"\x00\
          B#\n\x05depth\x12\x15\n\x00\x12\x00\x1a\x0fMetricValueList\"\x03get\x1a\x07Current\
          \x12x\n'\n\x17external.metrics.k8s.io\x12\x00\x1a\x00\"\x00*\x002\x008\x00B\x00\
          \x12M\n\x07v1beta1\x129\n\x05queue\x12\x1d\n\x00\x12\x00\x1a\x17ExternalMetricValueList\
          \x1a\nNamespaced\"\x00*\x03get\x1a\x07Current\x1a\x00\"\x00"[..]
    );
    let accept = aggregated(YAML);
    let yaml = api.text("/apis", &accept, 200, &accept).await;
    assert!(
        yaml.starts_with("apiVersion: apidiscovery.k8s.io/v2\nitems:\n- metadata:\n    name: custom"),
        "{yaml}"
    );
    let accept = aggregated(JSON).replace("v=v2", "v=v2beta1");
    let json = api.text("/apis", &format!("{accept},application/json"), 200, &accept).await;
    assert!(
        json.starts_with(r#"{"kind":"APIGroupDiscoveryList","apiVersion":"apidiscovery.k8s.io/v2beta1""#),
        "{json}"
    );
}

/// `docs/contract.md#openapi`.
#[tokio::test]
async fn openapi_documents_are_written_with_their_headers() {
    let api = Api::answering(Ok(custom()));
    let v2 = api.get("/openapi/v2", &[("user-agent", "curl/8")]).await;
    assert_eq!((v2.code, v2.content_type(), v2.header("vary")), (200, JSON, Some("Accept")));
    assert_eq!(v2.header("cache-control"), Some("no-cache, private"));
    assert!(
        v2.body.starts_with(b"{\"definitions\":{") && v2.body.ends_with(b"}"),
        "one line for every client"
    );
    let modified = v2.header("last-modified").expect("a date");
    assert!(modified.ends_with(" GMT") && jiff::fmt::rfc2822::parse(modified).is_ok(), "{modified}");
    let etag = v2.header("etag").expect("a tag");
    let again = api.get("/openapi/v2", &[("if-none-match", etag), ("accept-encoding", "gzip")]).await;
    assert_eq!((again.code, again.body.len(), again.header("etag")), (304, 0, Some(etag)));
    let compressed = api.get("/openapi/v2", &[("accept-encoding", "gzip")]).await;
    assert_eq!(compressed.header("content-encoding"), Some("gzip"));
    let vary: Vec<_> = compressed.headers.get_all("vary").iter().collect();
    assert_eq!(vary, ["Accept", "Accept-Encoding"]);
    assert!(compressed.body.len() < v2.body.len() / 3);
    let protobuf = "application/com.github.proto-openapi.spec.v2.v1.0+protobuf";
    let refused = api.get("/openapi/v2", &[("accept", protobuf)]).await;
    assert_eq!((refused.code, refused.body.len(), refused.header("content-type")), (406, 0, None));
    let both = format!("{protobuf},application/json");
    assert_eq!(api.get("/openapi/v2", &[("accept", &both)]).await.body, v2.body);

    let index = api.get("/openapi/v3", &[("accept", "text/html")]).await;
    assert_eq!((index.code, index.content_type(), index.header("vary")), (200, JSON, None));
    let tree: serde_json::Value = serde_json::from_slice(&index.body).expect("JSON");
    let named = tree["paths"]["apis/metrics.k8s.io/v1beta1"]["serverRelativeURL"].as_str().expect("a path");
    let document = api.get(named, &[]).await;
    assert_eq!((document.code, document.header("vary")), (200, Some("Accept")));
    assert_eq!(document.header("cache-control"), Some("public, immutable"));
    let expires = document.header("expires").expect("a date");
    let expires = jiff::fmt::rfc2822::parse(expires).expect("a date").timestamp();
    let left = expires.duration_since(jiff::Timestamp::now());
    assert!((364 * 24..=365 * 24).contains(&left.as_hours()), "{left:?}");
    // D6: another hash is answered with what there is.
    let old = api.get("/openapi/v3/apis/metrics.k8s.io/v1beta1?hash=OLD", &[]).await;
    assert_eq!((old.code, old.header("expires"), &old.body), (200, None, &document.body));
    assert_eq!(old.headers["cache-control"], "no-cache, private");
    let refused = api.get("/openapi/v3/apis/metrics.k8s.io/v1beta1", &[("accept", "text/html")]).await;
    assert_eq!((refused.code, refused.body.len()), (406, 0));
    // D7
    assert_eq!(api.get("/openapi/v3/apis/nope", &[]).await.code, 404);
}

/// `docs/contract.md#compression`.
#[tokio::test]
async fn large_bodies_are_compressed() {
    let Answer::MetricValues(list) = custom() else { unreachable!("as made above") };
    let many = MetricValueList { items: vec![list.items[0].clone(); 1000] };
    let api = Api::answering(Ok(Answer::MetricValues(many)));
    let path = format!("{C1}/namespaces/d/pods/*/depth");
    let plain = api.get(&path, &[]).await;
    assert!(plain.body.len() > 128 * 1024 && plain.header("content-encoding").is_none());
    let compressed = api.get(&path, &[("accept-encoding", "deflate, gzip")]).await;
    assert_eq!(compressed.header("content-encoding"), Some("gzip"));
    assert_eq!((compressed.content_type(), compressed.header("vary")), (JSON, Some("Accept-Encoding")));
    let mut body = Vec::new();
    std::io::Read::read_to_end(&mut flate2::read::GzDecoder::new(&compressed.body[..]), &mut body)
        .expect("gzip");
    assert_eq!(body, plain.body);
    let small = Api::answering(Ok(custom())).get(&path, &[("accept-encoding", "gzip")]).await;
    assert_eq!((small.header("content-encoding"), small.header("vary")), (None, None));
}
