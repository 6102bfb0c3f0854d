//! external.metrics.k8s.io: the value of a metric for every series that a selector leaves.

use std::sync::Arc;
use std::time::SystemTime;

use apiservice::server::ApiRequest;
use apiservice::status::ApiError;
use apiservice::types::{ExternalMetricValue, ExternalMetricValueList, Timestamp};
use rules::plan::PlanError;

use super::empty::Found;
use super::{Answerer, missing, not_listed, unix_ms};
use crate::routes;
use crate::source::{Sample, Samples};
use crate::telemetry::Step;
use crate::values;

impl Answerer {
    pub(super) async fn external(&self, request: &ApiRequest) -> Result<ExternalMetricValueList, ApiError> {
        let asked = routes::external(request)?;
        let snapshot = self.catalog.load();
        let matched = snapshot.catalog.external(&asked.metric).ok_or_else(|| {
            if snapshot.unlisted.is_empty() {
                self.missing(Step::Metric, &asked, None, || missing::external(&snapshot, &asked.metric));
            }
            let not_found = ApiError::external_metric_not_found(&asked.metric, &asked.namespace);
            not_listed(&snapshot, &asked.metric, not_found)
        })?;
        if asked.nothing {
            return Ok(ExternalMetricValueList::default());
        }
        let query = match matched.plan(&asked.namespace, &asked.selector) {
            Ok(query) => query,
            // A namespace that cannot exist holds no series, and its name never reaches PromQL.
            Err(error @ PlanError::NotAKubernetesName { .. }) => {
                self.missing(Step::Sample, &asked, None, || {
                    format!("{error}, and the query of {} is limited to a namespace", matched.origin().rule())
                });
                return Ok(ExternalMetricValueList::default());
            }
            Err(error) => return Err(self.plan_error(matched.origin().rule(), &error)),
        };
        self.warn_if_ignored(query.rule, matched.origin().template(), &asked.selector, || {
            matched.ignored(&asked.namespace, &asked.selector)
        });
        let now = SystemTime::now();
        let result = self.ask(&query, &asked.metric, now, request.deadline).await?;
        // As long as the samples, or what is made of them, are there.
        request.holding.hold(result.held);
        let (samples, labelled) = match result.value {
            Samples::Vector(samples) => (samples, true),
            Samples::Scalar { timestamp_ms, value } => {
                (vec![Sample { labels: Vec::new(), timestamp_ms, value }], false)
            }
        };
        let picked = values::each(&samples, &asked.metric, matched.origin().policy(), unix_ms(now));
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
                series: matched.origin().series(),
                labels: matched.origin().labels(),
                limits: matched
                    .namespace_label()
                    .map(|label| (label, Some(&*asked.namespace)))
                    .into_iter()
                    .collect(),
                selector: &asked.selector,
                samples: &samples,
                histograms: result.histograms_dropped,
            };
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
