//! Tensors' numbers: every datatype that a single precision can stand for, from JSON and from memory.

use std::fmt;

use serde::de::{self, Deserialize, DeserializeSeed, Deserializer, SeqAccess, Visitor};

use crate::routes::json::not_a_string;

/// A datatype of the protocol whose numbers the model can take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Datatype {
    Fp32,
    Fp64,
    Int { bytes: usize, signed: bool },
}

impl Datatype {
    pub(super) fn of(name: &str) -> Option<Datatype> {
        let int = |bytes, signed| Some(Datatype::Int { bytes, signed });
        match name {
            "FP32" => Some(Datatype::Fp32),
            "FP64" => Some(Datatype::Fp64),
            "INT8" => int(1, true),
            "INT16" => int(2, true),
            "INT32" => int(4, true),
            "INT64" => int(8, true),
            "UINT8" => int(1, false),
            "UINT16" => int(2, false),
            "UINT32" => int(4, false),
            "UINT64" => int(8, false),
            _ => None,
        }
    }

    /// For messages.
    pub(super) const KNOWN: &str = "FP32, FP64, INT8 to INT64 or UINT8 to UINT64";

    /// Bytes of one number.
    pub(super) fn size(self) -> usize {
        match self {
            Datatype::Fp32 => 4,
            Datatype::Fp64 => 8,
            Datatype::Int { bytes, .. } => bytes,
        }
    }

    /// Reads numbers that lie in memory, little end first. Bytes beyond the last whole number are none.
    pub(super) fn decode(self, bytes: &[u8]) -> Vec<f32> {
        fn each<const N: usize>(bytes: &[u8], number: impl Fn([u8; N]) -> f32) -> Vec<f32> {
            bytes.as_chunks::<N>().0.iter().map(|chunk| number(*chunk)).collect()
        }
        match self {
            Datatype::Fp32 => each(bytes, f32::from_le_bytes),
            Datatype::Fp64 => each(bytes, |b| f64::from_le_bytes(b) as f32),
            Datatype::Int { bytes: 1, signed: true } => each(bytes, |b| f32::from(i8::from_le_bytes(b))),
            Datatype::Int { bytes: 1, signed: false } => each(bytes, |b| f32::from(u8::from_le_bytes(b))),
            Datatype::Int { bytes: 2, signed: true } => each(bytes, |b| f32::from(i16::from_le_bytes(b))),
            Datatype::Int { bytes: 2, signed: false } => each(bytes, |b| f32::from(u16::from_le_bytes(b))),
            Datatype::Int { bytes: 4, signed: true } => each(bytes, |b| i32::from_le_bytes(b) as f32),
            Datatype::Int { bytes: 4, signed: false } => each(bytes, |b| u32::from_le_bytes(b) as f32),
            Datatype::Int { signed: true, .. } => each(bytes, |b| i64::from_le_bytes(b) as f32),
            Datatype::Int { signed: false, .. } => each(bytes, |b| u64::from_le_bytes(b) as f32),
        }
    }
}

/// Numbers of a tensor in JSON, in a flat list or nested by dimension, in the order in which they lie in memory.
#[derive(Debug, PartialEq)]
pub(in crate::routes) struct Numbers {
    pub(in crate::routes) numbers: Vec<f32>,
    /// Where the first number is that is no whole number.
    pub(super) fraction: Option<usize>,
}

impl<'de> Deserialize<'de> for Numbers {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Numbers, D::Error> {
        let mut numbers = Numbers { numbers: Vec::new(), fraction: None };
        deserializer.deserialize_any(List(Nested(&mut numbers)))?;
        Ok(numbers)
    }
}

/// A list, at the outermost level.
struct List<'a>(Nested<'a>);

impl<'de> Visitor<'de> for List<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of numbers")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, items: A) -> Result<(), A::Error> {
        self.0.visit_seq(items)
    }

    fn visit_str<E: de::Error>(self, _text: &str) -> Result<(), E> {
        Err(not_a_string(&self))
    }
}

/// A number, or a list of what this is. The JSON parser limits how deep lists are.
struct Nested<'a>(&'a mut Numbers);

impl Nested<'_> {
    fn push(self, number: f64, whole: bool) {
        if !whole && self.0.fraction.is_none() {
            self.0.fraction = Some(self.0.numbers.len());
        }
        self.0.numbers.push(number as f32);
    }
}

impl<'de> DeserializeSeed<'de> for Nested<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Nested<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("numbers, or lists of them")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<(), A::Error> {
        while items.next_element_seed(Nested(&mut *self.0))?.is_some() {}
        Ok(())
    }

    fn visit_f64<E: de::Error>(self, number: f64) -> Result<(), E> {
        self.push(number, number.fract() == 0.0);
        Ok(())
    }

    fn visit_i64<E: de::Error>(self, number: i64) -> Result<(), E> {
        self.push(number as f64, true);
        Ok(())
    }

    fn visit_u64<E: de::Error>(self, number: u64) -> Result<(), E> {
        self.push(number as f64, true);
        Ok(())
    }

    fn visit_str<E: de::Error>(self, _text: &str) -> Result<(), E> {
        Err(not_a_string(&self))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_datatype_comes_out_of_memory() {
        for (name, bytes, expected) in [
            ("FP32", (-1.5_f32).to_le_bytes().to_vec(), -1.5),
            ("FP64", (2.25_f64).to_le_bytes().to_vec(), 2.25),
            ("INT8", (-3_i8).to_le_bytes().to_vec(), -3.0),
            ("INT16", (-300_i16).to_le_bytes().to_vec(), -300.0),
            ("INT32", (-70_000_i32).to_le_bytes().to_vec(), -70_000.0),
            ("INT64", (-5_000_000_000_i64).to_le_bytes().to_vec(), -5e9),
            ("UINT8", 200_u8.to_le_bytes().to_vec(), 200.0),
            ("UINT16", 60_000_u16.to_le_bytes().to_vec(), 60_000.0),
            ("UINT32", 4_000_000_000_u32.to_le_bytes().to_vec(), 4e9),
            ("UINT64", 10_000_000_000_u64.to_le_bytes().to_vec(), 1e10),
        ] {
            let datatype = Datatype::of(name).expect(name);
            assert_eq!(datatype.size(), bytes.len(), "{name}");
            let twice: Vec<u8> = bytes.iter().chain(&bytes).copied().collect();
            assert_eq!(datatype.decode(&twice), [expected, expected], "{name}");
        }
        assert_eq!(Datatype::of("BYTES"), None);
    }

    #[test]
    fn lists_may_be_nested_and_fractions_are_found() {
        let parse = |text| serde_json::from_str::<Numbers>(text);
        let numbers = |numbers: &[f32], fraction| Numbers { numbers: numbers.to_vec(), fraction };
        assert_eq!(parse("[1,2,3]").expect("flat"), numbers(&[1.0, 2.0, 3.0], None));
        assert_eq!(parse("[[1,-2.0],[3.5,4]]").expect("nested"), numbers(&[1.0, -2.0, 3.5, 4.0], Some(2)));
        assert_eq!(parse("[]").expect("empty"), numbers(&[], None));
        for wrong in ["1", "[\"1\"]", "[true]", "[null]", "[{}]"] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
        assert!(parse(&("[".repeat(200) + &"]".repeat(200))).is_err(), "too deep");
    }
}
