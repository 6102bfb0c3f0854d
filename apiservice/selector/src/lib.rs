//! How Kubernetes selects objects and what it takes for a name. Pure and synchronous: no I/O, no cluster.
//!
//! Access control, rules and answers read a request's selectors by this crate, so that there is one reading of them.

pub mod fields;
pub mod labels;
pub mod names;
