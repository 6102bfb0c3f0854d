//! custom.metrics.k8s.io: the value of a metric for objects.

use std::sync::Arc;
use std::time::Instant;

use apiservice::server::ApiRequest;
use apiservice::status::ApiError;
use apiservice::types::{
    LabelSelector, LabelSelectorRequirement, MetricValue, MetricValueList, ObjectReference, Timestamp,
};
use rules::catalog::{CustomMatch, Objects as PlanObjects, SharedQuery};
use rules::plan::{Plan, PlanError};
use rules::resource::Kind;
use selector::labels::{Operator, Requirement, Selector};

use super::empty::Found;
use super::record::samples::SampleNotes;
use super::record::{Record, noted};
use super::sought::Sought;
use super::{Answerer, QueryContext, missing, not_listed, policies, unix_ms};
use crate::explanation::Reason;
use crate::objects::Wanted;
use crate::relist::Snapshot;
use crate::routes::{self, AskedObjects, CustomRequest};
use crate::sharing;
use crate::source::{MetricSource as _, QueryResult, Sample, Samples, SourceError};
use crate::telemetry::Step;
use crate::values::{self, InNamespace, Joined};

impl Answerer {
    pub(super) async fn custom(
        &self,
        request: &ApiRequest,
        record: &mut Record,
    ) -> Result<MetricValueList, ApiError> {
        let asked = routes::custom(request)?;
        record.note(|notes| notes.explanation.asked = noted(&request.group, &asked));
        let snapshot = self.catalog.load();
        let (kind, matched) = match self.find(&snapshot, &asked, record) {
            Ok(found) => found,
            Err(error) => {
                if let Some(notes) = record.notes() {
                    let of = (asked.namespace.as_deref().unwrap_or_default(), request.deadline);
                    self.look_past_series_query(&snapshot, of, notes).await;
                }
                return Err(error);
            }
        };
        let origin = matched.origin();
        let objects = self.names(&asked, &kind, request, record).await?;
        let names: Vec<&str> = objects.iter().map(|name| &**name).collect();
        let plan = self.plan(&matched, &asked, &names, record)?;
        self.warn_if_ignored((origin.rule(), origin.template()), &asked.metric_selector, record, || {
            let objects = PlanObjects { namespace: asked.namespace.as_deref(), names: &names };
            matched.ignored(&objects, &asked.metric_selector)
        });
        let now = self.source.now();
        let context = QueryContext {
            namespace: asked.namespace.as_deref().unwrap_or_default(),
            time: now,
            // Of both queries, if the shared one cannot be used: the caller waits for one timeout and not for two.
            deadline: self.source.until(request.deadline),
        };
        let shared = if record.is_on() {
            // An explanation is of the request's own query.
            None
        } else {
            self.shared(&matched, &asked, &names, context).await
        };
        let result = match shared {
            Some(result) => result.map_err(|error| self.query_failed(&plan.query, &asked.metric, &error))?,
            None => self.ask(&plan.query, &asked.metric, context, record).await?,
        };
        let reading = self.reading(origin, &plan.query, (&result, unix_ms(now)), record)?;
        // As long as the samples, or what is made of them, are there.
        request.holding.hold(result.held);
        let samples = match result.value {
            Samples::Vector(samples) => samples,
            other @ Samples::Scalar { .. } => {
                return Err(self.wrong_type(&plan.query, &other, "with one sample for each object", record));
            }
        };
        let namespace = matched.namespace_label().zip(asked.namespace.as_deref());
        let in_namespace = namespace.map(|(label, namespace)| InNamespace { label, namespace });
        let wanted = (in_namespace, &*names);
        let label = &*plan.join_label;
        let mut seen =
            record.is_on().then(|| SampleNotes::new(in_namespace, Some((label, &names)), unix_ms(now)));
        let tell = |sample: &Sample, fate| {
            if let Some(seen) = &mut seen {
                seen.add(sample, &fate);
            }
        };
        let policy = reading.policy;
        let mut joined = values::join_telling(&samples, label, wanted, policy, unix_ms(now), tell);
        let limits = || {
            let metric = (&*asked.metric, kind.group_resource().to_string());
            policies::limits(origin, metric, asked.namespace.as_deref(), &asked.metric_selector)
        };
        if let Some(last) = self.last(&reading, limits) {
            last.complete(&objects, &mut joined);
        }
        if let (Some(notes), Some(seen)) = (record.notes(), seen) {
            notes.joined(seen.finish(samples.len()), &joined, plan.query.rule);
        }
        self.made(joined.values.iter().map(|(_, value)| value), policy, record);
        let sought = Sought {
            origin,
            namespace: asked.namespace.as_deref(),
            selector: &asked.metric_selector,
            objects: Some((&plan.join_label, &names)),
            what: &kind.plural,
            context: QueryContext { deadline: request.deadline, ..context },
        };
        if let (Some(notes), false) = (record.notes(), joined.values.is_empty()) {
            self.look_at_age(&sought, notes).await;
        }
        self.report(plan.query.rule, &joined.dropped);
        self.report_duplicates(plan.query.rule, &asked.metric, &joined.duplicates);
        self.report_foreign(plan.query.rule, &asked.metric, &joined.foreign);
        if joined.values.is_empty() && joined.dropped.is_empty() {
            let one_name = if let [name] = names[..] { Some(name) } else { None };
            let limits = namespace.map(|(label, namespace)| (label, Some(namespace)));
            let found = Found {
                rule: plan.query.rule,
                series: origin.series(),
                labels: origin.labels(),
                limits: limits.into_iter().chain([(&*plan.join_label, one_name)]).collect(),
                selector: &asked.metric_selector,
                samples: &samples,
                histograms: result.histograms_dropped,
            };
            if let Some(notes) = record.notes() {
                notes.nothing(&found);
                if samples.is_empty() && !notes.has_cause() {
                    self.look_further(&sought, notes).await;
                }
                notes.cause(Reason::NoSamples, || found.nothing());
            }
            self.missing(Step::Sample, &asked, Some(&plan.query.promql), || match samples.len() {
                0 => found.nothing(),
                count if count == joined.foreign.count => format!(
                    "every sample that the query of {} found is of another namespace",
                    plan.query.rule
                ),
                _ => found.of_others(&plan.join_label, "an object asked for"),
            });
        } else if joined.values.is_empty() {
            self.telemetry.not_found(Step::Value);
        }
        list(&asked, &kind, &plan, &objects, joined)
    }

