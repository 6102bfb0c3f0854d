//! What a request is about, as the labels of its metrics. There is a fixed number of combinations: callers choose paths
//! and methods, and must not be able to choose labels.

use apiservice::server::Exchange;

use crate::discovery_documents::{CUSTOM_METRICS, EXTERNAL_METRICS, METRICS};

/// Labels of the metrics of requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Route {
    verb: &'static str,
    group: &'static str,
    version: &'static str,
    resource: &'static str,
    subresource: &'static str,
    scope: &'static str,
    component: &'static str,
}

impl Route {
    pub(super) const LABELS: [&'static str; 7] =
        ["verb", "group", "version", "resource", "subresource", "scope", "component"];

    pub(super) fn values(&self) -> [&'static str; 7] {
        let Route { verb, group, version, resource, subresource, scope, component } = *self;
        [verb, group, version, resource, subresource, scope, component]
    }

    /// Whether it is a question for metrics, which somebody waits on.
    pub(super) fn is_for_metrics(&self) -> bool {
        !self.group.is_empty() && self.verb != OTHER
    }

    pub(super) fn of(exchange: &Exchange<'_>) -> Route {
        let attributes = exchange.attributes;
        let verb = attributes.verb.as_str();
        let asked = attributes.resource.as_ref().filter(|_| exchange.served);
        let route = asked.and_then(|asked| {
            let scope = if asked.namespace.is_empty() { "cluster" } else { "namespace" };
            match (asked.group.as_str(), asked.version.as_str(), asked.resource.as_str()) {
                (CUSTOM_METRICS, "v1beta1", _) => Some(custom(verb, "v1beta1", scope)),
                (CUSTOM_METRICS, "v1beta2", _) => Some(custom(verb, "v1beta2", scope)),
                (EXTERNAL_METRICS, "v1beta1", _) => Some(external(verb)),
                (METRICS, "v1beta1", "nodes") => Some(usage(verb, "nodes", "cluster")),
                (METRICS, "v1beta1", "pods") => Some(usage(verb, "pods", scope)),
                _ => None,
            }
        });
        route.unwrap_or_else(|| other(verb, &attributes.path))
    }
}

const fn route(verb: &'static str, subresource: &'static str) -> Route {
    Route { verb, group: "", version: "", resource: "", subresource, scope: "", component: "" }
}

const fn custom_route(verb: &'static str, version: &'static str, scope: &'static str) -> Route {
    let component = "custom-metrics";
    Route { verb, group: CUSTOM_METRICS, version, resource: "*", subresource: "*", scope, component }
}

const fn usage_route(verb: &'static str, resource: &'static str, scope: &'static str) -> Route {
    Route { verb, group: METRICS, version: "v1beta1", resource, subresource: "", scope, component: "" }
}

const fn external_route(verb: &'static str) -> Route {
    Route {
        verb,
        group: EXTERNAL_METRICS,
        version: "v1beta1",
        resource: "*",
        subresource: "",
        scope: "cluster",
        component: "external-metrics",
    }
}

fn custom(verb: &str, version: &'static str, scope: &'static str) -> Route {
    custom_route(if verb == "get" { GET } else { OTHER }, version, scope)
}

fn external(verb: &str) -> Route {
    external_route(if verb == "list" { LIST } else { OTHER })
}

fn usage(verb: &str, resource: &'static str, scope: &'static str) -> Route {
    let verb = match verb {
        "get" => GET,
        "list" => LIST,
        _ => OTHER,
    };
    usage_route(verb, resource, scope)
}

fn other(verb: &str, path: &str) -> Route {
    let known = PATHS
        .into_iter()
        .find(|known| path.strip_prefix(known).is_some_and(|rest| rest.is_empty() || rest.starts_with('/')));
    route(if verb == "get" { GET } else { OTHER }, known.unwrap_or_default())
}

/// An HTTP status as a label.
pub(super) fn code(code: u16) -> &'static str {
    CODES.into_iter().find(|known| known.parse() == Ok(code)).unwrap_or(OTHER)
}

const GET: &str = "GET";
const LIST: &str = "LIST";
const OTHER: &str = "other";
const PATHS: [&str; 7] = ["/apis", "/healthz", "/livez", "/metrics", "/openapi", "/readyz", "/version"];

pub(super) const CODES: [&str; 13] =
    ["200", "304", "400", "401", "403", "404", "405", "406", "429", "500", "503", "504", OTHER];

/// Every combination there is.
pub(super) const ROUTES: [Route; 35] = [
    custom_route(GET, "v1beta1", "namespace"),
    custom_route(GET, "v1beta1", "cluster"),
    custom_route(GET, "v1beta2", "namespace"),
    custom_route(GET, "v1beta2", "cluster"),
    custom_route(OTHER, "v1beta1", "namespace"),
    custom_route(OTHER, "v1beta1", "cluster"),
    custom_route(OTHER, "v1beta2", "namespace"),
    custom_route(OTHER, "v1beta2", "cluster"),
    external_route(LIST),
    external_route(OTHER),
    usage_route(GET, "nodes", "cluster"),
    usage_route(LIST, "nodes", "cluster"),
    usage_route(OTHER, "nodes", "cluster"),
    usage_route(GET, "pods", "namespace"),
    usage_route(LIST, "pods", "namespace"),
    usage_route(OTHER, "pods", "namespace"),
    usage_route(GET, "pods", "cluster"),
    usage_route(LIST, "pods", "cluster"),
    usage_route(OTHER, "pods", "cluster"),
    route(GET, ""),
    route(GET, "/apis"),
    route(GET, "/healthz"),
    route(GET, "/livez"),
    route(GET, "/metrics"),
    route(GET, "/openapi"),
    route(GET, "/readyz"),
    route(GET, "/version"),
    route(OTHER, ""),
    route(OTHER, "/apis"),
    route(OTHER, "/healthz"),
    route(OTHER, "/livez"),
    route(OTHER, "/metrics"),
    route(OTHER, "/openapi"),
    route(OTHER, "/readyz"),
    route(OTHER, "/version"),
];
