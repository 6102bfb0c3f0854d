//! Text of others, for logs and errors: on one line, and without anything that commands a terminal.

use std::borrow::Cow;
use std::fmt::Write as _;

/// The text with every character escaped that ends a line, commands a terminal or turns the direction of writing, as
/// JSON escapes them. Quotes and backslashes stay: what is inside JSON already stays JSON.
pub fn printable(text: &str) -> Cow<'_, str> {
    if !text.contains(is_command) {
        return Cow::Borrowed(text);
    }
    let mut line = String::with_capacity(text.len() + 16);
    for character in text.chars() {
        match character {
            '\n' => line.push_str("\\n"),
            '\r' => line.push_str("\\r"),
            '\t' => line.push_str("\\t"),
            other if is_command(other) => {
                // Writing to a string cannot fail; all of them have four digits.
                let _ = write!(line, "\\u{:04x}", u32::from(other));
            }
            other => line.push(other),
        }
    }
    Cow::Owned(line)
}

/// Whether a character ends a line, commands a terminal or turns the direction of writing.
pub fn is_command(character: char) -> bool {
    character.is_control()
        || matches!(character, '\u{2028}' | '\u{2029}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use testkit::rows::each_row;

    use super::*;

    #[test]
    fn lines_and_commands_are_escaped_and_all_else_stays() {
        let rows = [
            ("plain \"quoted\" \\ é 日本", "plain \"quoted\" \\ é 日本"),
            ("two\nlines\r\n\tand", "two\\nlines\\r\\n\\tand"),
            ("\u{1b}[31mred\u{7}\u{0}\u{7f}", "\\u001b[31mred\\u0007\\u0000\\u007f"),
            ("\u{9b}2J \u{2028}", "\\u009b2J \\u2028"),
            ("user\u{202e}txt.exe\u{2066}", "user\\u202etxt.exe\\u2066"),
        ];
        each_row(rows, |(text, expected)| {
            assert_eq!(printable(text), expected, "{text:?}");
        });
    }
}
