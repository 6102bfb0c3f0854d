//! Schemas of the kinds that are served, and of what they are made of. Names and required fields are upstream's.

use serde_json::{Map, Value, json};

/// The kinds of a group-version.
pub(super) struct Kinds {
    group: &'static str,
    version: &'static str,
    /// What stands before the name of a kind in the names of schemas.
    package: &'static str,
    /// Path templates below the group-version, and the kind that each answers with.
    pub(super) paths: &'static [(&'static str, &'static str)],
}

const CUSTOM_PATHS: &[(&str, &str)] = &[
    ("namespaces/{namespace}/metrics/{name}", "MetricValueList"),
    ("namespaces/{namespace}/{resource}/{name}/{subresource}", "MetricValueList"),
    ("{resource}/{name}/{subresource}", "MetricValueList"),
];
const EXTERNAL_PATHS: &[(&str, &str)] = &[("namespaces/{namespace}/{resource}", "ExternalMetricValueList")];
const METRICS_PATHS: &[(&str, &str)] = &[
    ("nodes", "NodeMetricsList"),
    ("nodes/{name}", "NodeMetrics"),
    ("pods", "PodMetricsList"),
    ("namespaces/{namespace}/pods", "PodMetricsList"),
    ("namespaces/{namespace}/pods/{name}", "PodMetrics"),
];

/// Every group-version there is a schema for.
const ALL: [Kinds; 4] = [
    Kinds {
        group: "custom.metrics.k8s.io",
        version: "v1beta1",
        package: "io.k8s.metrics.pkg.apis.custom_metrics.v1beta1",
        paths: CUSTOM_PATHS,
    },
    Kinds {
        group: "custom.metrics.k8s.io",
        version: "v1beta2",
        package: "io.k8s.metrics.pkg.apis.custom_metrics.v1beta2",
        paths: CUSTOM_PATHS,
    },
    Kinds {
        group: "external.metrics.k8s.io",
        version: "v1beta1",
        package: "io.k8s.metrics.pkg.apis.external_metrics.v1beta1",
        paths: EXTERNAL_PATHS,
    },
    Kinds {
        group: "metrics.k8s.io",
        version: "v1beta1",
        package: "io.k8s.metrics.pkg.apis.metrics.v1beta1",
        paths: METRICS_PATHS,
    },
];

impl Kinds {
    /// The kinds of a group-version; `None` for one that has no schema here.
    pub(super) fn of(group: &str, version: &str) -> Option<Kinds> {
        ALL.into_iter().find(|kinds| kinds.group == group && kinds.version == version)
    }

    /// The name of a kind's schema.
    pub(super) fn name(&self, kind: &str) -> String {
        format!("{}.{kind}", self.package)
    }

