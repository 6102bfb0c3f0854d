//! Errors of reading a GPU, by class.

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
    pub(super) fn hint(self) -> &'static str {
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
