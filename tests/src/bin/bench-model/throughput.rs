//! Requests a second, and what they wait, by wrk: every server in turn, several rounds.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use e2e::{Failure, median, stack};
use serde_json::json;

use crate::servers::{KINDS, Kind, Model, NOOP, OURS, Servers, TUNED, TUTORIAL, TUTORIAL_TWICE};
use crate::settings::Settings;
use crate::wrk::{self, Measured, TUTORIAL_FEATURES, Wrk};

const FEATURES: [usize; 2] = [TUTORIAL_FEATURES, 768];
const CONCURRENCIES: [usize; 4] = [1, 16, 64, 256];
const WARM_UP: Duration = Duration::from_secs(1);

/// One row of the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Key {
    features: usize,
    concurrency: usize,
    kind: Kind,
}

/// Rounds of each measurement, with the memory after it; and how long each start took, in milliseconds.
#[derive(Default)]
struct Table {
    rounds: BTreeMap<Key, Vec<(Measured, u64)>>,
    starts: BTreeMap<Kind, Vec<f64>>,
}

struct Row {
    requests_per_second: f64,
    p50_ms: f64,
    p99_ms: f64,
    rss_bytes: u64,
    start_ms: f64,
}

pub(crate) async fn run(settings: &Settings, dir: &Path) -> Result<(), Failure> {
    let wrk = Wrk::new(dir)?;
    let kinds = settings.among(&KINDS)?;
    let servers = Servers::new(&kinds, dir)?;
    let time = settings.seconds.unwrap_or(Duration::from_secs(2));
    let mut table = Table::default();
    for round in 1..=settings.rounds {
        for kind in kinds.iter().copied() {
            println!("round {round} of {}: {} x{}", settings.rounds, kind.name, kind.workers);
            let server = servers.start(kind, Model::Linear, &[]).await?;
            table.starts.entry(kind).or_default().push(server.ready.as_secs_f64() * 1e3);
            for features in FEATURES {
                let body = wrk::body(dir, features)?;
                wrk.run(&server.address, &body, 64, WARM_UP).await?;
                for concurrency in CONCURRENCIES {
                    let measured = wrk.run(&server.address, &body, concurrency, time).await?;
                    let memory = server.process.resident_bytes().ok_or("the server ended")?;
                    let key = Key { features, concurrency, kind };
                    table.rounds.entry(key).or_default().push((measured, memory));
                }
            }
        }
    }
    table.print();
    table.write()
}

impl Table {
    /// Medians of the rounds.
    fn row(&self, key: &Key) -> Option<Row> {
        let rounds = self.rounds.get(key)?;
        let of = |pick: fn(&Measured) -> f64| median(rounds.iter().map(|(measured, _)| pick(measured)));
        Some(Row {
            requests_per_second: of(Measured::requests_per_second),
            p50_ms: of(|round| round.p50_ms),
            p99_ms: of(|round| round.p99_ms),
            rss_bytes: median(rounds.iter().map(|(_, memory)| *memory as f64)) as u64,
            start_ms: median(self.starts.get(&key.kind)?.iter().copied()),
        })
    }

    fn print(&self) {
        println!("\nmedians of the rounds; wrk takes a part of the same cores, from every server alike");
        println!(
            "{:14} {:>2} {:>8} {:>4} {:>9} {:>9} {:>9} {:>7} {:>9}",
            "server", "x", "features", "c", "req/s", "p50 ms", "p99 ms", "RSS MB", "start ms"
        );
        for key in self.rounds.keys() {
            let Some(row) = self.row(key) else { continue };
            println!(
                "{:14} {:>2} {:>8} {:>4} {:>9.0} {:>9.2} {:>9.2} {:>7.1} {:>9.0}",
                key.kind.name,
                key.kind.workers,
                key.features,
                key.concurrency,
                row.requests_per_second,
                row.p50_ms,
                row.p99_ms,
                row.rss_bytes as f64 / 1e6,
                row.start_ms
            );
        }
        println!("\nours against the others, by requests a second");
        println!(
            "{:>8} {:>4} {:>10} {:>10} {:>12} {:>11}",
            "features", "c", "fastapi x1", "fastapi x2", "starlette x2", "% of noop"
        );
        for key in self.rounds.keys().filter(|key| key.kind == OURS) {
            let rate = |kind| self.row(&Key { kind, ..*key }).map_or(f64::NAN, |row| row.requests_per_second);
            let ours = rate(OURS);
            println!(
                "{:>8} {:>4} {:>10.1} {:>10.1} {:>12.1} {:>11.0}",
                key.features,
                key.concurrency,
                ours / rate(TUTORIAL),
                ours / rate(TUTORIAL_TWICE),
                ours / rate(TUNED),
                100.0 * ours / rate(NOOP)
            );
        }
    }

    fn write(&self) -> Result<(), Failure> {
        let rows: Vec<_> = self
            .rounds
            .keys()
            .filter_map(|key| {
                let row = self.row(key)?;
                Some(json!({
                    "server": key.kind.name,
                    "workers": key.kind.workers,
                    "features": key.features,
                    "concurrency": key.concurrency,
                    "requests_per_second": row.requests_per_second,
                    "p50_ms": row.p50_ms,
                    "p99_ms": row.p99_ms,
                    "rss_bytes": row.rss_bytes,
                    "start_ms": row.start_ms,
                }))
            })
            .collect();
        stack::write_report("model", &json!({ "rows": rows }))
    }
}
