//! Steps 5 to 9 of a request, in order, and nothing else: the rule, the objects, the PromQL, the samples, the values.
//!
//! One module for each API group. The catalog snapshot is taken once and the plan travels from the query to the join,
//! so a relist in between cannot change the rules under a request.

mod age;
mod bounded;
mod candidates;
mod custom;
mod empty;
mod explain;
mod external;
mod further;
mod mismatch;
mod missing;
mod policies;
mod record;
mod relabelled;
mod series_query;
mod sought;
mod targets;
mod usage;

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use apiservice::authz::Chain;
use apiservice::server::{Answer, ApiRequest, Handler};
use apiservice::status::ApiError;
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use rules::RuleId;
use rules::catalog::Ignored;
use rules::plan::{PlanError, Query};
use selector::labels::Selector;
use tokio::sync::Semaphore;

use self::bounded::{LONGEST_ASKED, LONGEST_QUERY, LONGEST_WHY, bounded};
use self::record::Record;
use crate::discovery_documents::{CUSTOM_METRICS, EXTERNAL_METRICS, METRICS};
use crate::explanation::Reason;
use crate::history::History;
use crate::last_values::LastValues;
use crate::log_throttle::LogThrottle;
use crate::objects::error::Forbidden;
use crate::objects::{Object, Objects, ObjectsError, Wanted};
use crate::relist::{CatalogHandle, Snapshot};
use crate::routes;
use crate::sharing::Sharing;
use crate::source::guard::Flow;
use crate::source::guarded::Guarded;
use crate::source::{MetricSource as _, QueryResult, Samples, SourceError, SourceErrorClass};
use crate::telemetry::{RuleFailure, Step, Telemetry};
use crate::values::nan_and_infinity::Dropped;
use crate::values::{Duplicates, Foreign};

/// Answers the metrics APIs.
pub struct Answerer {
    catalog: CatalogHandle,
    objects: Arc<dyn Objects>,
    source: Arc<Guarded>,
    /// `None`: each request is asked alone.
    sharing: Option<Arc<Sharing>>,
    telemetry: Arc<Telemetry>,
    /// What was served last, for rules that fall back on it.
    last_values: Arc<LastValues>,
    /// Decides who may see the texts of rules in explanations.
    authorization: Chain,
    /// What requests meet, for the status page.
    history: Arc<History>,
    /// Explanations that may be made at the same time.
    explaining: Semaphore,
    /// Of answers without a value.
    missing_log: LogThrottle,
    /// Of queries that failed.
    failure_log: LogThrottle,
    /// Of answers that may lack something.
    gap_log: LogThrottle,
    /// Of requests whose effect on the query was looked at.
    effect_checked: LogThrottle,
    /// Of rules that are as their author may not want them.
    rule_log: LogThrottle,
}

impl Answerer {
    /// Joins the parts that a request passes through. `authorization` decides who may see the texts of rules in
    /// explanations.
    pub fn new(
        catalog: CatalogHandle,
        objects: Arc<dyn Objects>,
        source: Arc<Guarded>,
        sharing: Option<Arc<Sharing>>,
        telemetry: Arc<Telemetry>,
        last_values: Arc<LastValues>,
        authorization: Chain,
    ) -> Answerer {
        let [missing_log, failure_log, gap_log, effect_checked, rule_log] =
            [LOG_MISSING_EVERY, LOG_FAILURE_EVERY, LOG_GAP_EVERY, CHECK_EFFECT_EVERY, LOG_RULE_EVERY]
                .map(LogThrottle::new);
        Answerer {
            catalog,
            objects,
            source,
            sharing,
            telemetry,
            last_values,
            authorization,
            history: Arc::default(),
            explaining: Semaphore::new(MOST_EXPLANATIONS),
            missing_log,
            failure_log,
            gap_log,
            effect_checked,
            rule_log,
        }
    }

    /// What requests met lately.
    pub fn history(&self) -> Arc<History> {
        Arc::clone(&self.history)
    }

    /// Step 6.
    async fn objects(
        &self,
        wanted: Wanted<'_>,
        deadline: Instant,
        record: &mut Record,
    ) -> Result<Vec<Object>, ApiError> {
        self.objects.list(wanted, deadline).await.map_err(|error| {
            let kind = wanted.kind.group_resource();
            record.cause(Reason::ObjectsNotListed, || match &error {
                // Its answer names the account.
                ObjectsError::Forbidden(Forbidden { answer, .. }) => {
                    format!("the adapter may not list {kind}: grant its account list and watch on {kind}; {answer}")
                }
                error => format!("the adapter cannot list {kind}: {error}"),
            });
            if self.failure_log.is_due((&kind, error.to_string())) {
                tracing::warn!(%kind, %error, "cannot list objects");
            }
            let message = format!("unable to list matching resources: {error}");
            match error {
                ObjectsError::Source(error) => source_error(error.class, message),
                ObjectsError::NotListedYet
                | ObjectsError::Failed(_)
                | ObjectsError::Forbidden(_)
                | ObjectsError::Unwatched => ApiError::internal(message),
            }
        })
    }

