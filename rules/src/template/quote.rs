//! Go's quotes around texts and characters.

use std::sync::LazyLock;

use regex::Regex;

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
