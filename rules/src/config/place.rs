//! Places in a rule file.

use crate::fault::{Fault, bounded};

/// A value and its place, so that a later check can name it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Placed<T> {
    pub(crate) value: T,
    pub(crate) place: Place,
}

/// A place in a rule file.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Place {
    pub(crate) path: String,
    pub(crate) line: usize,
    pub(crate) column: usize,
    pub(crate) width: usize,
}

impl Default for Placed<String> {
    fn default() -> Self {
        Placed { value: String::new(), place: Place::default() }
    }
}

impl Place {
    pub(crate) fn fault(&self, message: impl Into<String>) -> Fault {
        Fault {
            path: self.path.clone(),
            line: self.line,
            column: self.column,
            width: self.width,
            message: bounded(message.into()),
        }
    }
}

/// The path of a field of what is at `path`. It is repeated for everything below the field, so a long name is cut.
pub(super) fn below(path: &str, field: &str) -> String {
    let field = match field.char_indices().nth(LONGEST_FIELD) {
        Some((end, _)) => &format!("{}…", &field[..end]),
        None => field,
    };
    if path.is_empty() { field.to_owned() } else { format!("{path}.{field}") }
}

/// In characters; the longest name of anything in Kubernetes.
const LONGEST_FIELD: usize = 253;
