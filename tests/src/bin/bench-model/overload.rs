//! Three times the load that a server can bear: what is still answered and how fast, how fast the rest is refused, and
//! what memory does.

use std::path::Path;
use std::time::{Duration, Instant};

use e2e::{Failure, stack};
use serde_json::{Value, json};

use crate::clients::{Answer, Clients, quantile_ms};
use crate::servers::{Kind, Model, OURS, Servers, TUTORIAL};
use crate::settings::Settings;

/// Clients of the closed loop that finds the capacity.
const CLIENTS: usize = 8;
const TIMES: f64 = 3.0;
const QUEUE_LIMIT: usize = 64;
const WARM_UP: Duration = Duration::from_secs(2);
/// How long those that still wait after the load are waited for.
const PATIENCE: Duration = Duration::from_mins(1);

pub(crate) async fn run(settings: &Settings, dir: &Path) -> Result<(), Failure> {
    let time = settings.seconds.unwrap_or(Duration::from_secs(10));
    let kinds = settings.among(&[OURS, TUTORIAL])?;
    let servers = Servers::new(&kinds, dir)?;
    println!(
        "{TIMES} times what {CLIENTS} clients get, for {} s; ours with --queue-limit {QUEUE_LIMIT}",
        time.as_secs()
    );
    println!(
        "{:14} {:>7} {:>9} {:>9} {:>7} {:>9} {:>9} {:>9} {:>8} {:>9} {:>8} {:>10} {:>10}",
        "server",
        "peak/s",
        "offered/s",
        "good/s",
        "% peak",
        "p50 ms",
        "p99 ms",
        "bound ms",
        "refused",
        "its p99",
        "no answer",
        "RSS before",
        "RSS most"
    );
    let mut rows = Vec::new();
    for kind in kinds {
        rows.push(measure(&servers, kind, time).await?);
    }
    stack::write_report("overload", &json!({ "rows": rows }))
}

async fn measure(servers: &Servers, kind: Kind, time: Duration) -> Result<Value, Failure> {
    let limit = format!("--queue-limit={QUEUE_LIMIT}");
    let server = servers.start(kind, Model::Slow, &["--max-batch-size=1", &limit]).await?;
    let peak = {
        let mut clients = Clients::new(&[&server.address])?;
        clients.closed_loop(CLIENTS);
        tokio::time::sleep(WARM_UP).await;
        clients.take();
        let started = Instant::now();
        tokio::time::sleep(time).await;
        clients.take().len() as f64 / started.elapsed().as_secs_f64()
    };
    let memory = || server.process.resident_bytes().ok_or("the server ended");
    let rss_before = memory()?;
    let clients = Clients::new(&[&server.address])?;
    // The queue fills meanwhile.
    clients.open_loop(TIMES * peak, WARM_UP).await;
    let from = Instant::now();
    clients.open_loop(TIMES * peak, time).await;
    let (until, mut rss_most) = (Instant::now(), memory()?);
    clients.finish(PATIENCE).await;
    rss_most = rss_most.max(memory()?);
    let answers = clients.take();
    let seconds = (until - from).as_secs_f64();
    let good = |answer: &&Answer| answer.code == Some(200);
    let in_time = answers.iter().filter(good).filter(|answer| answer.ended > from && answer.ended <= until);
    let good_per_second = in_time.count() as f64 / seconds;
    let mut accepted: Vec<Duration> = answers.iter().filter(good).map(|answer| answer.wait).collect();
    let refused = answers.iter().filter(|answer| answer.code.is_some_and(|code| code != 200));
    let mut refused: Vec<Duration> = refused.map(|answer| answer.wait).collect();
    let unanswered = answers.iter().filter(|answer| answer.code.is_none()).count() as i64 + clients.open();
    let [p50, p99] = [0.5, 0.99].map(|share| quantile_ms(&mut accepted, share));
    let refused_p99 = quantile_ms(&mut refused, 0.99);
    // What waits in front of an accepted request, what is computed, and the request itself.
    let bound = (kind == OURS).then(|| (QUEUE_LIMIT as f64 + 2.0) / peak * 1e3);
    println!(
        "{:14} {peak:>7.1} {:>9.1} {good_per_second:>9.1} {:>7.0} {p50:>9.1} {p99:>9.1} {:>9} {:>8} {:>9} {unanswered:>9} \
         {:>10.1} {:>10.1}",
        kind.name,
        TIMES * peak,
        100.0 * good_per_second / peak,
        bound.map_or("none".to_owned(), |bound| format!("{bound:.0}")),
        refused.len(),
        if refused.is_empty() { "-".to_owned() } else { format!("{refused_p99:.2}") },
        rss_before as f64 / 1e6,
        rss_most as f64 / 1e6,
    );
    Ok(json!({
        "server": kind.name,
        "peak_per_second": peak,
        "offered_per_second": TIMES * peak,
        "good_per_second": good_per_second,
        "accepted_p50_ms": p50,
        "accepted_p99_ms": p99,
        "accepted_bound_ms": bound,
        "refused": refused.len(),
        "refused_p99_ms": (!refused.is_empty()).then_some(refused_p99),
        "unanswered": unanswered,
        "rss_before_bytes": rss_before,
        "rss_most_bytes": rss_most,
    }))
}
