//! What a listener counted.

use std::sync::atomic::{AtomicU64, Ordering};

/// Counts since the start of a listener.
#[derive(Debug, Default)]
pub struct Stats {
    /// Connections accepted.
    pub accepted: AtomicU64,
    /// Connections open now.
    pub open: AtomicU64,
    /// Connections ended by a failed handshake.
    pub handshakes_failed: AtomicU64,
    /// Connections ended because the handshake took too long.
    pub handshakes_timed_out: AtomicU64,
    /// Connections ended because nothing was asked for too long.
    pub idle: AtomicU64,
    /// Connections cut because the head of a request, its answer or the taking of the answer took too long.
    pub slow: AtomicU64,
    /// Connections cut because the long heads of all connections had no room for one more.
    pub header_room: AtomicU64,
    /// Handshakes ended to make room for another connection.
    pub evicted_handshakes: AtomicU64,
    /// Connections without a request under way ended to make room for another.
    pub evicted_idle: AtomicU64,
    /// Connections with a request under way ended to make room for another.
    pub evicted_busy: AtomicU64,
    /// Requests refused for the number of their header fields, over HTTP/2.
    pub refused_fields: AtomicU64,
    /// Requests refused because a stranger had too many under way, or their headers found no room.
    pub refused_busy: AtomicU64,
}

impl Stats {
    /// Connections that the server ended, by reason: each is a label's value.
    pub fn ended(&self) -> [(&'static str, u64); 8] {
        let count = |of: &AtomicU64| of.load(Ordering::Relaxed);
        [
            ("handshake_failed", count(&self.handshakes_failed)),
            ("handshake_timeout", count(&self.handshakes_timed_out)),
            ("idle", count(&self.idle)),
            ("slow", count(&self.slow)),
            ("header_room", count(&self.header_room)),
            ("evicted_handshake", count(&self.evicted_handshakes)),
            ("evicted_idle", count(&self.evicted_idle)),
            ("evicted_busy", count(&self.evicted_busy)),
        ]
    }

    /// Requests that were refused before the program saw them, by reason.
    pub fn refused(&self) -> [(&'static str, u64); 2] {
        let count = |of: &AtomicU64| of.load(Ordering::Relaxed);
        [("header_fields", count(&self.refused_fields)), ("busy", count(&self.refused_busy))]
    }
}

pub(crate) fn add(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}
