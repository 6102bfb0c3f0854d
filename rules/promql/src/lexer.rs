//! PromQL text to words. What a character means depends on the brackets around it, as in Prometheus.

use crate::error::Fault;
use crate::number;
use crate::quote;
use crate::token::{Keyword, Kind, Operator, Token, kind_of_name};

pub(crate) struct Lexer<'a> {
    text: &'a str,
    at: usize,
    parens: usize,
    place: Place,
    /// Whether brackets, these or earlier ones, began with a number. Prometheus' lexer asks this before the first
    /// colon.
    number_in_brackets: bool,
}

/// Which characters are allowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    Expression,
    /// Between `{` and `}`.
    Braces,
    /// After `[`, before the first number: neither names nor comments.
    Window {
        colon: bool,
    },
    /// After the first number in brackets: comments again, and no names yet.
    WindowTail {
        colon: bool,
    },
}

impl<'a> Lexer<'a> {
    pub(crate) fn new(text: &'a str) -> Self {
        Self { text, at: 0, parens: 0, place: Place::Expression, number_in_brackets: false }
    }

    /// The next word. After an error there is none.
    pub(crate) fn next(&mut self) -> Result<Token<'a>, Fault> {
        self.skip_blanks();
        let start = self.at;
        let Some(character) = self.peek() else {
            return self.end();
        };
        let kind = match self.place {
            Place::Braces => self.in_braces(character)?,
            Place::Window { .. } | Place::WindowTail { .. } => self.in_brackets(character)?,
            Place::Expression => self.in_expression(character)?,
        };
        Ok(Token { kind, at: start, text: &self.text[start..self.at] })
    }

    /// Whether `(` comes next: a word may be a keyword only there.
    fn paren_follows(&self) -> bool {
        self.text[self.at..].trim_start_matches(BLANKS).starts_with('(')
    }

    fn peek(&self) -> Option<char> {
        self.text[self.at..].chars().next()
    }

    fn takes(&mut self, expected: char) -> bool {
        let found = self.peek() == Some(expected);
        if found {
            self.at += expected.len_utf8();
        }
        found
    }

    fn skip_blanks(&mut self) {
        loop {
            let rest = self.text[self.at..].trim_start_matches(BLANKS);
            self.at = self.text.len() - rest.len();
            if matches!(self.place, Place::Window { .. }) || !rest.starts_with('#') {
                return;
            }
            self.at += rest.find(['\n', '\r']).unwrap_or(rest.len());
        }
    }

    fn end(&self) -> Result<Token<'a>, Fault> {
        match self.place {
            Place::Braces => Err(Fault::invalid(self.at, "unclosed left brace")),
            Place::Expression if self.parens == 0 => Ok(Token { kind: Kind::End, at: self.at, text: "" }),
            Place::Expression => Err(Fault::invalid(self.at, "unclosed left parenthesis")),
            Place::Window { .. } | Place::WindowTail { .. } => {
                Err(Fault::invalid(self.at, "unclosed left bracket"))
            }
        }
    }

    fn in_expression(&mut self, character: char) -> Result<Kind, Fault> {
        match character {
            '0'..='9' => self.number(),
            '.' if self.text[self.at + 1..].starts_with(|next: char| next.is_ascii_digit()) => self.number(),
            'a'..='z' | 'A'..='Z' | '_' | ':' => Ok(self.name()),
            '"' | '\'' | '`' => self.string(character),
            _ => self.symbol(character),
        }
    }

    fn in_brackets(&mut self, character: char) -> Result<Kind, Fault> {
        match character {
            ':' => self.colon(),
            'a'..='z' | 'A'..='Z' | '_' => {
                let start = self.at;
                // Without digits, so that the number of `max_of1` is left over and refused.
                let rest = self.text[start..]
                    .trim_start_matches(|next: char| next.is_ascii_alphabetic() || next == '_');
                self.at = self.text.len() - rest.len();
                match kind_of_name(&self.text[start..self.at]) {
                    kind
                    @ Kind::Keyword(Keyword::Step | Keyword::Range | Keyword::MaxOf | Keyword::MinOf) => {
                        Ok(kind)
                    }
                    _ => Err(Fault::invalid(
                        start,
                        format!("expected a duration, found {:?}", &self.text[start..self.at]),
                    )),
                }
            }
            _ => self.in_expression(character),
        }
    }

    fn colon(&mut self) -> Result<Kind, Fault> {
        if matches!(self.place, Place::Window { .. }) && !self.number_in_brackets {
            return Err(Fault::invalid(self.at, "expected a number before the colon in brackets"));
        }
        if let Place::Window { colon } | Place::WindowTail { colon } = &mut self.place {
            if *colon {
                return Err(Fault::invalid(self.at, "expected one colon in brackets, found two"));
            }
            *colon = true;
        }
        self.at += 1;
        Ok(Kind::Colon)
    }

    fn in_braces(&mut self, character: char) -> Result<Kind, Fault> {
        match character {
            'a'..='z' | 'A'..='Z' | '_' => {
                let rest = self.text[self.at..].trim_start_matches(is_word);
                self.at = self.text.len() - rest.len();
                return Ok(Kind::Identifier);
            }
            '"' | '\'' | '`' => return self.string(character),
            ',' | '=' | '!' | '}' => self.at += 1,
            _ => {
                return Err(Fault::invalid(
                    self.at,
                    format!("expected a label matcher or \"}}\", found {character:?}"),
                ));
            }
        }
        match character {
            ',' => Ok(Kind::Comma),
            '}' => {
                self.place = Place::Expression;
                Ok(Kind::RightBrace)
            }
            '=' if self.takes('~') => Ok(Kind::MatchesRegexp),
            '=' => Ok(Kind::Equal),
            _ if self.takes('~') => Ok(Kind::MatchesNotRegexp),
            _ if self.takes('=') => Ok(Kind::Operator(Operator::NotEqual)),
            _ => Err(Fault::invalid(self.at - 1, "expected \"!=\" or \"!~\", found \"!\"")),
        }
    }

    fn number(&mut self) -> Result<Kind, Fault> {
        let start = self.at;
        let (end, kind) = number::scan(self.text.as_bytes(), start);
        if let Place::Window { colon } = self.place {
            self.place = Place::WindowTail { colon };
            self.number_in_brackets = true;
        }
        if let Some(kind) = kind {
            self.at = end;
            return Ok(kind);
        }
        let rest = self.text[start..].trim_start_matches(|next| is_word(next) || next == '.');
        let found = &self.text[start..self.text.len() - rest.len()];
        Err(Fault::invalid(start, format!("expected a number or duration, found {found:?}")))
    }

    fn name(&mut self) -> Kind {
        let start = self.at;
        let rest = self.text[start..].trim_start_matches(|next| is_word(next) || next == ':');
        self.at = self.text.len() - rest.len();
        match kind_of_name(&self.text[start..self.at]) {
            // Metrics of these names were there before the modifiers.
            Kind::Keyword(Keyword::Fill | Keyword::FillLeft | Keyword::FillRight)
                if !self.paren_follows() =>
            {
                Kind::Identifier
            }
            kind => kind,
        }
    }

    fn string(&mut self, mark: char) -> Result<Kind, Fault> {
        self.at = quote::scan(self.text, self.at, mark)?;
        Ok(Kind::Text)
    }

    fn symbol(&mut self, character: char) -> Result<Kind, Fault> {
        let start = self.at;
        self.at += character.len_utf8();
        let operator = match character {
            '+' => Operator::Add,
            '-' => Operator::Sub,
            '*' => Operator::Mul,
            '/' => Operator::Div,
            '%' => Operator::Mod,
            '^' => Operator::Pow,
            '=' if self.takes('=') => Operator::Equal,
            '=' if self.peek() == Some('~') => {
                return Err(Fault::invalid(
                    start,
                    "expected an operator, found \"=~\", which belongs in braces",
                ));
            }
            '=' => return Ok(Kind::Equal),
            '!' if self.takes('=') => Operator::NotEqual,
            '<' if self.takes('=') => Operator::LessOrEqual,
            '<' if self.takes('/') => Operator::TrimUpper,
            '<' => Operator::Less,
            '>' if self.takes('=') => Operator::GreaterOrEqual,
            '>' if self.takes('/') => Operator::TrimLower,
            '>' => Operator::Greater,
            ',' => return Ok(Kind::Comma),
            '@' => return Ok(Kind::At),
            '(' => {
                self.parens += 1;
                return Ok(Kind::LeftParen);
            }
            ')' => {
                self.parens = self
                    .parens
                    .checked_sub(1)
                    .ok_or_else(|| Fault::invalid(start, "unexpected right parenthesis"))?;
                return Ok(Kind::RightParen);
            }
            '{' => {
                self.place = Place::Braces;
                return Ok(Kind::LeftBrace);
            }
            '[' if self.place == Place::Expression => {
                self.place = Place::Window { colon: false };
                return Ok(Kind::LeftBracket);
            }
            ']' if self.place != Place::Expression => {
                self.place = Place::Expression;
                return Ok(Kind::RightBracket);
            }
            _ => return Err(Fault::invalid(start, format!("unexpected character {character:?}"))),
        };
        Ok(Kind::Operator(operator))
    }
}

const BLANKS: [char; 4] = [' ', '\t', '\n', '\r'];

fn is_word(character: char) -> bool {
    character.is_ascii_alphanumeric() || character == '_'
}
