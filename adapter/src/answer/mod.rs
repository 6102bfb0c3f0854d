//! Steps 5 to 9 of a request, in order, and nothing else: the rule, the objects, the PromQL, the samples, the values.
//!
//! One module for each API group. The catalog snapshot is taken once and the plan travels from the query to the join, so
//! a relist in between cannot change the rules under a request.

mod custom;
mod external;
mod missing;
mod usage;

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use apiservice::server::{Answer, ApiRequest, Handler};
use apiservice::status::ApiError;
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use rules::RuleId;
use rules::plan::{PlanError, Query};

use crate::objects::{Object, Objects, ObjectsError, Wanted};
use crate::relist::{CatalogHandle, Snapshot};
use crate::repeats::Repeats;
use crate::served::{CUSTOM_METRICS, EXTERNAL_METRICS, METRICS};
use crate::source::{MetricSource, Samples, SourceErrorClass};
use crate::telemetry::{RuleFailure, Step, Telemetry};
use crate::values::Dropped;

/// Answers the metrics APIs.
pub struct Answerer {
    catalog: CatalogHandle,
    objects: Arc<dyn Objects>,
    source: Arc<dyn MetricSource>,
    telemetry: Arc<Telemetry>,
    /// Of metrics that are not there.
    missing_said: Repeats,
    /// Of queries that failed.
    failures_said: Repeats,
    /// Of answers that may lack something.
    gaps_said: Repeats,
}

impl Answerer {
    /// Joins the parts that a request passes through.
    pub fn new(
        catalog: CatalogHandle,
        objects: Arc<dyn Objects>,
        source: Arc<dyn MetricSource>,
        telemetry: Arc<Telemetry>,
    ) -> Answerer {
        let [missing_said, failures_said, gaps_said] = [SAY_MISSING, SAY_FAILURE, SAY_GAP].map(Repeats::new);
        Answerer { catalog, objects, source, telemetry, missing_said, failures_said, gaps_said }
    }

    /// Step 6.
    async fn objects(&self, wanted: Wanted<'_>, deadline: Instant) -> Result<Vec<Object>, ApiError> {
        self.objects.list(wanted, deadline).await.map_err(|error| {
            tracing::warn!(kind = %wanted.kind.group_resource(), %error, "objects cannot be listed");
            let message = format!("unable to list matching resources: {error}");
            match error {
                ObjectsError::Source(error) => source_error(error.class, message),
                ObjectsError::Cluster(_) => ApiError::internal(message),
            }
        })
    }

    /// Step 8. A failure (D27) is logged here, outermost, with the query; the answer names the rule and the cause.
    async fn ask(
        &self,
        query: &Query,
        metric: &str,
        time: SystemTime,
        deadline: Instant,
    ) -> Result<Samples, ApiError> {
        let Query { rule, promql, .. } = query;
        let started = Instant::now();
        let result = self.source.query(promql, time, deadline).await;
        self.telemetry.rule_queried(*rule, started.elapsed());
        let result = result.map_err(|error| {
            self.telemetry.rule_failed(*rule, RuleFailure::Source(error.class));
            if self.failures_said.is_due((rule, &error.message)) {
                tracing::warn!(metric, %rule, promql, %error, "query failed");
            } else {
                tracing::debug!(metric, %rule, promql, %error, "query failed again");
            }
            source_error(error.class, format!("unable to fetch metrics by {rule}: {error}"))
        })?;
        self.telemetry.source_warnings(result.warnings.len());
        for warning in &result.warnings {
            if self.gaps_said.is_due((rule, warning)) {
                tracing::warn!(metric, %rule, %warning, "the answer may be partial");
            }
        }
        self.telemetry.histograms_dropped(result.histograms_dropped);
        Ok(result.value)
    }

    /// Step 7's failure: the selector's fault, or the rule's.
    fn plan_error(&self, rule: RuleId, error: &PlanError) -> ApiError {
        match error {
            PlanError::UnsupportedOperator { .. } | PlanError::UnsupportedLabel { .. } => {
                ApiError::bad_request(error.to_string())
            }
            _ => {
                self.telemetry.rule_failed(rule, RuleFailure::Plan);
                tracing::error!(%rule, %error, "the rule makes no query");
                ApiError::internal(format!("unable to fetch metrics: {error}"))
            }
        }
    }

    /// The rule's query yields what makes no values.
    fn wrong_type(&self, query: &Query, found: &Samples, expected: &str) -> ApiError {
        self.telemetry.rule_failed(query.rule, RuleFailure::Source(SourceErrorClass::WrongType));
        ApiError::internal(format!(
            "unable to fetch metrics: {} yields a {}, expected an instant vector {expected}",
            query.rule,
            found.type_name(),
        ))
    }

    /// A metric is not there. Why is worked out only if it is going to be said: whoever asks may ask for anything, and
    /// often.
    fn missing(&self, step: Step, asked: &dyn std::fmt::Display, why: impl FnOnce() -> String) {
        self.telemetry.not_found(step);
        let subject = asked.to_string();
        let step_name = step.label();
        if self.missing_said.is_due((step, &subject)) {
            tracing::info!(asked = subject, step = step_name, why = why(), "no such metric");
        }
    }

    /// Samples that were left out are counted and logged: somebody may miss them.
    fn report(&self, rule: RuleId, dropped: &[Dropped]) {
        for dropped in dropped {
            self.telemetry.sample_dropped(dropped.reason);
            if self.gaps_said.is_due((rule, &dropped.object, dropped.reason)) {
                tracing::warn!(%rule, "{dropped}");
            }
        }
    }
}

impl Handler for Answerer {
    fn handle(&self, request: ApiRequest) -> BoxFuture<'_, Result<Answer, ApiError>> {
        async move {
            match request.group.as_str() {
                CUSTOM_METRICS => self.custom(&request).await.map(Answer::MetricValues),
                EXTERNAL_METRICS => self.external(&request).await.map(Answer::ExternalMetricValues),
                METRICS => self.usage(&request).await,
                _ => Err(ApiError::no_route()),
            }
        }
        .boxed()
    }
}

/// A metric that is not there is 404 and nothing else is touched; one that may only be not listed yet is 503 (D17).
fn not_listed(snapshot: &Snapshot, metric: &str, not_found: ApiError) -> ApiError {
    match snapshot.unlisted.first() {
        None => not_found,
        Some(unlisted) => ApiError::unavailable(format!(
            "the metric {metric} is not listed, and {} of the series queries have no result yet; {}: {}",
            snapshot.unlisted.len(),
            unlisted.series_query,
            unlisted.cause,
        )),
    }
}

fn source_error(class: SourceErrorClass, message: String) -> ApiError {
    match class {
        SourceErrorClass::Unavailable => ApiError::unavailable(message),
        SourceErrorClass::Timeout => ApiError::timeout(message),
        SourceErrorClass::BadQuery | SourceErrorClass::WrongType => ApiError::internal(message),
    }
}

fn unix_ms(time: SystemTime) -> i64 {
    time.duration_since(SystemTime::UNIX_EPOCH).map_or(0, |elapsed| elapsed.as_millis() as i64)
}

/// Autoscalers ask every fifteen seconds.
const SAY_MISSING: Duration = Duration::from_mins(10);
const SAY_FAILURE: Duration = Duration::from_mins(1);
const SAY_GAP: Duration = Duration::from_mins(1);
