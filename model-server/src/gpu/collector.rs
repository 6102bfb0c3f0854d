//! Decides when to open the driver, what to read and what to publish. Time and driver are given.

use std::time::{Duration, Instant};

use super::driver::{Driver, Seen, Session};
use super::error::{GpuError, Reason};
use super::reading::Reading;
use super::visible::{Expectation, Surroundings};
use crate::config::Device;
use crate::telemetry::GpuMetrics;

/// What the collector is told.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Interval at which the utilization of the GPUs is published, averaged over this time.
    pub poll_interval: Duration,
    /// An unknown use is published as 0.
    pub unknown_is_zero: bool,
    /// Where the server computes.
    pub device: Device,
    /// What the machine says.
    pub surroundings: Surroundings,
}

/// Reads the GPUs that are in use.
pub struct Collector {
    driver: Box<dyn Driver>,
    settings: Settings,
    state: State,
    /// How long to wait before the next attempt to open the driver.
    back_off: Duration,
    /// What was logged last, so that it is logged once.
    logged: Option<Reason>,
}

enum State {
    Closed,
    Open(Open),
    /// There is no GPU, and none is expected.
    Off,
}

struct Open {
    session: Box<dyn Session>,
    devices: Vec<Tracked>,
    publish_at: Instant,
    /// Why a device that can be reached has no utilization.
    unreadable: Option<GpuError>,
}

struct Tracked {
    seen: Seen,
    /// The newest sample's time.
    newest: Option<u64>,
    sum: f64,
    count: u32,
}

impl Collector {
    /// Nothing is read yet.
    pub fn new(driver: Box<dyn Driver>, settings: Settings) -> Collector {
        Collector { driver, settings, state: State::Closed, back_off: FIRST_BACK_OFF, logged: None }
    }

    /// Does what is due, and says when to be called again.
    pub fn tick(&mut self, now: Instant, metrics: &GpuMetrics) -> Instant {
        let expectation = self.settings.surroundings.expectation(self.settings.device);
        let result = match &mut self.state {
            State::Off => return now + FOREVER,
            State::Closed if expectation == Expectation::None => {
                return self.switch_off(now, metrics);
            }
            State::Closed => {
                open(&mut *self.driver, &self.settings, now).map(|open| self.state = State::Open(open))
            }
            State::Open(_) => Ok(()),
        };
        let result = result.and_then(|()| match &mut self.state {
            State::Open(open) => {
                open.read(now, &self.settings, metrics)?;
                Ok(open.unreadable.clone())
            }
            State::Closed | State::Off => Ok(None),
        });
        match result {
            Ok(unreadable) => {
                self.back_off = FIRST_BACK_OFF;
                self.log(unreadable.as_ref());
                now + self.settings.poll_interval / SAMPLES_PER_POLL
            }
            Err(error) if error.reason == Reason::LibraryNotFound && expectation == Expectation::IfDriver => {
                self.switch_off(now, metrics)
            }
            Err(error) => {
                // What was read last is not true any more.
                self.state = State::Closed;
                metrics.unknown(self.settings.unknown_is_zero);
                metrics.failed(error.reason);
                self.log(Some(&error));
                let again = now + self.back_off;
                self.back_off = (self.back_off * 2).min(LONGEST_BACK_OFF);
                again
            }
        }
    }

    fn switch_off(&mut self, now: Instant, metrics: &GpuMetrics) -> Instant {
        self.state = State::Off;
        tracing::info!("no GPU in use; reporting its utilization as 0");
        metrics.none_by_choice();
        now + FOREVER
    }

    fn log(&mut self, error: Option<&GpuError>) {
        let reason = error.map(|error| error.reason);
        if reason == self.logged {
            return;
        }
        if let Some(error) = error {
            let (reason, hint) = (error.reason.label(), error.reason.hint());
            tracing::warn!(reason, hint, %error, "cannot read the utilization of the GPUs");
        } else {
            tracing::info!("utilization of the GPUs is readable again");
        }
        self.logged = reason;
    }
}

