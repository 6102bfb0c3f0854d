//! The frame of every answer, read as upstream's `encoding/json` reads it: `null` stands for what is not there, names
//! of fields match in any case, the last of equal ones counts, and what is not known is passed over.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

use super::text::{Text, line};

/// What an answer says beside its data.
#[derive(Debug)]
pub(super) struct Frame<T> {
    /// `success`, if anything.
    pub(super) status: Option<String>,
    pub(super) data: Part<T>,
    /// Why it may be partial; a few short lines.
    pub(super) warnings: Vec<String>,
}

/// What stands at a field; that it may be absent and `null` is not the same.
#[derive(Debug)]
pub(super) enum Part<T> {
    Absent,
    Null,
    There(T),
}

impl<T> Part<T> {
    pub(super) fn there(self) -> Option<T> {
        if let Part::There(part) = self { Some(part) } else { None }
    }
}

/// Reads a frame around data that the seed reads.
pub(super) struct FrameSeed<S>(pub(super) S);

impl<'de, S: DeserializeSeed<'de> + Copy> DeserializeSeed<'de> for FrameSeed<S> {
    type Value = Frame<S::Value>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de, S: DeserializeSeed<'de> + Copy> Visitor<'de> for FrameSeed<S> {
    type Value = Frame<S::Value>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an answer with status and data")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        #[derive(Clone, Copy)]
        enum Name {
            Status,
            Data,
            Warnings,
            Partial,
        }
        const NAMES: [(&str, Name); 4] = [
            ("status", Name::Status),
            ("data", Name::Data),
            ("warnings", Name::Warnings),
            ("isPartial", Name::Partial),
        ];

        let mut frame = Frame { status: None, data: Part::Absent, warnings: Vec::new() };
        let mut partial = false;
        while let Some(name) = map.next_key_seed(Field(&NAMES))? {
            match name {
                Some(Name::Status) => {
                    let status = map.next_value_seed(OrNull(Text(str::to_owned)))?;
                    frame.status = status.or(frame.status);
                }
                Some(Name::Data) if frame.status.as_deref() == Some("error") => {
                    map.next_value::<IgnoredAny>()?;
                }
                Some(Name::Data) => {
                    let data = map.next_value_seed(OrNull(self.0))?;
                    frame.data = data.map_or(Part::Null, Part::There);
                }
                Some(Name::Warnings) => frame.warnings = map.next_value_seed(Remark { texts: true })?.texts(),
                Some(Name::Partial) => partial = map.next_value_seed(Remark { texts: false })?.is_true(),
                None => {
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        if partial {
            frame.warnings.push(PARTIAL.to_owned());
        }
        Ok(frame)
    }
}

/// What the seed reads, and nothing for `null`.
pub(super) struct OrNull<S>(pub(super) S);

impl<'de, S: DeserializeSeed<'de>> DeserializeSeed<'de> for OrNull<S> {
    type Value = Option<S::Value>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_option(self)
    }
}

impl<'de, S: DeserializeSeed<'de>> Visitor<'de> for OrNull<S> {
    type Value = Option<S::Value>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value or null")
    }

    fn visit_none<E>(self) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        self.0.deserialize(deserializer).map(Some)
    }
}

/// The name of a field, by those that are known.
pub(super) struct Field<T: 'static>(pub(super) &'static [(&'static str, T)]);

impl<'de, T: Copy> DeserializeSeed<'de> for Field<T> {
    type Value = Option<T>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Option<T>, D::Error> {
        deserializer.deserialize_bytes(self)
    }
}

impl<T: Copy> Visitor<'_> for Field<T> {
    type Value = Option<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the name of a field")
    }

    fn visit_bytes<E>(self, name: &[u8]) -> Result<Option<T>, E> {
        let known = self.0.iter().find(|(known, _)| known.as_bytes() == name);
        let known = known.or_else(|| self.0.iter().find(|(known, _)| same_letters(known, name)));
        Ok(known.map(|&(_, field)| field))
    }
}

/// Whether a name has the same letters in any case. Two letters beyond ASCII have a lower case in it.
fn same_letters(known: &str, name: &[u8]) -> bool {
    let Ok(name) = str::from_utf8(name) else { return false };
    let lower = |c: char| match c {
        '\u{17f}' => 's',
        '\u{212a}' => 'k',
        c => c.to_ascii_lowercase(),
    };
    known.chars().map(lower).eq(name.chars().map(lower))
}

/// Reads the warnings of an answer, whatever they are: upstream does not look at them, and takes everything.
#[derive(Clone, Copy)]
struct Remark {
    /// Texts are wanted, and a list must be one of texts.
    texts: bool,
}

enum Said {
    Flag(bool),
    Texts(Vec<String>),
    Other,
}

impl Said {
    fn is_true(&self) -> bool {
        matches!(self, Said::Flag(true))
    }

    fn texts(self) -> Vec<String> {
        if let Said::Texts(texts) = self { texts } else { Vec::new() }
    }
}

impl<'de> DeserializeSeed<'de> for Remark {
    type Value = Said;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Said, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Remark {
    type Value = Said;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a remark")
    }

    fn visit_bool<E>(self, flag: bool) -> Result<Said, E> {
        Ok(Said::Flag(flag))
    }

    fn visit_str<E>(self, text: &str) -> Result<Said, E> {
        Ok(Said::Texts(vec![line(text)]))
    }

    fn visit_unit<E>(self) -> Result<Said, E> {
        Ok(Said::Other)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Said, E> {
        Ok(Said::Other)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Said, E> {
        Ok(Said::Other)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Said, E> {
        Ok(Said::Other)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut sequence: A) -> Result<Said, A::Error> {
        let mut texts = Vec::new();
        if !self.texts {
            while sequence.next_element::<IgnoredAny>()?.is_some() {}
        }
        while let Some(text) = sequence.next_element_seed(OrNull(Text(line)))? {
            if let Some(text) = text
                && texts.len() < MOST_WARNINGS
            {
                texts.push(text);
            }
        }
        Ok(Said::Texts(texts))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Said, A::Error> {
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(Said::Other)
    }
}

const MOST_WARNINGS: usize = 20;
const PARTIAL: &str = "the source says that its answer is partial (isPartial)";

#[cfg(test)]
mod tests {
    use testkit::rows::each_row;

    use super::*;

    #[test]
    fn names_of_fields_match_in_any_case() {
        each_row(["isPartial", "ispartial", "ISPARTIAL", "i\u{17f}Partial"], |name| {
            assert!(same_letters("isPartial", name.as_bytes()), "{name}");
        });
        each_row(["is_partial", "isPartia", "isPartial ", "\u{131}sPartial"], |name| {
            assert!(!same_letters("isPartial", name.as_bytes()), "{name}");
        });
    }
}
