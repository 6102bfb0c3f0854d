//! The words of PromQL.

use promql_parser::parser::token::{
    T_ADD, T_ATAN2, T_AVG, T_BOTTOMK, T_COUNT, T_COUNT_VALUES, T_DIV, T_EQLC, T_GROUP, T_GTE, T_GTR, T_LAND,
    T_LIMIT_RATIO, T_LIMITK, T_LOR, T_LSS, T_LTE, T_LUNLESS, T_MAX, T_MIN, T_MOD, T_MUL, T_NEQ, T_POW,
    T_QUANTILE, T_STDDEV, T_STDVAR, T_SUB, T_SUM, T_TOPK, TokenId,
};

/// One word of a query and where it starts.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Token<'a> {
    pub(crate) kind: Kind,
    pub(crate) at: usize,
    pub(crate) text: &'a str,
}

impl Token<'_> {
    /// The word as an error names it.
    pub(crate) fn found(&self) -> String {
        match self.kind {
            Kind::End => "the end of the query".to_owned(),
            _ => format!("{:?}", self.text),
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    End,
    /// A name without a colon that is not a keyword.
    Identifier,
    /// A name with a colon.
    MetricIdentifier,
    Number,
    Duration,
    /// A quoted string, with its quotes.
    Text,
    LeftParen,
    RightParen,
    LeftBrace,
    RightBrace,
    LeftBracket,
    RightBracket,
    Comma,
    Colon,
    At,
    /// A single `=`, of a matcher.
    Equal,
    MatchesRegexp,
    MatchesNotRegexp,
    Operator(Operator),
    Aggregator(TokenId),
    Keyword(Keyword),
}

impl Kind {
    /// Whether the word, where a metric is expected, is the metric's name.
    pub(crate) fn is_metric_name(self) -> bool {
        match self {
            Self::Identifier | Self::MetricIdentifier | Self::Aggregator(_) => true,
            Self::Operator(operator) => matches!(operator, Operator::And | Operator::Or | Operator::Unless),
            Self::Keyword(keyword) => !matches!(
                keyword,
                Keyword::Bool | Keyword::GroupLeft | Keyword::GroupRight | Keyword::Ignoring | Keyword::On
            ),
            _ => false,
        }
    }

    /// Whether the word, before a parenthesis, is a function's name.
    pub(crate) fn is_function(self) -> bool {
        match self {
            Self::Identifier => true,
            Self::Keyword(keyword) => matches!(
                keyword,
                Keyword::Start
                    | Keyword::End
                    | Keyword::Step
                    | Keyword::Range
                    | Keyword::MaxOf
                    | Keyword::MinOf
            ),
            _ => false,
        }
    }

    /// Whether the word, in a list of labels, is a label's name.
    pub(crate) fn is_label(self) -> bool {
        match self {
            Self::Identifier | Self::MetricIdentifier | Self::Aggregator(_) => true,
            Self::Operator(operator) => {
                matches!(operator, Operator::And | Operator::Or | Operator::Unless | Operator::Atan2)
            }
            Self::Keyword(keyword) => keyword != Keyword::Without,
            _ => false,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Operator {
    Add,
    Sub,
    Mul,
    Div,
    Mod,
    Pow,
    Atan2,
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
    /// `</` of native histograms.
    TrimUpper,
    /// `>/` of native histograms.
    TrimLower,
    And,
    Or,
    Unless,
}

/// How strongly an operator holds its operands. `or` holds least.
pub(crate) type Strength = u8;

pub(crate) const WEAKEST: Strength = 0;
/// Of `*`, and of a sign before an operand.
pub(crate) const OF_PRODUCT: Strength = 4;
pub(crate) const OF_POWER: Strength = 5;

impl Operator {
    pub(crate) fn strength(self) -> Strength {
        match self {
            Self::Or => WEAKEST,
            Self::And | Self::Unless => 1,
            Self::Equal
            | Self::NotEqual
            | Self::Less
            | Self::LessOrEqual
            | Self::Greater
            | Self::GreaterOrEqual
            | Self::TrimUpper
            | Self::TrimLower => 2,
            Self::Add | Self::Sub => 3,
            Self::Mul | Self::Div | Self::Mod | Self::Atan2 => OF_PRODUCT,
            Self::Pow => OF_POWER,
        }
    }

    /// How strongly an operator on the right must hold to take the operand between the two.
    pub(crate) fn strength_of_right(self) -> Strength {
        if self == Self::Pow { OF_POWER } else { self.strength() + 1 }
    }

    pub(crate) fn is_comparison(self) -> bool {
        matches!(
            self,
            Self::Equal
                | Self::NotEqual
                | Self::Less
                | Self::LessOrEqual
                | Self::Greater
                | Self::GreaterOrEqual
        )
    }

    pub(crate) fn is_set(self) -> bool {
        matches!(self, Self::And | Self::Or | Self::Unless)
    }

    /// The operator in promql-parser's tree, which has none for histograms.
    pub(crate) fn token(self) -> Option<TokenId> {
        Some(match self {
            Self::Add => T_ADD,
            Self::Sub => T_SUB,
            Self::Mul => T_MUL,
            Self::Div => T_DIV,
            Self::Mod => T_MOD,
            Self::Pow => T_POW,
            Self::Atan2 => T_ATAN2,
            Self::Equal => T_EQLC,
            Self::NotEqual => T_NEQ,
            Self::Less => T_LSS,
            Self::LessOrEqual => T_LTE,
            Self::Greater => T_GTR,
            Self::GreaterOrEqual => T_GTE,
            Self::And => T_LAND,
            Self::Or => T_LOR,
            Self::Unless => T_LUNLESS,
            Self::TrimUpper | Self::TrimLower => return None,
        })
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Keyword {
    Anchored,
    Bool,
    By,
    End,
    Fill,
    FillLeft,
    FillRight,
    GroupLeft,
    GroupRight,
    Ignoring,
    MaxOf,
    MinOf,
    Offset,
    On,
    Range,
    Smoothed,
    Start,
    Step,
    Without,
}

/// What a name means outside braces. Keywords ignore case.
pub(crate) fn kind_of_name(name: &str) -> Kind {
    // No keyword is longer, and names may be.
    let keyword = if name.len() <= LONGEST_KEYWORD { keyword(&name.to_ascii_lowercase()) } else { None };
    keyword.unwrap_or(if name.contains(':') { Kind::MetricIdentifier } else { Kind::Identifier })
}

const LONGEST_KEYWORD: usize = "count_values".len();

fn keyword(name: &str) -> Option<Kind> {
    Some(match name {
        "and" => Kind::Operator(Operator::And),
        "or" => Kind::Operator(Operator::Or),
        "unless" => Kind::Operator(Operator::Unless),
        "atan2" => Kind::Operator(Operator::Atan2),
        "sum" => Kind::Aggregator(T_SUM),
        "avg" => Kind::Aggregator(T_AVG),
        "count" => Kind::Aggregator(T_COUNT),
        "min" => Kind::Aggregator(T_MIN),
        "max" => Kind::Aggregator(T_MAX),
        "group" => Kind::Aggregator(T_GROUP),
        "stddev" => Kind::Aggregator(T_STDDEV),
        "stdvar" => Kind::Aggregator(T_STDVAR),
        "topk" => Kind::Aggregator(T_TOPK),
        "bottomk" => Kind::Aggregator(T_BOTTOMK),
        "count_values" => Kind::Aggregator(T_COUNT_VALUES),
        "quantile" => Kind::Aggregator(T_QUANTILE),
        "limitk" => Kind::Aggregator(T_LIMITK),
        "limit_ratio" => Kind::Aggregator(T_LIMIT_RATIO),
        "offset" => Kind::Keyword(Keyword::Offset),
        "smoothed" => Kind::Keyword(Keyword::Smoothed),
        "anchored" => Kind::Keyword(Keyword::Anchored),
        "by" => Kind::Keyword(Keyword::By),
        "without" => Kind::Keyword(Keyword::Without),
        "on" => Kind::Keyword(Keyword::On),
        "ignoring" => Kind::Keyword(Keyword::Ignoring),
        "group_left" => Kind::Keyword(Keyword::GroupLeft),
        "group_right" => Kind::Keyword(Keyword::GroupRight),
        "fill" => Kind::Keyword(Keyword::Fill),
        "fill_left" => Kind::Keyword(Keyword::FillLeft),
        "fill_right" => Kind::Keyword(Keyword::FillRight),
        "bool" => Kind::Keyword(Keyword::Bool),
        "start" => Kind::Keyword(Keyword::Start),
        "end" => Kind::Keyword(Keyword::End),
        "step" => Kind::Keyword(Keyword::Step),
        "range" => Kind::Keyword(Keyword::Range),
        "max_of" => Kind::Keyword(Keyword::MaxOf),
        "min_of" => Kind::Keyword(Keyword::MinOf),
        "inf" | "nan" => Kind::Number,
        _ => return None,
    })
}
