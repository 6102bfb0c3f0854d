//! A rolling restart under load, as a Deployment does it: a new pod gets ready, the old one is told to end, and clients
//! hear of that a little later. Also what a cold start takes.

use std::path::Path;
use std::time::{Duration, Instant};

use e2e::{Failure, stack};
use serde_json::{Value, json};

use crate::clients::Clients;
use crate::servers::{Kind, Model, OURS, Server, Servers, TUTORIAL};
use crate::settings::Settings;

const PODS: usize = 2;
const PER_SECOND: f64 = 500.0;
const BEFORE: Duration = Duration::from_secs(2);
/// How long after a pod was told to end clients still come to it.
const ENDPOINTS_LAG: Duration = Duration::from_secs(1);
/// A pod's grace period.
const GRACE: Duration = Duration::from_secs(30);

pub(crate) async fn run(settings: &Settings, dir: &Path) -> Result<(), Failure> {
    let kinds = settings.among(&[OURS, TUTORIAL])?;
    let servers = Servers::new(&kinds, dir)?;
    println!(
        "{PODS} pods restarted one after the other under {PER_SECOND} requests a second on kept connections; \
         one that was told to end is still sent requests for {ENDPOINTS_LAG:?}"
    );
    println!(
        "{:14} {:>9} {:>8} {:>9} {:>9} {:>8} {:>13}",
        "server", "requests", "failed", "end s", "start ms", "RSS MB", "installed MB"
    );
    let mut rows = Vec::new();
    for kind in kinds {
        rows.push(restart(&servers, kind).await?);
    }
    stack::write_report("drain", &json!({ "rows": rows }))
}

async fn restart(servers: &Servers, kind: Kind) -> Result<Value, Failure> {
    let mut pods = Vec::new();
    for _ in 0..PODS {
        pods.push(servers.start(kind, Model::Linear, &[]).await?);
    }
    let start = pods[0].ready;
    let rss = pods[0].process.resident_bytes().ok_or("the server ended")?;
    let clients = Clients::new(&addresses(&pods))?;
    let longest_end = tokio::select! {
        () = clients.open_loop(PER_SECOND, LONGER_THAN_ALL) => return Err("the load ended early".into()),
        end = roll(servers, kind, &mut pods, &clients) => end?,
    };
    clients.finish(GRACE).await;
    let answers = clients.take();
    let failed = answers.iter().filter(|answer| answer.code != Some(200)).count() as i64 + clients.open();
    let installed = match kind {
        OURS => std::fs::metadata(stack::program("model-server")?)?.len(),
        _ => size(servers.venv().ok_or("no environment")?)?,
    };
    println!(
        "{:14} {:>9} {failed:>8} {:>9.2} {:>9.0} {:>8.1} {:>13.1}",
        kind.name,
        answers.len(),
        longest_end.as_secs_f64(),
        start.as_secs_f64() * 1e3,
        rss as f64 / 1e6,
        installed as f64 / 1e6
    );
    Ok(json!({
        "server": kind.name,
        "requests": answers.len(),
        "failed": failed,
        "longest_end_seconds": longest_end.as_secs_f64(),
        "start_ms": start.as_secs_f64() * 1e3,
        "idle_rss_bytes": rss,
        "installed_bytes": installed,
    }))
}

/// Restarts all pods under load; the longest time that one took to end.
async fn roll(
    servers: &Servers,
    kind: Kind,
    pods: &mut Vec<Server>,
    clients: &Clients,
) -> Result<Duration, Failure> {
    tokio::time::sleep(BEFORE).await;
    let mut longest = Duration::ZERO;
    for _ in 0..PODS {
        pods.push(servers.start(kind, Model::Linear, &[]).await?);
        clients.set_servers(&addresses(pods));
        let mut old = pods.remove(0);
        old.process.terminate()?;
        let told = Instant::now();
        tokio::time::sleep(ENDPOINTS_LAG).await;
        clients.set_servers(&addresses(pods));
        old.process.wait(GRACE).await?;
        longest = longest.max(told.elapsed());
    }
    tokio::time::sleep(BEFORE).await;
    Ok(longest)
}

fn addresses(pods: &[Server]) -> Vec<&str> {
    pods.iter().map(|pod| pod.address.as_str()).collect()
}

/// All files under a folder.
fn size(folder: &Path) -> Result<u64, Failure> {
    let mut bytes = 0;
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        let about = entry.metadata()?;
        bytes += if about.is_dir() { size(&entry.path())? } else { about.len() };
    }
    Ok(bytes)
}

/// The load ends with the last restart.
const LONGER_THAN_ALL: Duration = Duration::from_hours(1);
