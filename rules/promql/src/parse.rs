//! The grammar of Prometheus 3: operators, calls, aggregations. Selectors are in `selector`, what follows them in
//! `window`, and the types of operands in `check`.

mod check;
mod selector;
mod window;

use promql_parser::label::Labels;
use promql_parser::parser::token::{TokenId, TokenType};
use promql_parser::parser::value::ValueType;
use promql_parser::parser::{
    BinModifier, Expr, LabelModifier, NumberLiteral, StringLiteral, UnaryExpr, VectorMatchCardinality,
};

use crate::error::{Fault, ParseError};
use crate::function::function;
use crate::lexer::Lexer;
use crate::node::{MAX_DEPTH, Node, too_deep};
use crate::number;
use crate::quote::unquote;
use crate::token::{Keyword, Kind, OF_POWER, Operator, Strength, Token, WEAKEST};

/// The tree of a PromQL expression.
///
/// It takes what Prometheus 3 takes with all its feature flags on, in time linear in the length of the text. What the
/// tree has no place for is [`ParseError::Unsupported`].
///
/// # Errors
/// Text that Prometheus refuses, or that this program does not understand, with the place.
pub fn parse(text: &str) -> Result<Expr, ParseError> {
    Parser::new(text).and_then(Parser::query).map_err(|fault| fault.locate(text))
}

pub(crate) struct Parser<'a> {
    lexer: Lexer<'a>,
    /// The word that comes next.
    pub(crate) token: Token<'a>,
    /// How many expressions are open.
    nesting: usize,
    /// The first value of a wrong type. Prometheus looks at types after the grammar, so that a later word may go
    /// before.
    pub(crate) wrong_type: Option<Fault>,
    /// The first construct that the tree has no place for, in text that may still be wrong.
    unsupported: Option<Fault>,
}

impl<'a> Parser<'a> {
    fn new(text: &'a str) -> Result<Self, Fault> {
        let mut lexer = Lexer::new(text);
        let token = lexer.next()?;
        Ok(Self { lexer, token, nesting: 0, wrong_type: None, unsupported: None })
    }

    fn query(mut self) -> Result<Expr, Fault> {
        if self.token.kind == Kind::End {
            return Err(Fault::invalid(0, "no expression found in the query"));
        }
        let node = self.expression(WEAKEST)?;
        if self.token.kind != Kind::End {
            return Err(self.unexpected("an operator or the end of the query"));
        }
        match self.wrong_type.or(self.unsupported) {
            Some(fault) => Err(fault),
            None => Ok(*node.expr),
        }
    }

