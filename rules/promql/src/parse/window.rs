//! What follows a selector: ranges, subqueries, offsets, times, and the durations in them.

use std::time::{Duration, SystemTime};

use promql_parser::parser::value::ValueType;
use promql_parser::parser::{AtModifier, Expr, MatrixSelector, Offset, SubqueryExpr, VectorSelector};

use crate::error::Fault;
use crate::node::Node;
use crate::number::{is_out_of_range, length};
use crate::parse::Parser;
use crate::token::{Keyword, Kind, OF_POWER, Operator, Strength, WEAKEST};

/// A duration in seconds, or one that is known only when the query runs.
#[derive(Debug, Clone, Copy)]
enum Span {
    Seconds(f64),
    Computed,
}

impl Parser<'_> {
    pub(crate) fn window(&mut self, node: Node) -> Result<Node, Fault> {
        let bracket = self.advance()?.at;
        let range = self.positive_span()?;
        if self.takes(Kind::RightBracket)? {
            return matrix(node, bracket, range);
        }
        self.expect(Kind::Colon, "\":\" or \"]\"")?;
        let step = if self.token.kind == Kind::RightBracket { None } else { Some(self.positive_span()?) };
        self.expect(Kind::RightBracket, "\"]\"")?;
        self.check_subquery(&node);
        let subquery = SubqueryExpr {
            expr: node.expr,
            offset: None,
            at: None,
            range: range.length(),
            // A step that rounds to nothing is the default one.
            step: step.map(Span::length).filter(|step| !step.is_zero()),
        };
        Node::above(node.depth, node.at, ValueType::Matrix, Expr::Subquery(subquery))
    }

    fn positive_span(&mut self) -> Result<Span, Fault> {
        let at = self.token.at;
        match self.span(WEAKEST)? {
            Span::Seconds(seconds) if seconds <= 0. => {
                Err(Fault::invalid(at, "duration must be greater than 0"))
            }
            span => Ok(span),
        }
    }

    /// A duration whose operators hold at least so strongly.
    fn span(&mut self, weakest: Strength) -> Result<Span, Fault> {
        let left = self.nested(Self::span_operand)?;
        self.span_operators(left, weakest)
    }

    fn span_operators(&mut self, mut left: Span, weakest: Strength) -> Result<Span, Fault> {
        while let Kind::Operator(operator) = self.token.kind {
            let is_arithmetic = matches!(
                operator,
                Operator::Add | Operator::Sub | Operator::Mul | Operator::Div | Operator::Mod | Operator::Pow
            );
            if !is_arithmetic || operator.strength() < weakest {
                break;
            }
            let at = self.advance()?.at;
            self.lacks(at, DURATION_EXPRESSION);
            let right = self.nested(|parser| parser.span(operator.strength_of_right()))?;
            if matches!((operator, right), (Operator::Div | Operator::Mod, Span::Seconds(0.))) {
                return Err(Fault::invalid(at, "division by zero in a duration"));
            }
            left = Span::Computed;
        }
        Ok(left)
    }

    fn span_operand(&mut self) -> Result<Span, Fault> {
        let at = self.token.at;
        match self.token.kind {
            Kind::Operator(sign @ (Operator::Add | Operator::Sub)) => {
                self.advance()?;
                self.span(OF_POWER)?.signed(at, sign)
            }
            Kind::LeftParen => {
                self.lacks(at, DURATION_EXPRESSION);
                self.span_in_parens()
            }
            Kind::Number | Kind::Duration => Span::Seconds(self.number()?.1).checked(at),
            Kind::Keyword(Keyword::Step | Keyword::Range | Keyword::MaxOf | Keyword::MinOf) => {
                self.span_call()
            }
            _ => Err(self.unexpected("a duration")),
        }
    }

    fn span_in_parens(&mut self) -> Result<Span, Fault> {
        self.expect(Kind::LeftParen, "\"(\"")?;
        let span = self.span(WEAKEST)?;
        self.expect(Kind::RightParen, "\")\"")?;
        Ok(span)
    }

    fn span_call(&mut self) -> Result<Span, Fault> {
        let function = self.advance()?;
        self.lacks(function.at, DURATION_EXPRESSION);
        self.expect(Kind::LeftParen, "\"(\"")?;
        if matches!(function.kind, Kind::Keyword(Keyword::MaxOf | Keyword::MinOf)) {
            self.span(WEAKEST)?;
            self.expect(Kind::Comma, "\",\"")?;
            self.span(WEAKEST)?;
        }
        self.expect(Kind::RightParen, "\")\"")?;
        Ok(Span::Computed)
    }

    pub(crate) fn offset(&mut self, mut node: Node) -> Result<Node, Fault> {
        self.advance()?;
        let span = self.offset_span()?;
        let is_set = node.selection.computed_offset;
        let Some((offset, _)) = modifiers(&mut node.expr) else {
            return Err(Fault::invalid(node.at, format!("offset must follow {SELECTION}")));
        };
        if is_set || offset.is_some() {
            return Err(Fault::invalid(node.at, "offset set twice"));
        }
        match span {
            Span::Computed => node.selection.computed_offset = true,
            Span::Seconds(seconds) => {
                let length = length(seconds);
                *offset = match () {
                    // None at all, so that another may follow.
                    () if length.is_zero() && !seconds.is_nan() => None,
                    () if seconds < 0. => Some(Offset::Neg(length)),
                    // What Go makes of NaN on amd64: the time furthest ahead.
                    () if seconds.is_nan() => Some(Offset::Neg(Duration::from_nanos(i64::MAX as u64))),
                    () => Some(Offset::Pos(length)),
                };
            }
        }
        Ok(node)
    }

    /// The duration of an offset. It ends before an operator, as `m offset 5m ^ 2` is a power of values, unless it
    /// starts as only an expression of durations can.
    fn offset_span(&mut self) -> Result<Span, Fault> {
        let at = self.token.at;
        let sign = self.sign()?;
        let signed = |span: Span| sign.map_or(Ok(span), |sign| span.signed(at, sign));
        match self.token.kind {
            Kind::Number | Kind::Duration => {
                let (literal, seconds) = self.number()?;
                signed(Span::Seconds(seconds).checked(literal)?)
            }
            Kind::Keyword(Keyword::Step | Keyword::Range | Keyword::MaxOf | Keyword::MinOf) => {
                self.span_call()
            }
            Kind::LeftParen if sign.is_some() => signed(self.span_in_parens()?),
            _ => {
                let operand = self.span(if sign.is_some() { OF_POWER } else { WEAKEST })?;
                self.span_operators(signed(operand)?, WEAKEST)
            }
        }
    }

    pub(crate) fn at_modifier(&mut self, mut node: Node) -> Result<Node, Fault> {
        self.advance()?;
        let time = match self.token.kind {
            Kind::Keyword(keyword @ (Keyword::Start | Keyword::End)) => {
                self.advance()?;
                self.expect(Kind::LeftParen, "\"(\"")?;
                self.expect(Kind::RightParen, "\")\"")?;
                if keyword == Keyword::Start { AtModifier::Start } else { AtModifier::End }
            }
            Kind::Number | Kind::Duration | Kind::Operator(_) => {
                let (at, seconds) = self.signed_number()?;
                AtModifier::At(time(seconds).ok_or_else(|| {
                    Fault::invalid(at, format!("timestamp out of bounds for the @ modifier: {seconds}"))
                })?)
            }
            _ => return Err(self.unexpected("a timestamp, start() or end()")),
        };
        match modifiers(&mut node.expr) {
            Some((_, at @ None)) => *at = Some(time),
            Some(_) => return Err(Fault::invalid(node.at, "@ set twice")),
            None => return Err(Fault::invalid(node.at, format!("@ must follow {SELECTION}"))),
        }
        Ok(node)
    }

    pub(crate) fn extended(&mut self, mut node: Node, keyword: Keyword) -> Result<Node, Fault> {
        let word = self.advance()?;
        if !matches!(*node.expr, Expr::VectorSelector(_) | Expr::MatrixSelector(_)) || node.selection.signed {
            return Err(Fault::invalid(node.at, format!("{} must follow a selector", word.text)));
        }
        let before = node.selection.extended.replace(keyword);
        if before.is_some_and(|before| before != keyword) {
            return Err(Fault::invalid(node.at, "anchored and smoothed cannot be used together"));
        }
        let is_anchored = keyword == Keyword::Anchored;
        self.lacks(word.at, if is_anchored { "the modifier anchored" } else { "the modifier smoothed" });
        Ok(node)
    }
}

