//! Whether the server is ready: from loading over serving to draining. [`crate::app`] writes it, other modules read it.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use crate::telemetry::{ModelTrouble, Telemetry};
use crate::worker::Pool;

/// Loading, serving or draining, and the workers.
pub struct Readiness {
    pool: OnceLock<Pool>,
    draining: AtomicBool,
    telemetry: Arc<Telemetry>,
}

/// Why no request should be sent here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NotReady {
    /// The model is being loaded or warmed.
    Loading,
    /// The server ends.
    Draining,
    /// A worker is stuck or gone.
    Stuck,
    /// The model does not work any more.
    Broken(ModelTrouble),
}

impl NotReady {
    /// For people.
    pub fn message(self) -> &'static str {
        match self {
            NotReady::Loading => "model not loaded",
            NotReady::Draining => "shutting down",
            NotReady::Stuck => "a worker is stuck or gone",
            NotReady::Broken(ModelTrouble::Failing) => {
                "the model fails on every request and on the warm-up input"
            }
            NotReady::Broken(ModelTrouble::DeviceLost) => "the model's device does not work any more",
        }
    }
}

impl Readiness {
    /// Loading.
    pub fn new(telemetry: Arc<Telemetry>) -> Readiness {
        Readiness { pool: OnceLock::new(), draining: AtomicBool::new(false), telemetry }
    }

    /// The model is loaded and warm, and these compute.
    pub fn loaded(&self, pool: Pool) {
        // There is one load in a server's life.
        let _ = self.pool.set(pool);
    }

    /// The signal to end came.
    pub fn drain(&self) {
        self.draining.store(true, Ordering::Release);
        self.telemetry.draining();
    }

    /// Whether the server ends.
    pub fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Acquire)
    }

    /// The workers, once the model is loaded; they serve while the server drains, too.
    pub fn pool(&self) -> Option<&Pool> {
        self.pool.get()
    }

    /// Whether a restart would not help: loading and draining are part of a life.
    ///
    /// # Errors
    /// What only a restart may help against.
    pub fn live(&self) -> Result<(), NotReady> {
        let Some(pool) = self.pool.get() else { return Ok(()) };
        if !pool.is_alive() {
            return Err(NotReady::Stuck);
        }
        pool.trouble().map_or(Ok(()), |trouble| Err(NotReady::Broken(trouble)))
    }

    /// Whether requests should be sent here. A full queue changes nothing about it: they would overrun the other
    /// servers.
    ///
    /// # Errors
    /// Why not.
    pub fn ready(&self) -> Result<(), NotReady> {
        if self.is_draining() {
            Err(NotReady::Draining)
        } else if self.pool.get().is_none() {
            Err(NotReady::Loading)
        } else {
            self.live()
        }
    }
}
