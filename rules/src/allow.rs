//! Comments that allow lints: `# adapter-lint: allow NAME, NAME -- why`.
//!
//! At the end of a line a comment is for the rule of that line. In a line of its own it is for what stands below it: a
//! rule, all rules of a section above the section's key, the whole file above everything.

use std::collections::BTreeMap;

use crate::fault::{Fault, bounded, suggestion};
use crate::warning::{Lint, Warning};

/// A comment that allows lints.
#[derive(Debug)]
pub(crate) struct Allow {
    pub(crate) lints: Vec<Lint>,
    /// The line that it is about. For a comment in a line of its own it is the comment's until [`aim`] is done.
    pub(crate) line: usize,
    pub(crate) has_own_line: bool,
    /// Whether it stands above everything.
    pub(crate) is_first: bool,
}

/// The lines of a part of a file, by its path: `rules[3]`, or `rules`.
#[derive(Debug)]
pub(crate) struct Extent {
    pub(crate) path: String,
    pub(crate) first_line: usize,
    pub(crate) last_line: usize,
}

impl Allow {
    /// Reads what a comment says after its `#`; `None` when it is about something else.
    ///
    /// # Errors
    /// A comment for the lints that does not allow any.
    pub(crate) fn read(
        comment: &str,
        (line, column): (usize, usize),
        has_own_line: bool,
    ) -> Option<Result<Allow, Warning>> {
        let text = comment.trim().strip_prefix(MARK)?;
        Some(lints(text).map(|lints| Allow { lints, line, has_own_line, is_first: false }).map_err(
            |message| {
                let width = comment.chars().count() + 1;
                Warning::new(
                    Lint::UnknownLint,
                    Fault { path: String::new(), line, column, width, message: bounded(message) },
                )
            },
        ))
    }

    fn covers(&self, warning: &Warning, extents: &[Extent]) -> bool {
        if !self.lints.contains(&warning.lint) {
            return false;
        }
        let within = |extent: &&Extent| (extent.first_line..=extent.last_line).contains(&self.line);
        self.is_first
            || warning.fault.line == self.line
            // Rules stand before the section that they are of.
            || extents.iter().find(within).is_some_and(|extent| is_below(&warning.fault.path, &extent.path))
    }
}

fn lints(text: &str) -> Result<Vec<Lint>, String> {
    let form = "expected `adapter-lint: allow NAME`";
    let text = text.trim();
    let names = text.strip_prefix("allow").filter(|names| names.starts_with([' ', '\t']));
    let names = names.ok_or_else(|| format!("{form}, found {text:?}"))?;
    let names = names.split_once(REASON).map_or(names, |(names, _)| names);
    names
        .split(',')
        .map(|name| {
            let name = name.trim();
            Lint::by_name(name).ok_or_else(|| {
                let hint = suggestion(name, Lint::ALL.iter().map(|lint| lint.name()));
                format!("{form}, found no lint of the name {name:?}{hint}")
            })
        })
        .collect()
}

/// Aims comments in lines of their own at the next line that is neither blank nor a comment.
pub(crate) fn aim(allows: &mut [Allow], text: &str) {
    if !allows.iter().any(|allow| allow.has_own_line) {
        return;
    }
    let is_data = |line: &str| {
        let line = line.trim();
        !line.is_empty() && !line.starts_with('#') && line != "---"
    };
    let mut next = BTreeMap::new();
    let lines: Vec<&str> = text.lines().collect();
    let mut below = lines.len();
    for (index, line) in lines.iter().enumerate().rev() {
        if is_data(line) {
            below = index + 1;
        } else {
            next.insert(index + 1, below);
        }
    }
    let first = lines.iter().position(|line| is_data(line)).map_or(0, |index| index + 1);
    for allow in allows.iter_mut().filter(|allow| allow.has_own_line) {
        allow.line = next.get(&allow.line).copied().unwrap_or(allow.line);
        allow.is_first = allow.line == first;
    }
}

/// Leaves out the warnings that comments allow.
pub(crate) fn apply(allows: &[Allow], extents: &[Extent], warnings: &mut Vec<Warning>) {
    warnings.retain(|warning| !allows.iter().any(|allow| allow.covers(warning, extents)));
}

fn is_below(path: &str, parent: &str) -> bool {
    path.strip_prefix(parent).is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
}

const MARK: &str = "adapter-lint:";
/// What stands between the names and the reason.
const REASON: &str = " --";
