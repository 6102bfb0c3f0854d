//! The body of `/predict`, read as FastAPI and pydantic read it, straight into the row that the model takes. What is
//! kept of a body is bounded: numbers up to the width of the row, faults up to [`MOST_FAULTS`], and of inputs that
//! are at fault short ones.

mod fault;
mod row;
mod scan;

use std::borrow::Cow;
use std::fmt;

use serde::de::{self, Deserialize, Deserializer as _, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use self::fault::Place;
pub(super) use self::fault::{Fault, Faults};
pub(super) use self::row::Row;
use super::json::not_a_string;

/// The row, or what is wrong, as FastAPI says it.
pub(super) fn parse(body: &[u8], width: usize) -> Result<Row, Faults> {
    if let Some(row) = scan::body(body, width) {
        return Ok(row);
    }
    let list = features(body)?;
    if let Some(row) = scan::list(list.get().as_bytes(), width) {
        return Ok(row);
    }
    let mut items = Items { row: Row::of_width(width), faults: Faults::default(), width };
    let is_list = list.get().starts_with('[');
    // It is whole JSON already, so nothing else can be wrong with it.
    if !is_list || serde_json::Deserializer::from_str(list.get()).deserialize_seq(&mut items).is_err() {
        let fault = Fault::new("list_type", "Input should be a valid list");
        return Err(fault.at([Place::Field("features")]).with_input(list).into());
    }
    if items.faults.is_empty() { Ok(items.row) } else { Err(items.faults) }
}

/// The numbers of a list of nothing else, up to `most` of them; `None` for any other list, a valid one or not.
pub(super) fn numbers(list: &[u8], most: usize) -> Option<Row> {
    scan::list(list, most)
}

/// The text of the features.
fn features(body: &[u8]) -> Result<&RawValue, Faults> {
    if body.is_empty() {
        return Err(Fault::new("missing", "Field required").with_input(RawValue::NULL).into());
    }
    let whole = || serde_json::from_slice(body).ok();
    Err(match serde_json::from_slice::<Body>(body) {
        Ok(Body { features: Some(features) }) => return Ok(features),
        Ok(Body { features: None }) => {
            Fault::new("missing", "Field required").at([Place::Field("features")]).with_input_if_any(whole())
        }
        Err(error) if error.is_data() => {
            let text = "Input should be a valid dictionary or object to extract fields from";
            Fault::new("model_attributes_type", text).with_input_if_any(whole())
        }
        Err(error) => Fault::new("json_invalid", "JSON decode error")
            .at([Place::Position(position(body, &error))])
            // Whatever was found, FastAPI says so.
            .with_input_if_any(serde_json::from_str("{}").ok())
            .with_error(error.to_string()),
    }
    .into())
}

struct Body<'a> {
    features: Option<&'a RawValue>,
}

impl<'de: 'a, 'a> Deserialize<'de> for Body<'a> {
    fn deserialize<D: de::Deserializer<'de>>(deserializer: D) -> Result<Body<'a>, D::Error> {
        struct BodyVisitor;
        impl<'de> Visitor<'de> for BodyVisitor {
            type Value = Body<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Body<'de>, A::Error> {
                let mut features = None;
                while let Some(key) = map.next_key::<Key>()? {
                    match key {
                        // As in Python, the last of several counts.
                        Key::Features => features = Some(map.next_value()?),
                        Key::Other => drop(map.next_value::<IgnoredAny>()?),
                    }
                }
                Ok(Body { features })
            }

            fn visit_str<E: de::Error>(self, _text: &str) -> Result<Body<'de>, E> {
                Err(not_a_string(&self))
            }
        }
        deserializer.deserialize_any(BodyVisitor)
    }
}

#[derive(serde::Deserialize)]
#[serde(field_identifier, rename_all = "lowercase")]
enum Key {
    Features,
    #[serde(other)]
    Other,
}

/// Reads the items of the list one by one.
struct Items {
    row: Row,
    faults: Faults,
    width: usize,
}

