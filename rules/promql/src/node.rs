//! A tree of promql-parser with what the grammar must know of it.

use promql_parser::parser::value::ValueType;
use promql_parser::parser::{Expr, ParenExpr};

use crate::error::Fault;
use crate::token::Keyword;

#[derive(Debug)]
pub(crate) struct Node {
    /// Boxed, as most parents want it, and as whole trees in the frames of a recursive parser make these large.
    pub(crate) expr: Box<Expr>,
    /// The tree's own `value_type` walks down to the leaves, which makes a check of each operator of a long chain
    /// quadratic.
    pub(crate) kind: ValueType,
    pub(crate) depth: usize,
    /// Where it starts.
    pub(crate) at: usize,
    pub(crate) selection: Selection,
}

/// What a selector has that the tree cannot hold.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Selection {
    /// `anchored` or `smoothed`.
    pub(crate) extended: Option<Keyword>,
    /// Its offset is computed.
    pub(crate) computed_offset: bool,
    /// A sign stands before it.
    pub(crate) signed: bool,
}

impl Node {
    pub(crate) fn leaf(at: usize, kind: ValueType, expr: Expr) -> Self {
        Self { expr: Box::new(expr), kind, depth: 1, at, selection: Selection::default() }
    }

    /// A node above others, of which the deepest has `depth_below`.
    pub(crate) fn above(depth_below: usize, at: usize, kind: ValueType, expr: Expr) -> Result<Self, Fault> {
        if depth_below >= MAX_DEPTH {
            return Err(too_deep(at));
        }
        Ok(Self { expr: Box::new(expr), kind, depth: depth_below + 1, at, selection: Selection::default() })
    }

    pub(crate) fn in_parens(self, at: usize) -> Result<Self, Fault> {
        let Self { expr, kind, depth, .. } = self;
        Self::above(depth, at, kind, Expr::Paren(ParenExpr { expr }))
    }
}

pub(crate) fn too_deep(at: usize) -> Fault {
    Fault::unsupported(
        at,
        format!("more than {MAX_DEPTH} operators, calls and parentheses inside one another"),
    )
}

/// What walks a tree, even to drop it, calls itself for each level. Real queries have a dozen; a debug build evaluates
/// this many on the 2 MiB stack of a thread.
pub(crate) const MAX_DEPTH: usize = 150;
