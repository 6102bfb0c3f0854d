//! The log's lines: one an event, whatever callers and model files say in it.

use std::fmt::Write as _;
use std::io::{self, Write};

use serve::printable::is_command;

/// Writes events, each of which arrives as one line: nothing in it ends the line or commands a terminal.
pub struct Lines<W>(pub W);

impl<W: Write> Write for Lines<W> {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let text = String::from_utf8_lossy(line.strip_suffix(b"\n").unwrap_or(line));
        let mut safe = String::with_capacity(line.len() + 1);
        for character in text.chars() {
            match character {
                '\n' => safe.push_str("\\n"),
                other if is_command(other) => {
                    // Writing to a string cannot fail. This form is JSON's too.
                    let _ = write!(safe, "\\u{:04x}", u32::from(other));
                }
                other => safe.push(other),
            }
        }
        safe.push('\n');
        self.0.write_all(safe.as_bytes())?;
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_one_line_without_commands() {
        let mut written = Vec::new();
        let event = "a\nFORGED \u{1b}[31m\r\t\u{9b}2J \u{202e} é\n";
        Lines(&mut written).write_all(event.as_bytes()).expect("memory");
        let expected = "a\\nFORGED \\u001b[31m\\u000d\\u0009\\u009b2J \\u202e é\n";
        assert_eq!(String::from_utf8(written).expect("text"), expected);
    }
}
