//! The functions that every Go template has.

use std::cmp::Ordering;

use super::escape;
use super::format::{self, Buffer};
use super::value::{List, Text, Value, value_of};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Function {
    And,
    Call,
    Eq,
    Ge,
    Gt,
    Html,
    Index,
    Js,
    Le,
    Len,
    Lt,
    Ne,
    Not,
    Or,
    Print,
    Printf,
    Println,
    Slice,
    Urlquery,
}

impl Function {
    pub(super) fn named(name: &str) -> Option<Function> {
        FUNCTIONS.iter().find(|row| row.0 == name).map(|row| row.1)
    }

    pub(super) fn names() -> impl Iterator<Item = &'static str> {
        FUNCTIONS.iter().map(|row| row.0)
    }

    pub(super) fn check_count(self, found: usize) -> Result<(), String> {
        let row = FUNCTIONS.iter().find(|row| row.1 == self);
        let Some((name, _, least, most)) = row.copied() else { return Ok(()) };
        if found < least {
            let at_least = if least == most { "" } else { "at least " };
            Err(format!("expected {at_least}{least} arguments for {name}, found {found}"))
        } else if found > most {
            Err(format!("expected {most} arguments for {name}, found {found}"))
        } else {
            Ok(())
        }
    }
}

/// Calls a function. Without a value, its result is the text in `made`.
pub(super) fn call<'a>(
    function: Function,
    arguments: &[Value<'a>],
    made: &mut Buffer,
) -> Result<Option<Value<'a>>, String> {
    let value = match function {
        Function::Print | Function::Println | Function::Printf => {
            match function {
                Function::Print => format::print(arguments, made),
                Function::Println => format::println(arguments, made),
                _ => printf(arguments, made)?,
            }
            return Ok(None);
        }
        Function::Html | Function::Js | Function::Urlquery => {
            match function {
                Function::Html => escape::html(arguments, made),
                Function::Js => escape::js(arguments, made),
                _ => escape::url_query(arguments, made),
            }
            return Ok(None);
        }
        Function::Index => index(arguments)?,
        Function::Slice => slice(arguments)?,
        Function::Len => Value::Int(length(&arguments[0])? as i64),
        Function::Not => Value::Bool(!arguments[0].is_true()),
        Function::Eq => Value::Bool(equal(&arguments[0], &arguments[1..])?),
        Function::Ne => Value::Bool(!equal(&arguments[0], &arguments[1..])?),
        Function::Lt => Value::Bool(less(&arguments[0], &arguments[1])?),
        Function::Ge => Value::Bool(!less(&arguments[0], &arguments[1])?),
        Function::Le => Value::Bool(less_or_equal(arguments)?),
        Function::Gt => Value::Bool(!less_or_equal(arguments)?),
        Function::Call => {
            return Err(format!("expected a function to call, found {}", arguments[0].type_name()));
        }
        // They do not evaluate all their arguments, so the caller runs them.
        Function::And | Function::Or => arguments.last().cloned().unwrap_or(Value::Nil),
    };
    Ok(Some(value))
}

fn printf(arguments: &[Value<'_>], made: &mut Buffer) -> Result<(), String> {
    match arguments {
        [Value::Text(text), arguments @ ..] => format::printf(text, arguments, made),
        _ => Err(format!("expected a string as the format of printf, found {}", arguments[0].type_name())),
    }
}

fn index<'a>(arguments: &[Value<'a>]) -> Result<Value<'a>, String> {
    let (first, indices) = arguments.split_first().ok_or("expected something to index")?;
    if let Value::Nil = first {
        return Err("expected a map, a list or a string to index, found nil".to_owned());
    }
    indices.iter().try_fold(first.clone(), |value, index| match (&value, index) {
        // An absent key has the zero of the map's type.
        (Value::Map(map), Value::Text(key)) => {
            let found = std::str::from_utf8(key).ok().and_then(|key| value_of(map, key));
            Ok(Value::text(found.unwrap_or_default()))
        }
        (Value::Map(_), index) => Err(format!("expected a string as the key, found {}", index.type_name())),
        (Value::List(list), index) => {
            let items = list.items();
            Ok(Value::text(items[position(index, items.len(), false)?]))
        }
        (Value::Text(text), index) => Ok(Value::Byte(text[position(index, text.len(), false)?])),
        (value, _) => {
            Err(format!("expected a map, a list or a string to index, found {}", value.type_name()))
        }
    })
}

/// A place in a list or a string; the place after the last one only where `end` allows it.
fn position(index: &Value<'_>, length: usize, end: bool) -> Result<usize, String> {
    let position = match index {
        Value::Int(index) => usize::try_from(*index).ok(),
        Value::Byte(index) => Some(usize::from(*index)),
        index => return Err(format!("expected a whole number as the index, found {}", index.type_name())),
    };
    position
        .filter(|position| *position < length + usize::from(end))
        .ok_or_else(|| format!("expected an index within a length of {length}, found one outside"))
}

