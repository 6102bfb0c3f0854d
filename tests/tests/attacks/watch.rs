//! What an attack does to a server: its memory, its health as a kubelet asks for it, and its answers to a caller with
//! manners.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use e2e::Failure;
use e2e::process::Process;
use futures_util::future::BoxFuture;
use serde_json::{Value, json};

/// How a server is watched. Both answer whether all was well.
pub(crate) struct Watch {
    /// One probe over a connection of its own.
    pub(crate) health: Box<dyn Fn() -> BoxFuture<'static, bool> + Send>,
    /// One request of a caller that keeps its connection.
    pub(crate) caller: Box<dyn Fn() -> BoxFuture<'static, bool> + Send>,
}

/// What was seen during an attack and after it.
#[derive(Debug)]
pub(crate) struct Row {
    pub(crate) what: &'static str,
    /// The most memory that was resident.
    pub(crate) peak_bytes: u64,
    /// Resident at the end.
    pub(crate) after_bytes: u64,
    pub(crate) longest_health: Duration,
    pub(crate) probes: Count,
    pub(crate) calls: Count,
}

/// Requests, and those that failed or took longer than a second.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Count {
    all: usize,
    bad: usize,
}

/// Watches a server while `attack` runs. The watcher has a thread of its own: what it waits for is the server, not the
/// attackers' turn on this program's threads.
pub(crate) async fn during(
    what: &'static str,
    process: &Process,
    watch: Watch,
    attack: impl Future<Output = Result<(), Failure>>,
) -> Result<Row, Failure> {
    process.forget_peak()?;
    let over = Arc::new(AtomicBool::new(false));
    let watcher = {
        let over = Arc::clone(&over);
        std::thread::spawn(move || -> std::io::Result<_> {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            Ok(runtime.block_on(look(&watch, &over)))
        })
    };
    let attacked = attack.await;
    over.store(true, Ordering::Relaxed);
    let watched = tokio::task::spawn_blocking(move || watcher.join()).await?;
    let (longest_health, probes, calls) = watched.map_err(|_| "the watcher failed")??;
    attacked.map_err(|error| format!("{what}: {error}"))?;
    let ended = || format!("{what}: the server ended: {}", process.tail());
    Ok(Row {
        what,
        peak_bytes: process.peak_resident_bytes().ok_or_else(ended)?,
        after_bytes: process.resident_bytes().ok_or_else(ended)?,
        longest_health,
        probes,
        calls,
    })
}

async fn look(watch: &Watch, over: &AtomicBool) -> (Duration, Count, Count) {
    let probing = async {
        let (mut longest, mut count) = (Duration::ZERO, Count::default());
        while count.all < 3 || !over.load(Ordering::Relaxed) {
            let started = Instant::now();
            let well = tokio::time::timeout(LONGEST, (watch.health)()).await.unwrap_or(false);
            longest = longest.max(started.elapsed());
            count.add(well && started.elapsed() <= A_SECOND);
            // The pace of this prober, and below of this caller.
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        (longest, count)
    };
    let calling = async {
        let mut count = Count::default();
        while count.all < 20 || !over.load(Ordering::Relaxed) {
            let started = Instant::now();
            let well = tokio::time::timeout(LONGEST, (watch.caller)()).await.unwrap_or(false);
            count.add(well && started.elapsed() <= A_SECOND);
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        count
    };
    let ((longest, probes), calls) = tokio::join!(probing, calling);
    (longest, probes, calls)
}

impl Count {
    fn add(&mut self, well: bool) {
        self.all += 1;
        self.bad += usize::from(!well);
    }

    fn good_percent(self) -> f64 {
        100.0 * (self.all - self.bad) as f64 / self.all.max(1) as f64
    }
}

impl Row {
    /// The head of the table.
    pub(crate) const HEAD: &'static str = "attack                                              MiB peak  after   longest probe  probes failed   calls well";

    pub(crate) fn text(&self) -> String {
        format!(
            "{:50} {:9.1} {:6.1}  {:10.0} ms  {:5} of {:4}   {:5.1} % of {}",
            self.what,
            self.peak_bytes as f64 / MIB,
            self.after_bytes as f64 / MIB,
            self.longest_health.as_secs_f64() * 1000.0,
            self.probes.bad,
            self.probes.all,
            self.calls.good_percent(),
            self.calls.all
        )
    }

    pub(crate) fn report(&self) -> Value {
        json!({
            "attack": self.what,
            "peak_bytes": self.peak_bytes,
            "after_bytes": self.after_bytes,
            "longest_probe_seconds": self.longest_health.as_secs_f64(),
            "probes": {"all": self.probes.all, "bad": self.probes.bad},
            "calls": {"all": self.calls.all, "bad": self.calls.bad},
        })
    }

    /// What is wrong with it, for a server that may have so much memory.
    pub(crate) fn faults(&self, limit_bytes: u64) -> Vec<String> {
        let mut faults = Vec::new();
        if self.peak_bytes > limit_bytes {
            faults.push(format!(
                "{}: expected at most {limit_bytes} bytes of memory, found {}",
                self.what, self.peak_bytes
            ));
        }
        if self.probes.bad > 0 {
            faults.push(format!(
                "{}: {} of {} probes failed or took over 1 s",
                self.what, self.probes.bad, self.probes.all
            ));
        }
        if self.calls.good_percent() < 99.0 {
            faults.push(format!(
                "{}: {} of {} calls failed or took over 1 s",
                self.what, self.calls.bad, self.calls.all
            ));
        }
        faults
    }
}

/// A kubelet's patience by default.
const A_SECOND: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_secs(10);
pub(crate) const MIB: f64 = 1_048_576.0;
