//! Kubernetes field selectors: `metadata.name=web-1,metadata.namespace!=kube-system`.
//!
//! Grammar and error texts are those of `k8s.io/apimachinery/pkg/fields` (`selector.go`). A backslash before `\`, `,`
//! and `=` makes them part of a value.

use std::fmt;

/// A field selector: every term must hold. The empty one matches everything.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct FieldSelector {
    /// Sorted by their text, as upstream sorts them before it looks for a name.
    terms: Vec<Term>,
}

/// One condition of a field selector.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Term {
    /// The field as written, such as `metadata.name`.
    pub field: String,
    /// How the field is compared.
    pub operator: Operator,
    /// What it is compared with, unescaped.
    pub value: String,
}

/// How a term compares a field with its value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operator {
    /// `f=v`, `f==v`.
    Equals,
    /// `f!=v`.
    NotEquals,
}

/// Why a text is not a field selector, in apimachinery's words.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FieldSelectorError {
    /// A term without an operator.
    #[error("invalid selector: '{selector}'; can't understand '{term}'")]
    NotATerm {
        /// The whole text.
        selector: String,
        /// The part of it.
        term: String,
    },
    /// A backslash before anything but `\`, `,` and `=`, or at the end.
    #[error("invalid field selector: invalid escape sequence: {0}")]
    Escape(String),
    /// A `=` in a value; upstream writes its number.
    #[error("invalid field selector: unescaped character in value: {0}")]
    Unescaped(u32),
}

impl FieldSelector {
    /// The selector that matches everything.
    pub fn everything() -> FieldSelector {
        FieldSelector::default()
    }

    /// Reads a selector's text form.
    pub fn parse(text: &str) -> Result<FieldSelector, FieldSelectorError> {
        let mut parts: Vec<&str> = split(text).into_iter().filter(|part| !part.is_empty()).collect();
        parts.sort_unstable();
        let not_a_term =
            |term: &str| FieldSelectorError::NotATerm { selector: text.to_owned(), term: term.to_owned() };
        let terms = parts.into_iter().map(|part| Term::parse(part).ok_or_else(|| not_a_term(part))?);
        Ok(FieldSelector { terms: terms.collect::<Result<_, _>>()? })
    }

    /// Whether the selector has no term.
    pub fn is_empty(&self) -> bool {
        self.terms.is_empty()
    }

    /// The terms, sorted by their text.
    pub fn terms(&self) -> &[Term] {
        &self.terms
    }

    /// A value that a field must have, by the first term that demands one. Others may contradict it.
    pub fn exact(&self, field: &str) -> Option<&str> {
        let mut terms = self.terms.iter();
        let term = terms.find(|term| term.field == field && term.operator == Operator::Equals);
        term.map(|term| term.value.as_str())
    }

    /// Whether an object is selected; `field` answers the empty text for a field that the object lacks.
    pub fn matches<'a>(&self, field: impl Fn(&str) -> &'a str) -> bool {
        self.terms.iter().all(|Term { field: name, operator, value }| match operator {
            Operator::Equals => field(name) == value,
            Operator::NotEquals => field(name) != value,
        })
    }
}

impl Term {
    /// `None` without an operator. The field's name cannot be escaped, so the first operator is the one.
    fn parse(text: &str) -> Option<Result<Term, FieldSelectorError>> {
        let place = text.match_indices('=').next()?.0;
        let (field, operator) = match text[..place].strip_suffix('!') {
            Some(field) => (field, Operator::NotEquals),
            None => (&text[..place], Operator::Equals),
        };
        let value = &text[place + 1..];
        let value = match operator {
            Operator::Equals => value.strip_prefix('=').unwrap_or(value),
            Operator::NotEquals => value,
        };
        Some(unescape(value).map(|value| Term { field: field.to_owned(), operator, value }))
    }
}

/// The terms of a text; a comma after a backslash does not end one.
fn split(text: &str) -> Vec<&str> {
    let (mut terms, mut start, mut is_escaped) = (Vec::new(), 0, false);
    for (place, character) in text.char_indices() {
        match character {
            _ if is_escaped => is_escaped = false,
            '\\' => is_escaped = true,
            ',' => {
                terms.push(&text[start..place]);
                start = place + 1;
            }
            _ => {}
        }
    }
    terms.push(&text[start..]);
    terms
}

fn unescape(text: &str) -> Result<String, FieldSelectorError> {
    let mut value = String::with_capacity(text.len());
    let mut characters = text.chars();
    while let Some(character) = characters.next() {
        match character {
            '\\' => match characters.next() {
                Some(escaped @ ('\\' | ',' | '=')) => value.push(escaped),
                other => {
                    return Err(FieldSelectorError::Escape(std::iter::once('\\').chain(other).collect()));
                }
            },
            ',' | '=' => return Err(FieldSelectorError::Unescaped(u32::from(character))),
            other => value.push(other),
        }
    }
    Ok(value)
}

