//! Values of flags. Each parser says what it expects.

use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::time::Duration;

use super::model::{Device, VersionPolicy};
use crate::telemetry::{LATENCY_BUCKETS, TUTORIAL_BUCKETS};
use crate::tensor::{DataType, Dim, TensorSpec};

pub(super) fn address(text: &str) -> Result<SocketAddr, String> {
    text.parse().map_err(|_| "an address with a port, as 0.0.0.0:8080".to_owned())
}

pub(super) fn at_least_one(text: &str) -> Result<NonZeroUsize, String> {
    text.parse().map_err(|_| "a whole number, 1 or more".to_owned())
}

/// Each may take an operating system's thread, and memory with it.
pub(super) fn threads(text: &str) -> Result<NonZeroUsize, String> {
    let threads = at_least_one(text).ok().filter(|threads| threads.get() <= MOST_THREADS);
    threads.ok_or_else(|| format!("a whole number from 1 to {MOST_THREADS}"))
}

/// More than the processors of any machine of today.
const MOST_THREADS: usize = 1024;

pub(super) fn count(text: &str) -> Result<usize, String> {
    text.parse().map_err(|_| "a whole number, 0 or more".to_owned())
}

/// 0 is none.
pub(super) fn optional_count(text: &str) -> Result<Option<u32>, String> {
    let number: u32 = text.parse().map_err(|_| "a whole number, 0 or more".to_owned())?;
    Ok(Some(number).filter(|number| *number > 0))
}

pub(super) fn bytes(text: &str) -> Result<usize, String> {
    at_least_one(text).map(NonZeroUsize::get).map_err(|_| "a number of bytes, 1 or more".to_owned())
}

pub(super) fn time(text: &str) -> Result<Duration, String> {
    let expected = || "a time, as 5, 1.5s, 20ms or 200us".to_owned();
    let units = [("us", 1e-6), ("ms", 1e-3), ("s", 1.0), ("m", 60.0)];
    let (number, unit) = units
        .into_iter()
        .find_map(|(unit, seconds)| Some((text.strip_suffix(unit)?, seconds)))
        .unwrap_or((text, 1.0));
    let number: f64 = number.parse().map_err(|_| expected())?;
    Duration::try_from_secs_f64(number * unit).ok().filter(|time| *time <= LONGEST).ok_or_else(expected)
}

/// Longer than anything sensible, and short enough to be added to any time.
const LONGEST: Duration = Duration::from_hours(365 * 24);

pub(super) fn positive_time(text: &str) -> Result<Duration, String> {
    let expected = || "a time of 1ms or more, as 5, 1.5s or 20ms".to_owned();
    time(text).ok().filter(|time| *time >= Duration::from_millis(1)).ok_or_else(expected)
}

/// 0 is none.
pub(super) fn optional_time(text: &str) -> Result<Option<Duration>, String> {
    time(text).map(|time| Some(time).filter(|time| !time.is_zero()))
}

pub(super) fn bounds(text: &str) -> Result<Vec<f64>, String> {
    match text {
        "default" => return Ok(LATENCY_BUCKETS.to_vec()),
        "tutorial" => return Ok(TUTORIAL_BUCKETS.to_vec()),
        _ => {}
    }
    let bounds: Option<Vec<f64>> = text.split(',').map(|bound| bound.trim().parse().ok()).collect();
    bounds
        .filter(|bounds| bounds.len() <= MOST_BOUNDS && bounds.is_sorted_by(|a, b| a < b))
        .filter(|bounds| bounds.iter().all(|bound| *bound > 0.0 && bound.is_finite()))
        .ok_or_else(|| "default, tutorial, or rising numbers above 0 between commas".to_owned())
}

/// Each is a series of its own in three histograms.
const MOST_BOUNDS: usize = 100;

pub(super) fn name(text: &str) -> Result<String, String> {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    if !text.is_empty() && !text.starts_with('.') && text.chars().all(plain) {
        Ok(text.to_owned())
    } else {
        Err("letters, digits, '.', '_' and '-', no '.' first".to_owned())
    }
}

/// `NAME:TYPE:DIMS;...`, as `ids:INT64:-1,16;scale:FP32:`.
pub(super) fn tensors(text: &str) -> Result<Vec<TensorSpec>, String> {
    let expected = || "tensors as ids:INT64:-1,16;scale:FP32: with -1 for what requests choose".to_owned();
    let tensor = |text: &str| {
        let mut parts = text.rsplitn(3, ':');
        let (dims, datatype, name) = (parts.next()?, parts.next()?, parts.next()?);
        let dim = |text: &str| match text.trim() {
            "-1" => Some(Dim::Dynamic),
            size => size.parse().ok().map(Dim::Fixed),
        };
        let dims = Some(dims.trim()).filter(|dims| !dims.is_empty());
        let shape = dims.map_or(Some(Vec::new()), |dims| dims.split(',').map(dim).collect());
        let name = Some(name.trim()).filter(|name| !name.is_empty())?.to_owned();
        let datatype = DataType::named(datatype.trim())?;
        Some(TensorSpec { name, datatype, shape: Some(shape?), optional: false })
    };
    let tensors: Option<Vec<TensorSpec>> = text.split(';').map(tensor).collect();
    let tensors = tensors.ok_or_else(expected)?;
    let again = |(number, tensor): (usize, &TensorSpec)| {
        tensors[..number].iter().any(|other| other.name == tensor.name)
    };
    if tensors.iter().enumerate().any(again) {
        return Err("a name for each tensor".to_owned());
    }
    Ok(tensors)
}

pub(super) fn version_policy(text: &str) -> Result<VersionPolicy, String> {
    if text == "latest" {
        return Ok(VersionPolicy::Latest);
    }
    text.parse().map(VersionPolicy::Exactly).map_err(|_| "latest or a number".to_owned())
}

pub(super) fn device(text: &str) -> Result<Device, String> {
    match text {
        "auto" => Ok(Device::Auto),
        "cpu" => Ok(Device::Cpu),
        "cuda" => Ok(Device::Cuda(None)),
        _ => text
            .strip_prefix("cuda:")
            .and_then(|number| number.parse().ok())
            .map(|number| Device::Cuda(Some(number)))
            .ok_or_else(|| "auto, cpu, cuda or cuda:N".to_owned()),
    }
}

pub(super) fn choice<T: Copy>(text: &str, choices: &[(&str, T)]) -> Result<T, String> {
    let found = choices.iter().find(|(name, _)| *name == text).map(|(_, value)| *value);
    found.ok_or_else(|| {
        let names: Vec<&str> = choices.iter().map(|(name, _)| *name).collect();
        names.join(" or ")
    })
}
