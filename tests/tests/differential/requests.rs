//! Which requests both servers are asked: the forms of a path, times the selectors, the versions and the media types.

use e2e::comparison::Request;
use serde_json::Value;

pub(crate) const C1: &str = "/apis/custom.metrics.k8s.io/v1beta1";
pub(crate) const C2: &str = "/apis/custom.metrics.k8s.io/v1beta2";
pub(crate) const EXTERNAL: &str = "/apis/external.metrics.k8s.io/v1beta1";
pub(crate) const USAGE: &str = "/apis/metrics.k8s.io/v1beta1";

/// One request to both servers, and what kind of request it is.
#[derive(Debug, Clone)]
pub(crate) struct Asking {
    pub(crate) request: Request,
    /// What the path asks for.
    pub(crate) form: &'static str,
    /// The operator of its selector, with `metric` in front where it selects series.
    pub(crate) operator: &'static str,
}

/// Somebody who may do anything.
pub(crate) const ADMIN: &str = "admin";
/// Somebody known who may do nothing.
pub(crate) const STRANGER: &str = "stranger";
/// An unauthenticated caller, but for the headers.
pub(crate) const ANONYMOUS: &str = "anonymous";

impl Asking {
    fn with_header(mut self, name: &str, value: &str) -> Asking {
        self.request.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    fn by(mut self, caller: &str) -> Asking {
        caller.clone_into(&mut self.request.caller);
        self
    }

    fn selecting(mut self, operator: &'static str) -> Asking {
        self.operator = operator;
        self
    }

    /// A request of the same meaning for a server that cannot repeat `!=` (D10).
    pub(crate) fn twin(&self) -> Option<Request> {
        if self.operator != "metric !=" {
            return None;
        }
        let (before, value) = self.request.path.split_once("%21%3D")?;
        Some(Request { path: format!("{before}+notin+({value})"), ..self.request.clone() })
    }
}

const LABEL_SELECTORS: [(&str, &str); 14] = [
    ("none", ""),
    ("=", "tier%3Dback"),
    ("==", "tier%3D%3Dback"),
    ("!=", "tier%21%3Dback"),
    ("in", "tier+in+(front,back)"),
    ("notin", "tier+notin+(front)"),
    ("exists", "tier"),
    ("!exists", "%21tier"),
    (">", "tier%3E1"),
    ("<", "tier%3C1"),
    ("two", "app%3Dmodel,tier%3Dfront"),
    ("nothing", "app%3Dnone"),
    ("bad", "bad%3D%3D%3D"),
    ("bad", "(("),
];
const METRIC_SELECTORS: [(&str, &str); 12] = [
    ("metric =", "service%3Dmodel-a"),
    ("metric ==", "service%3D%3Dmodel-a"),
    ("metric !=", "service%21%3Dmodel-a"),
    ("metric in", "service+in+(model-a,model-b)"),
    ("metric notin", "service+notin+(model-a,x)"),
    ("metric exists", "service"),
    ("metric !exists", "%21service"),
    ("metric >", "service%3E1"),
    ("metric <", "service%3C1"),
    ("metric two", "service%3Dmodel-a,node%3Dnode0"),
    ("metric nothing", "service%3Dnone"),
    ("metric bad", "(("),
];
const EXTERNAL_SELECTORS: [(&str, &str); 12] = [
    ("none", ""),
    ("=", "queue%3Da.b"),
    ("==", "queue%3D%3De"),
    ("!=", "queue%21%3De"),
    ("in", "queue+in+(e,f)"),
    ("in", "queue+in+(a.b,e)"),
    ("notin", "queue+notin+(e)"),
    ("exists", "queue"),
    ("!exists", "%21queue"),
    (">", "queue%3E1"),
    ("two", "queue%3De,namespace%3Dother"),
    ("bad", "(("),
];
const ACCEPTS: [&str; 9] = [
    "*/*",
    "application/json",
    "application/json;q=0.9,*/*;q=0.1",
    "application/json;as=Nothing;v=v1;g=meta.k8s.io,application/json",
    "text/html",
    "application/yaml",
    "application/vnd.kubernetes.protobuf",
    "application/vnd.kubernetes.protobuf, */*",
    "application/json;q=0.5,application/yaml",
];
/// What only the use of CPU and memory can be turned into.
const USAGE_ACCEPTS: [&str; 4] = [
    "application/json;as=Table;v=v1;g=meta.k8s.io,application/json;as=Table;v=v1beta1;g=meta.k8s.io,application/json",
    "application/json;as=Table;v=v1beta1;g=meta.k8s.io",
    "application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io",
    "application/json;as=PartialObjectMetadata;v=v1;g=meta.k8s.io",
];
/// What follows a namespace, or the version.
const OBJECT_FORMS: [(&str, &str); 13] = [
    ("objects", "namespaces/default/pods/*"),
    ("object", "namespaces/default/pods/model-b"),
    ("object without samples", "namespaces/default/pods/silent"),
    ("absent object", "namespaces/default/pods/ghost"),
    ("singular resource", "namespaces/default/pod/model-a"),
    ("resource with group", "namespaces/default/deployments.apps/*"),
    ("object of a group", "namespaces/default/deployments.apps/model-a"),
    ("objects of a service", "namespaces/default/services/*"),
    ("other namespace", "namespaces/other/pods/*"),
    ("absent namespace", "namespaces/nosuch/pods/*"),
    ("root objects", "nodes/*"),
    ("root object", "nodes/node0"),
    ("namespace", "namespaces/default/metrics"),
];
const METRICS: [&str; 11] = [
    "depth",
    "fraction",
    "infinite",
    "huge",
    "latency_seconds_avg",
    "requests_per_second",
    "broken",
    "empty",
    "scalar",
    "unjoined",
    "by_values",
];

fn get(form: &'static str, path: impl Into<String>) -> Asking {
    let request = Request {
        method: "GET".to_owned(),
        path: path.into(),
        headers: Vec::new(),
        caller: ADMIN.to_owned(),
    };
    Asking { request, form, operator: "none" }
}

/// The same by those who may not, and by somebody with a token that is none.
fn by_others(form: &'static str, path: &str) -> [Asking; 3] {
    [
        get(form, path).by(STRANGER),
        get(form, path).by(ANONYMOUS),
        get(form, path).by(ANONYMOUS).with_header("authorization", "Bearer no-token"),
    ]
}

fn with_selector(path: &str, parameter: &str, selector: &str) -> String {
    if selector.is_empty() { path.to_owned() } else { format!("{path}?{parameter}={selector}") }
}

/// Every form of request to the rules of this test.
pub(crate) fn of_every_form() -> Vec<Asking> {
    let mut requests = Vec::new();
    for version in [C1, C2] {
        for (form, objects) in OBJECT_FORMS {
            let path = format!("{version}/{objects}/depth");
            for (operator, selector) in LABEL_SELECTORS {
                let path = with_selector(&path, "labelSelector", selector);
                requests.push(get(form, path).selecting(operator));
            }
            for (operator, selector) in METRIC_SELECTORS {
                let path = with_selector(&path, "metricLabelSelector", selector);
                requests.push(get(form, path).selecting(operator));
            }
            for metric in METRICS {
                requests.push(get(form, format!("{version}/{objects}/{metric}")));
            }
            requests.push(get("unknown metric", format!("{version}/{objects}/nosuch")));
            for accept in ACCEPTS {
                requests.push(get(form, path.clone()).with_header("accept", accept));
            }
            requests.extend(by_others(form, &path));
        }
        for (form, tail) in [
            ("root objects", "nodes/*/node_power_watts"),
            ("root object", "nodes/node1/node_power_watts"),
            ("absent object", "nodes/ghost/node_power_watts"),
            ("root objects", "nodes/*/node_power_watts?labelSelector=zone%3Da"),
            ("unknown resource", "namespaces/default/widgets/*/depth"),
            ("unknown resource", "namespaces/default/widgets.example.com/w/depth"),
            ("namespaced at root", "pods/*/depth"),
            ("namespaced at root", "pods/model-a/depth"),
            ("root in a namespace", "namespaces/default/nodes/node0/node_power_watts"),
            ("namespace", "namespaces/*/metrics/depth"),
            ("namespace", "namespaces/other/metrics/depth"),
            ("no such path", "namespaces"),
            ("no such path", "namespaces/default"),
            ("no such path", "namespaces/default/pods"),
            ("no such path", "namespaces/default/pods/model-a"),
            ("no such path", "namespaces/default/pods/*/a/b"),
            ("escaped", "namespaces/default/pods/%2A/depth"),
            ("escaped", "namespaces/default/pods/model%22a/depth"),
            ("trailing slash", "namespaces/default/pods/*/depth/"),
            ("any case", "namespaces/default/Pods/*/depth"),
            ("any case", "namespaces/DEFAULT/pods/*/depth"),
            ("resource with a dot", "namespaces/default/pods./model-a/depth"),
            ("option", "namespaces/default/pods/*/depth?pretty=true"),
            ("option", "namespaces/default/pods/*/depth?timeout=5s"),
            ("option", "namespaces/default/pods/*/depth?timeout=bogus"),
            ("option", "namespaces/default/pods/*/depth?limit=1"),
            ("option", "namespaces/default/pods/*/depth?limit=x"),
            ("option", "namespaces/default/pods/*/depth?fieldSelector=metadata.name%3Dmodel-a"),
            ("option", "namespaces/default/pods/*/depth?bogus=1"),
            ("segment too many", "namespaces/default/metrics/depth/x"),
            (
                "label with a prefix",
                "namespaces/default/pods/*/depth?metricLabelSelector=example.com%2Fteam%3Dx",
            ),
        ] {
            requests.push(get(form, format!("{version}/{tail}")));
        }
        for method in ["POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"] {
            let mut asking = get("method", format!("{version}/namespaces/default/pods/*/depth"));
            method.clone_into(&mut asking.request.method);
            requests.push(asking);
        }
    }
    for namespace in ["default", "other", "nosuch", "*"] {
        for metric in
            ["queue_length", "jobs_waiting", "jobs_scalar", "infinite_external", "nosuch", "QUEUE_LENGTH"]
        {
            for (operator, selector) in EXTERNAL_SELECTORS {
                let path = format!("{EXTERNAL}/namespaces/{namespace}/{metric}");
                let path = with_selector(&path, "labelSelector", selector);
                requests.push(get("external", path).selecting(operator));
            }
        }
    }
    for (form, tail) in [
        ("external", "namespaces/default/queue_length?metricLabelSelector=queue%3De"),
        ("no such path", "queue_length"),
        ("no such path", "namespaces/default/queue_length/x"),
        ("no such path", "namespaces/default"),
    ] {
        requests.push(get(form, format!("{EXTERNAL}/{tail}")));
    }
    for tail in
        ["nodes", "pods", "namespaces/default/pods", "namespaces/other/pods", "namespaces/nosuch/pods"]
    {
        for (operator, selector) in LABEL_SELECTORS {
            let path = with_selector(&format!("{USAGE}/{tail}"), "labelSelector", selector);
            requests.push(get("use, listed", path).selecting(operator));
        }
        for accept in USAGE_ACCEPTS.into_iter().chain(ACCEPTS) {
            requests.push(get("use, listed", format!("{USAGE}/{tail}")).with_header("accept", accept));
        }
        requests.extend(by_others("use, listed", &format!("{USAGE}/{tail}")));
    }
    for tail in [
        "nodes/node0",
        "nodes/ghost",
        "namespaces/default/pods/model-a",
        "namespaces/default/pods/silent",
        "namespaces/default/pods/ghost",
        "namespaces/other/pods/model-a",
    ] {
        requests.push(get("use of one", format!("{USAGE}/{tail}")));
        for accept in USAGE_ACCEPTS.into_iter().chain(ACCEPTS) {
            requests.push(get("use of one", format!("{USAGE}/{tail}")).with_header("accept", accept));
        }
    }
    for (form, tail) in [
        ("use, listed", "namespaces/default/pods?fieldSelector=metadata.name%3Dmodel-a"),
        ("use, listed", "nodes?labelSelector=zone%3Db"),
        ("use, listed", "namespaces/default/pods?limit=1"),
        ("use, listed", "namespaces/default/pods?watch=true"),
        ("no such path", "namespaces/default/nodes"),
        ("no such path", "pods/model-a"),
        ("no such path", "services"),
    ] {
        requests.push(get(form, format!("{USAGE}/{tail}")));
    }
    requests
}

/// What is asked of a server with somebody else's rules: some of everything that it lists.
pub(crate) fn of_listed(custom: &Value, external: &Value, usage: bool) -> Vec<Asking> {
    let mut requests = Vec::new();
    let mut turn = 0;
    for (resource, metric) in listed(custom).filter_map(|name| name.split_once('/')).take(MOST_METRICS) {
        let (form, objects) = match resource {
            "namespaces" => ("namespace", "namespaces/default/metrics".to_owned()),
            "nodes" => ("root objects", "nodes/*".to_owned()),
            _ => ("objects", format!("namespaces/default/{resource}/*")),
        };
        for version in [C1, C2] {
            let path = format!("{version}/{objects}/{metric}");
            turn += 1;
            requests.push(get(form, path.clone()));
            let (operator, selector) = LABEL_SELECTORS[turn % LABEL_SELECTORS.len()];
            let selected = with_selector(&path, "labelSelector", selector);
            requests.push(get(form, selected).selecting(operator));
            let (operator, selector) = METRIC_SELECTORS[turn % METRIC_SELECTORS.len()];
            let selected = with_selector(&path, "metricLabelSelector", selector);
            requests.push(get(form, selected).selecting(operator));
            if let Some(objects) = objects.strip_suffix('*') {
                for name in ["model-b", "ghost"] {
                    requests.push(get("object", format!("{version}/{objects}{name}/{metric}")));
                }
            }
        }
    }
    for metric in listed(external).take(MOST_METRICS) {
        for (operator, selector) in EXTERNAL_SELECTORS {
            let path = format!("{EXTERNAL}/namespaces/default/{metric}");
            requests
                .push(get("external", with_selector(&path, "labelSelector", selector)).selecting(operator));
        }
    }
    if usage {
        for tail in
            ["nodes", "nodes/node0", "pods", "namespaces/default/pods", "namespaces/default/pods/model-a"]
        {
            requests.push(get("use, listed", format!("{USAGE}/{tail}")));
        }
    }
    requests
}

fn listed(document: &Value) -> impl Iterator<Item = &str> {
    document["resources"].as_array().into_iter().flatten().filter_map(|entry| entry["name"].as_str())
}

/// Of one file; the largest list hundreds.
const MOST_METRICS: usize = 16;

/// What is served, and which callers may read it.
pub(crate) fn of_discovery() -> Vec<Asking> {
    let groups = [C1, EXTERNAL, USAGE].map(|version| version.rsplit_once('/').map_or("", |(group, _)| group));
    let mut requests = Vec::new();
    for path in ["/apis", "/apis/", C1, C2, EXTERNAL, USAGE].into_iter().chain(groups) {
        requests.push(get("discovery", path));
        requests.extend(by_others("discovery", path));
    }
    let aggregated = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList";
    for accept in [aggregated].into_iter().chain(ACCEPTS) {
        requests.push(get("discovery", "/apis").with_header("accept", accept));
    }
    requests.push(get("discovery", "/apis/custom.metrics.k8s.io/v1beta3"));
    requests
}
