//! Which form an answer takes (contract, section 7), and the response made of it.
//!
//! JSON is the one form made so far; the Kubernetes clients that prefer protobuf accept it.

use axum::body::Body;
use bytes::Bytes;
use http::request::Parts;
use http::{HeaderValue, Response, StatusCode, header};
use serde::Serialize;

use crate::query::QueryParameters;
use crate::status::{ApiError, Class, Details};

/// The form that a client accepts best of those there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Form {
    /// Indented by two blanks, without a final newline; else one line with one.
    pub pretty: bool,
}

/// What a request says about the form of its answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Acceptable {
    /// An answer can be made.
    Form(Form),
    /// No media type fits: refused before anything is asked.
    NoMediaType,
    /// A media type fits, with parameters that this answer cannot honour: refused after the answer is known.
    NoParameters,
}

impl Acceptable {
    /// Reads the `Accept` header, `?pretty` and the user agent.
    pub fn of(request: &Parts, query: &QueryParameters) -> Acceptable {
        let accept =
            request.headers.get(header::ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let pretty = wants_pretty(request, query);
        if accept.trim().is_empty() {
            return Acceptable::Form(Form { pretty });
        }
        let mut clauses: Vec<Clause<'_>> = accept.split(',').filter_map(Clause::parse).collect();
        // Stable: equal weights keep the order of the header.
        clauses.sort_by(|left, right| right.weight.total_cmp(&left.weight));
        let mut media_type_fits = false;
        for clause in clauses.iter().filter(|clause| matches!(clause.media_type, "*/*" | "application/json"))
        {
            media_type_fits = true;
            if clause
                .parameters()
                .all(|(name, value)| matches!((name, value), ("stream", "watch") | ("pretty" | "q", _)))
            {
                let asked = clause.parameters().any(|(name, value)| name == "pretty" && value == "1");
                return Acceptable::Form(Form { pretty: pretty || asked });
            }
        }
        if media_type_fits { Acceptable::NoParameters } else { Acceptable::NoMediaType }
    }

    /// The form for errors, which are sent in any case.
    pub fn or_default(self) -> Form {
        match self {
            Acceptable::Form(form) => form,
            _ => Form { pretty: true },
        }
    }
}

struct Clause<'a> {
    media_type: &'a str,
    weight: f32,
    rest: &'a str,
}

impl<'a> Clause<'a> {
    fn parse(text: &'a str) -> Option<Clause<'a>> {
        let (media_type, rest) = text.split_once(';').unwrap_or((text, ""));
        let mut clause = Clause { media_type: media_type.trim(), weight: 1.0, rest };
        if clause.media_type.is_empty() {
            return None;
        }
        if let Some((_, weight)) = clause.parameters().find(|(name, _)| *name == "q") {
            clause.weight = weight.parse().unwrap_or(1.0);
        }
        Some(clause)
    }

    fn parameters(&self) -> impl Iterator<Item = (&'a str, &'a str)> + use<'a> {
        self.rest
            .split(';')
            .filter(|parameter| !parameter.trim().is_empty())
            .map(|parameter| parameter.split_once('=').unwrap_or((parameter, "")))
            .map(|(name, value)| (name.trim(), value.trim().trim_matches('"')))
    }
}

/// `?pretty` decides when it is given; otherwise people at a terminal or in a browser get indented text.
fn wants_pretty(request: &Parts, query: &QueryParameters) -> bool {
    if let Some(value) = query.first("pretty").filter(|value| !value.is_empty()) {
        return matches!(value, "1" | "t" | "T" | "true" | "TRUE" | "True");
    }
    let agent =
        request.headers.get(header::USER_AGENT).and_then(|value| value.to_str().ok()).unwrap_or_default();
    ["curl", "Wget", "Mozilla/5.0"].iter().any(|prefix| agent.starts_with(prefix))
}

