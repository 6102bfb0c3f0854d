//! YAML text as a tree in which every node knows its line and column.
//!
//! Decoding by hand from this tree is what lets a file's faults be reported all at once, each with its place. A plain
//! scalar that starts with `<<` is text, never a merge key: templates start like that.

use std::borrow::Cow;

use granit_parser::{Event, Parser, ScalarStyle, ScanError, Span};

use crate::fault::Fault;

/// A node and where it starts.
#[derive(Debug, Clone)]
pub(crate) struct Node {
    pub(crate) value: Value,
    /// 1-based.
    pub(crate) line: usize,
    /// 1-based, in characters.
    pub(crate) column: usize,
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

/// Reads the first document of the text. Duplicate keys are faults, as in upstream's strict decoding; reading goes on
/// behind them.
pub(crate) fn parse(text: &str, faults: &mut Vec<Fault>) -> Result<Node, Fault> {
    // A block scalar that the file ends in, without a line break, has none; the parser adds one.
    let open_end = (!text.ends_with('\n')).then(|| text.chars().count());
    let mut reader =
        Reader { events: Parser::new_from_str(text), anchors: Vec::new(), faults, depth: 0, open_end };
    loop {
        match reader.next()? {
            (Event::DocumentStart(..), _) => {
                let (event, span) = reader.next()?;
                let root = reader.node(event, span)?;
                // The rest of the text must be YAML too: a stray line behind the rules is a slip, not a comment.
                while !matches!(reader.next()?.0, Event::StreamEnd) {}
                return Ok(root);
            }
            (Event::StreamEnd, span) => return Ok(at(span, Value::Null)),
            _ => {}
        }
    }
}

struct Reader<'a, 'f> {
    events: Parser<'a, granit_parser::StrInput<'a>>,
    anchors: Vec<(usize, Node)>,
    faults: &'f mut Vec<Fault>,
    depth: usize,
    /// Where the text ends, when it does not end in a line break.
    open_end: Option<usize>,
}

impl<'a> Reader<'a, '_> {
    fn next(&mut self) -> Result<(Event<'a>, Span), Fault> {
        let is_data =
            |event: &Result<(Event<'_>, Span), ScanError>| !matches!(event, Ok((Event::Comment(..), _)));
        match self.events.by_ref().find(is_data) {
            Some(Ok(event)) => Ok(event),
            Some(Err(error)) => Err(syntax(&error)),
            // The parser ends with `StreamEnd`, after which nobody asks again.
            None => Err(Fault {
                path: String::new(),
                line: 1,
                column: 1,
                message: "the file ends early".to_owned(),
            }),
        }
    }

    fn node(&mut self, event: Event<'a>, span: Span) -> Result<Node, Fault> {
        match event {
            Event::Scalar(text, style, anchor, _) => {
                let quoted = style != ScalarStyle::Plain;
                let block = matches!(style, ScalarStyle::Literal | ScalarStyle::Folded);
                let text = match text.strip_suffix('\n') {
                    Some(line) if block && self.open_end.is_some_and(|end| span.end.index() >= end) => {
                        line.into()
                    }
                    _ => text,
                };
                let value = if !quoted && is_null(&text) {
                    Value::Null
                } else {
                    Value::Scalar { text: text.to_string(), quoted }
                };
                Ok(self.remember(anchor, at(span, value)))
            }
            Event::SequenceStart(_, anchor, _) => {
                self.deeper(span)?;
                let mut items = Vec::new();
                loop {
                    match self.next()? {
                        (Event::SequenceEnd, _) => break,
                        (event, span) => items.push(self.node(event, span)?),
                    }
                }
                self.depth -= 1;
                Ok(self.remember(anchor, at(span, Value::Sequence(items))))
            }
            Event::MappingStart(_, anchor, _) => {
                self.deeper(span)?;
                let entries = self.entries()?;
                self.depth -= 1;
                Ok(self.remember(anchor, at(span, Value::Mapping(entries))))
            }
            Event::Alias(anchor) => {
                let found = self.anchors.iter().rev().find(|(id, _)| *id == anchor);
                found
                    .map(|(_, node)| node.clone())
                    .ok_or_else(|| fault(span, "an alias to an anchor that is not there"))
            }
            _ => Err(fault(span, "expected a value")),
        }
    }

    fn entries(&mut self) -> Result<Vec<(Key, Node)>, Fault> {
        let mut entries: Vec<(Key, Node)> = Vec::new();
        loop {
            let (event, span) = self.next()?;
            let key = match event {
                Event::MappingEnd => return Ok(entries),
                Event::Scalar(text, ..) => {
                    Key { text: text.into_owned(), line: span.start.line(), column: span.start.col() + 1 }
                }
                _ => return Err(fault(span, "expected a field name, found a list or a mapping as key")),
            };
            let (event, span) = self.next()?;
            let node = self.node(event, span)?;
            if let Some((first, _)) = entries.iter().find(|(other, _)| other.text == key.text) {
                self.faults.push(Fault {
                    path: String::new(),
                    line: key.line,
                    column: key.column,
                    message: format!(
                        "the key {:?} is already set in this mapping, in line {}",
                        key.text, first.line
                    ),
                });
            } else {
                entries.push((key, node));
            }
        }
    }

    fn remember(&mut self, anchor: usize, node: Node) -> Node {
        if anchor != 0 {
            self.anchors.push((anchor, node.clone()));
        }
        node
    }

    fn deeper(&mut self, span: Span) -> Result<(), Fault> {
        self.depth += 1;
        if self.depth > DEEPEST {
            return Err(fault(span, &format!("nested deeper than {DEEPEST} levels")));
        }
        Ok(())
    }
}

fn at(span: Span, value: Value) -> Node {
    Node { value, line: span.start.line(), column: span.start.col() + 1 }
}

fn fault(span: Span, message: &str) -> Fault {
    Fault {
        path: String::new(),
        line: span.start.line(),
        column: span.start.col() + 1,
        message: message.to_owned(),
    }
}

fn syntax(error: &ScanError) -> Fault {
    let marker = error.marker();
    Fault {
        path: String::new(),
        line: marker.line(),
        column: marker.col() + 1,
        message: format!("this is not YAML: {}", error.info()),
    }
}

fn is_null(text: &str) -> bool {
    matches!(text, "" | "~" | "null" | "Null" | "NULL")
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

/// Rule files nest six levels; the limit only keeps a hostile file from exhausting the stack.
const DEEPEST: usize = 64;
const LONGEST_QUOTE: usize = 40;
