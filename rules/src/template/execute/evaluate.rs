//! The values of pipelines.

use std::sync::Arc;

use super::{MAX_BYTES, MAX_WORK, Run, fault, too_long};
use crate::template::fault::{Fault, short};
use crate::template::format::Buffer;
use crate::template::functions::{self, Function};
use crate::template::tree::{Command, Number, Operand, OperandKind, Pipeline};
use crate::template::value::{Text, Value, value_of};

impl<'a> Run<'a> {
    pub(super) fn assign(&mut self, name: &str, value: &Value<'a>, at: usize) -> Result<(), Fault> {
        match self.variables.iter_mut().rev().find(|(variable, _)| *variable == name) {
            Some((_, place)) => {
                *place = value.clone();
                Ok(())
            }
            None => fault(at, format!("undefined variable {:?}: declare it with :=", short(name))),
        }
    }

    pub(super) fn pipeline(&mut self, pipeline: &'a Pipeline, dot: &Value<'a>) -> Result<Value<'a>, Fault> {
        let mut last = None;
        for command in &pipeline.commands {
            self.step(pipeline.at)?;
            last = Some(self.command(command, dot, last)?);
        }
        let value = last.unwrap_or(Value::Nil);
        for name in &pipeline.variables {
            if pipeline.assigns {
                self.assign(name, &value, pipeline.at)?;
            } else {
                self.variables.push((name, value.clone()));
            }
        }
        Ok(value)
    }

    /// `last` is the value of the command before it in the pipeline.
    fn command(
        &mut self,
        command: &'a Command,
        dot: &Value<'a>,
        last: Option<Value<'a>>,
    ) -> Result<Value<'a>, Fault> {
        let first = command.first();
        let arguments = command.arguments();
        let has_arguments = !arguments.is_empty() || last.is_some();
        let takes_none = |what: &str| fault(first.at, format!("expected no argument for {what}, found one"));
        match &first.kind {
            OperandKind::Function(function) => self.call(*function, first.at, arguments, dot, last),
            OperandKind::Nil => fault(first.at, "nil alone has no value"),
            OperandKind::Field(path) => field_of(dot.clone(), path, first.at, has_arguments),
            OperandKind::Variable(name, path) if !path.is_empty() => {
                let value = self.variable(name, first.at)?;
                field_of(value, path, first.at, has_arguments)
            }
            OperandKind::Chain(operand, path) => {
                let value = self.operand(operand, dot)?;
                field_of(value, path, first.at, has_arguments)
            }
            _ if has_arguments => takes_none("a value"),
            _ => self.operand(first, dot),
        }
    }

    fn operand(&mut self, operand: &'a Operand, dot: &Value<'a>) -> Result<Value<'a>, Fault> {
        let at = operand.at;
        match &operand.kind {
            OperandKind::Dot => Ok(dot.clone()),
            OperandKind::Nil => Ok(Value::Nil),
            OperandKind::Bool(value) => Ok(Value::Bool(*value)),
            OperandKind::Number(Number::Int(value)) => Ok(Value::Int(*value)),
            OperandKind::Number(Number::Float(value)) => Ok(Value::Float(*value)),
            OperandKind::Number(Number::Complex(real, imaginary)) => Ok(Value::Complex(*real, *imaginary)),
            OperandKind::Number(Number::TooLarge) => {
                fault(at, "this number does not fit in a signed integer")
            }
            OperandKind::Text(text) => Ok(Value::Text(Text::Borrowed(text))),
            OperandKind::Field(path) => field_of(dot.clone(), path, at, false),
            OperandKind::Variable(name, path) => {
                let value = self.variable(name, at)?;
                field_of(value, path, at, false)
            }
            OperandKind::Function(function) => self.call(*function, at, &[], dot, None),
            OperandKind::Pipeline(pipeline) => self.nested(at, |run| run.pipeline(pipeline, dot)),
            OperandKind::Chain(operand, path) => {
                let value = self.operand(operand, dot)?;
                field_of(value, path, at, false)
            }
        }
    }

    fn variable(&self, name: &str, at: usize) -> Result<Value<'a>, Fault> {
        match self.variables.iter().rev().find(|(variable, _)| *variable == name) {
            Some((_, value)) => Ok(value.clone()),
            None => fault(at, format!("undefined variable {:?}", short(name))),
        }
    }

    fn call(
        &mut self,
        function: Function,
        at: usize,
        arguments: &'a [Operand],
        dot: &Value<'a>,
        last: Option<Value<'a>>,
    ) -> Result<Value<'a>, Fault> {
        function
            .check_count(arguments.len() + usize::from(last.is_some()))
            .map_err(|message| Fault { at, message })?;
        if let Function::And | Function::Or = function {
            return self.and_or(function == Function::Or, arguments, dot, last);
        }
        let mut values = Vec::with_capacity(arguments.len() + 1);
        for argument in arguments {
            values.push(self.operand(argument, dot)?);
        }
        values.extend(last);
        let read: usize =
            values.iter().map(|value| if let Value::Text(text) = value { text.len() } else { 0 }).sum();
        self.work_left = self.work_left.checked_sub(read).ok_or_else(|| too_long(at, MAX_WORK))?;
        let mut made = Buffer::new(self.work_left.min(MAX_BYTES));
        let value = functions::call(function, &values, &mut made).map_err(|message| Fault { at, message })?;
        if made.overflowed() {
            return Err(too_long(at, MAX_WORK));
        }
        let bytes = made.into_bytes();
        self.work_left -= bytes.len();
        Ok(value.unwrap_or_else(|| Value::Text(Text::Made(Arc::from(bytes)))))
    }

    /// The first argument that decides, or the last one; those after it are not evaluated.
    fn and_or(
        &mut self,
        deciding: bool,
        arguments: &'a [Operand],
        dot: &Value<'a>,
        last: Option<Value<'a>>,
    ) -> Result<Value<'a>, Fault> {
        let mut value = Value::Nil;
        for argument in arguments {
            value = self.operand(argument, dot)?;
            if value.is_true() == deciding {
                return Ok(value);
            }
        }
        Ok(last.unwrap_or(value))
    }
}

/// The value at the end of a path of fields. A field takes no arguments.
fn field_of<'a>(
    mut value: Value<'a>,
    path: &[Box<str>],
    at: usize,
    has_arguments: bool,
) -> Result<Value<'a>, Fault> {
    for (place, name) in path.iter().enumerate() {
        let called = has_arguments && place + 1 == path.len();
        let shown = short(name);
        value = match value {
            Value::Nil => Value::Nil,
            Value::Record(record) => match record.get(name) {
                Some(_) if called => {
                    return fault(at, format!("expected no argument for .{shown}, found one"));
                }
                Some(value) => value.clone(),
                None => return fault(at, format!("{} has no field {shown:?}", record.kind.name)),
            },
            Value::Map(_) if called => {
                return fault(at, format!("expected no argument for .{shown}, found one"));
            }
            Value::Map(map) => value_of(map, name).map_or(Value::Nil, Value::text),
            value => return fault(at, format!("{} has no field {shown:?}", value.type_name())),
        };
    }
    Ok(value)
}
