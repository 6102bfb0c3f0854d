//! Clients that remember what each request waited for and got, and how many requests are open at the moment.

use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::{Duration, Instant};

use e2e::{Failure, until};
use tokio::task::JoinSet;
use tokio::time::MissedTickBehavior;

use crate::wrk::{TUTORIAL_FEATURES, features_json};

/// One request that is over.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Answer {
    pub(crate) ended: Instant,
    pub(crate) wait: Duration,
    /// `None` when there was no whole answer.
    pub(crate) code: Option<u16>,
}

/// Clients of `/predict`, until dropped.
pub(crate) struct Clients {
    shared: Arc<Shared>,
    tasks: JoinSet<()>,
}

struct Shared {
    http: reqwest::Client,
    urls: RwLock<Vec<String>>,
    next: AtomicUsize,
    open: AtomicI64,
    answers: Mutex<Vec<Answer>>,
}

impl Clients {
    pub(crate) fn new(addresses: &[&str]) -> Result<Clients, Failure> {
        let shared = Shared {
            http: reqwest::Client::builder().no_proxy().build()?,
            urls: RwLock::default(),
            next: AtomicUsize::new(0),
            open: AtomicI64::new(0),
            answers: Mutex::default(),
        };
        let clients = Clients { shared: Arc::new(shared), tasks: JoinSet::new() };
        clients.set_servers(addresses);
        Ok(clients)
    }

    /// Requests go to these in turn from now on.
    pub(crate) fn set_servers(&self, addresses: &[&str]) {
        let urls = addresses.iter().map(|address| format!("http://{address}/predict")).collect();
        *self.shared.urls.write().unwrap_or_else(PoisonError::into_inner) = urls;
    }

    /// A number of clients send the next request when the last one is answered: a closed loop.
    pub(crate) fn closed_loop(&mut self, clients: usize) {
        for _ in 0..clients {
            let shared = Arc::clone(&self.shared);
            self.tasks.spawn(async move {
                loop {
                    shared.ask().await;
                }
            });
        }
    }

    /// A number of requests a second for a while, however many are open: an open loop.
    pub(crate) async fn open_loop(&self, per_second: f64, time: Duration) {
        let started = Instant::now();
        let mut ticks = tokio::time::interval(Duration::from_secs_f64(1.0 / per_second));
        // Those that come late are sent all the same: the server must not slow its clients down.
        ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
        while started.elapsed() < time {
            ticks.tick().await;
            tokio::spawn(self.shared.ask());
        }
    }

    /// Waits until no request is open, but not longer than this.
    pub(crate) async fn finish(&self, limit: Duration) {
        // Those that are open then are counted as open.
        let _ = until("no request is open", limit, || async { Ok(self.open() == 0) }).await;
    }

    /// Requests sent and not answered.
    pub(crate) fn open(&self) -> i64 {
        self.shared.open.load(Ordering::SeqCst)
    }

    /// What came so far, and forgets it.
    pub(crate) fn take(&self) -> Vec<Answer> {
        std::mem::take(&mut self.shared.answers.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Shared {
    /// One request, open from now on.
    fn ask(self: &Arc<Shared>) -> impl Future<Output = ()> + use<> {
        let shared = Arc::clone(self);
        shared.open.fetch_add(1, Ordering::SeqCst);
        let asked = Instant::now();
        let request = shared.http.post(shared.next_url()).header("content-type", "application/json");
        let request = request.body(features_json(TUTORIAL_FEATURES));
        async move {
            let code = match request.send().await {
                Ok(response) => {
                    let code = response.status().as_u16();
                    // The whole answer counts, not only its beginning.
                    response.bytes().await.ok().map(|_| code)
                }
                Err(_) => None,
            };
            shared.open.fetch_sub(1, Ordering::SeqCst);
            let ended = Instant::now();
            let answer = Answer { ended, wait: ended - asked, code };
            shared.answers.lock().unwrap_or_else(PoisonError::into_inner).push(answer);
        }
    }

    fn next_url(&self) -> String {
        let urls = self.urls.read().unwrap_or_else(PoisonError::into_inner);
        urls[self.next.fetch_add(1, Ordering::Relaxed) % urls.len()].clone()
    }
}

/// What so large a share of them did not exceed, in milliseconds; NaN for none.
pub(crate) fn quantile_ms(waits: &mut [Duration], share: f64) -> f64 {
    waits.sort_unstable();
    let last = waits.len().saturating_sub(1) as f64;
    waits.get((last * share).round() as usize).map_or(f64::NAN, |wait| wait.as_secs_f64() * 1e3)
}
