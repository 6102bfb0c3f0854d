//! The way to a source for everything that asks it: how many of its queries are in flight, whose turn it is, and
//! whether it is asked at all while it does not answer.
//!
//! A query takes its timeout at most, with the time that it waits for its turn. A source that does not answer costs a
//! few requests their timeout; the others fail immediately, since a worker of the autoscaler waits for each answer
//! before it goes on to the next metric.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime};

use apiservice::health::CheckHandle;
use apiservice::types::Timestamp;
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use tokio::sync::{Notify, watch};

use super::guard::{Breaker, Flow, Guard, GuardCounts, NoPlace, Outage, PAUSE, Question, Refused};
use super::observed::Observed;
use super::targets::ScrapedTarget;
use super::{Listing, MetricSource, QueryResult, SourceError, SourceErrorClass};
use crate::log_throttle::LogThrottle;
use crate::status::SourceStatus;
use crate::telemetry::Telemetry;

/// What a source is guarded by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GuardSettings {
    /// Maximum number of queries in flight.
    pub limit: usize,
    /// What a query takes at most, with the time that it waits for its turn; `None`: the time of its request.
    pub timeout: Option<Duration>,
    /// Whether it is asked less while it does not answer: a source in this process always answers.
    pub breaks: bool,
}

impl GuardSettings {
    /// For a server that may be away.
    pub fn remote(limit: usize, timeout: Duration) -> GuardSettings {
        GuardSettings { limit, timeout: Some(timeout), breaks: true }
    }

    /// For a source in this process.
    pub fn local(limit: usize) -> GuardSettings {
        GuardSettings { limit, timeout: None, breaks: false }
    }
}

/// A source behind a queue and a circuit breaker.
pub struct Guarded {
    source: Observed,
    settings: GuardSettings,
    guard: Arc<Guard>,
    /// Told when the breaker opens, closes or tries.
    changed: Notify,
    /// Told when the breaker closes.
    recovered: watch::Sender<()>,
    telemetry: Arc<Telemetry>,
    opening_log: LogThrottle,
}

impl Guarded {
    /// Guards `source`, and shows in `check` whether it answers.
    pub fn new(
        source: Arc<dyn MetricSource>,
        settings: GuardSettings,
        telemetry: Arc<Telemetry>,
        check: CheckHandle,
    ) -> Guarded {
        let guard = Arc::new(Guard::new(settings.limit, MOST_WAITING));
        telemetry.watch_guard(Arc::clone(&guard));
        Guarded {
            source: Observed::new(source, Arc::clone(&telemetry), check),
            settings,
            guard,
            changed: Notify::new(),
            recovered: watch::Sender::new(()),
            telemetry,
            opening_log: LogThrottle::new(LOG_OPENING_EVERY),
        }
    }

    /// The value of a query at a time, for a flow.
    ///
    /// # Errors
    /// As those of the source. Without a turn in time, or with too many queries that wait:
    /// [`SourceErrorClass::Busy`]. While the source does not answer: [`SourceErrorClass::Unreachable`], immediately.
    pub async fn ask(
        &self,
        flow: Flow<'_>,
        promql: &str,
        time: SystemTime,
        deadline: Instant,
    ) -> Result<QueryResult, SourceError> {
        self.ask_for(&|| 1, flow, promql, time, deadline).await
    }

    /// As [`Guarded::ask`], for as many requests as wait for the answer when there is none.
    ///
    /// # Errors
    /// As [`Guarded::ask`].
    pub async fn ask_for(
        &self,
        requests: &(dyn Fn() -> usize + Sync),
        flow: Flow<'_>,
        promql: &str,
        time: SystemTime,
        deadline: Instant,
    ) -> Result<QueryResult, SourceError> {
        let deadline = self.until(deadline);
        self.pass(flow, requests, deadline, || self.source.query(promql, time, deadline)).await
    }

    /// Waits until the breaker is not closed: a request need not wait longer for the query of another one then.
    pub async fn refusal(&self) -> SourceError {
        loop {
            let changed = self.changed.notified();
            let outage = self.guard.breaker().outage().cloned();
            if let Some(outage) = outage {
                return self.not_asked(&outage);
            }
            changed.await;
        }
    }

    /// Tells when the source answers again after it was not asked for a while.
    pub fn recoveries(&self) -> watch::Receiver<()> {
        self.recovered.subscribe()
    }

    /// Whether the next query is to try a source that does not answer.
    pub fn is_probe_due(&self) -> bool {
        let breaker = self.guard.breaker();
        breaker.outage().is_some() && breaker.look(now()).is_ok()
    }

