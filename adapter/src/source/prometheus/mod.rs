//! Prometheus, or anything that speaks its HTTP API: Thanos, Mimir, VictoriaMetrics.
//!
//! Requests are upstream's (`pkg/client/api.go`; contract, section 11.1), with its slips mended (D18): `timeout` says how
//! much time is left, every call has a deadline, files are read again when they change.

mod answer;
mod client;
mod failure;
mod frame;
mod number;
mod sample;
mod stream;
mod text;

use std::path::PathBuf;
use std::time::{Duration, Instant, SystemTime};

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use http::header::ACCEPT_ENCODING;
use http::{HeaderName, HeaderValue};
use reqwest::{RequestBuilder, Response, Url};

use super::{Listing, MetricSource, QueryResult, SourceError, SourceErrorClass};
use client::Client;

// What Prometheus says is judged without asking it.
pub use answer::read_result;
pub use stream::read_listing;

/// How to reach a Prometheus.
#[derive(Debug, Clone)]
pub struct PrometheusSettings {
    /// Its base URL. Query parameters stay on every request.
    pub url: Url,
    /// How queries are sent.
    pub verb: Verb,
    /// Sent with every request.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// Holds a bearer token; read again when it changes.
    pub token_file: Option<PathBuf>,
    /// Holds the authorities to trust, PEM, instead of the system's; read again when it changes.
    pub ca_file: Option<PathBuf>,
    /// Client certificate and key, PEM; read again when they change.
    pub client_pair: Option<(PathBuf, PathBuf)>,
    /// Longest time for a query; the deadline of a request can only shorten it.
    pub timeout: Duration,
}

/// An HTTP method for queries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verb {
    /// Parameters in the URL.
    Get,
    /// Parameters in the body: for queries longer than a URL may be.
    Post,
}

/// A Prometheus.
pub struct Prometheus {
    settings: PrometheusSettings,
    series: Url,
    query: Url,
    client: Client,
    name: String,
}

impl Prometheus {
    /// A source over a Prometheus. Nothing is asked yet: it may be away.
    ///
    /// # Errors
    /// Files that cannot be read or hold something else.
    pub fn new(settings: PrometheusSettings) -> Result<Prometheus, SourceError> {
        let client = Client::new(&settings)?;
        // What dashboards tell servers apart by: never credentials or paths.
        let name = settings.url.host_str().unwrap_or_default().to_owned();
        let (series, query) =
            (endpoint(&settings.url, "/api/v1/series"), endpoint(&settings.url, "/api/v1/query"));
        Ok(Prometheus { settings, series, query, client, name })
    }

    async fn ask(
        &self,
        endpoint: &Url,
        parameters: &[(&str, &str)],
        coding: Option<HeaderValue>,
        deadline: Instant,
    ) -> Result<Response, SourceError> {
        let url = endpoint.clone();
        let client = self.client.current().await?;
        let mut request: RequestBuilder = match self.settings.verb {
            Verb::Get => client.get(url).query(parameters),
            Verb::Post => client.post(url).form(parameters),
        };
        if let Some(coding) = coding {
            request = request.header(ACCEPT_ENCODING, coding);
        }
        for (name, value) in &self.settings.headers {
            request = request.header(name, value);
        }
        if let Some(token) = self.client.token().await? {
            request = request.bearer_auth(token);
        }
        within(deadline, request.send()).await?.map_err(|error| transport(&error))
    }

    async fn list(
        &self,
        selector: &str,
        since: SystemTime,
        deadline: Instant,
    ) -> Result<Listing, SourceError> {
        let start = unix_seconds(since);
        let parameters = [("match[]", selector), ("start", &start)];
        // As it is: to compress a long listing takes Prometheus longer than to send it.
        let response = self.ask(&self.series, &parameters, None, deadline).await?;
        within(deadline, stream::listing(response)).await?
    }

    async fn evaluate(
        &self,
        promql: &str,
        time: SystemTime,
        deadline: Instant,
    ) -> Result<QueryResult, SourceError> {
        let deadline = deadline.min(Instant::now() + self.settings.timeout);
        let left = deadline.saturating_duration_since(Instant::now());
        let parameters = [
            ("query", promql),
            ("time", &unix_seconds(time)),
            ("timeout", &format!("{}ms", left.as_millis().max(1))),
        ];
        let gzip = Some(HeaderValue::from_static("gzip"));
        let response = self.ask(&self.query, &parameters, gzip, deadline).await?;
        let (status, body) = within(deadline, answer::body(response)).await??;
        read_result(status, &body)
    }
}

impl MetricSource for Prometheus {
    fn series<'a>(
        &'a self,
        selector: &'a str,
        since: SystemTime,
        deadline: Instant,
    ) -> BoxFuture<'a, Result<Listing, SourceError>> {
        self.list(selector, since, deadline).boxed()
    }

    fn query<'a>(
        &'a self,
        promql: &'a str,
        time: SystemTime,
        deadline: Instant,
    ) -> BoxFuture<'a, Result<QueryResult, SourceError>> {
        self.evaluate(promql, time, deadline).boxed()
    }

    /// Always: whether Prometheus is up shows in each answer, and must not take the server out of service.
    fn ready(&self) -> BoxFuture<'_, Result<(), SourceError>> {
        std::future::ready(Ok(())).boxed()
    }

    fn name(&self) -> &str {
        &self.name
    }
}

/// An endpoint of the API below a base URL, whose parameters it keeps.
fn endpoint(base: &Url, path: &str) -> Url {
    let mut url = base.clone();
    url.set_path(&format!("{}{path}", base.path().trim_end_matches('/')));
    url
}

async fn within<T>(deadline: Instant, answer: impl Future<Output = T>) -> Result<T, SourceError> {
    tokio::time::timeout_at(deadline.into(), answer)
        .await
        .map_err(|_| SourceError::new(SourceErrorClass::Timeout, "Prometheus did not answer in time"))
}

/// What went wrong on the way, without the URL, which may hold credentials.
fn transport(error: &reqwest::Error) -> SourceError {
    if error.is_timeout() {
        return SourceError::new(SourceErrorClass::Timeout, "Prometheus did not answer in time");
    }
    let mut innermost: &dyn std::error::Error = error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    let what = if error.is_connect() {
        "Prometheus cannot be reached"
    } else if error.is_body() || error.is_decode() {
        "the answer of Prometheus broke off"
    } else {
        "Prometheus did not answer"
    };
    // The outermost message is the one that names the URL; with no cause below it there is nothing to add.
    let cause = if innermost.source().is_none() && !std::ptr::addr_eq(innermost, error) {
        format!(": {innermost}")
    } else {
        String::new()
    };
    SourceError::new(SourceErrorClass::Unavailable, format!("{what}{cause}"))
}

/// Seconds with up to three digits behind the point and no trailing zeros, as upstream writes times.
fn unix_seconds(time: SystemTime) -> String {
    let millis = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_millis();
    let text = format!("{}.{:03}", millis / 1000, millis % 1000);
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_as_upstream_writes_them() {
        for (millis, text) in
            [(1_795_461_859_629, "1795461859.629"), (1_500, "1.5"), (2_000, "2"), (10, "0.01")]
        {
            assert_eq!(unix_seconds(SystemTime::UNIX_EPOCH + Duration::from_millis(millis)), text);
        }
    }
}
