//! The rows, as a table and in `target/reports/scale.json`.

use std::path::Path;
use std::time::Duration;

use e2e::{Failure, median};
use serde::Serialize;
use serde_json::json;

/// What was measured of a server in one case. `None` where the case does not measure it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Row {
    pub(crate) server: &'static str,
    pub(crate) case: &'static str,
    /// Pods, metric names, rules, autoscalers or series.
    pub(crate) n: usize,
    pub(crate) namespaces: usize,
    /// Whether autoscalers share queries.
    pub(crate) sharing: bool,
    /// What it may have.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) memory_limit_bytes: Option<u64>,
    pub(crate) rss_bytes: u64,
    pub(crate) peak_rss_bytes: u64,
    pub(crate) cpu_seconds: f64,
    pub(crate) ready_ms: f64,
    pub(crate) livez_p99_ms: Option<f64>,
    pub(crate) queries_per_15s: Option<f64>,
    pub(crate) access_reviews_per_15s: Option<f64>,
    pub(crate) p50_ms: Option<f64>,
    pub(crate) p99_ms: Option<f64>,
}

impl Row {
    fn is_of(&self, other: &Row) -> bool {
        // Only reads of autoscalers are measured with and without.
        let sharing = |row: &Row| row.sharing && self.case == "hpas";
        (self.case, self.n, self.namespaces, sharing(self))
            == (other.case, other.n, other.namespaces, sharing(other))
    }
}

/// The medians of rounds of the same measurement; `None` of no rounds.
pub(crate) fn medians(rounds: &[Row]) -> Option<Row> {
    let first = rounds.first()?;
    let of = |pick: fn(&Row) -> f64| median(rounds.iter().map(pick));
    let of_some = |pick: fn(&Row) -> Option<f64>| {
        let measured: Vec<f64> = rounds.iter().filter_map(pick).collect();
        (!measured.is_empty()).then(|| median(measured.into_iter()))
    };
    Some(Row {
        rss_bytes: of(|row| row.rss_bytes as f64) as u64,
        peak_rss_bytes: of(|row| row.peak_rss_bytes as f64) as u64,
        cpu_seconds: of(|row| row.cpu_seconds),
        ready_ms: of(|row| row.ready_ms),
        livez_p99_ms: of_some(|row| row.livez_p99_ms),
        queries_per_15s: of_some(|row| row.queries_per_15s),
        access_reviews_per_15s: of_some(|row| row.access_reviews_per_15s),
        p50_ms: of_some(|row| row.p50_ms),
        p99_ms: of_some(|row| row.p99_ms),
        ..first.clone()
    })
}

/// A share of waits, in milliseconds; `None` of none.
pub(crate) fn quantile(waits: &[Duration], share: f64) -> Option<f64> {
    e2e::quantile(waits, share).map(|wait| wait.as_secs_f64() * 1e3)
}

pub(crate) fn print(rows: &[Row]) {
    println!(
        "\n{:20} {:7} {:>9} {:>10} {:>7} {:>8} {:>8} {:>8} {:>9} {:>9} {:>9} {:>8} {:>8}",
        "server",
        "case",
        "n",
        "namespaces",
        "sharing",
        "RSS MiB",
        "peak",
        "CPU s",
        "ready ms",
        "livez p99",
        "query/15s",
        "p50 ms",
        "p99 ms"
    );
    let some = |value: Option<f64>, digits: usize| {
        value.map_or_else(|| "-".to_owned(), |value| format!("{value:.digits$}"))
    };
    for row in rows {
        println!(
            "{:20} {:7} {:>9} {:>10} {:>7} {:>8.1} {:>8.1} {:>8.2} {:>9.0} {:>9} {:>9} {:>8} {:>8}",
            row.server,
            row.case,
            row.n,
            row.namespaces,
            row.sharing,
            mebibytes(row.rss_bytes),
            mebibytes(row.peak_rss_bytes),
            row.cpu_seconds,
            row.ready_ms,
            some(row.livez_p99_ms, 1),
            some(row.queries_per_15s, 0),
            some(row.p50_ms, 2),
            some(row.p99_ms, 2),
        );
    }
    print_ratios(rows);
}

/// The first server's figures as parts of the others'.
fn print_ratios(rows: &[Row]) {
    let Some(ours) = rows.first().map(|row| row.server) else { return };
    let others: Vec<(&Row, &Row)> = rows
        .iter()
        .filter(|row| row.server == ours)
        .flat_map(|row| {
            rows.iter()
                .filter(move |other| other.server != ours && other.is_of(row))
                .map(move |other| (row, other))
        })
        .collect();
    if others.is_empty() {
        return;
    }
    println!("\n{ours} as a part of");
    for (row, other) in others {
        println!(
            "{:20} {:7} {:>9} {:>10} {:>7} {:>8.2} {:>8.2} {:>8.2} {:>9.2}",
            other.server,
            row.case,
            row.n,
            row.namespaces,
            row.sharing,
            row.rss_bytes as f64 / other.rss_bytes as f64,
            row.peak_rss_bytes as f64 / other.peak_rss_bytes as f64,
            row.cpu_seconds / other.cpu_seconds,
            row.ready_ms / other.ready_ms,
        );
    }
}

/// Writes the rows to a file, in a folder that is made when there is none.
pub(crate) fn write(rows: &[Row], path: &Path) -> Result<(), Failure> {
    if let Some(dir) = path.parent() {
        std::fs::create_dir_all(dir)?;
    }
    Ok(std::fs::write(path, format!("{:#}\n", json!({"rows": rows})))?)
}

fn mebibytes(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}
