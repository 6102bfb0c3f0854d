//! `make demo`: model servers under a load that rises and ends, the adapter reading them, and what an autoscaler would
//! do.

mod observation;
mod panel;
mod report;
mod screen;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::Parser;
use e2e::api::{self, Api};
use e2e::load::Load;
use e2e::{Failure, picture, stack};

use observation::{DEPTH, GPU, LATENCY, Observation, PODS, Seen};
use panel::panels;
use report::Report;
use screen::Screen;

/// Puts three model servers under load, reads their metrics through the adapter, and shows what an autoscaler would do.
///
/// Writes target/reports/demo.json. The exit status is 0 if the load was seen to come and go.
#[derive(Debug, Parser)]
#[command(name = "demo")]
struct Settings {
    /// Where to write the picture of the run [default: target/reports/demo.svg].
    #[arg(long, value_name = "FILE")]
    svg: Option<PathBuf>,
}

#[tokio::main]
async fn main() -> ExitCode {
    let settings = Settings::parse();
    let _ = rustls::crypto::ring::default_provider().install_default();
    e2e::run("demo", e2e::interruptible(demo(settings))).await
}

async fn demo(settings: Settings) -> Result<(), Failure> {
    let dir = tempfile::tempdir()?;
    println!("starting {PODS} model servers, about 20 ms of arithmetic a request");
    let pods = stack::start_pods(PODS, &stack::slow_model()?, dir.path()).await?;
    println!("starting the adapter on its embedded engine with rules/tutorial.yaml");
    let mut source = stack::targets(&pods);
    source.push("--scrape-interval=1s".to_owned());
    let adapter = stack::start_adapter(&source, dir.path()).await?;
    let kubectl = format!("kubectl --kubeconfig {}", adapter.kubeconfig.display());
    println!("the API is up; ask it from another terminal while this runs:");
    println!("  {kubectl} get --raw /apis/custom.metrics.k8s.io/v1beta1 | jq -r '.resources[].name'");
    println!(
        "  {kubectl} get --raw '/apis/custom.metrics.k8s.io/v1beta2/namespaces/default/pods/*/{}'",
        DEPTH.metric
    );
    tokio::time::sleep(ROUND).await;
    let (ready, idle_bytes) = (adapter.ready_after, adapter.process.resident_bytes().unwrap_or_default());
    println!(
        "ready {} ms after its start, {:.1} MB resident when idle",
        ready.as_millis(),
        idle_bytes as f64 / 1e6
    );
    println!("\nevery number below was read back from the API over TLS; targets: depth 10, latency 200 ms\n");

    let addresses: Vec<String> = pods.iter().map(|pod| pod.address.clone()).collect();
    let mut load = Load::new(&addresses);
    let run = watch(&adapter.api, &mut load).await?;
    let (answered, failed) = load.counts();
    println!("\n{answered} requests answered, {failed} failed");

    let report = Report { ready, idle_bytes, failed, run: &run };
    stack::write_report("demo", &report.to_json())?;
    let file = settings.svg.unwrap_or_else(|| stack::repository().join("target/reports/demo.svg"));
    std::fs::write(&file, picture::svg(&title(), &panels(&run))?)
        .map_err(|error| format!("cannot write {}: {error}", file.display()))?;
    println!("the picture of this run is {}", file.display());
    report.judge()
}

/// Applies the ramp and shows what the API answers meanwhile, until the load has left the metrics.
async fn watch(api: &Api, load: &mut Load) -> Result<Vec<Observation>, Failure> {
    let mut screen = Screen::new();
    let mut run: Vec<Observation> = Vec::new();
    let started = Instant::now();
    loop {
        let second = started.elapsed().as_secs();
        let clients = RAMP.iter().rev().find(|(from, _)| *from <= second).map_or(0, |(_, clients)| *clients);
        if clients != load.clients() {
            load.set(clients);
        }
        let round = Observation::new(second, clients, read(api).await?);
        let load_is_over = RAMP.last().is_some_and(|(from, _)| second > *from);
        let over = (load_is_over && round.is_idle()) || started.elapsed() > LONGEST;
        run.push(round);
        screen.show(&run, LONGEST.as_secs_f64())?;
        if over {
            return Ok(run);
        }
        tokio::time::sleep(ROUND).await;
    }
}

async fn read(api: &Api) -> Result<Seen, Failure> {
    let mut seen = Seen::new();
    for metric in [DEPTH.metric, LATENCY.metric, GPU] {
        let path = format!("/apis/custom.metrics.k8s.io/v1beta1/namespaces/default/pods/*/{metric}");
        let (code, body) = api.get(&path).await?;
        if code != 200 {
            return Err(format!("{path} answered {code}: {body}").into());
        }
        seen.insert(metric, api::values(&body)?.into_iter().collect());
    }
    Ok(seen)
}

fn title() -> String {
    let steps = RAMP.iter().filter(|(_, clients)| *clients > 0);
    let steps: Vec<String> =
        steps.map(|(from, clients)| format!("{clients} clients from {from} s")).collect();
    let end = RAMP.last().map_or(0, |(from, _)| *from);
    format!("{PODS} model servers, {}, none from {end} s", steps.join(", "))
}

/// From when to when how many clients.
const RAMP: [(u64, usize); 4] = [(0, 0), (5, 12), (20, 48), (60, 0)];
/// The rate's window of two minutes has to pass after the load.
const LONGEST: Duration = Duration::from_secs(230);
const ROUND: Duration = Duration::from_secs(2);
