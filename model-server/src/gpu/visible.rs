//! Which GPUs are the server's: what the environment says, matched with what the driver shows.

use super::driver::Seen;
use super::error::{GpuError, Reason};
use crate::config::Device;

/// What the machine and the environment say before any driver is asked.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Surroundings {
    /// `CUDA_VISIBLE_DEVICES`: numbers or UUIDs that this process may use.
    pub cuda_visible_devices: Option<String>,
    /// `NVIDIA_VISIBLE_DEVICES`: what the container was given.
    pub nvidia_visible_devices: Option<String>,
    /// There is a device file.
    pub device_file: bool,
    /// `CUDA_DEVICE_ORDER=PCI_BUS_ID`: CUDA counts devices as the driver's library does, not the fastest first.
    pub counted_by_bus: bool,
}

/// Whether a GPU should be there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expectation {
    /// None: its use is 0.
    None,
    /// One if there is a driver library.
    IfDriver,
    /// One: if it cannot be read, its use is unknown.
    Gpu,
}

impl Surroundings {
    /// Looks at this machine.
    pub fn look() -> Surroundings {
        let variable = |name| std::env::var(name).ok();
        let devices = std::fs::read_dir("/dev").into_iter().flatten().flatten();
        let device_file = devices
            .filter_map(|entry| entry.file_name().into_string().ok())
            .any(|name| name.starts_with("nvidia") || name == "dxg");
        Surroundings {
            cuda_visible_devices: variable("CUDA_VISIBLE_DEVICES"),
            nvidia_visible_devices: variable("NVIDIA_VISIBLE_DEVICES"),
            device_file,
            counted_by_bus: variable("CUDA_DEVICE_ORDER").as_deref() == Some("PCI_BUS_ID"),
        }
    }

    /// Whether a number may mean one device for CUDA and another one here: UUIDs and one order for both never do.
    pub fn numbers_are_ambiguous(&self, seen: &[Seen], device: Device) -> bool {
        let list = self.cuda_visible_devices.as_deref().unwrap_or_default();
        let numbered = words(list).any(is_number) || (list.is_empty() && matches!(device, Device::Cuda(_)));
        seen.len() > 1 && numbered && !self.counted_by_bus
    }

    /// Whether a GPU is expected here. Without any trace of one, computing on the CPU is a choice, and a use of 0 is
    /// true.
    pub fn expectation(&self, device: Device) -> Expectation {
        let hidden = |list: &Option<String>| list.as_deref().is_some_and(is_none);
        match device {
            Device::Cpu => Expectation::None,
            Device::Cuda(_) => Expectation::Gpu,
            Device::Auto if hidden(&self.nvidia_visible_devices) || hidden(&self.cuda_visible_devices) => {
                Expectation::None
            }
            Device::Auto if self.nvidia_visible_devices.is_some() || self.device_file => Expectation::Gpu,
            Device::Auto => Expectation::IfDriver,
        }
    }

    /// Whether there is a GPU that a model on this device leaves unused without having been told to.
    pub fn leaves_a_gpu_unused(&self, asked_for: Device, computes_on: &str) -> bool {
        computes_on == "cpu" && self.expectation(asked_for) == Expectation::Gpu
    }

    /// Those of the devices that the server may use, in CUDA's order.
    ///
    /// # Errors
    /// None is left.
    pub fn choose(&self, seen: &[Seen], device: Device) -> Result<Vec<Seen>, GpuError> {
        let given = match &self.nvidia_visible_devices {
            Some(list) if !is_all(list) => narrow_to_container(seen, list),
            _ => seen.to_vec(),
        };
        let visible = match &self.cuda_visible_devices {
            Some(list) => narrow_to_process(&given, list),
            None => given,
        };
        let chosen: Vec<Seen> = match device {
            Device::Cuda(Some(number)) => visible.into_iter().skip(number as usize).take(1).collect(),
            Device::Auto | Device::Cpu | Device::Cuda(None) => visible,
        };
        if chosen.is_empty() {
            let text = format!(
                "expected a GPU that this process may use, found {} and none of them chosen by CUDA_VISIBLE_DEVICES={}, \
                 NVIDIA_VISIBLE_DEVICES={}",
                seen.len(),
                self.cuda_visible_devices.as_deref().unwrap_or("(unset)"),
                self.nvidia_visible_devices.as_deref().unwrap_or("(unset)"),
            );
            return Err(GpuError { reason: Reason::NoDevice, text });
        }
        Ok(chosen)
    }
}

