//! Names and matchers of series.

use promql_parser::label::{METRIC_NAME, MatchOp, Matcher, Matchers};
use promql_parser::parser::value::ValueType;
use promql_parser::parser::{Expr, VectorSelector};
use regex::Regex;

use crate::error::Fault;
use crate::node::Node;
use crate::parse::Parser;
use crate::quote::unquote;
use crate::regexp;
use crate::token::{Kind, Operator, Token};

impl<'a> Parser<'a> {
    /// A selector, whose metric's name was read if it stands before the braces.
    pub(crate) fn selector(&mut self, name: Option<Token<'a>>) -> Result<Node, Fault> {
        let at = name.map_or(self.token.at, |name| name.at);
        let matchers = if self.takes(Kind::LeftBrace)? { self.matchers()? } else { Vec::new() };
        match name {
            Some(name) => {
                if let Some(second) = matchers.iter().find(|matcher| matcher.name == METRIC_NAME) {
                    self.refuse_type(at, || {
                        format!("metric name set twice: {:?} and {:?}", name.text, second.value)
                    });
                }
            }
            None if matchers.iter().all(|matcher| matcher.is_match("")) => {
                self.refuse_type(at, || EMPTY_SELECTOR.to_owned());
            }
            None => {}
        }
        let selector = VectorSelector {
            name: name.map(|name| name.text.to_owned()),
            matchers: Matchers { matchers, or_matchers: Vec::new() },
            offset: None,
            at: None,
        };
        Ok(Node::leaf(at, ValueType::Vector, Expr::VectorSelector(selector)))
    }

    fn matchers(&mut self) -> Result<Vec<Matcher>, Fault> {
        let mut matchers = Vec::new();
        while self.token.kind != Kind::RightBrace {
            matchers.push(self.matcher()?);
            if self.token.kind != Kind::RightBrace {
                self.expect(Kind::Comma, "\",\" or \"}\"")?;
            }
        }
        self.advance()?;
        Ok(matchers)
    }

    fn matcher(&mut self) -> Result<Matcher, Fault> {
        let (name, quoted) = match self.token.kind {
            Kind::Identifier => (self.advance()?.text.to_owned(), false),
            Kind::Text => {
                let word = self.advance()?;
                (self.text(word), true)
            }
            _ => return Err(self.unexpected("a label or \"}\"")),
        };
        let operator = self.token;
        let expected = match operator.kind {
            Kind::Equal
            | Kind::Operator(Operator::NotEqual)
            | Kind::MatchesRegexp
            | Kind::MatchesNotRegexp => "a string",
            // A string alone is the metric's name.
            Kind::Comma | Kind::RightBrace if quoted => {
                return Ok(Matcher { op: MatchOp::Equal, name: METRIC_NAME.to_owned(), value: name });
            }
            _ => return Err(self.unexpected("\"=\", \"!=\", \"=~\" or \"!~\"")),
        };
        self.advance()?;
        let word = self.expect(Kind::Text, expected)?;
        let op = match operator.kind {
            Kind::Equal => MatchOp::Equal,
            Kind::MatchesRegexp => MatchOp::Re(pattern(word)?),
            Kind::MatchesNotRegexp => MatchOp::NotRe(pattern(word)?),
            _ => MatchOp::NotEqual,
        };
        Ok(Matcher { op, name, value: self.text(word) })
    }
}

/// The pattern as Prometheus compiles it: it matches the whole value, and `.` a line break.
fn pattern(word: Token<'_>) -> Result<Regex, Fault> {
    let pattern = match unquote(word.text) {
        Ok(pattern) => pattern,
        // Go's syntax is UTF-8; what has no syntax is compared as bytes.
        Err(bytes) if bytes.iter().any(|byte| br"\.+*?()|[]{}^$".contains(byte)) => {
            return Err(Fault::invalid(word.at, "expected a regular expression in UTF-8"));
        }
        Err(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
    };
    match regexp::compile_matcher(&pattern) {
        Ok(regexp) => Ok(regexp.into()),
        Err(error) if regexp::translate(&pattern).is_err() => Err(Fault::invalid(word.at, error.to_string())),
        // Go compiles it.
        Err(_) => Err(Fault::unsupported(word.at, "a regular expression of this size")),
    }
}

/// Prometheus does not select all series by a typing error.
pub(crate) const EMPTY_SELECTOR: &str = "vector selector must contain at least one non-empty matcher";
