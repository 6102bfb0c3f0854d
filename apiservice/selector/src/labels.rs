//! Kubernetes label selectors: `app=web,tier in (a,b),!canary`.
//!
//! Grammar and error texts are those of `k8s.io/apimachinery/pkg/labels` (`selector.go`), since callers see them.

mod error;
mod lexer;
mod parser;
mod requirement;

use std::fmt;

pub use error::{KeyFault, RequirementError, SelectorError, UnexpectedToken, ValueFault};
pub use requirement::{Operator, Requirement};

/// A label selector. The empty one matches everything.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Selector {
    /// Sorted by key, as upstream renders and echoes them.
    requirements: Vec<Requirement>,
}

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

#[cfg(test)]
mod tests {
    use testkit::rows::each_row;

    use super::*;

    fn labels<'a>(pairs: &'a [(&'a str, &'a str)]) -> impl Fn(&str) -> Option<&'a str> {
        move |key| pairs.iter().find(|(name, _)| *name == key).map(|(_, value)| *value)
    }

    #[test]
    fn selectors_match_as_kubernetes_does() {
        let pod = labels(&[("app", "web"), ("tier", "5")]);
        let rows = [
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
        ];
        each_row(rows, |(text, expected)| {
            let selector = Selector::parse(text).expect(text);
            assert_eq!(selector.matches(&pod), expected, "{text}");
        });
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
        each_row(["", "app=web", "a in (x,y),b notin (z),!c,d,e!=f,g>5,h<6", "zone="], |text| {
            assert_eq!(Selector::parse(text).expect(text).to_string(), text, "{text}");
        });
    }

    #[test]
    fn errors_are_apimachinerys() {
        let rows = [
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
        ];
        each_row(rows, |(text, expected)| {
            let error = Selector::parse(text).expect_err(text);
            assert_eq!(error.to_string(), expected, "{text}");
        });
        assert!(Selector::parse("a b/c/d=1").is_err());
    }

    #[test]
    fn errors_of_keys_and_values_name_the_form_that_was_expected() {
        let word = "must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric \
                    character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is \
                    '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')";
        let value = "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must \
                     start and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used \
                     for validation is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')";
        let subdomain = "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and \
                         must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation \
                         is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')";
        let qualified = format!(
            "a qualified name {word} with an optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName')"
        );
        let long = "x".repeat(64);
        let long_value = format!("a={long}");
        let rows = [
            ("a/b/c=1", "<nil>", "a/b/c", qualified),
            ("/a=1", "<nil>", "/a", "prefix part must be non-empty".to_owned()),
            ("A/b=1", "<nil>", "A/b", format!("prefix part {subdomain}")),
            ("a/=1", "<nil>", "a/", "name part must be non-empty".to_owned()),
            (&long, "<nil>", &long, "name part must be no more than 63 characters".to_owned()),
            ("-a=1", "<nil>", "-a", format!("name part {word}")),
            ("a in (b,-)", "values[0][a]", "-", value.to_owned()),
            (&long_value, "values[0][a]", &long, "must be no more than 63 characters".to_owned()),
        ];
        each_row(rows, |(text, place, found, reason)| {
            let expected =
                format!("unable to parse requirement: {place}: Invalid value: {found:?}: {reason}");
            assert_eq!(Selector::parse(text).expect_err(text).to_string(), expected, "{text}");
        });
    }
}
