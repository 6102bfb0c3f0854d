//! How long probes and scrapes wait while a server is saturated. Each comes on a connection of its own, as a kubelet's
//! do.

use std::path::Path;
use std::time::{Duration, Instant};

use e2e::{Failure, stack};
use serde_json::{Value, json};

use crate::clients::{Clients, quantile_ms};
use crate::servers::{Kind, Model, OURS, Server, Servers, TUTORIAL};
use crate::settings::Settings;
use crate::wrk::{self, Wrk};

/// Clients of the slow model, whose requests wait for it.
const CLIENTS: usize = 32;
/// Connections of the fast model, whose requests keep every core busy.
const CONNECTIONS: usize = 256;
const WARM_UP: Duration = Duration::from_secs(2);
const PAUSE: Duration = Duration::from_millis(100);
const ENDPOINTS: [&str; 2] = ["/health", "/metrics"];
/// What a kubelet waits for when nothing else is said.
const KUBELET_PATIENCE: Duration = Duration::from_secs(1);

pub(crate) async fn run(settings: &Settings, dir: &Path) -> Result<(), Failure> {
    let time = settings.seconds.unwrap_or(Duration::from_secs(10));
    let kinds = settings.among(&[OURS, TUTORIAL])?;
    let servers = Servers::new(&kinds, dir)?;
    println!(
        "slow: {CLIENTS} clients and a slow model; fast: {CONNECTIONS} connections of wrk with 768 features"
    );
    println!(
        "{:14} {:>5} {:10} {:>7} {:>9} {:>9} {:>9} {:>10}",
        "server", "model", "endpoint", "probes", "p50 ms", "p99 ms", "most ms", "above 1 s"
    );
    let wrk = Wrk::new(dir)?;
    let body = wrk::body(dir, 768)?;
    let mut rows = Vec::new();
    for kind in kinds {
        let server = servers.start(kind, Model::Slow, &[]).await?;
        let mut clients = Clients::new(&[&server.address])?;
        clients.closed_loop(CLIENTS);
        rows.extend(probe(&server, kind, "slow", time).await?);
        drop((clients, server));
        let server = servers.start(kind, Model::Linear, &[]).await?;
        let load = wrk.run(&server.address, &body, CONNECTIONS, LONGER_THAN_ALL);
        tokio::select! {
            probed = probe(&server, kind, "fast", time) => rows.extend(probed?),
            ended = load => return Err(format!("wrk ended early: {ended:?}").into()),
        }
    }
    stack::write_report("probes", &json!({ "rows": rows }))
}

/// Both endpoints at the same time.
async fn probe(
    server: &Server,
    kind: Kind,
    model: &'static str,
    time: Duration,
) -> Result<Vec<Value>, Failure> {
    tokio::time::sleep(WARM_UP).await;
    let [health, metrics] = ENDPOINTS.map(|endpoint| waits(server, endpoint, time));
    let (health, metrics) = tokio::try_join!(health, metrics)?;
    let mut rows = Vec::new();
    for (endpoint, mut waits) in ENDPOINTS.into_iter().zip([health, metrics]) {
        let [p50, p99, most] = [0.5, 0.99, 1.0].map(|share| quantile_ms(&mut waits, share));
        let late = waits.iter().filter(|wait| **wait > KUBELET_PATIENCE).count();
        println!(
            "{:14} {model:>5} {endpoint:10} {:>7} {p50:>9.2} {p99:>9.2} {most:>9.2} {late:>10}",
            kind.name,
            waits.len()
        );
        rows.push(json!({
            "server": kind.name,
            "model": model,
            "endpoint": endpoint,
            "probes": waits.len(),
            "p50_ms": p50,
            "p99_ms": p99,
            "most_ms": most,
            "above_one_second": late,
        }));
    }
    Ok(rows)
}

async fn waits(server: &Server, endpoint: &str, time: Duration) -> Result<Vec<Duration>, Failure> {
    let http = reqwest::Client::builder().no_proxy().pool_max_idle_per_host(0).build()?;
    let url = format!("http://{}{endpoint}", server.address);
    let started = Instant::now();
    let mut waits = Vec::new();
    while started.elapsed() < time {
        let asked = Instant::now();
        http.get(&url).send().await?.error_for_status()?.bytes().await?;
        waits.push(asked.elapsed());
        tokio::time::sleep(PAUSE).await;
    }
    Ok(waits)
}

/// The load ends with the probes.
const LONGER_THAN_ALL: Duration = Duration::from_hours(1);
