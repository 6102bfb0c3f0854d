//! Clients that leave at any moment: whether the gauges return to zero and every request is counted once.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use e2e::{Failure, stack};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use crate::exposition::{sum, value};
use crate::servers::{Model, OURS, Servers};
use crate::settings::Settings;
use crate::wrk::features_json;

const REQUESTS: u64 = 10_000;
const CLIENTS: u64 = 64;
/// One client of this number waits for its answer.
const PATIENT: u64 = 25;
const LONGEST: Duration = Duration::from_millis(40);
const SETTLING: Duration = Duration::from_secs(2);
const GAUGES: [&str; 3] = ["request_queue_depth", "inference_requests_waiting", "inference_requests_running"];
const OUTCOMES: [&str; 7] = ["ok", "cancelled", "rejected", "invalid", "expired", "error", "draining"];

pub(crate) async fn run(settings: &Settings, dir: &Path) -> Result<(), Failure> {
    let servers = Servers::new(&settings.among(&[OURS])?, dir)?;
    println!("{REQUESTS} requests by {CLIENTS} clients, most of which leave within {LONGEST:?}");
    let mut rows = Vec::new();
    for (model, name) in [(Model::Slow, "slow"), (Model::Linear, "fast")] {
        rows.push(measure(&servers, model, name).await?);
    }
    stack::write_report("aborts", &json!({ "rows": rows }))
}

async fn measure(servers: &Servers, model: Model, name: &str) -> Result<Value, Failure> {
    let server = servers.start(OURS, model, &["--queue-limit=32"]).await?;
    let sent = Arc::new(AtomicU64::new(0));
    let mut clients = JoinSet::new();
    for seed in 0..CLIENTS {
        let share = REQUESTS / CLIENTS + u64::from(seed < REQUESTS % CLIENTS);
        clients.spawn(leave_often(
            server.address.clone(),
            fastrand::Rng::with_seed(seed),
            share,
            Arc::clone(&sent),
        ));
    }
    while let Some(client) = clients.join_next().await {
        client??;
    }
    let sent = sent.load(Ordering::Relaxed);
    // The last ones may still be on their way.
    tokio::time::sleep(SETTLING).await;
    let text = servers.metrics(&server).await?;
    let counted = sum(&text, TOTAL);
    let not_counted = sent as f64 - counted;
    let mut row = json!({"model": name, "sent": sent, "counted": counted, "not_counted": not_counted});
    print!("{name}: sent {sent}, counted {counted}, not counted {not_counted}:");
    for outcome in OUTCOMES {
        let count = value(&text, &format!("{TOTAL}{{model=\"default\",outcome=\"{outcome}\"}}"))?;
        print!(" {outcome} {count}");
        row[outcome] = json!(count);
    }
    print!("; left behind:");
    for gauge in GAUGES {
        let left = value(&text, gauge)?;
        print!(" {gauge} {left}");
        row[gauge] = json!(left);
    }
    println!();
    Ok(row)
}

/// Sends requests, each on a connection of its own, and leaves in the middle of the body, some time after it, or with
/// the answer.
async fn leave_often(
    address: String,
    mut random: fastrand::Rng,
    requests: u64,
    sent: Arc<AtomicU64>,
) -> Result<(), Failure> {
    let body = features_json(768);
    let head = format!("POST /predict HTTP/1.1\r\nhost: bench\r\ncontent-length: {}\r\n\r\n", body.len());
    let whole = format!("{head}{body}");
    for _ in 0..requests {
        let mut stream = TcpStream::connect(&address).await?;
        let length = if random.u64(..4) == 0 { head.len() + random.usize(..body.len()) } else { whole.len() };
        stream.write_all(&whole.as_bytes()[..length]).await?;
        sent.fetch_add(1, Ordering::Relaxed);
        if length == whole.len() && random.u64(..PATIENT) == 0 {
            let mut start = [0; 12];
            stream.read_exact(&mut start).await?;
        } else {
            tokio::time::sleep(LONGEST.mul_f64(random.f64())).await;
        }
    }
    Ok(())
}

const TOTAL: &str = "inference_requests_total";
