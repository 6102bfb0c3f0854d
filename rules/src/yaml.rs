//! YAML text as a tree in which every node knows its line and column.
//!
//! Decoding by hand from this tree is what lets a file's faults be reported together, each with its place.

mod merge;
mod node;

use std::collections::HashMap;

use granit_parser::{Event, Parser, Placement, ScalarStyle, ScanError, Span};

use crate::allow::{self, Allow};
use crate::fault::{Fault, bounded};
use crate::findings::Findings;
use crate::warning::{Lint, Warning};
use merge::Merge;
pub(crate) use node::{Key, Node, Value, boolean};

/// What the nodes of a rule file and of the texts inside it take so far.
///
/// A few lines of aliases to aliases can stand for more than fits into memory, and a file of nothing but commas makes a
/// hundred bytes of nodes out of two.
#[derive(Debug, Default)]
pub(crate) struct Budget {
    /// Values and keys, those made from anchors and aliases included.
    nodes: usize,
    from_aliases: usize,
    /// Text in the copies that anchors and aliases make.
    copied_bytes: usize,
}

/// Reads the first document of the text; further ones are worth a warning. Duplicate keys are faults, as in upstream's
/// strict decoding; reading goes on after them.
pub(crate) fn parse(text: &str, budget: &mut Budget, findings: &mut Findings) -> Result<Node, Fault> {
    let mut found = Findings::default();
    let root = read(text, budget, &mut found);
    allow::aim(&mut found.allows, text);
    findings.append(found);
    root
}

fn read(text: &str, budget: &mut Budget, findings: &mut Findings) -> Result<Node, Fault> {
    // A block scalar that the file ends in, without a line break, has none; the parser adds one.
    let open_end = (!text.ends_with('\n')).then(|| text.chars().count());
    let mut reader = Reader {
        events: Parser::new_from_str(text),
        anchors: HashMap::new(),
        budget,
        findings,
        depth: 0,
        open_end,
    };
    loop {
        match reader.next()? {
            (Event::DocumentStart(..), _) => {
                let (event, span) = reader.next()?;
                let root = reader.node(event, span)?;
                reader.rest()?;
                return Ok(root);
            }
            (Event::StreamEnd, span) => return Ok(at(span, Value::Null)),
            _ => {}
        }
    }
}

struct Reader<'a, 'f> {
    events: Parser<'a, granit_parser::StrInput<'a>>,
    /// By the parser's numbers, which it never uses twice.
    anchors: HashMap<usize, Anchored>,
    budget: &'f mut Budget,
    findings: &'f mut Findings,
    depth: usize,
    /// Where the text ends, when it does not end in a line break.
    open_end: Option<usize>,
}

struct Anchored {
    node: Node,
    size: Size,
}

/// How much a node holds, itself included.
#[derive(Debug, Clone, Copy, Default)]
struct Size {
    /// Values and keys.
    nodes: usize,
    bytes: usize,
    levels: usize,
}

impl Size {
    fn of(node: &Node) -> Size {
        let mut size = Size { nodes: 1, bytes: 0, levels: 0 };
        match &node.value {
            Value::Null => {}
            Value::Scalar { text, .. } => size.bytes = text.len(),
            Value::Sequence(items) => items.iter().for_each(|item| size.hold(Size::of(item))),
            Value::Mapping(entries) => entries.iter().for_each(|(key, node)| {
                size.nodes += 1;
                size.bytes += key.text.len();
                size.hold(Size::of(node));
            }),
        }
        size
    }

    fn hold(&mut self, inner: Size) {
        self.nodes += inner.nodes;
        self.bytes += inner.bytes;
        self.levels = self.levels.max(inner.levels + 1);
    }
}

impl Budget {
    fn count(&mut self, span: Span, nodes: usize) -> Result<(), Fault> {
        self.nodes += nodes;
        if self.nodes > MOST_NODES {
            return Err(fault(
                span,
                &format!("expected at most {MOST_NODES} keys and values in a rule file, found more"),
            ));
        }
        Ok(())
    }

