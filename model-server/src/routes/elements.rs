//! Elements of a tensor from JSON: in a flat list or nested by dimension, in the order in which they lie in memory.
//! None is changed into what it is not: a number that the type has no form for is told.

use std::fmt;

use serde::de::{self, DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

use super::json::not_a_string;
use crate::tensor::{DataType, push_string};

/// Elements of one type, as far as they are what is expected.
pub(super) struct Elements {
    datatype: DataType,
    /// As many are kept.
    most: usize,
    /// As they lie in memory.
    pub(super) data: Vec<u8>,
    /// How many there are, those that are not kept included.
    pub(super) count: usize,
    /// The first one that is not what it should be; nothing is kept from there on.
    pub(super) problem: Option<Problem>,
}

/// An element that is not what it should be.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Problem {
    datatype: DataType,
    place: usize,
    found: String,
}

impl Problem {
    /// For people; `whole` is what the element belongs to.
    pub(super) fn of(&self, whole: fmt::Arguments<'_>) -> String {
        let Problem { datatype, place, found } = self;
        format!("expected {} at {place} of {whole}, found {found}", expected(*datatype))
    }
}

impl Elements {
    /// None yet, of which `most` are kept.
    pub(super) fn new(datatype: DataType, most: usize) -> Elements {
        Elements { datatype, most, data: Vec::new(), count: 0, problem: None }
    }

    fn push(&mut self, write: impl FnOnce(DataType, &mut Vec<u8>) -> Result<(), String>) {
        if self.problem.is_none()
            && self.count < self.most
            && let Err(found) = write(self.datatype, &mut self.data)
        {
            self.problem = Some(Problem { datatype: self.datatype, place: self.count, found });
        }
        self.count += 1;
    }
}

fn expected(datatype: DataType) -> String {
    match datatype {
        DataType::Bool => "true or false".to_owned(),
        DataType::Bytes => "a text".to_owned(),
        DataType::Fp32 | DataType::Fp64 => format!("a number of {}", datatype.name()),
        _ => format!("a whole number of {}", datatype.name()),
    }
}

fn write_whole<T>(number: T, datatype: DataType, data: &mut Vec<u8>) -> Result<(), String>
where
    T: Copy + fmt::Display,
    u8: TryFrom<T>,
    u16: TryFrom<T>,
    u32: TryFrom<T>,
    u64: TryFrom<T>,
    i8: TryFrom<T>,
    i16: TryFrom<T>,
    i32: TryFrom<T>,
    i64: TryFrom<T>,
{
    macro_rules! whole {
        ($type:ty) => {
            match <$type>::try_from(number) {
                Ok(number) => data.extend(number.to_le_bytes()),
                Err(_) => return Err(number.to_string()),
            }
        };
    }
    match datatype {
        DataType::Uint8 => whole!(u8),
        DataType::Uint16 => whole!(u16),
        DataType::Uint32 => whole!(u32),
        DataType::Uint64 => whole!(u64),
        DataType::Int8 => whole!(i8),
        DataType::Int16 => whole!(i16),
        DataType::Int32 => whole!(i32),
        DataType::Int64 => whole!(i64),
        // As many clients write truth values.
        DataType::Bool => match u8::try_from(number) {
            Ok(byte @ 0..=1) => data.push(byte),
            _ => return Err(number.to_string()),
        },
        _ => return Err("a number".to_owned()),
    }
    Ok(())
}

fn write_real(number: f64, datatype: DataType, data: &mut Vec<u8>) -> Result<(), String> {
    match datatype {
        DataType::Fp64 => data.extend(number.to_le_bytes()),
        DataType::Fp32 => {
            let single = number as f32;
            if !single.is_finite() {
                return Err(format!("{number:?}"));
            }
            data.extend(single.to_le_bytes());
        }
        DataType::Bytes => return Err("a number".to_owned()),
        // Some clients write every number with a point.
        _ if number.fract() == 0.0 && number.abs() <= LARGEST_WHOLE => {
            return write_whole(number as i64, datatype, data);
        }
        _ => return Err(format!("{number:?}")),
    }
    Ok(())
}

/// Whole numbers up to this one are doubles exactly, each another one.
const LARGEST_WHOLE: f64 = (1_u64 << f64::MANTISSA_DIGITS) as f64;

impl<'de> DeserializeSeed<'de> for &mut Elements {
    type Value = ();

    /// Reads a list, and appends what is in it.
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(List(Nested(self)))
    }
}

/// A list, at the outermost level.
struct List<'a>(Nested<'a>);

impl<'de> Visitor<'de> for List<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a list, each of it {}", expected(self.0.0.datatype))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, items: A) -> Result<(), A::Error> {
        self.0.visit_seq(items)
    }

    fn visit_str<E: de::Error>(self, _text: &str) -> Result<(), E> {
        Err(not_a_string(&self))
    }
}

/// An element, or a list of what this is. The JSON parser limits how deep lists are.
struct Nested<'a>(&'a mut Elements);

