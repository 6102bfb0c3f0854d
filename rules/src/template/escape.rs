//! `html`, `js` and `urlquery`, and Go's quotes for `printf`.

use std::borrow::Cow;
use std::sync::LazyLock;

use regex::Regex;

use super::format::{self, Buffer};
use super::value::Value;

pub(super) fn html(arguments: &[Value<'_>], made: &mut Buffer) {
    let text = joined(arguments, made);
    escape_bytes(&text, made, |byte| {
        Some(match byte {
            0 => "\u{fffd}".into(),
            b'"' => "&#34;".into(),
            b'\'' => "&#39;".into(),
            b'&' => "&amp;".into(),
            b'<' => "&lt;".into(),
            b'>' => "&gt;".into(),
            _ => return None,
        })
    });
}

pub(super) fn js(arguments: &[Value<'_>], made: &mut Buffer) {
    let text = joined(arguments, made);
    for (c, bytes) in characters(&text) {
        match c {
            '\\' => made.push(b"\\\\"),
            '\'' => made.push(b"\\'"),
            '"' => made.push(b"\\\""),
            '<' | '>' | '&' | '=' | '\0'..'\u{20}' => {
                made.push(format!("\\u{:04X}", u32::from(c)).as_bytes());
            }
            c if c.is_ascii() || is_printable(c) => made.push(bytes),
            c => made.push(format!("\\u{:04X}", u32::from(c)).as_bytes()),
        }
    }
}

pub(super) fn url_query(arguments: &[Value<'_>], made: &mut Buffer) {
    let text = joined(arguments, made);
    escape_bytes(&text, made, |byte| match byte {
        b' ' => Some("+".into()),
        byte if byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte) => None,
        byte => Some(format!("%{byte:02X}").into()),
    });
}

/// Writes a text with an escape in place of each byte that has one.
fn escape_bytes(text: &[u8], made: &mut Buffer, escape: impl Fn(u8) -> Option<Cow<'static, str>>) {
    let mut written = 0;
    for (place, byte) in text.iter().enumerate() {
        if let Some(escaped) = escape(*byte) {
            made.push(&text[written..place]);
            made.push(escaped.as_bytes());
            written = place + 1;
        }
    }
    made.push(&text[written..]);
}

/// What `print` makes of values, where nil is `<no value>`.
fn joined(arguments: &[Value<'_>], made: &Buffer) -> Vec<u8> {
    let mut text = Buffer::new(made.room());
    let named = |value: &Value<'_>| matches!(value, Value::Nil);
    if arguments.iter().any(named) {
        let no_value = Value::text(format::NO_VALUE);
        let shown: Vec<&Value<'_>> =
            arguments.iter().map(|value| if named(value) { &no_value } else { value }).collect();
        format::print(shown, &mut text);
    } else {
        format::print(arguments, &mut text);
    }
    text.into_bytes()
}

/// The characters of a string with their bytes; a byte that is not UTF-8 is U+FFFD.
pub(super) fn characters(text: &[u8]) -> impl Iterator<Item = (char, &[u8])> {
    text.utf8_chunks().flat_map(|chunk| {
        let valid = chunk.valid();
        let characters =
            valid.char_indices().map(move |(start, c)| (c, &valid.as_bytes()[start..start + c.len_utf8()]));
        characters.chain(chunk.invalid().chunks(1).map(|byte| (char::REPLACEMENT_CHARACTER, byte)))
    })
}

/// A string in double quotes, as Go writes it.
pub(super) fn quoted(text: &[u8], ascii: bool) -> Vec<u8> {
    let mut quoted = vec![b'"'];
    for (c, bytes) in characters(text) {
        match bytes {
            [byte] if !byte.is_ascii() => quoted.extend(format!("\\x{byte:02x}").bytes()),
            _ => quoted.extend(escaped(c, '"', ascii).bytes()),
        }
    }
    quoted.push(b'"');
    quoted
}

/// A character in single quotes, as Go writes it.
pub(super) fn quoted_character(c: char, ascii: bool) -> String {
    format!("'{}'", escaped(c, '\'', ascii))
}

fn escaped(c: char, quote: char, ascii: bool) -> String {
    match c {
        '\u{7}' => "\\a".to_owned(),
        '\u{8}' => "\\b".to_owned(),
        '\u{c}' => "\\f".to_owned(),
        '\n' => "\\n".to_owned(),
        '\r' => "\\r".to_owned(),
        '\t' => "\\t".to_owned(),
        '\u{b}' => "\\v".to_owned(),
        '\\' => "\\\\".to_owned(),
        c if c == quote => format!("\\{c}"),
        c if is_printable(c) && (c.is_ascii() || !ascii) => c.to_string(),
        c if c < ' ' || c == '\u{7f}' => format!("\\x{:02x}", u32::from(c)),
        c if u32::from(c) < 0x10000 => format!("\\u{:04x}", u32::from(c)),
        c => format!("\\U{:08x}", u32::from(c)),
    }
}

/// Whether a string can stand between backquotes on one line.
pub(super) fn can_be_raw(text: &[u8]) -> bool {
    std::str::from_utf8(text).is_ok_and(|text| {
        text.chars().all(|c| c != '\u{feff}' && c != '`' && c != '\u{7f}' && (c >= ' ' || c == '\t'))
    })
}

/// Letters, marks, numbers, punctuation, symbols, and of spaces only the one of ASCII.
pub(super) fn is_printable(c: char) -> bool {
    static BEYOND_ASCII: LazyLock<Regex> =
        LazyLock::new(|| Regex::new(r"^[\p{L}\p{M}\p{N}\p{P}\p{S}]$").expect("a valid expression"));
    if c.is_ascii() { (' '..='~').contains(&c) } else { BEYOND_ASCII.is_match(c.encode_utf8(&mut [0; 4])) }
}
