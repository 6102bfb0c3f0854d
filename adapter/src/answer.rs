//! Steps 5 to 9 of a request, in order, and nothing else: the rule, the objects, the PromQL, the samples, the values.
//!
//! The catalog snapshot is taken once and the plan travels from the query to the join, so a relist in between cannot
//! change the rules under a request.

use std::sync::Arc;
use std::time::SystemTime;

use apiservice::server::{Answer, ApiRequest, Handler};
use apiservice::status::ApiError;
use apiservice::types::{
    LabelSelector, LabelSelectorRequirement, MetricValue, MetricValueList, ObjectReference, Timestamp,
};
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use rules::catalog::{CustomMatch, Objects as PlanObjects};
use rules::plan::{Plan, PlanError};
use rules::resource::Kind;
use rules::selector::{Operator, Requirement, Selector};

use crate::objects::{Objects, ObjectsError};
use crate::relist::{CatalogHandle, Snapshot};
use crate::routes::{self, AskedObjects, CustomRequest};
use crate::source::{MetricSource, Samples, SourceError, SourceErrorClass};
use crate::telemetry::Telemetry;
use crate::values::{self, Joined};

/// Answers the metrics APIs.
pub struct Answerer {
    catalog: CatalogHandle,
    objects: Arc<dyn Objects>,
    source: Arc<dyn MetricSource>,
    telemetry: Arc<Telemetry>,
}

impl Answerer {
    /// Joins the parts that a request passes through.
    pub fn new(
        catalog: CatalogHandle,
        objects: Arc<dyn Objects>,
        source: Arc<dyn MetricSource>,
        telemetry: Arc<Telemetry>,
    ) -> Answerer {
        Answerer { catalog, objects, source, telemetry }
    }

    async fn custom(&self, request: &ApiRequest) -> Result<MetricValueList, ApiError> {
        let asked = routes::custom(request)?;
        let snapshot = self.catalog.load();
        let (kind, matched) = self.find(&snapshot, &asked)?;
        let names = self.names(&asked, &kind, request).await?;
        let plan = plan(&matched, &asked, &names)?;
        let now = SystemTime::now();
        let result = self
            .source
            .query(&plan.query.promql, now, request.deadline)
            .await
            .map_err(|error| fetch_error(&asked, &plan, &error))?;
        self.telemetry.source_warnings(result.warnings.len());
        for warning in &result.warnings {
            tracing::warn!(rule = %plan.query.rule, %warning, "the answer may be partial");
        }
        self.telemetry.histograms_dropped(result.histograms_dropped);
        let Samples::Vector(samples) = result.value else {
            return Err(ApiError::internal(format!(
                "unable to fetch metrics: {} yields a {}, expected an instant vector with one sample for each object",
                plan.query.rule,
                result.value.type_name(),
            )));
        };
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let joined = values::join(&samples, &plan.join_label, &names, matched.policy(), unix_ms(now));
        self.report(&plan, &joined);
        list(&asked, &kind, &plan, &names, joined)
    }

    /// Step 5. A metric that is not there is 404 and nothing else is touched; a metric that may only be not listed
    /// yet is 503 (D17).
    fn find(&self, snapshot: &Snapshot, asked: &CustomRequest) -> Result<(Arc<Kind>, CustomMatch), ApiError> {
        let found = self
            .objects
            .mapper()
            .kind_for(&asked.resource.resource, &asked.resource.group)
            .filter(|kind| kind.namespaced == asked.namespace.is_some())
            .and_then(|kind| {
                let matched = snapshot.catalog.custom(&kind.group_resource(), &asked.metric)?;
                Some((kind, matched))
            });
        found.ok_or_else(|| match snapshot.unlisted.first() {
            None => ApiError::metric_not_found(&asked.metric, &asked.resource),
            Some(unlisted) => ApiError::unavailable(format!(
                "the metric {} is not listed, and {} of the series queries have no result yet; {}: {}",
                asked.metric,
                snapshot.unlisted.len(),
                unlisted.series_query,
                unlisted.cause,
            )),
        })
    }

    /// Step 6.
    async fn names(
        &self,
        asked: &CustomRequest,
        kind: &Kind,
        request: &ApiRequest,
    ) -> Result<Vec<String>, ApiError> {
        let selector = match &asked.objects {
            AskedObjects::Named(name) => return Ok(vec![name.clone()]),
            AskedObjects::Matching(selector) => selector,
        };
        let names = self.objects.names(kind, asked.namespace.as_deref(), selector, request.deadline).await;
        match names {
            Ok(names) if names.is_empty() => Err(ApiError::metric_not_found(&asked.metric, &asked.resource)),
            Ok(names) => Ok(names),
            Err(ObjectsError::Source(error)) => {
                Err(source_error(error.class, format!("unable to list matching resources: {error}")))
            }
        }
    }

    fn report(&self, plan: &Plan, joined: &Joined) {
        for dropped in &joined.dropped {
            self.telemetry.sample_dropped(dropped.reason);
            tracing::warn!(rule = %plan.query.rule, "{dropped}");
        }
        self.telemetry.duplicate_samples(joined.duplicates);
    }
}

