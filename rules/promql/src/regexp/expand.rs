//! Go's `Regexp.Expand`.

use std::sync::LazyLock;

use regex::Regex;

use super::Captures;

/// The longest run of word characters behind `$` is the group's name, so `$1_$2` asks for a group called `1_`. A group that does
/// not exist, or took no part, is empty. `$$` is one `$`, and any other `$` stands for itself.
pub(super) fn expand(template: &str, captures: &Captures<'_>) -> String {
    let mut out = String::new();
    let mut rest = template;
    while let Some((before, behind)) = rest.split_once('$') {
        out.push_str(before);
        if let Some(after) = behind.strip_prefix('$') {
            out.push('$');
            rest = after;
        } else if let Some((name, after)) = reference(behind) {
            let group = match number(name) {
                Some(number) => captures.get(number),
                None => captures.name(name),
            };
            out.push_str(group.unwrap_or_default());
            rest = after;
        } else {
            out.push('$');
            rest = behind;
        }
    }
    out.push_str(rest);
    out
}

/// `name...` or `{name}...` → the name and what follows.
fn reference(text: &str) -> Option<(&str, &str)> {
    let (braced, text) = match text.strip_prefix('{') {
        Some(inner) => (true, inner),
        None => (false, text),
    };
    let end = text.find(|c: char| !is_word_character(c)).unwrap_or(text.len());
    if end == 0 {
        return None;
    }
    let (name, after) = text.split_at(end);
    if braced { Some((name, after.strip_prefix('}')?)) } else { Some((name, after)) }
}

/// A group's number. Digits with a zero before them, and more than nine digits, are a name.
fn number(name: &str) -> Option<usize> {
    let is_digits = name.len() <= 9 && name.bytes().all(|byte| byte.is_ascii_digit());
    let is_padded = name.len() > 1 && name.starts_with('0');
    if is_digits && !is_padded { name.parse().ok() } else { None }
}

/// Letters and digits of every script. Rust's own notion of letters is another one.
fn is_word_character(c: char) -> bool {
    static WORD_CHARACTER: LazyLock<Regex> =
        LazyLock::new(|| Regex::new(r"^[\p{L}\p{Nd}]$").expect("two classes of Unicode"));
    if c.is_ascii() {
        return c.is_ascii_alphanumeric() || c == '_';
    }
    WORD_CHARACTER.is_match(c.encode_utf8(&mut [0; 4]))
}
