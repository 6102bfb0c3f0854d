//! One condition of a selector.

use std::fmt;

/// One condition of a selector.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Requirement {
    /// The label's name, `prefix/name` allowed.
    pub key: String,
    /// How the label is compared.
    pub operator: Operator,
    /// Sorted, each once. Empty for [`Operator::Exists`] and [`Operator::DoesNotExist`], one for equality and order.
    pub values: Vec<String>,
}

/// How a requirement compares a label with its values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operator {
    /// `k=v`, `k==v`.
    Equals,
    /// `k!=v`; also true when the label is absent.
    NotEquals,
    /// `k in (a,b)`.
    In,
    /// `k notin (a,b)`; also true when the label is absent.
    NotIn,
    /// `k`.
    Exists,
    /// `!k`.
    DoesNotExist,
    /// `k>5`, integers only.
    GreaterThan,
    /// `k<5`, integers only.
    LessThan,
}

impl Requirement {
    /// Whether a label's value meets the condition; `None` for a label that is absent.
    pub fn matches(&self, label: Option<&str>) -> bool {
        let listed = |value: &str| self.values.iter().any(|listed| listed == value);
        match self.operator {
            Operator::Equals | Operator::In => label.is_some_and(listed),
            Operator::NotEquals | Operator::NotIn => !label.is_some_and(listed),
            Operator::Exists => label.is_some(),
            Operator::DoesNotExist => label.is_none(),
            Operator::GreaterThan => self.ordered(label, |label, bound| label > bound),
            Operator::LessThan => self.ordered(label, |label, bound| label < bound),
        }
    }

    fn ordered(&self, label: Option<&str>, holds: impl Fn(i64, i64) -> bool) -> bool {
        let number = |text: &str| text.parse::<i64>().ok();
        let bound = self.values.first().and_then(|value| number(value));
        matches!((label.and_then(number), bound), (Some(label), Some(bound)) if holds(label, bound))
    }
}

/// The operator as it is written between a key and its values.
impl fmt::Display for Operator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Operator::Equals => "=",
            Operator::NotEquals => "!=",
            Operator::In => "in",
            Operator::NotIn => "notin",
            Operator::Exists => "exists",
            Operator::DoesNotExist => "!",
            Operator::GreaterThan => ">",
            Operator::LessThan => "<",
        })
    }
}
