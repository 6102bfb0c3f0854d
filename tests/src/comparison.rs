//! The answers of two servers to one request, compared to the byte.
//!
//! Only what no two answers can share is made alike first: times, generated names, and orders that upstream leaves to
//! chance. Whatever else differs must be what a number of `docs/contract.md` says, each undone at its own place
//! only (see `deviations`).

mod deviations;
mod json;
mod report;
#[path = "../../apiservice/tests/forms/wire.rs"]
#[allow(dead_code, unreachable_pub, reason = "shared with the tests of apiservice, which read all of it")]
mod wire;

use std::collections::BTreeMap;
use std::fmt;

pub use json::Json;
use percent_encoding::percent_decode_str;
pub use report::Report;

use crate::api::Answer;

/// One request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// `GET`.
    pub method: String,
    /// Path and query.
    pub path: String,
    /// Headers besides the credentials.
    pub headers: Vec<(String, String)>,
    /// Who asks, by a name of the test's own.
    pub caller: String,
}

impl Request {
    /// What the header `Accept` says.
    pub fn accept(&self) -> Option<&str> {
        let accept = self.headers.iter().find(|(name, _)| name.eq_ignore_ascii_case("accept"));
        accept.map(|(_, value)| value.as_str())
    }

    /// The value of a query parameter, its first.
    pub fn parameter(&self, name: &str) -> Option<String> {
        let url = reqwest::Url::parse(&format!("http://server{}", self.path)).ok()?;
        url.query_pairs().find(|(parameter, _)| parameter == name).map(|(_, value)| value.into_owned())
    }

    /// The segments of the path.
    fn segments(&self) -> Vec<String> {
        let path = self.path.split_once('?').map_or(self.path.as_str(), |(path, _)| path);
        let decoded = |segment: &str| percent_decode_str(segment).decode_utf8_lossy().into_owned();
        path.trim_matches('/').split('/').map(decoded).collect()
    }
}

/// What one server did with a request.
#[derive(Debug, Clone, PartialEq)]
pub struct Seen {
    /// Its answer.
    pub answer: Answer,
    /// The PromQL that it sent for it.
    pub queries: Vec<String>,
    /// The samples that it was given.
    pub samples: Vec<Sample>,
}

/// A sample of an instant vector.
#[derive(Debug, Clone, PartialEq)]
pub struct Sample {
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// Its number.
    pub value: f64,
}

/// One request and what both servers did with it.
#[derive(Debug, Clone, PartialEq)]
pub struct Exchange {
    /// Where the request comes from: a rule file, a recording.
    pub origin: String,
    /// The request.
    pub request: Request,
    /// What prometheus-adapter did.
    pub upstream: Seen,
    /// What ours did.
    pub ours: Seen,
    /// What prometheus-adapter did with another request of the same meaning, where it cannot answer this one.
    pub upstream_twin: Option<Seen>,
    /// The number of `docs/contract.md` by which upstream's answer to this request is left to chance, so that any
    /// difference is explained.
    pub chance: Option<&'static str>,
    /// Fields of numbers that grow with time and are not compared.
    pub growing: Vec<&'static str>,
}

/// What a comparison came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// Nothing differs.
    Equal,
    /// What differs is what these numbers of `docs/contract.md` say.
    Deviates(Vec<&'static str>),
    /// Upstream's answer as it should have been, by the numbers that apply, and ours.
    Unexplained {
        /// Upstream's, corrected.
        expected: String,
        /// Ours.
        found: String,
    },
}

impl Exchange {
    /// Compares.
    pub fn verdict(&self) -> Verdict {
        let ours = Normal::of(&self.ours).without(&self.growing);
        let mut expected = Normal::of(&self.upstream).without(&self.growing);
        let numbers = deviations::correct(&mut expected, self, &ours);
        expected.sort_keys();
        match (expected == ours, self.chance) {
            (true, _) if numbers.is_empty() => Verdict::Equal,
            (true, _) => Verdict::Deviates(numbers),
            (false, Some(number)) => Verdict::Deviates(vec![number]),
            (false, None) => Verdict::Unexplained { expected: expected.to_string(), found: ours.to_string() },
        }
    }
}

impl fmt::Display for Exchange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Request { method, path, headers, caller } = &self.request;
        writeln!(f, "{}: {method} {path} {headers:?} by {caller}", self.origin)?;
        for (name, seen) in [("upstream", &self.upstream), ("ours", &self.ours)] {
            let Answer { code, headers, .. } = &seen.answer;
            writeln!(f, "  {name}: {code} {headers:?} {}", seen.answer.text().replace('\n', "\\n"))?;
            for query in &seen.queries {
                writeln!(f, "    asked {query}")?;
            }
        }
        Ok(())
    }
}

/// An answer without what no two answers share.
#[derive(Debug, Clone, PartialEq)]
struct Normal {
    code: u16,
    headers: BTreeMap<String, String>,
    body: Body,
    queries: Vec<String>,
}

