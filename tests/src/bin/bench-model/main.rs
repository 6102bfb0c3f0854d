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
    let settings = Settings::parse(&arguments)?;
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

/// What to measure; all of it when nothing is named.
const PARTS: [&str; 6] = ["throughput", "truth", "overload", "probes", "aborts", "drain"];

/// Parts by name; `--rounds N` of throughput, `--seconds N` for each measurement, `--servers NAME,NAME` for only these.
struct Settings {
    parts: Vec<String>,
    rounds: usize,
    /// `None`: as long as each part thinks right.
    seconds: Option<Duration>,
    servers: Option<Vec<String>>,
}

impl Settings {
    fn parse(arguments: &[String]) -> Result<Settings, Failure> {
        let mut settings = Settings { parts: Vec::new(), rounds: 3, seconds: None, servers: None };
        let mut arguments = arguments.iter();
        while let Some(argument) = arguments.next() {
            if PARTS.contains(&argument.as_str()) {
                settings.parts.push(argument.clone());
                continue;
            }
            if !["--rounds", "--seconds", "--servers"].contains(&argument.as_str()) {
                let parts = PARTS.join(", ");
                return Err(format!(
                    "expected {parts}, --rounds N, --seconds N or --servers NAMES, found {argument}"
                )
                .into());
            }
            let value = arguments.next().ok_or_else(|| format!("expected a value behind {argument}"))?;
            let number = || value.parse::<u32>().ok().filter(|number| *number > 0);
            let expected = || format!("{argument}: expected a whole number from 1 on, found {value:?}");
            match argument.as_str() {
                "--rounds" => settings.rounds = number().ok_or_else(expected)? as usize,
                "--seconds" => {
                    settings.seconds = Some(Duration::from_secs(number().ok_or_else(expected)?.into()));
                }
                _ => settings.servers = Some(names(value)?),
            }
        }
        if settings.parts.is_empty() {
            settings.parts = PARTS.map(str::to_owned).to_vec();
        }
        Ok(settings)
    }

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

fn names(value: &str) -> Result<Vec<String>, Failure> {
    value
        .split(',')
        .map(|name| {
            if KINDS.iter().any(|kind| kind.name == name) {
                return Ok(name.to_owned());
            }
            Err(format!("--servers: expected names among {}, found {name:?}", list(&KINDS)).into())
        })
        .collect()
}

fn list(kinds: &[Kind]) -> String {
    let mut names: Vec<_> = kinds.iter().map(|kind| kind.name).collect();
    names.dedup();
    names.join(",")
}

fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_unstable_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}
