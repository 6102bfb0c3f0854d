//! Keeps the known objects of one kind as a reflector tells of them.

use std::sync::{Arc, PoisonError, RwLock};

use tokio::sync::watch;

use super::known::Known;
use super::labels::SharedLabels;
use super::metadata::Metadata;
use super::state::State;

/// Where a reflector puts what it is told.
pub(super) struct Keeper {
    objects: Arc<RwLock<Known>>,
    pub(super) state: watch::Sender<State>,
    labels: SharedLabels,
    /// What was listed so far. It becomes known as a whole, so that no request sees half a list.
    listing: Known,
}

impl Keeper {
    pub(super) fn new(objects: Arc<RwLock<Known>>, state: watch::Sender<State>) -> Keeper {
        Keeper { objects, state, labels: SharedLabels::default(), listing: Known::default() }
    }

    /// A listing begins.
    pub(super) fn begin(&mut self) {
        self.listing = Known::default();
    }

    /// An object of the listing.
    pub(super) fn list(&mut self, object: &Metadata) {
        let known = self.objects.read().unwrap_or_else(PoisonError::into_inner);
        // Old and new objects are there together for a while; they share their names.
        let name = known.name(&object.namespace, &object.name);
        drop(known);
        let name = name.unwrap_or_else(|| object.name.as_str().into());
        self.listing.insert(&object.namespace, name, self.labels.share(object.labels()));
    }

    /// The listing is whole.
    pub(super) fn complete(&mut self) {
        let mut objects = self.objects.write().unwrap_or_else(PoisonError::into_inner);
        let old = std::mem::replace(&mut *objects, std::mem::take(&mut self.listing));
        drop(objects);
        self.state.send_if_modified(State::listed);
        // Milliseconds for a hundred thousand objects: not while the lock is held.
        drop(old);
    }

    /// An object was added or has changed.
    pub(super) fn apply(&mut self, object: &Metadata) {
        let labels = self.labels.share(object.labels());
        let mut objects = self.objects.write().unwrap_or_else(PoisonError::into_inner);
        objects.insert(&object.namespace, object.name.as_str().into(), labels);
        drop(objects);
        self.state.send_if_modified(State::watched);
    }

    /// An object is gone.
    pub(super) fn delete(&mut self, object: &Metadata) {
        let mut objects = self.objects.write().unwrap_or_else(PoisonError::into_inner);
        objects.remove(&object.namespace, &object.name);
        drop(objects);
        self.state.send_if_modified(State::watched);
    }
}
