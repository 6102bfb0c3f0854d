//! Errors: which there are, and what they say.

use crate::context::{CUSTOM, Context, USAGE};
use crate::exchange::Layout;
use crate::json::Json;
use crate::normal::{Body, Normal};

/// A bad metric selector is the asker's fault, and `!=` is repeated as `NotIn`.
pub(super) fn metric_selector(expected: &mut Normal, context: &Context<'_>) {
    if context.custom().is_none() || expected.code != 500 {
        return;
    }
    if let Some(twin) = &context.exchange.upstream_twin {
        // Its own query was good; only the answer could not be written.
        let queries = expected.queries.clone();
        *expected = Normal::of(twin, context.exchange.view, context.exchange.read);
        expected.queries = queries;
        return;
    }
    let message = expected.message().unwrap_or_default().to_owned();
    if ["found '", "unable to parse requirement: "].iter().any(|start| message.starts_with(start)) {
        *expected = status(expected, 400, "BadRequest", &message);
    }
}

/// The error of an external metric that is not there names the namespace.
pub(super) fn external_not_found(expected: &mut Normal, context: &Context<'_>) {
    let Some((namespace, metric)) = context.external() else { return };
    let start = format!("the server could not find the metric {metric} for ");
    if expected.message().is_some_and(|message| message == start || message == format!("{start}namespaces")) {
        set_message(expected, &format!("{start}namespace {namespace}"));
    }
}

/// A segment behind a namespace's metric names nothing.
pub(super) fn segment_too_many(expected: &mut Normal, context: &Context<'_>) {
    if context.group() == CUSTOM && matches!(context.rest()[..], ["namespaces", _, "metrics", _, _]) {
        *expected = status(expected, 404, "NotFound", "the server could not find the requested resource");
        if let Some(json) = expected.json_mut() {
            json.insert_before("code", "details", Json::Object(Vec::new()));
        }
        expected.queries.clear();
    }
}

/// The metric is looked up before its objects are listed.
pub(super) fn metric_before_objects(expected: &mut Normal, context: &Context<'_>) {
    let Some((metric, resource)) = context.custom() else { return };
    let not_listed = expected.message() == Some("Internal error occurred: unable to list matching resources");
    if not_listed && context.ours.code == 404 {
        let message = format!("the server could not find the metric {metric} for {resource}");
        *expected = status(expected, 404, "NotFound", &message);
    }
}

/// `>` and `<` compare with nothing in Prometheus, and the error says so.
pub(super) fn operators_refused(expected: &mut Normal, context: &Context<'_>) {
    let selector = context.series_selector();
    let Some(operator) = selector.chars().find(|letter| matches!(letter, '<' | '>')) else { return };
    let ours = context.our_message();
    // A metric that is not there is still the first thing to say.
    if matches!(expected.code, 404 | 500) && ours.starts_with(&format!("the operator {operator} of ")) {
        *expected = status(expected, 400, "BadRequest", ours);
    }
}

/// A failure to ask says what failed.
pub(super) fn causes(expected: &mut Normal, context: &Context<'_>) {
    let theirs = expected.message().unwrap_or_default();
    let general = theirs == "Internal error occurred: unable to fetch metrics"
        || theirs.ends_with("encountered an unexpected query result type");
    let ours = context.our_message();
    let says_more = ours.starts_with("Internal error occurred: unable to fetch metrics by ")
        || ours.starts_with("Internal error occurred: unable to fetch metrics: ")
        || (matches!(context.ours.code, 503 | 504) && ours.contains("unable to fetch metrics by "));
    if expected.code == 500 && general && says_more {
        *expected = failure(expected, context.ours.code, ours);
    }
}

/// Resource metrics that cannot be had are an error, not nothing.
pub(super) fn failed_usage(expected: &mut Normal, context: &Context<'_>) {
    let ours = context.our_message().to_owned();
    let nothing = expected.code == 404 || expected.items().is_some_and(|items| items.is_empty());
    if context.group() == USAGE && nothing && ours.contains("unable to fetch metrics") {
        *expected = failure(expected, context.ours.code, &ours);
    }
}

/// Impersonation is kube-apiserver's business.
pub(super) fn impersonation(expected: &mut Normal, context: &Context<'_>) {
    let asked = context.exchange.request.headers.iter().any(|(name, _)| name.starts_with("impersonate-"));
    if asked && expected.code == 403 && context.our_message().contains("impersonate through kube-apiserver") {
        *expected = status(expected, 403, "Forbidden", context.our_message());
    }
}

/// An answer with a Status of another kind.
pub(super) fn status(like: &Normal, code: u16, reason: &str, message: &str) -> Normal {
    let text = |name: &str, value: &str| (name.to_owned(), Json::text(value));
    let mut normal = like.clone();
    normal.code = code;
    normal.body = Body::Json {
        json: Json::Object(vec![
            text("kind", "Status"),
            text("apiVersion", "v1"),
            ("metadata".to_owned(), Json::Object(Vec::new())),
            text("status", "Failure"),
            text("message", message),
            text("reason", reason),
            ("code".to_owned(), Json::Number(code.into())),
        ]),
        layout: match &like.body {
            Body::Json { layout: Layout::Any, .. } => Layout::Any,
            _ => Layout::Json { indented: false, newline: true },
        },
    };
    normal
}

/// A Status for a failure to ask, by one of the three codes that it can have.
pub(super) fn failure(like: &Normal, code: u16, message: &str) -> Normal {
    match code {
        503 => status(like, 503, "ServiceUnavailable", message),
        504 => status(like, 504, "Timeout", message),
        _ => internal(like, message),
    }
}

/// A Status for an error of our own making.
pub(super) fn internal(like: &Normal, message: &str) -> Normal {
    let mut normal = status(like, 500, "InternalError", message);
    let cause = message.trim_start_matches("Internal error occurred: ");
    let cause = Json::Object(vec![("message".to_owned(), Json::text(cause))]);
    let details = Json::Object(vec![("causes".to_owned(), Json::List(vec![cause]))]);
    if let Some(json) = normal.json_mut() {
        json.insert_before("code", "details", details);
    }
    normal
}

pub(super) fn set_message(normal: &mut Normal, message: &str) {
    if let Some(value) = normal.json_mut().and_then(|json| json.get_mut("message")) {
        *value = Json::text(message);
    }
}
