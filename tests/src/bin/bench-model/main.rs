//! `make bench-model`: our model server beside the tutorial's, a tuned one in Python and one that does nothing, and
//! beside LitServe and MLServer with models of five kinds: how much they do, whether their signals are true, and what
//! becomes of too much load, of clients that leave, and of a restart.
//!
//! Each part prints a table and writes a report of its own. Machines are noisy, so what is compared is measured in turn
//! in the same run; ratios within a run tell more than figures.

mod aborts;
mod clients;
mod drain;
mod exposition;
mod models;
mod noop;
mod overload;
mod probes;
mod servers;
mod settings;
mod throughput;
mod truth;
mod wrk;

use std::process::ExitCode;

use clap::Parser as _;
use e2e::Failure;

use servers::NOOP;
use settings::Settings;

#[tokio::main]
async fn main() -> ExitCode {
    let _ = rustls::crypto::ring::default_provider().install_default();
    e2e::run("benchmark", e2e::interruptible(run())).await
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
            "models" => models::run(&settings, dir.path()).await?,
            "truth" => truth::run(&settings, dir.path()).await?,
            "overload" => overload::run(&settings, dir.path()).await?,
            "probes" => probes::run(&settings, dir.path()).await?,
            "aborts" => aborts::run(&settings, dir.path()).await?,
            _ => drain::run(&settings, dir.path()).await?,
        }
    }
    Ok(())
}
