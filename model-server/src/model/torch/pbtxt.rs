//! Protobuf's text format, as far as configurations of models use it, as JSON.

use serde_json::{Map, Value};

/// The fields of a message. Fields that are named as repeated are lists, however often they are there; of others that
/// are there more than once, the last counts.
pub(super) fn parse(text: &str, repeated: &[&str]) -> Result<Value, String> {
    let mut parser = Parser { rest: text, line: 1, repeated, depth: 0 };
    let fields = parser.fields(None)?;
    Ok(Value::Object(fields))
}

struct Parser<'a> {
    rest: &'a str,
    line: usize,
    repeated: &'a [&'a str],
    depth: usize,
}

impl<'a> Parser<'a> {
    /// Fields up to the closing brace, or to the end of the text.
    fn fields(&mut self, close: Option<char>) -> Result<Map<String, Value>, String> {
        let mut fields = Map::new();
        loop {
            match (self.peek(), close) {
                (None, None) => return Ok(fields),
                (Some(found), Some(close)) if found == close => {
                    self.advance(1);
                    return Ok(fields);
                }
                (None, Some(close)) => return Err(self.expected(&close.to_string())),
                _ => {}
            }
            let name = self.word()?.to_owned();
            let colon = self.eat(':');
            let value = match self.peek() {
                Some('[') => self.list()?,
                Some('{' | '<') => self.message()?,
                _ if colon => self.scalar()?,
                _ => return Err(self.expected(": or {")),
            };
            if self.repeated.contains(&name.as_str()) {
                let list = fields.entry(name).or_insert_with(|| Value::Array(Vec::new()));
                if let Value::Array(list) = list {
                    match value {
                        Value::Array(values) => list.extend(values),
                        value => list.push(value),
                    }
                }
            } else {
                fields.insert(name, value);
            }
            let _ = self.eat(',') || self.eat(';');
        }
    }

    fn list(&mut self) -> Result<Value, String> {
        self.advance(1);
        let mut values = Vec::new();
        loop {
            match self.peek() {
                Some(']') => {
                    self.advance(1);
                    return Ok(Value::Array(values));
                }
                Some('{' | '<') => values.push(self.message()?),
                _ => values.push(self.scalar()?),
            }
            if !self.eat(',') && self.peek() != Some(']') {
                return Err(self.expected(", or ]"));
            }
        }
    }

    fn message(&mut self) -> Result<Value, String> {
        let close = if self.peek() == Some('<') { '>' } else { '}' };
        self.advance(1);
        self.depth += 1;
        if self.depth > DEEPEST {
            return Err(format!("expected at most {DEEPEST} messages in one another in line {}", self.line));
        }
        let fields = self.fields(Some(close))?;
        self.depth -= 1;
        Ok(Value::Object(fields))
    }

    /// A number, a truth value, a text, or a name as a text.
    fn scalar(&mut self) -> Result<Value, String> {
        if let Some(quote @ ('"' | '\'')) = self.peek() {
            return self.text(quote).map(Value::String);
        }
        let word = self.word()?;
        Ok(match word {
            "true" => Value::Bool(true),
            "false" => Value::Bool(false),
            _ => match (word.parse::<i64>(), word.parse::<f64>()) {
                (Ok(number), _) => number.into(),
                (_, Ok(number)) => number.into(),
                _ => word.into(),
            },
        })
    }

    /// Names and paths: escapes are left as they are.
    fn text(&mut self, quote: char) -> Result<String, String> {
        let text = &self.rest[1..];
        let end = text.find([quote, '\n']).filter(|end| text[*end..].starts_with(quote));
        let end = end.ok_or_else(|| self.expected("the end of a text"))?;
        let found = text[..end].to_owned();
        self.advance(end + 2);
        Ok(found)
    }

    fn word(&mut self) -> Result<&'a str, String> {
        self.peek();
        let part = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '+' | '.');
        let length = self.rest.find(|c| !part(c)).unwrap_or(self.rest.len());
        if length == 0 {
            return Err(self.expected("a name or a value"));
        }
        let word = &self.rest[..length];
        self.advance(length);
        Ok(word)
    }

    fn eat(&mut self, token: char) -> bool {
        let found = self.peek() == Some(token);
        if found {
            self.advance(token.len_utf8());
        }
        found
    }

    /// The next character that is neither space nor comment.
    fn peek(&mut self) -> Option<char> {
        loop {
            let next = self.rest.chars().next()?;
            if next == '#' {
                let end = self.rest.find('\n').unwrap_or(self.rest.len());
                self.rest = &self.rest[end..];
            } else if next.is_whitespace() {
                self.line += usize::from(next == '\n');
                self.advance(next.len_utf8());
            } else {
                return Some(next);
            }
        }
    }

    fn advance(&mut self, bytes: usize) {
        self.rest = &self.rest[bytes..];
    }

    fn expected(&mut self, expected: &str) -> String {
        let found = self.peek().map_or("the end".to_owned(), |found| format!("{found:?}"));
        format!("expected {expected} in line {}, found {found}", self.line)
    }
}

/// Messages in one another.
const DEEPEST: usize = 32;

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_configurations_use_is_read() {
        let text = "a: 1 # c\nb { c: 'x' d < e: -1.5 > }\nl: [1, 2,]\nl: 3; f: true, g: KIND_GPU h: [{i: 1}]";
        let expected = json!({
            "a": 1, "b": {"c": "x", "d": {"e": -1.5}}, "l": [1, 2, 3], "f": true, "g": "KIND_GPU", "h": [{"i": 1}],
        });
        assert_eq!(parse(text, &["l"]), Ok(expected));
        assert_eq!(parse("", &[]), Ok(json!({})));
    }

    #[test]
    fn what_is_no_such_text_is_told() {
        for (text, expected) in [
            ("a", "expected : or { in line 1, found the end"),
            ("\na 1", "expected : or { in line 2, found '1'"),
            ("a: [1 2]", "expected , or ] in line 1, found '2'"),
            ("a: \"x\ny\"", "expected the end of a text in line 1, found '\"'"),
            ("a { b: 1 >", "expected a name or a value in line 1, found '>'"),
            ("é", "expected a name or a value in line 1, found 'é'"),
        ] {
            assert_eq!(parse(text, &[]), Err(expected.to_owned()), "{text}");
        }
        let deep = "a {".repeat(100);
        assert!(parse(&deep, &[]).expect_err("deep").starts_with("expected at most 32 messages"));
    }
}
