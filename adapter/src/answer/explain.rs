//! `?explain`: the request is answered as ever, its steps note what they decide, and the notes are the answer.

use apiservice::attributes::{Attributes, ResourceAttributes};
use apiservice::authn::User;
use apiservice::authz::Decision;
use apiservice::server::{Answer, ApiRequest};
use apiservice::status::ApiError;
use bytes::Bytes;

use super::Answerer;
use super::record::outcome::{shown_custom, shown_external};
use super::record::{Record, noted};
use crate::discovery_documents::{CUSTOM_METRICS, EXTERNAL_METRICS};
use crate::explanation::Reason;
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
