//! A backslash and what it makes of the characters after it.

use super::fault::Fault;

/// A class that holds no character.
pub(super) const NOTHING: &str = r"[^\x{0}-\x{10FFFF}]";
/// A class that holds every character.
pub(super) const ANYTHING: &str = r"[\x{0}-\x{10FFFF}]";

/// One character of a pattern, or a half of a UTF-16 pair.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Character<'p> {
    pub(super) code: u32,
    /// How the pattern writes it.
    pub(super) source: &'p str,
}

impl<'p> Character<'p> {
    /// The character that a text starts with, escaped or not; the text is not empty.
    pub(super) fn read(text: &'p str) -> Result<Character<'p>, Fault> {
        let mut characters = text.chars();
        match characters.next() {
            Some('\\') => escaped(text),
            Some(c) => Ok(Character { code: u32::from(c), source: &text[..c.len_utf8()] }),
            None => Err(Fault::new(0, "expected a character, found the end")),
        }
    }

    /// Halves of UTF-16 pairs alone: Go, which finds them in no text either, now and then takes U+FFFD for one.
    pub(super) fn refused(self) -> Fault {
        Fault::new(0, format!("expected a character, found a half of a UTF-16 pair, {:?}", self.source))
    }

    /// As the regex crate reads it, in a class and outside of one; `None` for a half of a UTF-16 pair.
    pub(super) fn written(self) -> Option<String> {
        let c = char::from_u32(self.code)?;
        if self.source.starts_with('\\') && reads_alike(&self.source[1..]) {
            return Some(self.source.to_owned());
        }
        Some(match c {
            '<' | '>' | '_' => c.to_string(),
            c if c.is_ascii_punctuation() => format!("\\{c}"),
            c if c.is_control() => format!(r"\x{{{:X}}}", self.code),
            c => c.to_string(),
        })
    }
}

/// The inside of the class of `\d`, `\s` or `\w`, or of its opposite.
pub(super) fn perl_class(letter: char) -> Option<&'static str> {
    Some(match letter.to_ascii_lowercase() {
        'd' => "0-9",
        // Without the vertical tab.
        's' => r"\t\n\f\r ",
        'w' => "0-9A-Za-z_",
        _ => return None,
    })
}

/// Whether the regex crate takes what stands after a backslash for the same character.
fn reads_alike(escaped: &str) -> bool {
    match escaped.as_bytes()[0] {
        b'a' | b'f' | b'n' | b'r' | b't' | b'v' | b'x' => true,
        // The starts and ends of words.
        b'<' | b'>' => false,
        other => other.is_ascii() && !other.is_ascii_alphanumeric(),
    }
}

fn escaped(text: &str) -> Result<Character<'_>, Fault> {
    let behind = &text[1..];
    let Some(first) = behind.chars().next() else {
        return Err(Fault::new(0, "expected a character after the backslash, found the end"));
    };
    let found = match first {
        '0'..='7' => octal(behind),
        'x' => hexadecimal(&behind[1..]).map(|(code, length)| (code, length + 1)),
        'a' => Some((0x07, 1)),
        'f' => Some((0x0c, 1)),
        'n' => Some((0x0a, 1)),
        'r' => Some((0x0d, 1)),
        't' => Some((0x09, 1)),
        'v' => Some((0x0b, 1)),
        c if c.is_ascii() && !c.is_ascii_alphanumeric() => Some((u32::from(c), 1)),
        _ => None,
    };
    let Some((code, length)) = found else {
        let shown: String = text.chars().take(if first == 'x' { 12 } else { 2 }).collect();
        return Err(Fault::new(0, format!("unknown escape sequence {shown:?}")));
    };
    Ok(Character { code, source: &text[..=length] })
}

/// Up to three digits. One alone, but for zero, would be a reference to a group, which RE2 lacks.
fn octal(text: &str) -> Option<(u32, usize)> {
    let length = text.bytes().take(3).take_while(|byte| (b'0'..=b'7').contains(byte)).count();
    if length == 1 && !text.starts_with('0') {
        return None;
    }
    Some((u32::from_str_radix(&text[..length], 8).ok()?, length))
}

/// Two digits, or any number of them in braces.
fn hexadecimal(text: &str) -> Option<(u32, usize)> {
    let (digits, length) = match text.strip_prefix('{') {
        Some(inner) => {
            let end = inner.find('}')?;
            (&inner[..end], end + 2)
        }
        None => (text.get(..2)?, 2),
    };
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    let code = u32::from_str_radix(digits, 16).ok()?;
    (code <= u32::from(char::MAX)).then_some((code, length))
}