fn slice<'a>(arguments: &[Value<'a>]) -> Result<Value<'a>, String> {
    let (item, indices) = arguments.split_first().ok_or("expected something to slice")?;
    let (length, capacity) = match item {
        Value::Text(_) if indices.len() == 3 => {
            return Err("expected at most two indices to slice a string, found three".to_owned());
        }
        Value::Text(text) => (text.len(), text.len()),
        Value::List(list) => (list.length, list.items.len()),
        item => return Err(format!("expected a list or a string to slice, found {}", item.type_name())),
    };
    let bound = |place: usize, absent: usize| {
        indices.get(place).map_or(Ok(absent), |index| position(index, capacity, true))
    };
    let (start, end, cut) = (bound(0, 0)?, bound(1, length)?, bound(2, capacity)?);
    if start > end || end > cut {
        return Err(format!("expected rising indices, found {start}, {end} and {cut}"));
    }
    Ok(match item {
        Value::List(list) => Value::List(List { items: &list.items[start..cut], length: end - start }),
        Value::Text(Text::Borrowed(text)) => Value::Text(Text::Borrowed(&text[start..end])),
        Value::Text(Text::Made(text)) => Value::Text(Text::Made(text[start..end].into())),
        _ => Value::Nil,
    })
}

fn length(value: &Value<'_>) -> Result<usize, String> {
    match value {
        Value::Text(text) => Ok(text.len()),
        Value::List(list) => Ok(list.length),
        Value::Map(map) => Ok(map.len()),
        value => Err(format!("expected a string, a list or a map for len, found {}", value.type_name())),
    }
}

/// Whether the first value equals any of the others; those after an equal one are not looked at.
fn equal(first: &Value<'_>, others: &[Value<'_>]) -> Result<bool, String> {
    if others.is_empty() {
        return Err("expected something to compare with".to_owned());
    }
    for other in others {
        if equals(first, other)? {
            return Ok(true);
        }
    }
    Ok(false)
}

fn equals(one: &Value<'_>, other: &Value<'_>) -> Result<bool, String> {
    match (one, other) {
        (Value::Nil, other) | (other, Value::Nil) => Ok(matches!(other, Value::Nil)),
        (Value::Bool(one), Value::Bool(other)) => Ok(one == other),
        (Value::Float(one), Value::Float(other)) => Ok(one == other),
        (Value::Complex(a, b), Value::Complex(c, d)) => Ok((a, b) == (c, d)),
        (Value::Text(one), Value::Text(other)) => Ok(**one == **other),
        (Value::Record(one), Value::Record(other)) if std::ptr::eq(one.kind, other.kind) => one
            .values
            .iter()
            .zip(&other.values)
            .try_fold(true, |all, (one, other)| Ok(all && equals(one, other)?)),
        (one, other) => match (whole(one), whole(other)) {
            (Some(one), Some(other)) => Ok(one == other),
            _ => incomparable(one, other),
        },
    }
}

fn less(one: &Value<'_>, other: &Value<'_>) -> Result<bool, String> {
    let order = match (one, other) {
        (Value::Float(one), Value::Float(other)) => one.partial_cmp(other),
        (Value::Text(one), Value::Text(other)) => Some((**one).cmp(&**other)),
        (one, other) => match (whole(one), whole(other)) {
            (Some(one), Some(other)) => Some(one.cmp(&other)),
            _ => return incomparable(one, other),
        },
    };
    Ok(order == Some(Ordering::Less))
}

fn less_or_equal(arguments: &[Value<'_>]) -> Result<bool, String> {
    Ok(less(&arguments[0], &arguments[1])? || equals(&arguments[0], &arguments[1])?)
}

/// A whole number, whatever its type: Go compares them by value.
fn whole(value: &Value<'_>) -> Option<i64> {
    match value {
        Value::Int(value) => Some(*value),
        Value::Byte(value) => Some(i64::from(*value)),
        _ => None,
    }
}

fn incomparable<T>(one: &Value<'_>, other: &Value<'_>) -> Result<T, String> {
    Err(format!("cannot compare {} with {}", one.type_name(), other.type_name()))
}

/// Name, function, least and most arguments.
const FUNCTIONS: [(&str, Function, usize, usize); 19] = [
    ("and", Function::And, 1, usize::MAX),
    ("call", Function::Call, 1, usize::MAX),
    ("eq", Function::Eq, 1, usize::MAX),
    ("ge", Function::Ge, 2, 2),
    ("gt", Function::Gt, 2, 2),
    ("html", Function::Html, 0, usize::MAX),
    ("index", Function::Index, 1, usize::MAX),
    ("js", Function::Js, 0, usize::MAX),
    ("le", Function::Le, 2, 2),
    ("len", Function::Len, 1, 1),
    ("lt", Function::Lt, 2, 2),
    ("ne", Function::Ne, 2, 2),
    ("not", Function::Not, 1, 1),
    ("or", Function::Or, 1, usize::MAX),
    ("print", Function::Print, 0, usize::MAX),
    ("printf", Function::Printf, 1, usize::MAX),
    ("println", Function::Println, 0, usize::MAX),
    ("slice", Function::Slice, 1, 4),
    ("urlquery", Function::Urlquery, 0, usize::MAX),
];
