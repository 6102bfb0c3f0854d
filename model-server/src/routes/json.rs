//! JSON of clients: each type says what it expects in JSON's own words, keeps no more than is asked for, and repeats
//! no text of a client in its errors.

use std::fmt;
use std::marker::PhantomData;

use serde::de::value::MapAccessDeserializer;
use serde::de::{self, Deserialize, Deserializer, IgnoredAny, MapAccess, SeqAccess, Unexpected, Visitor};

/// What is wrong with a text that is not the JSON that it should be, and where.
pub(super) fn explain(error: &serde_json::Error) -> String {
    let text = error.to_string();
    // serde's words for what JSON calls otherwise.
    let text = text.replacen("invalid type: map", "invalid type: object", 1);
    text.replacen("invalid type: sequence", "invalid type: list", 1)
}

/// The error for a string where something else is expected. serde's own repeats the string.
pub(super) fn not_a_string<E: de::Error>(expected: &dyn de::Expected) -> E {
    E::invalid_type(Unexpected::Other("string"), expected)
}

/// An object whose fields are `T`'s. `T` alone would be read from a list, too, field by field.
#[derive(Debug, Default)]
pub(super) struct Object<T>(pub(super) T);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Object<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Object<T>, D::Error> {
        struct ObjectVisitor<T>(PhantomData<T>);
        impl<'de, T: Deserialize<'de>> Visitor<'de> for ObjectVisitor<T> {
            type Value = Object<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Object<T>, A::Error> {
                T::deserialize(MapAccessDeserializer::new(map)).map(Object)
            }

            fn visit_str<E: de::Error>(self, _text: &str) -> Result<Object<T>, E> {
                Err(not_a_string(&self))
            }
        }
        deserializer.deserialize_any(ObjectVisitor(PhantomData))
    }
}

/// The first items of a list, and how many there are.
#[derive(Debug)]
pub(super) struct First<const MOST: usize, T> {
    /// As many as asked for.
    pub(super) items: Vec<T>,
    /// All of them.
    pub(super) count: usize,
}

impl<'de, const MOST: usize, T: Deserialize<'de>> Deserialize<'de> for First<MOST, T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<First<MOST, T>, D::Error> {
        struct FirstVisitor<const MOST: usize, T>(PhantomData<T>);
        impl<'de, const MOST: usize, T: Deserialize<'de>> Visitor<'de> for FirstVisitor<MOST, T> {
            type Value = First<MOST, T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<First<MOST, T>, A::Error> {
                let mut items = Vec::new();
                while items.len() < MOST {
                    match list.next_element()? {
                        Some(item) => items.push(item),
                        None => return Ok(First { count: items.len(), items }),
                    }
                }
                let mut count = items.len();
                while list.next_element::<IgnoredAny>()?.is_some() {
                    count += 1;
                }
                Ok(First { items, count })
            }

            fn visit_str<E: de::Error>(self, _text: &str) -> Result<First<MOST, T>, E> {
                Err(not_a_string(&self))
            }
        }
        deserializer.deserialize_any(FirstVisitor(PhantomData))
    }
}

/// A whole number that is not negative.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Whole(pub(super) u64);

impl<'de> Deserialize<'de> for Whole {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Whole, D::Error> {
        struct WholeVisitor;
        impl Visitor<'_> for WholeVisitor {
            type Value = Whole;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a whole number from 0 to 18446744073709551615")
            }

            fn visit_u64<E>(self, number: u64) -> Result<Whole, E> {
                Ok(Whole(number))
            }

            fn visit_str<E: de::Error>(self, _text: &str) -> Result<Whole, E> {
                Err(not_a_string(&self))
            }
        }
        deserializer.deserialize_any(WholeVisitor)
    }
}

/// True or false.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) struct Flag(pub(super) bool);

impl<'de> Deserialize<'de> for Flag {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Flag, D::Error> {
        struct FlagVisitor;
        impl Visitor<'_> for FlagVisitor {
            type Value = Flag;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("true or false")
            }

            fn visit_bool<E>(self, flag: bool) -> Result<Flag, E> {
                Ok(Flag(flag))
            }

            fn visit_str<E: de::Error>(self, _text: &str) -> Result<Flag, E> {
                Err(not_a_string(&self))
            }
        }
        deserializer.deserialize_any(FlagVisitor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, serde::Deserialize)]
    struct Point {
        #[allow(dead_code, reason = "read by the derived Debug only")]
        x: Whole,
    }

    fn problem<T: serde::de::DeserializeOwned + fmt::Debug>(text: &str) -> String {
        explain(&serde_json::from_str::<T>(text).expect_err("not what is expected"))
    }

    #[test]
    fn errors_name_what_json_calls_it_and_never_repeat_a_string() {
        let long = format!("\"{}\"", "x".repeat(1 << 20));
        for (found, expected) in [
            (problem::<Object<Point>>("[1]"), "invalid type: list, expected an object at line 1 column 1"),
            (
                problem::<Object<Point>>(&long),
                "invalid type: string, expected an object at line 1 column 1048578",
            ),
            (problem::<Object<Point>>("{}"), "missing field `x` at line 1 column 2"),
            (
                problem::<Object<Point>>(r#"{"x":-1}"#),
                "invalid type: integer `-1`, expected a whole number from 0 to 18446744073709551615 at line 1 column 7",
            ),
            (
                problem::<Object<Point>>(&format!(r#"{{"x":{long}}}"#)),
                "invalid type: string, expected a whole number from 0 to 18446744073709551615 at line 1 column 1048583",
            ),
            (problem::<First<1, Whole>>("{}"), "invalid type: object, expected a list at line 1 column 2"),
            (
                problem::<First<1, Whole>>(&long),
                "invalid type: string, expected a list at line 1 column 1048578",
            ),
            (problem::<Flag>("null"), "invalid type: null, expected true or false at line 1 column 4"),
            (problem::<Flag>(&long), "invalid type: string, expected true or false at line 1 column 1048578"),
        ] {
            assert_eq!(found, expected);
        }
    }

    #[test]
    fn of_a_long_list_only_the_first_items_are_kept_and_all_are_counted() {
        let list: First<2, Whole> = serde_json::from_str(r#"[1,2,"x",{},[]]"#).expect("a list");
        assert_eq!((list.items.len(), list.count), (2, 5));
        let list: First<2, Whole> = serde_json::from_str("[1]").expect("a list");
        assert_eq!((list.items, list.count), (vec![Whole(1)], 1));
    }
}
