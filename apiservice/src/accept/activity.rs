//! What a connection is doing, and when it has done it for too long: waiting for a request, sending the head of one, taking
//! an answer.
//!
//! One watch serves HTTP/1.1 and HTTP/2, and covers what neither times by itself: a client that shakes hands and says
//! nothing, one that never takes its answer, one that keeps a connection it does not use.

use std::collections::BTreeMap;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use axum::body::Body;
use bytes::Bytes;
use hyper::body::{Frame, SizeHint};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

use super::frames::Frames;
use super::{AcceptLimits, FREE_HEAD_BYTES, PACKED_HEAD_BYTES};

/// What has been going on for too long, or must be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Due {
    /// An answer was the last one of its connection.
    Leave,
    /// Nothing was asked for too long.
    Idle,
    /// The head of a request took too long.
    Head,
    /// A request and its answer took too long.
    Exchange,
}

/// What a connection is doing. Shared by the connection, its requests and its watch.
pub(super) struct Activity {
    state: Mutex<State>,
    changed: Notify,
    /// Bytes of headers that all connections together may still send.
    heads: Arc<Semaphore>,
}

struct State {
    /// When each request under way began; the oldest has the least number.
    exchanges: BTreeMap<u64, Instant>,
    next: u64,
    idle_since: Instant,
    head_since: Option<Instant>,
    /// Bytes over HTTP/1.1 since the last request began: those of the next one's head.
    head_bytes: usize,
    /// Bytes mean a request only in HTTP/1.1: HTTP/2 has frames.
    frames: Option<Frames>,
    /// The room that the next head takes of that for all connections.
    head_place: Option<OwnedSemaphorePermit>,
    last_answer: bool,
    leaving: bool,
}

impl Activity {
    pub(super) fn new(is_http2: bool, heads: Arc<Semaphore>) -> Arc<Activity> {
        let state = State {
            exchanges: BTreeMap::new(),
            next: 0,
            idle_since: Instant::now(),
            head_since: None,
            head_bytes: 0,
            frames: is_http2.then(Frames::new),
            head_place: None,
            last_answer: false,
            leaving: false,
        };
        Arc::new(Activity { state: Mutex::new(state), changed: Notify::new(), heads })
    }

    /// A request has come. It is under way until what this gives is dropped.
    pub(super) fn begin(self: &Arc<Self>) -> Exchange {
        let mut state = self.state();
        let number = state.next;
        state.next += 1;
        state.exchanges.insert(number, Instant::now());
        state.head_since = None;
        state.head_bytes = 0;
        let head_place = state.head_place.take();
        drop(state);
        self.changed.notify_one();
        Exchange { activity: Arc::clone(self), number, _head_place: head_place }
    }

    /// Nothing more is wanted of this connection once its requests are answered.
    pub(super) fn last_answer(&self) {
        self.state().last_answer = true;
        self.changed.notify_one();
    }

    /// The client was told to leave: it has less time to do so than for another request.
    pub(super) fn told_to_leave(&self) {
        let mut state = self.state();
        state.leaving = true;
        state.last_answer = false;
        state.idle_since = Instant::now();
    }

    /// Whether there is room for what they mean.
    fn bytes_came(&self, bytes: &[u8]) -> bool {
        let mut state = self.state();
        let taken = state.room_for(bytes);
        if taken > 0 {
            let taken = u32::try_from(taken).unwrap_or(u32::MAX);
            let Ok(place) = Arc::clone(&self.heads).try_acquire_many_owned(taken) else { return false };
            match &mut state.head_place {
                Some(places) => places.merge(place),
                none => *none = Some(place),
            }
        }
        if state.frames.is_none() && state.exchanges.is_empty() && state.head_since.is_none() {
            state.head_since = Some(Instant::now());
            drop(state);
            self.changed.notify_one();
        }
        true
    }

