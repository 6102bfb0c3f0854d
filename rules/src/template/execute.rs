//! Runs a parsed template, as text/template does.

mod evaluate;

use super::fault::{Fault, short};
use super::format::{self, Buffer};
use super::tree::{Branch, BranchKind, Node, Pipeline, TemplateCall, Tree};
use super::value::Value;

/// What a template prints for `data`. Any bytes: a template can cut a character in two.
pub(super) fn execute<'a>(tree: &'a Tree, data: &Value<'a>) -> Result<Vec<u8>, Fault> {
    let mut run = Run {
        tree,
        variables: vec![("$", data.clone())],
        output: Buffer::new(MAX_BYTES),
        work_left: MAX_WORK,
        steps_left: MAX_STEPS,
        depth: 0,
    };
    if let Some(nodes) = tree.templates.get(tree.root.as_bytes()) {
        // Outside of a `range` the parser lets no `break` and no `continue` through.
        run.list(nodes, data)?;
    }
    Ok(run.output.into_bytes())
}

struct Run<'a> {
    tree: &'a Tree,
    /// Those of the template that runs, the innermost last.
    variables: Vec<(&'a str, Value<'a>)>,
    output: Buffer,
    /// Bytes of text that functions may still read and make.
    work_left: usize,
    steps_left: usize,
    /// Blocks, parentheses and templates around.
    depth: usize,
}

/// How a list of nodes ended.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Flow {
    Next,
    Break,
    Continue,
}

impl<'a> Run<'a> {
    fn list(&mut self, nodes: &'a [Node], dot: &Value<'a>) -> Result<Flow, Fault> {
        for node in nodes {
            let flow = match node {
                Node::Text(text) => {
                    self.output.push(text.as_bytes());
                    self.check_output(0)?;
                    Flow::Next
                }
                Node::Action(pipeline) => {
                    let value = self.pipeline(pipeline, dot)?;
                    if pipeline.variables.is_empty() {
                        format::print_value(&value, &mut self.output);
                        self.check_output(pipeline.at)?;
                    }
                    Flow::Next
                }
                Node::Branch(branch) => self.branch(branch, dot)?,
                Node::Template(call) => {
                    self.template(call, dot)?;
                    Flow::Next
                }
                Node::Break => Flow::Break,
                Node::Continue => Flow::Continue,
            };
            if flow != Flow::Next {
                return Ok(flow);
            }
        }
        Ok(Flow::Next)
    }

    fn check_output(&self, at: usize) -> Result<(), Fault> {
        if self.output.overflowed() { Err(too_long(at, MAX_BYTES)) } else { Ok(()) }
    }

    fn step(&mut self, at: usize) -> Result<(), Fault> {
        self.steps_left = self.steps_left.checked_sub(1).ok_or_else(|| Fault {
            at,
            message: format!("expected at most {MAX_STEPS} steps, found more: a loop is too long"),
        })?;
        Ok(())
    }

    /// Counts what is nested, so that the stack stays small.
    fn nested<T>(
        &mut self,
        at: usize,
        inner: impl FnOnce(&mut Self) -> Result<T, Fault>,
    ) -> Result<T, Fault> {
        if self.depth == MAX_DEPTH {
            return Err(Fault {
                at,
                message: format!(
                    "expected at most {MAX_DEPTH} templates, blocks and parentheses in one another; does a template \
                     call itself?"
                ),
            });
        }
        self.depth += 1;
        let result = inner(self);
        self.depth -= 1;
        result
    }

    fn branch(&mut self, branch: &'a Branch, dot: &Value<'a>) -> Result<Flow, Fault> {
        let at = branch.pipeline.at;
        self.nested(at, |run| {
            let mark = run.variables.len();
            let value = run.pipeline(&branch.pipeline, dot)?;
            let flow = match branch.kind {
                BranchKind::If if value.is_true() => run.list(&branch.body, dot),
                BranchKind::With if value.is_true() => run.list(&branch.body, &value),
                BranchKind::If | BranchKind::With => run.list(&branch.otherwise, dot),
                BranchKind::Range => run.range(branch, &value, dot),
            };
            run.variables.truncate(mark);
            flow
        })
    }