    /// When a query that is asked now ends: one that is asked in place of another one should end with that.
    pub fn until(&self, deadline: Instant) -> Instant {
        self.settings.timeout.map_or(deadline, |timeout| deadline.min(now() + timeout))
    }

    /// Whether it answers, and how it is guarded.
    pub fn status(&self) -> SourceStatus {
        let GuardCounts { in_flight, waiting, .. } = self.guard.counts();
        SourceStatus {
            queries_in_flight: in_flight,
            queries_waiting: waiting,
            query_limit: self.guard.queue.limit(),
            breaker: self.settings.breaks.then(|| self.guard.breaker().state().label().to_owned()),
            ..self.source.status()
        }
    }

    /// Asks in its turn, if the source is asked at all.
    async fn pass<T, Q: Future<Output = Result<T, SourceError>>>(
        &self,
        flow: Flow<'_>,
        requests: &(dyn Fn() -> usize + Sync),
        deadline: Instant,
        question: impl FnOnce() -> Q,
    ) -> Result<T, SourceError> {
        let came = now();
        if deadline <= came {
            return Err(SourceError::new(
                SourceErrorClass::Timeout,
                "the time of the request was over before the query could be sent",
            ));
        }
        let (_place, asking) = loop {
            self.look(flow, deadline).await?;
            let place = match self.guard.queue.place(flow, deadline).await {
                Ok(place) if now() < deadline => place,
                Ok(_) | Err(NoPlace::Late) => return Err(self.late()),
                Err(NoPlace::Full) => return Err(self.full()),
                Err(NoPlace::Emptied) => continue,
            };
            // It may have opened while this one waited. A listing then waits again, without its place.
            match self.begin(flow, deadline) {
                Ok(asking) => break (place, asking),
                Err(refused) if flow == Flow::Listing && refused.is_probed => {}
                Err(refused) => return Err(self.not_asked(&refused.outage)),
            }
        };
        self.telemetry.source_waited(now().saturating_duration_since(came));
        let answer = question().await;
        // Before the place is free: if the breaker opens, no other query is to get it.
        asking.end(answer.as_ref().err(), requests);
        answer
    }

    /// Fails where the source is not asked. Listings wait for a probe: they are many at a time and retried seldom.
    async fn look(&self, flow: Flow<'_>, deadline: Instant) -> Result<(), SourceError> {
        if !self.settings.breaks {
            return Ok(());
        }
        loop {
            let changed = self.changed.notified();
            let Err(refused) = self.guard.breaker().look(now()) else { return Ok(()) };
            if flow != Flow::Listing || !refused.is_probed || deadline <= now() {
                return Err(self.not_asked(&refused.outage));
            }
            // A probe that takes long is followed by another one.
            let again = deadline.min(now() + PAUSE);
            let _ = tokio::time::timeout_at(again.into(), changed).await;
        }
    }