    /// Takes the word that comes next.
    pub(crate) fn advance(&mut self) -> Result<Token<'a>, Fault> {
        let next = self.lexer.next()?;
        Ok(std::mem::replace(&mut self.token, next))
    }

    pub(crate) fn takes(&mut self, kind: Kind) -> Result<bool, Fault> {
        let found = self.token.kind == kind;
        if found {
            self.advance()?;
        }
        Ok(found)
    }

    pub(crate) fn expect(&mut self, kind: Kind, name: &str) -> Result<Token<'a>, Fault> {
        if self.token.kind == kind { self.advance() } else { Err(self.unexpected(name)) }
    }

    pub(crate) fn unexpected(&self, expected: &str) -> Fault {
        Fault::invalid(self.token.at, format!("expected {expected}, found {}", self.token.found()))
    }

    pub(crate) fn lacks(&mut self, at: usize, construct: &str) {
        self.unsupported.get_or_insert_with(|| Fault::unsupported(at, construct));
    }

    pub(crate) fn refuse_type(&mut self, at: usize, reason: impl FnOnce() -> String) {
        self.wrong_type.get_or_insert_with(|| Fault::invalid(at, reason()));
    }

    /// Runs a part of the grammar that may contain itself.
    pub(crate) fn nested<T>(&mut self, part: impl FnOnce(&mut Self) -> Result<T, Fault>) -> Result<T, Fault> {
        if self.nesting >= MAX_DEPTH {
            return Err(too_deep(self.token.at));
        }
        self.nesting += 1;
        let result = part(self);
        self.nesting -= 1;
        result
    }

    /// An expression whose operators hold at least so strongly.
    pub(crate) fn expression(&mut self, weakest: Strength) -> Result<Node, Fault> {
        self.nested(|parser| {
            let mut node = parser.operand()?;
            while let Kind::Operator(operator) = parser.token.kind {
                if operator.strength() < weakest {
                    break;
                }
                node = parser.operation(node, operator)?;
            }
            Ok(node)
        })
    }

    fn operation(&mut self, left: Node, operator: Operator) -> Result<Node, Fault> {
        let at = self.advance()?.at;
        let modifier = self.matching()?;
        let right = self.expression(operator.strength_of_right())?;
        self.binary(left, (operator, at), modifier, right)
    }

    fn operand(&mut self) -> Result<Node, Fault> {
        if let Kind::Operator(sign @ (Operator::Add | Operator::Sub)) = self.token.kind {
            return self.signed(sign);
        }
        let node = self.primary()?;
        self.modified(node)
    }

    fn modified(&mut self, mut node: Node) -> Result<Node, Fault> {
        loop {
            node = match self.token.kind {
                Kind::LeftBracket => self.window(node)?,
                Kind::At => self.at_modifier(node)?,
                Kind::Keyword(Keyword::Offset) => self.offset(node)?,
                Kind::Keyword(keyword @ (Keyword::Anchored | Keyword::Smoothed)) => {
                    self.extended(node, keyword)?
                }
                _ => return Ok(node),
            };
        }
    }

    fn signed(&mut self, sign: Operator) -> Result<Node, Fault> {
        let at = self.advance()?.at;
        let operand = self.expression(OF_POWER)?;
        self.with_sign(at, sign, operand)
    }

    fn with_sign(&mut self, at: usize, sign: Operator, operand: Node) -> Result<Node, Fault> {
        if let Expr::NumberLiteral(number) = &*operand.expr {
            let val = if sign == Operator::Sub { -number.val } else { number.val };
            return Ok(Node::leaf(at, ValueType::Scalar, Expr::NumberLiteral(NumberLiteral { val })));
        }
        self.check_signed(at, &operand);
        if sign == Operator::Add {
            let mut operand = Node { at, ..operand };
            operand.selection.signed = true;
            return Ok(operand);
        }
        let expr = Expr::Unary(UnaryExpr { expr: operand.expr });
        Node::above(operand.depth, at, operand.kind, expr)
    }

    fn primary(&mut self) -> Result<Node, Fault> {
        match self.token.kind {
            Kind::LeftBrace => self.selector(None),
            Kind::LeftParen => self.parens(),
            Kind::Number | Kind::Duration => self.number_literal(),
            Kind::Text => self.string_literal(),
            kind if kind.is_metric_name() => self.named(),
            _ => Err(self.unexpected("an expression")),
        }
    }

    fn parens(&mut self) -> Result<Node, Fault> {
        let at = self.advance()?.at;
        let inner = self.expression(WEAKEST)?;
        self.expect(Kind::RightParen, "\")\"")?;
        inner.in_parens(at)
    }

    fn number_literal(&mut self) -> Result<Node, Fault> {
        let (at, val) = self.number()?;
        Ok(Node::leaf(at, ValueType::Scalar, Expr::NumberLiteral(NumberLiteral { val })))
    }

    fn string_literal(&mut self) -> Result<Node, Fault> {
        let word = self.advance()?;
        let val = self.text(word);
        Ok(Node::leaf(word.at, ValueType::String, Expr::StringLiteral(StringLiteral { val })))
    }

    /// A call, an aggregation or a selector: what follows the name decides.
    fn named(&mut self) -> Result<Node, Fault> {
        let word = self.advance()?;
        match (word.kind, self.token.kind) {
            (Kind::Aggregator(operator), Kind::LeftParen | Kind::Keyword(Keyword::By | Keyword::Without)) => {
                self.aggregation(word, operator)
            }
            (kind, Kind::LeftParen) if kind.is_function() => self.call(word),
            _ => self.selector(Some(word)),
        }
    }

    /// The value of a number or a duration, and where it is.
    pub(crate) fn number(&mut self) -> Result<(usize, f64), Fault> {
        let value = match self.token.kind {
            Kind::Number => number::value(self.token.text),
            Kind::Duration => number::duration(self.token.text),
            _ => return Err(self.unexpected("a number")),
        };
        let word = self.advance()?;
        let value = value.map_err(|reason| Fault::invalid(word.at, reason))?;
        Ok((word.at, value))
    }

    /// The value of a string. Prometheus takes bytes that are not UTF-8; a tree has no place for them.
    pub(crate) fn text(&mut self, word: Token<'a>) -> String {
        unquote(word.text).unwrap_or_else(|bytes| {
            self.lacks(word.at, "a string that is not UTF-8");
            String::from_utf8_lossy(&bytes).into_owned()
        })
    }

    fn call(&mut self, name: Token<'a>) -> Result<Node, Fault> {
        let arguments = self.arguments()?;
        let Some(function) = function(name.text) else {
            return Err(Fault::invalid(name.at, format!("unknown function {:?}", name.text)));
        };
        self.checked_call(name.at, function, arguments)
    }

    fn arguments(&mut self) -> Result<Vec<Node>, Fault> {
        self.expect(Kind::LeftParen, "\"(\"")?;
        let mut arguments = Vec::new();
        if self.takes(Kind::RightParen)? {
            return Ok(arguments);
        }
        loop {
            arguments.push(self.expression(WEAKEST)?);
            if !self.takes(Kind::Comma)? {
                break;
            }
            if self.token.kind == Kind::RightParen {
                return Err(self.unexpected("an argument after the comma"));
            }
        }
        self.expect(Kind::RightParen, "\",\" or \")\"")?;
        Ok(arguments)
    }

    fn aggregation(&mut self, word: Token<'a>, operator: TokenId) -> Result<Node, Fault> {
        let mut modifier = self.grouping()?;
        let arguments = self.arguments()?;
        if modifier.is_none() {
            modifier = self.grouping()?;
        }
        self.checked_aggregation(word, TokenType::new(operator), arguments, modifier)
    }

    fn grouping(&mut self) -> Result<Option<LabelModifier>, Fault> {
        Ok(if self.takes(Kind::Keyword(Keyword::By))? {
            Some(LabelModifier::Include(self.labels()?))
        } else if self.takes(Kind::Keyword(Keyword::Without))? {
            Some(LabelModifier::Exclude(self.labels()?))
        } else {
            None
        })
    }

    fn labels(&mut self) -> Result<Labels, Fault> {
        self.expect(Kind::LeftParen, "\"(\"")?;
        let mut labels = Vec::new();
        while self.token.kind != Kind::RightParen {
            labels.push(self.label()?);
            if self.token.kind != Kind::RightParen {
                self.expect(Kind::Comma, "\",\" or \")\"")?;
            }
        }
        self.advance()?;
        Ok(Labels { labels })
    }

    fn label(&mut self) -> Result<String, Fault> {
        match self.token.kind {
            Kind::Text => {
                let word = self.advance()?;
                unquote(word.text).ok().filter(|label| !label.is_empty()).ok_or_else(|| {
                    Fault::invalid(word.at, format!("expected the name of a label, found {}", word.text))
                })
            }
            kind if kind.is_label() => Ok(self.advance()?.text.to_owned()),
            _ => Err(self.unexpected("a label or \")\"")),
        }
    }

    /// What stands between an operator and its right side.
    fn matching(&mut self) -> Result<BinModifier, Fault> {
        let mut modifier =
            BinModifier { return_bool: self.takes(Kind::Keyword(Keyword::Bool))?, ..Default::default() };
        modifier.matching = match self.token.kind {
            Kind::Keyword(keyword @ (Keyword::On | Keyword::Ignoring)) => {
                self.advance()?;
                let labels = self.labels()?;
                Some(match keyword {
                    Keyword::On => LabelModifier::Include(labels),
                    _ => LabelModifier::Exclude(labels),
                })
            }
            _ => None,
        };
        if let Kind::Keyword(keyword @ (Keyword::GroupLeft | Keyword::GroupRight)) = self.token.kind {
            if modifier.matching.is_none() {
                return Err(self.unexpected("\"on\" or \"ignoring\" before it"));
            }
            self.advance()?;
            let labels = match self.token.kind {
                Kind::LeftParen => self.labels()?,
                _ => Labels { labels: Vec::new() },
            };
            modifier.card = match keyword {
                Keyword::GroupLeft => VectorMatchCardinality::ManyToOne(labels),
                _ => VectorMatchCardinality::OneToMany(labels),
            };
        }
        self.fill(&mut modifier)?;
        Ok(modifier)
    }

    fn fill(&mut self, modifier: &mut BinModifier) -> Result<(), Fault> {
        let Kind::Keyword(keyword @ (Keyword::Fill | Keyword::FillLeft | Keyword::FillRight)) =
            self.token.kind
        else {
            return Ok(());
        };
        let first = Some(self.fill_value()?);
        let fill = &mut modifier.fill_values;
        let (other, place) = match keyword {
            Keyword::Fill => {
                (fill.lhs, fill.rhs) = (first, first);
                return Ok(());
            }
            Keyword::FillLeft => {
                fill.lhs = first;
                (Keyword::FillRight, &mut fill.rhs)
            }
            _ => {
                fill.rhs = first;
                (Keyword::FillLeft, &mut fill.lhs)
            }
        };
        if self.token.kind == Kind::Keyword(other) {
            *place = Some(self.fill_value()?);
        }
        Ok(())
    }

    fn fill_value(&mut self) -> Result<f64, Fault> {
        self.advance()?;
        self.expect(Kind::LeftParen, "\"(\"")?;
        let (_, value) = self.signed_number()?;
        self.expect(Kind::RightParen, "\")\"")?;
        Ok(value)
    }

    pub(crate) fn signed_number(&mut self) -> Result<(usize, f64), Fault> {
        let at = self.token.at;
        let negative = self.sign()?.is_some_and(|sign| sign == Operator::Sub);
        let (_, value) = self.number()?;
        Ok((at, if negative { -value } else { value }))
    }

    pub(crate) fn sign(&mut self) -> Result<Option<Operator>, Fault> {
        Ok(match self.token.kind {
            Kind::Operator(sign @ (Operator::Add | Operator::Sub)) => {
                self.advance()?;
                Some(sign)
            }
            _ => None,
        })
    }
}
