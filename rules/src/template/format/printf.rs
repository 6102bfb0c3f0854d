//! The verbs of `printf`'s format.

use super::{Buffer, Verb, plain};
use crate::template::number::Flags;
use crate::template::quote;
use crate::template::value::Value;

/// `printf`. A verb that does not fit its operand leaves a note in the text, as in Go.
pub(in crate::template) fn printf(
    format: &[u8],
    values: &[Value<'_>],
    out: &mut Buffer,
) -> Result<(), String> {
    let mut verbs = Verbs { format, values, position: 0, argument: 0, reordered: false };
    while verbs.position < format.len() {
        let rest = &format[verbs.position..];
        let text = rest.iter().position(|byte| *byte == b'%').unwrap_or(rest.len());
        out.push(&rest[..text]);
        verbs.position += text;
        if text == rest.len() || !verbs.verb(out)? {
            break;
        }
    }
    if !verbs.reordered && verbs.argument < values.len() {
        out.push(b"%!(EXTRA ");
        for (place, value) in values[verbs.argument..].iter().enumerate() {
            if place > 0 {
                out.push(b", ");
            }
            typed(value, out);
        }
        out.push(b")");
    }
    Ok(())
}

/// A value with its type, for a note.
fn typed(value: &Value<'_>, out: &mut Buffer) {
    if !matches!(value, Value::Nil) {
        out.push(value.type_name().as_bytes());
        out.push(b"=");
    }
    plain(value, out);
}

struct Verbs<'v, 'a> {
    format: &'v [u8],
    values: &'v [Value<'a>],
    /// In the format.
    position: usize,
    /// The next operand.
    argument: usize,
    /// Whether an operand was chosen by its number.
    reordered: bool,
}

impl Verbs<'_, '_> {
    fn next_is(&self, byte: u8) -> bool {
        self.format.get(self.position) == Some(&byte)
    }

    /// Writes what the verb at the current position stands for; `false` at the end of the format.
    fn verb(&mut self, out: &mut Buffer) -> Result<bool, String> {
        self.position += 1;
        let mut flags = Flags::default();
        while let Some(byte) = self.format.get(self.position) {
            match byte {
                b'#' => flags.sharp = true,
                b'0' => flags.zero = true,
                b'+' => flags.plus = true,
                b'-' => flags.minus = true,
                b' ' => flags.space = true,
                _ => break,
            }
            self.position += 1;
        }
        let mut good = true;
        let mut after_index = self.argument_number(&mut good);
        if self.next_is(b'*') {
            self.position += 1;
            match self.number_of_argument() {
                Some(width) => {
                    flags.minus |= width < 0;
                    flags.zero &= width >= 0;
                    flags.width = Some(width.unsigned_abs() as usize);
                }
                None => out.push(b"%!(BADWIDTH)"),
            }
            after_index = false;
        } else {
            flags.width = self.number();
            good &= !(after_index && flags.width.is_some());
        }
        if self.next_is(b'.') && self.position + 1 < self.format.len() {
            self.position += 1;
            good &= !after_index;
            after_index = self.argument_number(&mut good);
            if self.next_is(b'*') {
                self.position += 1;
                match self.number_of_argument() {
                    Some(precision) if precision >= 0 => flags.precision = Some(precision as usize),
                    _ => out.push(b"%!(BADPREC)"),
                }
                after_index = false;
            } else {
                flags.precision = Some(self.number().unwrap_or(0));
            }
        }
        if !after_index {
            self.argument_number(&mut good);
        }
        let Some((verb, bytes)) = quote::characters(&self.format[self.position..]).next() else {
            out.push(b"%!(NOVERB)");
            return Ok(false);
        };
        self.position += bytes.len();
        let note = |out: &mut Buffer, text: &str| out.push(format!("%!{verb}({text})").as_bytes());
        if verb == '%' {
            out.push(b"%");
        } else if !good {
            note(out, "BADINDEX");
        } else if let Some(value) = self.values.get(self.argument) {
            self.argument += 1;
            if verb == 'p' && matches!(value, Value::List(_) | Value::Map(_)) {
                return Err(
                    "expected a verb other than %p for a list or a map: it prints an address".to_owned()
                );
            }
            Verb::new(verb, flags).argument(value, out);
        } else {
            note(out, "MISSING");
        }
        Ok(true)
    }

    /// Digits. Too large a number is none, and ends the format.
    fn number(&mut self) -> Option<usize> {
        let mut number: Option<usize> = None;
        while let Some(digit) = self.format.get(self.position).filter(|byte| byte.is_ascii_digit()) {
            if number.is_some_and(|number| number > MOST) {
                self.position = self.format.len();
                return None;
            }
            number = Some(number.unwrap_or(0) * 10 + usize::from(digit - b'0'));
            self.position += 1;
        }
        number
    }

    /// The operand for a `*`.
    fn number_of_argument(&mut self) -> Option<i64> {
        let value = self.values.get(self.argument)?;
        self.argument += 1;
        match value {
            Value::Int(number) => Some(*number).filter(|number| number.unsigned_abs() <= MOST as u64),
            Value::Byte(number) => Some(i64::from(*number)),
            _ => None,
        }
    }

    /// `[2]`: the number of the operand to go on with.
    fn argument_number(&mut self, good: &mut bool) -> bool {
        if !self.next_is(b'[') {
            return false;
        }
        self.reordered = true;
        let rest = &self.format[self.position..];
        let Some(end) = rest.iter().position(|byte| *byte == b']').filter(|_| rest.len() >= 3) else {
            self.position += 1;
            *good = false;
            return false;
        };
        let number = parsed(&rest[1..end]);
        self.position += end + 1;
        match number {
            Some(number) if (1..=self.values.len()).contains(&number) => {
                self.argument = number - 1;
                true
            }
            number => {
                *good = false;
                number.is_some()
            }
        }
    }
}

fn parsed(digits: &[u8]) -> Option<usize> {
    let text =
        std::str::from_utf8(digits).ok().filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()))?;
    // More is refused as too large.
    text.parse().ok().filter(|number| number / 10 <= MOST)
}

/// The largest width and precision, as in Go.
const MOST: usize = 1_000_000;
