//! Objects of a cluster: names and labels, watched. Only metadata is asked for, and of it only these are kept (D36).
//!
//! Pods are watched from the start; other kinds from the moment that somebody asks about them.

mod keeper;
mod known;
mod labels;
mod list;
mod metadata;
mod pace;
mod reflector;
mod state;
mod watch;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use rules::resource::{GroupResource, Kind, ResourceMapper};
use tokio::runtime::Handle;
use tokio::sync::watch::Receiver;

pub use self::state::State;
use self::watch::Watch;
use super::error::{Forbidden, ObjectsError, Verb};
use super::mapping::RestMapping;
use super::{Object, Objects, Wanted};

/// The objects of a cluster.
pub struct WatchedObjects {
    client: kube::Client,
    mapping: Arc<RestMapping>,
    runtime: Handle,
    watches: Mutex<HashMap<(GroupResource, bool), Arc<Watch>>>,
}

impl WatchedObjects {
    /// Watches whatever is asked for, with a client and on a runtime.
    pub fn new(client: kube::Client, mapping: Arc<RestMapping>, runtime: Handle) -> WatchedObjects {
        WatchedObjects { client, mapping, runtime, watches: Mutex::default() }
    }

    /// The watch of a kind; started if there is none yet.
    fn watch(&self, kind: &Kind, running: bool) -> Arc<Watch> {
        let mut watches = self.watches.lock().unwrap_or_else(PoisonError::into_inner);
        let watch = watches
            .entry((kind.group_resource(), running))
            .or_insert_with(|| Arc::new(Watch::start(&self.runtime, self.client.clone(), kind, running)));
        Arc::clone(watch)
    }

    /// How far the watch of a kind is; starts it.
    pub fn state(&self, kind: &Kind, running: bool) -> Receiver<State> {
        self.watch(kind, running).state.clone()
    }
}

impl Objects for WatchedObjects {
    fn mapper(&self) -> &dyn ResourceMapper {
        &*self.mapping
    }

    fn list<'a>(
        &'a self,
        wanted: Wanted<'a>,
        deadline: Instant,
    ) -> BoxFuture<'a, Result<Vec<Object>, ObjectsError>> {
        let watch = self.watch(wanted.kind, wanted.running);
        async move {
            let mut state = watch.state.clone();
            let settled = state.wait_for(|state| *state != State::Listing);
            let state = match tokio::time::timeout_at(deadline.into(), settled).await {
                Ok(Ok(state)) => state.clone(),
                Ok(Err(_)) => return Err(ObjectsError::Unwatched),
                Err(_) => return Err(ObjectsError::NotListedYet),
            };
            match state {
                State::Failed(error) => Err(error.into()),
                State::Forbidden(forbidden @ Forbidden { verb: Verb::List, .. }) => {
                    Err(ObjectsError::Forbidden(forbidden))
                }
                State::Listing | State::Known | State::Forbidden(_) => {
                    Ok(watch.objects.read().unwrap_or_else(PoisonError::into_inner).find(wanted))
                }
            }
        }
        .boxed()
    }
}
