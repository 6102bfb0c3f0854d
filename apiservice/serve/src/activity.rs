//! What a connection is doing, and when it has done it for too long: waiting for a request, receiving the head of one,
//! answering it, sending the answer.
//!
//! One watch serves HTTP/1.1 and HTTP/2, and covers what hyper does not time: a client that says nothing, one that
//! never takes its answer, one that keeps a connection it does not use. It costs a request no timer and no wake-up:
//! what a connection does only ever moves the time at which something is due, and the one timer of the connection is
//! set again when it rings.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Waker;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

use crate::frames::Frames;
use crate::lifecycle::{Phase, Shutdown};
use crate::limits::{FREE_HEAD_BYTES, Limits};
use crate::trust::Trust;

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

/// What all connections of a listener share.
pub(crate) struct Common {
    pub(crate) limits: Limits,
    /// Bytes that the long heads of all connections may still take.
    room: Arc<Semaphore>,
    shutdown: Shutdown,
}

/// What a connection is doing. Shared by the connection, its requests and the list of connections.
pub(crate) struct Activity {
    state: Mutex<State>,
    common: Arc<Common>,
}

struct State {
    standing: Standing,
    /// Since when; for a busy connection, when its oldest request came.
    since: Instant,
    /// Since the last turn: the clock is read once a turn, at its end, and not for each thing that happens in it.
    is_new: bool,
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
    leaving: Leaving,
    trust: Trust,
    waker: Option<Waker>,
}

/// Whether the client is to leave.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Leaving {
    No,
    /// It is to be told.
    Due,
    Told,
}

struct Running {
    number: u64,
    came: Instant,
    /// Since when it is computed or, when it is answered, sent.
    since: Instant,
    /// As of its connection.
    is_new: bool,
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

impl Common {
    pub(crate) fn new(limits: Limits, shutdown: Shutdown) -> Arc<Common> {
        let room = Arc::new(Semaphore::new(limits.all_header_bytes));
        Arc::new(Common { limits, room, shutdown })
    }

    /// The server ends soon.
    pub(crate) fn is_leaving(&self) -> bool {
        self.shutdown.has_reached(Phase::Leaving)
    }
}

impl Activity {
    pub(crate) fn new(common: Arc<Common>) -> Arc<Activity> {
        let state = State {
            standing: Standing::Handshake,
            since: Instant::now(),
            is_new: false,
            has_asked: false,
            exchanges: Vec::new(),
            next: 0,
            head_bytes: 0,
            frames: None,
            turn_bytes: 0,
            head_place: None,
            leaving: Leaving::No,
            trust: Trust::Stranger,
            waker: None,
        };
        Arc::new(Activity { state: Mutex::new(state), common })
    }

    /// The handshake is over.
    pub(crate) fn begun(&self, is_http2: bool) {
        let mut state = self.state();
        state.frames = is_http2.then(Frames::new);
        state.becomes(Standing::Idle);
        state.read_clock();
    }

    /// A request has come, and its headers weigh so much beyond what is free. It is under way until what this gives is
    /// dropped; `None` when there is no room for it.
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
        if state.exchanges.is_empty() {
            state.becomes(Standing::Busy);
        }
        // The time is a guess until the turn ends.
        let since = state.since;
        state.exchanges.push(Running { number, came: since, since, is_new: true, is_answered: false });
        state.has_asked = true;
        state.head_bytes = 0;
        drop(state);
        Some(Exchange { activity: Arc::clone(self), number, _place: place })
    }

    fn room(&self, bytes: usize) -> Option<OwnedSemaphorePermit> {
        let bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
        Arc::clone(&self.common.room).try_acquire_many_owned(bytes).ok()
    }

