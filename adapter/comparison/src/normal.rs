//! An answer without what no two answers share: times, generated names, and orders that upstream leaves to chance.

use std::collections::BTreeMap;
use std::fmt;

use crate::exchange::{Answer, Layout, Reader, Seen, View};
use crate::json::Json;

/// An answer without what no two answers share.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Normal {
    pub(super) code: u16,
    pub(super) headers: BTreeMap<String, String>,
    pub(super) body: Body,
    pub(super) queries: Vec<String>,
}

#[derive(Debug, Clone, PartialEq)]
pub(super) enum Body {
    Json { json: Json, layout: Layout },
    Text(String),
}

impl Normal {
    pub(super) fn of(seen: &Seen, view: View, read: Reader) -> Normal {
        let Answer { code, headers, .. } = &seen.answer;
        let text = seen.answer.text();
        let media_type = headers.get("content-type").map(String::as_str).unwrap_or_default();
        let (tree, layout) = read(media_type, &seen.answer.body).unwrap_or_else(|| {
            let layout = Layout::Json { indented: text.contains("\n  \""), newline: text.ends_with('\n') };
            (serde_json::from_str(&text).ok(), layout)
        });
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
        match view {
            View::Wire => normal,
            View::Meaning => normal.meaning(),
        }
    }

    /// Without headers, queries and orders.
    fn meaning(mut self) -> Normal {
        self.headers.clear();
        self.queries.clear();
        if let Body::Json { json, layout } = &mut self.body {
            *layout = Layout::Any;
            json.sort_keys();
            for list in ["items", "resources"] {
                if let Some(entries) = json.get_mut(list).and_then(Json::entries_mut) {
                    entries.sort_by_cached_key(|entry| identity(entry).unwrap_or_default());
                }
            }
        }
        self
    }

    pub(super) fn without(mut self, growing: &[&str]) -> Normal {
        if let Some(json) = self.json_mut() {
            forget_growing(json, growing);
        }
        self
    }

    pub(super) fn json(&self) -> Option<&Json> {
        match &self.body {
            Body::Json { json, .. } => Some(json),
            Body::Text(_) => None,
        }
    }

    pub(super) fn json_mut(&mut self) -> Option<&mut Json> {
        match &mut self.body {
            Body::Json { json, .. } => Some(json),
            Body::Text(_) => None,
        }
    }

    /// Where keys are sorted, those that a correction has put in go to their places.
    pub(super) fn sort_keys(&mut self) {
        if let Body::Json { json, layout: Layout::Yaml | Layout::Protobuf | Layout::Any } = &mut self.body {
            json.sort_keys();
        }
    }

    /// The entries of a list.
    pub(super) fn items(&mut self) -> Option<&mut Vec<Json>> {
        self.json_mut()?.get_mut("items")?.entries_mut()
    }

    /// What an error says.
    pub(super) fn message(&self) -> Option<&str> {
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

/// Which checks of its health there are is each server's own: the lines of those that passed become one, and an index
/// of paths has none of them.
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

/// What an entry of a list is about: an object, the labels of a series, a name.
pub(super) fn identity(entry: &Json) -> Option<String> {
    let text = |path: &[&str]| entry.at(path).and_then(Json::as_text);
    let named = |of: &str, kind: &str| {
        let name = text(&[of, "name"])?;
        let namespace =
            text(&[of, "namespace"]).map_or_else(String::new, |namespace| format!("{namespace}/"));
        Some(format!("{kind}{namespace}{name}"))
    };
    let kind = text(&["describedObject", "kind"]).map_or_else(String::new, |kind| format!("{kind} "));
    named("describedObject", &kind)
        .or_else(|| entry.get("metricLabels").map(Json::to_string))
        .or_else(|| named("metadata", ""))
        .or_else(|| text(&["name"]).map(str::to_owned))
}

pub(super) fn name_of(entry: &Json) -> String {
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
