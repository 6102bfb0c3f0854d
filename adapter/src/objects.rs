//! Step 6 of a request: which objects a selector means.
//!
//! In a cluster they are watched ([`watched`]) and their kinds come from discovery ([`mapping`]); in standalone mode
//! they are what the scrape targets' labels name ([`scraped`]).

pub mod error;
pub mod mapping;
pub mod scraped;
pub mod watched;

use std::sync::Arc;
use std::time::Instant;

use futures_util::future::BoxFuture;
use rules::resource::{Kind, ResourceMapper};
use selector::labels::Selector;

pub use self::error::ObjectsError;

/// Where objects come from.
pub trait Objects: Send + Sync + 'static {
    /// What resources there are, and their kinds and scopes.
    fn mapper(&self) -> &dyn ResourceMapper;

    /// The objects wanted, sorted by namespace and name, each once. None is not an error: a namespace that does not
    /// exist holds no objects.
    fn list<'a>(
        &'a self,
        wanted: Wanted<'a>,
        deadline: Instant,
    ) -> BoxFuture<'a, Result<Vec<Object>, ObjectsError>>;
}

/// Which objects are wanted.
#[derive(Debug, Clone, Copy)]
pub struct Wanted<'a> {
    /// Of this kind.
    pub kind: &'a Kind,
    /// In this namespace; `None` for cluster-scoped kinds, and for objects of all namespaces.
    pub namespace: Option<&'a str>,
    /// With this name; `None` for any.
    pub name: Option<&'a str>,
    /// With labels that match.
    pub selector: &'a Selector,
    /// Only pods that run: those that can use anything.
    pub running: bool,
}

/// An object's name and labels. Cheap to clone.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Object {
    /// `None` for cluster-scoped objects.
    pub namespace: Option<Arc<str>>,
    /// Its name.
    pub name: Arc<str>,
    /// Its labels, sorted by name.
    pub labels: Labels,
}

/// Labels of an object: name and value.
pub type Labels = Arc<[(Arc<str>, Arc<str>)]>;
