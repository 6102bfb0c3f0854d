//! Models of five kinds, served by ours, LitServe and MLServer by the same library, with a bare loop around that as the
//! ceiling. Servers and the loop have one core, wrk the other. A request is one row; ours is asked for whole batches,
//! too, as clients with many rows ask, where HTTP's share is small.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use e2e::process::{self, Process};
use e2e::{Failure, free_port, median, stack, until};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::servers::{LITSERVE, LOOP, MLSERVER, OURS, environment};
use crate::settings::Settings;
use crate::wrk::Wrk;

/// What is served, and its file of those that the exporters wrote.
const MODELS: [(&str, &str); 5] = [
    ("linear", "torch-legacy-linear.onnx"),
    ("mlp", "torch-legacy-mlp.onnx"),
    ("cnn", "torch-legacy-cnn.onnx"),
    ("transformer", "torch-legacy-transformer.onnx"),
    ("int8", "quantised-dynamic-mlp.onnx"),
];
const CONCURRENCIES: [usize; 3] = [1, 16, 64];
/// Clients that ask for whole batches.
const BATCH_CLIENTS: usize = 64;
/// Rows of a batch at most, everywhere.
const MOST_ROWS: usize = 32;
const WARM_UP: Duration = Duration::from_secs(1);
const START: Duration = Duration::from_mins(2);
/// How long an answer may take before it is asked for again: LitServe accepts connections before it can answer, and
/// never answers some of those.
const ANSWER: Duration = Duration::from_secs(3);
/// Of the servers and the loop, and of wrk.
const CORES: [&str; 2] = ["0", "1"];

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Key {
    model: usize,
    concurrency: usize,
    rows_a_request: usize,
    server: &'static str,
}

#[derive(Debug, Clone, Copy, Deserialize)]
struct Row {
    rows_per_second: f64,
    p50_ms: f64,
    p99_ms: f64,
    rss_bytes: u64,
}

/// A number of clients, of rows a request, and what was measured with them.
type Measured = (usize, usize, Row);

/// Where everything is.
struct Places {
    dir: PathBuf,
    models: PathBuf,
    library: String,
    /// Of LitServe, MLServer and the loop.
    python: PathBuf,
}

pub(crate) async fn run(settings: &Settings, dir: &Path) -> Result<(), Failure> {
    let wanted =
        |server: &&str| settings.servers.as_ref().is_none_or(|names| names.iter().any(|name| name == server));
    let servers: Vec<&'static str> =
        [LOOP, OURS.name, LITSERVE, MLSERVER].into_iter().filter(wanted).collect();
    let concurrencies = if settings.quick { &CONCURRENCIES[2..] } else { &CONCURRENCIES[..] };
    let time = settings.seconds.unwrap_or(Duration::from_secs(if settings.quick { 1 } else { 3 }));
    let rounds = if settings.quick { 1 } else { settings.rounds };
    let wrk = Wrk::new(dir)?;
    let repository = stack::repository();
    let python = environment("tests/peers/onnx-servers/requirements.txt")?.join("bin/python");
    let library = process::run(&mut Command::new(repository.join("scripts/onnxruntime")))?;
    let library = library.trim().to_owned();
    let places = Places { dir: dir.to_owned(), models: exported()?, library, python };
    let mut table: BTreeMap<Key, Vec<Row>> = BTreeMap::new();
    for round in 1..=rounds {
        for (model, (name, file)) in MODELS.iter().enumerate() {
            for server in servers.iter().copied() {
                println!("round {round} of {rounds}: {name} by {server}");
                let file = places.models.join(file);
                let rows = if server == LOOP {
                    places.bare_loop(&file, concurrencies, time)?
                } else {
                    places.measure(server, &file, &wrk, concurrencies, time).await?
                };
                for (concurrency, rows_a_request, row) in rows {
                    let key = Key { model, concurrency, rows_a_request, server };
                    table.entry(key).or_default().push(row);
                }
            }
        }
    }
    report(&table)
}

/// The models, written by the exporters if they are not there.
fn exported() -> Result<PathBuf, Failure> {
    let repository = stack::repository();
    let folder = repository.join("target/exported-models");
    if !folder.join("index.json").is_file() {
        println!("writing the models; the first time PyTorch is downloaded, 2 GB");
        let python = environment("model-server/tests/public/exporters.txt")?.join("bin/python");
        let exporters = repository.join("model-server/tests/public/exporters.py");
        process::run(Command::new(python).arg(exporters).arg(&folder))?;
    }
    Ok(folder)
}

/// What a model takes, as our server says it.
#[derive(Debug, Clone, Deserialize)]
struct Input {
    name: String,
    datatype: String,
    shape: Vec<i64>,
}

impl Input {
    fn elements(&self) -> usize {
        self.shape.iter().skip(1).map(|size| usize::try_from(*size).unwrap_or(1)).product()
    }

    /// One row: numbers between -1 and 1, or small tokens.
    fn row(&self) -> Result<Vec<u8>, Failure> {
        let places = 0..self.elements();
        match self.datatype.as_str() {
            "FP32" => Ok(places.flat_map(|place| (place as f32).sin().to_le_bytes()).collect()),
            "INT64" => Ok(places.flat_map(|place| (1 + place as i64 % 7).to_le_bytes()).collect()),
            other => Err(format!("expected a model of FP32 and INT64, found {other}").into()),
        }
    }
}

