//! Texts of an answer, read as Go reads them: what is not Unicode becomes U+FFFD. Many of those that are kept are
//! equal, and those are shared.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use serde::de::{DeserializeSeed, Deserializer, Visitor};

/// Reads a text and makes of it what the function says: a new one, or an equal one that is there already.
pub(super) struct Text<F>(pub(super) F);

impl<'de, T, F: FnOnce(&str) -> T> DeserializeSeed<'de> for Text<F> {
    type Value = T;

    /// As bytes: `serde_json` then takes what is not UTF-8 and lone surrogates.
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<T, D::Error> {
        deserializer.deserialize_bytes(self)
    }
}

impl<T, F: FnOnce(&str) -> T> Visitor<'_> for Text<F> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string")
    }

    fn visit_bytes<E>(self, text: &[u8]) -> Result<T, E> {
        Ok((self.0)(&repaired(text)))
    }

    fn visit_str<E>(self, text: &str) -> Result<T, E> {
        Ok((self.0)(text))
    }
}

/// A text, shared with one that may be equal.
pub(super) fn like(before: Option<&Arc<str>>, text: &str) -> Arc<str> {
    match before {
        Some(before) if **before == *text => Arc::clone(before),
        _ => Arc::from(text),
    }
}

/// As `encoding/json` repairs texts: each byte that is not UTF-8, and each lone surrogate, is one U+FFFD.
pub(super) fn repaired(text: &[u8]) -> Cow<'_, str> {
    let mut error = match str::from_utf8(text) {
        Ok(text) => return Cow::Borrowed(text),
        Err(error) => error,
    };
    let (mut repaired, mut rest) = (String::with_capacity(text.len()), text);
    loop {
        let (valid, broken) = rest.split_at(error.valid_up_to());
        repaired.extend(str::from_utf8(valid));
        repaired.push(char::REPLACEMENT_CHARACTER);
        rest = &broken[if surrogate(broken) { 3 } else { 1 }..];
        match str::from_utf8(rest) {
            Ok(valid) => break Cow::Owned(repaired + valid),
            Err(next) => error = next,
        }
    }
}

/// Whether bytes begin with a surrogate in what would be its UTF-8: so a lone `\ud800` arrives here.
fn surrogate(bytes: &[u8]) -> bool {
    matches!(bytes, [0xED, 0xA0..=0xBF, 0x80..=0xBF, ..])
}

/// What somebody else says, for a log line or an error: one line without control characters, of bounded length.
pub(super) fn line(text: &str) -> String {
    let text: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(LONGEST * 4).collect();
    let mut line = String::new();
    for word in text.split_whitespace() {
        if !line.is_empty() {
            line.push(' ');
        }
        line.push_str(word);
    }
    if let Some((end, _)) = line.char_indices().nth(LONGEST) {
        line.truncate(end);
        line.push_str("...");
    }
    line
}

const LONGEST: usize = 300;

#[cfg(test)]
mod tests {
    use testkit::rows::each_row;

    use super::*;

    #[test]
    fn what_is_not_unicode_becomes_replacement_characters() {
        let rows = [
            (&b"plain"[..], "plain"),
            (b"caf\xe9", "caf\u{fffd}"),
            (b"\xff\xfea", "\u{fffd}\u{fffd}a"),
            (b"cut \xe2\x82", "cut \u{fffd}\u{fffd}"),
            (b"\xed\xa0\x80\xed\xbf\xbf!", "\u{fffd}\u{fffd}!"),
            (b"\xed\xa0", "\u{fffd}\u{fffd}"),
            ("\u{20ac}".as_bytes(), "\u{20ac}"),
        ];
        each_row(rows, |(bytes, text)| {
            assert_eq!(repaired(bytes), text, "{bytes:?}");
        });
    }

    #[test]
    fn a_line_is_short_and_has_no_control_characters() {
        assert_eq!(line("  two\r\n\twords\u{1b}[31m \u{0} "), "two words [31m");
        assert_eq!(line(&"x".repeat(301)), format!("{}...", "x".repeat(300)));
        assert_eq!(line(&"\u{20ac}".repeat(300)), "\u{20ac}".repeat(300));
    }
}
