//! `?explain`: the request is answered as ever, its steps note what they decide, and the notes are the answer.

use std::time::SystemTime;

use apiservice::attributes::{Attributes, ResourceAttributes};
use apiservice::authn::User;
use apiservice::authz::Decision;
use apiservice::server::{Answer, ApiRequest};
use apiservice::status::ApiError;
use apiservice::types::{ExternalMetricValueList, MetricValueList};
use bytes::Bytes;

use super::bounded::{LONGEST_WHY, bounded};
use super::record::{Notes, Record, noted};
use super::{Answerer, unix_ms};
use crate::discovery_documents::{CUSTOM_METRICS, EXTERNAL_METRICS};
use crate::explanation::{MOST_LISTED, Outcome, Reason, ValueShown};
use crate::routes::ExplanationForm;

impl Answerer {
    /// What a request would be answered with, and why. It is an answer, whatever the request itself would get.
    pub(super) async fn explain(
        &self,
        request: &ApiRequest,
        form: ExplanationForm,
    ) -> Result<Answer, ApiError> {
        // Each asks more than its request does.
        let Ok(_place) = self.explaining.try_acquire() else { return Err(ApiError::too_many_requests()) };
        let missing = self.missing_permission(&request.user, &request.attributes).await;
        let mut record = Record::on(missing.is_none());
        // As it was sent, until a step has read it.
        record.note(|notes| notes.explanation.asked = noted("GET", &request.attributes.path));
        let shown = match request.group.as_str() {
            CUSTOM_METRICS => {
                let answer = self.custom(request, &mut record).await;
                answer.map(|list| shown_custom(&list))
            }
            EXTERNAL_METRICS => {
                let answer = self.external(request, &mut record).await;
                answer.map(|list| shown_external(&list))
            }
            _ => {
                let served = format!("{CUSTOM_METRICS} and {EXTERNAL_METRICS}");
                return Err(ApiError::bad_request(format!("only metrics of {served} can be explained")));
            }
        };
        let namespace = request.attributes.resource.as_ref().map_or("", |asked| &asked.namespace);
        if let Some(notes) = record.notes()
            && !namespace.is_empty()
            && matches!(
                notes.explanation.cause.reason,
                Reason::NoSeries | Reason::NoSeriesOfObjects | Reason::StaleSamples
            )
        {
            self.look_at_targets(namespace, request.deadline, notes).await;
        }
        record.note(|notes| {
            notes.explanation.missing_permission = missing;
            notes.finish(shown);
        });
        let explanation = record.into_explanation().unwrap_or_default();
        let text = match form {
            ExplanationForm::Text => explanation.to_string(),
            ExplanationForm::Json => serde_json::to_string(&explanation)
                .map_err(|error| ApiError::internal(format!("unable to write the explanation: {error}")))?,
        };
        let content_type = match form {
            ExplanationForm::Text => "text/plain; charset=utf-8",
            ExplanationForm::Json => "application/json",
        };
        Ok(Answer::Document { content_type, body: Bytes::from(text) })
    }

    /// The permission that the caller lacks for the texts of rules and queries: `get` on the subresource `explain`.
    async fn missing_permission(&self, user: &User, attributes: &Attributes) -> Option<String> {
        let asked = attributes.resource.as_ref()?;
        let resource = ResourceAttributes { subresource: "explain".to_owned(), ..asked.clone() };
        let ResourceAttributes { group, namespace, resource: name, .. } = &resource;
        let place = if namespace.is_empty() {
            "the whole cluster".to_owned()
        } else {
            format!("the namespace {namespace}")
        };
        let permission = format!("get on {name}/explain of {group} in {place}");
        let question = Attributes {
            verb: "get".to_owned(),
            is_selecting: false,
            resource: Some(resource),
            ..attributes.clone()
        };
        match self.authorization.authorize(user, &question).await {
            Ok(Decision::Allow) => None,
            Ok(Decision::Deny { .. } | Decision::NoOpinion { .. }) => Some(permission),
            Err(error) => Some(format!("{permission}, which could not be checked: {error}")),
        }
    }
}

/// Values of an answer: how many, and the first of them.
struct Shown {
    count: usize,
    values: Vec<ValueShown>,
}

fn shown_custom(list: &MetricValueList) -> Shown {
    let now = unix_ms(SystemTime::now());
    let values = list.items.iter().take(MOST_LISTED).map(|item| ValueShown {
        object: Some(item.described_object.name.to_string()),
        value: item.value.to_string(),
        age_seconds: age(now, item.timestamp.unix_seconds()),
        policy: None,
    });
    Shown { count: list.items.len(), values: values.collect() }
}

/// Without labels: they are among the samples, where they may be shown.
fn shown_external(list: &ExternalMetricValueList) -> Shown {
    let now = unix_ms(SystemTime::now());
    let values = list.items.iter().take(MOST_LISTED).map(|item| ValueShown {
        object: None,
        value: item.value.to_string(),
        age_seconds: age(now, item.timestamp.unix_seconds()),
        policy: None,
    });
    Shown { count: list.items.len(), values: values.collect() }
}

/// A time of the API has whole seconds.
fn age(now_ms: i64, unix_seconds: i64) -> f64 {
    (now_ms.div_euclid(1000) - unix_seconds) as f64
}

impl Notes {
    /// The answer, and a cause if no step had one.
    fn finish(&mut self, shown: Result<Shown, ApiError>) {
        match shown {
            Ok(Shown { count, mut values }) => {
                for (value, policy) in values.iter_mut().zip(self.policies.drain(..)) {
                    value.policy = policy;
                }
                let by = values.first().and_then(|first| first.policy.as_ref());
                let by = by.map(|policy| format!(" by {policy}")).unwrap_or_default();
                self.explanation.answer = Outcome { code: 200, message: None, values: count };
                let of = values.first().and_then(|first| Some((first.object.clone()?, first.value.clone())));
                let first = values.first().map(|first| first.value.clone());
                self.cause(Reason::Answered, || match (count, of, first) {
                    (1, Some((object, value)), _) => format!("{object} has the value {value}{by}"),
                    (1, None, Some(value)) => format!("the value is {value}{by}"),
                    (0, ..) => "the answer is an empty list".to_owned(),
                    (count, Some((object, value)), _) => {
                        format!("{count} objects have a value; that of {object} is {value}{by}")
                    }
                    (count, ..) => format!("there are {count} values"),
                });
                self.explanation.values = values;
            }
            Err(error) => {
                let message = self.message.take();
                let message = message.unwrap_or_else(|| bounded(error.message(), LONGEST_WHY).into_owned());
                self.cause(Reason::Refused, || message.clone());
                self.explanation.answer =
                    Outcome { code: error.code().as_u16(), message: Some(message), values: 0 };
            }
        }
    }
}
