//! Tokens → requirements, with apimachinery's errors.

use std::collections::BTreeSet;

use super::error::SelectorError;
use super::lexer::{Kind, Token, tokens};
use super::requirement::{Operator, Requirement};

/// Requirements in the order of the text.
pub(super) fn parse(text: &str) -> Result<Vec<Requirement>, SelectorError> {
    let mut parser = Parser { tokens: tokens(text), position: 0 };
    let mut requirements = Vec::new();
    loop {
        let token = parser.look(Context::Values);
        match token.kind {
            Kind::Identifier | Kind::DoesNotExist => {
                let requirement = parser
                    .requirement()
                    .map_err(|error| SelectorError(format!("unable to parse requirement: {error}")))?;
                requirements.push(requirement);
                let token = parser.take(Context::Values);
                match token.kind {
                    Kind::End => return Ok(requirements),
                    Kind::Comma => {
                        let next = parser.look(Context::Values);
                        if !matches!(next.kind, Kind::Identifier | Kind::DoesNotExist) {
                            return Err(found(&next, ", expected: identifier after ','"));
                        }
                    }
                    _ => return Err(found(&token, ", expected: ',' or 'end of string'")),
                }
            }
            Kind::End => return Ok(requirements),
            _ => return Err(found(&token, ", expected: !, identifier, or 'end of string'")),
        }
    }
}

/// Where `in` and `notin` are words like any other, and where they are operators.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Context {
    KeyAndOperator,
    Values,
}

struct Parser {
    tokens: Vec<Token>,
    position: usize,
}

impl Parser {
    fn look(&self, context: Context) -> Token {
        let mut token = match self.tokens.get(self.position) {
            Some(token) => token.clone(),
            None => Token { kind: Kind::End, text: String::new() },
        };
        if context == Context::Values && matches!(token.kind, Kind::In | Kind::NotIn) {
            token.kind = Kind::Identifier;
        }
        token
    }

    fn take(&mut self, context: Context) -> Token {
        let token = self.look(context);
        self.position += 1;
        token
    }

    fn requirement(&mut self) -> Result<Requirement, SelectorError> {
        let (key, presence) = self.key()?;
        if let Some(operator) = presence {
            return Ok(Requirement { key, operator, values: Vec::new() });
        }
        let token = self.take(Context::KeyAndOperator);
        let operator = match token.kind {
            Kind::In => Operator::In,
            Kind::NotIn => Operator::NotIn,
            Kind::Equals | Kind::DoubleEquals => Operator::Equals,
            Kind::NotEquals => Operator::NotEquals,
            Kind::GreaterThan => Operator::GreaterThan,
            Kind::LessThan => Operator::LessThan,
            _ => return Err(found(&token, ", expected: in, notin, =, ==, !=, gt, lt")),
        };
        let values = match operator {
            Operator::In | Operator::NotIn => self.values()?,
            _ => BTreeSet::from([self.exact_value()?]),
        };
        validated(key, operator, values)
    }

    /// The key, and the operator if there is nothing to compare with.
    fn key(&mut self) -> Result<(String, Option<Operator>), SelectorError> {
        let mut token = self.take(Context::Values);
        let negated = token.kind == Kind::DoesNotExist;
        if negated {
            token = self.take(Context::Values);
        }
        if token.kind != Kind::Identifier {
            return Err(found(&token, ", expected: identifier"));
        }
        validate_key(&token.text)?;
        let presence = if negated {
            Some(Operator::DoesNotExist)
        } else if matches!(self.look(Context::Values).kind, Kind::End | Kind::Comma) {
            Some(Operator::Exists)
        } else {
            None
        };
        Ok((token.text, presence))
    }

    fn values(&mut self) -> Result<BTreeSet<String>, SelectorError> {
        let open = self.take(Context::Values);
        if open.kind != Kind::OpenPar {
            return Err(found(&open, " expected: '('"));
        }
        let token = self.look(Context::Values);
        match token.kind {
            Kind::Identifier | Kind::Comma => {
                let values = self.identifiers()?;
                if self.take(Context::Values).kind != Kind::ClosedPar {
                    return Err(found(&token, ", expected: ')'"));
                }
                Ok(values)
            }
            Kind::ClosedPar => {
                self.take(Context::Values);
                Ok(BTreeSet::new())
            }
            _ => Err(found(&token, ", expected: ',', ')' or identifier")),
        }
    }

