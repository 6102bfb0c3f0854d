//! Protobuf messages, written field by field.

use std::fmt::{Display, Write as _};

/// A type that is a protobuf message.
pub trait Encode {
    /// Writes the fields, in ascending order.
    fn encode(&self, message: &mut Message);
}

impl<T: Encode + ?Sized> Encode for &T {
    fn encode(&self, message: &mut Message) {
        (**self).encode(message);
    }
}

/// A message under construction.
#[derive(Debug, Default)]
pub struct Message {
    pub(super) bytes: Vec<u8>,
}

impl Message {
    /// A text; written even when it is empty.
    pub fn string(&mut self, field: u32, text: &str) {
        self.tag(field, DELIMITED);
        self.varint(text.len() as u64);
        self.bytes.extend_from_slice(text.as_bytes());
    }

    /// A list of texts.
    pub fn strings<'a>(&mut self, field: u32, texts: impl IntoIterator<Item = &'a str>) {
        for text in texts {
            self.string(field, text);
        }
    }

    /// A whole number; written even when it is zero. A negative one takes ten bytes, as it does upstream.
    pub fn integer(&mut self, field: u32, number: i64) {
        self.tag(field, VARINT);
        self.varint(number as u64);
    }

    /// A truth value; written even when it is false.
    pub fn boolean(&mut self, field: u32, value: bool) {
        self.integer(field, value.into());
    }

    /// Anything that prints itself, as a text.
    pub fn display(&mut self, field: u32, value: &impl Display) {
        self.nested(field, |text| {
            // Writing to a vector cannot fail.
            let _ = write!(text, "{value}");
        });
    }

    /// A message in this one; written even when it has no fields.
    pub fn message(&mut self, field: u32, message: &(impl Encode + ?Sized)) {
        self.nested(field, |nested| message.encode(nested));
    }

    /// A list of messages.
    pub fn messages(&mut self, field: u32, messages: impl IntoIterator<Item: Encode>) {
        for message in messages {
            self.message(field, &message);
        }
    }

    /// A map of texts. The entries must be in order.
    pub fn map<'a, T: AsRef<str> + 'a>(
        &mut self,
        field: u32,
        entries: impl IntoIterator<Item = (&'a T, &'a T)>,
    ) {
        for (key, value) in entries {
            self.nested(field, |entry| {
                entry.string(1, key.as_ref());
                entry.string(2, value.as_ref());
            });
        }
    }

    /// A message whose fields are written on the spot.
    pub fn nested(&mut self, field: u32, write: impl FnOnce(&mut Message)) {
        self.tag(field, DELIMITED);
        // The length is known only afterwards. It nearly always fits the one byte that is kept free for it.
        let start = self.bytes.len();
        self.bytes.push(0);
        write(self);
        let length = self.bytes.len() - start - 1;
        if length < 0x80 {
            self.bytes[start] = length as u8;
        } else {
            let end = self.bytes.len();
            self.varint(length as u64);
            let size = self.bytes.len() - end;
            // Rotate the length varint from the end to the front, over the placeholder byte.
            self.bytes[start + 1..].rotate_right(size);
            self.bytes.remove(start);
        }
    }

    fn tag(&mut self, field: u32, wire_type: u32) {
        self.varint(u64::from(field << 3 | wire_type));
    }

    fn varint(&mut self, mut number: u64) {
        while number >= 0x80 {
            self.bytes.push(number as u8 | 0x80);
            number >>= 7;
        }
        self.bytes.push(number as u8);
    }
}

impl std::fmt::Write for Message {
    fn write_str(&mut self, text: &str) -> std::fmt::Result {
        self.bytes.extend_from_slice(text.as_bytes());
        Ok(())
    }
}

const VARINT: u32 = 0;
const DELIMITED: u32 = 2;

#[cfg(test)]
mod tests {
    use testkit::rows::each_row;

    use super::*;

    fn bytes(write: impl FnOnce(&mut Message)) -> Vec<u8> {
        let mut message = Message::default();
        write(&mut message);
        message.bytes
    }

    #[test]
    fn every_field_is_written() {
        assert_eq!(bytes(|m| m.string(1, "")), b"\x0a\x00");
        assert_eq!(bytes(|m| m.string(4, "ab")), b"\x22\x02ab");
        assert_eq!(bytes(|m| m.integer(2, 0)), b"\x10\x00");
        assert_eq!(bytes(|m| m.integer(1, 300)), b"\x08\xac\x02");
        assert_eq!(bytes(|m| m.integer(1, -1)), b"\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01");
        assert_eq!(bytes(|m| m.boolean(2, false)), b"\x10\x00");
        assert_eq!(bytes(|m| m.display(16, &7)), b"\x82\x01\x017");
        assert_eq!(bytes(|m| m.nested(3, |_| {})), b"\x1a\x00");
    }

    #[test]
    fn lengths_of_every_size_stand_before_what_they_count() {
        each_row([0, 1, 126, 127, 128, 129, 16_383, 16_384, 70_000], |length| {
            let text = "x".repeat(length);
            let written = bytes(|m| m.nested(1, |m| m.display(2, &text)));
            // The same, made the other way round.
            let inner = bytes(|m| m.string(2, &text));
            let mut expected = bytes(|m| m.tag(1, DELIMITED));
            expected.extend(bytes(|m| m.varint(inner.len() as u64)));
            expected.extend(inner);
            assert!(written == expected, "{length}");
        });
    }
}
