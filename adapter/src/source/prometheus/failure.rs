//! What a failed answer says, in the forms in which Prometheus, its relatives and the proxies before them say it:
//! Prometheus' JSON, other JSON, a page, a line of text.

use reqwest::StatusCode;
use serde_json::Value;

use super::text::{line, repaired};
use crate::source::{SourceError, SourceErrorClass};

/// The error that an answer with this status and body is. Its class follows what the body calls it, else the status
/// (D27).
pub(super) fn failure(status: StatusCode, body: &[u8]) -> SourceError {
    let Said { kind, text } = Said::of(body);
    // VictoriaMetrics repeats the status there.
    let repeated = kind.parse().ok().and_then(|code| StatusCode::from_u16(code).ok());
    let status = repeated.unwrap_or(status);
    let (class, who) = if kind.is_empty() || repeated.is_some() {
        (class_of_status(status), named(status))
    } else {
        (class_of_kind(&kind), kind)
    };
    let text = if text.is_empty() { text } else { format!(": {text}") };
    let hint = hint(status, &text).map_or_else(String::new, |hint| format!(" ({hint})"));
    SourceError::new(class, format!("Prometheus answered {who}{text}{hint}"))
}

/// A success whose body is none of Prometheus' answers: another server's, or cut off.
pub(super) fn no_answer(error: &serde_json::Error, body: &[u8]) -> SourceError {
    if error.is_eof() {
        return unavailable(format!("the answer broke off: {error}"));
    }
    // A login page, or Prometheus' own pages.
    let page = page_title(&repaired(&body[..body.len().min(LONGEST_PAGE)]));
    unavailable(match page {
        Some(title) => format!("expected Prometheus' JSON, found the page {title:?} ({WRONG_PATH})"),
        None => format!("the answer is not what Prometheus answers: {error}"),
    })
}

pub(super) fn unavailable(message: String) -> SourceError {
    SourceError::new(SourceErrorClass::Unavailable, message)
}

fn class_of_kind(kind: &str) -> SourceErrorClass {
    match kind {
        "timeout" => SourceErrorClass::Timeout,
        "bad_data" | "execution" => SourceErrorClass::BadQuery,
        _ => SourceErrorClass::Unavailable,
    }
}

fn class_of_status(status: StatusCode) -> SourceErrorClass {
    match status.as_u16() {
        400 | 422 => SourceErrorClass::BadQuery,
        408 => SourceErrorClass::Timeout,
        // A proxy says so of Prometheus.
        504 => SourceErrorClass::Silent,
        _ => SourceErrorClass::Unavailable,
    }
}

fn named(status: StatusCode) -> String {
    match status.canonical_reason() {
        Some(reason) => format!("{} {reason}", status.as_u16()),
        None => status.as_u16().to_string(),
    }
}

/// What to look at, where that is clear.
fn hint(status: StatusCode, text: &str) -> Option<&'static str> {
    let says = |words: &str| text.to_ascii_lowercase().contains(words);
    if says("no org id") {
        return Some("Mimir and its like want a tenant: --prometheus-header=X-Scope-OrgID=TENANT");
    }
    if says("http request to an https server") || says("http request was sent to https port") {
        return Some("does --prometheus-url need https?");
    }
    match status.as_u16() {
        // VictoriaMetrics below another path, or a part of it that answers no queries.
        400 if says("missing -http.pathprefix") || says("unsupported path") => Some(WRONG_PATH),
        401 => Some("are credentials missing? --help has the flags for Prometheus' credentials"),
        403 => Some("may these credentials read metrics?"),
        404 => Some(WRONG_PATH),
        413 | 414 | 431 => Some("is the query too long for what stands before Prometheus?"),
        429 => Some("requests are limited there"),
        _ => None,
    }
}

/// What a body says.
struct Said {
    /// What it calls the error: a word of Prometheus', a status, or nothing.
    kind: String,
    /// One line.
    text: String,
}

impl Said {
    fn of(body: &[u8]) -> Said {
        let body = &body[..body.len().min(LONGEST_ERROR)];
        if let Ok(Value::Object(said)) = serde_json::from_slice(body).or_else(|_| {
            // Bytes in it that are not Unicode must not hide the rest.
            serde_json::from_str(&without_lone_surrogates(&repaired(body)))
        }) {
            let field = |wanted: &str| {
                let found = said.iter().find(|(name, value)| {
                    name.eq_ignore_ascii_case(wanted) && !value.is_null() && *value != ""
                });
                found.map(|(_, value)| value)
            };
            let kind = field("errorType").map(words).unwrap_or_default();
            let text = TEXTS.iter().find_map(|name| field(name)).map(words);
            return Said { kind, text: text.unwrap_or_else(|| first_line(&repaired(body))) };
        }
        let text = repaired(body);
        let title = page_title(&repaired(&body[..body.len().min(LONGEST_PAGE)]));
        Said { kind: String::new(), text: title.unwrap_or_else(|| first_line(&text)) }
    }
}

