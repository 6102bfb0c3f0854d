//! Step 6 of a request: which objects a selector means.
//!
//! In standalone mode the objects are those that the scrape targets' labels name ([`scraped`]).

pub mod scraped;

use std::time::Instant;

use futures_util::future::BoxFuture;
use rules::resource::{Kind, ResourceMapper};
use rules::selector::Selector;

use crate::source::SourceError;

/// Where object names come from.
pub trait Objects: Send + Sync + 'static {
    /// What resources there are, and their kinds and scopes.
    fn mapper(&self) -> &dyn ResourceMapper;

    /// The names of the objects of `kind` that `selector` matches, sorted, each once.
    ///
    /// `namespace` is `None` exactly when the kind is cluster-scoped. A namespace that does not exist holds no
    /// objects: the list is empty, which is no error.
    fn names<'a>(
        &'a self,
        kind: &'a Kind,
        namespace: Option<&'a str>,
        selector: &'a Selector,
        deadline: Instant,
    ) -> BoxFuture<'a, Result<Vec<String>, ObjectsError>>;
}

/// Why objects could not be listed. An empty list is never an error.
#[derive(Debug, thiserror::Error)]
pub enum ObjectsError {
    /// The metric source, which knows the scrape targets, did not answer.
    #[error("the scrape targets could not be listed: {0}")]
    Source(#[from] SourceError),
}
