//! Prometheus, or anything that speaks its HTTP API: Thanos, Mimir, VictoriaMetrics.
//!
//! Requests are upstream's (`pkg/client/api.go`; `docs/contract.md#requests-to-prometheus`), with its slips mended
//! (D18): `timeout` says how much time is left, every call has a deadline, files are read again when they change.

mod access;
mod answer;
mod answer_memory;
mod client;
mod configured_access;
mod failure;
mod frame;
mod kubeconfig;
mod number;
mod plain;
mod proxy;
mod question;
mod redirect;
mod sample;
mod settings;
mod stream;
mod targets;
mod text;
mod tls;
mod unreached;

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use http::HeaderValue;
use reqwest::Url;
use serve::FileStats;

use super::targets::ScrapedTarget;
use super::{Listing, MetricSource, QueryResult, SourceError};
use answer_memory::AnswerMemory;
use question::Asker;
use unreached::within;

pub use answer_memory::AnswerStats;
pub use proxy::Proxies;
pub use settings::{AnswerLimits, KubernetesAuth, PrometheusSettings, Verb};
pub(crate) use settings::{DEFAULT_MAX_QUERIES, LARGEST_LISTING, gzip_pays};
// What Prometheus says is judged without asking it.
pub use answer::read_result;
pub use stream::read_listing;

/// A Prometheus.
pub struct Prometheus {
    asker: Asker,
    series: Url,
    query: Url,
    targets: Url,
    timeout: Duration,
    gzip: bool,
    name: String,
    room: AnswerMemory,
    listing: usize,
}

impl Prometheus {
    /// A source over a Prometheus. Nothing is asked yet: it may be away.
    ///
    /// # Errors
    /// Files that cannot be read or hold something else.
    pub fn new(settings: PrometheusSettings) -> Result<Prometheus, SourceError> {
        // What dashboards tell servers apart by: never credentials or paths.
        let name = settings.url.host_str().unwrap_or_default().to_owned();
        let (series, query) =
            (endpoint(&settings.url, "/api/v1/series"), endpoint(&settings.url, "/api/v1/query"));
        let mut targets = endpoint(&settings.url, "/api/v1/targets");
        targets.query_pairs_mut().append_pair("state", "active");
        let PrometheusSettings { timeout, gzip, listing, .. } = settings;
        let room = AnswerMemory::new(settings.answers);
        Ok(Prometheus {
            asker: Asker::new(settings)?,
            series,
            query,
            targets,
            timeout,
            gzip,
            name,
            room,
            listing,
        })
    }

    /// How much memory answers take, and what was refused.
    pub fn answer_stats(&self) -> Arc<AnswerStats> {
        self.room.stats()
    }

    /// What became of the files that access depends on.
    pub fn file_stats(&self) -> &[Arc<FileStats>] {
        self.asker.client().file_stats()
    }

    /// Follows the files that access depends on, until the program ends.
    pub async fn follow_files(self: Arc<Self>, every: Duration) {
        self.asker.client().follow(every).await;
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
        let (response, asked) = self.asker.ask(&self.series, &parameters, None, deadline).await?;
        within(deadline, stream::listing(response, self.listing))
            .await
            .flatten()
            .map_err(|error| asked.explain(error))
    }

    async fn list_targets(&self, deadline: Instant) -> Result<Vec<ScrapedTarget>, SourceError> {
        let (response, asked) = self.asker.get(&self.targets, deadline).await?;
        let read = async {
            // As large as an answer to a query may be.
            let mut place = self.room.place();
            let (status, body) = answer::body(response, &mut place, deadline).await?;
            targets::read(status, &body)
        };
        within(deadline, read).await.flatten().map_err(|error| asked.explain(error))
    }

    async fn evaluate(
        &self,
        promql: &str,
        time: SystemTime,
        deadline: Instant,
    ) -> Result<QueryResult, SourceError> {
        let deadline = deadline.min(Instant::now() + self.timeout);
        let left = deadline.saturating_duration_since(Instant::now());
        let parameters = [
            ("query", promql),
            ("time", &unix_seconds(time)),
            ("timeout", &format!("{}ms", told(left).as_millis().max(1))),
        ];
        let gzip = self.gzip.then(|| HeaderValue::from_static("gzip"));
        let (response, asked) = self.asker.ask(&self.query, &parameters, gzip, deadline).await?;
        let read = async {
            let mut place = self.room.place();
            let (status, body) = answer::body(response, &mut place, deadline).await?;
            answer::result_of(status, body, place).await
        };
        within(deadline, read).await.flatten().map_err(|error| asked.explain(error))
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

    fn targets(&self, deadline: Instant) -> BoxFuture<'_, Result<Option<Vec<ScrapedTarget>>, SourceError>> {
        self.list_targets(deadline).map(|targets| targets.map(Some)).boxed()
    }

    /// Always: whether Prometheus is up shows in each answer, and must not take the server out of service.
    fn ready(&self) -> BoxFuture<'_, Result<(), SourceError>> {
        std::future::ready(Ok(())).boxed()
    }

    fn name(&self) -> &str {
        &self.name
    }
}

/// An endpoint of the API below a base URL, whose parameters it keeps; its user is sent as a header.
fn endpoint(base: &Url, path: &str) -> Url {
    let mut url = base.clone();
    let _ = (url.set_username(""), url.set_password(None));
    url.set_path(&format!("{}{path}", base.path().trim_end_matches('/')));
    url
}

/// The time for a query that Prometheus is told: a little less than is left, so that it says itself that a query takes
/// too long. Without its word a slow query looks like a Prometheus that is away.
fn told(left: Duration) -> Duration {
    left.saturating_sub((left / 20).min(LONGEST_WAY))
}

/// Seconds with up to three digits after the point and no trailing zeros, as upstream writes times.
fn unix_seconds(time: SystemTime) -> String {
    let millis = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_millis();
    let text = format!("{}.{:03}", millis / 1000, millis % 1000);
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// For an answer on its way.
const LONGEST_WAY: Duration = Duration::from_millis(500);

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