    /// All schemas that the kinds need. `prefix` is where they stand in the document.
    pub(super) fn definitions(&self, prefix: &str) -> Map<String, Value> {
        let refer = |name: &str| json!({"$ref": format!("{prefix}{name}")});
        let own = |kind: &str| refer(&self.name(kind));
        let mut definitions = Map::new();
        let mut add = |name: String, schema: Value| {
            definitions.insert(name, schema);
        };
        match (self.group, self.version) {
            ("custom.metrics.k8s.io", "v1beta1") => {
                add(
                    self.name("MetricValueList"),
                    self.list(
                        "MetricValueList",
                        "Values of a metric for objects.",
                        &own("MetricValue"),
                        &refer,
                    ),
                );
                add(self.name("MetricValue"), self.object(
                    "MetricValue",
                    "The value of a metric for one object.",
                    &["describedObject", "metricName", "timestamp", "value"],
                    json!({
                        "describedObject": described(&refer(OBJECT_REFERENCE), "The object that the value is about."),
                        "metricName": text("The metric's name."),
                        "timestamp": described(&refer(TIME), "When the value was taken."),
                        "window": integer("How many seconds the value spans; absent for one that was taken at an instant."),
                        "value": described(&refer(QUANTITY), "The value."),
                        "selector": described(&refer(LABEL_SELECTOR), "The metric selector of the request; null when there was none."),
                    }),
                ));
            }
            ("custom.metrics.k8s.io", _) => {
                add(
                    self.name("MetricValueList"),
                    self.list(
                        "MetricValueList",
                        "Values of a metric for objects.",
                        &own("MetricValue"),
                        &refer,
                    ),
                );
                add(self.name("MetricValue"), self.object(
                    "MetricValue",
                    "The value of a metric for one object.",
                    &["describedObject", "metric", "timestamp", "value"],
                    json!({
                        "describedObject": described(&refer(OBJECT_REFERENCE), "The object that the value is about."),
                        "metric": described(&own("MetricIdentifier"), "Which metric, and which of its series."),
                        "timestamp": described(&refer(TIME), "When the value was taken."),
                        "windowSeconds": integer("How many seconds the value spans; absent for one that was taken at an instant."),
                        "value": described(&refer(QUANTITY), "The value."),
                    }),
                ));
                add(
                    self.name("MetricIdentifier"),
                    json!({
                        "description": "Names a metric.",
                        "type": "object",
                        "required": ["name"],
                        "properties": {
                            "name": text("The metric's name."),
                            "selector": described(&refer(LABEL_SELECTOR), "The metric selector of the request; null when there was none."),
                        },
                    }),
                );
            }
            ("external.metrics.k8s.io", _) => {
                add(
                    self.name("ExternalMetricValueList"),
                    self.list(
                        "ExternalMetricValueList",
                        "Values of a metric, one for each series.",
                        &own("ExternalMetricValue"),
                        &refer,
                    ),
                );
                add(self.name("ExternalMetricValue"), self.object(
                    "ExternalMetricValue",
                    "The value of one series of a metric.",
                    &["metricName", "metricLabels", "timestamp", "value"],
                    json!({
                        "metricName": text("The metric's name."),
                        "metricLabels": texts("The labels of the series; null for a number that never had any."),
                        "timestamp": described(&refer(TIME), "When the value was taken."),
                        "window": integer("How many seconds the value spans; absent for one that was taken at an instant."),
                        "value": described(&refer(QUANTITY), "The value."),
                    }),
                ));
            }
            _ => {
                let usage = json!({
                    "description": "What is used: cpu in cores, memory in bytes.",
                    "type": "object",
                    "additionalProperties": refer(QUANTITY),
                });
                let meta = described(&refer(OBJECT_META), "Name, namespace and labels of the object.");
                let timestamp = described(&refer(TIME), "When the oldest of the samples was taken.");
                let window = described(&refer(DURATION), "What time the samples span.");
                add(
                    self.name("NodeMetricsList"),
                    self.list("NodeMetricsList", "What nodes use.", &own("NodeMetrics"), &refer),
                );
                add(
                    self.name("NodeMetrics"),
                    self.object(
                        "NodeMetrics",
                        "What a node uses.",
                        &["timestamp", "window", "usage"],
                        json!({"metadata": meta, "timestamp": timestamp, "window": window, "usage": usage}),
                    ),
                );
                let containers = json!({"description": "By container.", "type": "array", "items": own("ContainerMetrics")});
                add(
                    self.name("PodMetricsList"),
                    self.list(
                        "PodMetricsList",
                        "What the containers of pods use.",
                        &own("PodMetrics"),
                        &refer,
                    ),
                );
                add(self.name("PodMetrics"), self.object(
                    "PodMetrics",
                    "What the containers of a pod use.",
                    &["timestamp", "window", "containers"],
                    json!({"metadata": meta, "timestamp": timestamp, "window": window, "containers": containers}),
                ));
                add(
                    self.name("ContainerMetrics"),
                    json!({
                        "description": "What a container uses.",
                        "type": "object",
                        "required": ["name", "usage"],
                        "properties": {"name": text("The container's name."), "usage": usage},
                    }),
                );
            }
        }
        definitions.extend(shared(self.group, &refer));
        definitions
    }

    /// A kind that can stand alone.
    fn object(&self, kind: &str, description: &str, required: &[&str], properties: Value) -> Value {
        let mut properties = properties;
        properties["apiVersion"] = text("Group and version of the object's form.");
        properties["kind"] = text("What the object is.");
        json!({
            "description": description,
            "type": "object",
            "required": required,
            "properties": properties,
            "x-kubernetes-group-version-kind":
                [{"group": self.group, "version": self.version, "kind": kind}],
        })
    }

    fn list(&self, kind: &str, description: &str, item: &Value, refer: &dyn Fn(&str) -> Value) -> Value {
        let properties = json!({
            "metadata": described(&refer(LIST_META), "Always empty."),
            "items": {"description": "The values.", "type": "array", "items": item},
        });
        self.object(kind, description, &["items"], properties)
    }
}

