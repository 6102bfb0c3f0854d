//! Which labels a query template asks for.

use std::collections::BTreeSet;

use super::fields::QUERY;
use super::functions::Function;
use super::tree::{Node, OperandKind, Pipeline, Tree};

/// The constant names: of `.LabelValuesByName.pod`, and of `index .LabelValuesByName "pod"`.
pub(super) fn label_names(tree: &Tree) -> Vec<&str> {
    let mut names = BTreeSet::new();
    for nodes in tree.templates.values() {
        in_nodes(nodes, &mut names);
    }
    names.into_iter().collect()
}

fn in_nodes<'t>(nodes: &'t [Node], names: &mut BTreeSet<&'t str>) {
    for node in nodes {
        match node {
            Node::Text(_) | Node::Break | Node::Continue => {}
            Node::Action(pipeline) => in_pipeline(pipeline, names),
            Node::Template(call) => call.argument.iter().for_each(|pipeline| in_pipeline(pipeline, names)),
            Node::Branch(branch) => {
                in_pipeline(&branch.pipeline, names);
                in_nodes(&branch.body, names);
                in_nodes(&branch.otherwise, names);
            }
        }
    }
}

fn in_pipeline<'t>(pipeline: &'t Pipeline, names: &mut BTreeSet<&'t str>) {
    for command in &pipeline.commands {
        let indexes = matches!(command.first().kind, OperandKind::Function(Function::Index));
        for operand in &command.0 {
            match &operand.kind {
                OperandKind::Field(path) | OperandKind::Variable(_, path) => names.extend(key(path)),
                OperandKind::Text(text) if indexes => names.extend(std::str::from_utf8(text)),
                OperandKind::Pipeline(pipeline) => in_pipeline(pipeline, names),
                OperandKind::Chain(operand, path) => {
                    names.extend(key(path));
                    if let OperandKind::Pipeline(pipeline) = &operand.kind {
                        in_pipeline(pipeline, names);
                    }
                }
                _ => {}
            }
        }
    }
}

/// The name after the map. A name alone is one where the dot or the variable is the map.
fn key(path: &[Box<str>]) -> Option<&str> {
    let is_field = |name: &str| QUERY.fields.iter().any(|(field, _)| *field == name);
    match path {
        [map, key, ..] if **map == *"LabelValuesByName" => Some(key),
        [key] if !is_field(key) => Some(key),
        _ => None,
    }
}
