//! Step 3 of a request: may they (`docs/contract.md#authorization`).

mod access_review;

use std::sync::Arc;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;

pub use access_review::AccessReviews;

use crate::attributes::{Attributes, ResourceAttributes};
use crate::authn::User;
use crate::review::ReviewError;
use crate::status::{ApiError, Class, Details};

/// What an authorizer says of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    /// Go on; no other authorizer is asked.
    Allow,
    /// Refused; no other authorizer is asked.
    Deny {
        /// Why; may be empty.
        reason: String,
    },
    /// Others decide.
    NoOpinion {
        /// Why not; may be empty.
        reason: String,
    },
}

/// Why no authorizer decided.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AuthzError {
    /// The authority that decides could not be asked: the request is refused with 500 (D14).
    #[error(transparent)]
    Review(ReviewError),
    /// The question could not be written: the request is refused with 500.
    #[error("cannot write the access review: {0}")]
    Question(String),
    /// Too much is asked of it: the request is refused with 429 (D81).
    #[error("too many access reviews for callers of this kind")]
    Busy,
}

/// Decides whether a request is allowed.
pub trait Authorizer: Send + Sync + 'static {
    /// May `user` do what `attributes` say?
    fn authorize<'a>(
        &'a self,
        user: &'a User,
        attributes: &'a Attributes,
    ) -> BoxFuture<'a, Result<Decision, AuthzError>>;
}

/// Asks authorizers in order; denies if none has an opinion. Cheap to clone.
#[derive(Clone)]
pub struct Chain(Vec<Arc<dyn Authorizer>>);

impl Chain {
    /// Authorizers in the order in which they are asked.
    pub fn new(authorizers: Vec<Arc<dyn Authorizer>>) -> Chain {
        Chain(authorizers)
    }

    /// The decision of the first authorizer with an opinion; without any, the reasons of them all.
    ///
    /// # Errors
    /// An authorizer could not be asked.
    pub async fn authorize(&self, user: &User, attributes: &Attributes) -> Result<Decision, AuthzError> {
        let mut reasons = Vec::new();
        for authorizer in &self.0 {
            match authorizer.authorize(user, attributes).await? {
                Decision::NoOpinion { reason } => reasons.extend((!reason.is_empty()).then_some(reason)),
                opinion => return Ok(opinion),
            }
        }
        Ok(Decision::NoOpinion { reason: reasons.join(", ") })
    }
}

impl Decision {
    /// Lets a request pass or says why not, in upstream's words.
    ///
    /// # Errors
    /// 403 unless allowed.
    pub fn enforce(&self, user: &User, attributes: &Attributes) -> Result<(), ApiError> {
        match self {
            Decision::Allow => Ok(()),
            Decision::Deny { reason } | Decision::NoOpinion { reason } => {
                Err(forbidden(user, attributes, reason))
            }
        }
    }
}

/// Members of a group may do anything.
pub struct PrivilegedGroup(pub &'static str);

impl Authorizer for PrivilegedGroup {
    fn authorize<'a>(
        &'a self,
        user: &'a User,
        _: &'a Attributes,
    ) -> BoxFuture<'a, Result<Decision, AuthzError>> {
        let member = user.groups.iter().any(|group| group == self.0);
        std::future::ready(Ok(opinion(member))).boxed()
    }
}

/// Everybody may use certain paths: health checks.
pub struct AlwaysAllowPaths(Vec<String>);

impl AlwaysAllowPaths {
    /// Exact paths, or prefixes with a trailing `*`.
    pub fn new(paths: Vec<String>) -> AlwaysAllowPaths {
        AlwaysAllowPaths(paths)
    }
}

impl Authorizer for AlwaysAllowPaths {
    fn authorize<'a>(
        &'a self,
        _: &'a User,
        attributes: &'a Attributes,
    ) -> BoxFuture<'a, Result<Decision, AuthzError>> {
        let listed = attributes.resource.is_none()
            && self.0.iter().any(|pattern| match pattern.strip_suffix('*') {
                Some(prefix) => attributes.path.starts_with(prefix),
                None => attributes.path == *pattern,
            });
        std::future::ready(Ok(opinion(listed))).boxed()
    }
}

/// The group whose members Kubernetes never refuses.
pub const MASTERS: &str = "system:masters";

fn opinion(allowed: bool) -> Decision {
    if allowed { Decision::Allow } else { Decision::NoOpinion { reason: String::new() } }
}

/// Errors 16 to 18 of `docs/contract.md#errors`.
fn forbidden(user: &User, attributes: &Attributes, reason: &str) -> ApiError {
    let because = if reason.is_empty() { String::new() } else { format!(": {reason}") };
    let verb = &attributes.verb;
    let Some(resource) = &attributes.resource else {
        let message =
            format!("forbidden: User {:?} cannot {verb} path {:?}{because}", user.name, attributes.path);
        return ApiError::new(Class::Forbidden, escape_html(&message), Some(Details::default()));
    };
    let ResourceAttributes { group, namespace, name, .. } = resource;
    let full = if resource.subresource.is_empty() {
        resource.resource.clone()
    } else {
        format!("{}/{}", resource.resource, resource.subresource)
    };
    let scope = if namespace.is_empty() {
        "at the cluster scope".to_owned()
    } else {
        format!("in the namespace {namespace:?}")
    };
    let subject = if name.is_empty() {
        format!("{}.{group} is forbidden", resource.resource)
    } else {
        format!("{}.{group} {name:?} is forbidden", resource.resource)
    };
    let message = format!(
        "{subject}: User {:?} cannot {verb} resource {full:?} in API group {group:?} {scope}{because}",
        user.name
    );
    let details = Details {
        name: name.clone(),
        group: group.clone(),
        kind: resource.resource.clone(),
        ..Details::default()
    };
    ApiError::new(Class::Forbidden, escape_html(&message), Some(details))
}

/// Upstream escapes these three in its 403 messages, since a browser may show them.
fn escape_html(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}
