//! `make soak`: the adapter under steady load for a long time, while all that changes in a cluster changes: rules, its serving
//! certificate, pods; and while Prometheus and kube-apiserver go and come back. At the end it says whether memory and open files
//! stayed as they were, whether each change was seen, and whether any answer was another than the one expected.

mod events;
mod report;
mod traffic;

use std::process::ExitCode;
use std::time::{Duration, Instant};

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
    let settings = Settings::from_arguments()?;
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

/// `--minutes N` and `--rate N` requests a second.
struct Settings {
    length: Duration,
    rate: u32,
}

impl Settings {
    fn from_arguments() -> Result<Settings, Failure> {
        let mut settings = Settings { length: Duration::from_hours(1), rate: 50 };
        let mut arguments = std::env::args().skip(1);
        while let Some(name) = arguments.next() {
            let value = arguments.next().ok_or_else(|| format!("expected a value behind {name}"))?;
            match name.as_str() {
                "--minutes" => settings.length = Duration::from_secs_f64(value.parse::<f64>()? * 60.0),
                "--rate" => settings.rate = value.parse()?,
                _ => return Err(format!("expected --minutes or --rate, found {name}").into()),
            }
        }
        if settings.rate == 0 {
            return Err("expected a --rate above 0".into());
        }
        Ok(settings)
    }
}

const SAMPLING: Duration = Duration::from_secs(10);
/// Between two events.
const PAUSE: Duration = Duration::from_secs(30);
