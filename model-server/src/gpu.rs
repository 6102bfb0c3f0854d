//! How busy the GPUs are. An absent GPU is a state, not an error; one that should be there and cannot be read is
//! unknown, never 0.
//!
//! [`collector`] decides, over the [`Driver`] trait; [`nvml`] is the real driver, loaded at run time; a thread of its
//! own runs both, because a driver call may hang.

pub mod collector;
mod driver;
mod error;
pub mod nvml;
mod reading;
pub mod visible;

use std::sync::Arc;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant};

use self::collector::{Collector, Settings};
pub use self::driver::{Driver, Sample, Seen, Session};
pub use self::error::{GpuError, Reason};
pub use self::reading::{Memory, Reading};
use crate::telemetry::Telemetry;

/// A running collector; dropped, it ends.
pub struct Running {
    _stop: Sender<()>,
}

/// Starts the collector on a thread of its own.
///
/// # Errors
/// There is no thread for it.
pub fn start(
    driver: Box<dyn Driver>,
    settings: Settings,
    telemetry: Arc<Telemetry>,
) -> std::io::Result<Running> {
    let (stop, stopped) = channel::<()>();
    std::thread::Builder::new().name("gpu".to_owned()).spawn(move || {
        let mut collector = Collector::new(driver, settings);
        loop {
            let next = collector.tick(Instant::now(), telemetry.gpu());
            let pause = next.saturating_duration_since(Instant::now()).max(SHORTEST_PAUSE);
            if stopped.recv_timeout(pause) != Err(RecvTimeoutError::Timeout) {
                return;
            }
        }
    })?;
    Ok(Running { _stop: stop })
}

const SHORTEST_PAUSE: Duration = Duration::from_millis(1);
