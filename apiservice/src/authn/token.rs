//! Bearer tokens, judged by the cluster's TokenReview API (contract, section 8.3).

use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use http::HeaderName;
use http::header::AUTHORIZATION;
use http::request::Parts;
use k8s_openapi::api::authentication::v1::{TokenReview, TokenReviewSpec, UserInfo};
use kube::api::{Api, PostParams};
use moka::future::Cache;
use sha2::{Digest as _, Sha256};

use super::{Authenticator, AuthnError, PeerCertificates, User};
use crate::review::{Lifetimes, ReviewError, cache, review};

/// Judges bearer tokens by asking the cluster. Judgements are kept for a while, bad ones too (D34); equal tokens that
/// come at the same time are asked for once.
pub struct TokenReviews {
    api: Api<TokenReview>,
    budget: Duration,
    judgements: Cache<[u8; 32], Judgement>,
    /// Mixed into the keys of the cache, so that they say nothing about tokens to somebody who reads memory.
    salt: uuid::Uuid,
}

#[derive(Debug, Clone)]
enum Judgement {
    Good(Arc<User>),
    Bad(Arc<str>),
}

impl TokenReviews {
    /// Asks with a client; a judgement is kept for `ttl`, a bad one at most for some seconds.
    pub fn new(client: kube::Client, ttl: Duration) -> TokenReviews {
        TokenReviews {
            api: Api::all(client),
            budget: BUDGET,
            judgements: cache(lifetimes(ttl), |judgement| matches!(judgement, Judgement::Good(_))),
            salt: uuid::Uuid::new_v4(),
        }
    }

    async fn user(&self, token: &str) -> Result<Option<User>, AuthnError> {
        let key = Sha256::new().chain_update(self.salt.as_bytes()).chain_update(token).finalize().into();
        let judgement = self.judgements.try_get_with(key, self.judge(token)).await.map_err(
            |error: Arc<ReviewError>| AuthnError(format!("the token could not be judged: {error}")),
        )?;
        match judgement {
            Judgement::Good(user) => Ok(Some(User::clone(&user))),
            Judgement::Bad(reason) => Err(AuthnError(format!("the token is not good: {reason}"))),
        }
    }

    async fn judge(&self, token: &str) -> Result<Judgement, ReviewError> {
        let question = TokenReview {
            spec: TokenReviewSpec { token: Some(token.to_owned()), ..TokenReviewSpec::default() },
            ..TokenReview::default()
        };
        let answer =
            review(self.budget, || async { self.api.create(&PostParams::default(), &question).await })
                .await?;
        let status = answer.status.unwrap_or_default();
        Ok(match (status.authenticated, status.user) {
            (Some(true), Some(user)) => Judgement::Good(Arc::new(user_of(user))),
            _ => Judgement::Bad(status.error.as_deref().unwrap_or("the cluster does not know it").into()),
        })
    }
}

impl Authenticator for TokenReviews {
    fn authenticate<'a>(
        &'a self,
        request: &'a Parts,
        _peer: &'a PeerCertificates,
    ) -> BoxFuture<'a, Result<Option<User>, AuthnError>> {
        async move {
            match bearer(request) {
                Some(token) => self.user(token).await,
                None => Ok(None),
            }
        }
        .boxed()
    }

    fn reads(&self, name: &HeaderName, _: &PeerCertificates) -> bool {
        *name == AUTHORIZATION
    }
}

/// The token of an `Authorization` header; `None` for other schemes and for an empty token.
fn bearer(request: &Parts) -> Option<&str> {
    let header = request.headers.get(AUTHORIZATION)?.to_str().ok()?.trim();
    let (scheme, token) = header.split_once(' ')?;
    let token = token.trim();
    (scheme.eq_ignore_ascii_case("bearer") && !token.is_empty()).then_some(token)
}

fn user_of(user: UserInfo) -> User {
    User {
        name: user.username.unwrap_or_default(),
        uid: user.uid.unwrap_or_default(),
        groups: user.groups.unwrap_or_default(),
        extra: user.extra.unwrap_or_default(),
    }
}

/// How long judgements are kept.
fn lifetimes(ttl: Duration) -> Lifetimes {
    Lifetimes { good: ttl, bad: ttl.min(LONGEST_BAD) }
}

/// Longest time for a judgement, retries included.
const BUDGET: Duration = Duration::from_secs(10);
/// A token may become good at any moment: that of a new account, for one.
const LONGEST_BAD: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bad_judgements_are_kept_some_seconds_at_most() {
        let of = |seconds| {
            let Lifetimes { good, bad } = lifetimes(Duration::from_secs(seconds));
            (good.as_secs(), bad.as_secs())
        };
        assert_eq!([of(10), of(3), of(0)], [(10, 5), (3, 3), (0, 0)]);
    }
}
