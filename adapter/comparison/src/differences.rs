//! Where two answers differ: field by field, items by what they are about.

use std::collections::{BTreeMap, BTreeSet};

use apiservice::quantity::Quantity;
use serde::Serialize;

use crate::context::by_identity;
use crate::json::Json;
use crate::normal::{Body, Normal};

/// One place where two answers differ.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Difference {
    /// The place: `items[Pod default/web-1].value`, or `answer` for one as a whole.
    pub at: String,
    /// What the other answer has there; `None` if it has nothing.
    pub expected: Option<String>,
    /// What ours has there; `None` if it has nothing.
    pub found: Option<String>,
    /// Both as numbers, where they are quantities.
    #[serde(skip)]
    pub numbers: Option<(f64, f64)>,
}

impl Difference {
    /// Whether two quantities differ by no more than a part of the larger one: 0.01 is one percent.
    pub fn is_within(&self, tolerance: f64) -> bool {
        self.numbers.is_some_and(|(expected, found)| {
            (expected - found).abs() <= tolerance * expected.abs().max(found.abs())
        })
    }
}

pub(crate) fn between(expected: &Normal, ours: &Normal) -> Vec<Difference> {
    let mut found = Differences::default();
    match (&expected.body, &ours.body) {
        _ if expected.code != ours.code => {
            found.add("answer", Some(short(expected)), Some(short(ours)), None);
        }
        (Body::Json { json: expected, .. }, Body::Json { json: ours, .. }) => found.walk("", expected, ours),
        (expected_body, our_body) if expected_body != our_body => {
            found.add("answer", Some(short(expected)), Some(short(ours)), None);
        }
        _ => {}
    }
    found.0
}

#[derive(Default)]
struct Differences(Vec<Difference>);

impl Differences {
    fn add(
        &mut self,
        at: &str,
        expected: Option<String>,
        found: Option<String>,
        numbers: Option<(f64, f64)>,
    ) {
        self.0.push(Difference { at: at.to_owned(), expected, found, numbers });
    }

    /// A tree is as deep as `serde_json` reads: 128 at most.
    fn walk(&mut self, at: &str, expected: &Json, ours: &Json) {
        match (expected, ours) {
            (Json::Object(theirs), Json::Object(fields)) => {
                let names: BTreeSet<&String> = theirs.iter().chain(fields).map(|(name, _)| name).collect();
                for name in names {
                    let at = if at.is_empty() { name.clone() } else { format!("{at}.{name}") };
                    self.either(&at, expected.get(name), ours.get(name));
                }
            }
            (Json::List(expected), Json::List(ours)) => self.entries(at, expected, ours),
            _ if expected != ours => {
                let number = |json: &Json| Some(Quantity::parse(json.as_text()?).ok()?.as_f64());
                let numbers = number(expected).zip(number(ours));
                self.add(at, Some(plain(expected)), Some(plain(ours)), numbers);
            }
            _ => {}
        }
    }

    fn entries(&mut self, at: &str, expected: &[Json], ours: &[Json]) {
        let theirs = by_identity(expected);
        let by_ours = by_identity(ours);
        if theirs.len() == expected.len() && by_ours.len() == ours.len() {
            let mut names: BTreeMap<&str, (Option<&Json>, Option<&Json>)> = BTreeMap::new();
            for (name, entry) in &theirs {
                names.entry(name).or_default().0 = Some(entry);
            }
            for (name, entry) in &by_ours {
                names.entry(name).or_default().1 = Some(entry);
            }
            for (name, (expected, ours)) in names {
                self.either(&format!("{at}[{name}]"), expected, ours);
            }
        } else {
            for position in 0..expected.len().max(ours.len()) {
                self.either(&format!("{at}[{position}]"), expected.get(position), ours.get(position));
            }
        }
    }

    fn either(&mut self, at: &str, expected: Option<&Json>, ours: Option<&Json>) {
        match (expected, ours) {
            (Some(expected), Some(ours)) => self.walk(at, expected, ours),
            (expected, ours) => self.add(at, expected.map(entry), ours.map(entry), None),
        }
    }
}

/// An answer in a line: its status and its message, or how much it has.
fn short(answer: &Normal) -> String {
    let what = match (answer.message(), answer.json()) {
        (Some(message), _) => message.to_owned(),
        (None, Some(json)) => {
            let count = |list: &str| json.get(list).map(|list| list.entries().len());
            match (count("items"), count("resources")) {
                (Some(items), _) => format!("{items} items"),
                (None, Some(resources)) => format!("{resources} resources"),
                (None, None) => json.to_string(),
            }
        }
        (None, None) => match &answer.body {
            Body::Text(text) => text.lines().next().unwrap_or_default().to_owned(),
            Body::Json { .. } => String::new(),
        },
    };
    bounded(&format!("{} {what}", answer.code))
}

/// An entry that one answer alone has: its value, if it has one; of discovery, that it is listed.
fn entry(json: &Json) -> String {
    match (json.get("value"), json.get("namespaced")) {
        (Some(value), _) => plain(value),
        (None, Some(_)) => "listed".to_owned(),
        (None, None) => plain(json),
    }
}

fn plain(json: &Json) -> String {
    bounded(&json.as_text().map_or_else(|| json.to_string(), str::to_owned))
}

fn bounded(text: &str) -> String {
    match text.char_indices().nth(LONGEST_TEXT) {
        Some((end, _)) => format!("{}...", &text[..end]),
        None => text.to_owned(),
    }
}

/// In characters.
const LONGEST_TEXT: usize = 300;
