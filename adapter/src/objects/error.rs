//! Why objects are not known.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use rules::resource::GroupResource;

use crate::source::SourceError;

/// Why objects could not be listed. An empty list is never an error.
#[derive(Debug, thiserror::Error)]
pub enum ObjectsError {
    /// The metric source, which knows the scrape targets, did not answer.
    #[error("the scrape targets could not be listed: {0}")]
    Source(#[from] SourceError),
    /// The deadline passed before the first list of them came.
    #[error("the Kubernetes API has not listed them yet")]
    NotListedYet,
    /// The Kubernetes API did not list them.
    #[error(transparent)]
    Failed(#[from] ListError),
    /// The adapter's account may not list them.
    #[error("{}; {_0}", _0.answer)]
    Forbidden(Forbidden),
    /// Their watch has ended.
    #[error("they are no longer watched")]
    Unwatched,
}

/// How the Kubernetes API failed to list or to watch objects, as far as clients are told; the log has the rest.
#[derive(Debug, Clone, PartialEq, Eq, Hash, thiserror::Error)]
pub enum ListError {
    /// It refused the request.
    #[error("the Kubernetes API answered {code}: {message}")]
    Refused {
        /// The HTTP status.
        code: u16,
        /// Its words.
        message: Arc<str>,
    },
    /// There was no answer, or not a whole one.
    #[error("the Kubernetes API did not answer")]
    Unanswered,
}

/// A permission that the adapter's account lacks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Forbidden {
    /// What it may not do.
    pub verb: Verb,
    /// With which objects.
    pub resource: GroupResource,
    /// What the Kubernetes API answered.
    pub answer: ListError,
}

/// What an account may do with objects.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verb {
    /// Without it no object is known.
    List,
    /// Without it objects are listed again and again.
    Watch,
}

impl fmt::Display for Forbidden {
    /// What cannot be done, what follows, and what to grant; without the answer, which names the account.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Forbidden { verb, resource, .. } = self;
        match verb {
            Verb::List => write!(
                f,
                "cannot list {resource}: requests that select {resource} fail; grant list and watch on {resource}"
            ),
            Verb::Watch => write!(
                f,
                "cannot watch {resource}: listing them every {LIST_AGAIN:?} instead; grant watch on {resource}"
            ),
        }
    }
}

/// How often objects are listed that may not be watched: as often as an autoscaler asks.
pub(super) const LIST_AGAIN: Duration = Duration::from_secs(15);
