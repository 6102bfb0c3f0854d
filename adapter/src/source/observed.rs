//! A source that is watched: how long every question to an engine takes shows in the metrics, and whether the engine
//! answers in the log, whichever engine it is.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use apiservice::health::CheckHandle;
use apiservice::types::Timestamp;
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;

use super::targets::ScrapedTarget;
use super::{Listing, MetricSource, QueryResult, SourceError, SourceErrorClass};
use crate::log_throttle::LogThrottle;
use crate::status::SourceStatus;
use crate::telemetry::Telemetry;

/// Passes everything on to another source, measures how long it takes, and remembers whether it answers.
pub(super) struct Observed {
    source: Arc<dyn MetricSource>,
    telemetry: Arc<Telemetry>,
    outage: Mutex<Outage>,
    /// Always passes: an outage must not take the server out of service.
    check: CheckHandle,
    /// Of a source that comes and goes.
    recovery_log: LogThrottle,
}

impl Observed {
    /// Watches `source` and shows in `check` whether it answers.
    pub(super) fn new(
        source: Arc<dyn MetricSource>,
        telemetry: Arc<Telemetry>,
        check: CheckHandle,
    ) -> Observed {
        telemetry.source_known(&[SERIES, QUERY], source.name());
        check.pass_with("not asked yet");
        let recovery_log = LogThrottle::new(LOG_RECOVERY_EVERY);
        Observed { source, telemetry, outage: Mutex::default(), check, recovery_log }
    }

    /// Whether it answers.
    pub(super) fn status(&self) -> SourceStatus {
        let outage = self.outage.lock().unwrap_or_else(PoisonError::into_inner);
        let ago = |at: Instant| at.elapsed().as_secs_f64();
        SourceStatus {
            name: self.source.name().to_owned(),
            answered_seconds_ago: outage.answered.map(ago),
            silent_seconds: outage.since.map(ago),
            ..SourceStatus::default()
        }
    }

    /// Shows a remark on an outage; `None` shows again what became of the last question.
    pub(super) fn show_outage(&self, remark: Option<String>) {
        let outage = self.outage.lock().unwrap_or_else(PoisonError::into_inner);
        match remark.or_else(|| outage.since.and(outage.remark.clone())) {
            Some(remark) => self.check.pass_with(remark),
            None => self.check.pass(),
        }
    }

    async fn timed<T>(
        &self,
        path: &str,
        answer: impl Future<Output = Result<T, SourceError>>,
    ) -> Result<T, SourceError> {
        let started = Instant::now();
        let answer = answer.await;
        self.telemetry.source_asked(path, self.source.name(), started.elapsed());
        self.record(started, answer.as_ref().err());
        answer
    }

    fn record(&self, started: Instant, error: Option<&SourceError>) {
        // No code panics while it holds the lock.
        let mut outage = self.outage.lock().unwrap_or_else(PoisonError::into_inner);
        let failure = error.and_then(no_answer);
        match failure {
            Some(failure) if outage.failed(started) => {
                let now = Timestamp::from_unix_ms(unix_ms(SystemTime::now()));
                // Strangers may read it: the cause is in the log.
                let remark = format!("no answer since {now} ({failure})");
                outage.remark = Some(remark.clone());
                self.check.pass_with(remark);
            }
            Some(_) => {}
            None => {
                let is_first = outage.answered.is_none();
                let lasted = outage.answered(Instant::now());
                if is_first || lasted.is_some() {
                    self.check.pass();
                }
                if let Some(lasted) = lasted
                    && self.recovery_log.is_due(())
                {
                    tracing::info!(
                        source = self.source.name(),
                        "metric source recovered after {:.1} s without an answer",
                        lasted.as_secs_f64()
                    );
                }
            }
        }
    }
}

/// Whether a source answers at all.
#[derive(Default)]
struct Outage {
    /// When the first question was asked that had no answer, while none had one since.
    since: Option<Instant>,
    answered: Option<Instant>,
    /// What the health check says of it.
    remark: Option<String>,
}

impl Outage {
    /// A question asked at `started` had no answer. If others had one meanwhile, the question is slow and the source is
    /// not away. Says whether an outage begins with it.
    fn failed(&mut self, started: Instant) -> bool {
        let begins = self.since.is_none() && self.answered.is_none_or(|answered| answered <= started);
        if begins {
            self.since = Some(started);
        }
        begins
    }

    /// A question had an answer; how long none had one before.
    fn answered(&mut self, now: Instant) -> Option<Duration> {
        self.answered = Some(now);
        Some(now.saturating_duration_since(self.since.take()?))
    }
}

/// How a source failed to answer; `None` for one that answers and refuses the query.
fn no_answer(error: &SourceError) -> Option<&'static str> {
    match error.class {
        SourceErrorClass::Timeout
        | SourceErrorClass::BadQuery
        | SourceErrorClass::WrongType
        | SourceErrorClass::Busy => None,
        SourceErrorClass::Unreachable | SourceErrorClass::Unavailable => Some("unavailable"),
        SourceErrorClass::Silent => Some("timeout"),
    }
}

fn unix_ms(time: SystemTime) -> i64 {
    time.duration_since(SystemTime::UNIX_EPOCH).map_or(0, |elapsed| elapsed.as_millis() as i64)
}

impl MetricSource for Observed {
    fn series<'a>(
        &'a self,
        selector: &'a str,
        since: SystemTime,
        deadline: Instant,
    ) -> BoxFuture<'a, Result<Listing, SourceError>> {
        self.timed(SERIES, self.source.series(selector, since, deadline)).boxed()
    }

    fn query<'a>(
        &'a self,
        promql: &'a str,
        time: SystemTime,
        deadline: Instant,
    ) -> BoxFuture<'a, Result<QueryResult, SourceError>> {
        self.timed(QUERY, self.source.query(promql, time, deadline)).boxed()
    }

    /// Not timed, and nothing is remembered of it: a proxy may refuse it and pass on queries.
    fn targets(&self, deadline: Instant) -> BoxFuture<'_, Result<Option<Vec<ScrapedTarget>>, SourceError>> {
        self.source.targets(deadline)
    }

    fn now(&self) -> SystemTime {
        self.source.now()
    }

    fn ready(&self) -> BoxFuture<'_, Result<(), SourceError>> {
        self.source.ready()
    }

    fn name(&self) -> &str {
        self.source.name()
    }
}

/// Engines in this process have no paths, and are timed as if they had.
const SERIES: &str = "/api/v1/series";
const QUERY: &str = "/api/v1/query";
const LOG_RECOVERY_EVERY: Duration = Duration::from_mins(1);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_outage_lasts_from_the_first_question_without_an_answer_to_the_next_answer() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut outage = Outage::default();
        assert_eq!(outage.answered(at(0)), None);
        assert!(outage.failed(at(1)) && !outage.failed(at(5)));
        assert_eq!(outage.answered(at(9)), Some(Duration::from_secs(8)));
        assert_eq!(outage.answered(at(10)), None);
        // A slow query between others that are answered.
        assert!(!outage.failed(at(3)));
        assert_eq!(outage.answered(at(11)), None);
    }
}
