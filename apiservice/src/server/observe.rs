//! What a server tells of its requests, for metrics.

use std::time::Duration;

use crate::attributes::Attributes;
use crate::authz::Decision;

/// Told of what becomes of requests, while they wait: it must not block.
pub trait Observer: Send + Sync + 'static {
    /// The number of requests in flight of a kind has changed.
    fn in_flight(&self, _kind: Kind, _count: usize) {}

    /// A caller was, or was not, authenticated. `certificate_left` is how long the client certificate that the caller
    /// was connected with is still good, if there is one.
    fn authenticated(&self, _outcome: Authentication, _certificate_left: Option<Duration>) {}

    /// Access was decided; `None` when no authorizer could be asked.
    fn authorized(&self, _decision: Option<&Decision>) {}

    /// A request was answered.
    fn answered(&self, _exchange: &Exchange<'_>) {}
}

/// An observer that ignores everything.
#[derive(Debug, Clone, Copy, Default)]
pub struct Unobserved;

impl Observer for Unobserved {}

/// Kinds of requests with limits of their own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Those that read: verbs get, list and watch.
    ReadOnly,
    /// All others.
    Mutating,
}

/// Whether a caller was authenticated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Authentication {
    /// By a good credential, or by none: then the caller is anonymous.
    Success,
    /// A credential was shown, and none was good.
    Error,
}

/// A request and what became of it.
#[derive(Debug, Clone, Copy)]
pub struct Exchange<'a> {
    /// What was asked for.
    pub attributes: &'a Attributes,
    /// Whether its API group is served here.
    pub served: bool,
    /// The HTTP status.
    pub code: u16,
    /// From the request's head to the answer.
    pub took: Duration,
}
