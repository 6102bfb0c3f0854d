//! What to ask for objects, and why it cannot be asked.

use std::sync::Arc;
use std::time::Duration;

use promql_parser::parser::Expr;
use selector::labels::Operator;

use crate::rule::RuleId;
use crate::template::TemplateError;

/// What to ask, and on whose behalf.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Query {
    /// The rule that made it.
    pub rule: RuleId,
    /// The text to ask. Usually PromQL; a rule may render something else for a proxy that rewrites it.
    pub promql: String,
    /// The widest range that the query looks at; `None` for a query over instants.
    pub window: Option<Duration>,
}

/// A query for objects, and what is needed to read its answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// What to ask.
    pub query: Query,
    /// The label of a sample that holds the object's name.
    pub join_label: Arc<str>,
}

/// Why no plan can be made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PlanError {
    /// Nothing in Kubernetes has this name, so nothing has the metric: answered like an object that does not exist.
    #[error("{what} {name:?} is not a Kubernetes name")]
    NotAKubernetesName {
        /// `namespace` or `name`.
        what: &'static str,
        /// What was asked for.
        name: String,
    },
    /// PromQL has no matcher that compares label values by order (D29).
    #[error(
        "the operator {operator} of {key:?} is not supported in a metric selector; expected =, !=, in, notin, exists or !"
    )]
    UnsupportedOperator {
        /// The label.
        key: String,
        /// `>` or `<`.
        operator: Operator,
    },
    /// A key like `example.com/team` is the label of a series only where names may be any text (D15).
    #[error(
        "{key:?} in the metric selector is not a label of this metric's series; expected one of theirs, or letters, digits \
         and _, not starting with a digit"
    )]
    UnsupportedLabel {
        /// The key.
        key: String,
    },
    /// The rule has no label for what its query must be limited to.
    #[error("{rule} has no label for {resource}: add one to resources.overrides or resources.template")]
    NoLabel {
        /// The rule.
        rule: RuleId,
        /// `namespaces`, or the objects' resource.
        resource: &'static str,
    },
    /// The template failed.
    #[error("the query template of {rule} failed: {cause}")]
    Template {
        /// The rule.
        rule: RuleId,
        /// Why.
        #[source]
        cause: TemplateError,
    },
    /// The template rendered nothing.
    #[error("{rule} rendered an empty query")]
    Empty {
        /// The rule.
        rule: RuleId,
    },
}

impl Query {
    /// The query's tree; the parser's reason when the text has none.
    pub fn tree(&self) -> Result<Expr, promql::ParseError> {
        promql::parse(&self.promql)
    }
}

/// The widest range of a query: a range selector's, or a subquery's with what is below it.
pub(crate) fn widest_range(expr: &Expr) -> Option<Duration> {
    let widest = |expressions: &[&Expr]| expressions.iter().filter_map(|expr| widest_range(expr)).max();
    match expr {
        Expr::MatrixSelector(selector) => Some(selector.range),
        Expr::Subquery(subquery) => Some(subquery.range + widest_range(&subquery.expr).unwrap_or_default()),
        Expr::Aggregate(aggregate) => widest(&[&aggregate.expr]),
        Expr::Unary(unary) => widest(&[&unary.expr]),
        Expr::Binary(binary) => widest(&[&binary.lhs, &binary.rhs]),
        Expr::Paren(paren) => widest(&[&paren.expr]),
        Expr::Call(call) => call.args.args.iter().filter_map(|arg| widest_range(arg)).max(),
        Expr::NumberLiteral(_) | Expr::StringLiteral(_) | Expr::VectorSelector(_) | Expr::Extension(_) => {
            None
        }
    }
}
