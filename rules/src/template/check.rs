//! Fields and templates that do not exist, found without running the template: text/template finds them only where an
//! execution comes by.
//!
//! What is reported cannot work for any data: the type of the value is certain, and it has no such field.

use std::collections::BTreeSet;

use super::fault::{Fault, short};
use super::functions::Function;
use super::tree::{
    Branch, BranchKind, Command, Node, Number, Operand, OperandKind, Pipeline, TemplateCall, Tree,
};
use super::value::{RecordType, Type};
use crate::fault::suggestion;

/// Every such field and template, in the order of the text.
pub(super) fn check(tree: &Tree, data: &'static RecordType) -> Vec<Fault> {
    let mut check = Check {
        tree,
        assigned: BTreeSet::new(),
        variables: Vec::new(),
        entered: BTreeSet::new(),
        faults: Vec::new(),
    };
    for nodes in tree.templates.values() {
        check.find_assigned(nodes);
    }
    check.template(tree.root.as_bytes(), Type::Record(data));
    // A template that is not called is checked as far as its own text goes.
    for name in tree.templates.keys() {
        if !check.entered.iter().any(|(entered, _)| entered == name) {
            check.template(name, Type::Any);
        }
    }
    check.faults.sort_by(|one, other| one.at.cmp(&other.at).then_with(|| one.message.cmp(&other.message)));
    check.faults.dedup();
    check.faults
}

