//! Access control by the cluster's SubjectAccessReview API (`docs/contract.md#access-reviews`).

use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use k8s_openapi::api::authorization::v1::{
    self as wire, FieldSelectorAttributes, LabelSelectorAttributes, NonResourceAttributes,
    SubjectAccessReview, SubjectAccessReviewSpec,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{FieldSelectorRequirement, LabelSelectorRequirement};
use kube::api::{Api, PostParams};
use moka::future::Cache;
use selector::{fields, labels};
use tokio::time::Instant;

use super::{Authorizer, AuthzError, Decision};
use crate::attributes::Attributes;
use crate::authn::{ANONYMOUS, Credential, UNAUTHENTICATED, User};
use crate::review::{
    Buckets, Caller, Key, Keys, Lifetimes, ReviewError, ReviewLimits, ReviewStats, cache, review,
};

/// Asks the cluster. Decisions are kept for a while; equal questions that come at the same time are asked once.
pub struct AccessReviews {
    api: Api<SubjectAccessReview>,
    decisions: Cache<Key, Decision>,
    keys: Keys,
    buckets: Buckets,
    asks_for_groups: bool,
}

impl AccessReviews {
    /// Asks with a client; keeps what is allowed for `allowed_ttl` and what is not for `denied_ttl`.
    pub fn new(
        client: kube::Client,
        allowed_ttl: Duration,
        denied_ttl: Duration,
        limits: ReviewLimits,
    ) -> AccessReviews {
        let lifetimes = Lifetimes { good: allowed_ttl, bad: denied_ttl };
        AccessReviews {
            api: Api::all(client),
            decisions: cache(lifetimes, |decision| *decision == Decision::Allow, bytes),
            keys: Keys::new(),
            buckets: Buckets::new(limits),
            asks_for_groups: false,
        }
    }

    /// Whether a caller's first question is about all resources of an API group in all namespaces (D92). A yes answers
    /// every question of the caller about this group with the same verb, for as long as it is kept. Only for an
    /// authority that allows each part of what it allows as a whole, as RBAC does.
    #[must_use]
    pub fn asking_for_groups(mut self, asks: bool) -> AccessReviews {
        self.asks_for_groups = asks;
        self
    }

    /// What became of reviews.
    pub fn stats(&self) -> Arc<ReviewStats> {
        self.buckets.stats()
    }

    async fn decide(&self, user: &User, attributes: &Attributes) -> Result<Decision, AuthzError> {
        let started = Instant::now();
        if self.asks_for_groups
            && let Some(whole) = spec_of_group(user, attributes)
            && let Ok(Decision::Allow) = self.decision(whole, caller(user), BUDGET).await
        {
            return Ok(Decision::Allow);
        }
        // Both questions together have the time of one. One that is known needs none.
        let left = BUDGET.saturating_sub(started.elapsed());
        self.decision(spec(user, attributes), caller(user), left).await
    }

    /// The decision that is kept of a question; else the cluster's.
    async fn decision(
        &self,
        spec: SubjectAccessReviewSpec,
        caller: Caller,
        budget: Duration,
    ) -> Result<Decision, AuthzError> {
        // The whole question makes the key. One that could not be written would be everybody's.
        let question = serde_json::to_vec(&spec).map_err(|error| AuthzError::Question(error.to_string()))?;
        let ask = self.ask(spec, caller, budget);
        let answer = self.decisions.try_get_with(self.keys.of(question), ask).await;
        answer.map_err(|error: Arc<ReviewError>| match &*error {
            ReviewError::Busy => AuthzError::Busy,
            ReviewError::Late(_) => AuthzError::Review(ReviewError::Late(BUDGET)),
            failed => AuthzError::Review(failed.clone()),
        })
    }

    async fn ask(
        &self,
        spec: SubjectAccessReviewSpec,
        caller: Caller,
        budget: Duration,
    ) -> Result<Decision, ReviewError> {
        let question = SubjectAccessReview { spec, ..SubjectAccessReview::default() };
        let ask = || async { self.api.create(&PostParams::default(), &question).await };
        let answer = review(budget, self.buckets.enter(caller), ask).await?;
        let status = answer.status.unwrap_or_default();
        let reason = status.reason.unwrap_or_default();
        Ok(match (status.allowed, status.denied) {
            (true, _) => Decision::Allow,
            (false, Some(true)) => Decision::Deny { reason },
            (false, _) => Decision::NoOpinion { reason },
        })
    }
}

/// A front proxy passes on callers that it does not know.
fn caller(user: &User) -> Caller {
    match user.credential {
        _ if user.name == ANONYMOUS || user.groups.iter().any(|group| group == UNAUTHENTICATED) => {
            Caller::Other
        }
        Credential::Certificate => Caller::Certificate,
        Credential::Token => Caller::Token,
        Credential::None => Caller::Other,
    }
}

fn bytes(decision: &Decision) -> usize {
    match decision {
        Decision::Allow => 0,
        Decision::Deny { reason } | Decision::NoOpinion { reason } => reason.len(),
    }
}

impl Authorizer for AccessReviews {
    fn authorize<'a>(
        &'a self,
        user: &'a User,
        attributes: &'a Attributes,
    ) -> BoxFuture<'a, Result<Decision, AuthzError>> {
        self.decide(user, attributes).boxed()
    }
}

