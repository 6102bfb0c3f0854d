//! What stands in an action: variables, commands, operands.

use super::{Parser, Scope};
use crate::fault::suggestion;
use crate::template::fault::{Fault, short};
use crate::template::functions::Function;
use crate::template::lexer::Kind;
use crate::template::literal;
use crate::template::tree::{Command, Operand, OperandKind, Pipeline};

impl Parser<'_> {
    pub(super) fn pipeline(&mut self, what: &str, end: &Kind, scope: &mut Scope) -> Result<Pipeline, Fault> {
        let at = self.peek_token().start;
        let (variables, assigns) = self.declarations(what, scope)?;
        let mut commands: Vec<Command> = Vec::new();
        loop {
            let token = self.peek_token();
            if token.kind == *end {
                self.next();
                break;
            }
            if !starts_operand(&token.kind) {
                let expected = if commands.is_empty() { "a value or a function" } else { "a function" };
                return Err(self.unexpected(token, &format!("{expected} in this {what}")));
            }
            let command = self.command(scope)?;
            let is_value = matches!(
                command.first().kind,
                OperandKind::Bool(_)
                    | OperandKind::Dot
                    | OperandKind::Nil
                    | OperandKind::Number(_)
                    | OperandKind::Text(_)
            );
            if is_value && !commands.is_empty() {
                let found = short(self.text_of(token));
                return Err(token.fault(format!("expected a function after \"|\", found {found:?}")));
            }
            commands.push(command);
        }
        if commands.is_empty() {
            return Err(Fault { at, message: format!("expected a value in this {what}, found none") });
        }
        Ok(Pipeline { at, variables, assigns, commands })
    }

    /// `$x :=`, `$x =`, and in `range` also `$i, $x :=` or `$i, $x =`.
    fn declarations(&mut self, what: &str, scope: &mut Scope) -> Result<(Vec<Box<str>>, bool), Fault> {
        let mut variables = Vec::new();
        loop {
            self.skip_space();
            let start = self.position;
            let token = self.peek();
            if token.kind != Kind::Variable {
                return Ok((variables, false));
            }
            self.next();
            let next = self.peek_token();
            if !matches!(next.kind, Kind::Assign | Kind::Declare | Kind::Comma) {
                // An operand, not a declaration.
                self.position = start;
                return Ok((variables, false));
            }
            self.next();
            let name = self.text_of(token);
            variables.push(Box::from(name));
            scope.variables.push(Box::from(name));
            if next.kind != Kind::Comma {
                return Ok((variables, next.kind == Kind::Assign));
            }
            let most = if what == "range" { 2 } else { 1 };
            if variables.len() == most {
                return Err(
                    next.fault(format!("expected at most {most} variables in this {what}, found another"))
                );
            }
            let behind = self.peek_token();
            if !matches!(behind.kind, Kind::Variable | Kind::RightDelimiter | Kind::RightParenthesis) {
                return Err(self.unexpected(behind, "a second variable"));
            }
        }
    }

    /// Operands with spaces between them, up to a `|`, which is passed, or the end of the pipeline.
    fn command(&mut self, scope: &mut Scope) -> Result<Command, Fault> {
        let mut operands = Vec::new();
        loop {
            if starts_operand(&self.peek_token().kind) {
                operands.push(self.operand(scope)?);
            }
            let token = self.peek();
            match token.kind {
                Kind::Space => {}
                Kind::RightDelimiter | Kind::RightParenthesis => return Ok(Command(operands)),
                Kind::Pipe => {
                    self.next();
                    return Ok(Command(operands));
                }
                _ => return Err(self.unexpected(token, "a space, \"|\" or the end of the action")),
            }
        }
    }

    fn operand(&mut self, scope: &mut Scope) -> Result<Operand, Fault> {
        let token = self.peek();
        let mut operand = Operand { at: token.start, kind: self.term(scope)? };
        let mut fields: Vec<Box<str>> = Vec::new();
        while self.peek().kind == Kind::Field {
            let field = self.next();
            fields.push(self.text_of(field)[1..].into());
        }
        if fields.is_empty() {
            return Ok(operand);
        }
        match &mut operand.kind {
            OperandKind::Field(path) | OperandKind::Variable(_, path) => path.append(&mut fields),
            OperandKind::Function(_) | OperandKind::Pipeline(_) => {
                let at = operand.at;
                operand = Operand { at, kind: OperandKind::Chain(Box::new(operand), fields) };
            }
            _ => {
                let (value, field) = (short(self.text_of(token)), short(&fields[0]));
                return Err(token.fault(format!("{value} has no field {field:?}")));
            }
        }
        Ok(operand)
    }

    fn term(&mut self, scope: &mut Scope) -> Result<OperandKind, Fault> {
        let token = self.next();
        let text = self.text_of(token);
        let fault = |reason: String| token.fault(reason);
        Ok(match token.kind {
            Kind::Dot => OperandKind::Dot,
            Kind::Nil => OperandKind::Nil,
            Kind::Bool => OperandKind::Bool(text == "true"),
            Kind::Number => OperandKind::Number(literal::number(text).map_err(fault)?),
            Kind::Complex => OperandKind::Number(literal::complex(text).map_err(fault)?),
            Kind::CharConstant => OperandKind::Number(literal::character(text).map_err(fault)?),
            Kind::String | Kind::RawString => OperandKind::Text(literal::string(text).map_err(fault)?),
            Kind::Field => OperandKind::Field(vec![text[1..].into()]),
            Kind::Variable => {
                if !scope.variables.iter().any(|name| **name == *text) {
                    let known = scope.variables.iter().map(|name| &**name).filter(|name| *name != "$");
                    return Err(fault(format!(
                        "undefined variable {:?}{}",
                        short(text),
                        suggestion(text, known)
                    )));
                }
                OperandKind::Variable(text.into(), Vec::new())
            }
            Kind::Identifier => {
                OperandKind::Function(Function::named(text).ok_or_else(|| fault(unknown_function(text)))?)
            }
            Kind::LeftParenthesis => {
                self.enter(token)?;
                let pipeline = self.pipeline("parenthesis", &Kind::RightParenthesis, scope)?;
                self.depth -= 1;
                OperandKind::Pipeline(pipeline)
            }
            _ => return Err(self.unexpected(token, "a value or a function")),
        })
    }
}

fn unknown_function(name: &str) -> String {
    let names: Vec<&str> = Function::names().collect();
    let near = suggestion(name, names.iter().copied());
    format!("unknown function {:?}, expected one of {}{near}", short(name), names.join(", "))
}

fn starts_operand(kind: &Kind) -> bool {
    matches!(
        kind,
        Kind::Bool
            | Kind::CharConstant
            | Kind::Complex
            | Kind::Dot
            | Kind::Field
            | Kind::Identifier
            | Kind::Number
            | Kind::Nil
            | Kind::RawString
            | Kind::String
            | Kind::Variable
            | Kind::LeftParenthesis
    )
}
