//! `make bench-model`: our model server beside the tutorial's, a tuned one in Python and one that does nothing: how much they
//! do, whether their signals are true, and what becomes of too much load, of clients that leave, and of a restart.
//!
//! Each part prints a table and writes a report of its own. Machines are noisy, so what is compared is measured in turn in
//! the same run; ratios within a run tell more than figures.

mod aborts;
mod clients;
mod drain;
mod exposition;
mod noop;
mod overload;
mod probes;
mod servers;
mod throughput;
mod truth;
mod wrk;

use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use clap::builder::PossibleValuesParser;
use e2e::Failure;

use servers::{KINDS, Kind, NOOP};

#[tokio::main]
async fn main() -> ExitCode {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let outcome = tokio::select! {
        outcome = run() => outcome,
        _ = tokio::signal::ctrl_c() => Err("interrupted".into()),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("the benchmark failed: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn run() -> Result<(), Failure> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let [name, address] = arguments.as_slice()
        && name == NOOP.name
    {
        return noop::serve(address).await;
    }
    let settings = Settings::parse();
    let dir = tempfile::tempdir()?;
    for part in &settings.parts {
        println!("\n=== {part}");
        match part.as_str() {
            "throughput" => throughput::run(&settings, dir.path()).await?,
            "truth" => truth::run(&settings, dir.path()).await?,
            "overload" => overload::run(&settings, dir.path()).await?,
            "probes" => probes::run(&settings, dir.path()).await?,
            "aborts" => aborts::run(&settings, dir.path()).await?,
            _ => drain::run(&settings, dir.path()).await?,
        }
    }
    Ok(())
}

const PARTS: [&str; 6] = ["throughput", "truth", "overload", "probes", "aborts", "drain"];

/// Measures the model server beside the tutorial's, a tuned one in Python and one that does nothing.
///
/// Prints a table for each part and writes it to target/reports/PART.json, throughput to model.json.
#[derive(Debug, Parser)]
#[command(name = "bench-model", verbatim_doc_comment)]
struct Settings {
    /// What to measure.
    #[arg(value_name = "PART", default_values = PARTS, value_parser = PossibleValuesParser::new(PARTS))]
    parts: Vec<String>,
    /// How often each server's throughput is measured; the report has the medians.
    #[arg(long, value_name = "N", default_value_t = 3)]
    rounds: usize,
    /// How long each measurement takes; as long as each part thinks right if not given.
    #[arg(long, value_name = "SECONDS", value_parser = e2e::seconds)]
    seconds: Option<Duration>,
    /// Which servers are measured, where a part has them.
    #[arg(long, value_name = "NAME,...", value_delimiter = ',', value_parser = PossibleValuesParser::new(KINDS.map(|kind| kind.name)))]
    servers: Option<Vec<String>>,
}

impl Settings {
    /// Those of a part's servers that were asked for.
    fn among(&self, kinds: &[Kind]) -> Result<Vec<Kind>, Failure> {
        let wanted = |kind: &Kind| {
            self.servers.as_ref().is_none_or(|names| names.iter().any(|name| name == kind.name))
        };
        let found: Vec<Kind> = kinds.iter().copied().filter(wanted).collect();
        if found.is_empty() {
            return Err(format!("--servers: expected some of {} for this part", list(kinds)).into());
        }
        Ok(found)
    }
}

fn list(kinds: &[Kind]) -> String {
    let mut names: Vec<_> = kinds.iter().map(|kind| kind.name).collect();
    names.dedup();
    names.join(",")
}
