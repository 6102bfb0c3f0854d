//! Step 4 of a request: the path and query of an API call become one typed question, or the error that the
//! path deserves. Nothing is looked up here.
//!
//! The forms are those of the repository's contract, section "Paths": an object in a namespace, an object at the
//! root, the namespace itself, and `*` for every object that a label selector matches.

use std::fmt;

use apiservice::server::ApiRequest;
use apiservice::status::{ApiError, Cause};
use selector::labels::Selector;

/// One question to the custom metrics API.
#[derive(Debug, Clone, PartialEq)]
pub struct CustomRequest {
    /// The namespace of the path; `None` for root-scoped objects and for a namespace's own metric.
    pub namespace: Option<String>,
    /// The resource as the caller wrote it.
    pub resource: AskedResource,
    /// Which objects of the resource.
    pub objects: AskedObjects,
    /// The metric's name in the API.
    pub metric: String,
    /// `metricLabelSelector`: which series of the metric count. Empty when absent.
    pub metric_selector: Selector,
}

/// A resource as written in a path: `pods`, `deployments.apps`, `pods.`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AskedResource {
    /// The text before the first dot, in any case, singular or plural.
    pub resource: String,
    /// The text behind the first dot; empty asks in every group, the core group first.
    pub group: String,
}

/// Which objects a request is about.
#[derive(Debug, Clone, PartialEq)]
pub enum AskedObjects {
    /// One object, by name. It is asked for whether or not it exists.
    Named(String),
    /// `*`: every object whose labels match. The empty selector matches all.
    Matching(Selector),
}

/// One question to the external metrics API.
#[derive(Debug, Clone, PartialEq)]
pub struct ExternalRequest {
    /// The namespace of the path, as written.
    pub namespace: String,
    /// The metric's name in the API.
    pub metric: String,
    /// `labelSelector`: which series of the metric count. Empty when absent.
    pub selector: Selector,
}

/// One question to the resource metrics API.
#[derive(Debug, Clone, PartialEq)]
pub struct UsageRequest {
    /// Whose use.
    pub of: UsageOf,
    /// Only the object of this name.
    pub name: Option<String>,
    /// Only objects whose labels match.
    pub selector: Selector,
    /// Whether the path names one object; else the answer is a list.
    pub single: bool,
}

/// Whose use is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum UsageOf {
    /// Nodes.
    Nodes,
    /// Pods of a namespace; `None` for all namespaces.
    Pods {
        /// The namespace.
        namespace: Option<String>,
    },
}

/// Reads a request below `/apis/custom.metrics.k8s.io/VERSION/`.
pub fn custom(request: &ApiRequest) -> Result<CustomRequest, ApiError> {
    let segments: Vec<&str> = request.segments.iter().map(String::as_str).collect();
    let (namespace, resource, name, metric) = match segments[..] {
        // Kubernetes reads `status` and `finalize` as sub-resources of the namespace, and so does access control.
        ["namespaces", name, "metrics", metric] | ["namespaces", name, metric @ ("status" | "finalize")] => {
            (None, "namespaces", name, metric)
        }
        // An extra segment after a namespace's metric names nothing; upstream ignores it (D24).
        ["namespaces", _, "metrics", _, _] => return Err(ApiError::no_route()),
        ["namespaces", namespace, resource, name, metric] => (Some(namespace), resource, name, metric),
        ["namespaces", _, _] => return Err(ApiError::bad_request("invalid request path")),
        ["namespaces", ..] => return Err(ApiError::no_route()),
        [resource, name, metric] => (None, resource, name, metric),
        _ => return Err(ApiError::no_route()),
    };
    check_list_options(request)?;
    check_field_selector(request, name)?;
    let label_selector = selector(request, "labelSelector")?;
    let metric_selector = selector(request, "metricLabelSelector")?;
    let objects = if name == "*" {
        AskedObjects::Matching(label_selector)
    } else {
        AskedObjects::Named(name.to_owned())
    };
    Ok(CustomRequest {
        namespace: namespace.map(str::to_owned),
        resource: AskedResource::parse(resource),
        objects,
        metric: metric.to_owned(),
        metric_selector,
    })
}

