//! YAML as `sigs.k8s.io/yaml` writes it (`docs/contract.md#yaml`): keys sorted, lists not indented below their key,
//! long lines folded at 80 columns, a final newline.
//!
//! No serialiser writes the same bytes: they quote by the rules of YAML 1.2, where Go's quotes whatever YAML 1.1 reads
//! as a number, a truth value or a time, and they do not fold. How a text is written is decided in [`scalar`].

mod scalar;
#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::cmp::Ordering;

use std::collections::HashMap;

use serde_json::Value;
use serde_json::value::RawValue;

/// JSON as a document. No tree is made of all of it, which would take ten times the memory: only the fields of the
/// objects around one place are sorted at a time.
///
/// # Errors
/// A text that is not JSON.
pub fn encode(json: &str) -> serde_json::Result<String> {
    let mut writer =
        Writer { text: String::with_capacity(json.len()), column: 0, whitespace: true, indention: true };
    writer.value(serde_json::from_str(json)?, None, false)?;
    writer.line(0);
    Ok(writer.text)
}

/// The document as far as it is written.
struct Writer {
    text: String,
    /// How many characters the current line has.
    column: usize,
    /// Whether the last character was white space or the start of a line.
    whitespace: bool,
    /// Whether the current line holds only blanks and the marks of lists and keys.
    indention: bool,
}

impl Writer {
    /// `indent` is that of the surrounding list or map; `None` at the top.
    fn value(&mut self, value: &RawValue, indent: Option<usize>, in_map: bool) -> serde_json::Result<()> {
        let deeper = indent.map_or(0, |indent| indent + INDENT);
        let json = value.get();
        match json.as_bytes().first() {
            Some(b'[') => {
                let items: Vec<&RawValue> = serde_json::from_str(json)?;
                if items.is_empty() {
                    self.word("[]");
                }
                // The items of a list stand below its key, not further in.
                let indent = indent.filter(|_| in_map && !self.indention).unwrap_or(deeper);
                for item in items {
                    self.line(indent);
                    self.mark("-");
                    self.value(item, Some(indent), false)?;
                }
            }
            Some(b'{') => {
                let fields: HashMap<String, &RawValue> = serde_json::from_str(json)?;
                if fields.is_empty() {
                    self.word("{}");
                }
                self.map(&fields, deeper)?;
            }
            _ => match serde_json::from_str(json)? {
                Value::String(text) => self.scalar(&text, deeper, false),
                other => self.word(&other.to_string()),
            },
        }
        Ok(())
    }

    fn map(&mut self, fields: &HashMap<String, &RawValue>, indent: usize) -> serde_json::Result<()> {
        for (key, value) in sorted(fields) {
            self.line(indent);
            if key.len() > LONGEST_SIMPLE_KEY || key.contains(is_break) {
                self.mark("?");
                self.scalar(key, indent + INDENT, false);
                self.line(indent);
                self.mark(":");
            } else {
                self.scalar(key, indent + INDENT, true);
                self.put(':');
            }
            self.value(value, Some(indent), true)?;
        }
        Ok(())
    }

    /// A new line with this number of blanks, unless the current one still has room for them.
    fn line(&mut self, indent: usize) {
        if !self.indention || self.column > indent || (self.column == indent && !self.whitespace) {
            self.newline();
        }
        while self.column < indent {
            self.put(' ');
        }
        self.whitespace = true;
        self.indention = true;
    }

    fn newline(&mut self) {
        self.text.push('\n');
        self.column = 0;
    }

    fn put(&mut self, character: char) {
        self.text.push(character);
        self.column += 1;
    }

    fn blank(&mut self) {
        if !self.whitespace {
            self.put(' ');
        }
    }

    /// The mark of a list's item or of a long key: what follows may stand on the same line.
    fn mark(&mut self, mark: &str) {
        self.word(mark);
        self.indention = true;
    }

    /// Text without a choice of style.
    fn word(&mut self, text: &str) {
        self.blank();
        for character in text.chars() {
            self.put(character);
        }
        self.whitespace = false;
        self.indention = false;
    }
}

/// The fields in Go's order: letters after everything else, numbers by their value.
fn sorted<'f>(fields: &'f HashMap<String, &RawValue>) -> Vec<(&'f String, &'f RawValue)> {
    let mut fields: Vec<_> = fields.iter().map(|(key, value)| (key, *value)).collect();
    fields.sort_by_key(|(key, _)| *key);
    // Go's order has cycles (`a10`, `a1x`, `a2`), which a sorting function may answer with a panic. Inserting one by
    // one copes, in quadratic time: more fields than any object of ours has keep the plain order.
    if fields.len() <= MOST_IN_GO_ORDER {
        for end in 1..fields.len() {
            let mut position = end;
            while position > 0 && compare(fields[position].0, fields[position - 1].0) == Ordering::Less {
                fields.swap(position, position - 1);
                position -= 1;
            }
        }
    }
    fields
}

fn compare(left: &str, right: &str) -> Ordering {
    let common = left.char_indices().zip(right.chars()).find(|((_, left), right)| left != right);
    let Some(((position, left_char), right_char)) = common else { return left.len().cmp(&right.len()) };
    match (left_char.is_alphabetic(), right_char.is_alphabetic()) {
        (true, true) => return left_char.cmp(&right_char),
        (true, false) => return Ordering::Greater,
        (false, true) => return Ordering::Less,
        (false, false) => {}
    }
    let digits = |text: &str| text[position..].chars().take_while(char::is_ascii_digit).count();
    let (left_digits, right_digits) = (digits(left), digits(right));
    let number = |text: &str, digits: usize| -> Cow<'_, str> {
        // Zeros count when they continue a number that both keys have begun, and lead it otherwise.
        let begun = left[..position].chars().rev().take_while(char::is_ascii_digit).any(|digit| digit != '0');
        let digits = &text[position..position + digits];
        if begun { format!("1{digits}").into() } else { digits.trim_start_matches('0').to_owned().into() }
    };
    let (left_number, right_number) = (number(left, left_digits), number(right, right_digits));
    // Numbers without leading zeros: the longer one is larger.
    (left_number.len().cmp(&right_number.len()))
        .then_with(|| left_number.cmp(&right_number))
        .then(left_digits.cmp(&right_digits))
        .then(left_char.cmp(&right_char))
}

/// What YAML takes for the end of a line.
fn is_break(character: char) -> bool {
    matches!(character, '\n' | '\r' | '\u{85}' | '\u{2028}' | '\u{2029}')
}

const INDENT: usize = 2;
/// A line that is longer is folded at its next blank.
const WIDTH: usize = 80;
/// Longer keys are written with a mark before them and their value on a line of its own.
const LONGEST_SIMPLE_KEY: usize = 128;
const MOST_IN_GO_ORDER: usize = 256;