/// A text, or the message inside, on one line.
fn words(value: &Value) -> String {
    match value {
        Value::String(text) => line(text),
        Value::Object(inner) => {
            let text = TEXTS.iter().find_map(|name| inner.get(*name)?.as_str());
            text.map_or_else(|| line(&value.to_string()), line)
        }
        other => line(&other.to_string()),
    }
}

fn first_line(text: &str) -> String {
    text.lines().map(line).find(|line| !line.is_empty()).unwrap_or_default()
}

/// What a page calls itself, else its first words; `None` for other text.
fn page_title(body: &str) -> Option<String> {
    let body = body.trim_start_matches('\u{feff}').trim_start();
    if !body.starts_with('<') {
        return None;
    }
    // For places only: each letter stays as long as it is.
    let lower = body.to_ascii_lowercase();
    let title = lower.find("<title").and_then(|start| {
        let start = start + lower[start..].find('>')? + 1;
        Some(&body[start..start + lower[start..].find('<')?])
    });
    let words = |text: &str| line(&html_entities(text));
    let title = title.map(words).filter(|title| !title.is_empty());
    title.or_else(|| Some(words(&without_tags(body)))).filter(|title| !title.is_empty())
}

fn without_tags(page: &str) -> String {
    let mut text = String::new();
    for piece in page.split('<').skip(1) {
        let (tag, behind) = piece.split_once('>').unwrap_or((piece, ""));
        let hidden = ["script", "style"]
            .iter()
            .any(|hidden| tag.get(..hidden.len()).is_some_and(|tag| tag.eq_ignore_ascii_case(hidden)));
        if !hidden {
            text.push(' ');
            text.push_str(behind);
        }
    }
    text
}

fn html_entities(text: &str) -> String {
    let entities =
        [("&lt;", "<"), ("&gt;", ">"), ("&quot;", "\""), ("&#39;", "'"), ("&nbsp;", " "), ("&amp;", "&")];
    entities.iter().fold(text.to_owned(), |text, (entity, meaning)| text.replace(entity, meaning))
}

/// `\ud800` without its other half, which no JSON library for Rust's texts takes, becomes `\ufffd`.
fn without_lone_surrogates(json: &str) -> String {
    let unit = |text: &str| {
        let digits = text.strip_prefix("\\u")?.get(..4)?;
        u16::from_str_radix(digits, 16).ok()
    };
    let (mut repaired, mut rest) = (String::with_capacity(json.len()), json);
    while let Some(place) = rest.find('\\') {
        repaired.push_str(&rest[..place]);
        rest = &rest[place..];
        let length = match unit(rest) {
            Some(0xD800..=0xDBFF) if matches!(unit(&rest[6..]), Some(0xDC00..=0xDFFF)) => 12,
            Some(0xD800..=0xDFFF) => {
                repaired.push_str("\\ufffd");
                rest = &rest[6..];
                continue;
            }
            // The character after a backslash is taken with it: it may be one itself.
            _ => 1 + rest[1..].chars().next().map_or(0, char::len_utf8),
        };
        repaired.push_str(&rest[..length]);
        rest = &rest[length..];
    }
    repaired + rest
}

/// Where others than Prometheus put their text; it comes first.
const TEXTS: [&str; 8] =
    ["error", "message", "msg", "detail", "details", "reason", "error_description", "title"];
const WRONG_PATH: &str = "is the path of --prometheus-url right?";
/// Errors that repeat a query of thousands of names are long.
pub(super) const LONGEST_ERROR: usize = 1 << 20;
const LONGEST_PAGE: usize = 64 << 10;

#[cfg(test)]
mod tests {
    use testkit::rows::each_row;

    use super::SourceErrorClass::{BadQuery, Silent, Timeout, Unavailable};
    use super::*;

    fn of(code: u16, body: impl AsRef<[u8]>) -> (SourceErrorClass, String) {
        let error = failure(StatusCode::from_u16(code).expect("a status"), body.as_ref());
        (error.class, error.message)
    }