    /// Step 8. A failure (D27) is logged here, outermost, with the query; the answer names the rule and the cause.
    async fn ask(
        &self,
        query: &Query,
        metric: &str,
        context: QueryContext<'_>,
        record: &mut Record,
    ) -> Result<QueryResult, ApiError> {
        let Query { rule, promql, .. } = query;
        let QueryContext { namespace, time, deadline } = context;
        let started = Instant::now();
        let result = self.source.ask(Flow::Namespace(namespace), promql, time, deadline).await;
        let took = started.elapsed();
        self.telemetry.rule_queried(*rule, took);
        record.note(|notes| notes.asked(self.source.name(), query, took, result.as_ref()));
        self.history.asked(took, || {
            let error = result.as_ref().err().map(|error| bounded(&error.message, LONGEST_WHY).into_owned());
            (rule.to_string(), bounded(promql, LONGEST_QUERY).into_owned(), error)
        });
        let result = result.map_err(|error| self.query_failed(query, metric, &error))?;
        self.telemetry.source_warnings(result.warnings.len());
        for warning in &result.warnings {
            if self.gap_log.is_due((rule, warning)) {
                tracing::warn!(metric, %rule, %warning, "metric source warned; its answer may be partial");
            }
        }
        self.telemetry.histograms_dropped(result.histograms_dropped);
        Ok(result)
    }

    /// The source did not answer a query (D27).
    fn query_failed(&self, query: &Query, metric: &str, error: &SourceError) -> ApiError {
        let Query { rule, promql, .. } = query;
        self.telemetry.rule_failed(*rule, RuleFailure::Source(error.class));
        let promql = bounded(promql, LONGEST_QUERY);
        let promql = &*promql;
        if self.failure_log.is_due((rule, &error.message)) {
            tracing::warn!(metric, %rule, promql, %error, "query failed");
        } else {
            tracing::debug!(metric, %rule, promql, %error, "query failed again");
        }
        source_error(error.class, format!("unable to fetch metrics by {rule}: {error}"))
    }

    /// Step 7's failure: the selector's fault, or the rule's.
    fn plan_error(&self, rule: RuleId, error: &PlanError, record: &mut Record) -> ApiError {
        match error {
            PlanError::UnsupportedOperator { .. } | PlanError::UnsupportedLabel { .. } => {
                ApiError::bad_request(error.to_string())
            }
            _ => {
                record.note(|notes| notes.no_query(rule, error));
                self.rule_makes_no_query(rule, error);
                ApiError::internal(format!("unable to fetch metrics: {error}"))
            }
        }
    }

    fn rule_makes_no_query(&self, rule: RuleId, error: &PlanError) {
        self.telemetry.rule_failed(rule, RuleFailure::Plan);
        if self.failure_log.is_due((rule, error.to_string())) {
            tracing::error!(%rule, %error, "cannot build PromQL for the rule");
        }
    }

    /// The rule's query yields what makes no values.
    fn wrong_type(&self, query: &Query, found: &Samples, expected: &str, record: &mut Record) -> ApiError {
        self.telemetry.rule_failed(query.rule, RuleFailure::Source(SourceErrorClass::WrongType));
        let found = found.type_name();
        let message = format!("{} yields a {found}, expected an instant vector {expected}", query.rule);
        record.cause(Reason::QueryRefused, || message.clone());
        if self.failure_log.is_due((query.rule, found)) {
            tracing::warn!(rule = %query.rule, promql = %bounded(&query.promql, LONGEST_QUERY), "{message}");
        }
        ApiError::internal(format!("unable to fetch metrics: {message}"))
    }

    /// An answer has no value. Why is worked out only if it is going to be logged: callers may ask for anything, and
    /// often.
    fn missing(
        &self,
        step: Step,
        asked: &dyn std::fmt::Display,
        promql: Option<&str>,
        why: impl FnOnce() -> String,
    ) {
        if let Some(unexplained) = self.unexplained(step, asked) {
            unexplained.explain(&self.history, promql, &why());
        }
    }

    /// Counts an answer without a value; `None` when such an answer was explained a short while ago.
    fn unexplained(&self, step: Step, asked: &dyn std::fmt::Display) -> Option<Unexplained> {
        self.telemetry.not_found(step);
        let asked = asked.to_string();
        self.missing_log.is_due((step, &asked)).then_some(Unexplained { step, asked })
    }

    /// Warns of a rule whose query has no place for what limits a request: an autoscaler would add up what it did not
    /// ask for. `ignored` costs as much as making the query, so it is called once for each selector.
    fn warn_if_ignored(
        &self,
        (rule, template): (RuleId, &str),
        selector: &Selector,
        record: &mut Record,
        ignored: impl Fn() -> Ignored,
    ) {
        record.note(|notes| notes.ignored(ignored()));
        let text = selector.to_string();
        if !self.effect_checked.is_due((rule, template, &text)) {
            return;
        }
        let Ignored { namespace, selector } = ignored();
        if selector && self.rule_log.is_due((rule, template, "selector")) {
            tracing::warn!(
                %rule,
                selector = %bounded(&text, LONGEST_ASKED),
                "ignoring the selector of a request: the rule's query does not use <<.LabelMatchers>>"
            );
        }
        if namespace && self.rule_log.is_due((rule, template, "namespace")) {
            tracing::warn!(
                %rule,
                "ignoring the namespace of a request: the rule's query does not use <<.LabelMatchers>>"
            );
        }
    }

