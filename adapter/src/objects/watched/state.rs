//! How far a watch is.

use kube::runtime::watcher;
use rules::resource::GroupResource;

use crate::objects::error::{Forbidden, ListError, Verb};

/// How far a watch is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum State {
    /// Under way for the first time.
    Listing,
    /// All objects are known. A watch that breaks later leaves them so, and is taken up again.
    Known,
    /// The first listing failed, and is tried again.
    Failed(ListError),
    /// The adapter's account lacks a permission. It is tried again, in case it is granted.
    Forbidden(Forbidden),
}

impl State {
    /// Takes over how a listing or a watch failed; says whether that changes anything. What is known stays known.
    pub(super) fn failed(&mut self, error: &watcher::Error, resource: &GroupResource) -> bool {
        let next = match forbidden(error) {
            Some(verb) => {
                State::Forbidden(Forbidden { verb, resource: resource.clone(), answer: describe(error) })
            }
            None => State::Failed(describe(error)),
        };
        let keeps = self.objects_are_known() && !next.objects_are_known();
        let changes = !keeps && *self != next;
        if changes {
            *self = next;
        }
        changes
    }

    /// Takes over that all objects were listed. Where they may not be watched, they still may not.
    pub(super) fn listed(&mut self) -> bool {
        let changes = !self.objects_are_known();
        if changes {
            *self = State::Known;
        }
        changes
    }

    /// Takes over that a watch told of a change.
    pub(super) fn watched(&mut self) -> bool {
        let changes = *self != State::Known;
        *self = State::Known;
        changes
    }

    fn objects_are_known(&self) -> bool {
        matches!(self, State::Known | State::Forbidden(Forbidden { verb: Verb::Watch, .. }))
    }
}

/// The permission whose lack an error is.
pub(super) fn forbidden(error: &watcher::Error) -> Option<Verb> {
    match error {
        watcher::Error::InitialListFailed(kube::Error::Api(status)) if status.code == 403 => Some(Verb::List),
        watcher::Error::WatchStartFailed(kube::Error::Api(status)) if status.code == 403 => Some(Verb::Watch),
        _ => None,
    }
}

/// A failure as far as clients are told of it.
pub(super) fn describe(error: &watcher::Error) -> ListError {
    match error {
        watcher::Error::InitialListFailed(kube::Error::Api(status))
        | watcher::Error::WatchStartFailed(kube::Error::Api(status)) => {
            ListError::Refused { code: status.code, message: status.message.as_str().into() }
        }
        _ => ListError::Unanswered,
    }
}
