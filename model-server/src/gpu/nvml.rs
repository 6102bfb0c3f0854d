//! NVIDIA's management library, looked for when the server runs: a build needs no driver, and neither does a CPU.

use nvml_wrapper::enum_wrappers::device::Sampling;
use nvml_wrapper::enums::device::SampleValue;
use nvml_wrapper::error::NvmlError;
use nvml_wrapper::{Device, Nvml};

use super::driver::{Driver, Sample, Seen, Session};
use super::error::{GpuError, Reason};
use super::reading::Memory;

/// The driver of the machine.
#[derive(Debug, Clone, Copy, Default)]
pub struct NvmlDriver;

impl Driver for NvmlDriver {
    fn open(&mut self) -> Result<Box<dyn Session>, GpuError> {
        Ok(Box::new(NvmlSession(Nvml::init()?)))
    }
}

struct NvmlSession(Nvml);

impl NvmlSession {
    fn device(&self, uuid: &str) -> Result<Device<'_>, GpuError> {
        Ok(self.0.device_by_uuid(uuid)?)
    }
}

impl Session for NvmlSession {
    fn devices(&self) -> Result<Vec<Seen>, GpuError> {
        let mut seen = Vec::new();
        for index in 0..self.0.device_count()? {
            let device = self.0.device_by_index(index)?;
            // A device, or a driver, that knows no partitions has none.
            let partitioned = device.mig_mode().is_ok_and(|mode| mode.current == MIG_ENABLED);
            seen.push(Seen { index, uuid: device.uuid()?, partitioned });
        }
        Ok(seen)
    }

    fn samples(&self, uuid: &str, newer_than: Option<u64>) -> Result<Vec<Sample>, GpuError> {
        let device = self.device(uuid)?;
        let buffered = match device.samples(Sampling::GpuUtilization, newer_than) {
            Ok(samples) => samples,
            Err(
                NvmlError::NoData
                | NvmlError::NotFound
                | NvmlError::NotSupported
                | NvmlError::FailedToLoadSymbol(_),
            ) => Vec::new(),
            Err(error) => return Err(error.into()),
        };
        Ok(buffered
            .into_iter()
            // Some drivers fill the rest of the buffer with nothing.
            .filter(|sample| sample.timestamp > newer_than.unwrap_or(0))
            .map(|sample| Sample { time: sample.timestamp, percent: percent(&sample.value) })
            .collect())
    }

    fn latest(&self, uuid: &str) -> Result<f64, GpuError> {
        Ok(f64::from(self.device(uuid)?.utilization_rates()?.gpu))
    }

    fn memory(&self, uuid: &str) -> Result<Memory, GpuError> {
        let memory = self.device(uuid)?.memory_info()?;
        Ok(Memory { used_bytes: memory.used, total_bytes: memory.total })
    }
}

fn percent(value: &SampleValue) -> f64 {
    let percent = match *value {
        SampleValue::F64(number) => number,
        SampleValue::U32(number) => f64::from(number),
        SampleValue::U64(number) => number as f64,
        SampleValue::I64(number) => number as f64,
    };
    percent.clamp(0.0, 100.0)
}

impl From<NvmlError> for GpuError {
    fn from(error: NvmlError) -> GpuError {
        let reason = match &error {
            NvmlError::LibloadingError(_) | NvmlError::LibraryNotFound => Reason::LibraryNotFound,
            NvmlError::FailedToLoadSymbol(_) | NvmlError::FunctionNotFound => Reason::SymbolNotFound,
            NvmlError::DriverNotLoaded => Reason::DriverNotLoaded,
            NvmlError::LibRmVersionMismatch => Reason::DriverMismatch,
            NvmlError::GpuLost | NvmlError::ResetRequired => Reason::GpuLost,
            NvmlError::NotSupported => Reason::NotSupported,
            // What a container gets that lost its devices is "unknown".
            NvmlError::NoPermission | NvmlError::OperatingSystem | NvmlError::Unknown => Reason::NoPermission,
            NvmlError::NotFound => Reason::NoDevice,
            NvmlError::Timeout => Reason::Timeout,
            _ => Reason::Other,
        };
        GpuError { reason, text: error.to_string() }
    }
}

/// `NVML_DEVICE_MIG_ENABLE`.
const MIG_ENABLED: u32 = 1;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_have_classes() {
        for (error, reason) in [
            (NvmlError::DriverNotLoaded, Reason::DriverNotLoaded),
            (NvmlError::FailedToLoadSymbol("x".to_owned()), Reason::SymbolNotFound),
            (NvmlError::NotSupported, Reason::NotSupported),
            (NvmlError::GpuLost, Reason::GpuLost),
            (NvmlError::Unknown, Reason::NoPermission),
            (NvmlError::LibRmVersionMismatch, Reason::DriverMismatch),
            (NvmlError::Timeout, Reason::Timeout),
            (NvmlError::CorruptedInfoROM, Reason::Other),
        ] {
            assert_eq!(GpuError::from(error).reason, reason);
        }
    }

    #[test]
    fn a_library_that_is_not_there_is_named() {
        let error = Nvml::builder().lib_path("no-such-library.so".as_ref()).init().expect_err("no library");
        let error = GpuError::from(error);
        assert_eq!(error.reason, Reason::LibraryNotFound);
        assert!(error.text.contains("no-such-library.so"), "{error}");
    }

    #[test]
    fn samples_of_every_type_are_percents() {
        let values = [SampleValue::U32(7), SampleValue::U64(7), SampleValue::I64(7), SampleValue::F64(7.0)];
        assert!(values.iter().all(|value| percent(value) == 7.0));
        assert_eq!(percent(&SampleValue::F64(f64::INFINITY)), 100.0);
    }
}