impl<'de> DeserializeSeed<'de> for Nested<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Nested<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, or a list", expected(self.0.datatype))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<(), A::Error> {
        while items.next_element_seed(Nested(&mut *self.0))?.is_some() {}
        Ok(())
    }

    fn visit_f64<E: de::Error>(self, number: f64) -> Result<(), E> {
        self.0.push(|datatype, data| write_real(number, datatype, data));
        Ok(())
    }

    fn visit_i64<E: de::Error>(self, number: i64) -> Result<(), E> {
        self.0.push(|datatype, data| match datatype {
            DataType::Fp32 | DataType::Fp64 => write_real(number as f64, datatype, data),
            _ => write_whole(number, datatype, data),
        });
        Ok(())
    }

    fn visit_u64<E: de::Error>(self, number: u64) -> Result<(), E> {
        self.0.push(|datatype, data| match datatype {
            DataType::Fp32 | DataType::Fp64 => write_real(number as f64, datatype, data),
            _ => write_whole(number, datatype, data),
        });
        Ok(())
    }

    fn visit_bool<E: de::Error>(self, truth: bool) -> Result<(), E> {
        self.0.push(|datatype, data| match datatype {
            DataType::Bool => {
                data.push(truth.into());
                Ok(())
            }
            _ => Err(truth.to_string()),
        });
        Ok(())
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<(), E> {
        self.0.push(|datatype, data| match datatype {
            DataType::Bytes => push_string(data, text.as_bytes()).map_err(|error| error.to_string()),
            _ => Err("a string".to_owned()),
        });
        Ok(())
    }

    fn visit_unit<E: de::Error>(self) -> Result<(), E> {
        self.0.push(|_, _| Err("null".to_owned()));
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        self.0.push(|_, _| Err("an object".to_owned()));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(datatype: DataType, json: &str) -> Result<Elements, serde_json::Error> {
        let mut elements = Elements::new(datatype, 4);
        elements.deserialize(&mut serde_json::Deserializer::from_str(json))?;
        Ok(elements)
    }

    fn data(datatype: DataType, json: &str) -> Vec<u8> {
        let elements = read(datatype, json).expect("a list");
        assert_eq!(elements.problem, None, "{json}");
        elements.data
    }

    #[test]
    fn every_type_that_json_has_a_form_for_comes_out_as_it_lies_in_memory() {
        for (datatype, json, expected) in [
            (DataType::Fp32, "[[-1.5],[2]]", [(-1.5_f32).to_le_bytes(), 2_f32.to_le_bytes()].concat()),
            (DataType::Fp64, "[1e-3]", 0.001_f64.to_le_bytes().to_vec()),
            (DataType::Int8, "[-128,127]", vec![128, 127]),
            (DataType::Int16, "[-300]", (-300_i16).to_le_bytes().to_vec()),
            (DataType::Int32, "[-70000]", (-70_000_i32).to_le_bytes().to_vec()),
            (DataType::Int64, "[9007199254740993]", 9_007_199_254_740_993_i64.to_le_bytes().to_vec()),
            (DataType::Int64, "[-9223372036854775808]", i64::MIN.to_le_bytes().to_vec()),
            (DataType::Uint8, "[255, 2.0]", vec![255, 2]),
            (DataType::Uint16, "[60000]", 60_000_u16.to_le_bytes().to_vec()),
            (DataType::Uint32, "[4000000000]", 4_000_000_000_u32.to_le_bytes().to_vec()),
            (DataType::Uint64, "[18446744073709551615]", u64::MAX.to_le_bytes().to_vec()),
            (DataType::Bool, "[true,[false],1,0]", vec![1, 0, 1, 0]),
            (DataType::Bytes, r#"["a","\u00e9"]"#, vec![1, 0, 0, 0, b'a', 2, 0, 0, 0, 0xc3, 0xa9]),
        ] {
            assert_eq!(data(datatype, json), expected, "{datatype:?} {json}");
        }
    }

    #[test]
    fn what_a_type_has_no_form_for_is_told_with_its_place() {
        for (datatype, json, expected) in [
            (DataType::Int8, "[1,128]", "expected a whole number of INT8 at 1 of it, found 128"),
            (DataType::Uint64, "[-1]", "expected a whole number of UINT64 at 0 of it, found -1"),
            (DataType::Int64, "[1.5]", "expected a whole number of INT64 at 0 of it, found 1.5"),
            (DataType::Int64, "[1e17]", "expected a whole number of INT64 at 0 of it, found 1e17"),
            (DataType::Fp32, "[0,[1e39]]", "expected a number of FP32 at 1 of it, found 1e39"),
            (DataType::Fp32, "[true]", "expected a number of FP32 at 0 of it, found true"),
            (DataType::Fp32, "[null]", "expected a number of FP32 at 0 of it, found null"),
            (DataType::Fp64, r#"["NaN"]"#, "expected a number of FP64 at 0 of it, found a string"),
            (DataType::Fp64, r#"[{"a":[1]}]"#, "expected a number of FP64 at 0 of it, found an object"),
            (DataType::Bool, "[2]", "expected true or false at 0 of it, found 2"),
            (DataType::Bytes, "[1]", "expected a text at 0 of it, found a number"),
        ] {
            let problem = read(datatype, json).expect("a list").problem.expect("one");
            assert_eq!(problem.of(format_args!("it")), expected, "{datatype:?} {json}");
        }
        for wrong in ["1", "\"1\"", "{}", "[1", &("[".repeat(200) + &"]".repeat(200))] {
            assert!(read(DataType::Fp32, wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn no_more_is_kept_than_is_asked_for() {
        let elements = read(DataType::Uint8, "[1,2,3,4,5,\"x\",7]").expect("a list");
        assert_eq!((elements.data, elements.count, elements.problem), (vec![1, 2, 3, 4], 7, None));
    }
}
