//! From a template's text to tokens, as Go's text/template reads it with the delimiters `<<` and `>>`.

use std::sync::LazyLock;

use regex::Regex;

use super::fault::{Fault, short};

/// A piece of the text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Token {
    pub(super) kind: Kind,
    /// The offset of its first byte.
    pub(super) start: usize,
    /// The offset after its last byte.
    pub(super) end: usize,
}

impl Token {
    /// What is wrong at the token.
    pub(super) fn fault(&self, message: impl Into<String>) -> Fault {
        Fault { at: self.start, message: message.into() }
    }
}

/// What a token is. `Text` stands outside actions, all others inside.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Kind {
    Text,
    LeftDelimiter,
    RightDelimiter,
    LeftParenthesis,
    RightParenthesis,
    Pipe,
    Space,
    /// `=`
    Assign,
    /// `:=`
    Declare,
    Comma,
    /// Any other printable ASCII character, which no rule of the grammar uses.
    Character,
    Bool,
    Number,
    /// `1+2i`
    Complex,
    /// `'x'`
    CharConstant,
    /// `"x"`
    String,
    /// `x` between backquotes.
    RawString,
    /// `.Name`
    Field,
    /// `$` or `$name`
    Variable,
    Identifier,
    Dot,
    Nil,
    Keyword(Keyword),
    /// The end of the template.
    End,
    /// Text that makes no token, with the reason. The last token.
    Fault(String),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Keyword {
    Block,
    Break,
    Continue,
    Define,
    Else,
    End,
    If,
    Range,
    Template,
    With,
}

/// Every token of a text; the last is `End` or `Fault`.
pub(super) fn tokens(text: &str) -> Vec<Token> {
    let mut lexer = Lexer { text, start: 0, position: 0, tokens: Vec::new() };
    if let Err(reason) = lexer.template() {
        lexer.push(Kind::Fault(reason));
    } else {
        lexer.push(Kind::End);
    }
    lexer.tokens
}

/// A letter, a digit or `_`: what names consist of.
pub(super) fn is_alphanumeric(c: char) -> bool {
    static BEYOND_ASCII: LazyLock<Regex> =
        LazyLock::new(|| Regex::new(r"^[\p{L}\p{Nd}]$").expect("a valid expression"));
    if c.is_ascii() {
        c.is_ascii_alphanumeric() || c == '_'
    } else {
        BEYOND_ASCII.is_match(c.encode_utf8(&mut [0; 4]))
    }
}

struct Lexer<'t> {
    text: &'t str,
    /// Where the current token starts.
    start: usize,
    position: usize,
    tokens: Vec<Token>,
}

