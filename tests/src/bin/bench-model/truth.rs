//! Whether a server's signals are true: the depth it exports against the requests that its clients have open, its
//! latency against what they waited. A slow model, and as many clients all the time.

use std::path::Path;
use std::time::Duration;

use e2e::{Failure, stack};
use serde_json::{Value, json};

use crate::clients::{Clients, quantile_ms};
use crate::exposition::{Histogram, value};
use crate::servers::{Kind, Model, OURS, Servers, TUTORIAL};
use crate::settings::Settings;

const CLIENTS: usize = 32;
const WARM_UP: Duration = Duration::from_secs(3);
const SCRAPE_PAUSE: Duration = Duration::from_millis(250);

/// A server, rows of one execution at most, and the flags for that.
const CASES: [(Kind, usize, &[&str]); 3] =
    [(OURS, 1, &["--max-batch-size=1"]), (OURS, CLIENTS, &["--max-batch-size=32"]), (TUTORIAL, 1, &[])];

pub(crate) async fn run(settings: &Settings, dir: &Path) -> Result<(), Failure> {
    let time = settings.seconds.unwrap_or(Duration::from_secs(10));
    let kinds = settings.among(&[OURS, TUTORIAL])?;
    let servers = Servers::new(&kinds, dir)?;
    println!(
        "{CLIENTS} clients that always have a request open; depth: what the server says against what is open"
    );
    println!(
        "{:14} {:>5} {:>6} {:>7} {:>10} {:>10} {:>8} {:>10} {:>10} {:>10} {:>10} {:>8} {:>7}",
        "server",
        "batch",
        "req/s",
        "scrapes",
        "open",
        "depth",
        "off by",
        "p50 ms",
        "says",
        "p95 ms",
        "says",
        "buckets",
        "right %"
    );
    let mut rows = Vec::new();
    for (kind, batch, flags) in CASES.into_iter().filter(|(kind, ..)| kinds.contains(kind)) {
        rows.push(measure(&servers, kind, batch, flags, time).await?);
    }
    stack::write_report("truth", &json!({ "rows": rows }))
}

async fn measure(
    servers: &Servers,
    kind: Kind,
    batch: usize,
    flags: &[&str],
    time: Duration,
) -> Result<Value, Failure> {
    let server = servers.start(kind, Model::Slow, flags).await?;
    let mut clients = Clients::new(&[&server.address])?;
    clients.closed_loop(CLIENTS);
    tokio::time::sleep(WARM_UP).await;
    let before = Histogram::of(&servers.metrics(&server).await?, LATENCY);
    clients.take();
    let started = tokio::time::Instant::now();
    let mut scrapes = Vec::new();
    let mut last = String::new();
    while started.elapsed() < time {
        tokio::time::sleep(SCRAPE_PAUSE).await;
        // What is true may change while the server is asked: the answer is off by what lies outside of both.
        let open = clients.open();
        last = servers.metrics(&server).await?;
        let both = [open as f64, clients.open() as f64];
        let depth = value(&last, "request_queue_depth")?;
        let off = (depth - both[0].max(both[1])).max(both[0].min(both[1]) - depth).max(0.0);
        scrapes.push((both[0], depth, off));
    }
    let took = started.elapsed().as_secs_f64();
    let mut waits = Vec::new();
    for answer in clients.take() {
        if answer.code != Some(200) {
            return Err(format!("a request to {} was answered {:?}", kind.name, answer.code).into());
        }
        waits.push(answer.wait);
    }
    let said = Histogram::of(&last, LATENCY).since(&before);
    let seconds: Vec<f64> = waits.iter().map(Duration::as_secs_f64).collect();
    let right = said.overlap(&said.counting(&seconds));
    let mean = |pick: fn(&(f64, f64, f64)) -> f64| {
        scrapes.iter().map(pick).sum::<f64>() / scrapes.len().max(1) as f64
    };
    let (open, depth) = (mean(|scrape| scrape.0), mean(|scrape| scrape.1));
    let off = scrapes.iter().map(|scrape| scrape.2).fold(0.0, f64::max);
    let [p50, p95] = [0.5, 0.95].map(|share| quantile_ms(&mut waits, share));
    let [said_p50, said_p95] = [0.5, 0.95].map(|share| said.quantile_ms(share));
    let buckets = said.buckets_between(p95, said_p95);
    let rate = waits.len() as f64 / took;
    println!(
        "{:14} {batch:>5} {rate:>6.1} {:>7} {open:>10.1} {depth:>10.1} {off:>8.0} {p50:>10.2} {said_p50:>10.2} \
         {p95:>10.2} {said_p95:>10.2} {buckets:>8} {:>7.1}",
        kind.name,
        scrapes.len(),
        100.0 * right
    );
    Ok(json!({
        "server": kind.name,
        "max_batch_size": batch,
        "clients": CLIENTS,
        "requests_per_second": rate,
        "scrapes": scrapes.len(),
        "open_mean": open,
        "depth_mean": depth,
        "depth_off_by_at_most": off,
        "client_p50_ms": p50,
        "server_p50_ms": said_p50,
        "client_p95_ms": p95,
        "server_p95_ms": said_p95,
        "p95_buckets_apart": buckets,
        "share_in_the_right_bucket": right,
    }))
}

const LATENCY: &str = "inference_latency_seconds";