    /// Anchors keep a copy of their node.
    fn copy(&mut self, span: Span, size: Size) -> Result<(), Fault> {
        self.copied_bytes += size.bytes;
        if self.copied_bytes > MOST_COPIED_BYTES {
            return Err(fault(
                span,
                &format!(
                    "expected anchors and aliases that stand for at most {MOST_COPIED_BYTES} bytes of text, found more; \
                     write fewer, or smaller ones"
                ),
            ));
        }
        self.count(span, size.nodes)
    }

    fn expand(&mut self, span: Span, size: Size) -> Result<(), Fault> {
        self.from_aliases += size.nodes;
        if self.from_aliases > MOST_FROM_ALIASES {
            return Err(fault(
                span,
                &format!(
                    "expected aliases that stand for at most {MOST_FROM_ALIASES} keys and values, found more; write \
                     fewer, or to smaller anchors"
                ),
            ));
        }
        self.copy(span, size)
    }
}

impl<'a> Reader<'a, '_> {
    fn next(&mut self) -> Result<(Event<'a>, Span), Fault> {
        loop {
            match self.events.next() {
                Some(Ok((Event::Comment(text, placement), span))) => self.comment(&text, placement, span)?,
                Some(Ok(event)) => return Ok(event),
                Some(Err(error)) => return Err(syntax(&error)),
                // The parser ends with `StreamEnd`, after which no event is asked for.
                None => {
                    return Err(Fault {
                        path: String::new(),
                        line: 1,
                        column: 1,
                        width: 0,
                        message: "the file ends early".to_owned(),
                    });
                }
            }
        }
    }

    fn comment(&mut self, text: &str, placement: Placement, span: Span) -> Result<(), Fault> {
        let place = (span.start.line(), span.start.col() + 1);
        match Allow::read(text, place, placement != Placement::Right) {
            None => return Ok(()),
            Some(Ok(allow)) => self.findings.allows.push(allow),
            Some(Err(warning)) => self.findings.warnings.push(warning),
        }
        self.budget.count(span, 1)
    }

    /// What follows the first document must be YAML too: a stray line after the rules is a slip, not a comment.
    fn rest(&mut self) -> Result<(), Fault> {
        let mut unread: Vec<Span> = Vec::new();
        loop {
            match self.next()? {
                (Event::StreamEnd, _) => break,
                (Event::DocumentStart(..), _) => {
                    let (event, span) = self.next()?;
                    if !matches!(&event, Event::Scalar(text, ScalarStyle::Plain, ..) if is_null(text)) {
                        unread.push(span);
                    }
                }
                _ => {}
            }
        }
        if let Some(first) = unread.first() {
            let lines: Vec<String> =
                unread.iter().take(LINES_SHOWN).map(|span| span.start.line().to_string()).collect();
            let (noun, verb) = if unread.len() == 1 { ("line", "is") } else { ("lines", "are") };
            let fault = fault(
                *first,
                &format!(
                    "only the first YAML document is read; what starts in {noun} {} {verb} not",
                    lines.join(", ")
                ),
            );
            self.findings.warnings.push(Warning::new(Lint::UnreadDocument, fault));
        }
        Ok(())
    }

    fn node(&mut self, event: Event<'a>, span: Span) -> Result<Node, Fault> {
        self.budget.count(span, 1)?;
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
                self.remember(anchor, span, at(span, value))
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
                self.remember(anchor, span, at(span, Value::Sequence(items)))
            }
            Event::MappingStart(_, anchor, _) => {
                self.deeper(span)?;
                let entries = self.entries()?;
                self.depth -= 1;
                self.remember(anchor, span, at(span, Value::Mapping(entries)))
            }
            Event::Alias(anchor) => {
                let Some(Anchored { node, size }) = self.anchors.get(&anchor) else {
                    return Err(fault(span, "an alias to an anchor that is not there"));
                };
                let size = *size;
                if self.depth + size.levels > DEEPEST {
                    return Err(too_deep(span));
                }
                self.budget.expand(span, size)?;
                Ok(node.clone())
            }
            _ => Err(fault(span, "expected a value")),
        }
    }

    fn entries(&mut self) -> Result<Vec<(Key, Node)>, Fault> {
        let mut merge = Merge::default();
        let mut lines: HashMap<String, usize> = HashMap::new();
        loop {
            let (event, span) = self.next()?;
            let (key, is_merge) = match event {
                Event::MappingEnd => return Ok(merge.entries(&mut self.findings.warnings)),
                Event::Scalar(text, style, ..) => {
                    let is_merge = style == ScalarStyle::Plain && text == MERGE_KEY;
                    let (line, column) = (span.start.line(), span.start.col() + 1);
                    (Key { text: text.into_owned(), line, column }, is_merge)
                }
                _ => return Err(fault(span, "expected a field name, found a list or a mapping as key")),
            };
            self.budget.count(span, 1)?;
            let (event, span) = self.next()?;
            let node = self.node(event, span)?;
            if is_merge {
                merge.add(node).unwrap_or_else(|fault| self.findings.faults.push(fault));
            } else if let Some(first) = lines.get(&key.text) {
                let Key { text, line, column } = key;
                let message =
                    bounded(format!("the key {text:?} is already set in this mapping, in line {first}"));
                let width = text.chars().count();
                self.findings.faults.push(Fault { path: String::new(), line, column, width, message });
            } else {
                lines.insert(key.text.clone(), key.line);
                merge.own(key, node);
            }
        }
    }

    fn remember(&mut self, anchor: usize, span: Span, node: Node) -> Result<Node, Fault> {
        if anchor != 0 {
            let size = Size::of(&node);
            self.budget.copy(span, size)?;
            self.anchors.insert(anchor, Anchored { node: node.clone(), size });
        }
        Ok(node)
    }

    fn deeper(&mut self, span: Span) -> Result<(), Fault> {
        self.depth += 1;
        if self.depth > DEEPEST { Err(too_deep(span)) } else { Ok(()) }
    }
}

