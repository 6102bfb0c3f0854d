//! The interface to a GPU's driver.

use super::error::GpuError;
use super::reading::Memory;

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

    /// Utilization samples of a device that are newer than an earlier sample's time; all there are when `None`. None
    /// where the driver keeps none.
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
