//! `make bench-adapter`: our adapter and the real prometheus-adapter in turn, on the same cluster and the same Prometheus,
//! and Prometheus asked directly as the ceiling.
//!
//! Every figure is the median of several rounds of the same run: machines are noisy, ratios within a run are less so.

mod measure;
mod report;
mod world;

use std::process::ExitCode;
use std::time::Duration;

use e2e::Failure;

use measure::{Measured, measure};
use report::{Key, Report};
use world::{Target, World};

#[tokio::main]
async fn main() -> ExitCode {
    match run().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("the benchmark failed: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn run() -> Result<(), Failure> {
    let settings = Settings::from_arguments()?;
    if settings.servers.is_empty() {
        return Err(format!("expected servers among {}", world::SERVERS.join(",")).into());
    }
    println!("starting a control plane, Prometheus and {} pods", world::SIZES.iter().sum::<usize>());
    let world = World::start().await?;
    let mut report = Report::default();
    for round in 1..=settings.rounds {
        for server in settings.servers.iter().copied() {
            let target = world.start_server(server).await?;
            if let Some(ready) = target.ready {
                report.started(server, ready, target.resident_bytes());
            }
            println!("round {round} of {}: {server}", settings.rounds);
            for question in world::questions(server) {
                for concurrency in [1, 8, 32] {
                    let key = Key { server, path: question.path.clone(), pods: question.pods, concurrency };
                    let measured = measured(&world, &target, &question, concurrency, settings.time).await?;
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

/// `--rounds N`, `--seconds N` for each measurement, and `--servers NAME,NAME` for only these.
struct Settings {
    rounds: usize,
    time: Duration,
    servers: Vec<&'static str>,
}

impl Settings {
    fn from_arguments() -> Result<Settings, Failure> {
        let mut settings =
            Settings { rounds: 3, time: Duration::from_secs(2), servers: world::SERVERS.to_vec() };
        let mut arguments = std::env::args().skip(1);
        while let Some(name) = arguments.next() {
            let value = arguments.next().ok_or_else(|| format!("expected a value behind {name}"))?;
            match name.as_str() {
                "--rounds" => settings.rounds = value.parse()?,
                "--seconds" => settings.time = Duration::from_secs_f64(value.parse()?),
                "--servers" => settings.servers.retain(|server| value.split(',').any(|name| name == *server)),
                _ => {
                    return Err(
                        format!("expected --rounds N, --seconds N or --servers NAMES, found {name}").into()
                    );
                }
            }
        }
        Ok(settings)
    }
}

const WARM_UP: Duration = Duration::from_millis(300);
