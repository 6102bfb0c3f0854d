//! Texts that callers, targets or Prometheus choose, on one line and of a bounded length.

use std::borrow::Cow;
use std::fmt::Write as _;

/// A text that callers choose, short enough for a log line and without anything that ends one.
pub(super) fn bounded(text: &str, longest: usize) -> Cow<'_, str> {
    let end = text.char_indices().nth(longest).map(|(end, _)| end);
    let shown = &text[..end.unwrap_or(text.len())];
    if end.is_none() && !shown.contains(char::is_control) {
        return Cow::Borrowed(text);
    }
    let mut line = String::with_capacity(shown.len());
    for c in shown.chars() {
        if c.is_control() { line.extend(c.escape_default()) } else { line.push(c) }
    }
    if end.is_some() {
        let _ = write!(line, "... ({} bytes)", text.len());
    }
    Cow::Owned(line)
}

/// The longest request, name or label that is shown, in characters.
pub(super) const LONGEST_ASKED: usize = 512;
/// The longest reason.
pub(super) const LONGEST_WHY: usize = 1024;
/// The longest query.
pub(super) const LONGEST_QUERY: usize = 4096;