    fn identifiers(&mut self) -> Result<BTreeSet<String>, SelectorError> {
        let mut values = BTreeSet::new();
        loop {
            let token = self.take(Context::Values);
            match token.kind {
                Kind::Identifier => {
                    values.insert(token.text);
                    let next = self.look(Context::Values);
                    match next.kind {
                        Kind::Comma => {}
                        Kind::ClosedPar => return Ok(values),
                        _ => return Err(found(&next, ", expected: ',' or ')'")),
                    }
                }
                // A comma without a word before or after it stands for the empty value.
                Kind::Comma => {
                    if values.is_empty() {
                        values.insert(String::new());
                    }
                    match self.look(Context::Values).kind {
                        Kind::ClosedPar => {
                            values.insert(String::new());
                            return Ok(values);
                        }
                        Kind::Comma => {
                            self.take(Context::Values);
                            values.insert(String::new());
                        }
                        _ => {}
                    }
                }
                _ => return Err(found(&token, ", expected: ',', or identifier")),
            }
        }
    }

    fn exact_value(&mut self) -> Result<String, SelectorError> {
        if matches!(self.look(Context::Values).kind, Kind::End | Kind::Comma) {
            return Ok(String::new());
        }
        let token = self.take(Context::Values);
        if token.kind == Kind::Identifier {
            Ok(token.text)
        } else {
            Err(found(&token, ", expected: identifier"))
        }
    }
}

fn found(token: &Token, expected: &str) -> SelectorError {
    SelectorError(format!("found '{}'{expected}", token.text))
}

fn validated(
    key: String,
    operator: Operator,
    values: BTreeSet<String>,
) -> Result<Requirement, SelectorError> {
    if values.is_empty() {
        return Err(SelectorError(
            "values: Invalid value: []: for 'in', 'notin' operators, values set can't be empty".to_owned(),
        ));
    }
    for (position, value) in values.iter().enumerate() {
        let place = format!("values[{position}][{key}]");
        if matches!(operator, Operator::GreaterThan | Operator::LessThan) && value.parse::<i64>().is_err() {
            return Err(SelectorError(format!(
                "{place}: Invalid value: {value:?}: for 'Gt', 'Lt' operators, the value must be an integer"
            )));
        }
        if value.len() > LONGEST_NAME {
            return Err(SelectorError(format!(
                "{place}: Invalid value: {value:?}: must be no more than {LONGEST_NAME} characters"
            )));
        }
        if !value.is_empty() && !is_qualified_word(value) {
            return Err(SelectorError(format!("{place}: Invalid value: {value:?}: {VALUE_FORM}")));
        }
    }
    Ok(Requirement { key, operator, values: values.into_iter().collect() })
}

/// A qualified name: an optional DNS subdomain and a slash, then a word.
fn validate_key(key: &str) -> Result<(), SelectorError> {
    let invalid = |reason: &str| SelectorError(format!("<nil>: Invalid value: {key:?}: {reason}"));
    let (prefix, name) = match key.split_once('/') {
        None => (None, key),
        Some((prefix, name)) => (Some(prefix), name),
    };
    if name.contains('/') {
        return Err(invalid(&format!(
            "a qualified name {NAME_FORM} with an optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName')"
        )));
    }
    if let Some(prefix) = prefix {
        if prefix.is_empty() {
            return Err(invalid("prefix part must be non-empty"));
        }
        if !crate::names::is_dns_subdomain(prefix) {
            return Err(invalid(&format!("prefix part {SUBDOMAIN_FORM}")));
        }
    }
    if name.is_empty() {
        return Err(invalid("name part must be non-empty"));
    }
    if name.len() > LONGEST_NAME {
        return Err(invalid(&format!("name part must be no more than {LONGEST_NAME} characters")));
    }
    if !is_qualified_word(name) {
        return Err(invalid(&format!("name part {NAME_FORM}")));
    }
    Ok(())
}

/// Letters, digits, `-`, `_` and `.`, with a letter or digit at both ends.
fn is_qualified_word(text: &str) -> bool {
    let ends = |c: Option<char>| c.is_some_and(|c| c.is_ascii_alphanumeric());
    ends(text.chars().next())
        && ends(text.chars().next_back())
        && text.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.'))
}

const LONGEST_NAME: usize = 63;
const NAME_FORM: &str = "must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an \
    alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is \
    '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')";
const VALUE_FORM: &str = "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', \
    and must start and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used \
    for validation is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')";
const SUBDOMAIN_FORM: &str = "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or \
    '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is \
    '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')";
