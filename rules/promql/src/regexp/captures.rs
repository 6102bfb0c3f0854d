//! The groups of an expression, and what they match.

use std::collections::HashMap;
use std::sync::Arc;

use super::expand::{Piece, Reference, number, pieces};

/// The capture groups of an expression. Go takes names that the regex crate refuses, and one name for several groups.
#[derive(Debug)]
pub(super) struct Groups {
    /// Without the whole match.
    pub(super) count: usize,
    pub(super) by_name: HashMap<String, Vec<usize>>,
}

/// The first match of an expression in a text.
#[derive(Debug)]
pub struct Captures<'t> {
    pub(super) captures: regex::Captures<'t>,
    pub(super) groups: Arc<Groups>,
}

impl<'t> Captures<'t> {
    /// What a group matched, 0 being the whole; `None` for a group that did not take part, or that there is not.
    pub fn get(&self, group: usize) -> Option<&'t str> {
        self.captures.get(group).map(|found| found.as_str())
    }

    /// What the first group of a name that took part matched.
    pub fn name(&self, name: &str) -> Option<&'t str> {
        self.groups.by_name.get(name)?.iter().find_map(|group| self.get(*group))
    }

    /// A template with its `$1`, `${name}` and `$$` replaced, as Go's `Regexp.Expand` does it.
    pub fn expand(&self, template: &str) -> String {
        expand(template, self)
    }
}

/// A group that does not exist, or took no part, is empty.
fn expand(template: &str, captures: &Captures<'_>) -> String {
    pieces(template)
        .map(|piece| match piece {
            Piece::Text(text) => text,
            Piece::Reference(Reference { name, .. }) => match number(name) {
                Some(number) => captures.get(number).unwrap_or_default(),
                None => captures.name(name).unwrap_or_default(),
            },
        })
        .collect()
}
