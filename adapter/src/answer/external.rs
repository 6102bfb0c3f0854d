//! external.metrics.k8s.io: the value of a metric for every series that a selector leaves.

use std::sync::Arc;

use apiservice::server::ApiRequest;
use apiservice::status::ApiError;
use apiservice::types::{ExternalMetricValue, ExternalMetricValueList, Timestamp};
use rules::plan::PlanError;

use super::empty::Found;
use super::record::samples::SampleNotes;
use super::record::{Record, noted};
use super::sought::Sought;
use super::{Answerer, QueryContext, missing, not_listed, policies, unix_ms};
use crate::explanation::Reason;
use crate::last_values::Served;
use crate::routes;
use crate::source::{MetricSource as _, Sample, Samples};
use crate::telemetry::Step;
use crate::values::{self, InNamespace, ObjectValue};

impl Answerer {
    pub(super) async fn external(
        &self,
        request: &ApiRequest,
        record: &mut Record,
    ) -> Result<ExternalMetricValueList, ApiError> {
        let asked = routes::external(request)?;
        record.note(|notes| notes.explanation.asked = noted(&request.group, &asked));
        let snapshot = self.catalog.load();
        let mapper = self.objects.mapper();
        let Some(matched) = snapshot.catalog.external(&asked.metric) else {
            if let Some(notes) = record.notes() {
                notes.not_found(&snapshot, mapper, &asked.metric, None);
                self.look_past_series_query(&snapshot, (&asked.namespace, request.deadline), notes).await;
            }
            if snapshot.unlisted.is_empty() {
                self.missing(Step::Metric, &asked, None, || missing::external(&snapshot, &asked.metric));
            }
            let not_found = ApiError::external_metric_not_found(&asked.metric, &asked.namespace);
            return Err(not_listed(&snapshot, &asked.metric, record, not_found));
        };
        let origin = matched.origin();
        record.note(|notes| notes.found(&snapshot, mapper, origin, None, (&asked.metric, None)));
        if asked.nothing {
            record.cause(Reason::Refused, || {
                "the field selector leaves nothing: values have no names".to_owned()
            });
            return Ok(ExternalMetricValueList::default());
        }
        let query = match matched.plan(&asked.namespace, &asked.selector) {
            Ok(query) => query,
            // A namespace that cannot exist holds no series, and its name never reaches PromQL.
            Err(error @ PlanError::NotAKubernetesName { .. }) => {
                let why = || format!("{error}, and the query of {} is limited to a namespace", origin.rule());
                record.cause(Reason::InvalidName, why);
                self.missing(Step::Sample, &asked, None, why);
                return Ok(ExternalMetricValueList::default());
            }
            Err(error) => return Err(self.plan_error(origin.rule(), &error, record)),
        };
        self.warn_if_ignored((query.rule, origin.template()), &asked.selector, record, || {
            matched.ignored(&asked.namespace, &asked.selector)
        });
        let now = self.source.now();
        let context = QueryContext { namespace: &asked.namespace, time: now, deadline: request.deadline };
        let result = self.ask(&query, &asked.metric, context, record).await?;
        let reading = self.reading(origin, &query, (&result, unix_ms(now)), record)?;
        // As long as the samples, or what is made of them, are there.
        request.holding.hold(result.held);
        let (mut samples, labelled) = match result.value {
            Samples::Vector(samples) => (samples, true),
            Samples::Scalar { timestamp_ms, value } => {
                (vec![Sample { labels: Vec::new(), timestamp_ms, value }], false)
            }
        };
        let namespace = origin.label_of_namespaces();
        let namespace = namespace.map(|label| InNamespace { label, namespace: &asked.namespace });
        let mut seen = record.is_on().then(|| SampleNotes::new(namespace, None, unix_ms(now)));
        let tell = |sample: &Sample, fate| {
            if let Some(seen) = &mut seen {
                seen.add(sample, &fate);
            }
        };
        let picked = values::each(&samples, &asked.metric, reading.policy, unix_ms(now), tell);
        if let (Some(notes), Some(seen)) = (record.notes(), seen) {
            notes.joined(seen.finish(samples.len()), &picked, query.rule);
        }
        self.report(query.rule, &picked.dropped);
        if let (true, Some(dropped)) = (picked.values.is_empty(), picked.dropped.first()) {
            self.telemetry.not_found(Step::Value);
            return Err(ApiError::internal(format!(
                "the metric {} of namespace {} by {} has no value: {dropped}",
                asked.metric, asked.namespace, query.rule
            )));
        }
        let mut served = served(&mut samples, &picked.values, labelled);
        let limits = || {
            let metric = (&*asked.metric, String::new());
            policies::limits(origin, metric, Some(&asked.namespace), &asked.selector)
        };
        if let Some(last) = self.last(&reading, limits) {
            served = last.instead_of(served);
        }
        self.made(served.iter().map(|served| &served.value), reading.policy, record);
        let sought = Sought {
            origin,
            namespace: matched.namespace_label().map(|_| &*asked.namespace),
            selector: &asked.selector,
            objects: None,
            what: "series",
            context: QueryContext { deadline: request.deadline, ..context },
        };
        if let (Some(notes), false) = (record.notes(), served.is_empty()) {
            self.look_at_age(&sought, notes).await;
        }
        if served.is_empty() {
            let found = Found {
                rule: query.rule,
                series: origin.series(),
                labels: origin.labels(),
                limits: matched
                    .namespace_label()
                    .map(|label| (label, Some(&*asked.namespace)))
                    .into_iter()
                    .collect(),
                selector: &asked.selector,
                samples: &samples,
                histograms: result.histograms_dropped,
            };
            if let Some(notes) = record.notes() {
                notes.nothing(&found);
                if !notes.has_cause() {
                    self.look_further(&sought, notes).await;
                }
                notes.cause(Reason::NoSamples, || found.nothing());
            }
            self.missing(Step::Sample, &asked, Some(&query.promql), || found.nothing());
        }
        let window_seconds = query.window.map(|window| window.as_secs() as i64);
        let metric_name: Arc<str> = Arc::from(&*asked.metric);
        let items = served
            .into_iter()
            .map(|Served { labels, value }| ExternalMetricValue {
                metric_name: Arc::clone(&metric_name),
                metric_labels: labels,
                timestamp: Timestamp::from_unix_ms(value.timestamp_ms),
                window_seconds,
                value: value.quantity,
            })
            .collect();
        Ok(ExternalMetricValueList { items })
    }
}

/// Values with the labels of their samples, which are taken and not copied. A scalar has none, and what `onEmpty: zero`
/// makes has empty ones.
fn served(samples: &mut [Sample], values: &[(usize, ObjectValue)], labelled: bool) -> Vec<Served> {
    let mut labels =
        |position: usize| samples.get_mut(position).map(|sample| std::mem::take(&mut sample.labels));
    let served = |(position, value): &(usize, ObjectValue)| Served {
        labels: labelled.then(|| labels(*position).unwrap_or_default()),
        value: *value,
    };
    values.iter().map(served).collect()
}