    #[test]
    fn errors_in_every_form_say_what_their_body_says() {
        let prometheus = |kind: &str| format!(r#"{{"status":"error","errorType":"{kind}","error":"boom"}}"#);
        let rows = [
            // Prometheus, Thanos and Mimir.
            (400, prometheus("bad_data"), BadQuery, "bad_data: boom"),
            (422, prometheus("execution"), BadQuery, "execution: boom"),
            (503, prometheus("timeout"), Timeout, "timeout: boom"),
            (503, prometheus("canceled"), Unavailable, "canceled: boom"),
            (500, prometheus("internal"), Unavailable, "internal: boom"),
            (404, prometheus("not_found"), Unavailable, "not_found: boom (is the path of --prometheus-url right?)"),
            (429, prometheus("too_many_requests"), Unavailable, "too_many_requests: boom (requests are limited there)"),
            (
                422,
                r#"{"status":"error","errorType":"execution","error":"boom","warnings":["w"],"data":{"resultType":"","result":null}}"#.to_owned(),
                BadQuery,
                "execution: boom",
            ),
            (
                401,
                "no org id\n".to_owned(),
                Unavailable,
                "401 Unauthorized: no org id (Mimir and its like want a tenant: --prometheus-header=X-Scope-OrgID=TENANT)",
            ),
            // VictoriaMetrics.
            (422, prometheus("422"), BadQuery, "422 Unprocessable Entity: boom"),
            (400, prometheus("503"), Unavailable, "503 Service Unavailable: boom"),
            (422, r#"{"status":"error","errorType":422,"error":"boom"}"#.to_owned(), BadQuery, "422 Unprocessable Entity: boom"),
            (
                400,
                "remoteAddr: \"127.0.0.1:1\"; requestURI: /x; unsupported path requested: \"/x\"".to_owned(),
                BadQuery,
                "400 Bad Request: remoteAddr: \"127.0.0.1:1\"; requestURI: /x; unsupported path requested: \"/x\" (is the path \
                 of --prometheus-url right?)",
            ),
            (
                400,
                "missing -http.pathPrefix=\"/team\" in the requested path \"/api/v1/series\"\n".to_owned(),
                BadQuery,
                "400 Bad Request: missing -http.pathPrefix=\"/team\" in the requested path \"/api/v1/series\" (is the \
                 path of --prometheus-url right?)",
            ),
            // Others' JSON.
            (422, r#"{"status":"error","error":"boom"}"#.to_owned(), BadQuery, "422 Unprocessable Entity: boom"),
            (400, r#"{"status":"error","errorType":null,"error":null}"#.to_owned(), BadQuery, "400 Bad Request: {\"status\":\"error\",\"errorType\":null,\"error\":null}"),
            (503, r#"{"code":14,"message":"upstream is away","details":[]}"#.to_owned(), Unavailable, "503 Service Unavailable: upstream is away"),
            (504, r#"{"Message":"too slow"}"#.to_owned(), Silent, "504 Gateway Timeout: too slow"),
            (
                403,
                r#"{"error":{"code":403,"message":"Permission denied on project","status":"PERMISSION_DENIED"}}"#.to_owned(),
                Unavailable,
                "403 Forbidden: Permission denied on project (may these credentials read metrics?)",
            ),
            (
                403,
                r#"{"kind":"Status","status":"Failure","message":"pods is forbidden","reason":"Forbidden","code":403}"#.to_owned(),
                Unavailable,
                "403 Forbidden: pods is forbidden (may these credentials read metrics?)",
            ),
            (400, r#"["a list"]"#.to_owned(), BadQuery, "400 Bad Request: [\"a list\"]"),
            // Proxies.
            (
                502,
                "\r\n<html>\r\n<head><TITLE>502 Bad Gateway</TITLE></head>\r\n<body>nginx</body></html>".to_owned(),
                Unavailable,
                "502 Bad Gateway: 502 Bad Gateway",
            ),
            (
                503,
                "<!DOCTYPE html><style>b{}</style><p>We are <b>busy</b> &amp; sorry</p><script>x()</script>".to_owned(),
                Unavailable,
                "503 Service Unavailable: We are busy & sorry",
            ),
            (503, "\n\n upstream connect error\u{7}\nmore".to_owned(), Unavailable, "503 Service Unavailable: upstream connect error"),
            (
                403,
                "Forbidden (user=system:serviceaccount:a:b, verb=create, resource=prometheuses)".to_owned(),
                Unavailable,
                "403 Forbidden: Forbidden (user=system:serviceaccount:a:b, verb=create, resource=prometheuses) (may these \
                 credentials read metrics?)",
            ),
            (
                400,
                "Client sent an HTTP request to an HTTPS server.\n".to_owned(),
                BadQuery,
                "400 Bad Request: Client sent an HTTP request to an HTTPS server. (does --prometheus-url need https?)",
            ),
            (408, String::new(), Timeout, "408 Request Timeout"),
            (414, String::new(), Unavailable, "414 URI Too Long (is the query too long for what stands before Prometheus?)"),
            (599, "odd".to_owned(), Unavailable, "599: odd"),
        ];
        each_row(rows, |(code, body, class, message)| {
            assert_eq!(of(code, &body), (class, format!("Prometheus answered {message}")), "{body}");
        });
    }

    #[test]
    fn what_is_not_unicode_or_too_long_hides_nothing() {
        let body = b"{\"errorType\":\"execution\",\"error\":\"caf\xe9 \\ud800 \\\\ud800 \\ud83d\\ude00\"}";
        let message = "Prometheus answered execution: caf\u{fffd} \u{fffd} \\ud800 \u{1f600}";
        assert_eq!(of(422, body), (BadQuery, message.to_owned()));
        let (_, message) = of(502, "x".repeat(5 << 20));
        assert_eq!(message, format!("Prometheus answered 502 Bad Gateway: {}...", "x".repeat(300)));
        let deep = "{\"a\":".repeat(100_000);
        assert!(of(500, deep).1.starts_with("Prometheus answered 500 Internal Server Error: {"));
        let open = "<".repeat(1 << 20);
        assert_eq!(
            of(502, open).1,
            "Prometheus answered 502 Bad Gateway: ".to_owned() + &"<".repeat(300) + "..."
        );
    }
}
