//! How a text is written: plain where YAML 1.1 reads it back as the same text, else in quotes, and a text of several
//! lines as a block.

use super::{WIDTH, Writer, is_break};

/// How a text is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Style {
    Plain,
    SingleQuoted,
    DoubleQuoted,
    /// Line by line after a `|`.
    Literal,
}

impl Writer {
    /// `indent` is where the lines after the first one start. A key is never folded.
    pub(super) fn scalar(&mut self, text: &str, indent: usize, key: bool) {
        match Style::of(text, key) {
            Style::Plain => {
                self.blank();
                self.folded(text, indent, key, 0);
            }
            Style::SingleQuoted => {
                self.blank();
                self.put('\'');
                self.folded(&text.replace('\'', "''"), indent, key, 1);
                self.put('\'');
            }
            Style::DoubleQuoted => self.double_quoted(text, indent, key),
            Style::Literal => return self.literal(text, indent),
        }
        self.whitespace = false;
        self.indention = false;
    }

    /// A text of one line, folded where a single blank follows the last column. A blank at the first or last
    /// `margin` characters stays.
    fn folded(&mut self, text: &str, indent: usize, key: bool, margin: usize) {
        let mut after_blank = false;
        let mut characters = text.char_indices().peekable();
        while let Some((position, character)) = characters.next() {
            if character != ' ' {
                self.put(character);
                after_blank = false;
                continue;
            }
            let single = !after_blank && characters.peek().is_none_or(|(_, next)| *next != ' ');
            let inside = position >= margin && position + margin < text.len();
            if single && inside && !key && self.column > WIDTH {
                self.indention = false;
                self.line(indent);
            } else {
                self.put(' ');
            }
            after_blank = true;
        }
    }

    fn double_quoted(&mut self, text: &str, indent: usize, key: bool) {
        self.blank();
        self.put('"');
        self.indention = false;
        let mut after_blank = false;
        let mut characters = text.char_indices().peekable();
        while let Some((position, character)) = characters.next() {
            if character == ' ' {
                let inside = position > 0 && position + 1 < text.len();
                if inside && !after_blank && !key && self.column > WIDTH {
                    self.indention = false;
                    self.line(indent);
                    if characters.peek().is_some_and(|(_, next)| *next == ' ') {
                        self.put('\\');
                    }
                } else {
                    self.put(' ');
                }
                after_blank = true;
                continue;
            }
            after_blank = false;
            if !is_printable(character) || is_break(character) || matches!(character, '"' | '\\') {
                for character in escape(character).chars() {
                    self.put(character);
                }
            } else {
                self.put(character);
            }
        }
        self.put('"');
    }

    fn literal(&mut self, text: &str, indent: usize) {
        self.blank();
        self.put('|');
        if text.starts_with(' ') || text.starts_with(is_break) {
            self.put('2');
        }
        let mut from_end = text.chars().rev();
        match (from_end.next().is_some_and(is_break), from_end.next()) {
            (false, _) => self.put('-'),
            (true, None) => self.put('+'),
            (true, Some(before)) if is_break(before) => self.put('+'),
            (true, Some(_)) => {}
        }
        self.newline();
        self.indention = true;
        self.whitespace = true;
        let mut line_start = true;
        for character in text.chars() {
            if is_break(character) {
                match character {
                    '\n' => self.newline(),
                    other => {
                        self.text.push(other);
                        self.column = 0;
                    }
                }
                self.indention = true;
                line_start = true;
            } else {
                if line_start {
                    self.line(indent);
                }
                self.put(character);
                self.indention = false;
                line_start = false;
            }
        }
    }
}

impl Style {
    fn of(text: &str, key: bool) -> Style {
        let special = !text.chars().all(is_printable);
        let breaks = text.contains(is_break);
        let trailing_blank = text.ends_with(' ');
        if text.contains('\n') {
            let blank_break =
                text.chars().zip(text.chars().skip(1)).any(|(left, right)| left == ' ' && is_break(right));
            let literal = !(key || special || trailing_blank || blank_break);
            return if literal { Style::Literal } else { Style::DoubleQuoted };
        }
        if special || breaks || !reads_as_text(text) {
            return Style::DoubleQuoted;
        }
        let quoted = trailing_blank || text.starts_with(' ') || has_indicator(text);
        if quoted { Style::SingleQuoted } else { Style::Plain }
    }
}

