//! Metrics of connections, taken over from where they are counted.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use prometheus::{IntCounter, IntCounterVec, IntGauge};
use serve::{Registrar, Stats};

/// Handles on the metrics of connections.
pub(super) struct Connections {
    pub(super) stats: Arc<Stats>,
    accepted: IntCounter,
    open: IntGauge,
    ended: IntCounterVec,
    refused: IntCounterVec,
}

impl Connections {
    pub(super) fn new(r: &Registrar<'_>) -> Connections {
        let connections = Connections {
            stats: Arc::default(),
            accepted: r.counter("http_connections_accepted_total", "Connections accepted."),
            open: r.gauge("http_connections_open", "Connections open now."),
            ended: r.counters(
                "http_connections_ended_total",
                "Connections closed by the server, by reason; evicted_* made room for another one at --max-connections.",
                &["reason"],
            ),
            refused: r.counters(
                "http_requests_refused_total",
                "Requests refused before they counted as requests of the model, by reason.",
                &["reason"],
            ),
        };
        // A rate over a series that appears with its first event would miss that event.
        connections.collect();
        connections
    }

    /// Takes over what was counted. Not to be called twice at the same time.
    pub(super) fn collect(&self) {
        let raise = |counter: &IntCounter, to: u64| counter.inc_by(to.saturating_sub(counter.get()));
        raise(&self.accepted, self.stats.accepted.load(Ordering::Relaxed));
        self.open.set(self.stats.open.load(Ordering::Relaxed) as i64);
        for (reason, count) in self.stats.ended() {
            raise(&self.ended.with_label_values(&[reason]), count);
        }
        for (reason, count) in self.stats.refused() {
            raise(&self.refused.with_label_values(&[reason]), count);
        }
    }
}
