//! What a connection is doing, and when it has done it for too long: waiting for a request, receiving the head of one,
//! answering it, sending the answer.
//!
//! One watch serves HTTP/1.1 and HTTP/2, and covers what hyper does not time: a client that says nothing, one that never takes
//! its answer, one that keeps a connection it does not use. It costs a request no timer and no wake-up: what a connection does
//! only ever moves the time at which something is due, and the one timer of the connection is set again when it rings.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Waker;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

use crate::frames::Frames;
use crate::limits::{FREE_HEAD_BYTES, Limits};
use crate::places::Trust;

/// What has been going on for too long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Due {
    /// Nothing was asked.
    Idle,
    /// The head of a request has not arrived whole.
    Head,
    /// A request has no answer.
    Exchange,
    /// An answer is not taken.
    Answer,
}

/// How hard a connection is to spare, the easiest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Standing {
    /// In its handshake.
    Handshake,
    /// Without a request.
    Idle,
    /// Receiving the head of a request.
    Head,
    /// With a request under way.
    Busy,
}

/// What a connection is doing. Shared by the connection, its requests and the list of connections.
pub(crate) struct Activity {
    state: Mutex<State>,
    limits: Limits,
    /// Bytes that the long heads of all connections may still take.
    room: Arc<Semaphore>,
}

struct State {
    standing: Standing,
    /// Since when; for a busy connection, when its oldest request came.
    since: Instant,
    has_asked: bool,
    /// Requests under way, in the order in which they came.
    exchanges: Vec<Running>,
    next: u64,
    /// Bytes over HTTP/1.1 since the last request ended: those of the next one's head.
    head_bytes: usize,
    /// Only over HTTP/2.
    frames: Option<Frames>,
    /// Bytes of HTTP/2 heads since the connection's last turn.
    turn_bytes: usize,
    /// The room that the unfinished head takes.
    head_place: Option<OwnedSemaphorePermit>,
    must_leave: bool,
    is_leaving: bool,
    trust: Trust,
    waker: Option<Waker>,
}

struct Running {
    number: u64,
    since: Instant,
    is_answered: bool,
}

/// What a connection is to do next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Next {
    /// Tell the client to leave.
    Leave,
    /// Look again then.
    At(Instant),
}

impl Activity {
    pub(crate) fn new(limits: Limits, room: Arc<Semaphore>) -> Arc<Activity> {
        let state = State {
            standing: Standing::Handshake,
            since: Instant::now(),
            has_asked: false,
            exchanges: Vec::new(),
            next: 0,
            head_bytes: 0,
            frames: None,
            turn_bytes: 0,
            head_place: None,
            must_leave: false,
            is_leaving: false,
            trust: Trust::Stranger,
            waker: None,
        };
        Arc::new(Activity { state: Mutex::new(state), limits, room })
    }

    /// The handshake is over.
    pub(crate) fn begun(&self, is_http2: bool) {
        let mut state = self.state();
        state.frames = is_http2.then(Frames::new);
        state.becomes(Standing::Idle);
    }

    /// A request has come, and its headers weigh so much beyond what is free. It is under way until what this gives is dropped;
    /// `None` when there is no room for it.
    pub(crate) fn begin(self: &Arc<Self>, weight: usize) -> Option<Exchange> {
        let mut state = self.state();
        let is_one_of_many = !state.exchanges.is_empty() && state.trust == Trust::Stranger;
        let weight = weight + if is_one_of_many { STRANGERS_REQUEST } else { 0 };
        let place = match state.frames {
            // The room that its head took, and takes until it is answered: headers are parts of it.
            None => state.head_place.take(),
            Some(_) if weight == 0 => None,
            Some(_) => Some(self.room(weight)?),
        };
        let number = state.next;
        state.next += 1;
        let since = Instant::now();
        if state.exchanges.is_empty() {
            state.standing = Standing::Busy;
            state.since = since;
        }
        state.exchanges.push(Running { number, since, is_answered: false });
        state.has_asked = true;
        state.head_bytes = 0;
        drop(state);
        Some(Exchange { activity: Arc::clone(self), number, _place: place })
    }

    fn room(&self, bytes: usize) -> Option<OwnedSemaphorePermit> {
        let bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
        Arc::clone(&self.room).try_acquire_many_owned(bytes).ok()
    }

