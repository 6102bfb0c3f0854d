//! Kubernetes label selectors: `app=web,tier in (a,b),!canary`.
//!
//! Grammar and error texts are those of `k8s.io/apimachinery/pkg/labels` (`selector.go`), since callers see them.

mod lexer;
mod parser;

use std::fmt;

/// A label selector. The empty one matches everything.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Selector {
    /// Sorted by key, as upstream renders and echoes them.
    requirements: Vec<Requirement>,
}

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

/// Why a text is no selector, in apimachinery's words.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct SelectorError(pub(crate) String);

impl Selector {
    /// The selector that matches everything.
    pub fn everything() -> Selector {
        Selector::default()
    }

    /// Reads a selector's text form.
    pub fn parse(text: &str) -> Result<Selector, SelectorError> {
        let mut requirements = parser::parse(text)?;
        requirements.sort_by(|left, right| left.key.cmp(&right.key));
        Ok(Selector { requirements })
    }

    /// Whether the selector has no requirement.
    pub fn is_empty(&self) -> bool {
        self.requirements.is_empty()
    }

    /// The requirements, sorted by key.
    pub fn requirements(&self) -> &[Requirement] {
        &self.requirements
    }

    /// Whether an object with the given labels is selected; `label` answers `None` for a label that is absent.
    pub fn matches<'a>(&self, label: impl Fn(&str) -> Option<&'a str>) -> bool {
        self.requirements.iter().all(|requirement| requirement.matches(label(&requirement.key)))
    }
}

impl Requirement {
    fn matches(&self, label: Option<&str>) -> bool {
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

/// The selector as Kubernetes writes it: `app=web,tier in (a,b),!canary`.
impl fmt::Display for Selector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (position, Requirement { key, operator, values }) in self.requirements.iter().enumerate() {
            if position > 0 {
                f.write_str(",")?;
            }
            match operator {
                Operator::Exists => f.write_str(key)?,
                Operator::DoesNotExist => write!(f, "!{key}")?,
                Operator::In | Operator::NotIn => write!(f, "{key} {operator} ({})", values.join(","))?,
                _ => write!(f, "{key}{operator}{}", values.join(","))?,
            }
        }
        Ok(())
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

#[cfg(test)]
mod tests {
    use super::*;

    fn labels<'a>(pairs: &'a [(&'a str, &'a str)]) -> impl Fn(&str) -> Option<&'a str> {
        move |key| pairs.iter().find(|(name, _)| *name == key).map(|(_, value)| *value)
    }

    #[test]
    fn matches_as_kubernetes_does() {
        let pod = labels(&[("app", "web"), ("tier", "5")]);
        for (text, expected) in [
            ("", true),
            ("app=web", true),
            ("app==web", true),
            ("app=db", false),
            ("app!=db", true),
            ("zone!=a", true),
            ("app in (db,web)", true),
            ("app notin (db,web)", false),
            ("zone notin (a)", true),
            ("app", true),
            ("!app", false),
            ("!zone", true),
            ("tier>4", true),
            ("tier>5", false),
            ("tier<6", true),
            ("app>1", false),
            ("zone<1", false),
            ("app=web,tier=5", true),
            ("app=web,tier=6", false),
            ("zone=", false),
        ] {
            let selector = Selector::parse(text).expect(text);
            assert_eq!(selector.matches(&pod), expected, "{text}");
        }
    }

    #[test]
    fn requirements_are_sorted_by_key_and_values_once() {
        let selector = Selector::parse("z in (b, a,b) , a").expect("a valid selector");
        let texts: Vec<(&str, Vec<&str>)> = selector
            .requirements()
            .iter()
            .map(|r| (r.key.as_str(), r.values.iter().map(String::as_str).collect()))
            .collect();
        assert_eq!(texts, [("a", vec![]), ("z", vec!["a", "b"])]);
    }

    #[test]
    fn is_written_as_it_is_read() {
        for text in ["", "app=web", "a in (x,y),b notin (z),!c,d,e!=f,g>5,h<6", "zone="] {
            assert_eq!(Selector::parse(text).expect(text).to_string(), text, "{text}");
        }
    }

    #[test]
    fn errors_are_apimachinerys() {
        for (text, expected) in [
            ("bad===", "unable to parse requirement: found '=', expected: identifier"),
            ("((", "found '(', expected: !, identifier, or 'end of string'"),
            ("!!", "unable to parse requirement: found '!', expected: identifier"),
            ("a in (b", "unable to parse requirement: found '', expected: ',' or ')'"),
            ("a in b", "unable to parse requirement: found 'b' expected: '('"),
            ("a b", "unable to parse requirement: found 'b', expected: in, notin, =, ==, !=, gt, lt"),
            ("a,", "found '', expected: identifier after ','"),
            ("a=b c", "found 'c', expected: ',' or 'end of string'"),
            (
                "a>b",
                "unable to parse requirement: values[0][a]: Invalid value: \"b\": for 'Gt', 'Lt' operators, the value must be an integer",
            ),
            (
                "a in ()",
                "unable to parse requirement: values: Invalid value: []: for 'in', 'notin' operators, values set can't be empty",
            ),
        ] {
            let error = Selector::parse(text).expect_err(text);
            assert_eq!(error.to_string(), expected, "{text}");
        }
        let long = format!("a={}", "x".repeat(64));
        assert!(
            Selector::parse(&long)
                .expect_err("too long")
                .to_string()
                .contains("must be no more than 63 characters")
        );
        assert!(Selector::parse("a b/c/d=1").is_err());
        assert!(Selector::parse("a/b/c=1").is_err());
        assert!(Selector::parse("-a=1").is_err());
    }
}