/// The container was given these. The driver inside one shows no others and counts them from 0, so numbers only mean
/// something where more are shown than were given.
fn narrow_to_container(seen: &[Seen], list: &str) -> Vec<Seen> {
    let wanted: Vec<&str> = words(list).collect();
    let named = wanted.iter().any(|word| !is_number(word));
    if !named && seen.len() <= wanted.len() {
        return seen.to_vec();
    }
    seen.iter().filter(|device| wanted.iter().any(|word| is_called(device, word))).cloned().collect()
}

/// CUDA's rule: in the order of the list, up to the first that is not there.
fn narrow_to_process(given: &[Seen], list: &str) -> Vec<Seen> {
    words(list)
        .map_while(|word| {
            if is_number(word) {
                word.parse::<usize>().ok().and_then(|number| given.get(number))
            } else {
                given.iter().find(|device| is_called(device, word))
            }
        })
        .cloned()
        .collect()
}

fn is_called(device: &Seen, word: &str) -> bool {
    if is_number(word) {
        return word.parse() == Ok(device.index);
    }
    // CUDA takes the beginning of a UUID. A part of a device (MIG) names its device in the older form only; in the
    // newer one it may be a part of any that has parts.
    let word = match word.strip_prefix("MIG-") {
        Some(part) if part.starts_with("GPU-") => part.split('/').next().unwrap_or(part),
        Some(_) => return device.partitioned,
        None => word,
    };
    word.len() > "GPU-".len() && device.uuid.to_lowercase().starts_with(&word.to_lowercase())
}

fn words(list: &str) -> impl Iterator<Item = &str> {
    list.split(',').map(str::trim).filter(|word| !word.is_empty())
}

fn is_number(word: &str) -> bool {
    word.bytes().all(|byte| byte.is_ascii_digit())
}

fn is_all(list: &str) -> bool {
    list.trim().eq_ignore_ascii_case("all")
}