    /// Step 5. A metric that is not there is 404 and nothing else is touched; a metric that may only be not listed
    /// yet is 503 (D17).
    fn find(
        &self,
        snapshot: &Snapshot,
        asked: &CustomRequest,
        record: &mut Record,
    ) -> Result<(Arc<Kind>, CustomMatch), ApiError> {
        let mapper = self.objects.mapper();
        let found = mapper
            .kind_for(&asked.resource.resource, &asked.resource.group)
            .filter(|kind| kind.namespaced == asked.namespace.is_some())
            .and_then(|kind| {
                let matched = snapshot.catalog.custom(&kind.group_resource(), &asked.metric)?;
                Some((kind, matched))
            });
        let Some((kind, matched)) = found else {
            record.note(|notes| match missing::step(mapper, asked) {
                Step::Metric => {
                    let kind = mapper.kind_for(&asked.resource.resource, &asked.resource.group);
                    notes.not_found(snapshot, mapper, &asked.metric, kind.as_deref());
                }
                _ => notes.cause(Reason::UnknownResource, || missing::custom(snapshot, mapper, asked)),
            });
            if snapshot.unlisted.is_empty() {
                let step = missing::step(mapper, asked);
                self.missing(step, asked, None, || missing::custom(snapshot, mapper, asked));
            }
            let not_found = ApiError::metric_not_found(&asked.metric, &asked.resource);
            return Err(not_listed(snapshot, &asked.metric, record, not_found));
        };
        record.note(|notes| {
            let label = Some(matched.object_label());
            notes.found(snapshot, mapper, matched.origin(), label, (&asked.metric, Some(&kind)));
        });
        Ok((kind, matched))
    }