/// What is posted.
struct Body {
    path: PathBuf,
    headers: Vec<String>,
}

impl Places {
    fn pinned(core: &str, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new("taskset");
        command.args(["-c", core]).arg(program);
        command
    }

    /// The loop with as many rows a batch as the clients of each concurrency can fill.
    fn bare_loop(
        &self,
        model: &Path,
        concurrencies: &[usize],
        time: Duration,
    ) -> Result<Vec<Measured>, Failure> {
        let program = stack::repository().join("tests/peers/onnx-servers/loop.py");
        let rows = concurrencies.iter().map(|concurrency| {
            let mut command = Places::pinned(CORES[0], &self.python);
            command.arg(&program).arg(model);
            command.arg((*concurrency).min(MOST_ROWS).to_string()).arg(time.as_secs_f64().to_string());
            let output = process::run(&mut command)?;
            let line = output.lines().find_map(|line| line.strip_prefix("REPORT "));
            Ok((*concurrency, 1, serde_json::from_str(line.ok_or("the loop reported nothing")?)?))
        });
        rows.collect()
    }

    async fn measure(
        &self,
        server: &'static str,
        model: &Path,
        wrk: &Wrk,
        concurrencies: &[usize],
        time: Duration,
    ) -> Result<Vec<Measured>, Failure> {
        // Ours says what any model takes.
        let inputs = self.inputs(model).await?;
        let port = free_port()?;
        let address = format!("127.0.0.1:{port}");
        let (command, health, path) = match server {
            LITSERVE => (self.litserve(model, port), "health", "predict"),
            MLSERVER => (self.mlserver(model, port)?, "v2/models/default/ready", "v2/models/default/infer"),
            _ => (self.ours(model, &address)?, "v2/health/ready", "v2/models/default/infer"),
        };
        let process = self.start(server, command, &format!("http://{address}/{health}")).await?;
        let body = match server {
            LITSERVE => self.json(&json!({"inputs": base64_rows(&inputs)?}))?,
            MLSERVER => {
                let rows = base64_rows(&inputs)?;
                let tensors = rows.iter().map(
                    |(name, row)| json!({"name": name, "shape": [1, 1], "datatype": "BYTES", "data": [row]}),
                );
                self.json(&json!({"inputs": tensors.collect::<Vec<_>>()}))?
            }
            _ => self.binary(&inputs, 1)?,
        };
        let batches = if server == OURS.name { Some(self.binary(&inputs, MOST_ROWS)?) } else { None };
        let url = format!("http://{address}/{path}");
        let post = async |body: &Body, connections, time| {
            let wrk_there = Places::pinned(CORES[1], "wrk");
            wrk.post(wrk_there, &url, &body.headers, &body.path, connections, time).await
        };
        post(&body, MOST_ROWS * 2, WARM_UP).await?;
        let mut rows = Vec::new();
        let asked = concurrencies.iter().map(|concurrency| (*concurrency, 1, &body));
        let asked = asked.chain(batches.iter().map(|body| (BATCH_CLIENTS, MOST_ROWS, body)));
        for (concurrency, rows_a_request, body) in asked {
            let measured = post(body, concurrency, time).await?;
            let row = Row {
                rows_per_second: measured.requests_per_second() * rows_a_request as f64,
                p50_ms: measured.p50_ms,
                p99_ms: measured.p99_ms,
                rss_bytes: process.resident_bytes().ok_or("the server ended")?,
            };
            rows.push((concurrency, rows_a_request, row));
        }
        Ok(rows)
    }

    async fn start(&self, server: &str, command: Command, health: &str) -> Result<Process, Failure> {
        let process = Process::start_command(server, command, &self.dir)?;
        let http = reqwest::Client::builder().no_proxy().timeout(ANSWER).build()?;
        until(&format!("{server} is ready"), START, || async {
            Ok(http.get(health).send().await.is_ok_and(|answer| answer.status().is_success()))
        })
        .await
        .map_err(|error| format!("{error}\n{}", process.tail()))?;
        Ok(process)
    }

    fn ours(&self, model: &Path, address: &str) -> Result<Command, Failure> {
        let mut command = Places::pinned(CORES[0], stack::program("model-server")?);
        command.args(["--listen", address, "--onnxruntime", &self.library, "--backend", "onnxruntime"]);
        command.args(["--max-batch-size", &MOST_ROWS.to_string()]).arg("--model").arg(model);
        Ok(command)
    }

    fn litserve(&self, model: &Path, port: u16) -> Command {
        let mut command = Places::pinned(CORES[0], &self.python);
        command
            .arg(stack::repository().join("tests/peers/onnx-servers/lit.py"))
            .arg(model)
            .arg(port.to_string());
        command
    }