/// Values by which the container's runtime and CUDA give no device.
fn is_none(list: &str) -> bool {
    let list = list.trim();
    list.is_empty() || ["none", "void", "NoDevFiles", "-1"].iter().any(|word| list.eq_ignore_ascii_case(word))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen() -> Vec<Seen> {
        let device = |index, uuid: &str| Seen { index, uuid: uuid.to_owned(), partitioned: false };
        vec![device(0, "GPU-aaaa-1"), device(1, "GPU-bbbb-2"), device(2, "GPU-bbcc-3")]
    }

    fn chosen(cuda: Option<&str>, nvidia: Option<&str>, device: Device) -> Vec<u32> {
        let surroundings = Surroundings {
            cuda_visible_devices: cuda.map(str::to_owned),
            nvidia_visible_devices: nvidia.map(str::to_owned),
            ..Surroundings::default()
        };
        let devices = surroundings.choose(&seen(), device).unwrap_or_default();
        devices.into_iter().map(|device| device.index).collect()
    }

    #[test]
    fn cuda_and_the_container_choose_by_number_or_uuid() {
        for (cuda, nvidia, expected) in [
            (None, None, &[0, 1, 2][..]),
            (None, Some("all"), &[0, 1, 2]),
            (Some("2,0"), None, &[2, 0]),
            (Some("GPU-bbcc"), None, &[2]),
            (Some("gpu-BBBB-2, 0"), None, &[1, 0]),
            (Some("1,7,0"), None, &[1]),
            (Some("7"), None, &[]),
            (Some("MIG-GPU-aaaa-1/7/0"), None, &[0]),
            (None, Some("GPU-bbbb-2"), &[1]),
            (None, Some("1,2"), &[1, 2]),
            (Some("0"), Some("1,2"), &[1]),
            // As many as were given: the driver inside the container counts them from 0.
            (None, Some("4,5,6"), &[0, 1, 2]),
        ] {
            assert_eq!(chosen(cuda, nvidia, Device::Auto), expected, "{cuda:?} {nvidia:?}");
        }
        assert_eq!(chosen(Some("2,0"), None, Device::Cuda(Some(1))), [0]);
        assert_eq!(chosen(None, None, Device::Cuda(Some(3))), [0; 0]);
    }

    #[test]
    fn a_gpu_is_unused_only_if_nothing_says_that_it_should_be() {
        let with_gpu = Surroundings { device_file: true, ..Surroundings::default() };
        assert!(with_gpu.leaves_a_gpu_unused(Device::Auto, "cpu"));
        assert!(!with_gpu.leaves_a_gpu_unused(Device::Auto, "cuda:0"));
        assert!(!with_gpu.leaves_a_gpu_unused(Device::Cpu, "cpu"), "it was told to compute on the CPU");
        let hidden = Surroundings { nvidia_visible_devices: Some("void".to_owned()), ..with_gpu };
        assert!(!hidden.leaves_a_gpu_unused(Device::Auto, "cpu"), "the container was given none");
        assert!(!Surroundings::default().leaves_a_gpu_unused(Device::Auto, "cpu"), "there is none");
    }

    #[test]
    fn numbers_mean_the_same_only_in_the_same_order() {
        let listed = |list: &str, counted_by_bus| Surroundings {
            cuda_visible_devices: Some(list.to_owned()),
            counted_by_bus,
            ..Surroundings::default()
        };
        assert!(listed("1", false).numbers_are_ambiguous(&seen(), Device::Auto));
        assert!(!listed("1", true).numbers_are_ambiguous(&seen(), Device::Auto));
        assert!(!listed("0", false).numbers_are_ambiguous(&seen()[..1], Device::Auto));
        assert!(!listed("GPU-bbbb", false).numbers_are_ambiguous(&seen(), Device::Cuda(Some(0))));
        assert!(Surroundings::default().numbers_are_ambiguous(&seen(), Device::Cuda(Some(1))));
        assert!(!Surroundings::default().numbers_are_ambiguous(&seen(), Device::Auto));
    }

    #[test]
    fn what_is_missing_is_named() {
        let surroundings =
            Surroundings { cuda_visible_devices: Some("9".to_owned()), ..Surroundings::default() };
        let error = surroundings.choose(&seen(), Device::Auto).expect_err("none left");
        assert_eq!(error.reason, Reason::NoDevice);
        assert!(error.text.contains("found 3") && error.text.contains("CUDA_VISIBLE_DEVICES=9"), "{error}");
    }

    #[test]
    fn a_part_of_a_device_is_found_in_a_device_with_parts() {
        let mut seen = seen();
        seen[1].partitioned = true;
        let surroundings =
            Surroundings { cuda_visible_devices: Some("MIG-5c4c-77".to_owned()), ..Surroundings::default() };
        let chosen = surroundings.choose(&seen, Device::Auto).expect("one");
        assert_eq!(chosen, seen[1..2]);
    }

    #[test]
    fn a_trace_of_a_gpu_means_that_one_is_expected() {
        let nothing = Surroundings::default();
        assert_eq!(nothing.expectation(Device::Auto), Expectation::IfDriver);
        assert_eq!(nothing.expectation(Device::Cuda(None)), Expectation::Gpu);
        let file = Surroundings { device_file: true, ..Surroundings::default() };
        assert_eq!(file.expectation(Device::Auto), Expectation::Gpu);
        assert_eq!(file.expectation(Device::Cpu), Expectation::None);
        for (given, expected) in [
            ("all", Expectation::Gpu),
            ("0", Expectation::Gpu),
            ("none", Expectation::None),
            ("void", Expectation::None),
            ("", Expectation::None),
        ] {
            let container =
                Surroundings { nvidia_visible_devices: Some(given.to_owned()), ..Surroundings::default() };
            assert_eq!(container.expectation(Device::Auto), expected, "{given}");
        }
        let hidden =
            Surroundings { cuda_visible_devices: Some("-1".to_owned()), device_file: true, ..nothing };
        assert_eq!(hidden.expectation(Device::Auto), Expectation::None);
    }
}