/// The selector as Kubernetes writes it, in a form that is read again with the same terms.
impl fmt::Display for FieldSelector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (position, Term { field, operator, value }) in self.terms.iter().enumerate() {
            if position > 0 {
                f.write_str(",")?;
            }
            let operator = match operator {
                Operator::Equals => "=",
                Operator::NotEquals => "!=",
            };
            write!(f, "{field}{operator}")?;
            for character in value.chars() {
                if matches!(character, '\\' | ',' | '=') {
                    f.write_str("\\")?;
                }
                write!(f, "{character}")?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use testkit::rows::each_row;

    use super::Operator::{Equals, NotEquals};
    use super::*;

    #[test]
    fn terms_are_apimachinerys() {
        for (text, expected) in [
            ("", vec![]),
            (",,", vec![]),
            ("a=b", vec![("a", Equals, "b")]),
            ("a==b", vec![("a", Equals, "b")]),
            ("a!=b", vec![("a", NotEquals, "b")]),
            ("a=", vec![("a", Equals, "")]),
            ("=a", vec![("", Equals, "a")]),
            ("a!==", vec![]),
            ("a=b,a!=c", vec![("a", NotEquals, "c"), ("a", Equals, "b")]),
            ("a=c,a=b", vec![("a", Equals, "b"), ("a", Equals, "c")]),
            (" a = b ", vec![(" a ", Equals, " b ")]),
            (r"a=b\,c", vec![("a", Equals, "b,c")]),
            (r"a=b\=c", vec![("a", Equals, "b=c")]),
            (r"a==\=c", vec![("a", Equals, "=c")]),
            (r"a=b\\,c=d", vec![("a", Equals, r"b\"), ("c", Equals, "d")]),
            (r"a\=b", vec![(r"a\", Equals, "b")]),
            ("a=!b", vec![("a", Equals, "!b")]),
            ("a!!=b", vec![("a!", NotEquals, "b")]),
        ] {
            if expected.is_empty() && !text.is_empty() && text != ",," {
                assert!(FieldSelector::parse(text).is_err(), "{text}");
                continue;
            }
            let selector = FieldSelector::parse(text).expect(text);
            let terms = selector.terms().iter();
            let terms: Vec<_> = terms.map(|term| (&*term.field, term.operator, &*term.value)).collect();
            assert_eq!(terms, expected, "{text}");
        }
    }

    #[test]
    fn errors_are_apimachinerys_too() {
        let rows = [
            ("a", "invalid selector: 'a'; can't understand 'a'"),
            ("a=b,c", "invalid selector: 'a=b,c'; can't understand 'c'"),
            ("a=b=c", "invalid field selector: unescaped character in value: 61"),
            ("a===b", "invalid field selector: unescaped character in value: 61"),
            (r"a=\b", r"invalid field selector: invalid escape sequence: \b"),
            (r"a=b\", r"invalid field selector: invalid escape sequence: \"),
        ];
        each_row(rows, |(text, expected)| {
            assert_eq!(FieldSelector::parse(text).expect_err(text).to_string(), expected, "{text}");
        });
    }

    #[test]
    fn every_term_must_hold() {
        let field = |name: &str| match name {
            "metadata.name" => "n1",
            "metadata.namespace" => "d",
            _ => "",
        };
        let rows = [
            ("", true),
            ("metadata.name=n1", true),
            ("metadata.name=n1,metadata.name!=zz", true),
            ("metadata.name=n1,metadata.name=n2", false),
            ("metadata.name=n2,metadata.name=n1", false),
            ("metadata.name!=n1", false),
            ("metadata.name=n1,metadata.name!=n1", false),
            ("metadata.name=n1,metadata.namespace=e", false),
            ("spec.nodeName=", true),
            ("spec.nodeName=x", false),
        ];
        each_row(rows, |(text, expected)| {
            assert_eq!(FieldSelector::parse(text).expect(text).matches(field), expected, "{text}");
        });
    }

    #[test]
    fn the_exact_value_is_of_the_first_term_in_order() {
        let exact = |text: &str| {
            let selector = FieldSelector::parse(text).expect(text);
            selector.exact("metadata.name").map(str::to_owned)
        };
        assert_eq!(exact("metadata.name=n2,metadata.name=n1").as_deref(), Some("n1"));
        assert_eq!(exact("metadata.name!=n1,metadata.name==n2").as_deref(), Some("n2"));
        // By their text: `==` comes after `=` and a digit before it.
        assert_eq!(exact("metadata.name==a,metadata.name=b").as_deref(), Some("a"));
        assert_eq!(exact("metadata.name!=n1,metadata.namespace=n2"), None);
    }

    #[test]
    fn a_field_selector_is_written_as_it_is_read() {
        each_row(["", "a=b", "a!=b,c=d", r"a=b\,c\=d\\", "a="], |text| {
            assert_eq!(FieldSelector::parse(text).expect(text).to_string(), text, "{text}");
        });
    }
}
