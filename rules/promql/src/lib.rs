//! PromQL and regular expressions, read as Prometheus reads them. Pure and synchronous.
//!
//! [`parse`] is the only way to a tree of promql-parser: it is where text that the parser misreads, or dies of, is
//! caught. [`regexp::compile`] is the only way from a Go regular expression to one of the regex crate. Rules and the
//! embedded engine both use them, so that a rule means the same to both.

mod error;
mod function;
mod lexer;
mod node;
mod number;
mod parse;
mod quote;
pub mod regexp;
mod token;

pub use error::{ParseError, Position};
pub use parse::parse;
