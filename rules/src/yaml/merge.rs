//! Merge keys of YAML 1.1: `<<: *base` or `<<: [*base, *other]` brings in what the mapping does not set itself.

use std::collections::HashSet;

use super::{Key, Node, Value};
use crate::fault::{Fault, bounded};
use crate::warning::{Lint, Warning};

/// The entries of a mapping while it is read.
#[derive(Default)]
pub(super) struct Merge {
    parts: Vec<Part>,
}

enum Part {
    Own(Key, Node),
    /// What one merge key brings in: the entries of a mapping, or of each mapping of a list, the preferred first.
    Merged(Vec<(Key, Node)>),
}

impl Merge {
    /// An entry of the mapping itself. Its key must not be there yet.
    pub(super) fn own(&mut self, key: Key, node: Node) {
        self.parts.push(Part::Own(key, node));
    }

    /// The value of a merge key.
    pub(super) fn add(&mut self, value: Node) -> Result<(), Fault> {
        let merged = match value {
            Node { value: Value::Mapping(entries), .. } => entries,
            Node { value: Value::Sequence(items), .. } => {
                let mappings: Result<Vec<_>, Fault> = items.into_iter().map(mapping).collect();
                mappings?.into_iter().flatten().collect()
            }
            node => return Err(wrong_kind(&node, "a mapping or a list of mappings")),
        };
        self.parts.push(Part::Merged(merged));
        Ok(())
    }

    /// Every key once, in the order of the file: the mapping's own before merged ones, and of several merge keys the
    /// last one's. Upstream's reader goes by the order of the file alone, so it is worth a warning where that makes a
    /// difference (D60).
    pub(super) fn entries(self, warnings: &mut Vec<Warning>) -> Vec<(Key, Node)> {
        if self.parts.iter().all(|part| matches!(part, Part::Own(..))) {
            return self.parts.into_iter().filter_map(Part::own).collect();
        }
        let mut taken: HashSet<String> = HashSet::new();
        for part in &self.parts {
            if let Part::Own(key, _) = part {
                taken.insert(key.text.clone());
            }
        }
        // From the end, so that the last of several merge keys comes first.
        let mut behind: HashSet<String> = HashSet::new();
        let mut reversed: Vec<Vec<(Key, Node)>> = Vec::new();
        for part in self.parts.into_iter().rev() {
            match part {
                Part::Own(key, node) => {
                    if behind.contains(&key.text) {
                        let fault = Fault {
                            path: String::new(),
                            line: key.line,
                            column: key.column,
                            width: key.text.chars().count(),
                            message: bounded(format!(
                                "the key {:?} is set here and by a merge key after it; it is taken from here, \
                                 prometheus-adapter takes it from there",
                                key.text
                            )),
                        };
                        warnings.push(Warning::new(Lint::MergeOrder, fault));
                    }
                    reversed.push(vec![(key, node)]);
                }
                Part::Merged(entries) => {
                    behind.extend(entries.iter().map(|(key, _)| key.text.clone()));
                    let fresh = entries.into_iter().filter(|(key, _)| taken.insert(key.text.clone()));
                    reversed.push(fresh.collect());
                }
            }
        }
        reversed.into_iter().rev().flatten().collect()
    }
}

impl Part {
    fn own(self) -> Option<(Key, Node)> {
        match self {
            Part::Own(key, node) => Some((key, node)),
            Part::Merged(_) => None,
        }
    }
}

fn mapping(node: Node) -> Result<Vec<(Key, Node)>, Fault> {
    match node.value {
        Value::Mapping(entries) => Ok(entries),
        _ => Err(wrong_kind(&node, "a mapping")),
    }
}

fn wrong_kind(node: &Node, expected: &str) -> Fault {
    Fault {
        path: String::new(),
        line: node.line,
        column: node.column,
        width: node.width,
        message: format!("expected {expected} to merge, found {}", node.describe()),
    }
}
