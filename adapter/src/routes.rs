//! Step 4 of a request: the path and query of an API call become one typed question, or the error that the
//! path deserves. Nothing is looked up here.
//!
//! The forms are those of the repository's contract, section "Paths": an object in a namespace, an object at the
//! root, the namespace itself, and `*` for every object that a label selector matches.

use apiservice::server::ApiRequest;
use apiservice::status::ApiError;
use rules::selector::Selector;

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

impl AskedResource {
    fn parse(text: &str) -> AskedResource {
        let (resource, group) = text.split_once('.').unwrap_or((text, ""));
        AskedResource { resource: resource.to_owned(), group: group.to_owned() }
    }
}

/// As error messages name it: `pods`, `deployments.apps`; an empty group is not written.
impl std::fmt::Display for AskedResource {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.group.as_str() {
            "" => f.write_str(&self.resource),
            group => write!(f, "{}.{group}", self.resource),
        }
    }
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

fn is_integer(text: &str) -> bool {
    let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
    !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit())
}

/// A field selector may only repeat the name that the path already gives.
fn check_field_selector(request: &ApiRequest, name: &str) -> Result<(), ApiError> {
    let Some(text) = request.query.first("fieldSelector").filter(|text| !text.is_empty()) else {
        return Ok(());
    };
    let mut required_name = None;
    for term in text.split(',').filter(|term| !term.is_empty()) {
        let (field, required) = field_term(term).ok_or_else(|| {
            ApiError::bad_request(format!("invalid selector: '{text}'; can't understand '{term}'"))
        })?;
        match field {
            "metadata.name" => required_name = required,
            "metadata.namespace" => {}
            _ => {
                return Err(ApiError::bad_request(format!(
                    "{field:?} is not a known field selector: only \"metadata.name\", \"metadata.namespace\""
                )));
            }
        }
    }
    if required_name == Some(name) {
        return Ok(());
    }
    Err(ApiError::bad_request("fieldSelector metadata.name doesn't match requested name"))
}

/// One `field=value` term; the value is `None` for `!=`, which requires nothing.
fn field_term(term: &str) -> Option<(&str, Option<&str>)> {
    if let Some((field, _)) = term.split_once("!=") {
        return Some((field, None));
    }
    let (field, value) = term.split_once('=')?;
    Some((field, Some(value.strip_prefix('=').unwrap_or(value))))
}
