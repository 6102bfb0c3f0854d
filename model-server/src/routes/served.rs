//! State and settings that the handlers share.

use std::sync::Arc;
use std::time::Duration;

use axum::http::StatusCode;

use crate::bodies::BodyBudget;
use crate::config::Timeouts;
use crate::queue::Queue;
use crate::readiness::Readiness;
use crate::telemetry::{Identity, Telemetry};

/// What the handlers share.
pub struct Served {
    /// Where requests wait.
    pub queue: Arc<Queue>,
    /// The metrics.
    pub telemetry: Arc<Telemetry>,
    /// Where the server is in its life.
    pub life: Readiness,
    /// What bodies may take.
    pub bodies: Arc<BodyBudget>,
    /// What it is told to do.
    pub settings: Settings,
}

/// What the handlers are told to do.
#[derive(Debug, Clone)]
pub struct Settings {
    /// What is served.
    pub identity: Identity,
    /// Threads that compute.
    pub workers: usize,
    /// Rows of one execution, and so of one request, at most.
    pub max_batch_size: usize,
    /// How long a request may wait for others to fill its batch.
    pub max_batch_delay: Duration,
    /// Status of the answer to a request that finds the queue full: 503 or 429.
    pub overload_status: StatusCode,
    /// How long requests may wait for their execution.
    pub timeouts: Timeouts,
}
