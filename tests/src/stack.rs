//! Model servers as "pods", and the adapter in standalone mode in front of them.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::Failure;
use crate::api::Api;
use crate::process::Process;

/// A model server on loopback, standing for a pod.
#[derive(Debug)]
pub struct Pod {
    /// Its name in the API.
    pub name: String,
    /// Where it listens.
    pub address: String,
    /// The program.
    pub process: Process,
}

/// The adapter, ready.
#[derive(Debug)]
pub struct Adapter {
    /// The program.
    pub process: Process,
    /// The kubeconfig it wrote.
    pub kubeconfig: PathBuf,
    /// A client by that kubeconfig.
    pub api: Api,
    /// From its start to the first time it was ready.
    pub ready_after: Duration,
}

/// The folder of the repository.
pub fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// Writes `target/reports/NAME.json`.
///
/// # Errors
/// It cannot be written.
pub fn write_report(name: &str, report: &Value) -> Result<(), Failure> {
    let dir = repository().join("target/reports");
    std::fs::create_dir_all(&dir)?;
    Ok(std::fs::write(dir.join(format!("{name}.json")), format!("{report:#}\n"))?)
}

/// A program of this workspace, built with optimisation: beside this one if this one was, else in `target/release`.
///
/// # Errors
/// It was not built.
pub fn program(name: &str) -> Result<PathBuf, Failure> {
    let beside = std::env::current_exe()?.with_file_name(name);
    let target =
        std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| repository().join("target"), PathBuf::from);
    let release = target.join("release").join(name);
    // A program that checks its own arithmetic was built for tests, and so were those beside it.
    let places = if cfg!(debug_assertions) { [release, beside] } else { [beside, release] };
    places.into_iter().find(|path| path.exists()).ok_or_else(|| {
        format!("{name} is not built; build it with: cargo build --release -p adapter -p model-server").into()
    })
}

/// Arguments of a model server with a model of about 20 ms of arithmetic a request, one request at a time: enough for a
/// few dozen clients to cross the targets of the tutorial's autoscaler.
///
/// # Errors
/// The repository's path is not text.
pub fn slow_model() -> Result<Vec<String>, Failure> {
    let model = repository().join("model-server/models/demo-mlp.onnx");
    let model = model.to_str().ok_or("the repository's path is not text")?;
    Ok(["--model", model, "--max-batch-size", "1"].map(str::to_owned).to_vec())
}

/// Starts model servers and waits until they are healthy.
///
/// # Errors
/// One did not start.
pub async fn start_pods(count: usize, arguments: &[String], dir: &Path) -> Result<Vec<Pod>, Failure> {
    let mut pods = Vec::new();
    for number in 0..count {
        pods.push(start_pod(&format!("model-{number}"), arguments, dir).await?);
    }
    Ok(pods)
}

/// Starts a model server and waits until it is healthy.
///
/// # Errors
/// It did not start.
pub async fn start_pod(name: &str, arguments: &[String], dir: &Path) -> Result<Pod, Failure> {
    let mut all = vec!["--listen".to_owned(), "127.0.0.1:0".to_owned()];
    all.extend_from_slice(arguments);
    let mut process = Process::start(name, &program("model-server")?, &all, dir)?;
    let address = process.wait_for_log("listening address=", START).await?;
    process.wait_for_log("model ready inputs=", START).await?;
    Ok(Pod { name: name.to_owned(), address, process })
}

/// The flags by which the adapter scrapes pods in the namespace `default`.
pub fn targets(pods: &[Pod]) -> Vec<String> {
    pods.iter()
        .map(|pod| {
            let labels = format!("namespace=default,pod={},app=model-server", pod.name);
            format!("--scrape-target={labels}@http://{}/metrics", pod.address)
        })
        .collect()
}

/// Starts the adapter with the tutorial's rules and waits until it is ready.
///
/// # Errors
/// It did not get ready.
pub async fn start_adapter(source: &[String], dir: &Path) -> Result<Adapter, Failure> {
    let rules = repository().join("rules/tutorial.yaml");
    start_adapter_with(&rules, source, dir).await
}

/// Starts the adapter with a rule file and waits until it is ready.
///
/// # Errors
/// It did not get ready.
pub async fn start_adapter_with(rules: &Path, source: &[String], dir: &Path) -> Result<Adapter, Failure> {
    let standalone = dir.join("standalone");
    let mut arguments = vec![
        "--standalone".to_owned(),
        format!("--config={}", rules.display()),
        "--secure-port=0".to_owned(),
        format!("--standalone-dir={}", standalone.display()),
        "--shutdown-delay-duration=200ms".to_owned(),
    ];
    arguments.extend_from_slice(source);
    let mut process = Process::start("adapter", &program("adapter")?, &arguments, dir)?;
    process.wait_for_log("serving address=", START).await?;
    let kubeconfig = standalone.join("kubeconfig");
    let api = Api::from_kubeconfig(&kubeconfig)?;
    let deadline = Instant::now() + START;
    loop {
        let (code, body) = api.text("/readyz").await?;
        if code == 200 {
            break;
        }
        if Instant::now() > deadline {
            return Err(format!("the adapter is not ready: {body}\n{}", process.log()).into());
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let ready_after = process.age();
    Ok(Adapter { process, kubeconfig, api, ready_after })
}

const START: Duration = Duration::from_mins(1);