struct Check<'t> {
    tree: &'t Tree,
    /// Variables that are given a second value somewhere: their type is not certain.
    assigned: BTreeSet<&'t str>,
    variables: Vec<(&'t str, Type)>,
    /// Templates, and the kinds of dot they were checked with.
    entered: BTreeSet<(Box<[u8]>, &'static str)>,
    faults: Vec<Fault>,
}

impl<'t> Check<'t> {
    fn find_assigned(&mut self, nodes: &'t [Node]) {
        for node in nodes {
            match node {
                Node::Text(_) | Node::Break | Node::Continue => {}
                Node::Action(pipeline) => self.find_assigned_in(pipeline),
                Node::Template(call) => {
                    call.argument.iter().for_each(|pipeline| self.find_assigned_in(pipeline));
                }
                Node::Branch(branch) => {
                    self.find_assigned_in(&branch.pipeline);
                    self.find_assigned(&branch.body);
                    self.find_assigned(&branch.otherwise);
                }
            }
        }
    }

    fn find_assigned_in(&mut self, pipeline: &'t Pipeline) {
        if pipeline.assigns {
            self.assigned.extend(pipeline.variables.iter().map(|name| &**name));
        }
        for operand in pipeline.commands.iter().flat_map(|command| &command.0) {
            match &operand.kind {
                OperandKind::Pipeline(pipeline) => self.find_assigned_in(pipeline),
                OperandKind::Chain(operand, _) => {
                    if let OperandKind::Pipeline(pipeline) = &operand.kind {
                        self.find_assigned_in(pipeline);
                    }
                }
                _ => {}
            }
        }
    }

    fn template(&mut self, name: &[u8], dot: Type) {
        let tree = self.tree;
        let Some(nodes) = tree.templates.get(name) else { return };
        if !self.entered.insert((name.into(), dot.describe())) {
            return;
        }
        let outside = std::mem::take(&mut self.variables);
        self.declare("$", dot);
        self.list(nodes, dot);
        self.variables = outside;
    }

    fn declare(&mut self, name: &'t str, value: Type) {
        let value = if self.assigned.contains(name) { Type::Any } else { value };
        self.variables.push((name, value));
    }

    fn list(&mut self, nodes: &'t [Node], dot: Type) {
        for node in nodes {
            match node {
                Node::Text(_) | Node::Break | Node::Continue => {}
                Node::Action(pipeline) => {
                    self.pipeline(pipeline, dot);
                }
                Node::Branch(branch) => self.branch(branch, dot),
                Node::Template(call) => self.call(call, dot),
            }
        }
    }

    fn branch(&mut self, branch: &'t Branch, dot: Type) {
        let mark = self.variables.len();
        let value = self.pipeline(&branch.pipeline, dot);
        let inside = match branch.kind {
            BranchKind::If => dot,
            BranchKind::With => value.when_true(),
            BranchKind::Range => {
                let (index, element) = value.elements();
                self.retype(branch, index, element);
                element
            }
        };
        let declared = self.variables.len();
        self.list(&branch.body, inside);
        self.variables.truncate(declared);
        // After an empty range its variables hold what it ranged over.
        if branch.kind == BranchKind::Range {
            self.retype(branch, Type::Any, Type::Any);
        }
        self.list(&branch.otherwise, dot);
        self.variables.truncate(mark);
    }

    /// The variables that a `range` declared are the last ones.
    fn retype(&mut self, branch: &'t Branch, index: Type, element: Type) {
        let declared = if branch.pipeline.assigns { 0 } else { branch.pipeline.variables.len() };
        for (place, (name, value)) in self.variables.iter_mut().rev().take(declared).enumerate() {
            if !self.assigned.contains(name) {
                *value = if place == 0 { element } else { index };
            }
        }
    }

    fn call(&mut self, call: &'t TemplateCall, dot: Type) {
        let argument = match &call.argument {
            Some(pipeline) => self.pipeline(pipeline, dot),
            None => Type::Nil,
        };
        if self.tree.templates.contains_key(&call.name) {
            self.template(&call.name, argument);
        } else {
            let names: Vec<_> =
                self.tree.templates.keys().map(|name| String::from_utf8_lossy(name)).collect();
            let name = String::from_utf8_lossy(&call.name);
            let known = names.iter().map(|name| &**name).filter(|name| *name != self.tree.root);
            let near = suggestion(&name, known);
            let message = format!("no template {:?} is defined{near}", short(&name));
            self.faults.push(Fault { at: call.at, message });
        }
    }

    fn pipeline(&mut self, pipeline: &'t Pipeline, dot: Type) -> Type {
        let mut last = None;
        for command in &pipeline.commands {
            last = Some(self.command(command, dot, last));
        }
        let value = last.unwrap_or(Type::Any);
        if !pipeline.assigns {
            for name in &pipeline.variables {
                self.declare(name, value);
            }
        }
        value
    }

    fn command(&mut self, command: &'t Command, dot: Type, last: Option<Type>) -> Type {
        let first = self.operand(command.first(), dot);
        let mut arguments: Vec<Type> =
            command.arguments().iter().map(|argument| self.operand(argument, dot)).collect();
        arguments.extend(last);
        match command.first().kind {
            OperandKind::Function(function) => result_of(function, &arguments),
            _ => first,
        }
    }

    fn operand(&mut self, operand: &'t Operand, dot: Type) -> Type {
        match &operand.kind {
            OperandKind::Dot => dot,
            OperandKind::Nil => Type::Nil,
            OperandKind::Bool(_) => Type::Bool,
            OperandKind::Number(Number::Int(_) | Number::Float(_) | Number::Complex(..)) => Type::Number,
            OperandKind::Number(Number::TooLarge) => Type::Any,
            OperandKind::Text(_) => Type::Text,
            OperandKind::Field(path) => self.path(dot, path, operand.at),
            OperandKind::Variable(name, path) => {
                let found = self.variables.iter().rev().find(|(variable, _)| *variable == &**name);
                let value = found.map_or(Type::Any, |(_, value)| *value);
                self.path(value, path, operand.at)
            }
            OperandKind::Function(function) => result_of(*function, &[]),
            OperandKind::Pipeline(pipeline) => self.pipeline(pipeline, dot),
            OperandKind::Chain(inner, path) => {
                let value = self.operand(inner, dot);
                self.path(value, path, operand.at)
            }
        }
    }

    fn path(&mut self, mut value: Type, path: &[Box<str>], at: usize) -> Type {
        for name in path {
            value = match value {
                Type::Nil => Type::Nil,
                Type::Map => Type::MaybeText,
                // Of an absent key, every field is nil.
                Type::Any | Type::MaybeText => Type::Any,
                Type::Record(record) => self.member(record, name, at),
                Type::Bool | Type::Number | Type::Text | Type::List => {
                    let (value, hint) = (value.describe(), self.hint(name));
                    let message = format!("{value} has no field {:?}{hint}", short(name));
                    self.faults.push(Fault { at, message });
                    Type::Any
                }
            };
        }
        value
    }

    fn member(&mut self, record: &'static RecordType, name: &str, at: usize) -> Type {
        if let Some((_, member)) = record.members().find(|(member, _)| *member == name) {
            return *member;
        }
        let names: Vec<&str> = record.fields.iter().map(|(field, _)| *field).collect();
        let near = suggestion(name, names.iter().copied());
        let expected = names.join(", ");
        let message = format!("unknown field {:?}, expected one of {expected}{near}", short(name));
        self.faults.push(Fault { at, message });
        Type::Any
    }

    /// In `range` and `with` the dot is something else; `$` still is what it was.
    fn hint(&self, name: &str) -> String {
        match self.variables.first() {
            Some(("$", Type::Record(record))) if record.members().any(|(member, _)| **member == *name) => {
                format!("; did you mean \"$.{name}\"?")
            }
            _ => String::new(),
        }
    }
}

fn result_of(function: Function, arguments: &[Type]) -> Type {
    match function {
        Function::Print
        | Function::Printf
        | Function::Println
        | Function::Html
        | Function::Js
        | Function::Urlquery => Type::Text,
        Function::Len => Type::Number,
        Function::Not
        | Function::Eq
        | Function::Ne
        | Function::Lt
        | Function::Le
        | Function::Gt
        | Function::Ge => Type::Bool,
        Function::Slice => match arguments.first() {
            Some(Type::List) => Type::List,
            Some(Type::Text) => Type::Text,
            _ => Type::Any,
        },
        Function::Index => match arguments {
            [value] => *value,
            [Type::Map | Type::List, _] => Type::Text,
            [Type::Text, _] => Type::Number,
            _ => Type::Any,
        },
        Function::And | Function::Or | Function::Call => Type::Any,
    }
}
