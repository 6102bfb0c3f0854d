//! Errors as clients see them: a class decides code and reason, a message says what happened.
//!
//! The body is a `metav1.Status` with the fields in upstream's order (`docs/contract.md#errors`). For a Horizontal Pod
//! Autoscaler the message is the operator's only clue, in `kubectl describe hpa`.

use std::fmt::Display;

use http::StatusCode;
use serde::Serialize;
use serve::printable::printable;

use crate::encode::Object;
use crate::encode::protobuf::{Encode, Message};
use crate::types::ListMeta;

/// What kind of failure it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// The request cannot be understood.
    BadRequest,
    /// The caller could not be authenticated.
    Unauthorized,
    /// The caller may not do this.
    Forbidden,
    /// The requested object does not exist.
    NotFound,
    /// There is such a thing, and it cannot be written or deleted.
    MethodNotAllowed,
    /// None of the forms the caller accepts can be made.
    NotAcceptable,
    /// The request is understood and contradicts itself.
    Invalid,
    /// Too much is in flight.
    TooManyRequests,
    /// The fault is ours, or a rule's.
    Internal,
    /// Something we depend on is away.
    Unavailable,
    /// Something we depend on took too long.
    Timeout,
}

impl Class {
    /// HTTP status and `reason`: the one place where they are decided.
    pub fn code_and_reason(self) -> (StatusCode, &'static str) {
        match self {
            Class::BadRequest => (StatusCode::BAD_REQUEST, "BadRequest"),
            Class::Unauthorized => (StatusCode::UNAUTHORIZED, "Unauthorized"),
            Class::Forbidden => (StatusCode::FORBIDDEN, "Forbidden"),
            Class::NotFound => (StatusCode::NOT_FOUND, "NotFound"),
            Class::MethodNotAllowed => (StatusCode::METHOD_NOT_ALLOWED, "MethodNotAllowed"),
            Class::NotAcceptable => (StatusCode::NOT_ACCEPTABLE, "NotAcceptable"),
            Class::Invalid => (StatusCode::UNPROCESSABLE_ENTITY, "Invalid"),
            Class::TooManyRequests => (StatusCode::TOO_MANY_REQUESTS, "TooManyRequests"),
            Class::Internal => (StatusCode::INTERNAL_SERVER_ERROR, "InternalError"),
            Class::Unavailable => (StatusCode::SERVICE_UNAVAILABLE, "ServiceUnavailable"),
            Class::Timeout => (StatusCode::GATEWAY_TIMEOUT, "Timeout"),
        }
    }
}

/// A failed request.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct ApiError {
    class: Class,
    message: String,
    details: Option<Box<Details>>,
}

/// `details` of a Status. Empty fields are not written.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct Details {
    /// The object's name.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// The object's API group.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub group: String,
    /// The object's resource.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub kind: String,
    /// What led to the failure.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub causes: Vec<Cause>,
    /// When to try again. `None` for errors that say nothing of it.
    #[serde(rename = "retryAfterSeconds", skip_serializing_if = "Option::is_none")]
    pub retry_after_seconds: Option<u16>,
}

/// One cause in [`Details`]. Empty fields are not written.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct Cause {
    /// Its class.
    #[serde(skip_serializing_if = "str::is_empty")]
    pub reason: &'static str,
    /// What happened.
    pub message: String,
    /// The field at fault.
    #[serde(skip_serializing_if = "str::is_empty")]
    pub field: &'static str,
}

impl ApiError {
    /// An error of a class with `details`; `Some(Details::default())` is written as `{}`. What others say may be in the
    /// message, which kubectl shows as it is: it has no control characters.
    pub fn new(class: Class, message: impl Into<String>, details: Option<Details>) -> ApiError {
        ApiError::verbatim(class, printable(&message.into()).into_owned(), details)
    }

    /// An error whose message is upstream's to the letter, line breaks included. Nothing of others is in it.
    pub(crate) fn verbatim(class: Class, message: String, details: Option<Details>) -> ApiError {
        ApiError { class, message, details: details.map(Box::new) }
    }

    /// `docs/contract.md#error-1`: the metric, or the resource, is unknown, or no object matches.
    pub fn metric_not_found(metric: &str, resource: impl Display) -> ApiError {
        ApiError::new(
            Class::NotFound,
            format!("the server could not find the metric {metric} for {resource}"),
            None,
        )
    }

    /// `docs/contract.md#error-2`: the metric is known and this object has no value.
    pub fn metric_not_found_for(metric: &str, resource: impl Display, name: &str) -> ApiError {
        ApiError::new(
            Class::NotFound,
            format!("the server could not find the metric {metric} for {resource} {name}"),
            None,
        )
    }

    /// `docs/contract.md#error-3`: no route leads there.
    pub fn no_route() -> ApiError {
        ApiError::new(
            Class::NotFound,
            "the server could not find the requested resource",
            Some(Details::default()),
        )
    }

    /// D11: an external metric is unknown in every namespace, so the message names the one asked in.
    pub fn external_metric_not_found(metric: &str, namespace: &str) -> ApiError {
        ApiError::new(
            Class::NotFound,
            format!("the server could not find the metric {metric} for namespace {namespace}"),
            None,
        )
    }

