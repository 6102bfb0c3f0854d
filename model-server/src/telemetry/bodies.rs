//! What request bodies take, and how many are refused.

use prometheus::{IntCounter, IntCounterVec, IntGauge, Registry};
use serve::Registrar;

/// Why a body is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RefusedBody {
    /// It has more bytes than a body may have, compressed or not.
    TooLarge,
    /// It did not arrive in time.
    TooSlow,
    /// Other bodies take all memory for bodies.
    NoMemory,
    /// It cannot be decompressed.
    Undecodable,
    /// It did not arrive before the server shut down.
    Draining,
}

impl RefusedBody {
    const ALL: [RefusedBody; 5] = [
        RefusedBody::TooLarge,
        RefusedBody::TooSlow,
        RefusedBody::NoMemory,
        RefusedBody::Undecodable,
        RefusedBody::Draining,
    ];

    fn label(self) -> &'static str {
        match self {
            RefusedBody::TooLarge => "too_large",
            RefusedBody::TooSlow => "too_slow",
            RefusedBody::NoMemory => "no_memory",
            RefusedBody::Undecodable => "undecodable",
            RefusedBody::Draining => "draining",
        }
    }
}

/// Handles on the metrics of bodies.
#[derive(Clone)]
pub struct BodyMetrics {
    held: IntGauge,
    limit: IntGauge,
    refused: [IntCounter; RefusedBody::ALL.len()],
    refused_bytes: [IntCounter; RefusedBody::ALL.len()],
}

impl BodyMetrics {
    pub(super) fn new(r: &Registrar<'_>) -> BodyMetrics {
        let by_reason = |counters: &IntCounterVec| {
            RefusedBody::ALL.map(|reason| counters.with_label_values(&[reason.label()]))
        };
        BodyMetrics {
            held: r.gauge(
                "inference_body_memory_bytes",
                "Memory of request bodies being received or decompressed and of large waiting inputs, in bytes.",
            ),
            limit: r.gauge(
                "inference_body_memory_limit_bytes",
                "Maximum memory of all request bodies and large waiting inputs, in bytes.",
            ),
            refused: by_reason(&r.counters("inference_bodies_refused_total", REFUSED, &["reason"])),
            refused_bytes: by_reason(&r.counters(
                "inference_bodies_refused_bytes_total",
                REFUSED_BYTES,
                &["reason"],
            )),
        }
    }

    /// Handles that nothing exports.
    ///
    /// # Panics
    /// Never: the names are valid.
    pub fn unregistered() -> BodyMetrics {
        // A registry that nothing reads.
        BodyMetrics::new(&Registrar::new(&Registry::new()))
    }

    pub(crate) fn limit(&self, bytes: usize) {
        self.limit.set(bytes as i64);
    }

    pub(crate) fn taken(&self, bytes: usize) {
        self.held.add(bytes as i64);
    }

    pub(crate) fn freed(&self, bytes: usize) {
        self.held.sub(bytes as i64);
    }

    /// A body of `bytes` bytes, as far as they are known, was refused.
    pub(crate) fn refused(&self, reason: RefusedBody, bytes: u64) {
        self.refused[reason as usize].inc();
        self.refused_bytes[reason as usize].inc_by(bytes);
    }
}

const REFUSED: &str = "Request bodies that were refused, by reason.";
const REFUSED_BYTES: &str =
    "Size of refused request bodies in bytes: their Content-Length, or what arrived of those without.";
