//! The watch of one kind of objects, and how far it is.

use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use futures_util::{StreamExt as _, pin_mut};
use kube::Api;
use kube::api::{ApiResource, PartialObjectMeta};
use kube::core::DynamicObject;
use kube::runtime::WatchStreamExt as _;
use kube::runtime::watcher::{self, Event, watcher};
use rules::resource::{GroupResource, Kind};
use tokio::sync::watch;
use tokio::task::AbortHandle;

use super::known::Known;
use crate::log_throttle::LogThrottle;
use crate::objects::error::{Forbidden, LIST_AGAIN, ListError, Verb};

/// The watch of one kind. Ends with its last user.
pub(super) struct Watch {
    pub(super) objects: Arc<RwLock<Known>>,
    pub(super) state: watch::Receiver<State>,
    task: AbortHandle,
}

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
    fn failed(&mut self, error: &watcher::Error, resource: &GroupResource) -> bool {
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
    fn listed(&mut self) -> bool {
        let changes = !self.objects_are_known();
        if changes {
            *self = State::Known;
        }
        changes
    }

    /// Takes over that a watch told of a change.
    fn watched(&mut self) -> bool {
        let changes = *self != State::Known;
        *self = State::Known;
        changes
    }

    fn objects_are_known(&self) -> bool {
        matches!(self, State::Known | State::Forbidden(Forbidden { verb: Verb::Watch, .. }))
    }
}

impl Watch {
    pub(super) fn start(client: kube::Client, kind: &Kind, running: bool) -> Watch {
        let objects = Arc::new(RwLock::new(Known::default()));
        let (sender, state) = watch::channel(State::Listing);
        let resource = ApiResource {
            group: kind.group.clone(),
            version: kind.version.clone(),
            api_version: kind.api_version(),
            kind: kind.kind.clone(),
            plural: kind.plural.clone(),
        };
        let api: Api<PartialObjectMeta<DynamicObject>> = Api::all_with(client, &resource);
        let mut config = watcher::Config::default();
        if running {
            config = config.fields("status.phase=Running");
        }
        let task = tokio::spawn(follow(api, config, kind.group_resource(), Arc::clone(&objects), sender));
        Watch { objects, state, task: task.abort_handle() }
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn follow(
    api: Api<PartialObjectMeta<DynamicObject>>,
    config: watcher::Config,
    resource: GroupResource,
    objects: Arc<RwLock<Known>>,
    state: watch::Sender<State>,
) {
    let change = |change: &mut dyn FnMut(&mut Known)| {
        change(&mut objects.write().unwrap_or_else(PoisonError::into_inner));
    };
    let throttle = LogThrottle::new(LOG_FAILURE_EVERY);
    loop {
        let events = watcher(api.clone(), config.clone()).default_backoff();
        pin_mut!(events);
        let mut listing = Known::default();
        while let Some(event) = events.next().await {
            match event {
                Ok(Event::Init) => listing = Known::default(),
                Ok(Event::InitApply(object)) => listing.insert(&object.metadata),
                Ok(Event::InitDone) => {
                    // The known objects are replaced as a whole, so that no request sees half a list.
                    change(&mut |known| *known = std::mem::take(&mut listing));
                    state.send_if_modified(State::listed);
                }
                Ok(Event::Apply(object)) => {
                    change(&mut |known| known.insert(&object.metadata));
                    state.send_if_modified(State::watched);
                }
                Ok(Event::Delete(object)) => {
                    change(&mut |known| known.remove(&object.metadata));
                    state.send_if_modified(State::watched);
                }
                Err(error) => {
                    state.send_if_modified(|state| state.failed(&error, &resource));
                    if throttle.is_due(describe(&error)) {
                        log(&error, &state.borrow(), &resource);
                    }
                    if forbidden(&error) == Some(Verb::Watch) {
                        // The watcher would wait for its watch, and what was listed would grow old.
                        break;
                    }
                }
            }
        }
        tokio::time::sleep(LIST_AGAIN).await;
    }
}

fn log(error: &watcher::Error, state: &State, resource: &GroupResource) {
    match state {
        State::Forbidden(forbidden) if self::forbidden(error).is_some() => {
            tracing::warn!(answer = %forbidden.answer, "{forbidden}");
        }
        _ => {
            let error = error as &dyn std::error::Error;
            tracing::warn!(%resource, error, "cannot watch objects; retrying");
        }
    }
}

/// The permission whose lack an error is.
fn forbidden(error: &watcher::Error) -> Option<Verb> {
    match error {
        watcher::Error::InitialListFailed(kube::Error::Api(status)) if status.code == 403 => Some(Verb::List),
        watcher::Error::WatchStartFailed(kube::Error::Api(status)) if status.code == 403 => Some(Verb::Watch),
        _ => None,
    }
}

fn describe(error: &watcher::Error) -> ListError {
    match error {
        watcher::Error::InitialListFailed(kube::Error::Api(status))
        | watcher::Error::WatchStartFailed(kube::Error::Api(status)) => {
            ListError::Refused { code: status.code, message: status.message.as_str().into() }
        }
        _ => ListError::Unanswered,
    }
}

/// How often the same failure is logged.
const LOG_FAILURE_EVERY: Duration = Duration::from_mins(10);
