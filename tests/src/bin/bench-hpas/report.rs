//! The rows, as a table and in `target/reports/hpas.json`.

use std::time::Duration;

use e2e::{Failure, stack};
use serde::Serialize;
use serde_json::json;

/// What was measured of a server.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Row {
    pub(crate) server: &'static str,
    pub(crate) autoscalers: usize,
    pub(crate) namespaces: usize,
    /// Queries to Prometheus.
    pub(crate) queries_per_15s: usize,
    /// Lists of pods from kube-apiserver, by anybody.
    pub(crate) pod_lists_per_15s: usize,
    pub(crate) access_reviews_per_15s: usize,
    pub(crate) cpu_seconds_per_15s: f64,
    pub(crate) rss_bytes: u64,
    /// From another value at the target until an autoscaler wants more replicas.
    pub(crate) reaction_median_s: f64,
    pub(crate) reaction_slowest_s: f64,
}

/// A share of times, in seconds; NaN of none.
pub(crate) fn quantile(times: &[Duration], share: f64) -> f64 {
    e2e::quantile(times, share).map_or(f64::NAN, |time| time.as_secs_f64())
}

pub(crate) fn print(row: &Row) {
    println!(
        "{:20} {:>5} autoscalers, {:>4} namespaces: in 15 s {:>5} queries, {:>5} lists of pods, {:>5} access reviews, \
         {:.2} CPU s; {:.1} MiB; reaction {:.1} s, slowest {:.1} s",
        row.server,
        row.autoscalers,
        row.namespaces,
        row.queries_per_15s,
        row.pod_lists_per_15s,
        row.access_reviews_per_15s,
        row.cpu_seconds_per_15s,
        row.rss_bytes as f64 / f64::from(1 << 20),
        row.reaction_median_s,
        row.reaction_slowest_s,
    );
}

/// The first server's figures as parts of the others'.
pub(crate) fn print_ratios(rows: &[Row]) {
    let Some(ours) = rows.first().map(|row| row.server) else { return };
    let is_of = |row: &Row, other: &Row| other.server != ours && other.namespaces == row.namespaces;
    for row in rows.iter().filter(|row| row.server == ours) {
        for other in rows.iter().filter(|other| is_of(row, other)) {
            println!(
                "{ours} as a part of {}, {} namespaces: queries {:.3}, CPU {:.2}, memory {:.2}, slowest reaction {:.2}",
                other.server,
                row.namespaces,
                row.queries_per_15s as f64 / other.queries_per_15s as f64,
                row.cpu_seconds_per_15s / other.cpu_seconds_per_15s,
                row.rss_bytes as f64 / other.rss_bytes as f64,
                row.reaction_slowest_s / other.reaction_slowest_s,
            );
        }
    }
}

pub(crate) fn write(rows: &[Row]) -> Result<(), Failure> {
    let reports = stack::repository().join("target/reports");
    std::fs::create_dir_all(&reports)?;
    Ok(std::fs::write(reports.join("hpas.json"), format!("{:#}\n", json!({"rows": rows})))?)
}
