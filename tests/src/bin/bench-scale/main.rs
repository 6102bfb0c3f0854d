//! `make bench-scale`: how the adapter's memory, CPU and latency grow with the pods and autoscalers of a cluster,
//! the names and series of a Prometheus, and rules. This program plays kube-apiserver and Prometheus, and starts
//! the adapter between them as a process.

mod cases;
mod exporter;
mod kubernetes;
mod memory;
mod pods;
mod probe;
mod prometheus;
mod reads;
mod report;
mod server;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use e2e::component::component;
use e2e::{Failure, stack};

use cases::{Case, Measurement};
use report::Row;
use server::Program;

#[tokio::main]
async fn main() -> ExitCode {
    e2e::run("benchmark", run()).await
}

async fn run() -> Result<(), Failure> {
    let settings = Settings::parse();
    let _ = rustls::crypto::ring::default_provider().install_default();
    let programs = settings.programs()?;
    let report =
        settings.report.clone().unwrap_or_else(|| stack::repository().join("target/reports/scale.json"));
    let mut rows: Vec<Row> = Vec::new();
    for measurement in settings.measurements() {
        for program in programs.iter().filter(|program| measurement.is_for(program)) {
            let Measurement { case, n, namespaces, sharing, .. } = measurement;
            println!("{}: {case:?} {n}, namespaces {namespaces}, sharing {sharing}", program.name);
            let mut measured = Vec::new();
            for _ in 0..settings.rounds_of(case) {
                match measurement.run(program).await {
                    Ok(row) => measured.push(row),
                    // What one server cannot do, others may.
                    Err(error) => {
                        eprintln!("{}: {case:?} {n} is left out: {error}", program.name);
                        break;
                    }
                }
            }
            rows.extend(report::medians(&measured));
            report::write(&rows, &report)?;
        }
    }
    report::print(&rows);
    if rows.is_empty() { Err("nothing could be measured".into()) } else { Ok(()) }
}

/// Measures how the adapter's cost grows with a cluster and its Prometheus, both of which this program plays.
///
/// CPU seconds are those until the server is ready; of hpas and engine those of 15 seconds of reads. Latencies of pods
/// are those of reads while all pods are listed again. Memory is what is resident at the end, and the most there was.
#[derive(Debug, Parser)]
#[command(name = "bench-scale", verbatim_doc_comment)]
struct Settings {
    /// Few and small sizes, one round, no other server: at most five minutes.
    #[arg(long)]
    quick: bool,
    /// The adapter to measure [default: the one built beside this program].
    #[arg(long, value_name = "PATH")]
    adapter: Option<PathBuf>,
    /// An older adapter to measure beside it.
    #[arg(long, value_name = "PATH")]
    before: Option<PathBuf>,
    /// A flag for the adapter, such as --authorization-review-groups; repeatable.
    #[arg(long = "flag", value_name = "FLAG", allow_hyphen_values = true)]
    flags: Vec<String>,
    /// Leave out prometheus-adapter, which is measured if it is there or can be built.
    #[arg(long)]
    without_upstream: bool,
    /// What grows.
    #[arg(long, value_name = "CASE,...", value_delimiter = ',', default_values_t = Case::ALL, value_enum)]
    cases: Vec<Case>,
    /// The sizes to measure, instead of each case's own.
    #[arg(long, value_name = "N,...", value_delimiter = ',')]
    sizes: Vec<usize>,
    /// Play a kube-apiserver without streaming lists.
    #[arg(long)]
    without_streaming_lists: bool,
    /// Give each server only so much memory, such as the 128Mi of deploy/base: in a cgroup, which takes root. One that
    /// the kernel ends for it is left out.
    #[arg(long, value_name = "SIZE", value_parser = memory::mebibytes)]
    memory_limit: Option<u64>,
    /// How often each measurement is made; the report has the medians [default: 3; of hpas, each of which is thousands
    /// of reads, and with --quick 1].
    #[arg(long, value_name = "N")]
    rounds: Option<usize>,
    /// Where the report goes [default: target/reports/scale.json].
    #[arg(long, value_name = "FILE")]
    report: Option<PathBuf>,
}

impl Settings {
    fn rounds_of(&self, case: Case) -> usize {
        self.rounds.unwrap_or(if self.quick || case == Case::Hpas { 1 } else { 3 })
    }

    fn programs(&self) -> Result<Vec<Program>, Failure> {
        let ours = self.adapter.clone().map_or_else(|| stack::program("adapter"), Ok)?;
        let mut programs = vec![Program::adapter("adapter", ours, self.flags.clone())?];
        if let Some(before) = &self.before {
            programs.push(Program::adapter("adapter-before", before.clone(), Vec::new())?);
        }
        if !self.quick && !self.without_upstream {
            match component("prometheus-adapter") {
                Some(path) => programs.push(Program::upstream(path)),
                None => {
                    eprintln!("prometheus-adapter is left out: scripts/components says why it is not here");
                }
            }
        }
        Ok(programs)
    }

    fn measurements(&self) -> Vec<Measurement> {
        let mut measurements = Vec::new();
        for case in self.cases.iter().copied() {
            let sizes = if self.sizes.is_empty() { case.sizes(self.quick) } else { &self.sizes };
            let (namespaces, sharing): (&[usize], &[bool]) = match (case, self.quick) {
                (Case::Hpas, false) => (&[1, 50, 1_000], &[true, false]),
                (Case::Hpas, true) => (&[50], &[true, false]),
                // Of objects alone: shared answers hold those of many autoscalers.
                (Case::Pods, _) => (&[50], &[false]),
                (Case::Engine, _) => (&[50], &[true]),
                (Case::Names | Case::Rules | Case::Relist, _) => (&[1], &[true]),
            };
            let streaming_lists = !self.without_streaming_lists;
            for n in sizes.iter().copied() {
                for namespaces in namespaces.iter().copied().filter(|namespaces| *namespaces <= n) {
                    let memory_limit = self.memory_limit;
                    let of =
                        |sharing| Measurement { case, n, namespaces, sharing, streaming_lists, memory_limit };
                    measurements.extend(sharing.iter().copied().map(of));
                }
            }
        }
        measurements
    }
}
