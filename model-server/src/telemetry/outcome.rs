//! How requests end.

use prometheus::local::LocalIntCounter;
use prometheus::{IntCounter, IntCounterVec};

/// How a request ended. Every request to compute something ends in exactly one way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// Answered.
    Ok,
    /// The request cannot be understood, is too large or came too slowly.
    Invalid,
    /// There was no room: the queue was full, or the model was not loaded yet.
    Rejected,
    /// It waited longer than it may.
    Expired,
    /// The client left.
    Cancelled,
    /// The model or its worker failed.
    Error,
    /// The server was ending.
    Draining,
}

impl Outcome {
    const ALL: [Outcome; 7] = [
        Outcome::Ok,
        Outcome::Invalid,
        Outcome::Rejected,
        Outcome::Expired,
        Outcome::Cancelled,
        Outcome::Error,
        Outcome::Draining,
    ];

    fn label(self) -> &'static str {
        match self {
            Outcome::Ok => "ok",
            Outcome::Invalid => "invalid",
            Outcome::Rejected => "rejected",
            Outcome::Expired => "expired",
            Outcome::Cancelled => "cancelled",
            Outcome::Error => "error",
            Outcome::Draining => "draining",
        }
    }
}

/// A counter for each outcome, looked up once.
pub(super) struct Outcomes([IntCounter; Outcome::ALL.len()]);

impl Outcomes {
    pub(super) fn new(requests: &IntCounterVec, model: &str) -> Outcomes {
        Outcomes(Outcome::ALL.map(|outcome| requests.with_label_values(&[model, outcome.label()])))
    }

    pub(super) fn local(&self) -> LocalOutcomes {
        LocalOutcomes(self.0.each_ref().map(IntCounter::local))
    }

    pub(super) fn so_far(&self, outcome: Outcome) -> u64 {
        self.0[outcome as usize].get()
    }
}

/// What some threads counted since the last look.
pub(super) struct LocalOutcomes([LocalIntCounter; Outcome::ALL.len()]);

impl LocalOutcomes {
    pub(super) fn count(&self, outcome: Outcome) {
        self.0[outcome as usize].inc();
    }

    pub(super) fn flush(&self) {
        self.0.iter().for_each(LocalIntCounter::flush);
    }
}
