//! A kubelet's probe of `/livez`, many times a second, from a thread of its own: what it waits shows for how long the
//! server's threads were busy with something else.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use e2e::Failure;
use reqwest::Client;

/// Probes until dropped.
pub(crate) struct Probe {
    waits: Arc<Mutex<Vec<Duration>>>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Probe {
    /// Probes a server. What it answers before its first answer of 200 does not count.
    pub(crate) fn start(client: Client, url: &str) -> Result<Probe, Failure> {
        let (waits, stop) = (Arc::<Mutex<Vec<Duration>>>::default(), Arc::<AtomicBool>::default());
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let url = format!("{url}/livez");
        let (kept, stopped) = (Arc::clone(&waits), Arc::clone(&stop));
        let thread = std::thread::spawn(move || {
            runtime.block_on(async {
                while !stopped.load(Ordering::Relaxed) {
                    let asked = Instant::now();
                    let answer = client.get(&url).timeout(LONGEST).send().await;
                    let is_alive = answer.is_ok_and(|answer| answer.status().is_success());
                    // An answer that does not come in time waited that long.
                    if is_alive || asked.elapsed() >= LONGEST {
                        lock(&kept).push(asked.elapsed());
                    }
                    tokio::time::sleep(BETWEEN).await;
                }
            });
        });
        Ok(Probe { waits, stop, thread: Some(thread) })
    }

    /// What probes have waited so far.
    pub(crate) fn waits(&self) -> Vec<Duration> {
        lock(&self.waits).clone()
    }
}

impl Drop for Probe {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // A probe that panicked has printed why.
            let _ = thread.join();
        }
    }
}

fn lock(waits: &Mutex<Vec<Duration>>) -> MutexGuard<'_, Vec<Duration>> {
    waits.lock().unwrap_or_else(PoisonError::into_inner)
}

const BETWEEN: Duration = Duration::from_millis(5);
const LONGEST: Duration = Duration::from_secs(30);