    /// Waits until something is due.
    pub(super) async fn due(&self, limits: &AcceptLimits) -> Due {
        loop {
            let (due, at) = self.state().next_due(limits);
            tokio::select! {
                () = tokio::time::sleep_until(at) => return due,
                () = self.changed.notified() => {}
            }
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Nobody panics while holding the lock: it only guards reads and writes of plain fields.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// How much more room a head takes with these bytes.
    fn room_for(&mut self, bytes: &[u8]) -> usize {
        match &mut self.frames {
            None => {
                let free = FREE_HEAD_BYTES.saturating_sub(self.head_bytes);
                self.head_bytes += bytes.len();
                bytes.len().saturating_sub(free)
            }
            Some(frames) => {
                let is_long = frames.take(bytes);
                if is_long && self.head_place.is_none() { PACKED_HEAD_BYTES } else { 0 }
            }
        }
    }

    fn next_due(&self, limits: &AcceptLimits) -> (Due, Instant) {
        if self.last_answer && !self.leaving {
            return (Due::Leave, Instant::now());
        }
        if let Some((_, oldest)) = self.exchanges.first_key_value() {
            return (Due::Exchange, *oldest + limits.exchange);
        }
        if let Some(since) = self.head_since {
            return (Due::Head, since + limits.headers);
        }
        let idle = if self.leaving { limits.linger } else { limits.idle };
        (Due::Idle, self.idle_since + idle)
    }
}

/// A request under way, until its answer is sent or given up.
pub(super) struct Exchange {
    activity: Arc<Activity>,
    number: u64,
    _head_place: Option<OwnedSemaphorePermit>,
}

impl Drop for Exchange {
    fn drop(&mut self) {
        let mut state = self.activity.state();
        state.exchanges.remove(&self.number);
        state.idle_since = Instant::now();
        drop(state);
        self.activity.changed.notify_one();
    }
}

/// An answer's body; its request is under way until it is sent.
pub(super) struct Sending {
    pub(super) body: Body,
    pub(super) _exchange: Exchange,
}

impl hyper::body::Body for Sending {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// A stream that tells when bytes come, and ends where there is no room for them.
pub(super) struct Watched<S> {
    pub(super) stream: S,
    pub(super) activity: Arc<Activity>,
}

impl<S: AsyncRead + Unpin> AsyncRead for Watched<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let polled = Pin::new(&mut self.stream).poll_read(context, buffer);
        let bytes = &buffer.filled()[before..];
        if !bytes.is_empty() && !self.activity.bytes_came(bytes) {
            return Poll::Ready(Err(io::Error::other("the headers of all requests together take too much")));
        }
        polled
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Watched<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn heads() -> Arc<Semaphore> {
        Arc::new(Semaphore::new(AcceptLimits::default().all_header_bytes))
    }

    #[test]
    fn each_state_has_its_own_limit() {
        let limits = AcceptLimits::default();
        let activity = Activity::new(false, heads());
        let due = || activity.state().next_due(&limits);
        let idle_since = || activity.state().idle_since;
        assert_eq!(due(), (Due::Idle, idle_since() + limits.idle));
        activity.bytes_came(b"x");
        let head_since = activity.state().head_since.expect("a head has begun");
        assert_eq!(due(), (Due::Head, head_since + limits.headers));
        let first = activity.begin();
        let second = activity.begin();
        let began = activity.state().exchanges.clone();
        assert_eq!(due(), (Due::Exchange, began[&0] + limits.exchange));
        drop(first);
        assert_eq!(due(), (Due::Exchange, began[&1] + limits.exchange));
        activity.bytes_came(b"x");
        assert_eq!(due().0, Due::Exchange, "a body, or the next request in line");
        drop(second);
        assert_eq!(due(), (Due::Idle, idle_since() + limits.idle));
        activity.last_answer();
        assert_eq!(due().0, Due::Leave);
        activity.told_to_leave();
        assert_eq!(due(), (Due::Idle, idle_since() + limits.linger));
    }

    #[test]
    fn frames_of_http2_are_no_heads() {
        let activity = Activity::new(true, heads());
        activity.bytes_came(b"x");
        assert_eq!(activity.state().next_due(&AcceptLimits::default()).0, Due::Idle);
    }

    #[tokio::test]
    async fn a_change_is_noticed_while_waiting() {
        let limits = AcceptLimits::default();
        let activity = Activity::new(true, heads());
        let (due, ()) = tokio::join!(activity.due(&limits), async { activity.last_answer() });
        assert_eq!(due, Due::Leave);
    }
}