    /// Step 6.
    async fn names(
        &self,
        asked: &CustomRequest,
        kind: &Kind,
        request: &ApiRequest,
        record: &mut Record,
    ) -> Result<Vec<Arc<str>>, ApiError> {
        let selector = match &asked.objects {
            AskedObjects::Named(name) => {
                let names = vec![Arc::from(name.as_str())];
                record.note(|notes| notes.objects(&format!("{} by name", kind.plural), &names));
                return Ok(names);
            }
            AskedObjects::Matching(selector) => selector,
        };
        let namespace = asked.namespace.as_deref();
        let wanted = Wanted { kind, namespace, name: None, selector, running: false };
        let objects = self.objects(wanted, request.deadline, record).await?;
        let names: Vec<Arc<str>> = objects.into_iter().map(|object| object.name).collect();
        let limits = || if selector.is_empty() { String::new() } else { format!(" that match {selector}") };
        record.note(|notes| notes.objects(&format!("{}{}", kind.plural, limits()), &names));
        if names.is_empty() {
            if let Some(notes) = record.notes() {
                let place = namespace.map(|name| format!(" in the namespace {name}")).unwrap_or_default();
                let instead = self.labels_instead(wanted, request.deadline).await;
                notes.cause(Reason::NoObjects, || {
                    format!("there are no {}{}{place}{instead}", kind.plural, limits())
                });
            }
            self.missing(Step::Objects, asked, None, || format!("there are no {}{}", kind.plural, limits()));
            return Err(ApiError::metric_not_found(&asked.metric, &asked.resource));
        }
        Ok(names)
    }

    /// Step 8 by an answer that other requests get as well; `None` when this one is to be asked alone.
    async fn shared(
        &self,
        matched: &CustomMatch,
        asked: &CustomRequest,
        names: &[&str],
        QueryContext { time, deadline, .. }: QueryContext<'_>,
    ) -> Option<Result<QueryResult, SourceError>> {
        let sharing = self.sharing.as_ref()?;
        let scope = match (&asked.namespace, names) {
            (Some(namespace), _) => namespace,
            (None, [name]) => *name,
            (None, _) => return None,
        };
        let query = SharedQuery::of(matched, &asked.metric_selector)?;
        let started = Instant::now();
        let result = sharing.query(&query, sharing::Wanted { scope, names }, time, deadline).await?;
        self.telemetry.rule_queried(matched.origin().rule(), started.elapsed());
        Some(result)
    }

    /// Step 7. A name that no Kubernetes object can have answers like an object that does not exist, and never reaches
    /// PromQL.
    fn plan(
        &self,
        matched: &CustomMatch,
        asked: &CustomRequest,
        names: &[&str],
        record: &mut Record,
    ) -> Result<Plan, ApiError> {
        let objects = PlanObjects { namespace: asked.namespace.as_deref(), names };
        matched.plan(&objects, &asked.metric_selector).map_err(|error| match error {
            PlanError::NotAKubernetesName { .. } => {
                let why = || format!("the {error}, so no object can have it");
                record.cause(Reason::InvalidName, why);
                self.missing(Step::Sample, asked, None, why);
                absent(asked)
            }
            error => self.plan_error(matched.origin().rule(), &error, record),
        })
    }
}

/// The 404 of an object without a sample, or of a selector that matches nothing.
fn absent(asked: &CustomRequest) -> ApiError {
    match &asked.objects {
        AskedObjects::Named(name) => ApiError::metric_not_found_for(&asked.metric, &asked.resource, name),
        AskedObjects::Matching(_) => ApiError::metric_not_found(&asked.metric, &asked.resource),
    }
}

/// Step 9's result in the form of the API. Samples that no quantity can hold are left out of a list; when nothing else
/// is left, or the one object asked for has no other, the answer is an error that names the cause: an autoscaler holds
/// on errors.
fn list(
    asked: &CustomRequest,
    kind: &Kind,
    plan: &Plan,
    names: &[Arc<str>],
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
    let selector = echo(&asked.metric_selector).map(Arc::new);
    let metric_name: Arc<str> = Arc::from(&*asked.metric);
    let object_kind: Arc<str> = Arc::from(&*kind.kind);
    let api_version: Arc<str> = kind.api_version().into();
    let namespace: Option<Arc<str>> = asked.namespace.as_deref().map(Arc::from);
    let items = joined
        .values
        .into_iter()
        .map(|(position, value)| MetricValue {
            described_object: ObjectReference {
                kind: Arc::clone(&object_kind),
                namespace: namespace.clone(),
                name: Arc::clone(&names[position]),
                api_version: Arc::clone(&api_version),
            },
            metric_name: Arc::clone(&metric_name),
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
