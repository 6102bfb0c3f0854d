//! The flags of `adapter check`.

use std::path::PathBuf;
use std::time::Duration;

use apiservice::go_duration;
use clap::{Args, ValueEnum};
use reqwest::Url;

use super::prometheus::PrometheusAccessFlags;
use super::values::prometheus_url;
use crate::config::{Check, ReportFormat};

/// The flags of `adapter check`.
#[derive(Debug, Args)]
pub(super) struct CheckFlags {
    /// Rule files.
    #[arg(required = true)]
    files: Vec<PathBuf>,
    /// Form of the report.
    #[arg(long, value_name = "FORMAT", value_enum, default_value = "text")]
    format: Format,
    /// Fail on warnings too: exit status 1.
    #[arg(long)]
    strict: bool,
    /// How often Prometheus scrapes, for the lint of ranges that are too short.
    #[arg(long, value_name = "DURATION", value_parser = duration, default_value = "15s")]
    scrape_interval: Duration,
    /// File with autoscalers: check that the rules make every metric that they name, for that resource, with a target
    /// that can be meant, and that a metric has a value with minReplicas 0; repeatable.
    #[arg(long, value_name = "FILE")]
    hpa: Vec<PathBuf>,
    /// URL of a Prometheus to try the rules on: which series each finds, which metrics and objects come out, with
    /// sample values and their age, and which labels of the rules no series carries.
    #[arg(long, value_name = "URL", value_parser = prometheus_url)]
    prometheus_url: Option<Url>,
    #[command(flatten)]
    prometheus_access: PrometheusAccessFlags,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Format {
    /// For people: each finding with its line and a caret.
    Text,
    /// One JSON document.
    Json,
    /// Commands of a GitHub workflow, which shows them beside the lines of a change.
    Github,
}

impl CheckFlags {
    pub(super) fn validate(self, notices: &mut Vec<String>) -> Result<Check, Vec<String>> {
        let CheckFlags { files, format, strict, scrape_interval, hpa, prometheus_url, prometheus_access } =
            self;
        let mut faults = Vec::new();
        if scrape_interval.is_zero() {
            faults.push("--scrape-interval: expected more than 0s, found 0s".to_owned());
        }
        if prometheus_url.is_none()
            && let Some(flag) = prometheus_access.first_given()
        {
            faults.push(format!("{flag}: expected --prometheus-url URL beside it, found none"));
        }
        let access = prometheus_access.validate(&mut faults, notices);
        if !faults.is_empty() {
            return Err(faults);
        }
        let format = match format {
            Format::Text => ReportFormat::Text,
            Format::Json => ReportFormat::Json,
            Format::Github => ReportFormat::Github,
        };
        let prometheus = prometheus_url.map(|url| Box::new(access.settings(url)));
        Ok(Check { files, format, strict, scrape_interval, autoscalers: hpa, prometheus })
    }
}

fn duration(text: &str) -> Result<Duration, String> {
    go_duration::parse(text).map_err(|error| format!("expected a duration like 30s or 1m: {error}"))
}
