//! `html`, `js` and `urlquery`: what a text becomes inside other languages.

use std::borrow::Cow;

use super::format::{self, Buffer};
use super::quote::{characters, is_printable};
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
