//! How the adapter reaches Prometheus: credentials, certificates, redirects, verbs and proxies.

mod credentials;
mod http;
mod program;
mod proxies;
mod tls;

use std::time::{Duration, Instant, SystemTime};

use adapter::source::prometheus::{Prometheus, PrometheusSettings};
use adapter::source::{MetricSource as _, SourceError};
use testkit::scripted::{Reply, answer};

/// A good answer to a query and to a listing.
fn good() -> Reply {
    const GOOD: &str =
        r#"{"status":"success","data":{"resultType":"vector","result":[{"metric":{},"value":[1,"7.5"]}]}}"#;
    answer(200, &[("content-type", "application/json")], GOOD)
}

/// Settings for a URL.
fn to(url: &str) -> PrometheusSettings {
    let _ = rustls::crypto::ring::default_provider().install_default();
    PrometheusSettings::new(url.parse().expect("a URL"))
}

/// Why settings are refused.
fn refusal(settings: PrometheusSettings) -> String {
    match Prometheus::new(settings) {
        Ok(_) => panic!("taken"),
        Err(error) => error.message,
    }
}

fn source(settings: PrometheusSettings) -> Prometheus {
    Prometheus::new(settings).unwrap_or_else(|error| panic!("{error}"))
}

async fn query(source: &Prometheus, promql: &str) -> Result<(), SourceError> {
    source.query(promql, SystemTime::now(), Instant::now() + Duration::from_mins(1)).await.map(|_| ())
}

/// Asks once by new settings.
async fn ask(settings: PrometheusSettings) -> Result<(), SourceError> {
    query(&source(settings), "up").await
}

/// The message of a question that fails.
async fn failure(settings: PrometheusSettings) -> String {
    ask(settings).await.expect_err("no answer").message
}
