//! The types of operands and arguments, and the nodes made of them.

use std::collections::HashSet;

use promql_parser::parser::token::{
    T_BOTTOMK, T_COUNT_VALUES, T_LIMIT_RATIO, T_LIMITK, T_QUANTILE, T_TOPK, TokenType,
};
use promql_parser::parser::value::ValueType;
use promql_parser::parser::{
    AggregateExpr, BinModifier, BinaryExpr, Call, Expr, Function, FunctionArgs, LabelModifier,
    VectorMatchCardinality,
};

use crate::error::Fault;
use crate::node::Node;
use crate::parse::Parser;
use crate::parse::selector::EMPTY_SELECTOR;
use crate::token::{Operator, Token};

impl Parser<'_> {
    pub(crate) fn check_signed(&mut self, at: usize, operand: &Node) {
        if !is_value(operand.kind) {
            self.refuse_type(at, || {
                format!("expected a scalar or instant vector after a sign, got {}", name(operand.kind))
            });
        }
    }

    pub(crate) fn check_subquery(&mut self, node: &Node) {
        self.expect_type(node, ValueType::Vector, || "a subquery".to_owned());
    }

    fn expect_type(&mut self, node: &Node, expected: ValueType, place: impl FnOnce() -> String) {
        if node.kind != expected {
            self.refuse_type(node.at, || {
                format!("expected type {} in {}, got {}", name(expected), place(), name(node.kind))
            });
        }
    }

    pub(crate) fn binary(
        &mut self,
        left: Node,
        (operator, at): (Operator, usize),
        modifier: BinModifier,
        right: Node,
    ) -> Result<Node, Fault> {
        let kinds = (left.kind, right.kind);
        self.check_operator(at, operator, &modifier, kinds);
        for side in [&left, &right] {
            if !is_value(side.kind) {
                self.refuse_type(side.at, || {
                    format!("expected a scalar or instant vector beside an operator, got {}", name(side.kind))
                });
            }
        }
        let modifier = self.check_matching(left.at, operator, modifier, kinds);
        let kind = if kinds == (ValueType::Scalar, ValueType::Scalar) {
            ValueType::Scalar
        } else {
            ValueType::Vector
        };
        let depth = left.depth.max(right.depth);
        let Some(token) = operator.token() else {
            self.lacks(at, "an operator of native histograms");
            return Ok(Node { kind, ..left });
        };
        let expr = BinaryExpr {
            op: TokenType::new(token),
            lhs: left.expr,
            rhs: right.expr,
            modifier: (modifier != BinModifier::default()).then_some(modifier),
        };
        Node::above(depth, left.at, kind, Expr::Binary(expr))
    }

    fn check_operator(
        &mut self,
        at: usize,
        operator: Operator,
        modifier: &BinModifier,
        (left, right): (ValueType, ValueType),
    ) {
        if modifier.return_bool && !operator.is_comparison() {
            self.refuse_type(at, || "bool can only be used on comparisons".to_owned());
        }
        let scalars = (left, right) == (ValueType::Scalar, ValueType::Scalar);
        if operator.is_comparison() && !modifier.return_bool && scalars {
            self.refuse_type(at, || "comparisons between scalars must use bool".to_owned());
        }
        if operator.is_set() && (left == ValueType::Scalar || right == ValueType::Scalar) {
            self.refuse_type(at, || "set operators are not allowed on scalars".to_owned());
        }
        if let (Some(LabelModifier::Include(matching)), Some(grouping)) =
            (&modifier.matching, modifier.card.labels())
        {
            let matching: HashSet<&String> = matching.labels.iter().collect();
            if let Some(label) = grouping.labels.iter().find(|label| matching.contains(label)) {
                self.refuse_type(at, || format!("label {label:?} is both in \"on\" and in the grouping"));
            }
        }
    }

    /// The rest of the matching, which is for two vectors only.
    fn check_matching(
        &mut self,
        at: usize,
        operator: Operator,
        mut modifier: BinModifier,
        kinds: (ValueType, ValueType),
    ) -> BinModifier {
        let fills = modifier.fill_values.lhs.is_some() || modifier.fill_values.rhs.is_some();
        if kinds != (ValueType::Vector, ValueType::Vector) {
            if modifier.is_matching_labels_not_empty() || fills {
                self.refuse_type(at, || {
                    "matching and filling are only allowed between instant vectors".to_owned()
                });
            }
            return BinModifier { return_bool: modifier.return_bool, ..BinModifier::default() };
        }
        if operator.is_set() {
            if modifier.card != VectorMatchCardinality::OneToOne {
                self.refuse_type(at, || "no grouping allowed for set operators".to_owned());
            }
            if fills {
                self.refuse_type(at, || "no filling allowed for set operators".to_owned());
            }
            modifier.card = VectorMatchCardinality::ManyToMany;
        }
        modifier
    }

    pub(crate) fn checked_call(
        &mut self,
        at: usize,
        function: Function,
        arguments: Vec<Node>,
    ) -> Result<Node, Fault> {
        if function.name == "info" {
            self.check_info(&arguments);
        }
        self.check_count(at, &function, arguments.len());
        for (index, argument) in arguments.iter().enumerate() {
            let expected = function.arg_types.get(index).or(function.arg_types.last());
            if let Some(expected) = expected {
                self.expect_type(argument, *expected, || format!("a call of {:?}", function.name));
            }
        }
        let kind = function.return_type;
        let depth = arguments.iter().map(|argument| argument.depth).max().unwrap_or(0);
        let args = arguments.into_iter().map(|argument| argument.expr).collect();
        Node::above(depth, at, kind, Expr::Call(Call { func: function, args: FunctionArgs { args } }))
    }

    fn check_count(&mut self, at: usize, function: &Function, found: usize) {
        let declared = function.arg_types.len();
        let (least, most) = match usize::try_from(function.variadic) {
            Ok(0) => (declared, declared),
            Ok(more) => (declared - 1, declared - 1 + more),
            Err(_) => (declared - 1, usize::MAX),
        };
        if !(least..=most).contains(&found) {
            let expected = match most {
                _ if least == most => least.to_string(),
                usize::MAX => format!("at least {least}"),
                _ => format!("{least} to {most}"),
            };
            self.refuse_type(at, || {
                format!("expected {expected} argument(s) in a call of {:?}, got {found}", function.name)
            });
        }
    }

    /// The second argument of `info` looks like a selector and only holds matchers: these may all be empty.
    fn check_info(&mut self, arguments: &[Node]) {
        let Some(second) = arguments.get(1) else { return };
        match &*second.expr {
            Expr::VectorSelector(selector) if selector.name.is_none() && !second.selection.signed => {
                let of_this = |fault: &mut Fault| fault.at == second.at && fault.is_invalid(EMPTY_SELECTOR);
                self.wrong_type.take_if(of_this);
            }
            _ => self.refuse_type(second.at, || {
                "expected label matchers in braces as second argument of \"info\"".to_owned()
            }),
        }
    }

    pub(crate) fn checked_aggregation(
        &mut self,
        word: Token<'_>,
        op: TokenType,
        arguments: Vec<Node>,
        modifier: Option<LabelModifier>,
    ) -> Result<Node, Fault> {
        let found = arguments.len();
        let expected = if op.is_aggregator_with_param() { 2 } else { 1 };
        let mut arguments = arguments.into_iter();
        let param = if expected == 2 { arguments.next() } else { None };
        let (Some(aggregated), None, true) = (arguments.next(), arguments.next(), found == expected) else {
            let reason =
                format!("expected {expected} argument(s) in the aggregation {:?}, got {found}", word.text);
            return Err(Fault::invalid(word.at, reason));
        };
        self.expect_type(&aggregated, ValueType::Vector, || format!("the aggregation {:?}", word.text));
        if let Some(param) = &param {
            let expected = match op.id() {
                T_TOPK | T_BOTTOMK | T_QUANTILE | T_LIMITK | T_LIMIT_RATIO => Some(ValueType::Scalar),
                T_COUNT_VALUES => Some(ValueType::String),
                _ => None,
            };
            if let Some(expected) = expected {
                self.expect_type(param, expected, || format!("the parameter of {:?}", word.text));
            }
        }
        let depth = aggregated.depth.max(param.as_ref().map_or(0, |param| param.depth));
        let expr =
            AggregateExpr { op, expr: aggregated.expr, param: param.map(|param| param.expr), modifier };
        Node::above(depth, word.at, ValueType::Vector, Expr::Aggregate(expr))
    }
}

fn is_value(kind: ValueType) -> bool {
    matches!(kind, ValueType::Scalar | ValueType::Vector)
}

/// The type in the words of Prometheus' documentation.
fn name(kind: ValueType) -> &'static str {
    match kind {
        ValueType::Vector => "instant vector",
        ValueType::Scalar => "scalar",
        ValueType::Matrix => "range vector",
        ValueType::String => "string",
    }
}
