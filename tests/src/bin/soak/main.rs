//! `make soak`: the adapter under steady load for a long time, while all that changes in a cluster changes: rules, its serving
//! certificate, pods; and while Prometheus and kube-apiserver go and come back. At the end it says whether memory and open files
//! stayed as they were, whether each change was seen, and whether any answer was another than the one expected.

mod events;
mod report;
mod traffic;

use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::Parser;
use e2e::Failure;
use e2e::world::World;

use events::{Events, Step};
use report::Report;
use traffic::Traffic;

#[tokio::main]
async fn main() -> ExitCode {
    match run().await {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("the soak failed: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Whether all was well.
async fn run() -> Result<bool, Failure> {
    let settings = Settings::parse();
    println!("starting etcd, kube-apiserver, kube-controller-manager, Prometheus and the adapter");
    let mut world =
        World::start().await?.ok_or("a component is missing: scripts/components says which, and why")?;
    let mut events = Events::new(&world)?;
    let adapter = world.start_adapter(events.rules(), &world.metrics.prometheus.url(), &[]).await?;
    let traffic = Traffic::start(&world, settings.rate)?;
    let mut report = Report::new(&settings);
    println!("{} requests a second for {:?}", settings.rate, settings.length);

    let began = Instant::now();
    let mut next_event = began + PAUSE;
    let mut steps = Step::ALL.into_iter().cycle();
    let mut sampling = tokio::time::interval(SAMPLING);
    while began.elapsed() < settings.length {
        sampling.tick().await;
        report.sample(began.elapsed(), &adapter.process, traffic.answered())?;
        // The last minutes are without events, so that a request which outlasts one is answered by the end.
        if Instant::now() >= next_event && began.elapsed() + PAUSE < settings.length {
            let step = steps.next().unwrap_or(Step::Rules);
            let started = Instant::now();
            // A sample is taken at its time all the same.
            let seen = {
                let happening = events.happen(step, &mut world, &traffic);
                tokio::pin!(happening);
                loop {
                    tokio::select! {
                        seen = &mut happening => break seen,
                        _ = sampling.tick() => report.sample(began.elapsed(), &adapter.process, traffic.answered())?,
                    }
                }
            };
            report.event(started - began, step, started.elapsed(), seen);
            next_event = Instant::now() + PAUSE;
        }
    }
    let answers = traffic.stop().await;
    let good = report.finish(&answers, &adapter.process)?;
    world.cluster.stop();
    Ok(good)
}

/// Puts the adapter under steady load while everything around it changes, and judges what became of it.
///
/// Writes target/reports/soak.json. The exit status is 0 if all was well.
#[derive(Debug, Parser)]
#[command(name = "soak", verbatim_doc_comment)]
struct Settings {
    /// How long.
    #[arg(long = "minutes", value_name = "MINUTES", default_value = "60", value_parser = minutes)]
    length: Duration,
    /// Requests a second.
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..))]
    rate: u32,
}

fn minutes(text: &str) -> Result<Duration, String> {
    let minutes: f64 = text.parse().map_err(|_| "expected a number of minutes".to_owned())?;
    Duration::try_from_secs_f64(minutes * 60.0).map_err(|error| error.to_string())
}

const SAMPLING: Duration = Duration::from_secs(10);
/// Between two events.
const PAUSE: Duration = Duration::from_secs(30);
