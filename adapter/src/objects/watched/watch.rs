//! The watch of one kind of objects.

use std::sync::{Arc, RwLock};
use std::time::Duration;

use kube::runtime::watcher::{self, DefaultBackoff};
use rules::resource::{GroupResource, Kind};
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::task::AbortHandle;

use super::keeper::Keeper;
use super::known::Known;
use super::reflector::Reflector;
use super::state::{State, describe, forbidden};
use crate::log_throttle::LogThrottle;
use crate::objects::error::{LIST_AGAIN, Verb};

/// The watch of one kind. Ends with its last user.
pub(super) struct Watch {
    pub(super) objects: Arc<RwLock<Known>>,
    pub(super) state: watch::Receiver<State>,
    task: AbortHandle,
}

impl Watch {
    pub(super) fn start(runtime: &Handle, client: kube::Client, kind: &Kind, running: bool) -> Watch {
        let objects = Arc::new(RwLock::new(Known::default()));
        let (sender, state) = watch::channel(State::Listing);
        let reflector = Reflector::new(client, kind, running.then_some("status.phase=Running"));
        let keeper = Keeper::new(Arc::clone(&objects), sender);
        let task = runtime.spawn(follow(reflector, keeper, kind.group_resource()));
        Watch { objects, state, task: task.abort_handle() }
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn follow(mut reflector: Reflector, mut keeper: Keeper, resource: GroupResource) {
    let throttle = LogThrottle::new(LOG_FAILURE_EVERY);
    let mut waits = DefaultBackoff::default();
    loop {
        let error = reflector.run(&mut keeper).await;
        keeper.state.send_if_modified(|state| state.failed(&error, &resource));
        if throttle.is_due(describe(&error)) {
            log(&error, &keeper.state.borrow(), &resource);
        }
        let wait = if forbidden(&error) == Some(Verb::Watch) {
            // What was listed would grow old.
            reflector.list_again();
            LIST_AGAIN
        } else {
            waits.next().unwrap_or(LIST_AGAIN)
        };
        tokio::time::sleep(wait).await;
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

/// How often the same failure is logged.
const LOG_FAILURE_EVERY: Duration = Duration::from_mins(10);
