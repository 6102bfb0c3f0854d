//! Closed-loop clients for a while: what they waited, and what the servers spent on it.

use std::time::{Duration, Instant};

use e2e::Failure;
use reqwest::Client;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use crate::world::{Question, Target, World};

/// What came of one measurement.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Measured {
    pub(crate) requests_per_second: f64,
    pub(crate) p50_ms: f64,
    pub(crate) p99_ms: f64,
    /// CPU time of the server itself, for each request.
    pub(crate) cpu_ms: f64,
    pub(crate) api_server_cpu_ms: f64,
    /// Requests to kube-apiserver by anybody, for each request.
    pub(crate) api_server_requests: f64,
    pub(crate) prometheus_cpu_ms: f64,
    pub(crate) rss_bytes: u64,
}

/// What everybody has spent so far.
struct Spent {
    server: Duration,
    api_server: Duration,
    api_server_requests: f64,
    prometheus: Duration,
}

impl Spent {
    async fn so_far(world: &World, target: &Target) -> Result<Spent, Failure> {
        let (_, metrics) = world.cluster.get("/metrics").await?;
        let counts = metrics.lines().filter(|line| line.starts_with("apiserver_request_total{"));
        let counts = counts.filter_map(|line| line.rsplit_once(' ')?.1.parse::<f64>().ok());
        Ok(Spent {
            api_server_requests: counts.sum(),
            server: target.cpu_time(world),
            api_server: world.cluster.api_server_cpu(),
            prometheus: world.prometheus.cpu_time(),
        })
    }
}

pub(crate) async fn measure(
    world: &World,
    target: &Target,
    question: &Question,
    concurrency: usize,
    time: Duration,
) -> Result<Measured, Failure> {
    let before = Spent::so_far(world, target).await?;
    let started = Instant::now();
    let (finished, mut waits_of) = mpsc::unbounded_channel();
    let mut clients = JoinSet::new();
    for _ in 0..concurrency {
        let request = target.request(question).build()?;
        clients.spawn(client(target.http.clone(), request, finished.clone()));
    }
    drop(finished);
    let mut waits = Vec::new();
    let deadline = tokio::time::sleep(time);
    tokio::pin!(deadline);
    loop {
        tokio::select! {
            // A throttled server may need longer for its first answer.
            () = &mut deadline, if !waits.is_empty() => break,
            wait = waits_of.recv() => waits.push(wait.ok_or("every client has stopped")??),
        }
    }
    // Clients that still wait leave: their answers would come after the time.
    clients.shutdown().await;
    let took = started.elapsed().as_secs_f64();
    let after = Spent::so_far(world, target).await?;
    waits.sort_unstable();
    let count = waits.len() as f64;
    let quantile = |share: f64| waits[((count - 1.0) * share) as usize].as_secs_f64() * 1e3;
    let each = |before: Duration, after: Duration| after.saturating_sub(before).as_secs_f64() * 1e3 / count;
    Ok(Measured {
        requests_per_second: count / took,
        p50_ms: quantile(0.5),
        p99_ms: quantile(0.99),
        cpu_ms: each(before.server, after.server),
        api_server_cpu_ms: each(before.api_server, after.api_server),
        api_server_requests: (after.api_server_requests - before.api_server_requests) / count,
        prometheus_cpu_ms: each(before.prometheus, after.prometheus),
        rss_bytes: target.resident_bytes(),
    })
}

/// Sends the next request when the last one is answered, without an end.
async fn client(
    http: Client,
    request: reqwest::Request,
    finished: mpsc::UnboundedSender<Result<Duration, Failure>>,
) {
    loop {
        let asked = Instant::now();
        let answered = async {
            let request = request.try_clone().ok_or("the request's body cannot be sent twice")?;
            let answer = http.execute(request).await?;
            let code = answer.status();
            let body = answer.bytes().await?;
            if code.is_success() {
                return Ok(asked.elapsed());
            }
            Err(format!("{code}: {}", String::from_utf8_lossy(&body)).into())
        };
        if finished.send(answered.await).is_err() {
            return;
        }
    }
}
