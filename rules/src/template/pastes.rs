//! Whether a template does nothing but paste its fields.

use super::functions::Function;
use super::tree::{Command, Node, OperandKind, Tree};

/// Whether what a template renders consists of its own text and of fields, so that other values in the same fields
/// render the same text around them. `index` with a constant name is a field, too.
pub(super) fn only(tree: &Tree) -> bool {
    tree.templates.get(tree.root.as_bytes()).is_some_and(|nodes| {
        nodes.iter().all(|node| match node {
            Node::Text(_) => true,
            Node::Action(pipeline) => match &pipeline.commands[..] {
                [command] => pipeline.variables.is_empty() && is_field(command),
                _ => false,
            },
            Node::Branch(_) | Node::Template(_) | Node::Break | Node::Continue => false,
        })
    })
}

fn is_field(command: &Command) -> bool {
    match &command.0[..] {
        [field] => matches!(field.kind, OperandKind::Field(_)),
        [index, map, key] => {
            matches!(index.kind, OperandKind::Function(Function::Index))
                && matches!(map.kind, OperandKind::Field(_))
                && matches!(key.kind, OperandKind::Text(_))
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use testkit::rows::each_row;

    use super::super::Template;

    #[test]
    fn a_template_that_computes_is_told_from_one_that_pastes() {
        let rows = [
            ("time()", true),
            ("<<.Series>>{<<.LabelMatchers>>}", true),
            ("sum(<<- .Series ->>{a=\"<<index .LabelValuesByName \"pod\">>\"}) by (<<.GroupBy>>)", true),
            ("<<.LabelValuesByName.pod>>", true),
            ("<<if .GroupBy>>a<<end>>", false),
            ("<<range .GroupBySlice>><<.>><<end>>", false),
            ("<<with .Series>>a<<end>>", false),
            ("<<$x := .Series>><<$x>>", false),
            ("<<len .LabelMatchers>>", false),
            ("<<printf \"%s\" .Series>>", false),
            ("<<.Series | printf \"%s\">>", false),
            ("<<index .LabelValuesByName .GroupBy>>", false),
            ("<<define \"a\">>b<<end>><<template \"a\">>", false),
        ];
        each_row(rows, |(text, pastes)| {
            let template = Template::query(text).expect("a template");
            assert_eq!(template.only_pastes(), pastes, "{text}");
        });
    }
}