    /// Samples beside the ones that count are counted and logged.
    fn report_duplicates(&self, rule: RuleId, metric: &str, duplicates: &Duplicates) {
        self.telemetry.duplicate_samples(rule, duplicates.count);
        let Some(object) = &duplicates.example else { return };
        if self.missing_log.is_due((rule, metric, "duplicates")) {
            tracing::warn!(
                %rule,
                metric,
                object = %bounded(object, LONGEST_ASKED),
                duplicates = duplicates.count,
                "query returned several samples for one object; using the last; aggregate by <<.GroupBy>>"
            );
        }
    }

    /// Samples of other namespaces are counted and logged: the rule's query does not look at the request's.
    fn report_foreign(&self, rule: RuleId, metric: &str, foreign: &Foreign) {
        self.telemetry.foreign_samples(foreign.count);
        let Some((object, namespace)) = &foreign.example else { return };
        if self.gap_log.is_due((rule, metric, "foreign")) {
            tracing::warn!(
                %rule,
                metric,
                object = %bounded(object, LONGEST_ASKED),
                namespace = %bounded(namespace, LONGEST_ASKED),
                samples = foreign.count,
                "dropping samples of a namespace that was not requested; limit the query by <<.LabelMatchers>>"
            );
        }
    }

    /// Samples that were left out are counted and logged: somebody may miss them.
    fn report(&self, rule: RuleId, dropped: &[Dropped]) {
        for dropped in dropped {
            self.telemetry.sample_dropped(dropped.reason);
            if self.gap_log.is_due((rule, &dropped.object, dropped.reason)) {
                tracing::warn!(%rule, "{dropped}");
            }
        }
    }
}

/// The request that a query is part of.
#[derive(Clone, Copy)]
struct QueryContext<'a> {
    /// Each namespace gets an equal share of the source; empty for all of them.
    namespace: &'a str,
    time: SystemTime,
    deadline: Instant,
}

/// An answer without a value that the log does not explain yet.
struct Unexplained {
    step: Step,
    asked: String,
}

impl Unexplained {
    fn explain(self, history: &History, promql: Option<&str>, why: &str) {
        let Unexplained { step, asked } = self;
        let (asked, why) = (bounded(&asked, LONGEST_ASKED), bounded(why, LONGEST_WHY));
        let promql = promql.map(|promql| bounded(promql, LONGEST_QUERY)).map(tracing::field::display);
        let message = match step {
            Step::Resource | Step::Metric => "metric not found",
            Step::Objects | Step::Sample | Step::Value => "metric has no value",
        };
        tracing::info!(%asked, step = step.label(), %why, promql, "{message}");
        history.missing(asked.into_owned(), step.label(), why.into_owned());
    }
}

impl Handler for Answerer {
    fn handle(&self, request: ApiRequest) -> BoxFuture<'_, Result<Answer, ApiError>> {
        async move {
            if let Some(form) = routes::explanation(&request)? {
                return self.explain(&request, form).await;
            }
            let record = &mut Record::off();
            match request.group.as_str() {
                CUSTOM_METRICS => self.custom(&request, record).await.map(Answer::MetricValues),
                EXTERNAL_METRICS => self.external(&request, record).await.map(Answer::ExternalMetricValues),
                METRICS => self.usage(&request).await,
                _ => Err(ApiError::no_route()),
            }
        }
        .boxed()
    }
}

/// A metric that is not there is 404 and nothing else is touched; one that may only be not listed yet is 503 (D17).
fn not_listed(snapshot: &Snapshot, metric: &str, record: &mut Record, not_found: ApiError) -> ApiError {
    record.note(|notes| notes.not_listed(snapshot));
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
        SourceErrorClass::Unreachable | SourceErrorClass::Unavailable | SourceErrorClass::Busy => {
            ApiError::unavailable(message)
        }
        SourceErrorClass::Silent | SourceErrorClass::Timeout => ApiError::timeout(message),
        SourceErrorClass::BadQuery | SourceErrorClass::WrongType => ApiError::internal(message),
    }
}

fn unix_ms(time: SystemTime) -> i64 {
    time.duration_since(SystemTime::UNIX_EPOCH).map_or(0, |elapsed| elapsed.as_millis() as i64)
}

/// The most explanations at the same time: people ask for them, one by one.
const MOST_EXPLANATIONS: usize = 4;
/// Autoscalers ask every fifteen seconds.
const LOG_MISSING_EVERY: Duration = Duration::from_mins(10);
const LOG_FAILURE_EVERY: Duration = Duration::from_mins(1);
const LOG_GAP_EVERY: Duration = Duration::from_mins(1);
const CHECK_EFFECT_EVERY: Duration = Duration::from_mins(10);
/// Once: what a rule is does not change.
const LOG_RULE_EVERY: Duration = Duration::MAX;
