//! Readings of a device.

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