#[derive(Debug, Clone, PartialEq)]
enum Body {
    Json { json: Json, layout: Layout },
    Text(String),
}

/// How a tree of values is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Layout {
    Json {
        indented: bool,
        newline: bool,
    },
    /// Its keys are sorted.
    Yaml,
    /// Its fields have numbers, and no order that a tree would show.
    Protobuf,
}

impl Normal {
    fn of(seen: &Seen) -> Normal {
        let Answer { code, headers, .. } = &seen.answer;
        let text = seen.answer.text();
        let media_type = headers.get("content-type").map(String::as_str).unwrap_or_default();
        let (tree, layout) = match media_type {
            "application/yaml" => (of_yaml(&text), Layout::Yaml),
            "application/vnd.kubernetes.protobuf" => (of_protobuf(&seen.answer.body), Layout::Protobuf),
            _ => {
                let layout =
                    Layout::Json { indented: text.contains("\n  \""), newline: text.ends_with('\n') };
                (serde_json::from_str(&text).ok(), layout)
            }
        };
        let body = match tree {
            Some(json @ (Json::Object(_) | Json::List(_))) => Body::Json { json, layout },
            _ => Body::Text(text),
        };
        let mut headers = headers.clone();
        for (name, value) in &mut headers {
            if matches!(name.as_str(), "audit-id" | "etag") {
                "(present)".clone_into(value);
            }
        }
        let body = without_checks(body);
        let mut queries: Vec<String> =
            seen.queries.iter().map(|query| with_sorted_alternatives(query)).collect();
        queries.sort();
        let mut normal = Normal { code: *code, headers, body, queries };
        if let Some(json) = normal.json_mut() {
            forget_times(json);
        }
        normal
    }

    fn without(mut self, growing: &[&str]) -> Normal {
        if let Some(json) = self.json_mut() {
            forget_growing(json, growing);
        }
        self
    }

    fn json(&self) -> Option<&Json> {
        match &self.body {
            Body::Json { json, .. } => Some(json),
            Body::Text(_) => None,
        }
    }

    fn json_mut(&mut self) -> Option<&mut Json> {
        match &mut self.body {
            Body::Json { json, .. } => Some(json),
            Body::Text(_) => None,
        }
    }

    /// Where keys are sorted, those that a correction has put in go to their places.
    fn sort_keys(&mut self) {
        if let Body::Json { json, layout: Layout::Yaml | Layout::Protobuf } = &mut self.body {
            json.sort_keys();
        }
    }

    /// The entries of a list.
    fn items(&mut self) -> Option<&mut Vec<Json>> {
        self.json_mut()?.get_mut("items")?.entries_mut()
    }

    /// What an error says.
    fn message(&self) -> Option<&str> {
        let json = self.json()?;
        if json.get("kind")?.as_text()? == "Status" { json.get("message")?.as_text() } else { None }
    }
}

impl fmt::Display for Normal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Normal { code, headers, body, queries } = self;
        write!(f, "{code} {headers:?} ")?;
        match body {
            Body::Json { json, layout } => write!(f, "{layout:?} {json}")?,
            Body::Text(text) => write!(f, "{text:?}")?,
        }
        write!(f, " asked {queries:?}")
    }
}

/// YAML as a tree; `None` where it is not written as our own writer writes the same tree.
fn of_yaml(text: &str) -> Option<Json> {
    let tree: serde_json::Value = serde_saphyr::from_str(text).ok()?;
    let same = apiservice::encode::yaml::encode(&tree.to_string()).is_ok_and(|ours| ours == text);
    serde_json::from_str(&tree.to_string()).ok().filter(|_| same)
}

fn of_protobuf(body: &[u8]) -> Option<Json> {
    let mut json: Json = serde_json::from_str(&wire::protobuf(body).to_string()).ok()?;
    json.sort_keys();
    Some(json)
}

/// Which checks of its health there are is each server's own: the lines of those that passed become one, and an index of
/// paths has none of them.
fn without_checks(body: Body) -> Body {
    match body {
        Body::Text(text) if text.starts_with("[+]") => {
            let lines = text.split_inclusive('\n');
            let mut lines: Vec<&str> =
                lines
                    .map(|line| {
                        if line.starts_with("[+]") && line.ends_with(" ok\n") {
                            "[+]check ok\n"
                        } else {
                            line
                        }
                    })
                    .collect();
            lines.dedup();
            Body::Text(lines.concat())
        }
        Body::Json { mut json, layout } => {
            if let Some(paths) = json.get_mut("paths").and_then(Json::entries_mut) {
                let is_check = |path: &str| {
                    ["/healthz/", "/livez/", "/readyz/"].iter().any(|start| path.starts_with(start))
                };
                paths.retain(|path| !path.as_text().is_some_and(is_check));
            }
            Body::Json { json, layout }
        }
        body @ Body::Text(_) => body,
    }
}

