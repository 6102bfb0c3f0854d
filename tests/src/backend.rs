//! The servers that users have behind the adapter, over one and the same data, below a path of their own.

use std::fmt::Write as _;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, SystemTime};

use serde_json::Value;

use crate::component::component;
use crate::process::Process;
use crate::{Failure, free_port, until};

/// A server that speaks Prometheus' HTTP API.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Prometheus as it is now.
    Prometheus3,
    /// Prometheus of Debian 12.
    Prometheus2,
    /// VictoriaMetrics as a single node.
    VictoriaMetrics,
}

/// A running server with the data in it.
#[derive(Debug)]
pub struct Backend {
    /// Which it is.
    pub kind: Kind,
    /// What it runs as.
    pub process: Process,
    port: u16,
}

/// Series with their samples.
#[derive(Debug, Default)]
pub struct Data(Vec<Series>);

#[derive(Debug)]
struct Series {
    name: &'static str,
    labels: Vec<(String, String)>,
    /// Milliseconds since the epoch, and values.
    samples: Vec<(u128, f64)>,
}

impl Kind {
    /// All, in the order in which they are shown.
    pub const ALL: [Kind; 3] = [Kind::Prometheus3, Kind::Prometheus2, Kind::VictoriaMetrics];

    /// What it is called.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Prometheus3 => "Prometheus 3",
            Kind::Prometheus2 => "Prometheus 2.42",
            Kind::VictoriaMetrics => "VictoriaMetrics",
        }
    }

    /// The component that it is.
    pub fn program(self) -> &'static str {
        match self {
            Kind::Prometheus3 => "prometheus",
            Kind::Prometheus2 => "prometheus-2.42",
            Kind::VictoriaMetrics => "victoria-metrics",
        }
    }

    /// Whether it keeps names that need quotes, as OpenTelemetry's do.
    pub fn keeps_quoted_names(self) -> bool {
        self != Kind::Prometheus2
    }

    /// What puts data into it before it is started.
    fn promtool(self) -> Option<&'static str> {
        match self {
            Kind::Prometheus3 => Some("promtool"),
            Kind::Prometheus2 => Some("promtool-2.42"),
            Kind::VictoriaMetrics => None,
        }
    }
}

impl Backend {
    /// Starts one with the data in it, in a folder of its own; `None` where it is neither there nor can be built.
    ///
    /// # Errors
    /// It did not start, or does not take the data.
    pub async fn start(kind: Kind, data: &Data, dir: &Path) -> Result<Option<Backend>, Failure> {
        let Some(program) = component(kind.program()) else { return Ok(None) };
        let promtool = match kind.promtool() {
            Some(promtool) => match component(promtool) {
                Some(promtool) => Some(promtool),
                None => return Ok(None),
            },
            None => None,
        };
        let dir = dir.join(kind.program());
        std::fs::create_dir_all(&dir)?;
        let stored = dir.join("data");
        let port = free_port()?;
        let arguments = match promtool {
            Some(promtool) => {
                write_blocks(&promtool, &data.text(kind, 1000), &dir, &stored)?;
                let config = dir.join("prometheus.yml");
                std::fs::write(&config, "{}")?;
                vec![
                    format!("--config.file={}", config.display()),
                    format!("--storage.tsdb.path={}", stored.display()),
                    format!("--web.listen-address=127.0.0.1:{port}"),
                    format!("--web.route-prefix={PREFIX}"),
                ]
            }
            None => vec![
                format!("-storageDataPath={}", stored.display()),
                format!("-httpListenAddr=127.0.0.1:{port}"),
                format!("-http.pathPrefix={PREFIX}"),
                // By default 16 KiB, which is less than thousands of names.
                "-search.maxQueryLen=1MiB".to_owned(),
            ],
        };
        let process = Process::start(kind.program(), &program, &arguments, &dir)?;
        let backend = Backend { kind, process, port };
        let http = reqwest::Client::new();
        let ready = if kind == Kind::VictoriaMetrics { "/health" } else { "/-/ready" };
        until("the server is ready", MINUTE, || async {
            let answer = http.get(format!("{}{ready}", backend.url())).send().await;
            Ok(answer.is_ok_and(|answer| answer.status().is_success()))
        })
        .await
        .map_err(|error| format!("{}: {error}\n{}", kind.name(), backend.process.tail()))?;
        if kind == Kind::VictoriaMetrics {
            let import = http.post(format!("{}/api/v1/import/prometheus", backend.url()));
            import.body(data.text(kind, 1)).send().await?.error_for_status()?;
            http.get(format!("{}/internal/force_flush", backend.url())).send().await?;
        }
        let wanted = data.0.iter().filter(|series| series.name == "up").count();
        until("the data is there", MINUTE, || async {
            let request =
                http.get(format!("{}/api/v1/query", backend.url())).query(&[("query", "count(up)")]);
            let answer: Value = serde_json::from_slice(&request.send().await?.bytes().await?)?;
            let found = answer.pointer("/data/result/0/value/1").and_then(Value::as_str);
            Ok(found == Some(&wanted.to_string()))
        })
        .await
        .map_err(|error| format!("{}: {error}\n{}", kind.name(), backend.process.tail()))?;
        Ok(Some(backend))
    }

    /// Where its API is, below the path that it has.
    pub fn url(&self) -> String {
        format!("{}{PREFIX}", self.root())
    }

    /// Where there is nothing.
    pub fn root(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }
}

fn write_blocks(promtool: &Path, text: &str, dir: &Path, stored: &Path) -> Result<(), Failure> {
    let file = dir.join("data.om");
    std::fs::write(&file, format!("{text}# EOF\n"))?;
    let output = Command::new(promtool)
        .args(["tsdb", "create-blocks-from", "openmetrics"])
        .args([&file, stored])
        .output()?;
    if !output.status.success() {
        return Err(format!("promtool: {}", String::from_utf8_lossy(&output.stderr)).into());
    }
    Ok(())
}

impl Data {
    /// A series with a value for each of these seconds from now.
    pub fn series(
        &mut self,
        name: &'static str,
        labels: &[(&str, &str)],
        seconds: impl Iterator<Item = i64>,
        value: impl Fn(i64) -> f64,
    ) {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let start = i128::from(now.as_secs() / 60 * 60);
        let at = |second: i64| u128::try_from((start + i128::from(second)) * 1000).unwrap_or_default();
        let samples = seconds.map(|second| (at(second), value(second))).collect();
        let labels = labels.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        self.0.push(Series { name, labels, samples });
    }

    /// As an exporter writes it for this server, with times in seconds or in thousandths of them.
    fn text(&self, kind: Kind, times_of_a_second: u128) -> String {
        let mut text = String::new();
        for Series { name, labels, samples } in &self.0 {
            let is_quoted = name.contains('.');
            if is_quoted && !kind.keeps_quoted_names() {
                continue;
            }
            let quoted = |name: &str| if is_quoted { format!("{name:?}") } else { name.to_owned() };
            let labels = labels.iter().map(|(name, value)| format!("{}={value:?}", quoted(name)));
            let series = if is_quoted {
                let parts: Vec<String> = std::iter::once(quoted(name)).chain(labels).collect();
                format!("{{{}}}", parts.join(","))
            } else {
                format!("{name}{{{}}}", labels.collect::<Vec<_>>().join(","))
            };
            for (at, value) in samples {
                // A text takes everything.
                let _ = writeln!(text, "{series} {value} {}", at / times_of_a_second);
            }
        }
        text
    }
}

const PREFIX: &str = "/metrics-of/team";
const MINUTE: Duration = Duration::from_mins(1);
