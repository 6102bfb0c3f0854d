//! `--prometheus PROGRAM`: a Prometheus with the series of a test, which come into it by remote write.

use std::fs::File;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::str::FromStr;
use std::time::{Duration, Instant};

use engine::labels::Labels;
use engine::notation::{self, NotationError, Point};
use prost::Message as _;
use reqwest::{StatusCode, Url};
use serve::files;
use tempfile::TempDir;

use crate::source::SourceError;
use crate::source::prometheus::{Prometheus, PrometheusSettings};

/// Why a Prometheus does not serve a test.
#[derive(Debug, thiserror::Error)]
pub(super) enum PrometheusError {
    #[error(transparent)]
    Series(#[from] NotationError),
    #[error("expected series that fit into one request, found {bytes} bytes")]
    TooLong {
        bytes: usize,
        #[source]
        cause: snap::Error,
    },
    #[error("cannot ask Prometheus at {url}")]
    Url {
        url: String,
        #[source]
        cause: <Url as FromStr>::Err,
    },
    #[error("cannot make an HTTP client")]
    Client(#[source] reqwest::Error),
    #[error("cannot start {program}", program = program.display())]
    Start {
        program: PathBuf,
        #[source]
        cause: std::io::Error,
    },
    #[error("cannot watch Prometheus")]
    Watch(#[source] std::io::Error),
    #[error("expected a Prometheus that starts, found {status}: {log}")]
    Ended { status: ExitStatus, log: String },
    #[error("expected a Prometheus that is ready in {LONGEST_START:?}, found none: {log}")]
    NotReady { log: String },
    #[error("cannot write the series into Prometheus")]
    Unwritten(#[source] reqwest::Error),
    #[error("cannot write the series into Prometheus: expected 204, found {status}: {said}")]
    Refused { status: StatusCode, said: String },
    #[error(transparent)]
    Source(#[from] SourceError),
}

/// A running Prometheus. Dropping it ends it and removes its folder.
pub(super) struct StartedPrometheus {
    process: Child,
    address: SocketAddr,
    folder: TempDir,
}

impl StartedPrometheus {
    /// Starts the program in a folder of its own, and writes series into it, a value each step from time 0.
    pub(super) async fn start(
        program: &Path,
        step: Duration,
        series: &[(Labels, Vec<Point>)],
    ) -> Result<StartedPrometheus, PrometheusError> {
        let body = written(step, series)?;
        let client = reqwest::Client::builder()
            .no_proxy()
            .timeout(LONGEST_CALL)
            .build()
            .map_err(PrometheusError::Client)?;
        let mut started = StartedPrometheus::spawn(program)?;
        started.wait(&client).await?;
        let request = client
            .post(format!("http://{}/api/v1/write", started.address))
            .header("content-encoding", "snappy")
            .header("content-type", "application/x-protobuf")
            .header("x-prometheus-remote-write-version", "0.1.0")
            .body(body);
        let response = request.send().await.map_err(PrometheusError::Unwritten)?;
        let status = response.status();
        if !status.is_success() {
            let said = response.text().await.unwrap_or_default();
            let said = said.lines().next().unwrap_or_default().to_owned();
            return Err(PrometheusError::Refused { status, said });
        }
        Ok(started)
    }

    /// What a request sees that is asked `at` after the first value.
    pub(super) fn at(&self, at: Duration) -> Result<Prometheus, PrometheusError> {
        // Series that begin later are not listed yet.
        let url = format!("http://{}/?end={}", self.address, at.as_secs_f64());
        let url = Url::parse(&url).map_err(|cause| PrometheusError::Url { url, cause })?;
        let settings = PrometheusSettings { timeout: LONGEST_CALL, ..PrometheusSettings::new(url) };
        Ok(Prometheus::new(settings)?)
    }

    fn spawn(program: &Path) -> Result<StartedPrometheus, PrometheusError> {
        let cannot = |cause| PrometheusError::Start { program: program.to_owned(), cause };
        let folder = tempfile::tempdir().map_err(cannot)?;
        let config = folder.path().join("prometheus.yml");
        std::fs::write(&config, "{}").map_err(cannot)?;
        let log = File::create(folder.path().join(LOG)).map_err(cannot)?;
        // Another program may take the port before Prometheus does; then that one does not start, and says so.
        let address = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
            .and_then(|listener| listener.local_addr())
            .map_err(cannot)?;
        let process = Command::new(program)
            .arg(format!("--config.file={}", config.display()))
            .arg(format!("--storage.tsdb.path={}", folder.path().join("data").display()))
            .arg(format!("--web.listen-address={address}"))
            .arg("--web.enable-remote-write-receiver")
            .arg("--storage.tsdb.retention.time=100y")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .map_err(cannot)?;
        Ok(StartedPrometheus { process, address, folder })
    }

    async fn wait(&mut self, client: &reqwest::Client) -> Result<(), PrometheusError> {
        let deadline = Instant::now() + LONGEST_START;
        loop {
            let answer = client.get(format!("http://{}/-/ready", self.address)).send().await;
            if answer.is_ok_and(|answer| answer.status().is_success()) {
                return Ok(());
            }
            match self.process.try_wait() {
                Ok(Some(status)) => {
                    return Err(PrometheusError::Ended { status, log: self.last_words() });
                }
                Err(cause) => return Err(PrometheusError::Watch(cause)),
                Ok(None) if Instant::now() > deadline => {
                    return Err(PrometheusError::NotReady { log: self.last_words() });
                }
                Ok(None) => tokio::time::sleep(EVERY).await,
            }
        }
    }

    /// The last lines of its log.
    fn last_words(&self) -> String {
        let log = files::read_text(&self.folder.path().join(LOG), LARGEST_LOG).unwrap_or_default();
        let lines: Vec<&str> = log.lines().rev().take(LINES_SHOWN).collect();
        lines.into_iter().rev().collect::<Vec<_>>().join("\n")
    }
}

impl Drop for StartedPrometheus {
    fn drop(&mut self) {
        // It has nothing to save.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// One request of remote write 1.0. One holds all: Prometheus takes samples of one request in any order of series, and
/// of later ones only newer samples.
fn written(step: Duration, series: &[(Labels, Vec<Point>)]) -> Result<Vec<u8>, PrometheusError> {
    let mut timeseries: Vec<TimeSeries> = notation::samples(step, series)?
        .into_iter()
        .map(|(labels, samples)| TimeSeries {
            labels: labels
                .iter()
                .map(|(name, value)| Label { name: name.to_owned(), value: value.to_owned() })
                .collect(),
            samples: samples.into_iter().map(|(timestamp, value)| Sample { value, timestamp }).collect(),
        })
        .filter(|series| !series.samples.is_empty())
        .collect();
    // How old a sample may be follows from the first.
    timeseries.sort_by_key(|series| series.samples.first().map(|sample| sample.timestamp));
    let body = WriteRequest { timeseries }.encode_to_vec();
    let compressed = snap::raw::Encoder::new().compress_vec(&body);
    compressed.map_err(|cause| PrometheusError::TooLong { bytes: body.len(), cause })
}

#[derive(Clone, PartialEq, prost::Message)]
struct WriteRequest {
    #[prost(message, repeated, tag = "1")]
    timeseries: Vec<TimeSeries>,
}

/// Its labels are sorted by name.
#[derive(Clone, PartialEq, prost::Message)]
struct TimeSeries {
    #[prost(message, repeated, tag = "1")]
    labels: Vec<Label>,
    #[prost(message, repeated, tag = "2")]
    samples: Vec<Sample>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Label {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(string, tag = "2")]
    value: String,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Sample {
    #[prost(double, tag = "1")]
    value: f64,
    /// In milliseconds since the epoch.
    #[prost(int64, tag = "2")]
    timestamp: i64,
}

const LOG: &str = "prometheus.log";
const LINES_SHOWN: usize = 5;
/// In bytes.
const LARGEST_LOG: usize = 1 << 20;
const EVERY: Duration = Duration::from_millis(50);
const LONGEST_START: Duration = Duration::from_mins(1);
const LONGEST_CALL: Duration = Duration::from_secs(30);
