//! Go's `fmt`: how `print`, `printf` and `println` write values.

mod printf;

pub(super) use printf::printf;

use super::number::{self, Flags, Padding, Piece};
use super::quote;
use super::value::Value;

/// Text of a bounded length. What goes beyond is dropped and remembered.
pub(super) struct Buffer {
    bytes: Vec<u8>,
    limit: usize,
    overflowed: bool,
}

impl Buffer {
    pub(super) fn new(limit: usize) -> Buffer {
        Buffer { bytes: Vec::new(), limit, overflowed: false }
    }

    pub(super) fn push(&mut self, text: &[u8]) {
        let fits = text.len() <= self.room();
        self.overflowed |= !fits;
        if fits {
            self.bytes.extend_from_slice(text);
        }
    }

    fn pad(&mut self, byte: u8, count: usize) {
        let fits = count <= self.room();
        self.overflowed |= !fits;
        if fits {
            self.bytes.resize(self.bytes.len() + count, byte);
        }
    }

    pub(super) fn room(&self) -> usize {
        self.limit - self.bytes.len()
    }

    pub(super) fn overflowed(&self) -> bool {
        self.overflowed
    }

    pub(super) fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }
}

/// What an action prints for its value.
pub(super) fn print_value(value: &Value<'_>, out: &mut Buffer) {
    match value {
        Value::Text(text) => out.push(text),
        Value::Nil => out.push(NO_VALUE.as_bytes()),
        value => print([value], out),
    }
}

/// `print`: spaces stand between operands of which none is a string.
pub(super) fn print<'v, 'a: 'v>(values: impl IntoIterator<Item = &'v Value<'a>>, out: &mut Buffer) {
    let mut after_text = true;
    for value in values {
        let is_text = matches!(value, Value::Text(_));
        if !after_text && !is_text {
            out.push(b" ");
        }
        plain(value, out);
        after_text = is_text;
    }
}

