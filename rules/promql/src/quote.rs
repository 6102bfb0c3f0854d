//! Quoted strings. Quotes take the escapes of Go; backticks take none.

use crate::error::Fault;

/// Where the string ends that starts at `start` with `mark`, closing mark included.
pub(crate) fn scan(text: &str, start: usize, mark: char) -> Result<usize, Fault> {
    let mut characters =
        text[start + 1..].char_indices().map(|(offset, character)| (start + 1 + offset, character));
    while let Some((at, character)) = characters.next() {
        match character {
            _ if character == mark => return Ok(at + 1),
            // Prometheus takes it for a broken encoding.
            char::REPLACEMENT_CHARACTER => return Err(Fault::invalid(at, "expected UTF-8, found U+FFFD")),
            '\n' if mark != '`' => break,
            '\\' if mark != '`' => {
                let escaped = characters.next().map(|(_, escaped)| escaped);
                let size = match escaped {
                    None => break,
                    Some('a' | 'b' | 'f' | 'n' | 'r' | 't' | 'v' | '\\') => 0,
                    Some(escaped) if escaped == mark => 0,
                    Some('0'..='7' | 'x') => 2,
                    Some('u') => 4,
                    Some('U') => 8,
                    Some(other) => {
                        return Err(Fault::invalid(at, format!("unknown escape sequence {other:?}")));
                    }
                };
                let digits = text.get(at + 2..at + 2 + size).unwrap_or_default();
                if escape_value(escaped, digits).is_none() && size > 0 {
                    return Err(Fault::invalid(at, format!("expected an escape sequence of {size} digits")));
                }
                for _ in 0..size {
                    characters.next();
                }
            }
            _ => {}
        }
    }
    Err(Fault::invalid(start, "unterminated string"))
}

/// One character, or one byte of a character, by the digits of an escape.
enum Escape {
    Byte(u8),
    Character(char),
}

fn escape_value(escaped: Option<char>, digits: &str) -> Option<Escape> {
    let escaped = escaped?;
    let digits = Some(digits).filter(|digits| digits.bytes().all(|digit| digit.is_ascii_hexdigit()))?;
    match escaped {
        '0'..='7' if digits.len() == 2 => {
            let value = u32::from_str_radix(&format!("{escaped}{digits}"), 8).ok()?;
            u8::try_from(value).ok().map(Escape::Byte)
        }
        'x' => u8::from_str_radix(digits, 16).ok().map(Escape::Byte),
        'u' | 'U' => char::from_u32(u32::from_str_radix(digits, 16).ok()?).map(Escape::Character),
        _ => None,
    }
}

/// The value of a string that [`scan`] took, and its bytes if they are not UTF-8: `"\xff"`.
pub(crate) fn unquote(quoted: &str) -> Result<String, Vec<u8>> {
    let (mark, inner) = (&quoted[..1], &quoted[1..quoted.len() - 1]);
    if mark == "`" || !inner.contains('\\') {
        return Ok(inner.to_owned());
    }
    let mut value = Vec::with_capacity(inner.len());
    let mut rest = inner;
    while let Some(escape) = rest.find('\\') {
        value.extend_from_slice(&rest.as_bytes()[..escape]);
        let escaped = rest[escape + 1..].chars().next();
        let size = match escaped {
            Some('0'..='7' | 'x') => 2,
            Some('u') => 4,
            Some('U') => 8,
            _ => 0,
        };
        // A mark or a letter is one byte.
        let digits = escape + 2..escape + 2 + size;
        match escape_value(escaped, &rest[digits.clone()]) {
            Some(Escape::Byte(byte)) => value.push(byte),
            Some(Escape::Character(character)) => {
                value.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
            }
            None => value.push(match escaped {
                Some('a') => 0x07,
                Some('b') => 0x08,
                Some('f') => 0x0c,
                Some('n') => b'\n',
                Some('r') => b'\r',
                Some('t') => b'\t',
                Some('v') => 0x0b,
                other => other.map_or(b'\\', |mark| mark as u8),
            }),
        }
        rest = &rest[digits.end..];
    }
    value.extend_from_slice(rest.as_bytes());
    String::from_utf8(value).map_err(std::string::FromUtf8Error::into_bytes)
}
