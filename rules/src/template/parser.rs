//! From tokens to a tree. What Go's text/template refuses when it parses is refused here, and nothing else but what is
//! nested too deep.

mod pipeline;

use std::collections::BTreeMap;

use super::fault::{Fault, short};
use super::lexer::{self, Keyword, Kind, Token};
use super::literal;
use super::tree::{Branch, BranchKind, Node, TemplateCall, Tree};

/// Parses a template; `name` is what it can be called by, as text/template allows.
pub(super) fn parse(name: &'static str, text: &str) -> Result<Tree, Fault> {
    let tokens = lexer::tokens(text);
    let mut parser = Parser { text, tokens: &tokens, position: 0, depth: 0, templates: BTreeMap::new() };
    let mut scope = Scope::new();
    let mut nodes = Vec::new();
    while parser.peek().kind != Kind::End {
        if parser.starts_definition() {
            parser.definition()?;
            continue;
        }
        match parser.item(&mut scope)? {
            Item::Node(node) => nodes.push(node),
            Item::End(token) => {
                let opens = "\"if\", \"with\", \"range\", \"block\" or \"define\"";
                return Err(token.fault(format!("unexpected \"end\": no {opens} is open")));
            }
            Item::Else(token) => {
                return Err(token.fault("unexpected \"else\": no \"if\", \"with\" or \"range\" is open"));
            }
        }
    }
    parser.add(name.as_bytes(), nodes, parser.peek().start)?;
    Ok(Tree { root: name, templates: parser.templates })
}

/// The context of a node.
struct Scope {
    /// The variables that are declared, the innermost last.
    variables: Vec<Box<str>>,
    /// How many `range`s are open.
    ranges: usize,
}

impl Scope {
    fn new() -> Scope {
        Scope { variables: vec!["$".into()], ranges: 0 }
    }
}

/// What may follow in a list of nodes.
enum Item {
    Node(Node),
    End(Token),
    Else(Token),
}

struct Parser<'t> {
    text: &'t str,
    tokens: &'t [Token],
    position: usize,
    /// Blocks and parentheses around.
    depth: usize,
    templates: BTreeMap<Box<[u8]>, Vec<Node>>,
}

