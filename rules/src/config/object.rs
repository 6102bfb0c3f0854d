//! A rule file inside the Kubernetes object that deploys it: a ConfigMap, or an object with the values of a Helm chart.

use super::decode::{SECTIONS, helm_values};
use super::place::below;
use crate::fault::{Fault, bounded};
use crate::findings::Findings;
use crate::warning::{Lint, Warning};
use crate::yaml::{self, Budget, Node, Value};

/// The object's kind when the root is a Kubernetes object.
pub(super) fn kind(root: &Node) -> Option<&str> {
    scalar(root.field("apiVersion")?)?;
    scalar(root.field("kind")?)
}

/// The one rule file that the object holds, and its path. That it was taken from there is worth a warning.
///
/// # Errors
/// An object with none, or with several.
pub(super) fn rule_file(
    kind: &str,
    object: &Node,
    text: &str,
    budget: &mut Budget,
    findings: &mut Findings,
) -> Result<(String, Node), Fault> {
    let mut places = Vec::new();
    collect(kind, "", object, &mut places);
    let read = places.iter().filter_map(|(path, node)| File::read(path, node, text, budget));
    let mut files: Vec<File> = read.take(SHOWN).collect();
    let file = match files.len() {
        1 => files.swap_remove(0),
        0 => {
            let keys: Vec<&str> = places.iter().map(|(path, _)| path.as_str()).take(SHOWN).collect();
            let looked = if keys.is_empty() {
                String::new()
            } else {
                format!("; there is none of {} in {}", SECTIONS.join(", "), keys.join(", "))
            };
            return Err(fault(
                object,
                format!("expected a rule file, or an object that holds one, found a {kind}{looked}"),
            ));
        }
        _ => {
            let paths: Vec<&str> = files.iter().map(|file| file.path.as_str()).collect();
            return Err(fault(
                object,
                format!(
                    "expected one rule file, found a {kind} with several: {}; write one of them to a file of its own",
                    paths.join(", ")
                ),
            ));
        }
    };
    let lines = if file.is_placed { "" } else { "; lines and columns are those of its text" };
    let read = fault(object, format!("this is a {kind}; its {} is read as the rule file{lines}", file.path));
    findings.warnings.push(Warning::new(Lint::KubernetesObject, read));
    findings.append(file.findings);
    Ok((file.path, file.root?))
}

/// Where an object of a kind may hold rules.
fn collect<'n>(kind: &str, path: &str, object: &'n Node, places: &mut Vec<(String, &'n Node)>) {
    let mut add = |fields: &[&str]| {
        let node = fields.iter().try_fold(object, |node, field| node.field(field));
        places.extend(node.map(|node| (below(path, &fields.join(".")), node)));
    };
    match kind {
        "ConfigMap" => {
            if let Some(Node { value: Value::Mapping(data), .. }) = object.field("data") {
                places.extend(
                    data.iter().map(|(key, node)| (below(path, &format!("data.{}", key.text)), node)),
                );
            }
        }
        "HelmRelease" => add(&["spec", "values"]),
        "HelmChart" | "HelmChartConfig" => add(&["spec", "valuesContent"]),
        "Application" => {
            add(&["spec", "source", "helm", "values"]);
            add(&["spec", "source", "helm", "valuesObject"]);
        }
        "List" | "ConfigMapList" => {
            let Some(Node { value: Value::Sequence(items), .. }) = object.field("items") else { return };
            for (index, item) in items.iter().enumerate() {
                let kind = item.field("kind").and_then(scalar).unwrap_or("ConfigMap");
                if !matches!(kind, "List" | "ConfigMapList") {
                    collect(kind, &below(path, &format!("items[{index}]")), item, places);
                }
            }
        }
        _ => {}
    }
}

/// What an object holds that is a rule file, or was meant to be one.
struct File {
    path: String,
    root: Result<Node, Fault>,
    findings: Findings,
    /// Whether its nodes have their places in the whole text.
    is_placed: bool,
}

