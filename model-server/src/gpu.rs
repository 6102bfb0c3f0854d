//! How busy the GPUs are. An absent GPU is a state, not an error; one that should be there and cannot be read is unknown, never 0.
//!
//! [`collector`] decides, over the [`Driver`] trait; [`nvml`] is the real driver, loaded at run time; a thread of its own runs
//! both, because a driver call may hang.

pub mod collector;
pub mod nvml;
pub mod visible;

use std::sync::Arc;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant};

use self::collector::{Collector, Settings};
use crate::telemetry::Telemetry;

/// Opens a connection to the GPUs' driver.
pub trait Driver: Send {
    /// Loads and starts it.
    ///
    /// # Errors
    /// It is not there, or does not start.
    fn open(&mut self) -> Result<Box<dyn Session>, GpuError>;
}

/// An open connection to the driver. Used by the thread that opened it.
pub trait Session {
    /// All devices that the driver shows, in its order.
    ///
    /// # Errors
    /// The driver does not say.
    fn devices(&self) -> Result<Vec<Seen>, GpuError>;

    /// Utilization samples of a device that are newer than an earlier sample's time; all there are when `None`. None where the
    /// driver keeps none.
    ///
    /// # Errors
    /// The device does not say.
    fn samples(&self, uuid: &str, newer_than: Option<u64>) -> Result<Vec<Sample>, GpuError>;

    /// The newest utilization of a device, 0 to 100.
    ///
    /// # Errors
    /// The device does not say.
    fn latest(&self, uuid: &str) -> Result<f64, GpuError>;

    /// The memory of a device.
    ///
    /// # Errors
    /// The device does not say.
    fn memory(&self, uuid: &str) -> Result<Memory, GpuError>;
}

/// A device that the driver shows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// Its number in the driver's order, by PCI bus.
    pub index: u32,
    /// `GPU-` and a UUID.
    pub uuid: String,
    /// It is partitioned (MIG), and then says nothing of its use as a whole.
    pub partitioned: bool,
}

/// How busy a device was over a moment before a time.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Sample {
    /// The driver's time, in microseconds.
    pub time: u64,
    /// 0 to 100.
    pub percent: f64,
}

/// A device's memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Memory {
    /// In use, by whomever.
    pub used_bytes: u64,
    /// In all.
    pub total_bytes: u64,
}

/// What is known of a device over the last poll interval.
#[derive(Debug, Clone, PartialEq)]
pub struct Reading {
    /// Its number in the driver's order.
    pub index: String,
    /// `GPU-` and a UUID.
    pub uuid: String,
    /// 0 to 100; unknown when `None`.
    pub utilization_percent: Option<f64>,
    /// Unknown when `None`.
    pub memory: Option<Memory>,
}

/// Why a GPU cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text}")]
pub struct GpuError {
    /// Its class.
    pub reason: Reason,
    /// The driver's words.
    pub text: String,
}

/// A class of failures, and a label.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// `libnvidia-ml.so.1` is not there.
    LibraryNotFound,
    /// The library is older than what is called.
    SymbolNotFound,
    /// The library is there, the kernel's driver is not.
    DriverNotLoaded,
    /// The library and the kernel's driver are of different versions.
    DriverMismatch,
    /// The device fell off the bus, or needs a reset.
    GpuLost,
    /// The device does not tell, for instance because it is partitioned (MIG).
    NotSupported,
    /// The process may not ask; a container that lost its devices, too.
    NoPermission,
    /// No device is the one that was asked for.
    NoDevice,
    /// The driver does not answer.
    Timeout,
    /// Anything else.
    Other,
}

impl Reason {
    /// All of them: each is a series from the start.
    pub const ALL: [Reason; 10] = [
        Reason::LibraryNotFound,
        Reason::SymbolNotFound,
        Reason::DriverNotLoaded,
        Reason::DriverMismatch,
        Reason::GpuLost,
        Reason::NotSupported,
        Reason::NoPermission,
        Reason::NoDevice,
        Reason::Timeout,
        Reason::Other,
    ];

    /// As it is written in metrics.
    pub fn label(self) -> &'static str {
        match self {
            Reason::LibraryNotFound => "library_not_found",
            Reason::SymbolNotFound => "symbol_not_found",
            Reason::DriverNotLoaded => "driver_not_loaded",
            Reason::DriverMismatch => "driver_mismatch",
            Reason::GpuLost => "gpu_lost",
            Reason::NotSupported => "not_supported",
            Reason::NoPermission => "no_permission",
            Reason::NoDevice => "no_device",
            Reason::Timeout => "timeout",
            Reason::Other => "other",
        }
    }

    /// What to look at.
    fn hint(self) -> &'static str {
        match self {
            Reason::LibraryNotFound => {
                "a container sees it with NVIDIA_DRIVER_CAPABILITIES=compute,utility and the nvidia runtime class"
            }
            Reason::SymbolNotFound => "the driver is too old",
            Reason::DriverNotLoaded => "the node's driver is not loaded",
            Reason::DriverMismatch => "the node's driver was updated under the container; restart both",
            Reason::GpuLost => "the node's kernel log says why",
            Reason::NotSupported => {
                "a partitioned (MIG) device has no utilization; scale on inference_duty_cycle_percent"
            }
            Reason::NoPermission => {
                "the container may have lost its devices, as after systemctl daemon-reload; restart the pod"
            }
            Reason::NoDevice => "see CUDA_VISIBLE_DEVICES and NVIDIA_VISIBLE_DEVICES",
            Reason::Timeout | Reason::Other => "nvidia-smi in the same container may say more",
        }
    }
}

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
