//! Places for the queries of a source that are in flight, shared fairly between flows: whatever one flow asks for, the
//! single query of another gets a place soon.
//!
//! A free place goes to the waiting flow with the fewest queries in flight, and among these to the one that has waited
//! longest. The last quarter of the places is for flows without a query in flight, so that slow queries of one flow do
//! not hold all of them. Listings of series hold at most half.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use tokio::sync::oneshot;

/// What queries are for. Each flow gets an equal share.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flow<'a> {
    /// The listing of series.
    Listing,
    /// The listing of objects in standalone mode.
    Objects,
    /// Requests for a namespace; empty for those for the whole cluster.
    Namespace(&'a str),
}

/// Why a query got no place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::source) enum NoPlace {
    /// Too many wait.
    Full,
    /// The deadline came first.
    Late,
    /// All that waited were sent away.
    Emptied,
}

/// The places and who waits for one.
pub(in crate::source) struct FairQueue {
    limit: usize,
    most_waiting: usize,
    state: Mutex<State>,
}

/// A place for one query, until it is dropped.
pub(in crate::source) struct Place {
    queue: Arc<FairQueue>,
    flow: Key,
}

#[derive(Default)]
struct State {
    in_flight: usize,
    waiting: usize,
    /// Numbers those that wait, in the order of their arrival.
    next: u64,
    /// Flows that have a query in flight or waiting.
    flows: HashMap<Key, Queries>,
}

/// A flow's queries.
#[derive(Default)]
struct Queries {
    in_flight: usize,
    waiting: VecDeque<Waiting>,
}

struct Waiting {
    number: u64,
    place: oneshot::Sender<Result<Place, NoPlace>>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Key {
    Listing,
    Objects,
    Namespace(Box<str>),
}

impl FairQueue {
    /// A queue for `limit` places, at least one, in which at most `most_waiting` queries wait.
    pub(in crate::source) fn new(limit: usize, most_waiting: usize) -> FairQueue {
        FairQueue { limit: limit.max(1), most_waiting, state: Mutex::default() }
    }

    /// The number of places.
    pub(in crate::source) fn limit(&self) -> usize {
        self.limit
    }

    /// The numbers of queries in flight and waiting.
    pub(in crate::source) fn counts(&self) -> (usize, usize) {
        let state = self.lock();
        (state.in_flight, state.waiting)
    }

    /// Waits for a place until the deadline.
    ///
    /// # Errors
    /// No place in time, or too many queries that wait.
    pub(in crate::source) async fn place(
        self: &Arc<Self>,
        flow: Flow<'_>,
        deadline: Instant,
    ) -> Result<Place, NoPlace> {
        let flow = Key::of(flow);
        let (number, waiting) = {
            let mut state = self.lock();
            if self.is_free_for(&state, &flow) {
                state.start(&flow);
                return Ok(Place { queue: Arc::clone(self), flow });
            }
            if state.waiting >= self.most_waiting && !state.send_one_away_for(&flow) {
                return Err(NoPlace::Full);
            }
            let (place, waiting) = oneshot::channel();
            (state.wait(&flow, place), waiting)
        };
        let _leaves = LeaveOnDrop { queue: self, flow: &flow, number };
        match tokio::time::timeout_at(deadline.into(), waiting).await {
            Ok(Ok(given)) => given,
            // No sender is dropped unused.
            Ok(Err(_)) => Err(NoPlace::Emptied),
            Err(_) => Err(NoPlace::Late),
        }
    }

    /// Sends away all that wait.
    pub(in crate::source) fn empty(&self) {
        let mut state = self.lock();
        let mut away = Vec::with_capacity(state.waiting);
        for queries in state.flows.values_mut() {
            away.extend(queries.waiting.drain(..));
        }
        state.waiting = 0;
        state.flows.retain(|_, queries| queries.in_flight > 0);
        drop(state);
        for Waiting { place, .. } in away {
            // Its query may have been given up.
            let _ = place.send(Err(NoPlace::Emptied));
        }
    }

    /// Whether a query of a flow may start now.
    fn is_free_for(&self, state: &State, flow: &Key) -> bool {
        let of_flow = state.flows.get(flow).map_or(0, |queries| queries.in_flight);
        let limit = if of_flow == 0 { self.limit } else { self.limit - self.limit / SHARE_FOR_OTHERS };
        let is_beyond_share = *flow == Key::Listing && of_flow >= (self.limit / 2).max(1);
        state.in_flight < limit && !is_beyond_share
    }

