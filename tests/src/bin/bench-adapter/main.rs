//! `make bench-adapter`: our adapter and the real prometheus-adapter in turn, on the same cluster and the same
//! Prometheus, and Prometheus asked directly as the ceiling.
//!
//! Every figure is the median of several rounds of the same run: machines are noisy, ratios within a run are less so.

mod measure;
mod report;
mod world;

use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use clap::builder::PossibleValuesParser;
use e2e::Failure;

use measure::{Measured, measure};
use report::{Key, Report};
use world::{Target, World};

#[tokio::main]
async fn main() -> ExitCode {
    e2e::run("benchmark", run()).await
}

async fn run() -> Result<(), Failure> {
    let settings = Settings::parse();
    println!("starting a control plane, Prometheus and {} pods", world::SIZES.iter().sum::<usize>());
    let world = World::start().await?;
    let mut report = Report::default();
    for round in 1..=settings.rounds {
        for server in
            world::SERVERS.iter().copied().filter(|server| settings.servers.iter().any(|name| name == server))
        {
            let target = world.start_server(server).await?;
            if let Some(ready) = target.ready {
                report.started(server, ready, target.resident_bytes());
            }
            println!("round {round} of {}: {server}", settings.rounds);
            for question in
                world::questions(server).iter().filter(|question| settings.pods.contains(&question.pods))
            {
                for concurrency in settings.concurrency.iter().copied() {
                    let key = Key { server, path: question.path.clone(), pods: question.pods, concurrency };
                    let measured = measured(&world, &target, question, concurrency, settings.seconds).await?;
                    report.add(key, measured);
                }
            }
        }
    }
    world.cluster.stop();
    report.print();
    report.write()
}

async fn measured(
    world: &World,
    target: &Target,
    question: &world::Question,
    concurrency: usize,
    time: Duration,
) -> Result<Measured, Failure> {
    // Whatever is found once and kept is found before.
    measure(world, target, question, concurrency, WARM_UP).await?;
    measure(world, target, question, concurrency, time).await
}

/// Measures the adapter beside prometheus-adapter, and Prometheus asked directly as the ceiling.
///
/// Prints a line for each measurement and writes them all to target/reports/adapter.json.
#[derive(Debug, Parser)]
#[command(name = "bench-adapter", verbatim_doc_comment)]
struct Settings {
    /// How often each server is measured; the report has the medians.
    #[arg(long, value_name = "N", default_value_t = 3)]
    rounds: usize,
    /// How long each measurement takes.
    #[arg(long, value_name = "SECONDS", default_value = "2", value_parser = e2e::seconds)]
    seconds: Duration,
    /// Which servers are measured.
    #[arg(long, value_name = "NAME,...", value_delimiter = ',', default_values = world::SERVERS, value_parser = PossibleValuesParser::new(world::SERVERS))]
    servers: Vec<String>,
    /// How many pods a question is about: the sizes that are measured.
    #[arg(long, value_name = "N,...", value_delimiter = ',', default_values_t = world::SIZES)]
    pods: Vec<usize>,
    /// How many clients ask at a time.
    #[arg(long, value_name = "N,...", value_delimiter = ',', default_values_t = [1, 8, 32])]
    concurrency: Vec<usize>,
}

const WARM_UP: Duration = Duration::from_millis(300);
