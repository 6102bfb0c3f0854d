//! Texts of clients in messages.

use std::fmt;

/// A client's text, quoted, and cut if it is long: an answer must not grow with what a client sends.
#[derive(Debug, Clone, Copy)]
pub(super) struct Excerpt<'a>(pub(super) &'a str);

impl fmt::Display for Excerpt<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Excerpt(text) = *self;
        if text.len() <= LONGEST {
            return write!(f, "{text:?}");
        }
        write!(f, "{:?}... ({} bytes)", &text[..text.floor_char_boundary(LONGEST)], text.len())
    }
}

/// Bytes of a client's text that an answer repeats.
pub(super) const LONGEST: usize = 100;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_short_text_is_quoted_and_a_long_one_is_cut_between_characters() {
        assert_eq!(Excerpt("a\"b").to_string(), r#""a\"b""#);
        assert_eq!(Excerpt(&"x".repeat(100)).to_string(), format!("{:?}", "x".repeat(100)));
        let long = "é".repeat(1000);
        assert_eq!(Excerpt(&format!("x{long}")).to_string(), format!("\"x{}\"... (2001 bytes)", &long[..98]));
    }
}
