//! Nodes of a YAML tree, each with its place.

use std::borrow::Cow;

/// A node and where it starts.
#[derive(Debug, Clone)]
pub(crate) struct Node {
    pub(crate) value: Value,
    /// 1-based.
    pub(crate) line: usize,
    /// 1-based, in characters.
    pub(crate) column: usize,
    /// In characters; 0 for what goes on in further lines.
    pub(crate) width: usize,
    /// 1-based. The last line with a part of the node.
    pub(crate) last_line: usize,
}

#[derive(Debug, Clone)]
pub(crate) enum Value {
    Null,
    Scalar {
        text: String,
        quoted: bool,
    },
    Sequence(Vec<Node>),
    /// In the order of the file; keys are scalars.
    Mapping(Vec<(Key, Node)>),
}

#[derive(Debug, Clone)]
pub(crate) struct Key {
    pub(crate) text: String,
    pub(crate) line: usize,
    pub(crate) column: usize,
}

impl Node {
    /// What the node is, for messages.
    pub(crate) fn describe(&self) -> Cow<'static, str> {
        match &self.value {
            Value::Null => "nothing".into(),
            Value::Scalar { text, quoted: false } if is_boolean(text) => format!("the boolean {text}").into(),
            Value::Scalar { text, quoted: false } if text.parse::<f64>().is_ok() => {
                format!("the number {text}").into()
            }
            Value::Scalar { text, .. } => format!("the string {:?}", shorten(text)).into(),
            Value::Sequence(_) => "a list".into(),
            Value::Mapping(_) => "a mapping".into(),
        }
    }

    /// The value of a key of a mapping.
    pub(crate) fn field(&self, name: &str) -> Option<&Node> {
        let Value::Mapping(entries) = &self.value else { return None };
        entries.iter().find(|(key, _)| key.text == name).map(|(_, node)| node)
    }
}

fn is_boolean(text: &str) -> bool {
    boolean(text).is_some()
}

/// Booleans of YAML 1.1, which upstream's reader knows.
pub(crate) fn boolean(text: &str) -> Option<bool> {
    match text {
        "true" | "True" | "TRUE" | "yes" | "Yes" | "YES" | "on" | "On" | "ON" | "y" | "Y" => Some(true),
        "false" | "False" | "FALSE" | "no" | "No" | "NO" | "off" | "Off" | "OFF" | "n" | "N" => Some(false),
        _ => None,
    }
}

fn shorten(text: &str) -> String {
    if text.chars().count() <= LONGEST_QUOTE {
        return text.to_owned();
    }
    text.chars().take(LONGEST_QUOTE).chain("...".chars()).collect()
}

const LONGEST_QUOTE: usize = 40;
