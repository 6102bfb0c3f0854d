//! The GPU's collector over a driver that the test writes the lines of: what is not known is absent, and comes back.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use model_server::config::Device;
use model_server::gpu::collector::{Collector, Settings};
use model_server::gpu::visible::Surroundings;
use model_server::gpu::{Driver, GpuError, Memory, Reason, Sample, Seen, Session};
use model_server::telemetry::{Capacity, Format, Identity, LATENCY_BUCKETS, Telemetry};

/// What the driver says, from now on.
#[derive(Clone, Default)]
struct Script {
    open: Option<Reason>,
    seen: Vec<Seen>,
    /// By UUID: the driver's buffer, or why there is none.
    samples: HashMap<String, Result<Vec<Sample>, Reason>>,
    memory: Option<Memory>,
    opened: usize,
}

#[derive(Clone, Default)]
struct Scripted(Arc<Mutex<Script>>);

impl Scripted {
    fn change(&self, change: impl FnOnce(&mut Script)) {
        change(&mut self.0.lock().expect("not poisoned"));
    }

    /// Two devices that are idle.
    fn two_devices() -> Scripted {
        let scripted = Scripted::default();
        scripted.change(|script| {
            for (index, uuid) in [(0, "GPU-a"), (1, "GPU-b")] {
                script.seen.push(Seen { index, uuid: uuid.to_owned(), partitioned: false });
                script.samples.insert(uuid.to_owned(), Ok(vec![Sample { time: 1, percent: 0.0 }]));
            }
            script.memory = Some(Memory { used_bytes: 3 << 30, total_bytes: 80 << 30 });
        });
        scripted
    }

    /// Adds samples to the buffer of a device, a second apart.
    fn busy(&self, uuid: &str, percents: &[f64]) {
        self.change(|script| {
            let Some(Ok(buffer)) = script.samples.get_mut(uuid) else { panic!("a readable device") };
            for percent in percents {
                let time = buffer.last().map_or(1, |last| last.time) + 1_000_000;
                buffer.push(Sample { time, percent: *percent });
            }
        });
    }
}

impl Driver for Scripted {
    fn open(&mut self) -> Result<Box<dyn Session>, GpuError> {
        let mut script = self.0.lock().expect("not poisoned");
        script.opened += 1;
        match script.open {
            Some(reason) => Err(error(reason)),
            // A session is the thread's that opened it.
            None => Ok(Box::new(OpenScript(Rc::new(RefCell::new(self.clone()))))),
        }
    }
}

struct OpenScript(Rc<RefCell<Scripted>>);

impl OpenScript {
    fn script(&self) -> Script {
        self.0.borrow().0.lock().expect("not poisoned").clone()
    }
}

impl Session for OpenScript {
    fn devices(&self) -> Result<Vec<Seen>, GpuError> {
        Ok(self.script().seen)
    }

    fn samples(&self, uuid: &str, newer_than: Option<u64>) -> Result<Vec<Sample>, GpuError> {
        let samples = self.script().samples.remove(uuid).unwrap_or(Err(Reason::NoDevice)).map_err(error)?;
        Ok(samples
            .into_iter()
            .filter(|sample| newer_than.is_none_or(|newest| sample.time > newest))
            .collect())
    }

    fn latest(&self, uuid: &str) -> Result<f64, GpuError> {
        let samples = self.script().samples.remove(uuid).unwrap_or(Err(Reason::NoDevice)).map_err(error)?;
        samples.last().map(|sample| sample.percent).ok_or_else(|| error(Reason::NotSupported))
    }

    fn memory(&self, _uuid: &str) -> Result<Memory, GpuError> {
        self.script().memory.ok_or_else(|| error(Reason::NotSupported))
    }
}

fn error(reason: Reason) -> GpuError {
    GpuError { reason, text: "as the test says".to_owned() }
}

struct Bench {
    scripted: Scripted,
    collector: Collector,
    telemetry: Telemetry,
    now: Instant,
}

const POLL: Duration = Duration::from_secs(5);

impl Bench {
    fn new(scripted: &Scripted, change: impl FnOnce(&mut Settings)) -> Bench {
        let capacity = Capacity { workers: 1, queue_limit: 1, max_batch_size: 1, window: POLL };
        let identity = Identity {
            model: "m".to_owned(),
            version: "1".to_owned(),
            backend: "onnx",
            device: "cpu".to_owned(),
        };
        let surroundings = Surroundings { device_file: true, ..Surroundings::default() };
        let mut settings =
            Settings { poll_interval: POLL, unknown_is_zero: false, device: Device::Auto, surroundings };
        change(&mut settings);
        Bench {
            scripted: scripted.clone(),
            collector: Collector::new(Box::new(scripted.clone()), settings),
            telemetry: Telemetry::new(capacity, &identity, &LATENCY_BUCKETS),
            now: Instant::now(),
        }
    }

