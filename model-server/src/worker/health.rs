//! What is wrong with the models of the workers, if anything is.

use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use crate::telemetry::{ModelTrouble, Telemetry};

/// The trouble of every worker's model. It changes rarely, and probes read it without a lock.
pub struct Health {
    of_workers: Mutex<Vec<Option<ModelTrouble>>>,
    /// The worst of them, as [`code`] writes it.
    worst: AtomicU8,
    telemetry: Arc<Telemetry>,
}

impl Health {
    /// Nothing is wrong with any.
    pub fn new(workers: usize, telemetry: Arc<Telemetry>) -> Health {
        Health { of_workers: Mutex::new(vec![None; workers]), worst: AtomicU8::new(0), telemetry }
    }

    /// The worst trouble of any worker's model.
    pub fn trouble(&self) -> Option<ModelTrouble> {
        match self.worst.load(Ordering::Acquire) {
            FAILING => Some(ModelTrouble::Failing),
            DEVICE_LOST => Some(ModelTrouble::DeviceLost),
            _ => None,
        }
    }

    /// What is wrong with a worker's model from now on.
    pub(super) fn set(&self, worker: usize, trouble: Option<ModelTrouble>) {
        let mut of_workers = self.of_workers.lock().unwrap_or_else(PoisonError::into_inner);
        of_workers[worker] = trouble;
        let worst = of_workers.iter().map(|trouble| code(*trouble)).max().unwrap_or_default();
        self.worst.store(worst, Ordering::Release);
        self.telemetry.model_trouble(self.trouble());
    }
}

fn code(trouble: Option<ModelTrouble>) -> u8 {
    match trouble {
        None => 0,
        Some(ModelTrouble::Failing) => FAILING,
        Some(ModelTrouble::DeviceLost) => DEVICE_LOST,
    }
}

const FAILING: u8 = 1;
const DEVICE_LOST: u8 = 2;