impl File {
    fn read(path: &str, node: &Node, text: &str, budget: &mut Budget) -> Option<File> {
        let mut file = File {
            path: path.to_owned(),
            root: Ok(node.clone()),
            findings: Findings::default(),
            is_placed: true,
        };
        let inner = scalar(node);
        if let Some(inner) = inner {
            file.root = yaml::parse(inner, budget, &mut file.findings);
        }
        let is_meant = |inner: &str| MARKS.iter().any(|mark| inner.contains(mark));
        let is_one = match &file.root {
            Ok(root) => is_rule_file(root),
            Err(_) => inner.is_some_and(is_meant),
        };
        if let Some(inner) = inner.filter(|_| is_one) {
            match Shift::find(text, node, inner) {
                Some(shift) => file.shift(shift),
                None => file.is_placed = false,
            }
        }
        is_one.then_some(file)
    }

    fn shift(&mut self, by: Shift) {
        match &mut self.root {
            Ok(root) => by.node(root),
            Err(fault) => by.fault(fault),
        }
        let Findings { faults, warnings, allows } = &mut self.findings;
        let of_warnings = warnings.iter_mut().map(|warning| &mut warning.fault);
        faults.iter_mut().chain(of_warnings).for_each(|fault| by.fault(fault));
        for allow in allows {
            allow.line += by.lines;
        }
    }
}

/// How far a text inside another is from its beginning, for a text whose lines all stand there as they are: a block
/// scalar.
#[derive(Clone, Copy)]
struct Shift {
    lines: usize,
    columns: usize,
}

impl Shift {
    fn find(text: &str, node: &Node, inner: &str) -> Option<Shift> {
        let first = inner.lines().find(|line| !line.trim().is_empty())?;
        // The text begins where the node does, or in the line after the one with the `|`.
        [node.line - 1, node.line].into_iter().find_map(|lines| {
            let outer = |index: usize| text.lines().skip(lines).nth(index);
            let place = inner.lines().position(|line| line == first)?;
            let columns = outer(place)?.strip_suffix(first)?;
            let indent = |(outer, inner): (&str, &str)| {
                outer.strip_prefix(columns) == Some(inner) || (outer.trim().is_empty() && inner.is_empty())
            };
            let is_same = columns.chars().all(|c| c == ' ')
                && text.lines().skip(lines).zip(inner.lines()).all(indent)
                && text.lines().skip(lines).count() >= inner.lines().count();
            is_same.then_some(Shift { lines, columns: columns.len() })
        })
    }

    fn node(self, node: &mut Node) {
        self.place(&mut node.line, &mut node.column);
        node.last_line += self.lines;
        match &mut node.value {
            Value::Null | Value::Scalar { .. } => {}
            Value::Sequence(items) => items.iter_mut().for_each(|item| self.node(item)),
            Value::Mapping(entries) => entries.iter_mut().for_each(|(key, node)| {
                self.place(&mut key.line, &mut key.column);
                self.node(node);
            }),
        }
    }

    fn fault(self, fault: &mut Fault) {
        self.place(&mut fault.line, &mut fault.column);
    }

    fn place(self, line: &mut usize, column: &mut usize) {
        *line += self.lines;
        *column += self.columns;
    }
}

fn is_rule_file(root: &Node) -> bool {
    SECTIONS.iter().any(|section| root.field(section).is_some()) || helm_values(root).is_some()
}

fn scalar(node: &Node) -> Option<&str> {
    match &node.value {
        Value::Scalar { text, .. } => Some(text),
        _ => None,
    }
}

fn fault(object: &Node, message: String) -> Fault {
    Fault {
        path: String::new(),
        line: object.line,
        column: object.column,
        width: object.width,
        message: bounded(message),
    }
}

/// Text that is not YAML and has one of these was meant to be a rule file.
const MARKS: [&str; 4] = ["rules:", "externalRules:", "resourceRules:", "seriesQuery"];
const SHOWN: usize = 5;