/// Whether something in a text of one line means something to YAML outside quotes.
fn has_indicator(text: &str) -> bool {
    if text.starts_with("---") || text.starts_with("...") {
        return true;
    }
    let mut before = None;
    let mut characters = text.chars().peekable();
    while let Some(character) = characters.next() {
        let at_end = characters.peek().is_none_or(|next| *next == ' ');
        let found = match (before, character) {
            (
                None,
                '#' | ',' | '[' | ']' | '{' | '}' | '&' | '*' | '!' | '|' | '>' | '\'' | '"' | '%' | '@'
                | '`',
            )
            | (Some(' '), '#') => true,
            (None, '?' | ':' | '-') | (Some(_), ':') => at_end,
            _ => false,
        };
        if found {
            return true;
        }
        before = Some(character);
    }
    false
}

/// Whether YAML 1.1 reads a plain text as a text: not as a number, a truth value, a time or nothing.
fn reads_as_text(text: &str) -> bool {
    let Some(first) = text.chars().next() else { return false };
    match first {
        'y' | 'Y' | 'n' | 'N' | 't' | 'T' | 'f' | 'F' | 'o' | 'O' | '~' => !WORDS.contains(&text),
        '.' => !(WORDS.contains(&text) || (separates_digits(text) && is_float(&text.replace('_', "")))),
        '0'..='9' | '+' | '-' => {
            let plain = text.replace('_', "");
            !(WORDS.contains(&text)
                || is_time(text)
                || is_integer(&plain)
                || (has_float_digits(&plain) && is_float(&plain))
                || is_base_60(text))
        }
        _ => true,
    }
}

/// Words with a meaning, in the spellings that have it.
const WORDS: [&str; 38] = [
    "y", "Y", "yes", "Yes", "YES", "true", "True", "TRUE", "on", "On", "ON", "n", "N", "no", "No", "NO",
    "false", "False", "FALSE", "off", "Off", "OFF", "~", "null", "Null", "NULL", ".nan", ".NaN", ".NAN",
    ".inf", ".Inf", ".INF", "+.inf", "+.Inf", "+.INF", "-.inf", "-.Inf", "-.INF",
];

/// Whether every `_` stands between two digits.
fn separates_digits(text: &str) -> bool {
    let bytes = text.as_bytes();
    let is_digit =
        |position: Option<usize>| position.and_then(|at| bytes.get(at)).is_some_and(u8::is_ascii_digit);
    (0..bytes.len()).all(|at| bytes[at] != b'_' || (is_digit(at.checked_sub(1)) && is_digit(Some(at + 1))))
}

/// A number that is too large for a float is none.
fn is_float(text: &str) -> bool {
    text.parse::<f64>().is_ok_and(f64::is_finite)
}

/// Digits with at most one point, and an exponent.
fn has_float_digits(text: &str) -> bool {
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    unsigned.starts_with(|first: char| first.is_ascii_digit() || first == '.')
        && unsigned.chars().all(|c| c.is_ascii_digit() || matches!(c, '.' | 'e' | 'E' | '+' | '-'))
}

/// Decimal, or with a prefix: `0x`, `0o`, `0b`.
fn is_integer(text: &str) -> bool {
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    let digits = |text: &str, radix: u32| !text.is_empty() && text.chars().all(|c| c.is_digit(radix));
    if let Some(binary) = text.strip_prefix("0b") {
        // Go looks for a sign here too.
        return digits(binary.strip_prefix(['+', '-']).unwrap_or(binary), 2);
    }
    let prefixed = unsigned.strip_prefix('0').and_then(|rest| {
        let radix = match rest.chars().next()? {
            'x' | 'X' => 16,
            'o' | 'O' => 8,
            'b' | 'B' => 2,
            _ => return None,
        };
        Some(digits(&rest[1..], radix))
    });
    prefixed.unwrap_or_else(|| digits(unsigned, 10))
}

