//! JSON that remembers the order of its keys: what is compared to the byte must be written again as it came.

use std::fmt;

use serde::de::{MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::Number;

/// A JSON value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Json {
    /// `null`
    Null,
    /// `true`, `false`
    Bool(bool),
    /// A number.
    Number(Number),
    /// A text.
    Text(String),
    /// A list.
    List(Vec<Json>),
    /// An object, its fields in their order.
    Object(Vec<(String, Json)>),
}

impl Json {
    /// A text.
    pub fn text(text: impl Into<String>) -> Json {
        Json::Text(text.into())
    }

    /// A field of an object.
    pub fn get(&self, name: &str) -> Option<&Json> {
        match self {
            Json::Object(fields) => fields.iter().find(|(field, _)| field == name).map(|(_, value)| value),
            _ => None,
        }
    }

    /// A field of an object, to be changed.
    pub fn get_mut(&mut self, name: &str) -> Option<&mut Json> {
        match self {
            Json::Object(fields) => {
                fields.iter_mut().find(|(field, _)| field == name).map(|(_, value)| value)
            }
            _ => None,
        }
    }

    /// What a path of names leads to.
    pub fn at(&self, path: &[&str]) -> Option<&Json> {
        path.iter().try_fold(self, |value, name| value.get(name))
    }

    /// A text, or nothing.
    pub fn as_text(&self) -> Option<&str> {
        match self {
            Json::Text(text) => Some(text),
            _ => None,
        }
    }

    /// The entries of a list; of anything else none.
    pub fn entries(&self) -> &[Json] {
        match self {
            Json::List(entries) => entries,
            _ => &[],
        }
    }

    /// The entries of a list, to be changed.
    pub fn entries_mut(&mut self) -> Option<&mut Vec<Json>> {
        match self {
            Json::List(entries) => Some(entries),
            _ => None,
        }
    }

    /// Sorts the keys of this and of what lies below.
    pub fn sort_keys(&mut self) {
        match self {
            Json::Object(fields) => {
                fields.sort_by(|(left, _), (right, _)| left.cmp(right));
                for (_, value) in fields {
                    value.sort_keys();
                }
            }
            Json::List(entries) => entries.iter_mut().for_each(Json::sort_keys),
            _ => {}
        }
    }

    /// Puts a field in front of another, or at the end where there is no such field.
    pub fn insert_before(&mut self, before: &str, name: &str, value: Json) {
        if let Json::Object(fields) = self {
            let position = fields.iter().position(|(field, _)| field == before).unwrap_or(fields.len());
            fields.insert(position, (name.to_owned(), value));
        }
    }
}

impl fmt::Display for Json {
    /// On one line, without blanks.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let quoted = |text: &str| serde_json::to_string(text).map_err(|_| fmt::Error);
        match self {
            Json::Null => f.write_str("null"),
            Json::Bool(value) => value.fmt(f),
            Json::Number(value) => value.fmt(f),
            Json::Text(text) => f.write_str(&quoted(text)?),
            Json::List(entries) => {
                f.write_str("[")?;
                for (position, entry) in entries.iter().enumerate() {
                    write!(f, "{}{entry}", if position > 0 { "," } else { "" })?;
                }
                f.write_str("]")
            }
            Json::Object(fields) => {
                f.write_str("{")?;
                for (position, (name, value)) in fields.iter().enumerate() {
                    write!(f, "{}{}:{value}", if position > 0 { "," } else { "" }, quoted(name)?)?;
                }
                f.write_str("}")
            }
        }
    }
}

impl<'de> Deserialize<'de> for Json {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Json, D::Error> {
        deserializer.deserialize_any(Reader)
    }
}

struct Reader;

impl<'de> Visitor<'de> for Reader {
    type Value = Json;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Json, E> {
        Ok(Json::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Json, E> {
        Ok(Json::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Json, E> {
        Ok(Json::Number(value.into()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Json, E> {
        Ok(Json::Number(value.into()))
    }

    fn visit_f64<E: serde::de::Error>(self, value: f64) -> Result<Json, E> {
        Number::from_f64(value).map(Json::Number).ok_or_else(|| E::custom("expected a finite number"))
    }

    fn visit_str<E>(self, text: &str) -> Result<Json, E> {
        Ok(Json::text(text))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut entries: A) -> Result<Json, A::Error> {
        let mut list = Vec::new();
        while let Some(entry) = entries.next_element()? {
            list.push(entry);
        }
        Ok(Json::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Json, A::Error> {
        let mut fields = Vec::new();
        while let Some(field) = entries.next_entry()? {
            fields.push(field);
        }
        Ok(Json::Object(fields))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_is_written_as_it_came() {
        let text = r#"{"z":[1,-2,0.5,null,true],"a":{"b":"\"\n","a":""},"m":{}}"#;
        let json: Json = serde_json::from_str(text).expect("JSON");
        assert_eq!(json.to_string(), text);
        assert_eq!(json.at(&["a", "a"]).and_then(Json::as_text), Some(""));
    }
}
