//! external.metrics.k8s.io: the value of a metric for every series that a selector leaves.

use std::sync::Arc;
use std::time::SystemTime;

use apiservice::server::ApiRequest;
use apiservice::status::ApiError;
use apiservice::types::{ExternalMetricValue, ExternalMetricValueList, Timestamp};
use rules::plan::PlanError;

use super::empty::Found;
use super::further::Vain;
use super::record::{Record, SampleNotes, noted};
use super::{Answerer, QueryContext, missing, not_listed, unix_ms};
use crate::explanation::Reason;
use crate::routes;
use crate::source::{Sample, Samples};
use crate::telemetry::Step;
use crate::values::{self, InNamespace};

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
            record.note(|notes| notes.not_found(&snapshot, mapper, &asked.metric, None));
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
        let now = SystemTime::now();
        let context = QueryContext { namespace: &asked.namespace, time: now, deadline: request.deadline };
        let result = self.ask(&query, &asked.metric, context, record).await?;
        // As long as the samples, or what is made of them, are there.
        request.holding.hold(result.held);
        let (samples, labelled) = match result.value {
            Samples::Vector(samples) => (samples, true),
            Samples::Scalar { timestamp_ms, value } => {
                (vec![Sample { labels: Vec::new(), timestamp_ms, value }], false)
            }
        };
        let policy = origin.policy();
        let picked = match record.notes() {
            None => values::each(&samples, &asked.metric, policy, unix_ms(now), |_, _| {}),
            Some(notes) => {
                let namespace = origin.label_of_namespaces();
                let namespace = namespace.map(|label| InNamespace { label, namespace: &asked.namespace });
                let mut seen = SampleNotes::new(namespace, None, unix_ms(now));
                let tell = |sample: &Sample, fate| seen.add(sample, &fate);
                let picked = values::each(&samples, &asked.metric, policy, unix_ms(now), tell);
                notes.joined(seen.finish(samples.len()), &picked, query.rule);
                picked
            }
        };
        self.report(query.rule, &picked.dropped);
        if let (true, Some(dropped)) = (picked.values.is_empty(), picked.dropped.first()) {
            self.telemetry.not_found(Step::Value);
            return Err(ApiError::internal(format!(
                "the metric {} of namespace {} by {} has no value: {dropped}",
                asked.metric, asked.namespace, query.rule
            )));
        }
        if picked.values.is_empty() {
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
                let vain = Vain {
                    origin,
                    namespace: matched.namespace_label().map(|_| &*asked.namespace),
                    selector: &asked.selector,
                    objects: None,
                    what: "series",
                    now,
                    deadline: request.deadline,
                };
                if !notes.has_cause() {
                    self.look_further(&vain, notes).await;
                }
                notes.cause(Reason::NoSamples, || found.nothing());
            }
            self.missing(Step::Sample, &asked, Some(&query.promql), || found.nothing());
        }
        let window_seconds = query.window.map(|window| window.as_secs() as i64);
        let metric_name: Arc<str> = Arc::from(&*asked.metric);
        // What a made-up value has no sample for has no labels either. The others' labels are taken, not copied.
        let mut labels = samples.into_iter().map(|sample| sample.labels).enumerate();
        let items = picked
            .values
            .into_iter()
            .map(|(position, value)| ExternalMetricValue {
                metric_name: Arc::clone(&metric_name),
                metric_labels: labelled.then(|| {
                    let found = labels.find(|(other, _)| *other == position);
                    found.map(|(_, labels)| labels).unwrap_or_default()
                }),
                timestamp: Timestamp::from_unix_ms(value.timestamp_ms),
                window_seconds,
                value: value.quantity,
            })
            .collect();
        Ok(ExternalMetricValueList { items })
    }
}
