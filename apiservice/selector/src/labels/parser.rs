//! Tokens → requirements, with apimachinery's errors.

use std::collections::BTreeSet;

use super::error::{KeyFault, LONGEST_NAME, RequirementError, SelectorError, UnexpectedToken, ValueFault};
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
                requirements.push(parser.requirement()?);
                let token = parser.take(Context::Values);
                match token.kind {
                    Kind::End => return Ok(requirements),
                    Kind::Comma => {
                        let next = parser.look(Context::Values);
                        if !matches!(next.kind, Kind::Identifier | Kind::DoesNotExist) {
                            return Err(found(&next, ", expected: identifier after ','").into());
                        }
                    }
                    _ => return Err(found(&token, ", expected: ',' or 'end of string'").into()),
                }
            }
            Kind::End => return Ok(requirements),
            _ => return Err(found(&token, ", expected: !, identifier, or 'end of string'").into()),
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

    fn requirement(&mut self) -> Result<Requirement, RequirementError> {
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
            _ => return Err(found(&token, ", expected: in, notin, =, ==, !=, gt, lt").into()),
        };
        let values = match operator {
            Operator::In | Operator::NotIn => self.values()?,
            _ => BTreeSet::from([self.exact_value()?]),
        };
        validated(key, operator, values)
    }

    /// The key, and the operator if there is nothing to compare with.
    fn key(&mut self) -> Result<(String, Option<Operator>), RequirementError> {
        let mut token = self.take(Context::Values);
        let negated = token.kind == Kind::DoesNotExist;
        if negated {
            token = self.take(Context::Values);
        }
        if token.kind != Kind::Identifier {
            return Err(found(&token, ", expected: identifier").into());
        }
        if let Some(fault) = key_fault(&token.text) {
            return Err(RequirementError::Key { key: token.text, fault });
        }
        let presence = if negated {
            Some(Operator::DoesNotExist)
        } else if matches!(self.look(Context::Values).kind, Kind::End | Kind::Comma) {
            Some(Operator::Exists)
        } else {
            None
        };
        Ok((token.text, presence))
    }

    fn values(&mut self) -> Result<BTreeSet<String>, UnexpectedToken> {
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

    fn identifiers(&mut self) -> Result<BTreeSet<String>, UnexpectedToken> {
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

    fn exact_value(&mut self) -> Result<String, UnexpectedToken> {
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

fn found(token: &Token, expected: &'static str) -> UnexpectedToken {
    UnexpectedToken { found: token.text.clone(), expected }
}

fn validated(
    key: String,
    operator: Operator,
    values: BTreeSet<String>,
) -> Result<Requirement, RequirementError> {
    if values.is_empty() {
        return Err(RequirementError::NoValues);
    }
    for (position, value) in values.iter().enumerate() {
        if let Some(fault) = value_fault(operator, value) {
            return Err(RequirementError::Value { position, key, value: value.clone(), fault });
        }
    }
    Ok(Requirement { key, operator, values: values.into_iter().collect() })
}

fn value_fault(operator: Operator, value: &str) -> Option<ValueFault> {
    if matches!(operator, Operator::GreaterThan | Operator::LessThan) && value.parse::<i64>().is_err() {
        Some(ValueFault::NotAnInteger)
    } else if value.len() > LONGEST_NAME {
        Some(ValueFault::TooLong)
    } else if !value.is_empty() && !is_qualified_word(value) {
        Some(ValueFault::Form)
    } else {
        None
    }
}

/// What is wrong with a qualified name: an optional DNS subdomain and a slash, then a word.
fn key_fault(key: &str) -> Option<KeyFault> {
    let (prefix, name) = match key.split_once('/') {
        None => (None, key),
        Some((prefix, name)) => (Some(prefix), name),
    };
    if name.contains('/') {
        return Some(KeyFault::Slashes);
    }
    match prefix {
        Some("") => return Some(KeyFault::EmptyPrefix),
        Some(prefix) if !crate::names::is_dns_subdomain(prefix) => return Some(KeyFault::Prefix),
        _ => {}
    }
    if name.is_empty() {
        Some(KeyFault::EmptyName)
    } else if name.len() > LONGEST_NAME {
        Some(KeyFault::LongName)
    } else if !is_qualified_word(name) {
        Some(KeyFault::Name)
    } else {
        None
    }
}

/// Letters, digits, `-`, `_` and `.`, with a letter or digit at both ends.
fn is_qualified_word(text: &str) -> bool {
    let ends = |c: Option<char>| c.is_some_and(|c| c.is_ascii_alphanumeric());
    ends(text.chars().next())
        && ends(text.chars().next_back())
        && text.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.'))
}