    /// The client is to be told to leave, as soon as the connection has a turn.
    pub(crate) fn leave(&self) {
        let mut state = self.state();
        state.must_leave = true;
        let waker = state.waker.take();
        drop(state);
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// The connection has a turn: everything that arrived before was handed over.
    pub(crate) fn turn(&self) {
        let mut state = self.state();
        if state.turn_bytes > 0 {
            state.turn_bytes = 0;
        }
    }

    /// Whether so much arrived of heads that the connection must hand them over first. Heads that are decoded and wait take a
    /// hundred times the memory of their bytes.
    pub(crate) fn turn_is_over(&self) -> bool {
        self.state().turn_bytes >= MOST_OF_A_TURN
    }

    /// Takes note of bytes; whether there is room for the head that they are of.
    pub(crate) fn bytes_came(&self, bytes: &[u8]) -> bool {
        let mut state = self.state();
        let state = &mut *state;
        let held = match &mut state.frames {
            // Those of a body, or of the next request in line, which is one buffer at most.
            None if !state.exchanges.is_empty() => return true,
            None => {
                state.head_bytes += bytes.len();
                Some(state.head_bytes)
            }
            Some(frames) => {
                let of_heads = frames.take(bytes);
                let unfinished = frames.unfinished();
                state.turn_bytes += of_heads;
                let most = self.limits.header_bytes.saturating_mul(PACKED);
                unfinished
                    .map(|head| if head.is_decoded { (head.bytes * UNPACKED).min(most) } else { head.bytes })
            }
        };
        let Some(held) = held else {
            state.head_place = None;
            if state.standing == Standing::Head {
                state.becomes(Standing::Idle);
            }
            return true;
        };
        let beyond = held.saturating_sub(FREE_HEAD_BYTES);
        let has = state.head_place.as_ref().map_or(0, OwnedSemaphorePermit::num_permits);
        if beyond > has {
            let Some(place) = self.room(beyond - has) else { return false };
            match &mut state.head_place {
                Some(places) => places.merge(place),
                none => *none = Some(place),
            }
        }
        if state.standing == Standing::Idle {
            state.becomes(Standing::Head);
        }
        true
    }

    /// What is to be done next, by a connection that has done what it could. It is woken when it must leave.
    pub(crate) fn next(&self, waker: &Waker) -> Next {
        let mut state = self.state();
        if state.must_leave && !state.is_leaving {
            state.is_leaving = true;
            if state.standing == Standing::Idle {
                state.since = Instant::now();
            }
            return Next::Leave;
        }
        if !state.waker.as_ref().is_some_and(|known| known.will_wake(waker)) {
            state.waker = Some(waker.clone());
        }
        Next::At(state.next_due(&self.limits).1)
    }

    /// What is due by now, and whether the client was told to leave before.
    pub(crate) fn due(&self) -> Option<(Due, bool)> {
        let state = self.state();
        let (due, at) = state.next_due(&self.limits);
        (at <= Instant::now()).then_some((due, state.is_leaving))
    }

    /// How hard it is to spare, and since when it does what it does.
    pub(crate) fn standing(&self) -> (Standing, Instant) {
        let state = self.state();
        (state.standing, state.since)
    }

    pub(crate) fn trust(&self) -> Trust {
        self.state().trust
    }

    pub(crate) fn set_trust(&self, trust: Trust) {
        self.state().trust = trust;
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Nobody panics while holding the lock: it only guards reads and writes of plain fields.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn becomes(&mut self, standing: Standing) {
        self.standing = standing;
        self.since = Instant::now();
    }

    fn next_due(&self, limits: &Limits) -> (Due, Instant) {
        let idle = || match (self.is_leaving, self.has_asked) {
            (true, _) => limits.linger,
            (false, true) => limits.idle,
            (false, false) => limits.headers,
        };
        match self.standing {
            Standing::Handshake => (Due::Idle, self.since + limits.handshake),
            Standing::Idle => (Due::Idle, self.since + idle()),
            Standing::Head => (Due::Head, self.since + limits.headers),
            Standing::Busy => {
                let of_requests = self.exchanges.iter().filter_map(|running| {
                    let due = if running.is_answered { Due::Answer } else { Due::Exchange };
                    let limit = if running.is_answered { Some(limits.answer) } else { limits.exchange };
                    Some((due, running.since + limit?))
                });
                let never = (Due::Exchange, Instant::now() + NEVER);
                of_requests.min_by_key(|(_, at)| *at).unwrap_or(never)
            }
        }
    }
}

/// A request under way, until its answer is sent or given up.
pub(crate) struct Exchange {
    activity: Arc<Activity>,
    number: u64,
    _place: Option<OwnedSemaphorePermit>,
}

impl Exchange {
    /// The answer begins; from here on it is the client's time.
    pub(crate) fn answered(&self) {
        let mut state = self.activity.state();
        if let Some(running) = state.exchanges.iter_mut().find(|running| running.number == self.number) {
            running.is_answered = true;
            running.since = Instant::now();
        }
    }

    pub(crate) fn activity(&self) -> &Arc<Activity> {
        &self.activity
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        let mut state = self.activity.state();
        state.exchanges.retain(|running| running.number != self.number);
        match state.exchanges.first().map(|oldest| oldest.since) {
            Some(since) => state.since = since,
            None if state.frames.as_ref().is_some_and(|frames| frames.unfinished().is_some()) => {
                state.becomes(Standing::Head);
            }
            None => state.becomes(Standing::Idle),
        }
    }
}

/// What an HTTP/2 request of a stranger takes beside others of its connection: without a bound, a thousand connections could
/// have a hundred each wait for the Kubernetes API.
const STRANGERS_REQUEST: usize = 8 << 10;
/// Bytes of heads that are decoded before they are handed over.
const MOST_OF_A_TURN: usize = 16 << 10;
/// Bytes in memory for one byte of a head that h2 has decoded: a byte may stand for a whole field.
const UNPACKED: usize = 100;
/// The same for a byte of [`Limits::header_bytes`], in which each field counts 32 bytes more than it has.
const PACKED: usize = 6;
/// Far beyond every limit.
const NEVER: std::time::Duration = std::time::Duration::from_hours(24 * 365);