fn open(driver: &mut dyn Driver, settings: &Settings, now: Instant) -> Result<Open, GpuError> {
    let session = driver.open()?;
    let seen = session.devices()?;
    let chosen = settings.surroundings.choose(&seen, settings.device)?;
    if settings.surroundings.numbers_are_ambiguous(&seen, settings.device) {
        tracing::warn!(
            "GPUs are chosen by number, which CUDA may count in another order; set CUDA_DEVICE_ORDER=PCI_BUS_ID, or name UUIDs"
        );
    }
    for device in &chosen {
        tracing::info!(
            index = device.index,
            uuid = device.uuid,
            partitioned = device.partitioned,
            "GPU in use"
        );
    }
    let devices = chosen.into_iter().map(|seen| Tracked { seen, newest: None, sum: 0.0, count: 0 }).collect();
    Ok(Open { session, devices, publish_at: now, unreadable: None })
}

impl Open {
    /// Reads what is new, and publishes when it is due.
    fn read(&mut self, now: Instant, settings: &Settings, metrics: &GpuMetrics) -> Result<(), GpuError> {
        for device in &mut self.devices {
            device.sample(&*self.session)?;
        }
        if now >= self.publish_at {
            self.publish_at = now + settings.poll_interval;
            self.unreadable = None;
            let mut readings = Vec::with_capacity(self.devices.len());
            for device in &mut self.devices {
                let (reading, why) = device.reading(&*self.session)?;
                if let Some(why) = why {
                    metrics.failed(why.reason);
                    self.unreadable = Some(why);
                }
                readings.push(reading);
            }
            let valid_until = now + settings.poll_interval * MISSED_POLLS;
            metrics.measured(&readings, settings.unknown_is_zero, valid_until);
        }
        Ok(())
    }
}

impl Tracked {
    fn sample(&mut self, session: &dyn Session) -> Result<(), GpuError> {
        if self.seen.partitioned {
            return Ok(());
        }
        let mut samples = session.samples(&self.seen.uuid, self.newest)?;
        if self.newest.is_none() {
            // The driver remembers more than the interval that is averaged.
            samples.sort_by_key(|sample| sample.time);
            samples.drain(..samples.len().saturating_sub(1));
        }
        for sample in samples {
            self.sum += sample.percent;
            self.count += 1;
            self.newest = self.newest.max(Some(sample.time));
        }
        Ok(())
    }

    /// The mean since the last reading, or the newest value if there was no sample; and why there is none at all.
    fn reading(&mut self, session: &dyn Session) -> Result<(Reading, Option<GpuError>), GpuError> {
        let (sum, count) = (std::mem::take(&mut self.sum), std::mem::take(&mut self.count));
        let utilization = if self.seen.partitioned {
            let text = format!("{} is partitioned (MIG)", self.seen.uuid);
            Err(GpuError { reason: Reason::NotSupported, text })
        } else if count > 0 {
            Ok(sum / f64::from(count))
        } else {
            session.latest(&self.seen.uuid)
        };
        let (utilization_percent, why) = match utilization {
            Ok(percent) => (Some(percent), None),
            Err(error) if error.reason == Reason::NotSupported => (None, Some(error)),
            Err(error) => return Err(error),
        };
        let memory = if self.seen.partitioned {
            // The whole card's memory is not the part's.
            None
        } else {
            match session.memory(&self.seen.uuid) {
                Ok(memory) => Some(memory),
                Err(error) if matches!(error.reason, Reason::NotSupported | Reason::SymbolNotFound) => None,
                Err(error) => return Err(error),
            }
        };
        let (index, uuid) = (self.seen.index.to_string(), self.seen.uuid.clone());
        Ok((Reading { index, uuid, utilization_percent, memory }, why))
    }
}

const SAMPLES_PER_POLL: u32 = 5;
/// A reading is valid for this number of polls: then the driver hangs.
const MISSED_POLLS: u32 = 3;
const FIRST_BACK_OFF: Duration = Duration::from_secs(1);
const LONGEST_BACK_OFF: Duration = Duration::from_mins(1);
const FOREVER: Duration = Duration::from_hours(24);