/// `1:30`, `-2:59.5`: numbers to the base of 60, which YAML 1.1 has.
fn is_base_60(text: &str) -> bool {
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    let mut parts = unsigned.split(':');
    let first = parts.next().unwrap_or_default();
    let mut last = parts.next_back();
    let Some(end) = last.as_mut() else { return false };
    if let Some((whole, fraction)) = end.split_once('.') {
        if !fraction.chars().all(|c| c.is_ascii_digit() || c == '_') {
            return false;
        }
        *end = whole;
    }
    let below_60 = |part: &str| match part.as_bytes() {
        [digit] => digit.is_ascii_digit(),
        [tens, digit] => (b'0'..=b'5').contains(tens) && digit.is_ascii_digit(),
        _ => false,
    };
    first.starts_with(|c: char| c.is_ascii_digit())
        && first.chars().all(|c| c.is_ascii_digit() || c == '_')
        && parts.chain(last).all(below_60)
}

/// A date, or a date and a time: `2026-11-23`, `2026-1-2 3:4:5`, `2026-11-23T22:22:50Z`.
fn is_time(text: &str) -> bool {
    let (date, time) = text.split_at(text.find(['T', 't', ' ']).unwrap_or(text.len()));
    let mut date = date.splitn(3, '-');
    let mut part = |digits: std::ops::RangeInclusive<usize>| {
        date.next().filter(|part| digits.contains(&part.len())).and_then(number)
    };
    let (Some(year), Some(month), Some(day)) = (part(4..=4), part(1..=2), part(1..=2)) else { return false };
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let days = match month {
        2 if leap => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        1..=12 => 31,
        _ => 0,
    };
    if !(1..=days).contains(&day) {
        return false;
    }
    if time.is_empty() {
        return true;
    }
    // With a blank there is no zone, with a T there must be one.
    let (clock, zone) = time[1..].split_at(time[1..].find(['Z', '+', '-']).unwrap_or(time.len() - 1));
    (if time.starts_with(' ') { zone.is_empty() } else { is_zone(zone) }) && is_clock(clock)
}

fn is_clock(text: &str) -> bool {
    let mut parts = text.splitn(3, ':');
    let (Some(hours), Some(minutes), Some(seconds)) = (parts.next(), parts.next(), parts.next()) else {
        return false;
    };
    let (seconds, fraction) = seconds.split_once(['.', ',']).unwrap_or((seconds, "0"));
    let below = |text: &str, end: u32| {
        (1..=2).contains(&text.len()) && number(text).is_some_and(|number| number < end)
    };
    below(hours, 24) && below(minutes, 60) && below(seconds, 60) && number(fraction).is_some()
}

fn is_zone(text: &str) -> bool {
    if text == "Z" {
        return true;
    }
    let hours_and_minutes = text.get(1..).and_then(|text| text.split_once(':'));
    hours_and_minutes.is_some_and(|(hours, minutes)| {
        let two =
            |text: &str, most: u32| text.len() == 2 && number(text).is_some_and(|number| number <= most);
        two(hours, 24) && two(minutes, 60)
    })
}

/// Digits only; of many digits the value does not matter here.
fn number(text: &str) -> Option<u32> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    digits.then(|| text.parse().unwrap_or(u32::MAX))
}

/// What may stand in a document as it is. Beyond the first plane everything is escaped.
fn is_printable(character: char) -> bool {
    matches!(character, '\n' | ' '..='~' | '\u{a0}'..='\u{d7ff}' | '\u{e000}'..='\u{fffd}')
        && character != '\u{feff}'
}

fn escape(character: char) -> String {
    let short = match character {
        '\0' => '0',
        '\u{7}' => 'a',
        '\u{8}' => 'b',
        '\t' => 't',
        '\n' => 'n',
        '\u{b}' => 'v',
        '\u{c}' => 'f',
        '\r' => 'r',
        '\u{1b}' => 'e',
        '"' => '"',
        '\\' => '\\',
        '\u{85}' => 'N',
        '\u{a0}' => '_',
        '\u{2028}' => 'L',
        '\u{2029}' => 'P',
        other => {
            let code = u32::from(other);
            return match code {
                0..=0xff => format!("\\x{code:02X}"),
                0x100..=0xffff => format!("\\u{code:04X}"),
                _ => format!("\\U{code:08X}"),
            };
        }
    };
    format!("\\{short}")
}