impl<'de> Visitor<'de> for &mut Items {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<(), A::Error> {
        while let Some(item) = items.next_element::<&RawValue>()? {
            let (number, wrong) = match number(item) {
                Ok(number) => (number, None),
                Err(why) => (0.0, Some(why)),
            };
            let single = number as f32;
            let wrong = wrong.or((!single.is_finite()).then_some(NOT_FINITE));
            if let Some((kind, message)) = wrong {
                let places = [Place::Field("features"), Place::Position(self.row.count)];
                // Not every parser reads a number that no double holds.
                let input = Some(item).filter(|item| number.is_finite() || item.get().starts_with('"'));
                self.faults.push(|| Fault::new(kind, message).at(places).with_input_if_any(input));
            }
            self.row.push(single, self.width);
        }
        Ok(())
    }
}

/// What pydantic takes for a float: numbers, booleans, and strings that hold a number. Else the kind of fault, and
/// its message.
fn number(item: &RawValue) -> Result<f64, (&'static str, &'static str)> {
    let text = item.get();
    match text.as_bytes().first() {
        Some(b'0'..=b'9' | b'-') => text.parse().map_err(|_| NOT_A_NUMBER),
        Some(b't') => Ok(1.0),
        Some(b'f') => Ok(0.0),
        Some(b'"') => {
            // No number is so long, and a text with escapes is copied.
            let text = Some(text).filter(|text| text.len() <= LONGEST_NUMBER);
            let text = text.and_then(|text| serde_json::from_str::<Text<'_>>(text).ok());
            let number = text.and_then(|Text(text)| text.trim().parse().ok());
            number.filter(|number: &f64| !number.is_nan()).ok_or(NO_NUMBER_IN_TEXT)
        }
        _ => Err(NOT_A_NUMBER),
    }
}

/// A string, copied only if it has escapes.
#[derive(serde::Deserialize)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

const NOT_A_NUMBER: (&str, &str) = ("float_type", "Input should be a valid number");
const NO_NUMBER_IN_TEXT: (&str, &str) =
    ("float_parsing", "Input should be a valid number, unable to parse string as a number");
const NOT_FINITE: (&str, &str) = ("finite_number", "Input should be a finite number");
/// The longest doubles have some 770 digits that mean anything.
const LONGEST_NUMBER: usize = 4096;

/// Where in the body the parser stopped, as a number of bytes.
fn position(body: &[u8], error: &serde_json::Error) -> usize {
    let before: usize = body
        .split_inclusive(|byte| *byte == b'\n')
        .take(error.line().saturating_sub(1))
        .map(<[u8]>::len)
        .sum();
    (before + error.column()).saturating_sub(1)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    const WIDTH: usize = 4;

    fn numbers(body: &[u8]) -> Vec<f32> {
        parse(body, WIDTH).expect("valid").numbers
    }

    fn faults(body: &[u8]) -> String {
        serde_json::to_string(&parse(body, WIDTH).expect_err("at fault")).expect("JSON")
    }

    fn errors(body: &[u8]) -> Value {
        serde_json::from_str(&faults(body)).expect("JSON")
    }

    #[test]
    fn numbers_come_in_all_the_ways_that_pydantic_takes() {
        let body = br#"{"x":{"features":[9]},"features":[1,-2.5,true,"4.5"],"y":null}"#;
        assert_eq!(numbers(body), [1.0, -2.5, 1.0, 4.5]);
        assert_eq!(numbers(br#"{"features":[1e-3,false," 7 ","\u0031"]}"#), [0.001, 0.0, 7.0, 1.0]);
        assert_eq!(numbers(br#"{"features":[]}"#), [0.0; 0]);
        assert_eq!(numbers(br#"{"features":[1],"features":[2]}"#), [2.0]);
        assert_eq!(numbers(br#"{"features":1,"features":[2,"3"]}"#), [2.0, 3.0]);
        assert_eq!(numbers(br#"{"feat\u0075res":[3]}"#), [3.0]);
    }

    #[test]
    fn numbers_beyond_the_width_are_counted_and_not_kept() {
        for body in [
            r#"{"features":[1,2,3,4,5,6]}"#,
            r#"{"features":[1,2,3,4,5,6],"x":1}"#,
            r#"{"features":[1,2,3,"4",5,6]}"#,
        ] {
            let row = parse(body.as_bytes(), WIDTH).expect("valid");
            assert_eq!(row, Row { numbers: vec![1.0, 2.0, 3.0, 4.0], count: 6 }, "{body}");
            assert_eq!(row.numbers.capacity(), WIDTH, "{body}");
        }
    }

    #[test]
    fn every_fault_is_named_as_fastapi_names_it() {
        for (body, expected) in [
            ("", r#"[{"type":"missing","loc":["body"],"msg":"Field required","input":null}]"#),
            (
                r#"{"features":[1,"a",null,1e39]}"#,
                concat!(
                    r#"[{"type":"float_parsing","loc":["body","features",1],"msg":"Input should be a valid number, "#,
                    r#"unable to parse string as a number","input":"a"},"#,
                    r#"{"type":"float_type","loc":["body","features",2],"msg":"Input should be a valid number","input":null},"#,
                    r#"{"type":"finite_number","loc":["body","features",3],"msg":"Input should be a finite number","input":1e39}]"#
                ),
            ),
            (
                r#"{"features":[1,1e400,"inf"]}"#,
                concat!(
                    r#"[{"type":"finite_number","loc":["body","features",1],"msg":"Input should be a finite number"},"#,
                    r#"{"type":"finite_number","loc":["body","features",2],"msg":"Input should be a finite number","input":"inf"}]"#
                ),
            ),
            (
                r#"{"features":1}"#,
                r#"[{"type":"list_type","loc":["body","features"],"msg":"Input should be a valid list","input":1}]"#,
            ),
            (
                r#"{"x":[1]}"#,
                r#"[{"type":"missing","loc":["body","features"],"msg":"Field required","input":{"x":[1]}}]"#,
            ),
            (
                "[1]",
                concat!(
                    r#"[{"type":"model_attributes_type","loc":["body"],"#,
                    r#""msg":"Input should be a valid dictionary or object to extract fields from","input":[1]}]"#
                ),
            ),
            (
                "{",
                concat!(
                    r#"[{"type":"json_invalid","loc":["body",0],"msg":"JSON decode error","input":{},"#,
                    r#""ctx":{"error":"EOF while parsing an object at line 1 column 1"}}]"#
                ),
            ),
        ] {
            assert_eq!(faults(body.as_bytes()), expected, "{body}");
        }
    }

    #[test]
    fn of_many_faults_the_first_are_named_and_the_others_counted() {
        for item in [r#""""#, "{}", "null", "[[[]]]", "1e999"] {
            let list = vec![item; 1000].join(",");
            let errors = errors(format!(r#"{{"features":[{list}]}}"#).as_bytes());
            let errors = errors.as_array().expect("a list");
            assert_eq!(errors.len(), fault::MOST_FAULTS + 1, "{item}");
            assert_eq!(errors[19]["loc"], json!(["body", "features", 19]));
            assert_eq!(
                errors[20],
                json!({
                    "type": "more_errors",
                    "loc": ["body", "features"],
                    "msg": "980 more inputs are not valid",
                    "ctx": {"more": 980},
                })
            );
        }
    }

    #[test]
    fn a_large_input_is_not_repeated() {
        let long = "x".repeat(1 << 20);
        let nested = "[".repeat(1 << 18) + &"]".repeat(1 << 18);
        for body in [
            format!(r#"{{"features":["{long}"]}}"#),
            format!(r#"{{"features":[{nested}]}}"#),
            format!(r#"{{"features":"{long}"}}"#),
            format!(r#"{{"features":{{"{long}":1}}}}"#),
            format!(r#"{{"{long}":[1]}}"#),
            format!(r#"["{long}"]"#),
            format!(r#""{long}""#),
            format!("\"{long}"),
            format!(r#"{{"features":[{long}]}}"#),
            nested.clone(),
        ] {
            let faults = faults(body.as_bytes());
            assert!(faults.len() < 400, "{} bytes: {}", faults.len(), &faults[..400]);
            assert!(!faults.contains("xx"), "{faults}");
        }
    }

    #[test]
    fn the_place_of_a_syntax_error_is_counted_over_lines() {
        let errors = errors(b"{\"features\":\n [1,]}");
        assert_eq!(errors[0]["type"], "json_invalid");
        assert_eq!(errors[0]["loc"], json!(["body", 17]));
    }
}