    /// A question that begins now, if the source is asked. What becomes of a listing says nothing of queries: they may
    /// hang while it is answered, and it takes longer.
    fn begin(&self, flow: Flow<'_>, deadline: Instant) -> Result<Asking<'_>, Refused> {
        let (now, unjudged) = (now(), Asking { guarded: self, question: None, is_patient: false });
        if !self.settings.breaks {
            return Ok(unjudged);
        }
        if flow == Flow::Listing {
            return self.guard.breaker().look(now).map(|()| unjudged);
        }
        let question = self.change(|breaker| breaker.ask(now))?;
        let patience = self.settings.timeout.unwrap_or_default() / 2;
        let is_patient = deadline.saturating_duration_since(now) >= patience;
        Ok(Asking { guarded: self, question: Some(question), is_patient })
    }

    fn full(&self) -> SourceError {
        count(&self.guard.full);
        let limit = self.guard.queue.limit();
        SourceError::new(
            SourceErrorClass::Busy,
            format!("{MOST_WAITING} queries wait already; the metric source gets {limit} at a time"),
        )
    }

    fn late(&self) -> SourceError {
        count(&self.guard.late);
        let limit = self.guard.queue.limit();
        SourceError::new(
            SourceErrorClass::Busy,
            format!(
                "the query was not sent in time: the metric source gets {limit} at a time, and is slow with others"
            ),
        )
    }

    fn not_asked(&self, outage: &Outage) -> SourceError {
        count(&self.guard.not_asked);
        let since = timestamp(outage.since);
        let cause = &outage.cause;
        SourceError::new(
            SourceErrorClass::Unreachable,
            format!("the metric source is not asked, as it has not answered since {since}: {cause}"),
        )
    }

    /// Changes the breaker, and tells those that wait for it.
    fn change<T>(&self, change: impl FnOnce(&mut Breaker) -> T) -> T {
        let (before, outcome, after) = {
            let mut breaker = self.guard.breaker();
            (breaker.state(), change(&mut breaker), breaker.state())
        };
        if before != after {
            self.changed.notify_waiters();
        }
        outcome
    }

    /// What became of a question.
    fn ended(&self, question: Question, outcome: Outcome<'_>) {
        let opened = match outcome {
            Outcome::Answered => {
                if self.change(|breaker| breaker.answered(now())) {
                    self.source.show_outage(None);
                    self.recovered.send_replace(());
                }
                None
            }
            Outcome::Silent { cause, requests } => {
                let at = (now(), SystemTime::now());
                self.change(|breaker| breaker.silent(question, requests, at, cause))
            }
            Outcome::Unknown => {
                self.change(|breaker| breaker.given_up(question, now()));
                None
            }
        };
        let Some(outage) = opened else { return };
        count(&self.guard.openings);
        self.guard.queue.empty();
        let (since, pause) = (timestamp(outage.since), PAUSE.as_secs());
        // Strangers may read it: the cause is in the log.
        self.source.show_outage(Some(format!(
            "no answer since {since}; queries fail without being sent, except one every {pause} s"
        )));
        if self.opening_log.is_due(()) {
            tracing::warn!(
                source = self.source.name(),
                %since,
                "cannot get an answer from the metric source: {}; failing queries immediately, except one every {pause} s",
                outage.cause
            );
        }
    }
}

/// For what asks for no namespace: series, and the objects of standalone mode.
impl MetricSource for Guarded {
    fn series<'a>(
        &'a self,
        selector: &'a str,
        since: SystemTime,
        deadline: Instant,
    ) -> BoxFuture<'a, Result<Listing, SourceError>> {
        async move {
            self.pass(Flow::Listing, &|| 1, deadline, || self.source.series(selector, since, deadline)).await
        }
        .boxed()
    }

    fn query<'a>(
        &'a self,
        promql: &'a str,
        time: SystemTime,
        deadline: Instant,
    ) -> BoxFuture<'a, Result<QueryResult, SourceError>> {
        self.ask(Flow::Objects, promql, time, deadline).boxed()
    }

    fn targets(&self, deadline: Instant) -> BoxFuture<'_, Result<Option<Vec<ScrapedTarget>>, SourceError>> {
        async move { self.pass(Flow::Listing, &|| 1, deadline, || self.source.targets(deadline)).await }
            .boxed()
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

/// A question that is under way. Dropped, it was given up.
struct Asking<'a> {
    guarded: &'a Guarded,
    question: Option<Question>,
    /// Whether it leaves the source enough time: a caller with little time learns nothing of the source.
    is_patient: bool,
}

#[derive(Clone, Copy)]
enum Outcome<'a> {
    Answered,
    Silent {
        /// Why, for all callers.
        cause: &'a str,
        /// How many had no answer.
        requests: usize,
    },
    /// It says nothing of the source.
    Unknown,
}

impl Asking<'_> {
    fn end(mut self, error: Option<&SourceError>, requests: &(dyn Fn() -> usize + Sync)) {
        let Some(question) = self.question.take() else { return };
        let silent = |cause| Outcome::Silent { cause, requests: requests() };
        let outcome = match error.map(|error| (error, error.class)) {
            Some((error, SourceErrorClass::Unreachable)) => silent(&error.message),
            // A proxy's page may repeat the query, which is not for other callers.
            Some((_, SourceErrorClass::Silent)) if self.is_patient => silent("no answer in time"),
            Some((_, SourceErrorClass::Silent | SourceErrorClass::Busy)) => Outcome::Unknown,
            None
            | Some((
                _,
                SourceErrorClass::Unavailable
                | SourceErrorClass::Timeout
                | SourceErrorClass::BadQuery
                | SourceErrorClass::WrongType,
            )) => Outcome::Answered,
        };
        self.guarded.ended(question, outcome);
    }
}

impl Drop for Asking<'_> {
    fn drop(&mut self) {
        if let Some(question) = self.question.take() {
            self.guarded.ended(question, Outcome::Unknown);
        }
    }
}

fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

/// By tokio's clock, which tests can stop.
fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}

fn timestamp(time: SystemTime) -> Timestamp {
    let elapsed = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    Timestamp::from_unix_ms(elapsed.as_millis() as i64)
}

/// Each belongs to a request, which waits as well: this bounds memory alone. Deadlines bound the time.
const MOST_WAITING: usize = 1_000;
/// One that comes and goes.
const LOG_OPENING_EVERY: Duration = Duration::from_mins(1);

#[cfg(test)]
mod tests;
