//! The watch of one kind of objects, and how far it is.

use std::fmt;
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
    Failed(Arc<str>),
    /// The adapter's account lacks a permission. It is tried again, in case it is granted.
    Forbidden(Forbidden),
}

/// A permission that the adapter's account lacks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Forbidden {
    /// What it may not do.
    pub verb: Verb,
    /// With which objects.
    pub resource: GroupResource,
    /// What the Kubernetes API answered.
    pub answer: Arc<str>,
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

impl State {
    /// Takes over how a listing or a watch failed; says whether that changes anything. What is known stays known.
    fn failed(&mut self, error: &watcher::Error, resource: &GroupResource) -> bool {
        let next = match forbidden(error) {
            Some(verb) => State::Forbidden(Forbidden {
                verb,
                resource: resource.clone(),
                answer: describe(error).into(),
            }),
            None => State::Failed(describe(error).into()),
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

/// What the answer to a request says; the log has the rest.
fn describe(error: &watcher::Error) -> String {
    match error {
        watcher::Error::InitialListFailed(kube::Error::Api(status))
        | watcher::Error::WatchStartFailed(kube::Error::Api(status)) => {
            format!("the Kubernetes API answered {}: {}", status.code, status.message)
        }
        _ => "the Kubernetes API did not answer".to_owned(),
    }
}

/// How often objects are listed that may not be watched: as often as an autoscaler asks.
const LIST_AGAIN: Duration = Duration::from_secs(15);
/// How often the same failure is logged.
const LOG_FAILURE_EVERY: Duration = Duration::from_mins(10);