    /// `docs/contract.md#error-20`: `kind` is a resource (`pods`), or one with its group when the object exists and has
    /// no sample (`podmetrics`, `metrics.k8s.io`). Upstream's text names nodes in the singular.
    pub fn object_not_found(kind: &str, group: &str, name: &str) -> ApiError {
        let subject = if group.is_empty() { kind.to_owned() } else { format!("{kind}.{group}") };
        let details = Details {
            name: name.to_owned(),
            group: group.to_owned(),
            kind: kind.to_owned(),
            ..Details::default()
        };
        ApiError::new(Class::NotFound, format!("{subject} {name:?} not found"), Some(details))
    }

    /// `docs/contract.md#error-13`: there are lists, and they cannot be watched.
    pub fn watch_not_supported(resource: &str, group: &str) -> ApiError {
        let details = Details { group: group.to_owned(), kind: resource.to_owned(), ..Details::default() };
        ApiError::new(
            Class::MethodNotAllowed,
            format!("watch is not supported on resources of kind \"{resource}.{group}\""),
            Some(details),
        )
    }

    /// `docs/contract.md#error-14`: options of a list that cannot go together.
    pub fn invalid_list_options(causes: Vec<Cause>) -> ApiError {
        let texts: Vec<String> =
            causes.iter().map(|cause| format!("{}: {}", cause.field, cause.message)).collect();
        let text = if texts.len() == 1 { texts.concat() } else { format!("[{}]", texts.join(", ")) };
        let details = Details {
            group: "meta.k8s.io".to_owned(),
            kind: "ListOptions".to_owned(),
            causes,
            ..Details::default()
        };
        let message = format!("ListOptions.meta.k8s.io \"\" is invalid: {text}");
        ApiError::new(Class::Invalid, message, Some(details))
    }

    /// Errors 4 to 9 of `docs/contract.md#errors`.
    pub fn bad_request(message: impl Into<String>) -> ApiError {
        ApiError::new(Class::BadRequest, message, None)
    }

    /// `docs/contract.md#error-12`.
    pub fn method_not_allowed() -> ApiError {
        ApiError::new(
            Class::MethodNotAllowed,
            "the server does not allow this method on the requested resource",
            Some(Details::default()),
        )
    }

    /// `docs/contract.md#error-15`.
    pub fn unauthorized() -> ApiError {
        ApiError::new(Class::Unauthorized, "Unauthorized", None)
    }

    /// `docs/contract.md#error-10`, `docs/contract.md#error-11`: the fault is ours or a rule's.
    pub fn internal(cause: impl Into<String>) -> ApiError {
        let cause = cause.into();
        let message = format!("Internal error occurred: {cause}");
        let details =
            Details { causes: vec![Cause { message: cause, ..Cause::default() }], ..Details::default() };
        ApiError::new(Class::Internal, message, Some(details))
    }

    /// D46: there is no room. Clients wait as long as `details` say.
    pub fn too_many_requests() -> ApiError {
        let details = Details { retry_after_seconds: Some(1), ..Details::default() };
        ApiError::new(Class::TooManyRequests, "Too many requests, please try again later.", Some(details))
    }

    /// D27: what we depend on is away. Never with `Retry-After`: the Go client would retry up to ten times and hold
    /// one of the autoscaler's workers meanwhile.
    pub fn unavailable(message: impl Into<String>) -> ApiError {
        ApiError::new(Class::Unavailable, message, None)
    }

    /// D14, D27: what we depend on took too long.
    pub fn timeout(message: impl Display) -> ApiError {
        ApiError::new(Class::Timeout, format!("Timeout: {message}"), Some(Details::default()))
    }

    /// What happened.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// What `details` of the Status hold.
    pub fn details(&self) -> Option<&Details> {
        self.details.as_deref()
    }

    /// The class.
    pub fn class(&self) -> Class {
        self.class
    }

    /// The HTTP status.
    pub fn code(&self) -> StatusCode {
        self.class.code_and_reason().0
    }

    /// The body as an object.
    pub fn status(&self) -> Status<'_> {
        let (code, reason) = self.class.code_and_reason();
        Status {
            kind: "Status",
            api_version: "v1",
            metadata: ListMeta {},
            status: "Failure",
            message: &self.message,
            reason,
            details: self.details.as_deref(),
            code: code.as_u16(),
        }
    }
}

/// A `metav1.Status`.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Status<'a> {
    kind: &'static str,
    api_version: &'static str,
    metadata: ListMeta,
    status: &'static str,
    message: &'a str,
    reason: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    details: Option<&'a Details>,
    code: u16,
}

impl Object for Status<'_> {
    fn api_version(&self) -> &'static str {
        self.api_version
    }

    fn kind(&self) -> &'static str {
        self.kind
    }
}

impl Encode for Status<'_> {
    fn encode(&self, message: &mut Message) {
        message.message(1, &self.metadata);
        message.string(2, self.status);
        message.string(3, self.message);
        message.string(4, self.reason);
        if let Some(details) = self.details {
            message.message(5, details);
        }
        message.integer(6, self.code.into());
    }
}

impl Encode for Details {
    fn encode(&self, message: &mut Message) {
        message.string(1, &self.name);
        message.string(2, &self.group);
        message.string(3, &self.kind);
        message.messages(4, &self.causes);
        message.integer(5, self.retry_after_seconds.unwrap_or_default().into());
        // The object's UID.
        message.string(6, "");
    }
}

impl Encode for Cause {
    fn encode(&self, message: &mut Message) {
        message.string(1, self.reason);
        message.string(2, &self.message);
        message.string(3, self.field);
    }
}