/// What a path that answers with a kind is for.
pub(super) fn summary(kind: &str) -> &'static str {
    match kind {
        "MetricValueList" => "The values of a metric for objects",
        "ExternalMetricValueList" => "The values of a metric for series",
        "NodeMetrics" => "What a node uses",
        "NodeMetricsList" => "What nodes use",
        "PodMetrics" => "What the containers of a pod use",
        _ => "What the containers of pods use",
    }
}

/// What the kinds of a group share with all of Kubernetes.
fn shared(group: &str, refer: &dyn Fn(&str) -> Value) -> Vec<(String, Value)> {
    let mut schemas = vec![
        (
            LIST_META,
            json!({"description": "Metadata of a list.", "type": "object", "properties": {
                "resourceVersion": text("Always empty: these lists are made anew for each request."),
                "continue": text("Always empty: these lists are never cut."),
            }}),
        ),
        (TIME, json!({"description": "A time, RFC 3339.", "type": "string", "format": "date-time"})),
        (
            QUANTITY,
            json!({"description": "A fixed-point number: 7500m is 7.5, 1k is 1000, 1Ki is 1024.", "type": "string"}),
        ),
    ];
    if group == "metrics.k8s.io" {
        schemas.push((DURATION, json!({"description": "A span of time: 2m0s.", "type": "string"})));
        schemas.push((
            OBJECT_META,
            json!({"description": "Metadata of an object.", "type": "object", "properties": {
                "name": text("The object's name."),
                "namespace": text("Its namespace; absent for nodes."),
                "creationTimestamp": described(&refer(TIME), "When the answer was made."),
                "labels": texts("The object's labels."),
            }}),
        ));
    }
    if group == "custom.metrics.k8s.io" {
        schemas.push((
            OBJECT_REFERENCE,
            json!({"description": "Names an object.", "type": "object", "properties": {
                "kind": text("Its kind."),
                "namespace": text("Its namespace; absent for cluster-scoped objects."),
                "name": text("Its name."),
                "apiVersion": text("Group and version of its kind."),
            }}),
        ));
        schemas.push((LABEL_SELECTOR, json!({"description": "Which labels are wanted. All of it must match.", "type": "object", "properties": {
            "matchLabels": texts("Labels that must have exactly these values."),
            "matchExpressions": {"description": "Further requirements.", "type": "array", "items": refer(LABEL_SELECTOR_REQUIREMENT)},
        }})));
        schemas.push((LABEL_SELECTOR_REQUIREMENT, json!({"description": "One requirement.", "type": "object", "required": ["key", "operator"], "properties": {
            "key": text("The label."),
            "operator": text("In, NotIn, Exists or DoesNotExist."),
            "values": {"description": "Values for In and NotIn.", "type": "array", "items": {"type": "string", "default": ""}},
        }})));
    }
    schemas.into_iter().map(|(name, schema)| (name.to_owned(), schema)).collect()
}

fn text(description: &str) -> Value {
    json!({"description": description, "type": "string"})
}

fn integer(description: &str) -> Value {
    json!({"description": description, "type": "integer", "format": "int64"})
}

fn texts(description: &str) -> Value {
    json!({"description": description, "type": "object", "additionalProperties": {"type": "string", "default": ""}})
}

/// A reference with a description of its own. In version 3 nothing counts beside `$ref`; what reads version 2 for
/// Kubernetes takes the description there, and knows no `allOf`.
fn described(reference: &Value, description: &str) -> Value {
    match reference["$ref"].as_str() {
        Some(target) if target.starts_with("#/definitions/") => {
            json!({"description": description, "$ref": target})
        }
        _ => json!({"description": description, "allOf": [reference]}),
    }
}

const LIST_META: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.ListMeta";
const OBJECT_META: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta";
const TIME: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.Time";
const DURATION: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.Duration";
const LABEL_SELECTOR: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.LabelSelector";
const LABEL_SELECTOR_REQUIREMENT: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.LabelSelectorRequirement";
const QUANTITY: &str = "io.k8s.apimachinery.pkg.api.resource.Quantity";
const OBJECT_REFERENCE: &str = "io.k8s.api.core.v1.ObjectReference";