fn at(span: Span, value: Value) -> Node {
    let (start, end) = (span.start, span.end);
    let (width, last_line) = match &value {
        // What ends before a line's first character ends in the line before.
        Value::Null | Value::Scalar { .. } if end.col() == 0 => (0, end.line().saturating_sub(1)),
        Value::Null | Value::Scalar { .. } => (end.col().saturating_sub(start.col()), end.line()),
        Value::Sequence(items) => (0, items.iter().map(|item| item.last_line).max().unwrap_or_default()),
        Value::Mapping(entries) => {
            (0, entries.iter().map(|(key, node)| node.last_line.max(key.line)).max().unwrap_or_default())
        }
    };
    let width = if end.line() == start.line() { width } else { 0 };
    let last_line = last_line.max(start.line());
    Node { value, line: start.line(), column: start.col() + 1, width, last_line }
}

fn fault(span: Span, message: &str) -> Fault {
    Fault {
        path: String::new(),
        line: span.start.line(),
        column: span.start.col() + 1,
        width: 0,
        message: bounded(message.to_owned()),
    }
}

fn too_deep(span: Span) -> Fault {
    fault(span, &format!("nested deeper than {DEEPEST} levels"))
}

fn syntax(error: &ScanError) -> Fault {
    let marker = error.marker();
    Fault {
        path: String::new(),
        line: marker.line(),
        column: marker.col() + 1,
        width: 1,
        message: format!("this is not YAML: {}", error.info()),
    }
}

fn is_null(text: &str) -> bool {
    matches!(text, "" | "~" | "null" | "Null" | "NULL")
}

/// Rule files nest six levels; the limit only keeps a hostile file from exhausting the stack.
const DEEPEST: usize = 64;
/// Ten thousand rules. Each node takes about a hundred bytes.
const MOST_NODES: usize = 300_000;
/// A thousand rules that share their `resources`.
const MOST_FROM_ALIASES: usize = 10_000;
const MOST_COPIED_BYTES: usize = 8 << 20;
/// Unquoted, as a key. A value that starts with it is text: templates start like that.
const MERGE_KEY: &str = "<<";
const LINES_SHOWN: usize = 10;