impl<'t> Lexer<'t> {
    fn rest(&self) -> &'t str {
        &self.text[self.position..]
    }

    fn peek(&self) -> Option<char> {
        self.rest().chars().next()
    }

    fn next(&mut self) -> Option<char> {
        let c = self.peek()?;
        self.position += c.len_utf8();
        Some(c)
    }

    fn accept(&mut self, valid: &[u8]) -> bool {
        let accepted = self.rest().bytes().next().is_some_and(|byte| valid.contains(&byte));
        self.position += usize::from(accepted);
        accepted
    }

    fn accept_run(&mut self, valid: &[u8]) {
        while self.accept(valid) {}
    }

    fn push(&mut self, kind: Kind) {
        self.tokens.push(Token { kind, start: self.start, end: self.position });
        self.start = self.position;
    }

    fn skip(&mut self, bytes: usize) {
        self.position += bytes;
        self.start = self.position;
    }

    fn template(&mut self) -> Result<(), String> {
        while let Some(length) = self.rest().find(LEFT) {
            let after = &self.rest()[length + LEFT.len()..];
            let trims = starts_with_trim(after);
            let text = &self.rest()[..length];
            let kept = if trims { text.trim_end_matches(is_space).len() } else { length };
            self.position += kept;
            if kept > 0 {
                self.push(Kind::Text);
            }
            self.skip(length - kept);
            let marker = if trims { TRIM_BYTES } else { 0 };
            if after[marker..].starts_with("/*") {
                self.position += LEFT.len() + marker;
                self.comment()?;
            } else {
                self.position += LEFT.len();
                self.push(Kind::LeftDelimiter);
                self.skip(marker);
                self.action()?;
            }
        }
        self.position = self.text.len();
        if self.position > self.start {
            self.push(Kind::Text);
        }
        Ok(())
    }

    fn comment(&mut self) -> Result<(), String> {
        let Some(length) = self.rest()[2..].find("*/") else {
            return Err("expected */ at the end of the comment, found the end of the template".to_owned());
        };
        self.position += 2 + length + 2;
        let Some(trims) = self.right_delimiter() else {
            return Err("expected >> right after the comment".to_owned());
        };
        self.close(trims);
        Ok(())
    }

    /// Whether a right delimiter is next, and whether it trims the text after it.
    fn right_delimiter(&self) -> Option<bool> {
        let rest = self.rest();
        if ends_with_trim(rest) && rest[TRIM_BYTES..].starts_with(RIGHT) {
            Some(true)
        } else if rest.starts_with(RIGHT) {
            Some(false)
        } else {
            None
        }
    }

    /// Passes a right delimiter, and spaces after it.
    fn close(&mut self, trims: bool) {
        self.skip(if trims { TRIM_BYTES + RIGHT.len() } else { RIGHT.len() });
        if trims {
            self.skip(self.rest().len() - self.rest().trim_start_matches(is_space).len());
        }
    }

    fn action(&mut self) -> Result<(), String> {
        let mut parentheses = 0_usize;
        loop {
            if let Some(trims) = self.right_delimiter() {
                if parentheses > 0 {
                    return Err("expected ) before >>".to_owned());
                }
                self.start = self.position;
                self.push(Kind::RightDelimiter);
                self.close(trims);
                return Ok(());
            }
            let Some(c) = self.next() else {
                return Err("expected >> at the end of the action, found the end of the template".to_owned());
            };
            match c {
                c if is_space(c) => self.space(),
                '=' => self.push(Kind::Assign),
                ':' if self.accept(b"=") => self.push(Kind::Declare),
                ':' => return Err("expected :=, found :".to_owned()),
                '|' => self.push(Kind::Pipe),
                ',' => self.push(Kind::Comma),
                '"' => self.quoted('"', Kind::String, "string")?,
                '\'' => self.quoted('\'', Kind::CharConstant, "character constant")?,
                '`' => match self.rest().find('`') {
                    Some(length) => {
                        self.position += length + 1;
                        self.push(Kind::RawString);
                    }
                    None => return Err("expected ` at the end of the raw string".to_owned()),
                },
                '$' => self.name(Kind::Variable)?,
                // Before a digit a dot starts a number. The last character of the text is none before a digit.
                '.' if !self.rest().starts_with(|c: char| c.is_ascii_digit()) && !self.rest().is_empty() => {
                    self.name(Kind::Field)?;
                }
                '.' | '+' | '-' | '0'..='9' => {
                    self.position -= 1;
                    self.number()?;
                }
                c if is_alphanumeric(c) => self.identifier()?,
                '(' => {
                    parentheses += 1;
                    self.push(Kind::LeftParenthesis);
                }
                ')' if parentheses > 0 => {
                    parentheses -= 1;
                    self.push(Kind::RightParenthesis);
                }
                ')' => return Err("found ) without ( before it".to_owned()),
                c if c.is_ascii_graphic() => self.push(Kind::Character),
                c => return Err(format!("unexpected character {c:?} in an action")),
            }
        }
    }

    /// The first space is passed. The last one belongs to a right delimiter that trims.
    fn space(&mut self) {
        let rest = self.rest();
        self.position += rest.len() - rest.trim_start_matches(is_space).len();
        let last = &self.text[self.position - 1..];
        if ends_with_trim(last) && last[TRIM_BYTES..].starts_with(RIGHT) {
            self.position -= 1;
        }
        if self.position > self.start {
            self.push(Kind::Space);
        }
    }

    fn quoted(&mut self, quote: char, kind: Kind, what: &str) -> Result<(), String> {
        loop {
            match self.next() {
                Some('\\') if self.peek().is_some_and(|c| c != '\n') => {
                    self.next();
                }
                Some(c) if c == quote => {
                    self.push(kind);
                    return Ok(());
                }
                Some('\n' | '\\') | None => {
                    return Err(format!("expected {quote} at the end of the {what}"));
                }
                Some(_) => {}
            }
        }
    }

    /// The rest of a field's or a variable's name, after its `.` or `$`.
    fn name(&mut self, kind: Kind) -> Result<(), String> {
        let sign = self.position;
        self.take_name()?;
        let bare = self.position == sign;
        self.push(if bare && kind == Kind::Field { Kind::Dot } else { kind });
        Ok(())
    }

    fn take_name(&mut self) -> Result<(), String> {
        let rest = self.rest();
        self.position += rest.find(|c| !is_alphanumeric(c)).unwrap_or(rest.len());
        let rest = self.rest();
        let ends = rest.is_empty()
            || rest.starts_with(|c| is_space(c) || matches!(c, '.' | ',' | '|' | ':' | ')' | '('))
            || rest.starts_with(RIGHT);
        match rest.chars().next() {
            Some(c) if !ends => Err(format!("unexpected character {c:?} after a name")),
            _ => Ok(()),
        }
    }

    /// The first letter is passed.
    fn identifier(&mut self) -> Result<(), String> {
        self.take_name()?;
        let kind = match &self.text[self.start..self.position] {
            "true" | "false" => Kind::Bool,
            "nil" => Kind::Nil,
            "block" => Kind::Keyword(Keyword::Block),
            "break" => Kind::Keyword(Keyword::Break),
            "continue" => Kind::Keyword(Keyword::Continue),
            "define" => Kind::Keyword(Keyword::Define),
            "else" => Kind::Keyword(Keyword::Else),
            "end" => Kind::Keyword(Keyword::End),
            "if" => Kind::Keyword(Keyword::If),
            "range" => Kind::Keyword(Keyword::Range),
            "template" => Kind::Keyword(Keyword::Template),
            "with" => Kind::Keyword(Keyword::With),
            _ => Kind::Identifier,
        };
        self.push(kind);
        Ok(())
    }

    /// Finds where a number ends; whether it is one is found when it is read.
    fn number(&mut self) -> Result<(), String> {
        let mut ends = self.scan_number();
        let complex = ends && self.rest().starts_with(['+', '-']);
        if complex {
            ends = self.scan_number() && self.text[..self.position].ends_with('i');
        }
        if !ends {
            return Err(format!("invalid number {:?}", short(&self.text[self.start..self.position])));
        }
        self.push(if complex { Kind::Complex } else { Kind::Number });
        Ok(())
    }

    fn scan_number(&mut self) -> bool {
        self.accept(b"+-");
        let (digits, exponent): (&[u8], &[u8]) = if !self.accept(b"0") {
            (b"0123456789_", b"eE")
        } else if self.accept(b"xX") {
            (b"0123456789abcdefABCDEF_", b"pP")
        } else if self.accept(b"oO") {
            (b"01234567_", b"")
        } else if self.accept(b"bB") {
            (b"01_", b"")
        } else {
            (b"0123456789_", b"eE")
        };
        self.accept_run(digits);
        if self.accept(b".") {
            self.accept_run(digits);
        }
        if self.accept(exponent) {
            self.accept(b"+-");
            self.accept_run(b"0123456789_");
        }
        self.accept(b"i");
        if self.peek().is_some_and(is_alphanumeric) {
            self.next();
            return false;
        }
        true
    }
}

fn is_space(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\r' | '\n')
}

/// `<<- `: spaces before it are left out.
fn starts_with_trim(text: &str) -> bool {
    let bytes = text.as_bytes();
    bytes.len() >= TRIM_BYTES && bytes[0] == b'-' && is_space(char::from(bytes[1]))
}

/// ` ->>`: spaces after it are left out.
fn ends_with_trim(text: &str) -> bool {
    let bytes = text.as_bytes();
    bytes.len() >= TRIM_BYTES && is_space(char::from(bytes[0])) && bytes[1] == b'-'
}

const LEFT: &str = "<<";
const RIGHT: &str = ">>";
/// A trim marker and the space beside it.
const TRIM_BYTES: usize = 2;