/// Reads a request below `/apis/external.metrics.k8s.io/VERSION/`.
pub fn external(request: &ApiRequest) -> Result<ExternalRequest, ApiError> {
    let segments: Vec<&str> = request.segments.iter().map(String::as_str).collect();
    let ["namespaces", namespace, metric] = segments[..] else {
        return Err(ApiError::no_route());
    };
    refuse_watch(request, "*")?;
    check_list_options(request)?;
    refuse_conflicts(request)?;
    fields(request)?;
    Ok(ExternalRequest {
        namespace: namespace.to_owned(),
        metric: metric.to_owned(),
        selector: selector(request, "labelSelector")?,
    })
}

/// Reads a request below `/apis/metrics.k8s.io/VERSION/`.
pub fn usage(request: &ApiRequest) -> Result<UsageRequest, ApiError> {
    let segments: Vec<&str> = request.segments.iter().map(String::as_str).collect();
    let pods = |namespace: Option<&str>| UsageOf::Pods { namespace: namespace.map(str::to_owned) };
    let (of, resource, name) = match segments[..] {
        ["nodes"] => (UsageOf::Nodes, "nodes", None),
        ["nodes", name] => (UsageOf::Nodes, "nodes", Some(name)),
        ["pods"] => (pods(None), "pods", None),
        ["namespaces", namespace, "pods"] => (pods(Some(namespace)), "pods", None),
        ["namespaces", namespace, "pods", name] => (pods(Some(namespace)), "pods", Some(name)),
        _ => return Err(ApiError::no_route()),
    };
    if let Some(name) = name {
        let (name, selector) = (Some(name.to_owned()), Selector::everything());
        return Ok(UsageRequest { of, name, selector, single: true });
    }
    refuse_watch(request, resource)?;
    check_list_options(request)?;
    refuse_conflicts(request)?;
    let fields = fields(request)?;
    let (of, name) = match (of, fields.namespace) {
        (UsageOf::Pods { namespace: None }, Some(namespace)) => (pods(Some(namespace)), fields.name),
        // No object has an empty name, so what contradicts the path finds nothing.
        (UsageOf::Pods { namespace: Some(path) }, Some(field)) if path != field => {
            (pods(Some(&path)), Some(""))
        }
        (of, _) => (of, fields.name),
    };
    Ok(UsageRequest {
        of,
        name: name.map(str::to_owned),
        selector: selector(request, "labelSelector")?,
        single: false,
    })
}

impl AskedResource {
    fn parse(text: &str) -> AskedResource {
        let (resource, group) = text.split_once('.').unwrap_or((text, ""));
        AskedResource { resource: resource.to_owned(), group: group.to_owned() }
    }
}

/// As error messages name it: `pods`, `deployments.apps`; an empty group is not written.
impl fmt::Display for AskedResource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.group.as_str() {
            "" => f.write_str(&self.resource),
            group => write!(f, "{}.{group}", self.resource),
        }
    }
}

/// As the log names it: `namespaces/default/pods/a/depth`, with the selectors behind it.
impl fmt::Display for CustomRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(namespace) = &self.namespace {
            write!(f, "namespaces/{namespace}/")?;
        }
        match &self.objects {
            AskedObjects::Named(name) => write!(f, "{}/{name}/{}", self.resource, self.metric)?,
            AskedObjects::Matching(selector) => {
                write!(f, "{}/*/{}", self.resource, self.metric)?;
                write_selector(f, "labelSelector", selector)?;
            }
        }
        write_selector(f, "metricLabelSelector", &self.metric_selector)
    }
}

/// As the log names it: `namespaces/default/backlog`, with the selector behind it.
impl fmt::Display for ExternalRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "namespaces/{}/{}", self.namespace, self.metric)?;
        write_selector(f, "labelSelector", &self.selector)
    }
}

/// As the log names it: `nodes`, `namespaces/default/pods/a`, with the selector behind it.
impl fmt::Display for UsageRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.of {
            UsageOf::Nodes => f.write_str("nodes")?,
            UsageOf::Pods { namespace: None } => f.write_str("pods")?,
            UsageOf::Pods { namespace: Some(namespace) } => write!(f, "namespaces/{namespace}/pods")?,
        }
        if let Some(name) = &self.name {
            write!(f, "/{name}")?;
        }
        write_selector(f, "labelSelector", &self.selector)
    }
}

fn write_selector(f: &mut fmt::Formatter<'_>, parameter: &str, selector: &Selector) -> fmt::Result {
    if selector.is_empty() { Ok(()) } else { write!(f, " {parameter}={selector}") }
}