fn matrix(node: Node, bracket: usize, range: Span) -> Result<Node, Fault> {
    match *node.expr {
        Expr::VectorSelector(VectorSelector { offset: Some(_), .. }) => {
            Err(Fault::invalid(bracket, "no offset allowed before a range"))
        }
        Expr::VectorSelector(VectorSelector { at: Some(AtModifier::At(_)), .. }) => {
            Err(Fault::invalid(bracket, "no @ allowed before a range"))
        }
        Expr::VectorSelector(vs) => Ok(Node {
            expr: Box::new(Expr::MatrixSelector(MatrixSelector { vs, range: range.length() })),
            kind: ValueType::Matrix,
            ..node
        }),
        _ => Err(Fault::invalid(bracket, "ranges only allowed for selectors")),
    }
}

/// The offset and the time of what may have them.
fn modifiers(expr: &mut Expr) -> Option<(&mut Option<Offset>, &mut Option<AtModifier>)> {
    match expr {
        Expr::VectorSelector(selector) => Some((&mut selector.offset, &mut selector.at)),
        Expr::MatrixSelector(selector) => Some((&mut selector.vs.offset, &mut selector.vs.at)),
        Expr::Subquery(subquery) => Some((&mut subquery.offset, &mut subquery.at)),
        _ => None,
    }
}

/// A time in seconds since 1970, rounded to milliseconds.
fn time(seconds: f64) -> Option<SystemTime> {
    if seconds.is_nan() || seconds.abs() >= i64::MAX as f64 {
        return None;
    }
    let milliseconds = (seconds * 1000.).round();
    // Go on amd64 takes what int64 cannot hold for its smallest value.
    let milliseconds = if milliseconds.abs() >= i64::MAX as f64 { i64::MIN } else { milliseconds as i64 };
    let length = Duration::from_millis(milliseconds.unsigned_abs());
    if milliseconds < 0 {
        SystemTime::UNIX_EPOCH.checked_sub(length)
    } else {
        SystemTime::UNIX_EPOCH.checked_add(length)
    }
}

impl Span {
    fn checked(self, at: usize) -> Result<Self, Fault> {
        match self {
            Self::Seconds(seconds) if is_out_of_range(seconds) => {
                Err(Fault::invalid(at, "duration out of range"))
            }
            span => Ok(span),
        }
    }

    fn signed(self, at: usize, sign: Operator) -> Result<Self, Fault> {
        match self {
            Self::Seconds(seconds) if sign == Operator::Sub => Self::Seconds(-seconds).checked(at),
            span => span.checked(at),
        }
    }

    fn length(self) -> Duration {
        match self {
            Self::Seconds(seconds) => length(seconds),
            Self::Computed => Duration::ZERO,
        }
    }
}

const DURATION_EXPRESSION: &str = "an expression of durations";
const SELECTION: &str = "a selector, a range or a subquery";