fn spec(user: &User, attributes: &Attributes) -> SubjectAccessReviewSpec {
    let mut spec = spec_of(user);
    match &attributes.resource {
        Some(resource) => {
            spec.resource_attributes = Some(wire::ResourceAttributes {
                verb: given(&attributes.verb),
                group: given(&resource.group),
                version: given(&resource.version),
                namespace: given(&resource.namespace),
                resource: given(&resource.resource),
                subresource: given(&resource.subresource),
                name: given(&resource.name),
                field_selector: field_selector(attributes),
                label_selector: label_selector(attributes),
            });
        }
        None => {
            spec.non_resource_attributes =
                Some(NonResourceAttributes { path: given(&attributes.path), verb: given(&attributes.verb) });
        }
    }
    spec
}

/// The question of which a question about a resource is a part: all resources of its group, by any name, in all
/// namespaces, with the same verb. `None` for a question about a path.
fn spec_of_group(user: &User, attributes: &Attributes) -> Option<SubjectAccessReviewSpec> {
    let resource = attributes.resource.as_ref()?;
    // Without a namespace and a name a review is about all of them.
    let whole = wire::ResourceAttributes {
        verb: given(&attributes.verb),
        group: given(&resource.group),
        version: given(ALL),
        resource: given(ALL),
        ..wire::ResourceAttributes::default()
    };
    Some(SubjectAccessReviewSpec { resource_attributes: Some(whole), ..spec_of(user) })
}

fn spec_of(user: &User) -> SubjectAccessReviewSpec {
    SubjectAccessReviewSpec {
        user: given(&user.name),
        uid: given(&user.uid),
        groups: (!user.groups.is_empty()).then(|| user.groups.clone()),
        extra: (!user.extra.is_empty()).then(|| user.extra.clone()),
        ..SubjectAccessReviewSpec::default()
    }
}

fn given(text: &str) -> Option<String> {
    (!text.is_empty()).then(|| text.to_owned())
}

/// What a list is limited to; `None` for other requests, and where the selector cannot be read: then access to all
/// objects is asked for, as upstream does, and the answer is the reading error.
fn field_selector(attributes: &Attributes) -> Option<FieldSelectorAttributes> {
    let fields = attributes.options.fields.as_ref().ok().filter(|_| attributes.is_selecting)?;
    let requirements = fields.terms().iter().map(|term| FieldSelectorRequirement {
        key: term.field.clone(),
        operator: match term.operator {
            fields::Operator::Equals => "In",
            fields::Operator::NotEquals => "NotIn",
        }
        .to_owned(),
        values: Some(vec![term.value.clone()]),
    });
    let requirements: Vec<_> = requirements.collect();
    (!requirements.is_empty())
        .then_some(FieldSelectorAttributes { requirements: Some(requirements), raw_selector: None })
}

/// The same of labels. Comparisons of numbers have no form in a review, and are left out: access to more is asked for.
fn label_selector(attributes: &Attributes) -> Option<LabelSelectorAttributes> {
    let labels = attributes.options.labels.as_ref().ok().filter(|_| attributes.is_selecting)?;
    let requirements = labels.requirements().iter().filter_map(|requirement| {
        let operator = match requirement.operator {
            labels::Operator::Equals | labels::Operator::In => "In",
            labels::Operator::NotEquals | labels::Operator::NotIn => "NotIn",
            labels::Operator::Exists => "Exists",
            labels::Operator::DoesNotExist => "DoesNotExist",
            labels::Operator::GreaterThan | labels::Operator::LessThan => return None,
        };
        Some(LabelSelectorRequirement {
            key: requirement.key.clone(),
            operator: operator.to_owned(),
            values: (!requirement.values.is_empty()).then(|| requirement.values.clone()),
        })
    });
    let requirements: Vec<_> = requirements.collect();
    (!requirements.is_empty())
        .then_some(LabelSelectorAttributes { requirements: Some(requirements), raw_selector: None })
}

const ALL: &str = "*";
/// Longest time for a decision, retries included (D35).
const BUDGET: Duration = Duration::from_secs(3);