/// `println`: a space between any two operands, and a line break.
pub(super) fn println(values: &[Value<'_>], out: &mut Buffer) {
    for (place, value) in values.iter().enumerate() {
        if place > 0 {
            out.push(b" ");
        }
        plain(value, out);
    }
    out.push(b"\n");
}

fn plain(value: &Value<'_>, out: &mut Buffer) {
    Verb { verb: 'v', flags: Flags::default() }.argument(value, out);
}

/// How one operand is written.
#[derive(Clone, Copy)]
struct Verb {
    verb: char,
    flags: Flags,
}

impl Verb {
    fn new(verb: char, mut flags: Flags) -> Verb {
        if matches!(verb, 'v' | 'w') {
            flags.go_syntax = std::mem::take(&mut flags.sharp);
            flags.field_names = std::mem::take(&mut flags.plus);
        }
        Verb { verb, flags }
    }

    fn argument(self, value: &Value<'_>, out: &mut Buffer) {
        match (value, self.verb) {
            (Value::Nil, 'v' | 'T') => self.padded(b"<nil>", out),
            (value, 'T') => self.string(value.type_name().as_bytes(), 's', out),
            // Only an error can be wrapped.
            (Value::Nil, _) | (Value::List(_) | Value::Map(_) | Value::Record(_), 'w') | (_, 'p') => {
                self.bad(value, out);
            }
            (Value::Record(record), 'v' | 's' | 'x' | 'X' | 'q') if !self.flags.go_syntax => {
                match &record.text {
                    Some(text) => self.string(text.as_bytes(), self.verb, out),
                    None => self.value(value, out),
                }
            }
            (value, _) => self.value(value, out),
        }
    }

    fn value(self, value: &Value<'_>, out: &mut Buffer) {
        let Flags { go_syntax, field_names, .. } = self.flags;
        let between: &[u8] = if go_syntax { b", " } else { b" " };
        match value {
            Value::Nil => self.padded(b"<nil>", out),
            Value::Bool(bool) if matches!(self.verb, 't' | 'v') => {
                self.padded(if *bool { b"true" } else { b"false" }, out);
            }
            Value::Int(_) | Value::Byte(_) | Value::Float(_) | Value::Complex(..) => {
                match number::written(value, self.verb, &self.flags) {
                    Some(pieces) => pieces.iter().for_each(|piece| self.number(piece, out)),
                    None => self.bad(value, out),
                }
            }
            Value::Text(text) if matches!(self.verb, 'v' | 's' | 'x' | 'X' | 'q') => {
                self.string(text, self.verb, out);
            }
            Value::Bool(_) | Value::Text(_) => self.bad(value, out),
            Value::List(list) => {
                out.push(if go_syntax { b"[]string{" } else { b"[" });
                for (place, item) in list.items().iter().enumerate() {
                    if place > 0 {
                        out.push(between);
                    }
                    self.value(&Value::text(item), out);
                }
                out.push(if go_syntax { b"}" } else { b"]" });
            }
            Value::Map(map) => {
                out.push(if go_syntax { b"map[string]string{" } else { b"map[" });
                for (place, (key, value)) in map.iter().enumerate() {
                    if place > 0 {
                        out.push(between);
                    }
                    self.value(&Value::text(key), out);
                    out.push(b":");
                    self.value(&Value::text(value), out);
                }
                out.push(if go_syntax { b"}" } else { b"]" });
            }
            Value::Record(record) => {
                if go_syntax {
                    out.push(record.kind.name.as_bytes());
                }
                out.push(b"{");
                for (place, (name, value)) in record.fields().enumerate() {
                    if place > 0 {
                        out.push(between);
                    }
                    if go_syntax || field_names {
                        out.push(name.as_bytes());
                        out.push(b":");
                    }
                    self.value(value, out);
                }
                out.push(b"}");
            }
        }
    }

    /// A note that the verb does not fit.
    fn bad(self, value: &Value<'_>, out: &mut Buffer) {
        out.push(format!("%!{}(", self.verb).as_bytes());
        if !matches!(value, Value::Nil) {
            out.push(value.type_name().as_bytes());
            out.push(b"=");
        }
        match value {
            Value::Nil => out.push(b"<nil>"),
            value => Verb { verb: 'v', flags: self.flags }.value(value, out),
        }
        out.push(b")");
    }

    fn string(self, text: &[u8], verb: char, out: &mut Buffer) {
        let flags = &self.flags;
        if let 'x' | 'X' = verb {
            self.hexadecimal(text, verb == 'X', out);
            return;
        }
        let text = match flags.precision {
            Some(count) => {
                let kept: usize = quote::characters(text).take(count).map(|(_, bytes)| bytes.len()).sum();
                &text[..kept]
            }
            None => text,
        };
        if verb == 's' || verb == 'v' && !flags.go_syntax {
            self.padded(text, out);
        } else if text.len() > out.room() {
            // Quotes only make it longer.
            out.push(text);
        } else if flags.sharp && quote::can_be_raw(text) {
            self.padded(&[b"`", text, b"`"].concat(), out);
        } else {
            self.padded(&quote::quoted(text, flags.plus), out);
        }
    }

    fn hexadecimal(self, text: &[u8], upper: bool, out: &mut Buffer) {
        let flags = &self.flags;
        let text = &text[..text.len().min(flags.precision.unwrap_or(usize::MAX))];
        let prefix: &str = match (flags.sharp, upper) {
            (false, _) => "",
            (true, false) => "0x",
            (true, true) => "0X",
        };
        if text.len() > out.room() {
            out.push(text);
            return;
        }
        let mut written = String::with_capacity(text.len() * 2);
        for (place, byte) in text.iter().enumerate() {
            if flags.space && place > 0 {
                written.push(' ');
            }
            if flags.space || place == 0 {
                written.push_str(prefix);
            }
            let digits = if upper { b"0123456789ABCDEF" } else { b"0123456789abcdef" };
            written.extend([byte >> 4, byte & 15].map(|digit| char::from(digits[usize::from(digit)])));
        }
        self.padded(written.as_bytes(), out);
    }

    fn number(self, piece: &Piece, out: &mut Buffer) {
        let Piece { sign, zeros, text, padding } = piece;
        let length = sign.len() + zeros + text.chars().count();
        let missing = match padding {
            Padding::Never => 0,
            _ => self.flags.width.unwrap_or(0).saturating_sub(length),
        };
        let with_zeros = *padding == Padding::Zeros && self.flags.zero && !self.flags.minus;
        if !with_zeros && !self.flags.minus {
            out.pad(b' ', missing);
        }
        out.push(sign.as_bytes());
        out.pad(b'0', *zeros + if with_zeros { missing } else { 0 });
        out.push(text.as_bytes());
        if self.flags.minus {
            out.pad(b' ', missing);
        }
    }

    /// Padded to the width, which counts characters. Zeros pad on the left only.
    fn padded(self, text: &[u8], out: &mut Buffer) {
        let missing = match self.flags.width {
            Some(width) => width.saturating_sub(quote::characters(text).count()),
            None => 0,
        };
        if self.flags.minus {
            out.push(text);
            out.pad(b' ', missing);
        } else {
            out.pad(if self.flags.zero { b'0' } else { b' ' }, missing);
            out.push(text);
        }
    }
}

/// What an action prints for nil.
pub(super) const NO_VALUE: &str = "<no value>";
