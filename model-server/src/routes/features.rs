//! The body of `/predict`, read as FastAPI and pydantic read it, straight into the row that the model takes.

mod scan;

use std::fmt;

use serde::de::{self, Deserialize, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::{Value, json};

/// The row, or FastAPI's list of what is wrong.
pub(super) fn parse(body: &[u8]) -> Result<Vec<f32>, Value> {
    if let Some(row) = scan::scan(body, USUAL_WIDTH) {
        return Ok(row);
    }
    match serde_json::from_slice::<Body>(body) {
        Ok(Body { row, too_large: None }) => Ok(row),
        Ok(Body { too_large: Some((position, number)), .. }) => Err(json!([{
            "type": "finite_number",
            "loc": ["body", "features", position],
            "msg": "Input should be a finite number",
            "input": number,
        }])),
        Err(error) => Err(explain(body, &error)),
    }
}

struct Body {
    row: Vec<f32>,
    /// A number that a single precision cannot hold, and where it is.
    too_large: Option<(usize, f64)>,
}

impl<'de> Deserialize<'de> for Body {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Body, D::Error> {
        deserializer.deserialize_map(BodyVisitor)
    }
}

struct BodyVisitor;

impl<'de> Visitor<'de> for BodyVisitor {
    type Value = Body;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object with features")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Body, A::Error> {
        let mut body = None;
        while let Some(key) = map.next_key::<Key>()? {
            match key {
                // As in Python, the last of several counts.
                Key::Features => body = Some(map.next_value::<Numbers>()?.0),
                Key::Other => drop(map.next_value::<IgnoredAny>()?),
            }
        }
        body.ok_or_else(|| de::Error::missing_field("features"))
    }
}

enum Key {
    Features,
    Other,
}

impl<'de> Deserialize<'de> for Key {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Key, D::Error> {
        struct KeyVisitor;
        impl Visitor<'_> for KeyVisitor {
            type Value = Key;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a key")
            }

            fn visit_str<E>(self, key: &str) -> Result<Key, E> {
                Ok(if key == "features" { Key::Features } else { Key::Other })
            }
        }
        deserializer.deserialize_identifier(KeyVisitor)
    }
}

struct Numbers(Body);

impl<'de> Deserialize<'de> for Numbers {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Numbers, D::Error> {
        struct NumbersVisitor;
        impl<'de> Visitor<'de> for NumbersVisitor {
            type Value = Numbers;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list of numbers")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Numbers, A::Error> {
                let mut body = Body { row: Vec::with_capacity(USUAL_WIDTH), too_large: None };
                while let Some(Number(number)) = items.next_element()? {
                    let single = number as f32;
                    if !single.is_finite() && body.too_large.is_none() {
                        body.too_large = Some((body.row.len(), number));
                    }
                    body.row.push(single);
                }
                Ok(Numbers(body))
            }
        }
        deserializer.deserialize_seq(NumbersVisitor)
    }
}

/// The tutorial's; it saves growing step by step.
const USUAL_WIDTH: usize = 768;

/// What pydantic takes for a float: numbers, booleans, and strings that hold a number.
struct Number(f64);

impl<'de> Deserialize<'de> for Number {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Number, D::Error> {
        struct NumberVisitor;
        impl Visitor<'_> for NumberVisitor {
            type Value = Number;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a number")
            }

            fn visit_f64<E>(self, number: f64) -> Result<Number, E> {
                Ok(Number(number))
            }

            fn visit_i64<E>(self, number: i64) -> Result<Number, E> {
                Ok(Number(number as f64))
            }

            fn visit_u64<E>(self, number: u64) -> Result<Number, E> {
                Ok(Number(number as f64))
            }

            fn visit_bool<E>(self, truth: bool) -> Result<Number, E> {
                Ok(Number(f64::from(u8::from(truth))))
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Number, E> {
                number_in(text).map(Number).ok_or_else(|| E::custom("no number in a string"))
            }
        }
        deserializer.deserialize_any(NumberVisitor)
    }
}

fn number_in(text: &str) -> Option<f64> {
    text.trim().parse().ok().filter(|number: &f64| !number.is_nan())
}

