//! The servers: ours, the tutorial's, a tuned one in Python, and one that does nothing.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use e2e::process::Process;
use e2e::{Failure, free_port, stack, until};

/// A server and how many processes it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Kind {
    pub(crate) name: &'static str,
    pub(crate) workers: usize,
}

impl Kind {
    fn is_python(self) -> bool {
        [TUTORIAL.name, TUNED.name].contains(&self.name)
    }
}

pub(crate) const OURS: Kind = Kind { name: "model-server", workers: 1 };
pub(crate) const TUTORIAL: Kind = Kind { name: "fastapi", workers: 1 };
pub(crate) const TUTORIAL_TWICE: Kind = Kind { name: "fastapi", workers: 2 };
pub(crate) const TUNED: Kind = Kind { name: "starlette", workers: 2 };
pub(crate) const NOOP: Kind = Kind { name: "noop", workers: 1 };
pub(crate) const KINDS: [Kind; 5] = [OURS, TUTORIAL, TUTORIAL_TWICE, TUNED, NOOP];

/// Servers of ONNX, and a loop around their library without one.
pub(crate) const PEERS: [&str; 3] = [LOOP, LITSERVE, MLSERVER];
pub(crate) const LOOP: &str = "loop";
pub(crate) const LITSERVE: &str = "litserve";
pub(crate) const MLSERVER: &str = "mlserver";

/// What is served.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Model {
    /// The tutorial's Linear(768, 2).
    Linear,
    /// Milliseconds of arithmetic on one core.
    Slow,
}

/// One server, ready.
pub(crate) struct Server {
    pub(crate) address: String,
    /// From its start until every worker was ready.
    pub(crate) ready: Duration,
    pub(crate) process: Process,
}

/// Starts servers, with their logs in a folder.
pub(crate) struct Servers {
    dir: PathBuf,
    /// Where Python's packages are; `None` when no server needs them.
    venv: Option<PathBuf>,
    http: reqwest::Client,
}

impl Servers {
    pub(crate) fn new(kinds: &[Kind], dir: &Path) -> Result<Servers, Failure> {
        let venv = if kinds.iter().any(|kind| kind.is_python()) { Some(venv()?) } else { None };
        let http = reqwest::Client::builder().no_proxy().build()?;
        Ok(Servers { dir: dir.to_owned(), venv, http })
    }

    /// Where Python's packages are.
    pub(crate) fn venv(&self) -> Option<&Path> {
        self.venv.as_deref()
    }

    /// Starts a server and waits until it is healthy, all of it. `flags` are for ours.
    pub(crate) async fn start(&self, kind: Kind, model: Model, flags: &[&str]) -> Result<Server, Failure> {
        let port = free_port()?;
        let address = format!("127.0.0.1:{port}");
        let command = match kind {
            OURS => {
                let mut command = Command::new(stack::program("model-server")?);
                command.args(["--listen", &address]).args(flags);
                if model == Model::Slow {
                    command.arg("--model").arg(stack::repository().join("model-server/models/demo-mlp.onnx"));
                }
                command
            }
            NOOP => {
                let mut command = Command::new(std::env::current_exe()?);
                command.args([NOOP.name, &address]);
                command
            }
            _ => self.python(kind, model, port)?,
        };
        let process = Process::start_command(&format!("{}-{port}", kind.name), command, &self.dir)?;
        let url = format!("http://{address}/health");
        until(&format!("{} is ready", kind.name), START, || async {
            let answer = self.http.get(&url).send().await;
            // The first of several workers may answer before the others are there.
            let complete = !kind.is_python() || process.log().matches(STARTED).count() == kind.workers;
            Ok(answer.is_ok_and(|answer| answer.status().is_success()) && complete)
        })
        .await
        .map_err(|error| format!("{error}\n{}", process.tail()))?;
        Ok(Server { address, ready: process.age(), process })
    }

    fn python(&self, kind: Kind, model: Model, port: u16) -> Result<Command, Failure> {
        let venv = self.venv.as_ref().ok_or("Python's servers were not asked for")?;
        let mut command = Command::new(venv.join("bin/python"));
        command.args(["-m", "uvicorn", "--app-dir"]).arg(stack::repository().join("tests/peers"));
        command.args(["--host", "127.0.0.1", "--port", &port.to_string()]);
        command.args(["--workers", &kind.workers.to_string()]);
        if kind == TUTORIAL {
            // What the tutorial installs: uvicorn without its optional packages.
            command.args(["--loop", "asyncio", "--http", "h11"]);
        } else {
            // Without uvloop several workers answer without TCP_NODELAY, 40 ms late: an operator would not leave it so.
            command.args(["--loop", "uvloop", "--http", "httptools"]);
        }
        command.args(if kind == TUNED { &["--no-access-log", "tuned:app"][..] } else { &["tutorial:app"] });
        if model == Model::Slow {
            command.env("PEER_MODEL", "slow");
        }
        Ok(command)
    }

    /// What a server exports.
    pub(crate) async fn metrics(&self, server: &Server) -> Result<String, Failure> {
        let url = format!("http://{}/metrics", server.address);
        Ok(self.http.get(url).send().await?.error_for_status()?.text().await?)
    }
}

/// The environment of Python's servers, made if it is not there.
fn venv() -> Result<PathBuf, Failure> {
    println!("looking for the packages of Python's servers; the first time they are downloaded, 2 GB");
    environment("tests/peers/requirements.txt")
}

/// An environment of Python's with what a file of the repository names, made if it is not there.
pub(crate) fn environment(requirements: &str) -> Result<PathBuf, Failure> {
    let repository = stack::repository();
    let output = Command::new(repository.join("scripts/venv"))
        .arg(repository.join(requirements))
        .stderr(std::process::Stdio::inherit())
        .output()?;
    if !output.status.success() {
        return Err(
            format!("scripts/venv could not make the environment of {requirements}: see above").into()
        );
    }
    Ok(PathBuf::from(String::from_utf8(output.stdout)?.trim()))
}

const START: Duration = Duration::from_mins(2);
/// What uvicorn logs for each worker.
const STARTED: &str = "Application startup complete";
