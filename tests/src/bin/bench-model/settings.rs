//! The command line of the benchmark.

use std::time::Duration;

use clap::Parser;
use clap::builder::PossibleValuesParser;
use e2e::Failure;

use crate::servers::{KINDS, Kind, PEERS};

const PARTS: [&str; 7] = ["throughput", "models", "truth", "overload", "probes", "aborts", "drain"];

/// Measures the model server beside the tutorial's, a tuned one in Python and one that does nothing; with other models,
/// beside LitServe and MLServer.
///
/// Prints a table for each part and writes it to target/reports/PART.json, throughput to model.json.
#[derive(Debug, Parser)]
#[command(name = "bench-model", verbatim_doc_comment)]
pub(crate) struct Settings {
    /// What to measure.
    #[arg(value_name = "PART", default_values = PARTS, value_parser = PossibleValuesParser::new(PARTS))]
    pub(crate) parts: Vec<String>,
    /// How often each server's throughput is measured; the report has the medians.
    #[arg(long, value_name = "N", default_value_t = 3)]
    pub(crate) rounds: usize,
    /// How long each measurement takes; as long as each part thinks right if not given.
    #[arg(long, value_name = "SECONDS", value_parser = e2e::seconds)]
    pub(crate) seconds: Option<Duration>,
    /// Which servers are measured, where a part has them.
    #[arg(long, value_name = "NAME,...", value_delimiter = ',', value_parser = PossibleValuesParser::new(KINDS.map(|kind| kind.name).into_iter().chain(PEERS)))]
    pub(crate) servers: Option<Vec<String>>,
    /// Measures models once, a second each, with 64 clients alone.
    #[arg(long)]
    pub(crate) quick: bool,
}

impl Settings {
    /// Those of a part's servers that were asked for.
    pub(crate) fn among(&self, kinds: &[Kind]) -> Result<Vec<Kind>, Failure> {
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
