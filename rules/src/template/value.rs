//! The values that a template computes with: Go's types, as far as the data and the functions make them.

use std::collections::BTreeMap;
use std::ops::Deref;
use std::sync::Arc;

use crate::quoting;

#[derive(Debug, Clone)]
pub(super) enum Value<'a> {
    /// Go's invalid value: an absent key, `nil`, the dot of a template called without an argument.
    Nil,
    Bool(bool),
    Int(i64),
    /// A byte of a string, Go's `uint8`.
    Byte(u8),
    Float(f64),
    Complex(f64, f64),
    Text(Text<'a>),
    List(List<'a>),
    Map(&'a BTreeMap<&'a str, &'a str>),
    Record(&'a Record<'a>),
}

/// A string, which in Go is any bytes.
#[derive(Debug, Clone)]
pub(super) enum Text<'a> {
    Borrowed(&'a [u8]),
    Made(Arc<[u8]>),
}

/// A slice of strings. Behind its end may be more, which `slice` can reach.
#[derive(Debug, Clone, Copy)]
pub(super) struct List<'a> {
    /// As far as the capacity goes.
    pub(super) items: &'a [&'a str],
    pub(super) length: usize,
}

/// A struct.
#[derive(Debug)]
pub(super) struct Record<'a> {
    pub(super) kind: &'static RecordType,
    /// The values of the fields, then the results of the methods.
    pub(super) values: Vec<Value<'a>>,
    /// What its method `String` returns, if it has one: printed in place of the fields.
    pub(super) text: Option<&'a str>,
}

/// The type of a struct.
#[derive(Debug)]
pub(super) struct RecordType {
    /// With its package, as `%T` prints it.
    pub(super) name: &'static str,
    pub(super) fields: &'static [(&'static str, Type)],
    /// Methods without arguments.
    pub(super) methods: &'static [(&'static str, Type)],
}

/// The type of a value before a template runs.
#[derive(Debug, Clone, Copy)]
pub(super) enum Type {
    Any,
    Nil,
    Bool,
    Number,
    Text,
    /// A string, or nil where a key is absent.
    MaybeText,
    List,
    Map,
    Record(&'static RecordType),
}

impl<'a> Value<'a> {
    pub(super) fn text(text: &'a str) -> Value<'a> {
        Value::Text(Text::Borrowed(text.as_bytes()))
    }

    /// Go's truth: anything but the zero of its type; a struct is always true.
    pub(super) fn is_true(&self) -> bool {
        match self {
            Value::Nil => false,
            Value::Bool(value) => *value,
            Value::Int(value) => *value != 0,
            Value::Byte(value) => *value != 0,
            Value::Float(value) => *value != 0.0,
            Value::Complex(real, imaginary) => *real != 0.0 || *imaginary != 0.0,
            Value::Text(text) => !text.is_empty(),
            Value::List(list) => list.length > 0,
            Value::Map(map) => !map.is_empty(),
            Value::Record(_) => true,
        }
    }

    /// The name of its type in Go.
    pub(super) fn type_name(&self) -> &'static str {
        match self {
            Value::Nil => "nil",
            Value::Bool(_) => "bool",
            Value::Int(_) => "int",
            Value::Byte(_) => "uint8",
            Value::Float(_) => "float64",
            Value::Complex(..) => "complex128",
            Value::Text(_) => "string",
            Value::List(_) => "[]string",
            Value::Map(_) => "map[string]string",
            Value::Record(record) => record.kind.name,
        }
    }
}

/// The value of a label. Labels that need quotes in a query are there in quotes; a rule may ask for one by its bare
/// name.
pub(super) fn value_of<'a>(map: &BTreeMap<&'a str, &'a str>, label: &str) -> Option<&'a str> {
    map.get(label).or_else(|| map.get(&*quoting::label(label))).copied()
}

impl Deref for Text<'_> {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Text::Borrowed(text) => text,
            Text::Made(text) => text,
        }
    }
}

impl<'a> List<'a> {
    pub(super) fn items(&self) -> &'a [&'a str] {
        &self.items[..self.length]
    }
}

impl<'a> Record<'a> {
    /// A field, or a method's result.
    pub(super) fn get(&self, name: &str) -> Option<&Value<'a>> {
        self.kind.members().position(|(member, _)| **member == *name).map(|place| &self.values[place])
    }

    pub(super) fn fields(&self) -> impl Iterator<Item = (&'static str, &Value<'a>)> {
        self.kind.fields.iter().zip(&self.values).map(|((name, _), value)| (*name, value))
    }
}

impl RecordType {
    pub(super) fn members(&self) -> impl Iterator<Item = &'static (&'static str, Type)> {
        self.fields.iter().chain(self.methods)
    }
}

impl Type {
    /// In words, with its article.
    pub(super) fn describe(self) -> &'static str {
        match self {
            Type::Any => "a value",
            Type::Nil => "nil",
            Type::Bool => "a bool",
            Type::Number => "a number",
            Type::Text | Type::MaybeText => "a string",
            Type::List => "a list of strings",
            Type::Map => "a map of strings",
            Type::Record(_) => "a struct",
        }
    }

    /// What it is where a condition on it holds.
    pub(super) fn when_true(self) -> Type {
        match self {
            Type::MaybeText => Type::Text,
            // The body never runs.
            Type::Nil => Type::Any,
            other => other,
        }
    }

    /// The types of what `range` gives: index or key, and element.
    pub(super) fn elements(self) -> (Type, Type) {
        match self {
            Type::List => (Type::Number, Type::Text),
            Type::Map => (Type::Text, Type::Text),
            _ => (Type::Any, Type::Any),
        }
    }
}