    fn range(&mut self, branch: &'a Branch, value: &Value<'a>, dot: &Value<'a>) -> Result<Flow, Fault> {
        let at = branch.pipeline.at;
        let ran = match value {
            Value::Nil => false,
            Value::List(list) => {
                let items = list.items().iter().enumerate();
                self.iterate(
                    branch,
                    items.map(|(index, item)| (Value::Int(index as i64), Value::text(item))),
                )?
            }
            Value::Map(map) => {
                self.iterate(branch, map.iter().map(|(key, value)| (Value::text(key), Value::text(value))))?
            }
            Value::Int(_) | Value::Byte(_) if branch.pipeline.variables.len() > 1 => {
                return fault(at, "expected one variable to range over a number, found two");
            }
            Value::Int(count) => {
                self.iterate(branch, (0..*count).map(|item| (Value::Nil, Value::Int(item))))?
            }
            Value::Byte(count) => {
                self.iterate(branch, (0..*count).map(|item| (Value::Nil, Value::Byte(item))))?
            }
            _ => {
                let found = value.type_name();
                return fault(
                    at,
                    format!("expected a list, a map or a whole number to range over, found {found}"),
                );
            }
        };
        if ran {
            return Ok(Flow::Next);
        }
        // As in Go, a `break` after `else` ends this range and not the one around it; a `continue` goes on with the
        // latter.
        let flow = self.list(&branch.otherwise, dot)?;
        Ok(if flow == Flow::Break { Flow::Next } else { flow })
    }

    /// Whether there was an element.
    fn iterate(
        &mut self,
        branch: &'a Branch,
        elements: impl Iterator<Item = (Value<'a>, Value<'a>)>,
    ) -> Result<bool, Fault> {
        let Pipeline { at, variables, assigns, .. } = &branch.pipeline;
        let mark = self.variables.len();
        let mut ran = false;
        for (index, element) in elements {
            ran = true;
            self.step(*at)?;
            match &**variables {
                [] => {}
                [only] if *assigns => self.assign(only, &element, *at)?,
                [first, second, ..] if *assigns => {
                    self.assign(first, &index, *at)?;
                    self.assign(second, &element, *at)?;
                }
                // The pipeline declared them: they are the last ones.
                [_] => self.variables[mark - 1].1 = element.clone(),
                [..] => {
                    self.variables[mark - 1].1 = element.clone();
                    self.variables[mark - 2].1 = index;
                }
            }
            let flow = self.list(&branch.body, &element)?;
            self.variables.truncate(mark);
            if flow == Flow::Break {
                break;
            }
        }
        Ok(ran)
    }

    fn template(&mut self, call: &'a TemplateCall, dot: &Value<'a>) -> Result<(), Fault> {
        let TemplateCall { at, name, argument } = call;
        let tree = self.tree;
        let Some(nodes) = tree.templates.get(name) else {
            return fault(*at, format!("no template {:?} is defined", short(&String::from_utf8_lossy(name))));
        };
        self.step(*at)?;
        self.nested(*at, |run| {
            let dot = match argument {
                Some(pipeline) => run.pipeline(pipeline, dot)?,
                None => Value::Nil,
            };
            // A template sees no variables but its own.
            let outside = std::mem::replace(&mut run.variables, vec![("$", dot.clone())]);
            let result = run.list(nodes, &dot);
            run.variables = outside;
            result.map(|_| ())
        })
    }
}

fn fault<T>(at: usize, message: impl Into<String>) -> Result<T, Fault> {
    Err(Fault { at, message: message.into() })
}

fn too_long(at: usize, most: usize) -> Fault {
    Fault { at, message: format!("expected at most {most} bytes of text, found more") }
}

/// What a template may print. A list of 5,000 pods is a quarter of a MiB.
const MAX_BYTES: usize = 16 << 20;
/// What the functions of a template may read and make together.
const MAX_WORK: usize = 32 << 20;
/// Elements of ranges, commands and calls of templates.
const MAX_STEPS: usize = 100_000;
const MAX_DEPTH: usize = 200;
