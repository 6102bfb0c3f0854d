//! `make bench-hpas`: a thousand autoscalers of the real kube-controller-manager, each of which reads two metrics of
//! its Deployment: what the adapter, with and without sharing, and prometheus-adapter ask of Prometheus and of
//! kube-apiserver, and how soon each autoscaler follows a metric.

mod report;
mod world;

use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use clap::builder::PossibleValuesParser;
use e2e::Failure;

use report::Row;
use world::{Counts, SERVERS, Size, World};

#[tokio::main]
async fn main() -> ExitCode {
    e2e::run("benchmark", e2e::interruptible(Box::pin(run()))).await
}

async fn run() -> Result<(), Failure> {
    let settings = Settings::parse();
    let mut rows = Vec::new();
    for namespaces in settings.namespaces {
        let size = Size { autoscalers: settings.autoscalers, namespaces };
        println!("making {} autoscalers in {namespaces} namespaces", settings.autoscalers);
        let world = World::start(size).await?;
        for server in
            SERVERS.iter().copied().filter(|server| settings.servers.iter().any(|name| name == server))
        {
            let row = measure(&world, server, size).await?;
            report::print(&row);
            rows.push(row);
            report::write(&rows)?;
        }
        world.cluster.stop();
    }
    report::print_ratios(&rows);
    Ok(())
}

async fn measure(world: &World, server: &'static str, size: Size) -> Result<Row, Failure> {
    let running = world.start_server(server).await?;
    // All have read, and namespaces that share a query know of each other.
    tokio::time::sleep(2 * PERIOD).await;
    let cpu_time = || running.process.cpu_time().unwrap_or_default();
    let before = cpu_time();
    let Counts { queries, pod_lists, access_reviews } = world.count(server, PERIOD).await?;
    let cpu = cpu_time().saturating_sub(before);
    let reactions = world.reactions().await?;
    let rss_bytes = running.process.resident_bytes().unwrap_or_default();
    world.calm_down().await?;
    Ok(Row {
        server,
        autoscalers: size.autoscalers,
        namespaces: size.namespaces,
        queries_per_15s: queries,
        pod_lists_per_15s: pod_lists,
        access_reviews_per_15s: access_reviews,
        cpu_seconds_per_15s: cpu.as_secs_f64(),
        rss_bytes,
        reaction_median_s: report::quantile(&reactions, 0.5),
        reaction_slowest_s: report::quantile(&reactions, 1.0),
    })
}

/// Measures how many queries a thousand autoscalers of the real kube-controller-manager cause, and how soon they react.
///
/// Each looks every 15 s at two metrics of its Deployment; kube-controller-manager may ask as often as it likes, by 50
/// workers. A reaction is the time from the moment at which a target exposes another value until the autoscaler wants
/// more replicas. Prometheus scrapes every second. Writes target/reports/hpas.json.
#[derive(Debug, Parser)]
#[command(name = "bench-hpas", verbatim_doc_comment)]
struct Settings {
    /// How many autoscalers, each with a Deployment of one pod.
    #[arg(long, value_name = "N", default_value_t = 1_000)]
    autoscalers: usize,
    /// Over how many namespaces they are spread, one measurement after the other.
    #[arg(long, value_name = "N,...", value_delimiter = ',', default_values_t = [1, 50, 1_000])]
    namespaces: Vec<usize>,
    /// Which servers are measured.
    #[arg(long, value_name = "NAME,...", value_delimiter = ',', default_values = SERVERS, value_parser = PossibleValuesParser::new(SERVERS))]
    servers: Vec<String>,
}

/// How often an autoscaler looks.
const PERIOD: Duration = Duration::from_secs(15);
