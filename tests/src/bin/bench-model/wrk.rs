//! Load by wrk: one thread that no server shares, so that what a request costs the client is little and the same for
//! all.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use e2e::Failure;
use e2e::process::Process;
use serde::Deserialize;

/// The program, with its script and its output in a folder.
pub(crate) struct Wrk {
    dir: PathBuf,
    script: PathBuf,
}

/// What came of one run.
#[derive(Debug, Clone, Copy, Deserialize)]
pub(crate) struct Measured {
    requests: u64,
    seconds: f64,
    pub(crate) p50_ms: f64,
    pub(crate) p99_ms: f64,
    failed: u64,
}

impl Measured {
    pub(crate) fn requests_per_second(&self) -> f64 {
        self.requests as f64 / self.seconds
    }
}

impl Wrk {
    pub(crate) fn new(dir: &Path) -> Result<Wrk, Failure> {
        Command::new("wrk")
            .arg("--version")
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()
            .map_err(|error| format!("wrk is needed and cannot be run: {error} (Debian: apt install wrk)"))?;
        let script = dir.join("predict.lua");
        std::fs::write(&script, include_str!("predict.lua"))?;
        Ok(Wrk { dir: dir.to_owned(), script })
    }

    /// Posts a file to a server's `/predict` by a number of connections for a while. Every request must succeed.
    pub(crate) async fn run(
        &self,
        address: &str,
        body: &Path,
        connections: usize,
        time: Duration,
    ) -> Result<Measured, Failure> {
        let url = format!("http://{address}/predict");
        self.post(Command::new("wrk"), &url, &[], body, connections, time).await
    }

    /// As [`Wrk::run`], to any address with headers NAME=VALUE, by a command that becomes wrk.
    pub(crate) async fn post(
        &self,
        mut command: Command,
        url: &str,
        headers: &[String],
        body: &Path,
        connections: usize,
        time: Duration,
    ) -> Result<Measured, Failure> {
        // wrk knows whole seconds only.
        let seconds = time.as_secs().max(1);
        command
            .args(["--threads=1", "--timeout=60s"])
            .arg(format!("--connections={connections}"))
            .arg(format!("--duration={seconds}s"))
            .arg(format!("--script={}", self.script.display()))
            .arg(url)
            .arg("--")
            .arg(body)
            .args(headers);
        let mut process = Process::start_command("wrk", command, &self.dir)?;
        let status = process.wait(time + PATIENCE).await?;
        let text = process.log();
        let failed = || format!("wrk failed:\n{text}");
        let line = text.lines().find_map(|line| line.strip_prefix("REPORT ")).ok_or_else(failed)?;
        let measured: Measured = serde_json::from_str(line)?;
        if !status.success() || measured.failed > 0 || measured.requests == 0 {
            return Err(failed().into());
        }
        Ok(measured)
    }
}

/// A body with a number of features, written to a file: the tutorial's for 5, six decimals each for more.
pub(crate) fn body(dir: &Path, features: usize) -> Result<PathBuf, Failure> {
    let path = dir.join(format!("{features}.json"));
    std::fs::write(&path, features_json(features))?;
    Ok(path)
}

/// A number of features as the tutorial's JSON.
pub(crate) fn features_json(features: usize) -> String {
    if features == TUTORIAL_FEATURES {
        return r#"{"features": [0.1, 0.2, 0.3, 0.4, 0.5]}"#.to_owned();
    }
    let numbers: Vec<String> = (0..features).map(|number| format!("{:.6}", (number as f64).sin())).collect();
    format!(r#"{{"features": [{}]}}"#, numbers.join(", "))
}

pub(crate) const TUTORIAL_FEATURES: usize = 5;
/// How long its last answers may take.
const PATIENCE: Duration = Duration::from_mins(2);
