//! `make demo`: model servers under a load that rises and ends, the adapter reading them, and what an autoscaler would do.

use std::collections::BTreeMap;
use std::io::IsTerminal as _;
use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use e2e::api::{self, Api};
use e2e::hpa::{self, Bounds, Target};
use e2e::load::Load;
use e2e::{Failure, stack};
use serde_json::json;

/// The targets of the tutorial's autoscaler, and the third metric of its rules.
const LATENCY: Target = Target { metric: "inference_latency_seconds_avg", average: 0.2 };
const DEPTH: Target = Target { metric: "request_queue_depth", average: 10.0 };
const GPU: &str = "gpu_utilization_percent";
const BOUNDS: Bounds = Bounds { min: 2, max: 10 };
const PODS: usize = 3;

/// From when to when how many clients.
const RAMP: [(u64, usize); 4] = [(0, 0), (5, 12), (20, 48), (60, 0)];
/// The rate's window of two minutes has to pass after the load.
const LONGEST: Duration = Duration::from_secs(230);
const ROUND: Duration = Duration::from_secs(2);

#[tokio::main]
async fn main() -> ExitCode {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let outcome = tokio::select! {
        outcome = demo() => outcome,
        _ = tokio::signal::ctrl_c() => Err("interrupted".into()),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("the demo failed: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn demo() -> Result<(), Failure> {
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
    let mut report = Report {
        ready: adapter.ready_after,
        idle_bytes: adapter.process.resident_bytes().unwrap_or_default(),
        ..Report::default()
    };
    println!(
        "ready {} ms after its start, {:.1} MB resident when idle",
        report.ready.as_millis(),
        report.idle_bytes as f64 / 1e6
    );
    println!("\nevery number below was read back from the API over TLS; targets: depth 10, latency 200 ms\n");
    let addresses: Vec<String> = pods.iter().map(|pod| pod.address.clone()).collect();
    let mut load = Load::new(&addresses);
    let screen = Screen::new();
    Screen::heading();
    let started = Instant::now();
    loop {
        let second = started.elapsed().as_secs();
        let clients = RAMP.iter().rev().find(|(from, _)| *from <= second).map_or(0, |(_, clients)| *clients);
        if clients != load.clients() {
            load.set(clients);
        }
        let seen = read(&adapter.api).await?;
        let replicas = wanted(&seen);
        report.see(&seen, replicas);
        screen.row(second, clients, &seen, replicas);
        let load_is_over = RAMP.last().is_some_and(|(from, _)| second > *from);
        if load_is_over && report.is_back_to_zero() {
            break;
        }
        if started.elapsed() > LONGEST {
            break;
        }
        tokio::time::sleep(ROUND).await;
    }
    let (answered, failed) = load.counts();
    println!("\n{answered} requests answered, {failed} failed");
    report.write(&stack::repository().join("target/reports"))?;
    report.judge(failed)
}

/// Each pod's value of each metric.
type Seen = BTreeMap<&'static str, BTreeMap<String, f64>>;

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

/// What an autoscaler over these pods would make of the values.
fn wanted(seen: &Seen) -> u32 {
    let wish = |target: Target| {
        let values = seen.get(target.metric)?;
        let average = values.values().sum::<f64>() / values.len().max(1) as f64;
        (!values.is_empty()).then(|| hpa::desired(values.len() as u32, average, target.average))
    };
    hpa::replicas([DEPTH, LATENCY].into_iter().filter_map(wish), BOUNDS)
}

/// The table: redrawn lines on a terminal, plain lines elsewhere.
struct Screen {
    live: bool,
}

impl Screen {
    fn new() -> Screen {
        Screen { live: std::io::stdout().is_terminal() && std::env::var_os("CI").is_none() }
    }

    fn heading() {
        let cell = |name: String| format!("{name:>17}");
        let pods: String = (0..PODS).map(|pod| cell(format!("model-{pod}"))).collect();
        println!("{:>5} {:>8}{pods} {:>9}", "time", "clients", "replicas");
    }

    fn row(&self, second: u64, clients: usize, seen: &Seen, replicas: u32) {
        let value = |metric: &str, pod: &str| seen.get(metric).and_then(|values| values.get(pod)).copied();
        let pods: Vec<String> = (0..PODS)
            .map(|number| {
                let pod = format!("model-{number}");
                let depth = value(DEPTH.metric, &pod).map_or("-".to_owned(), |depth| format!("{depth:.0}"));
                let latency = value(LATENCY.metric, &pod)
                    .map_or("-".to_owned(), |latency| format!("{:.0} ms", latency * 1e3));
                format!("{depth:>7} {latency:>9}")
            })
            .collect();
        let bar = if self.live { format!("  {}", "#".repeat(replicas as usize)) } else { String::new() };
        println!("{second:>4}s {clients:>8}{} {replicas:>9}{bar}", pods.concat());
    }
}

/// What was seen through the API.
#[derive(Default)]
struct Report {
    ready: Duration,
    idle_bytes: u64,
    peak: Seen,
    last: Seen,
    replicas_peak: u32,
    replicas_last: u32,
}

impl Report {
    fn see(&mut self, seen: &Seen, replicas: u32) {
        for (metric, values) in seen {
            let peaks = self.peak.entry(metric).or_default();
            for (pod, value) in values {
                let peak = peaks.entry(pod.clone()).or_default();
                *peak = peak.max(*value);
            }
        }
        self.last.clone_from(seen);
        self.replicas_peak = self.replicas_peak.max(replicas);
        self.replicas_last = replicas;
    }

    fn is_back_to_zero(&self) -> bool {
        [DEPTH.metric, LATENCY.metric].iter().all(|metric| {
            self.last
                .get(metric)
                .is_some_and(|values| values.len() == PODS && values.values().all(|value| *value == 0.0))
        })
    }

    fn write(&self, dir: &Path) -> Result<(), Failure> {
        let metrics: BTreeMap<&str, BTreeMap<&String, serde_json::Value>> = self
            .peak
            .iter()
            .map(|(metric, peaks)| {
                let last = &self.last[metric];
                let pods = peaks
                    .iter()
                    .map(|(pod, peak)| (pod, json!({"peak": peak, "final": last.get(pod)})))
                    .collect();
                (*metric, pods)
            })
            .collect();
        let report = json!({
            "metrics": metrics,
            "replicas": {"peak": self.replicas_peak, "final": self.replicas_last},
            "adapter": {"ready_ms": self.ready.as_millis() as u64, "idle_rss_bytes": self.idle_bytes},
        });
        std::fs::create_dir_all(dir)?;
        std::fs::write(dir.join("demo.json"), format!("{report:#}\n"))?;
        Ok(())
    }

    /// Whether the ramp was really seen: up on every pod, and back to nothing.
    fn judge(&self, failed: u64) -> Result<(), Failure> {
        let mut missing = Vec::new();
        for target in [DEPTH, LATENCY] {
            for number in 0..PODS {
                let peak =
                    self.peak.get(target.metric).and_then(|peaks| peaks.get(&format!("model-{number}")));
                if peak.is_none_or(|peak| *peak <= target.average) {
                    missing.push(format!(
                        "{} of model-{number} over its target (seen: {peak:?})",
                        target.metric
                    ));
                }
            }
        }
        if !self.is_back_to_zero() {
            missing.push(format!("depth and latency of every pod back at 0 (seen: {:?})", self.last));
        }
        if self.replicas_peak <= BOUNDS.min || self.replicas_last != BOUNDS.min {
            missing.push(format!(
                "replicas up and back to {} (seen: {} and {})",
                BOUNDS.min, self.replicas_peak, self.replicas_last
            ));
        }
        if failed > 0 {
            missing.push(format!("every request answered ({failed} failed)"));
        }
        if missing.is_empty() {
            println!(
                "the ramp went up to {} replicas and back to {}: seen through the API",
                self.replicas_peak, self.replicas_last
            );
            return Ok(());
        }
        Err(format!("not seen: {}", missing.join("; ")).into())
    }
}
