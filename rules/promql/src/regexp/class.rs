//! A class in brackets, whose characters Go and the regex crate take for different things.

use super::escape::{Character, NOTHING, perl_class};
use super::fault::Fault;
use super::unicode;

/// A class read and written.
pub(super) struct Class {
    /// In the regex crate's syntax.
    pub(super) text: String,
    /// The length of what was read.
    pub(super) length: usize,
    /// How many classes of Unicode it names.
    pub(super) tables: usize,
}

/// The class that a text starts with: the text starts with `[`. There is no `:]` in it after `last_name_end`.
pub(super) fn class(text: &str, last_name_end: usize) -> Result<Class, Fault> {
    let mut class = Class { text: "[".to_owned(), length: 1, tables: 0 };
    if text[1..].starts_with('^') {
        class.text.push('^');
        class.length += 1;
    }
    let start = class.length;
    loop {
        let rest = &text[class.length..];
        let is_first = class.length == start;
        if rest.is_empty() {
            return Err(Fault::new(0, "missing ] for the ["));
        }
        if rest.starts_with(']') && !is_first {
            class.text.push(']');
            class.length += 1;
            return Ok(class);
        }
        let at = class.length;
        if at < last_name_end
            && let Some(length) = named(rest).map_err(|fault| fault.behind(at))?
        {
            class.take(&rest[..length], length);
            continue;
        }
        class.item(rest, is_first).map_err(|fault| fault.behind(at))?;
    }
}

impl Class {
    fn item(&mut self, rest: &str, is_first: bool) -> Result<(), Fault> {
        if rest.starts_with(r"\p") || rest.starts_with(r"\P") {
            let (written, length) = unicode::class(rest)?;
            self.tables += 1;
            self.take(&written, length);
            return Ok(());
        }
        if let Some(letter) = rest.strip_prefix('\\').and_then(|behind| behind.chars().next())
            && let Some(inside) = perl_class(letter)
        {
            if letter.is_ascii_uppercase() {
                self.take(&format!("[^{inside}]"), 2);
            } else {
                self.take(inside, 2);
            }
            return Ok(());
        }
        self.range(rest, is_first)
    }

    /// One character, or all from one to another.
    fn range(&mut self, rest: &str, is_first: bool) -> Result<(), Fault> {
        let low = Character::read(rest)?;
        let behind = &rest[low.source.len()..];
        if !behind.starts_with('-') || behind.len() == 1 || behind[1..].starts_with(']') {
            let is_last = behind.starts_with(']');
            let plain_hyphen = low.source == "-" && (is_last || is_first && !behind.starts_with('-'));
            let written =
                if plain_hyphen { "-".to_owned() } else { written(low).ok_or_else(|| low.refused())? };
            self.take(&written, low.source.len());
            return Ok(());
        }
        let high = Character::read(&behind[1..]).map_err(|fault| fault.behind(low.source.len() + 1))?;
        let length = low.source.len() + 1 + high.source.len();
        if high.code < low.code {
            let found = &rest[..length];
            return Err(Fault::new(0, format!("expected a range from low to high, found {found:?}")));
        }
        // No text holds a half of a UTF-16 pair, and the regex crate cannot write one.
        let range = match (written(low), written(high)) {
            (Some(low), Some(high)) => format!("{low}-{high}"),
            (Some(low), None) => format!(r"{low}-\x{{D7FF}}"),
            (None, Some(high)) => format!(r"\x{{E000}}-{high}"),
            (None, None) => NOTHING.to_owned(),
        };
        self.take(&range, length);
        Ok(())
    }

    fn take(&mut self, written: &str, length: usize) {
        self.text.push_str(written);
        self.length += length;
    }
}

/// A character as the regex crate reads it in a class.
fn written(character: Character<'_>) -> Option<String> {
    match character.source {
        // What opens a class, ends one, or doubled is a set operation.
        "[" | "]" | "&" | "-" | "~" => Some(format!("\\{}", character.source)),
        source if source.starts_with('\\') => character.written(),
        source => Some(source.to_owned()),
    }
}

/// The length of `[:alpha:]` or `[:^alpha:]`, which mean the same to both; `None` for anything else.
fn named(text: &str) -> Result<Option<usize>, Fault> {
    let Some(inner) = text.strip_prefix("[:") else { return Ok(None) };
    let Some(end) = inner.find(":]") else { return Ok(None) };
    let name = &inner[..end];
    if POSIX.contains(&name.strip_prefix('^').unwrap_or(name)) {
        return Ok(Some(end + 4));
    }
    Err(Fault::new(0, format!("unknown class {:?}", &text[..end + 4])))
}

const POSIX: [&str; 14] = [
    "alnum", "alpha", "ascii", "blank", "cntrl", "digit", "graph", "lower", "print", "punct", "space",
    "upper", "word", "xdigit",
];