    /// Gives free places to those that wait.
    fn give(self: &Arc<Self>) {
        let mut given = Vec::new();
        let mut state = self.lock();
        while let Some(flow) = self.next_flow(&state) {
            let Some(Waiting { place, .. }) = state.take_first(&flow) else { break };
            state.start(&flow);
            given.push((place, Place { queue: Arc::clone(self), flow }));
        }
        drop(state);
        for (waiting, place) in given {
            // Given up meanwhile: the place is dropped, and goes to the next.
            let _ = waiting.send(Ok(place));
        }
    }

    fn next_flow(&self, state: &State) -> Option<Key> {
        let waiting = state.flows.iter().filter_map(|(flow, queries)| {
            let first = queries.waiting.front()?;
            self.is_free_for(state, flow).then_some(((queries.in_flight, first.number), flow))
        });
        waiting.min_by_key(|(rank, _)| *rank).map(|(_, flow)| flow.clone())
    }

    /// No code panics while it holds the lock.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn start(&mut self, flow: &Key) {
        self.in_flight += 1;
        self.queries(flow).in_flight += 1;
    }

    fn end(&mut self, flow: &Key) {
        self.in_flight -= 1;
        self.queries(flow).in_flight -= 1;
        self.forget_if_idle(flow);
    }

    fn wait(&mut self, flow: &Key, place: oneshot::Sender<Result<Place, NoPlace>>) -> u64 {
        let number = self.next;
        self.next += 1;
        self.waiting += 1;
        self.queries(flow).waiting.push_back(Waiting { number, place });
        number
    }

    fn take_first(&mut self, flow: &Key) -> Option<Waiting> {
        let first = self.flows.get_mut(flow)?.waiting.pop_front()?;
        self.waiting -= 1;
        Some(first)
    }

    /// Removes one that gave up, unless it has a place by now.
    fn leave(&mut self, flow: &Key, number: u64) {
        let Some(queries) = self.flows.get_mut(flow) else { return };
        let Ok(position) = queries.waiting.binary_search_by_key(&number, |waiting| waiting.number) else {
            return;
        };
        queries.waiting.remove(position);
        self.waiting -= 1;
        self.forget_if_idle(flow);
    }

    /// Makes room for a query of a flow where another flow has more of them waiting: its last one goes.
    fn send_one_away_for(&mut self, flow: &Key) -> bool {
        let own = self.flows.get(flow).map_or(0, |queries| queries.waiting.len());
        let longest = self.flows.values_mut().max_by_key(|queries| queries.waiting.len());
        let Some(longest) = longest.filter(|longest| longest.waiting.len() > own + 1) else { return false };
        if let Some(Waiting { place, .. }) = longest.waiting.pop_back() {
            self.waiting -= 1;
            let _ = place.send(Err(NoPlace::Full));
        }
        true
    }

    fn queries(&mut self, flow: &Key) -> &mut Queries {
        // Looked up first: a new flow takes memory of its own.
        if !self.flows.contains_key(flow) {
            self.flows.insert(flow.clone(), Queries::default());
        }
        self.flows.entry(flow.clone()).or_default()
    }

    fn forget_if_idle(&mut self, flow: &Key) {
        if self.flows.get(flow).is_some_and(|queries| queries.in_flight == 0 && queries.waiting.is_empty()) {
            self.flows.remove(flow);
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.queue.lock().end(&self.flow);
        self.queue.give();
    }
}

/// Takes a query that is given up out of the queue.
struct LeaveOnDrop<'a> {
    queue: &'a FairQueue,
    flow: &'a Key,
    number: u64,
}

impl Drop for LeaveOnDrop<'_> {
    fn drop(&mut self) {
        self.queue.lock().leave(self.flow, self.number);
    }
}

impl Key {
    fn of(flow: Flow<'_>) -> Key {
        match flow {
            Flow::Listing => Key::Listing,
            Flow::Objects => Key::Objects,
            Flow::Namespace(name) => Key::Namespace(name.into()),
        }
    }
}

/// Of the places, the part for flows without a query in flight.
const SHARE_FOR_OTHERS: usize = 4;

#[cfg(test)]
mod tests;