impl<'t> Parser<'t> {
    fn peek(&self) -> &'t Token {
        // The last token is `End` or `Fault`, and it is never passed.
        &self.tokens[self.position.min(self.tokens.len() - 1)]
    }

    fn next(&mut self) -> &'t Token {
        let token = self.peek();
        self.position += 1;
        token
    }

    fn skip_space(&mut self) {
        while self.peek().kind == Kind::Space {
            self.position += 1;
        }
    }

    /// The next token that is not a space, which stays.
    fn peek_token(&mut self) -> &'t Token {
        self.skip_space();
        self.peek()
    }

    fn next_token(&mut self) -> &'t Token {
        self.skip_space();
        self.next()
    }

    fn text_of(&self, token: &Token) -> &'t str {
        &self.text[token.start..token.end]
    }

    fn unexpected(&self, token: &Token, expected: &str) -> Fault {
        let found = match &token.kind {
            Kind::Fault(reason) => return token.fault(reason),
            Kind::End => "the end of the template".to_owned(),
            Kind::Text => "text".to_owned(),
            _ => format!("{:?}", short(self.text_of(token))),
        };
        token.fault(format!("expected {expected}, found {found}"))
    }

    fn close(&mut self, what: &str) -> Result<(), Fault> {
        let token = self.next_token();
        match token.kind {
            Kind::RightDelimiter => Ok(()),
            _ => Err(self.unexpected(token, &format!(">> after {what}"))),
        }
    }

    fn enter(&mut self, token: &Token) -> Result<(), Fault> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return Err(
                token.fault(format!("expected at most {MAX_DEPTH} blocks and parentheses in one another"))
            );
        }
        Ok(())
    }

    fn starts_definition(&mut self) -> bool {
        let start = self.position;
        let found = self.next().kind == Kind::LeftDelimiter
            && self.peek_token().kind == Kind::Keyword(Keyword::Define);
        self.position = start;
        found
    }

    fn definition(&mut self) -> Result<(), Fault> {
        self.next();
        let opening = self.next_token();
        let (name, at) = self.template_name("define")?;
        self.close("the name")?;
        let nodes = self.block(opening, &mut Scope::new())?;
        self.add(&name, nodes, at)
    }

    /// The nodes up to `end`, where `else` may not stand.
    fn block(&mut self, opening: &Token, scope: &mut Scope) -> Result<Vec<Node>, Fault> {
        match self.list(opening, scope)? {
            (nodes, Item::Else(token)) => {
                drop(nodes);
                Err(token
                    .fault(format!("expected \"end\" of the {:?}, found \"else\"", self.text_of(opening))))
            }
            (nodes, _) => Ok(nodes),
        }
    }

    /// An empty template may be defined again.
    fn add(&mut self, name: &[u8], nodes: Vec<Node>, at: usize) -> Result<(), Fault> {
        match self.templates.get(name) {
            Some(first) if !is_empty(first) => {
                if is_empty(&nodes) {
                    return Ok(());
                }
                let name = String::from_utf8_lossy(name);
                Err(Fault { at, message: format!("the template {:?} is defined twice", short(&name)) })
            }
            _ => {
                self.templates.insert(name.into(), nodes);
                Ok(())
            }
        }
    }

    /// Nodes up to the `end` or `else` that closes them.
    fn list(&mut self, opening: &Token, scope: &mut Scope) -> Result<(Vec<Node>, Item), Fault> {
        self.enter(opening)?;
        let mut nodes = Vec::new();
        while self.peek_token().kind != Kind::End {
            match self.item(scope)? {
                Item::Node(node) => nodes.push(node),
                closing => {
                    self.depth -= 1;
                    return Ok((nodes, closing));
                }
            }
        }
        let what = self.text_of(opening);
        Err(opening.fault(format!("expected \"end\" for this {what:?}, found the end of the template")))
    }

    fn item(&mut self, scope: &mut Scope) -> Result<Item, Fault> {
        let token = self.next_token();
        match token.kind {
            Kind::Text => Ok(Item::Node(Node::Text(self.text_of(token).into()))),
            Kind::LeftDelimiter => self.action(scope),
            _ => Err(self.unexpected(token, "text or <<")),
        }
    }

    fn action(&mut self, scope: &mut Scope) -> Result<Item, Fault> {
        let token = self.peek_token();
        let Kind::Keyword(keyword) = token.kind else {
            return self.pipeline("action", &Kind::RightDelimiter, scope).map(Node::Action).map(Item::Node);
        };
        self.next();
        match keyword {
            Keyword::If => self.branch(token, BranchKind::If, scope).map(Item::Node),
            Keyword::With => self.branch(token, BranchKind::With, scope).map(Item::Node),
            Keyword::Range => self.branch(token, BranchKind::Range, scope).map(Item::Node),
            Keyword::Template => self.template(token, scope).map(Item::Node),
            Keyword::Block => self.defining_call(token, scope).map(Item::Node),
            Keyword::Break | Keyword::Continue => {
                let word = self.text_of(token);
                self.close(&format!("{word:?}"))?;
                if scope.ranges == 0 {
                    return Err(token.fault(format!("unexpected {word:?}: no \"range\" is open")));
                }
                Ok(Item::Node(if keyword == Keyword::Break { Node::Break } else { Node::Continue }))
            }
            Keyword::End => {
                self.close("\"end\"")?;
                Ok(Item::End(token.clone()))
            }
            Keyword::Else => {
                // `else if` and `else with` are read by the branch that they continue.
                let next = self.peek_token();
                if !matches!(next.kind, Kind::Keyword(Keyword::If | Keyword::With)) {
                    self.close("\"else\"")?;
                }
                Ok(Item::Else(token.clone()))
            }
            Keyword::Define => Err(token.fault("unexpected \"define\": expected it outside of every block")),
        }
    }

    fn branch(&mut self, opening: &Token, kind: BranchKind, scope: &mut Scope) -> Result<Node, Fault> {
        let variables = scope.variables.len();
        let what = self.text_of(opening);
        let pipeline = self.pipeline(what, &Kind::RightDelimiter, scope)?;
        let ranges = usize::from(kind == BranchKind::Range);
        scope.ranges += ranges;
        let (body, closing) = self.list(opening, scope)?;
        scope.ranges -= ranges;
        let mut otherwise = Vec::new();
        if let Item::Else(_) = closing {
            let next = self.peek();
            let continues = match kind {
                BranchKind::If => next.kind == Kind::Keyword(Keyword::If),
                BranchKind::With => next.kind == Kind::Keyword(Keyword::With),
                BranchKind::Range => false,
            };
            if continues {
                self.next();
                self.enter(next)?;
                otherwise.push(self.branch(next, kind, scope)?);
                self.depth -= 1;
            } else {
                // What stands between `else` and `>>` is refused by `item`.
                otherwise = self.block(opening, scope)?;
            }
        }
        scope.variables.truncate(variables);
        Ok(Node::Branch(Branch { kind, pipeline, body, otherwise }))
    }

    fn template(&mut self, opening: &Token, scope: &mut Scope) -> Result<Node, Fault> {
        let (name, _) = self.template_name("template")?;
        let argument = if self.peek_token().kind == Kind::RightDelimiter {
            self.next();
            None
        } else {
            Some(self.pipeline("template", &Kind::RightDelimiter, scope)?)
        };
        Ok(Node::Template(TemplateCall { at: opening.start, name, argument }))
    }

    /// `block` defines a template and calls it.
    fn defining_call(&mut self, opening: &Token, scope: &mut Scope) -> Result<Node, Fault> {
        let (name, at) = self.template_name("block")?;
        let argument = self.pipeline("block", &Kind::RightDelimiter, scope)?;
        let nodes = self.block(opening, &mut Scope::new())?;
        self.add(&name, nodes, at)?;
        Ok(Node::Template(TemplateCall { at: opening.start, name, argument: Some(argument) }))
    }

    fn template_name(&mut self, what: &str) -> Result<(Box<[u8]>, usize), Fault> {
        let token = self.next_token();
        match token.kind {
            Kind::String | Kind::RawString => {
                let name = literal::string(self.text_of(token)).map_err(|reason| token.fault(reason))?;
                Ok((name, token.start))
            }
            _ => Err(self.unexpected(token, &format!("a name in quotes after {what:?}"))),
        }
    }
}

/// Whether nodes are nothing but spaces.
fn is_empty(nodes: &[Node]) -> bool {
    nodes.iter().all(|node| matches!(node, Node::Text(text) if text.trim().is_empty()))
}

/// How many blocks and parentheses may stand in one another: what keeps the stack small.
const MAX_DEPTH: usize = 100;