    /// The client is to be told to leave, as soon as the connection has a turn.
    pub(crate) fn leave(&self) {
        let mut state = self.state();
        if state.leaving == Leaving::No {
            state.leaving = Leaving::Due;
        }
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

    /// Whether so much arrived of heads that the connection must hand them over first. Heads that are decoded and wait
    /// take a hundred times the memory of their bytes.
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
                let most = self.common.limits.header_bytes.saturating_mul(PACKED);
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

    /// The next step of a connection that has done what it could. It is woken when it must leave.
    pub(crate) fn next(&self, waker: &Waker) -> Next {
        let mut state = self.state();
        if state.leaving == Leaving::Due {
            state.leaving = Leaving::Told;
            if state.standing == Standing::Idle {
                state.is_new = true;
            }
            return Next::Leave;
        }
        state.read_clock();
        if !state.waker.as_ref().is_some_and(|known| known.will_wake(waker)) {
            state.waker = Some(waker.clone());
        }
        Next::At(state.next_due(&self.common.limits).1)
    }

    /// What is due by now, and whether the client was told to leave before.
    pub(crate) fn due(&self) -> Option<(Due, bool)> {
        let mut state = self.state();
        state.read_clock();
        let (due, at) = state.next_due(&self.common.limits);
        (at <= Instant::now()).then_some((due, state.leaving == Leaving::Told))
    }

    /// How hard it is to spare, and since when it does what it does.
    pub(crate) fn standing(&self) -> (Standing, Instant) {
        let state = self.state();
        (state.standing, state.since)
    }

    pub(crate) fn common(&self) -> &Common {
        &self.common
    }

    pub(crate) fn trust(&self) -> Trust {
        self.state().trust
    }

    pub(crate) fn set_trust(&self, trust: Trust) {
        self.state().trust = trust;
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // No code panics while it holds the lock: it only guards reads and writes of plain fields.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn becomes(&mut self, standing: Standing) {
        self.standing = standing;
        self.is_new = true;
    }

    /// What has happened since the last time happened now.
    fn read_clock(&mut self) {
        if !self.is_new && !self.exchanges.iter().any(|running| running.is_new) {
            return;
        }
        let now = Instant::now();
        if std::mem::take(&mut self.is_new) {
            self.since = now;
        }
        for running in self.exchanges.iter_mut().filter(|running| running.is_new) {
            running.is_new = false;
            running.since = now;
            if !running.is_answered {
                running.came = now;
            }
        }
    }

    fn next_due(&self, limits: &Limits) -> (Due, Instant) {
        let idle = || match (self.leaving, self.has_asked) {
            (Leaving::Told, _) => limits.linger,
            (_, true) => limits.idle,
            (_, false) => limits.headers,
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
            running.is_new = true;
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
        match state.exchanges.first().map(|oldest| oldest.came) {
            Some(came) => state.since = came,
            None if state.frames.as_ref().is_some_and(|frames| frames.unfinished().is_some()) => {
                state.becomes(Standing::Head);
            }
            None => state.becomes(Standing::Idle),
        }
    }
}

/// What an HTTP/2 request of a stranger takes beside others of its connection: without a bound, a thousand connections
/// could have a hundred each wait for the Kubernetes API.
const STRANGERS_REQUEST: usize = 8 << 10;
/// Bytes of heads that are decoded before they are handed over.
const MOST_OF_A_TURN: usize = 16 << 10;
/// Bytes in memory for one byte of a head that h2 has decoded: a byte may stand for a whole field.
const UNPACKED: usize = 100;
/// The same for a byte of [`Limits::header_bytes`], in which each field counts 32 bytes more than it has.
const PACKED: usize = 6;
/// Far beyond every limit.
const NEVER: std::time::Duration = std::time::Duration::from_hours(24 * 365);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lifecycle::lifecycle;

    fn activity(is_http2: bool) -> Arc<Activity> {
        let activity = Activity::new(Common::new(Limits::default(), lifecycle().1));
        activity.begun(is_http2);
        activity
    }

    /// What is due next, and when.
    fn due(activity: &Activity) -> (Due, Instant) {
        activity.next(Waker::noop());
        activity.state().next_due(&activity.common.limits)
    }

    #[tokio::test(start_paused = true)]
    async fn each_thing_that_a_connection_does_has_its_own_limit() {
        let limits = Limits::default();
        let second = || tokio::time::sleep(std::time::Duration::from_secs(1));
        let activity = activity(false);
        assert_eq!(due(&activity), (Due::Idle, Instant::now() + limits.headers), "never asked");
        second().await;
        activity.bytes_came(b"x");
        assert_eq!(due(&activity), (Due::Head, Instant::now() + limits.headers));
        second().await;
        let exchange = activity.begin(0).expect("room");
        let exchange_limit = limits.exchange.expect("a limit");
        assert_eq!(due(&activity), (Due::Exchange, Instant::now() + exchange_limit));
        second().await;
        activity.bytes_came(b"x");
        assert_eq!(due(&activity).0, Due::Exchange, "a body, or the next request in line");
        exchange.answered();
        assert_eq!(due(&activity), (Due::Answer, Instant::now() + limits.answer));
        second().await;
        drop(exchange);
        assert_eq!(due(&activity), (Due::Idle, Instant::now() + limits.idle));
        second().await;
        activity.leave();
        assert_eq!(activity.next(Waker::noop()), Next::Leave);
        assert_eq!(due(&activity), (Due::Idle, Instant::now() + limits.linger));
    }

    #[tokio::test(start_paused = true)]
    async fn of_several_requests_the_first_that_is_due_counts() {
        let activity = activity(true);
        let first = activity.begin(0).expect("room");
        due(&activity);
        let came = activity.standing();
        tokio::time::sleep(std::time::Duration::from_secs(1)).await;
        let second = activity.begin(0).expect("room");
        due(&activity);
        assert_eq!(activity.standing(), came, "busy since the oldest came");
        second.answered();
        assert_eq!(due(&activity).0, Due::Answer);
        drop(second);
        assert_eq!(due(&activity), (Due::Exchange, came.1 + Limits::default().exchange.expect("a limit")));
        drop(first);
        assert_eq!(due(&activity).0, Due::Idle);
    }

    #[tokio::test]
    async fn heads_over_http2_are_handed_over_in_portions() {
        let activity = activity(true);
        let mut bytes = crate::preface::PREFACE.to_vec();
        // A HEADERS frame of 16,000 bytes that ends its head.
        bytes.extend([0, 0x3e, 0x80, 1, 4, 0, 0, 0, 1]);
        bytes.resize(bytes.len() + 16_000, 0xbe);
        assert!(activity.bytes_came(&bytes));
        assert!(!activity.turn_is_over());
        assert!(activity.bytes_came(&bytes[24..]));
        assert!(activity.turn_is_over());
        activity.turn();
        assert!(!activity.turn_is_over());
    }
}
