//! `make soak`: the adapter under steady load for a long time, while all that changes in a cluster changes: rules, its
//! serving certificate, pods; and while Prometheus and kube-apiserver go and come back. At the end it says whether
//! memory and open files stayed as they were, whether each change was seen, and whether any answer was another than the
//! one expected.

mod events;
mod report;
mod settings;
mod traffic;

use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::Parser as _;
use e2e::Failure;
use e2e::world::World;

use events::{Events, Step};
use report::Report;
use settings::Settings;
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

const SAMPLING: Duration = Duration::from_secs(10);
/// Between two events.
const PAUSE: Duration = Duration::from_secs(30);
