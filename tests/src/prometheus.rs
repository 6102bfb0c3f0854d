//! A real Prometheus on loopback, whose targets change as tests say.

use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use apiservice::authority::Authority;
use base64::Engine as _;
use serde_json::{Value, json};

use crate::process::Process;
use crate::{Failure, free_port, until};

/// A Prometheus that scrapes every second what a file names.
#[derive(Debug)]
pub struct Prometheus {
    program: PathBuf,
    dir: PathBuf,
    process: Option<Process>,
    port: u16,
    http: reqwest::Client,
    /// `http`, or `https` with what `web.yml` asks for.
    scheme: &'static str,
}

/// One scrape target.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct ScrapeTarget {
    /// Host and port.
    pub address: String,
    /// Labels of its series.
    pub labels: Vec<(String, String)>,
}

impl Prometheus {
    /// Starts one in `dir` and waits until it is ready.
    ///
    /// # Errors
    /// It did not start.
    pub async fn start(program: &Path, targets: &[ScrapeTarget], dir: &Path) -> Result<Prometheus, Failure> {
        Prometheus::start_with(program, targets, dir, reqwest::Client::new(), "http").await
    }

    /// As [`Prometheus::start`], by its own `--web.config.file`: over TLS, and only for [`USER`] with [`PASSWORD`].
    ///
    /// # Errors
    /// It did not start.
    pub async fn start_behind_tls(
        program: &Path,
        targets: &[ScrapeTarget],
        dir: &Path,
        authority: &Authority,
    ) -> Result<Prometheus, Failure> {
        let names = ["localhost", SERVICE].map(str::to_owned);
        let issued = authority.issue_server("prometheus", &names, &[LOCALHOST])?;
        std::fs::write(dir.join("prometheus.crt"), issued.certificate)?;
        std::fs::write(dir.join("prometheus.key"), issued.key)?;
        let web = json!({
            "tls_server_config": {"cert_file": "prometheus.crt", "key_file": "prometheus.key"},
            "basic_auth_users": {USER: PASSWORD_BCRYPT},
        });
        std::fs::write(dir.join("web.yml"), web.to_string())?;
        let credentials = base64::engine::general_purpose::STANDARD.encode(format!("{USER}:{PASSWORD}"));
        let headers = [(http::header::AUTHORIZATION, format!("Basic {credentials}").try_into()?)];
        let http = reqwest::Client::builder()
            .tls_certs_only([reqwest::Certificate::from_pem(authority.certificate().as_bytes())?])
            .default_headers(headers.into_iter().collect())
            .build()?;
        Prometheus::start_with(program, targets, dir, http, "https").await
    }

    async fn start_with(
        program: &Path,
        targets: &[ScrapeTarget],
        dir: &Path,
        http: reqwest::Client,
        scheme: &'static str,
    ) -> Result<Prometheus, Failure> {
        let dir = dir.to_owned();
        let config = "global: {scrape_interval: 1s}\nscrape_configs:\n- job_name: model-server\n  honor_labels: true\n  \
                      file_sd_configs:\n  - {files: [targets.json], refresh_interval: 1s}\n";
        std::fs::write(dir.join("prometheus.yml"), config)?;
        let mut prometheus =
            Prometheus { program: program.to_owned(), process: None, port: free_port()?, http, dir, scheme };
        prometheus.set_targets(targets)?;
        prometheus.resume().await?;
        Ok(prometheus)
    }

    /// A client that it takes.
    pub fn client(&self) -> &reqwest::Client {
        &self.http
    }

    /// Where it answers, by the name of a Service.
    pub fn service_url(&self) -> String {
        format!("{}://{USER}:{PASSWORD}@{SERVICE}:{}", self.scheme, self.port)
    }

    /// Where it answers.
    pub fn url(&self) -> String {
        format!("{}://127.0.0.1:{}", self.scheme, self.port)
    }

    /// The file that holds its targets; another may write it.
    pub fn targets_file(&self) -> PathBuf {
        self.dir.join("targets.json")
    }

    /// Changes what is scraped.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn set_targets(&self, targets: &[ScrapeTarget]) -> Result<(), Failure> {
        write_targets(&self.targets_file(), targets)
    }

    /// CPU time that it has used since it was started last.
    pub fn cpu_time(&self) -> Duration {
        self.process.as_ref().and_then(Process::cpu_time).unwrap_or_default()
    }

    /// Kills it.
    pub fn stop(&mut self) {
        drop(self.process.take());
    }

    /// Starts it again on the same port, with what it had stored.
    ///
    /// # Errors
    /// It did not start.
    pub async fn resume(&mut self) -> Result<(), Failure> {
        let mut arguments = vec![
            format!("--config.file={}", self.dir.join("prometheus.yml").display()),
            format!("--storage.tsdb.path={}", self.dir.join("tsdb").display()),
            format!("--web.listen-address=127.0.0.1:{}", self.port),
        ];
        if self.scheme == "https" {
            arguments.push(format!("--web.config.file={}", self.dir.join("web.yml").display()));
        }
        self.process = Some(Process::start("prometheus", &self.program, &arguments, &self.dir)?);
        until("Prometheus is ready", Duration::from_mins(1), || async {
            let answer = self.http.get(format!("{}/-/ready", self.url())).send().await;
            Ok(answer.is_ok_and(|answer| answer.status().is_success()))
        })
        .await
    }

    /// The samples of a query: labels and value.
    ///
    /// # Errors
    /// No answer.
    pub async fn query(&self, promql: &str) -> Result<Vec<(Value, f64)>, Failure> {
        let request = self.http.get(format!("{}/api/v1/query", self.url())).query(&[("query", promql)]);
        let answer: Value = serde_json::from_slice(&request.send().await?.bytes().await?)?;
        let samples = answer["data"]["result"].as_array().ok_or_else(|| format!("no result: {answer}"))?;
        samples
            .iter()
            .map(|sample| {
                let value = sample["value"][1].as_str().ok_or("no value")?;
                Ok((sample["metric"].clone(), value.parse()?))
            })
            .collect()
    }
}

/// Writes a file of targets, whole or not at all.
///
/// # Errors
/// It cannot be written.
pub fn write_targets(file: &Path, targets: &[ScrapeTarget]) -> Result<(), Failure> {
    let groups: Vec<Value> = targets
        .iter()
        .map(|target| {
            let labels: serde_json::Map<String, Value> =
                target.labels.iter().map(|(name, value)| (name.clone(), json!(value))).collect();
            json!({"targets": [target.address], "labels": labels})
        })
        .collect();
    let new = file.with_extension("new");
    std::fs::write(&new, json!(groups).to_string())?;
    std::fs::rename(new, file)?;
    Ok(())
}

/// The name of a Service that its certificate is for; it has no address but what a test gives it.
pub const SERVICE: &str = "prometheus.monitoring.svc";
/// Who may ask a Prometheus behind TLS.
pub const USER: &str = "prometheus-user";
/// The password.
pub const PASSWORD: &str = "prometheus-password";
/// Of [`PASSWORD`], by ten rounds.
const PASSWORD_BCRYPT: &str = "$2b$10$abcdefghijklmnopqrstuuun0OIPoWn4Q0ebls.BXs9fmuMWCoby.";
const LOCALHOST: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