/// Looks at a body again that is not what was expected, and says why as FastAPI does.
fn explain(body: &[u8], error: &serde_json::Error) -> Value {
    if body.is_empty() {
        return json!([{"type": "missing", "loc": ["body"], "msg": "Field required", "input": null}]);
    }
    let Ok(value) = serde_json::from_slice::<Value>(body) else {
        return json!([{
            "type": "json_invalid",
            "loc": ["body", position(body, error)],
            "msg": "JSON decode error",
            "input": {},
            "ctx": {"error": error.to_string()},
        }]);
    };
    let Value::Object(object) = &value else {
        return json!([{
            "type": "model_attributes_type",
            "loc": ["body"],
            "msg": "Input should be a valid dictionary or object to extract fields from",
            "input": value,
        }]);
    };
    let Some(features) = object.get("features") else {
        return json!([{"type": "missing", "loc": ["body", "features"], "msg": "Field required", "input": value}]);
    };
    let Value::Array(items) = features else {
        return json!([{
            "type": "list_type",
            "loc": ["body", "features"],
            "msg": "Input should be a valid list",
            "input": features,
        }]);
    };
    let wrong: Vec<Value> = items
        .iter()
        .enumerate()
        .filter_map(|(position, item)| {
            let (kind, message) = match item {
                Value::Number(_) | Value::Bool(_) => return None,
                Value::String(text) if number_in(text).is_some() => return None,
                Value::String(_) => {
                    ("float_parsing", "Input should be a valid number, unable to parse string as a number")
                }
                _ => ("float_type", "Input should be a valid number"),
            };
            Some(json!({
                "type": kind,
                "loc": ["body", "features", position],
                "msg": message,
                "input": item,
            }))
        })
        .collect();
    if wrong.is_empty() {
        // Only what is said twice, differently, gets here.
        return json!([{"type": "value_error", "loc": ["body"], "msg": error.to_string(), "input": value}]);
    }
    Value::Array(wrong)
}

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
    use super::*;

    #[test]
    fn numbers_come_in_all_the_ways_that_pydantic_takes() {
        let row = parse(br#"{"x":{"features":[9]},"features":[1,-2.5,1e-3,true,"4.5"],"y":null}"#);
        assert_eq!(row.expect("valid"), [1.0, -2.5, 0.001, 1.0, 4.5]);
        assert_eq!(parse(br#"{"features":[]}"#).expect("valid"), [0.0; 0]);
        assert_eq!(parse(br#"{"features":[1],"features":[2]}"#).expect("valid"), [2.0]);
        assert_eq!(parse(br#"{"feat\u0075res":[3]}"#).expect("valid"), [3.0]);
    }

    #[test]
    fn every_fault_is_named_as_fastapi_names_it() {
        for (body, expected) in [
            ("", r#"[{"input":null,"loc":["body"],"msg":"Field required","type":"missing"}]"#),
            (
                r#"{"features":[1,"a",null,1e39]}"#,
                concat!(
                    r#"[{"input":"a","loc":["body","features",1],"msg":"Input should be a valid number, "#,
                    r#"unable to parse string as a number","type":"float_parsing"},"#,
                    r#"{"input":null,"loc":["body","features",2],"msg":"Input should be a valid number","type":"float_type"}]"#
                ),
            ),
            (
                r#"{"features":[1,1e39]}"#,
                r#"[{"input":1e+39,"loc":["body","features",1],"msg":"Input should be a finite number","type":"finite_number"}]"#,
            ),
            (
                r#"{"features":1,"features":[1]}"#,
                concat!(
                    r#"[{"input":{"features":[1]},"loc":["body"],"msg":"invalid type: integer `1`, "#,
                    r#"expected a list of numbers at line 1 column 13","type":"value_error"}]"#
                ),
            ),
            (
                r#"{"features":1}"#,
                r#"[{"input":1,"loc":["body","features"],"msg":"Input should be a valid list","type":"list_type"}]"#,
            ),
        ] {
            let errors = parse(body.as_bytes()).expect_err(body);
            assert_eq!(errors.to_string(), expected, "{body}");
        }
    }

    #[test]
    fn the_place_of_a_syntax_error_is_counted_over_lines() {
        let errors = parse(b"{\"features\":\n [1,]}").expect_err("invalid");
        assert_eq!(errors[0]["type"], "json_invalid");
        assert_eq!(errors[0]["loc"], json!(["body", 17]));
    }
}
