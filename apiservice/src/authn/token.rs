//! Bearer tokens, judged by the cluster's TokenReview API (`docs/contract.md#bearer-tokens`).

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

use super::{Authenticator, AuthnError, Credential, PeerCertificates, User};
use crate::review::{
    Buckets, Caller, Key, Keys, Lifetimes, ReviewError, ReviewLimits, ReviewStats, cache, review,
};

/// Judges bearer tokens by asking the cluster. Judgements are kept for a while, bad ones too (D34); equal tokens that
/// come at the same time are asked for once.
pub struct TokenReviews {
    api: Api<TokenReview>,
    judgements: Cache<Key, Judgement>,
    /// Tokens that were valid a while ago: asking about them again is not left to what strangers leave over.
    known: Cache<Key, ()>,
    keys: Keys,
    buckets: Buckets,
}

#[derive(Debug, Clone)]
enum Judgement {
    Good(Arc<User>),
    Bad(Arc<str>),
}

impl TokenReviews {
    /// Asks with a client; a judgement is kept for `ttl`, a bad one at most for some seconds.
    pub fn new(client: kube::Client, ttl: Duration, limits: ReviewLimits) -> TokenReviews {
        TokenReviews {
            api: Api::all(client),
            judgements: cache(lifetimes(ttl), |judgement| matches!(judgement, Judgement::Good(_)), bytes),
            known: Cache::builder().max_capacity(MOST_KNOWN).time_to_live(KNOWN_FOR).build(),
            keys: Keys::new(),
            buckets: Buckets::new(limits),
        }
    }

    /// What became of reviews.
    pub fn stats(&self) -> Arc<ReviewStats> {
        self.buckets.stats()
    }

    async fn user(&self, token: &str) -> Result<Option<User>, AuthnError> {
        let key = self.keys.of(token);
        let judgement = self
            .judgements
            .try_get_with(key, self.review(token, key))
            .await
            .map_err(|error: Arc<ReviewError>| AuthnError::Review(ReviewError::clone(&error)))?;
        match judgement {
            Judgement::Good(user) => Ok(Some(User::clone(&user))),
            Judgement::Bad(reason) => Err(AuthnError::Token(reason.to_string())),
        }
    }

    async fn review(&self, token: &str, key: Key) -> Result<Judgement, ReviewError> {
        let question = TokenReview {
            spec: TokenReviewSpec { token: Some(token.to_owned()), ..TokenReviewSpec::default() },
            ..TokenReview::default()
        };
        let caller = if self.known.contains_key(&key) { Caller::Token } else { Caller::Other };
        let ask = || async { self.api.create(&PostParams::default(), &question).await };
        let status = review(BUDGET, self.buckets.enter(caller), ask).await?.status.unwrap_or_default();
        if let (Some(true), Some(user)) = (status.authenticated, status.user) {
            self.known.insert(key, ()).await;
            return Ok(Judgement::Good(Arc::new(user_of(user))));
        }
        self.known.invalidate(&key).await;
        Ok(Judgement::Bad(status.error.as_deref().unwrap_or("the cluster does not know it").into()))
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
        credential: Credential::Token,
    }
}

fn bytes(judgement: &Judgement) -> usize {
    let user = match judgement {
        Judgement::Good(user) => user,
        Judgement::Bad(reason) => return reason.len(),
    };
    let User { name, uid, groups, extra, .. } = &**user;
    let texts = |texts: &[String]| texts.iter().map(|text| text.len() + size_of::<String>()).sum::<usize>();
    let extra = extra.iter().map(|(key, values)| key.len() + texts(values));
    name.len() + uid.len() + texts(groups) + extra.sum::<usize>()
}

/// How long judgements are kept.
fn lifetimes(ttl: Duration) -> Lifetimes {
    Lifetimes { good: ttl, bad: ttl.min(LONGEST_BAD) }
}

/// Longest time for a judgement, retries included.
const BUDGET: Duration = Duration::from_secs(10);
/// A token may become good at any moment: that of a new account, for one.
const LONGEST_BAD: Duration = Duration::from_secs(5);
/// Longer than a token's judgement is kept, and as long as most tokens live.
const KNOWN_FOR: Duration = Duration::from_hours(1);
const MOST_KNOWN: u64 = 8192;

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