    fn mlserver(&self, model: &Path, port: u16) -> Result<Command, Failure> {
        let folder = self.dir.join("mlserver-settings");
        std::fs::create_dir_all(&folder)?;
        // In one process, as there is one core.
        let settings = json!({
            "host": "127.0.0.1", "http_port": port, "grpc_port": free_port()?, "metrics_port": free_port()?,
            "parallel_workers": 0, "debug": false,
        });
        let model = json!({
            "name": "default", "implementation": "ml.Onnx", "parameters": {"uri": model},
            "max_batch_size": MOST_ROWS, "max_batch_time": 0.002,
        });
        std::fs::write(folder.join("settings.json"), settings.to_string())?;
        std::fs::write(folder.join("model-settings.json"), model.to_string())?;
        let mut command = Places::pinned(CORES[0], &self.python);
        command.args(["-m", "mlserver.cli.main", "start"]).arg(&folder);
        command.env("PYTHONPATH", stack::repository().join("tests/peers/onnx-servers"));
        Ok(command)
    }

    async fn inputs(&self, model: &Path) -> Result<Vec<Input>, Failure> {
        #[derive(Deserialize)]
        struct Metadata {
            inputs: Vec<Input>,
        }
        let address = format!("127.0.0.1:{}", free_port()?);
        let ready = format!("http://{address}/v2/health/ready");
        let _process = self.start("model-server-metadata", self.ours(model, &address)?, &ready).await?;
        let http = reqwest::Client::builder().no_proxy().build()?;
        let answer = http.get(format!("http://{address}/v2/models/default")).send().await?;
        let metadata: Metadata = serde_json::from_slice(&answer.error_for_status()?.bytes().await?)?;
        Ok(metadata.inputs)
    }

    fn json(&self, body: &Value) -> Result<Body, Failure> {
        let path = self.dir.join("rows.json");
        std::fs::write(&path, body.to_string())?;
        Ok(Body { path, headers: Vec::new() })
    }

    /// The protocol's binary extension, both ways.
    fn binary(&self, inputs: &[Input], count: usize) -> Result<Body, Failure> {
        let mut tensors = Vec::new();
        let mut rows = Vec::new();
        for input in inputs {
            let row = input.row()?.repeat(count);
            let mut shape = input.shape.clone();
            shape[0] = i64::try_from(count)?;
            let size = row.len();
            tensors.push(json!({
                "name": input.name, "shape": shape, "datatype": input.datatype,
                "parameters": {"binary_data_size": size},
            }));
            rows.extend(row);
        }
        let head = json!({"inputs": tensors, "parameters": {"binary_data_output": true}}).to_string();
        let path = self.dir.join(format!("rows-{count}.bin"));
        std::fs::write(&path, [head.as_bytes(), &rows].concat())?;
        let headers = vec![
            "Content-Type=application/octet-stream".to_owned(),
            format!("Inference-Header-Content-Length={}", head.len()),
        ];
        Ok(Body { path, headers })
    }
}

fn base64_rows(inputs: &[Input]) -> Result<BTreeMap<&str, String>, Failure> {
    inputs.iter().map(|input| Ok((input.name.as_str(), STANDARD.encode(input.row()?)))).collect()
}

fn report(table: &BTreeMap<Key, Vec<Row>>) -> Result<(), Failure> {
    println!("\nmedians of the rounds; the loop's clients are the rows of a batch, at most {MOST_ROWS}");
    println!(
        "{:12} {:>4} {:>4} {:14} {:>9} {:>9} {:>9} {:>7} {:>9}",
        "model", "c", "rows", "server", "rows/s", "p50 ms", "p99 ms", "RSS MB", "% of loop"
    );
    let rows: BTreeMap<Key, Row> = table
        .iter()
        .map(|(key, rounds)| {
            let of = |pick: fn(&Row) -> f64| median(rounds.iter().map(pick));
            let row = Row {
                rows_per_second: of(|row| row.rows_per_second),
                p50_ms: of(|row| row.p50_ms),
                p99_ms: of(|row| row.p99_ms),
                rss_bytes: of(|row| row.rss_bytes as f64) as u64,
            };
            (*key, row)
        })
        .collect();
    for (key, row) in &rows {
        let ceiling = rows
            .get(&Key { server: LOOP, rows_a_request: 1, ..*key })
            .map_or(f64::NAN, |row| row.rows_per_second);
        println!(
            "{:12} {:>4} {:>4} {:14} {:>9.0} {:>9.2} {:>9.2} {:>7.1} {:>9.0}",
            MODELS[key.model].0,
            key.concurrency,
            key.rows_a_request,
            key.server,
            row.rows_per_second,
            row.p50_ms,
            row.p99_ms,
            row.rss_bytes as f64 / 1e6,
            100.0 * row.rows_per_second / ceiling
        );
    }
    let rows: Vec<Value> = rows
        .iter()
        .map(|(key, row)| {
            json!({
                "server": key.server,
                "model": MODELS[key.model].0,
                "concurrency": key.concurrency,
                "rows_a_request": key.rows_a_request,
                "rows_per_second": row.rows_per_second,
                "p50_ms": row.p50_ms,
                "p99_ms": row.p99_ms,
                "rss_bytes": row.rss_bytes,
            })
        })
        .collect();
    stack::write_report("models", &json!({ "rows": rows }))
}