fn forget_growing(json: &mut Json, growing: &[&str]) {
    match json {
        Json::Object(fields) => {
            for (name, value) in fields {
                match (name.as_str(), value) {
                    (name, value @ Json::Text(_)) if growing.contains(&name) => {
                        *value = Json::text("(growing)");
                    }
                    // The second column of a table of usage is the CPU.
                    ("cells", Json::List(cells)) if cells.len() == 4 && growing.contains(&"cpu") => {
                        cells[1] = Json::text("(growing)");
                    }
                    (_, value) => forget_growing(value, growing),
                }
            }
        }
        Json::List(entries) => entries.iter_mut().for_each(|entry| forget_growing(entry, growing)),
        _ => {}
    }
}

/// Times are the moment of asking, and ports those that were free; nothing else of an answer is forgotten.
fn forget_times(json: &mut Json) {
    match json {
        Json::Object(fields) => {
            for (name, value) in fields {
                match (name.as_str(), value) {
                    ("timestamp" | "creationTimestamp", value @ (Json::Text(_) | Json::Number(_))) => {
                        *value = Json::text("now");
                    }
                    ("serverAddress", value @ Json::Text(_)) => *value = Json::text(":port"),
                    (_, value) => forget_times(value),
                }
            }
        }
        Json::List(entries) => entries.iter_mut().for_each(forget_times),
        _ => {}
    }
}

fn name_of(entry: &Json) -> String {
    entry.get("name").map_or_else(String::new, Json::to_string)
}

/// Upstream joins the names of pods and nodes in an order of its own.
fn with_sorted_alternatives(promql: &str) -> String {
    let mut text = String::new();
    let mut rest = promql;
    while let Some((before, behind)) = rest.split_once("=~\"") {
        let Some((alternatives, after)) = behind.split_once('"') else { break };
        let mut alternatives: Vec<&str> = alternatives.split('|').collect();
        alternatives.sort_unstable();
        text.push_str(before);
        text.push_str("=~\"");
        text.push_str(&alternatives.join("|"));
        text.push('"');
        rest = after;
    }
    text.push_str(rest);
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(code: u16, body: &str, query: &str) -> Seen {
        let headers = [("content-type", "application/json")]
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .into();
        Seen {
            answer: Answer { code, headers, body: body.as_bytes().to_vec() },
            queries: vec![query.to_owned()],
            samples: vec![Sample { labels: BTreeMap::new(), value: 99.9996 }],
        }
    }

    fn exchange(upstream: Seen, ours: Seen) -> Exchange {
        Exchange {
            origin: "a test".to_owned(),
            request: Request {
                method: "GET".to_owned(),
                path: "/apis/custom.metrics.k8s.io/v1beta1/namespaces/default/pods/*/depth".to_owned(),
                headers: Vec::new(),
                caller: "admin".to_owned(),
            },
            upstream,
            ours,
            upstream_twin: None,
            chance: None,
            growing: Vec::new(),
        }
    }

    fn list(version: &str, value: &str, time: &str) -> String {
        format!(
            "{{\"kind\":\"MetricValueList\",\"items\":[{{\"describedObject\":{{\"kind\":\"Pod\",\"name\":\"a\",\
             \"apiVersion\":\"{version}\"}},\"timestamp\":\"{time}\",\"value\":\"{value}\"}}]}}\n"
        )
    }

    #[test]
    fn equal_but_for_times_and_orders() {
        let one = seen(200, &list("apps/v1", "1", "2026-01-01T00:00:00Z"), r#"x{pod=~"a|b"}"#);
        let other = seen(200, &list("apps/v1", "1", "2026-01-01T00:00:09Z"), r#"x{pod=~"b|a"}"#);
        assert_eq!(exchange(one, other).verdict(), Verdict::Equal);
    }

    #[test]
    fn deviations_are_named() {
        let one = seen(200, &list("/v1", "99999m", ""), "x");
        let other = seen(200, &list("v1", "100", ""), "x");
        assert_eq!(exchange(one, other).verdict(), Verdict::Deviates(vec!["D8", "D16"]));
    }

    #[test]
    fn anything_else_is_a_difference() {
        let upstream = || seen(200, &list("v1", "1", ""), "x");
        for ours in [
            seen(200, &list("v1", "2", ""), "x"),
            seen(200, &list("v1", "999m", ""), "x"),
            seen(200, &list("/v1", "1", ""), "x"),
            seen(404, &list("v1", "1", ""), "x"),
            seen(200, list("v1", "1", "").trim_end(), "x"),
            seen(
                200,
                &list("v1", "1", "")
                    .replace("\"kind\":\"Pod\",\"name\":\"a\"", "\"name\":\"a\",\"kind\":\"Pod\""),
                "x",
            ),
            seen(200, &list("v1", "1", ""), "y"),
        ] {
            let exchange = exchange(upstream(), ours);
            assert!(matches!(exchange.verdict(), Verdict::Unexplained { .. }), "{exchange}");
        }
    }
}
