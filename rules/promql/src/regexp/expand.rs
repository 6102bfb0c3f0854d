//! The templates of Go's `Regexp.Expand`.

use std::sync::LazyLock;

use regex::Regex;

/// A group that a template asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reference<'t> {
    /// As written: `$name` or `${name}`.
    pub text: &'t str,
    /// The name, or the number.
    pub name: &'t str,
}

pub(super) enum Piece<'t> {
    Text(&'t str),
    Reference(Reference<'t>),
}

/// The groups that a template for [`Captures::expand`](super::Captures::expand) asks for.
pub fn references(template: &str) -> impl Iterator<Item = Reference<'_>> {
    pieces(template).filter_map(|piece| match piece {
        Piece::Reference(reference) => Some(reference),
        Piece::Text(_) => None,
    })
}

/// The longest run of word characters after `$` is the group's name, so `$1_$2` asks for a group called `1_`. `$$`
/// is one `$`, and any other `$` stands for itself.
pub(super) fn pieces(template: &str) -> impl Iterator<Item = Piece<'_>> {
    let mut rest = template;
    std::iter::from_fn(move || {
        let (piece, after) = match rest.find('$') {
            _ if rest.is_empty() => return None,
            Some(0) => match reference(&rest[1..]) {
                Some((name, after)) => {
                    let text = &rest[..rest.len() - after.len()];
                    (Piece::Reference(Reference { text, name }), after)
                }
                None => (Piece::Text("$"), rest[1..].strip_prefix('$').unwrap_or(&rest[1..])),
            },
            Some(dollar) => (Piece::Text(&rest[..dollar]), &rest[dollar..]),
            None => (Piece::Text(rest), ""),
        };
        rest = after;
        Some(piece)
    })
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
pub(super) fn number(name: &str) -> Option<usize> {
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