    /// Lets this much time pass, with all that falls due in it.
    fn pass(&mut self, time: Duration) {
        let end = self.now + time;
        loop {
            let next = self.collector.tick(self.now, self.telemetry.gpu());
            assert!(next > self.now, "time must pass");
            if next > end {
                self.now = end;
                return;
            }
            self.now = next;
        }
    }

    fn value(&self, series: &str) -> Option<f64> {
        let text = String::from_utf8(self.telemetry.text(Format::Text)).expect("text");
        let line = text.lines().find(|line| line.rsplit_once(' ').is_some_and(|(name, _)| name == series));
        line.map(|line| line.rsplit(' ').next().expect("a value").parse().expect("a number"))
    }

    fn errors(&self, reason: &str) -> f64 {
        self.value(&format!(r#"gpu_metrics_errors_total{{reason="{reason}"}}"#))
            .expect("there from the start")
    }

    fn opened(&self) -> usize {
        self.scripted.0.lock().expect("not poisoned").opened
    }
}

#[test]
fn the_mean_is_over_devices_and_over_all_samples_of_the_interval() {
    let scripted = Scripted::two_devices();
    let mut bench = Bench::new(&scripted, |_| {});
    assert_eq!(bench.value("gpu_utilization_percent"), None);
    bench.pass(Duration::ZERO);
    assert_eq!(bench.value("gpu_utilization_percent"), Some(0.0));
    assert_eq!(bench.value("gpu_metrics_up"), Some(1.0));
    // A burst that the newest sample alone would not show.
    scripted.busy("GPU-a", &[100.0, 100.0, 60.0, 0.0]);
    scripted.busy("GPU-b", &[20.0]);
    bench.pass(POLL);
    bench.pass(Duration::ZERO);
    assert_eq!(bench.value(r#"gpu_device_utilization_percent{gpu="0",uuid="GPU-a"}"#), Some(65.0));
    assert_eq!(bench.value(r#"gpu_device_utilization_percent{gpu="1",uuid="GPU-b"}"#), Some(20.0));
    assert_eq!(bench.value("gpu_utilization_percent"), Some(42.5));
    // An interval without a sample: what the driver says last.
    bench.pass(POLL);
    bench.pass(Duration::ZERO);
    assert_eq!(bench.value("gpu_utilization_percent"), Some(10.0));
    let memory = |name| bench.value(&format!(r#"gpu_memory_{name}_bytes{{gpu="1",uuid="GPU-b"}}"#));
    assert_eq!(memory("used"), Some(f64::from(3) * f64::from(1 << 30)));
    assert_eq!(memory("total"), Some(f64::from(80) * f64::from(1 << 30)));
}

#[test]
fn what_the_driver_remembers_from_before_the_start_does_not_count() {
    let scripted = Scripted::two_devices();
    for uuid in ["GPU-a", "GPU-b"] {
        scripted.busy(uuid, &[100.0, 100.0, 100.0, 10.0]);
    }
    let mut bench = Bench::new(&scripted, |_| {});
    bench.pass(Duration::ZERO);
    assert_eq!(bench.value("gpu_utilization_percent"), Some(10.0));
}

#[test]
fn only_the_devices_of_this_process_count() {
    let scripted = Scripted::two_devices();
    scripted.busy("GPU-a", &[100.0]);
    scripted.busy("GPU-b", &[30.0]);
    let mut bench = Bench::new(&scripted, |settings| {
        settings.surroundings.cuda_visible_devices = Some("GPU-b".to_owned());
    });
    bench.pass(Duration::ZERO);
    assert_eq!(bench.value("gpu_utilization_percent"), Some(30.0));
    assert_eq!(bench.value(r#"gpu_device_utilization_percent{gpu="0",uuid="GPU-a"}"#), None);
    let mut nobody = Bench::new(&scripted, |settings| {
        settings.surroundings.cuda_visible_devices = Some("GPU-zzz".to_owned());
    });
    nobody.pass(Duration::ZERO);
    assert_eq!(nobody.value("gpu_utilization_percent"), None);
    assert_eq!(nobody.errors("no_device"), 1.0);
}

#[test]
fn a_gpu_that_is_expected_and_cannot_be_read_is_unknown_and_tried_again_less_and_less() {
    let scripted = Scripted::two_devices();
    scripted.change(|script| script.open = Some(Reason::DriverNotLoaded));
    let mut bench = Bench::new(&scripted, |_| {});
    bench.pass(Duration::from_mins(10));
    assert_eq!(bench.value("gpu_utilization_percent"), None);
    assert_eq!(bench.value("gpu_metrics_up"), Some(0.0));
    // After 0, 1, 3, 7, 15, 31, 63 s and then every minute.
    assert_eq!(bench.opened(), 15);
    assert_eq!(bench.errors("driver_not_loaded"), 15.0);
    scripted.change(|script| script.open = None);
    bench.pass(Duration::from_mins(1));
    assert_eq!(bench.value("gpu_utilization_percent"), Some(0.0));
    assert_eq!(bench.value("gpu_metrics_up"), Some(1.0));
}

#[test]
fn a_device_that_is_lost_takes_its_series_along_and_may_come_back() {
    let scripted = Scripted::two_devices();
    let mut bench = Bench::new(&scripted, |_| {});
    bench.pass(POLL);
    assert_eq!(bench.value("gpu_metrics_up"), Some(1.0));
    scripted.change(|script| drop(script.samples.insert("GPU-b".to_owned(), Err(Reason::GpuLost))));
    bench.pass(Duration::from_secs(1));
    for series in [
        "gpu_utilization_percent",
        r#"gpu_device_utilization_percent{gpu="0",uuid="GPU-a"}"#,
        r#"gpu_memory_used_bytes{gpu="1",uuid="GPU-b"}"#,
    ] {
        assert_eq!(bench.value(series), None, "{series}");
    }
    assert_eq!(bench.value("gpu_metrics_up"), Some(0.0));
    assert!(bench.errors("gpu_lost") >= 1.0);
    scripted.change(|script| {
        script.samples.insert("GPU-b".to_owned(), Ok(vec![Sample { time: 9, percent: 50.0 }]));
    });
    bench.pass(Duration::from_secs(10));
    assert_eq!(bench.value("gpu_metrics_up"), Some(1.0));
    assert!(bench.value("gpu_utilization_percent").is_some());
}

#[test]
fn a_partitioned_device_has_no_utilization_and_does_not_count_as_idle() {
    let scripted = Scripted::two_devices();
    scripted.change(|script| script.seen[1].partitioned = true);
    scripted.busy("GPU-a", &[80.0]);
    let mut bench = Bench::new(&scripted, |_| {});
    bench.pass(Duration::ZERO);
    assert_eq!(bench.value(r#"gpu_device_utilization_percent{gpu="0",uuid="GPU-a"}"#), Some(80.0));
    assert_eq!(bench.value(r#"gpu_device_utilization_percent{gpu="1",uuid="GPU-b"}"#), None);
    assert_eq!(bench.value(r#"gpu_memory_used_bytes{gpu="1",uuid="GPU-b"}"#), None);
    assert_eq!(bench.value("gpu_utilization_percent"), None);
    assert_eq!(bench.value("gpu_metrics_up"), Some(0.0));
    assert_eq!(bench.errors("not_supported"), 1.0);
}

#[test]
fn without_a_trace_of_a_gpu_its_use_is_0_by_choice() {
    let scripted = Scripted::default();
    scripted.change(|script| script.open = Some(Reason::LibraryNotFound));
    let mut bench = Bench::new(&scripted, |settings| settings.surroundings = Surroundings::default());
    bench.pass(Duration::from_mins(10));
    assert_eq!(bench.value("gpu_utilization_percent"), Some(0.0));
    assert_eq!(bench.value("gpu_metrics_up"), Some(0.0));
    assert_eq!((bench.errors("library_not_found"), bench.opened()), (0.0, 1));
    // A library without a driver is a trace.
    scripted.change(|script| script.open = Some(Reason::DriverNotLoaded));
    let mut bench = Bench::new(&scripted, |settings| settings.surroundings = Surroundings::default());
    bench.pass(Duration::ZERO);
    assert_eq!(bench.value("gpu_utilization_percent"), None);
    // On the CPU by order no GPU is read.
    let scripted = Scripted::two_devices();
    scripted.busy("GPU-a", &[100.0]);
    let mut bench = Bench::new(&scripted, |settings| settings.device = Device::Cpu);
    bench.pass(Duration::ZERO);
    assert_eq!((bench.value("gpu_utilization_percent"), bench.opened()), (Some(0.0), 0));
}

#[test]
fn unknown_is_0_only_for_those_who_want_it() {
    let scripted = Scripted::default();
    scripted.change(|script| script.open = Some(Reason::LibraryNotFound));
    let mut bench = Bench::new(&scripted, |settings| settings.unknown_is_zero = true);
    bench.pass(Duration::ZERO);
    assert_eq!(bench.value("gpu_utilization_percent"), Some(0.0));
    assert_eq!(bench.value("gpu_metrics_up"), Some(0.0));
    assert_eq!(bench.errors("library_not_found"), 1.0);
}

#[test]
fn a_driver_that_hangs_does_not_freeze_the_last_value() {
    let scripted = Scripted::two_devices();
    let mut bench = Bench::new(&scripted, |settings| settings.poll_interval = Duration::from_millis(5));
    bench.pass(Duration::ZERO);
    assert_eq!(bench.value("gpu_metrics_up"), Some(1.0));
    // The collector is not called any more.
    let deadline = Instant::now() + Duration::from_secs(20);
    while bench.value("gpu_utilization_percent").is_some() {
        assert!(Instant::now() < deadline, "the value is still there");
        std::thread::yield_now();
    }
    assert_eq!(bench.value("gpu_metrics_up"), Some(0.0));
    assert_eq!(bench.errors("timeout"), 1.0);
}