/// The body of an object in a form.
pub fn encode(object: &impl Serialize, form: Form) -> Result<Bytes, serde_json::Error> {
    let mut body = Vec::with_capacity(256);
    if form.pretty {
        let formatter = serde_json::ser::PrettyFormatter::with_indent(b"  ");
        object.serialize(&mut serde_json::Serializer::with_formatter(&mut body, formatter))?;
    } else {
        serde_json::to_writer(&mut body, object)?;
        body.push(b'\n');
    }
    Ok(body.into())
}

/// A response with an object as its body.
pub fn respond(code: StatusCode, object: &impl Serialize, form: Form) -> Response<Body> {
    match encode(object, form) {
        Ok(body) => raw(code, JSON, body),
        Err(error) => {
            // Objects hold only strings, numbers and lists of them: serde_json writes those without fail.
            tracing::error!(%error, "an answer could not be written");
            raw(
                StatusCode::INTERNAL_SERVER_ERROR,
                TEXT,
                Bytes::from_static(b"an answer could not be written"),
            )
        }
    }
}

/// A response with an error as its body.
pub fn respond_error(error: &ApiError, form: Form) -> Response<Body> {
    let mut response = respond(error.code(), &error.status(), form);
    match error.class() {
        Class::Forbidden => {
            response
                .headers_mut()
                .insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        }
        Class::TooManyRequests => {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
        }
        _ => {}
    }
    response
}

/// A response of given bytes.
pub fn raw(code: StatusCode, content_type: &'static str, body: Bytes) -> Response<Body> {
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = code;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}

/// 406 when no media type fits.
pub fn no_media_type() -> ApiError {
    ApiError::new(
        Class::NotAcceptable,
        "406: Not Acceptable\n\nAvailable representations: application/json, application/json;stream=watch",
        Some(Details::default()),
    )
}

/// 406 when the parameters of a fitting media type cannot be honoured.
pub fn no_parameters() -> ApiError {
    ApiError::new(Class::NotAcceptable, "only the following media types are accepted: application/json", None)
}

/// The media type of JSON, as Kubernetes writes it: without a charset.
pub const JSON: &str = "application/json";
/// The media type of plain text.
pub const TEXT: &str = "text/plain; charset=utf-8";

#[cfg(test)]
mod tests {
    use super::*;

    fn acceptable(accept: &str, agent: &str, query: &str) -> Acceptable {
        let mut request = http::Request::builder();
        if !accept.is_empty() {
            request = request.header(header::ACCEPT, accept);
        }
        let request = request.header(header::USER_AGENT, agent).body(()).expect("a valid request");
        Acceptable::of(&request.into_parts().0, &QueryParameters::parse(query))
    }

    #[test]
    fn what_clients_send() {
        let plain = Acceptable::Form(Form { pretty: false });
        let pretty = Acceptable::Form(Form { pretty: true });
        let table = "application/json;as=Table;v=v1;g=meta.k8s.io";
        for (accept, agent, query, expected) in [
            ("", "", "", plain),
            ("*/*", "", "", plain),
            ("application/vnd.kubernetes.protobuf, */*", "kube-controller-manager", "", plain),
            ("application/vnd.kubernetes.protobuf,application/json", "", "", plain),
            (&format!("{table},application/json"), "kubectl", "", plain),
            ("application/json;stream=watch", "", "", plain),
            ("application/json;pretty=1", "", "", pretty),
            ("application/json", "curl/8.0", "", pretty),
            ("application/json", "curl/8.0", "pretty=false", plain),
            ("application/json", "", "pretty=true", pretty),
            (table, "", "", Acceptable::NoParameters),
            ("application/*", "", "", Acceptable::NoMediaType),
            ("APPLICATION/JSON", "", "", Acceptable::NoMediaType),
            ("text/html", "", "", Acceptable::NoMediaType),
            ("text/html;q=0.9,application/json;q=0.1", "", "", plain),
        ] {
            assert_eq!(acceptable(accept, agent, query), expected, "{accept:?} {agent:?} {query:?}");
        }
    }
}
