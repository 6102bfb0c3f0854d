//! Step 4 of a request: the path and query of an API call become one typed question, or the error that the
//! path deserves. Nothing is looked up here.
//!
//! The forms are those of `docs/contract.md#custom-metrics-paths`: an object in a namespace, an object at the root, the
//! namespace itself, and `*` for every object that a label selector matches.

use std::fmt;

use apiservice::list_options::{ListOptions, NAME, NAMESPACE};
use apiservice::server::ApiRequest;
use apiservice::status::{ApiError, Cause};
use selector::fields::{FieldSelector, Operator, Term};
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
    /// The text after the first dot; empty asks in every group, the core group first.
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
    /// Whether the field selector leaves nothing: values have no names, and only the namespace of the path.
    pub nothing: bool,
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
    /// Only objects whose fields match; names and namespaces are the only fields.
    pub fields: FieldSelector,
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

/// The form of an explanation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExplanationForm {
    /// For people.
    Text,
    /// For programs.
    Json,
}

/// Whether a request asks to be explained (D84).
pub fn explanation(request: &ApiRequest) -> Result<Option<ExplanationForm>, ApiError> {
    match request.query.first("explain") {
        None | Some("false") => Ok(None),
        Some("true") => Ok(Some(ExplanationForm::Text)),
        Some("json") => Ok(Some(ExplanationForm::Json)),
        Some(other) => {
            let found: String = other.chars().take(64).collect();
            Err(ApiError::bad_request(format!("explain: expected true, json or false, found {found:?}")))
        }
    }
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
    let options = &request.attributes.options;
    check_numbers(options)?;
    check_field_selector(options, name, namespace.unwrap_or_default())?;
    let label_selector = label_selector(options)?;
    let metric_selector = Selector::parse(request.query.first("metricLabelSelector").unwrap_or_default())
        .map_err(|error| ApiError::bad_request(error.to_string()))?;
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
    let options = &request.attributes.options;
    check_numbers(options)?;
    refuse_conflicts(request)?;
    let fields = fields(options)?;
    Ok(ExternalRequest {
        namespace: namespace.to_owned(),
        metric: metric.to_owned(),
        selector: label_selector(options)?,
        nothing: !fields.matches(|field| if field == NAMESPACE { namespace } else { "" }),
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
        let (selector, fields) = (Selector::everything(), FieldSelector::everything());
        return Ok(UsageRequest { of, name: Some(name.to_owned()), selector, fields, single: true });
    }
    refuse_watch(request, resource)?;
    let options = &request.attributes.options;
    check_numbers(options)?;
    refuse_conflicts(request)?;
    let fields = fields(options)?;
    // What must be so is looked up; the rest is left out of what is found.
    let of = match (of, fields.exact(NAMESPACE)) {
        (UsageOf::Pods { namespace: None }, namespace @ Some(_)) => pods(namespace),
        (of, _) => of,
    };
    Ok(UsageRequest {
        of,
        name: fields.exact(NAME).map(str::to_owned),
        selector: label_selector(options)?,
        fields: fields.clone(),
        single: false,
    })
}

impl UsageRequest {
    /// Whether the field selector leaves an object. Nodes have no namespace.
    pub fn has(&self, name: &str, namespace: &str) -> bool {
        self.fields.matches(|field| match field {
            NAME => name,
            NAMESPACE => namespace,
            // Other fields are refused.
            _ => "",
        })
    }
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

/// As the log names it: `namespaces/default/pods/a/depth`, followed by the selectors.
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

/// As the log names it: `namespaces/default/backlog`, followed by the selector.
impl fmt::Display for ExternalRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "namespaces/{}/{}", self.namespace, self.metric)?;
        write_selector(f, "labelSelector", &self.selector)
    }
}

/// As the log names it: `nodes`, `namespaces/default/pods/a`, followed by the selector.
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
        if self.fields.terms().len() > usize::from(self.name.is_some()) {
            write!(f, " fieldSelector={}", self.fields)?;
        }
        write_selector(f, "labelSelector", &self.selector)
    }
}

fn write_selector(f: &mut fmt::Formatter<'_>, parameter: &str, selector: &Selector) -> fmt::Result {
    if selector.is_empty() { Ok(()) } else { write!(f, " {parameter}={selector}") }
}

fn label_selector(options: &ListOptions) -> Result<Selector, ApiError> {
    options.labels.clone().map_err(|error| ApiError::bad_request(error.to_string()))
}

/// Options of a Kubernetes list call that mean nothing here are still checked for their type, as upstream does.
fn check_numbers(options: &ListOptions) -> Result<(), ApiError> {
    options.numbers.as_ref().map_or_else(|error| Err(ApiError::bad_request(error.to_string())), |&()| Ok(()))
}

/// Options that no list can honour together (`k8s.io/apimachinery/pkg/apis/meta/internalversion/validation`). Upstream
/// looks at them for external and resource metrics alone.
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

/// A list of these APIs is made for each request, so there is nothing to watch.
fn refuse_watch(request: &ApiRequest, resource: &str) -> Result<(), ApiError> {
    if request.attributes.options.watch {
        return Err(ApiError::watch_not_supported(resource, &request.group));
    }
    Ok(())
}

/// A field selector may only repeat the name that the path already gives, and say nothing that does not hold (D80).
fn check_field_selector(options: &ListOptions, name: &str, namespace: &str) -> Result<(), ApiError> {
    let fields = fields(options)?;
    let holds = |term: &Term| match (term.field.as_str(), term.operator) {
        (NAME, Operator::Equals) => term.value == name,
        // Objects are not left out of `*` by their names.
        (NAME, Operator::NotEquals) => name != "*" && term.value != name,
        (_, Operator::Equals) => term.value == namespace,
        (_, Operator::NotEquals) => term.value != namespace,
    };
    if fields.is_empty() || fields.exact(NAME).is_some() && fields.terms().iter().all(holds) {
        return Ok(());
    }
    Err(ApiError::bad_request("fieldSelector metadata.name doesn't match requested name"))
}

/// The field selector, which can name two fields.
fn fields(options: &ListOptions) -> Result<&FieldSelector, ApiError> {
    let fields = options.fields.as_ref().map_err(|error| ApiError::bad_request(error.to_string()))?;
    match fields.terms().iter().find(|term| !matches!(term.field.as_str(), NAME | NAMESPACE)) {
        None => Ok(fields),
        Some(Term { field, .. }) => Err(ApiError::bad_request(format!(
            "{field:?} is not a known field selector: only \"metadata.name\", \"metadata.namespace\""
        ))),
    }
}

const MATCH: &str = "resourceVersionMatch";