impl Handler for Answerer {
    fn handle(&self, request: ApiRequest) -> BoxFuture<'_, Result<Answer, ApiError>> {
        async move {
            match request.group.as_str() {
                CUSTOM_METRICS => self.custom(&request).await.map(Answer::MetricValues),
                _ => Err(ApiError::no_route()),
            }
        }
        .boxed()
    }
}

/// Step 7. A name that no Kubernetes object can have answers like an object that does not exist, and never reaches
/// PromQL.
fn plan(matched: &CustomMatch, asked: &CustomRequest, names: &[String]) -> Result<Plan, ApiError> {
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let objects = PlanObjects { namespace: asked.namespace.as_deref(), names: &names };
    matched.plan(&objects, &asked.metric_selector).map_err(|error| match error {
        PlanError::NotAKubernetesName { .. } => absent(asked),
        PlanError::UnsupportedOperator { .. } | PlanError::UnsupportedLabel { .. } => {
            ApiError::bad_request(error.to_string())
        }
        _ => {
            tracing::error!(rule = %matched.rule(), %error, "the rule makes no query");
            ApiError::internal(format!("unable to fetch metrics: {error}"))
        }
    })
}

/// The 404 of an object without a sample, or of a selector that matches nothing.
fn absent(asked: &CustomRequest) -> ApiError {
    match &asked.objects {
        AskedObjects::Named(name) => ApiError::metric_not_found_for(&asked.metric, &asked.resource, name),
        AskedObjects::Matching(_) => ApiError::metric_not_found(&asked.metric, &asked.resource),
    }
}

/// Step 8's failure (D27). Logged here, outermost, with the query; the answer names the rule and the cause.
fn fetch_error(asked: &CustomRequest, plan: &Plan, error: &SourceError) -> ApiError {
    tracing::warn!(metric = %asked.metric, rule = %plan.query.rule, promql = %plan.query.promql, %error, "query failed");
    source_error(error.class, format!("unable to fetch metrics by {}: {error}", plan.query.rule))
}

fn source_error(class: SourceErrorClass, message: String) -> ApiError {
    match class {
        SourceErrorClass::Unavailable => ApiError::unavailable(message),
        SourceErrorClass::Timeout => ApiError::timeout(message),
        SourceErrorClass::BadQuery | SourceErrorClass::WrongType => ApiError::internal(message),
    }
}

/// Step 9's result as the API has it. Samples that no quantity can hold are left out of a list; when nothing else is
/// left, or the one object asked for has no other, the answer is an error that names the cause: an autoscaler holds
/// on errors.
fn list(
    asked: &CustomRequest,
    kind: &Kind,
    plan: &Plan,
    names: &[&str],
    joined: Joined,
) -> Result<MetricValueList, ApiError> {
    if joined.values.is_empty() {
        if let Some(dropped) = joined.dropped.first() {
            return Err(ApiError::internal(format!(
                "the metric {} of {} by {} has no value: {dropped}",
                asked.metric, asked.resource, plan.query.rule
            )));
        }
        if let AskedObjects::Named(_) = asked.objects {
            return Err(absent(asked));
        }
    }
    let selector = echo(&asked.metric_selector);
    let items = joined
        .values
        .into_iter()
        .map(|(position, value)| MetricValue {
            described_object: ObjectReference {
                kind: kind.kind.clone(),
                namespace: asked.namespace.clone(),
                name: names[position].to_owned(),
                api_version: kind.api_version(),
            },
            metric_name: asked.metric.clone(),
            selector: selector.clone(),
            timestamp: Timestamp::from_unix_ms(value.timestamp_ms),
            window_seconds: plan.query.window.map(|window| window.as_secs() as i64),
            value: value.quantity,
        })
        .collect();
    Ok(MetricValueList { items })
}

/// The metric selector as the answer repeats it; `None`, written as `null`, when there is none. `k!=v` is repeated as
/// `k notin (v)`, which means the same (D10).
fn echo(selector: &Selector) -> Option<LabelSelector> {
    if selector.is_empty() {
        return None;
    }
    let mut echo = LabelSelector::default();
    for Requirement { key, operator, values } in selector.requirements() {
        let operator = match operator {
            Operator::Equals => {
                echo.match_labels.insert(key.clone(), values.first().cloned().unwrap_or_default());
                continue;
            }
            Operator::In => "In",
            Operator::NotIn | Operator::NotEquals => "NotIn",
            Operator::Exists => "Exists",
            Operator::DoesNotExist => "DoesNotExist",
            // No plan is made for these: the request was refused before.
            Operator::GreaterThan | Operator::LessThan => return None,
        };
        let values = values.clone();
        echo.match_expressions.push(LabelSelectorRequirement { key: key.clone(), operator, values });
    }
    Some(echo)
}

fn unix_ms(time: SystemTime) -> i64 {
    time.duration_since(SystemTime::UNIX_EPOCH).map_or(0, |elapsed| elapsed.as_millis() as i64)
}

const CUSTOM_METRICS: &str = "custom.metrics.k8s.io";
