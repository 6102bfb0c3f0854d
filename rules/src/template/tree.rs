//! What a template consists of.

use std::collections::BTreeMap;

use super::functions::Function;

/// A parsed template: its own text and what it defines, by name.
#[derive(Debug)]
pub(super) struct Tree {
    /// The name under which the template's own text is found.
    pub(super) root: &'static str,
    pub(super) templates: BTreeMap<Box<[u8]>, Vec<Node>>,
}

#[derive(Debug)]
pub(super) enum Node {
    Text(Box<str>),
    /// Prints a value, unless it declares or assigns a variable.
    Action(Pipeline),
    Branch(Branch),
    Template(TemplateCall),
    Break,
    Continue,
}

#[derive(Debug)]
pub(super) struct Branch {
    pub(super) kind: BranchKind,
    pub(super) pipeline: Pipeline,
    pub(super) body: Vec<Node>,
    /// What `else` holds; empty without one.
    pub(super) otherwise: Vec<Node>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum BranchKind {
    If,
    With,
    Range,
}

#[derive(Debug)]
pub(super) struct TemplateCall {
    pub(super) at: usize,
    pub(super) name: Box<[u8]>,
    pub(super) argument: Option<Pipeline>,
}

/// Commands, each of which gets the value of the one before it as its last argument.
#[derive(Debug)]
pub(super) struct Pipeline {
    pub(super) at: usize,
    /// Variables that get the value; two at most.
    pub(super) variables: Vec<Box<str>>,
    /// `=` and not `:=`.
    pub(super) assigns: bool,
    /// At least one.
    pub(super) commands: Vec<Command>,
}

/// A value, or a function and its arguments. At least one operand.
#[derive(Debug)]
pub(super) struct Command(pub(super) Vec<Operand>);

#[derive(Debug)]
pub(super) struct Operand {
    pub(super) at: usize,
    pub(super) kind: OperandKind,
}

#[derive(Debug)]
pub(super) enum OperandKind {
    Dot,
    Nil,
    Bool(bool),
    Number(Number),
    Text(Box<[u8]>),
    /// `.A.B`
    Field(Vec<Box<str>>),
    /// `$x.A.B`
    Variable(Box<str>, Vec<Box<str>>),
    Function(Function),
    Pipeline(Pipeline),
    /// `(…).A.B`
    Chain(Box<Operand>, Vec<Box<str>>),
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Number {
    Int(i64),
    Float(f64),
    Complex(f64, f64),
    /// An integer above the largest `int`: valid until it is used.
    TooLarge,
}

impl Command {
    pub(super) fn first(&self) -> &Operand {
        &self.0[0]
    }

    pub(super) fn arguments(&self) -> &[Operand] {
        &self.0[1..]
    }
}
