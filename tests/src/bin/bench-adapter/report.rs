//! The table, the ratios, and `target/reports/adapter.json`.

use std::collections::BTreeMap;
use std::time::Duration;

use e2e::{Failure, median, stack};
use serde_json::json;

use crate::measure::Measured;
use crate::world::{OURS, PROMETHEUS, SERVERS, UNSHARED, UNTHROTTLED};

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Key {
    pub(crate) path: String,
    pub(crate) pods: usize,
    pub(crate) concurrency: usize,
    pub(crate) server: &'static str,
}

/// Rounds of each measurement, and each start.
#[derive(Debug, Default)]
pub(crate) struct Report {
    rounds: BTreeMap<Key, Vec<Measured>>,
    starts: BTreeMap<&'static str, Vec<(Duration, u64)>>,
}

impl Report {
    pub(crate) fn add(&mut self, key: Key, measured: Measured) {
        self.rounds.entry(key).or_default().push(measured);
    }

    /// A server was ready so long after its start, with so much memory.
    pub(crate) fn started(&mut self, server: &'static str, ready: Duration, bytes: u64) {
        self.starts.entry(server).or_default().push((ready, bytes));
    }

    fn median(&self, key: &Key) -> Option<Measured> {
        let rounds = self.rounds.get(key)?;
        let of = |pick: fn(&Measured) -> f64| median(rounds.iter().map(pick));
        Some(Measured {
            requests_per_second: of(|round| round.requests_per_second),
            p50_ms: of(|round| round.p50_ms),
            p99_ms: of(|round| round.p99_ms),
            cpu_ms: of(|round| round.cpu_ms),
            api_server_cpu_ms: of(|round| round.api_server_cpu_ms),
            api_server_requests: of(|round| round.api_server_requests),
            prometheus_cpu_ms: of(|round| round.prometheus_cpu_ms),
            rss_bytes: of(|round| round.rss_bytes as f64) as u64,
        })
    }

    pub(crate) fn print(&self) {
        println!("\nmedians of the rounds; CPU is milliseconds for each request");
        println!(
            "{:32} {:20} {:>4} {:>3} {:>9} {:>9} {:>9} {:>8} {:>9} {:>9} {:>8} {:>7}",
            "server",
            "path",
            "pods",
            "c",
            "req/s",
            "p50 ms",
            "p99 ms",
            "own CPU",
            "API CPU",
            "API reqs",
            "Prom CPU",
            "RSS MB"
        );
        for key in self.rounds.keys() {
            let Some(row) = self.median(key) else { continue };
            println!(
                "{:32} {:20} {:>4} {:>3} {:>9.1} {:>9.2} {:>9.2} {:>8.2} {:>9.2} {:>9.2} {:>8.2} {:>7.1}",
                key.server,
                key.path,
                key.pods,
                key.concurrency,
                row.requests_per_second,
                row.p50_ms,
                row.p99_ms,
                row.cpu_ms,
                row.api_server_cpu_ms,
                row.api_server_requests,
                row.prometheus_cpu_ms,
                row.rss_bytes as f64 / 1e6
            );
        }
        println!("\nours against");
        println!(
            "{:20} {:20} {:>4} {:>3} {:>24} {:>24} {:>16}",
            "server",
            "path",
            "pods",
            "c",
            "unthrottled, times req/s",
            "Prometheus, % of req/s",
            "p50 ms beyond it"
        );
        for key in self.rounds.keys().filter(|key| [OURS, UNSHARED].contains(&key.server)) {
            let other = |server| self.median(&Key { server, ..key.clone() });
            if let (Some(ours), Some(upstream), Some(direct)) =
                (self.median(key), other(UNTHROTTLED), other(PROMETHEUS))
            {
                println!(
                    "{:20} {:20} {:>4} {:>3} {:>24.1} {:>24.0} {:>16.2}",
                    key.server,
                    key.path,
                    key.pods,
                    key.concurrency,
                    ours.requests_per_second / upstream.requests_per_second,
                    100.0 * ours.requests_per_second / direct.requests_per_second,
                    ours.p50_ms - direct.p50_ms
                );
            }
        }
        println!();
        for server in SERVERS {
            if let Some((ready, bytes)) = self.start(server) {
                println!("{server}: ready {:.0} ms after its start, {:.1} MB then", ready * 1e3, bytes / 1e6);
            }
        }
    }

    /// Seconds and bytes.
    fn start(&self, server: &str) -> Option<(f64, f64)> {
        let starts = self.starts.get(server)?;
        let ready = median(starts.iter().map(|(ready, _)| ready.as_secs_f64()));
        Some((ready, median(starts.iter().map(|(_, bytes)| *bytes as f64))))
    }

    pub(crate) fn write(&self) -> Result<(), Failure> {
        let rows: Vec<_> = self
            .rounds
            .keys()
            .filter_map(|key| {
                let row = self.median(key)?;
                Some(json!({
                    "server": key.server,
                    "path": key.path,
                    "pods": key.pods,
                    "concurrency": key.concurrency,
                    "requests_per_second": row.requests_per_second,
                    "p50_ms": row.p50_ms,
                    "p99_ms": row.p99_ms,
                    "cpu_ms_per_request": row.cpu_ms,
                    "kube_apiserver_cpu_ms_per_request": row.api_server_cpu_ms,
                    "kube_apiserver_requests_per_request": row.api_server_requests,
                    "prometheus_cpu_ms_per_request": row.prometheus_cpu_ms,
                    "rss_bytes": row.rss_bytes,
                }))
            })
            .collect();
        let starts: BTreeMap<_, _> = SERVERS
            .iter()
            .filter_map(|server| {
                let (ready, bytes) = self.start(server)?;
                Some((server, json!({"ready_ms": ready * 1e3, "idle_rss_bytes": bytes})))
            })
            .collect();
        stack::write_report("adapter", &json!({"rows": rows, "starts": starts}))
    }
}