fn selector(request: &ApiRequest, parameter: &str) -> Result<Selector, ApiError> {
    match request.query.first(parameter) {
        None | Some("") => Ok(Selector::everything()),
        Some(text) => Selector::parse(text).map_err(|error| ApiError::bad_request(error.to_string())),
    }
}

/// Options of a Kubernetes list call that mean nothing here are still checked for their type, as upstream does.
fn check_list_options(request: &ApiRequest) -> Result<(), ApiError> {
    for parameter in ["limit", "timeoutSeconds"] {
        let text = request.query.first(parameter).unwrap_or("0");
        if !text.is_empty() && text.parse::<i64>().is_err() {
            let reason = if is_integer(text) { "value out of range" } else { "invalid syntax" };
            return Err(ApiError::bad_request(format!("strconv.ParseInt: parsing {text:?}: {reason}")));
        }
    }
    Ok(())
}

/// Options that no list can honour together (`k8s.io/apimachinery/pkg/apis/meta/internalversion/validation`). Upstream looks
/// at them for external and resource metrics alone.
fn refuse_conflicts(request: &ApiRequest) -> Result<(), ApiError> {
    let given = |parameter: &str| request.query.first(parameter).filter(|value| !value.is_empty());
    let mut causes = Vec::new();
    let mut forbid = |field: &'static str, detail: &str| {
        let message = format!("Forbidden: {detail}");
        causes.push(Cause { reason: "FieldValueForbidden", message, field });
    };
    if let Some(matching) = given(MATCH) {
        if given("resourceVersion").is_none() {
            forbid(MATCH, "resourceVersionMatch is forbidden unless resourceVersion is provided");
        }
        if given("continue").is_some() {
            forbid(MATCH, "resourceVersionMatch is forbidden when continue is provided");
        }
        match matching {
            "Exact" if given("resourceVersion") == Some("0") => {
                forbid(MATCH, r#"resourceVersionMatch "exact" is forbidden for resourceVersion "0""#);
            }
            "Exact" | "NotOlderThan" => {}
            _ => causes.push(Cause {
                reason: "FieldValueNotSupported",
                message: format!(
                    r#"Unsupported value: {matching:?}: supported values: "Exact", "NotOlderThan", """#
                ),
                field: MATCH,
            }),
        }
    }
    if causes.is_empty() { Ok(()) } else { Err(ApiError::invalid_list_options(causes)) }
}

fn is_integer(text: &str) -> bool {
    let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
    !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit())
}

/// A list of these APIs is made anew for each request, so there is nothing to watch.
fn refuse_watch(request: &ApiRequest, resource: &str) -> Result<(), ApiError> {
    match request.query.first("watch") {
        Some("true" | "1") => Err(ApiError::watch_not_supported(resource, &request.group)),
        _ => Ok(()),
    }
}

/// A field selector may only repeat the name that the path already gives.
fn check_field_selector(request: &ApiRequest, name: &str) -> Result<(), ApiError> {
    let absent = request.query.first("fieldSelector").is_none_or(str::is_empty);
    if absent || fields(request)?.name == Some(name) {
        return Ok(());
    }
    Err(ApiError::bad_request("fieldSelector metadata.name doesn't match requested name"))
}

/// What a field selector requires of an object's metadata.
#[derive(Default)]
struct Fields<'a> {
    name: Option<&'a str>,
    namespace: Option<&'a str>,
}

fn fields(request: &ApiRequest) -> Result<Fields<'_>, ApiError> {
    let text = request.query.first("fieldSelector").unwrap_or_default();
    let mut fields = Fields::default();
    for term in text.split(',').filter(|term| !term.is_empty()) {
        let (field, required) = field_term(term).ok_or_else(|| {
            ApiError::bad_request(format!("invalid selector: '{text}'; can't understand '{term}'"))
        })?;
        match field {
            "metadata.name" => fields.name = required,
            "metadata.namespace" => fields.namespace = required,
            _ => {
                return Err(ApiError::bad_request(format!(
                    "{field:?} is not a known field selector: only \"metadata.name\", \"metadata.namespace\""
                )));
            }
        }
    }
    Ok(fields)
}

/// One `field=value` term; the value is `None` for `!=`, which requires nothing.
fn field_term(term: &str) -> Option<(&str, Option<&str>)> {
    if let Some((field, _)) = term.split_once("!=") {
        return Some((field, None));
    }
    let (field, value) = term.split_once('=')?;
    Some((field, Some(value.strip_prefix('=').unwrap_or(value))))
}

const MATCH: &str = "resourceVersionMatch";
