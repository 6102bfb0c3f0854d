//! Questions to the cluster's own authority: TokenReview and SubjectAccessReview. Limits for each class of callers,
//! retries with a budget, and caches whose entries live as long as their answer allows and whose keys say nothing.

mod bucket;

use std::time::{Duration, Instant};

use backon::{BackoffBuilder as _, ExponentialBuilder, Retryable as _};
use moka::Expiry;
use moka::future::Cache;
use sha2::{Digest as _, Sha256};

pub use bucket::{Caller, ReviewLimits, ReviewStats};

pub(crate) use bucket::Buckets;
use bucket::{Asking, Busy};

/// The API did not answer.
///
/// Clients see these texts, and caches hand the same error to all who wait for it: causes are texts.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReviewError {
    /// Too many are asked for.
    #[error("too many reviews for callers of this kind")]
    Busy,
    /// The Kubernetes API answered with an error. Kube's own text would repeat the whole Status.
    #[error("the Kubernetes API answered {code}: {message}")]
    Refused {
        /// Its code.
        code: u16,
        /// Its message.
        message: String,
    },
    /// The Kubernetes API was not reached.
    #[error("the Kubernetes API could not be asked: {0}")]
    NotAsked(String),
    /// The Kubernetes API took too long.
    #[error("the Kubernetes API did not answer within {} s", .0.as_secs())]
    Late(Duration),
}

/// Makes the keys of a cache out of what callers write: of one size, and without a word of it that could be read in
/// memory.
pub(crate) struct Keys(uuid::Uuid);

impl Keys {
    pub(crate) fn new() -> Keys {
        Keys(uuid::Uuid::new_v4())
    }

    pub(crate) fn of(&self, text: impl AsRef<[u8]>) -> Key {
        Sha256::new().chain_update(self.0.as_bytes()).chain_update(text).finalize().into()
    }
}

/// A salted digest.
pub(crate) type Key = [u8; 32];

/// How long an answer is kept.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Lifetimes {
    /// If it is yes.
    pub(crate) good: Duration,
    /// If it is not.
    pub(crate) bad: Duration,
}

/// Asks, and asks again when the authority is away or busy, as upstream does
/// (`k8s.io/apiserver/pkg/util/webhook/webhook.go`): up to five times, waiting half a second and then half as long
/// again each time, up to a fifth more by chance, and never longer in all than `budget`. Each attempt has its turn in
/// the bucket.
pub(crate) async fn review<T, F: Future<Output = kube::Result<T>>>(
    budget: Duration,
    place: Result<Asking<'_>, Busy>,
    mut ask: impl FnMut() -> F,
) -> Result<T, ReviewError> {
    let place = place.map_err(|Busy| ReviewError::Busy)?;
    let retries = ExponentialBuilder::default()
        .with_min_delay(Duration::from_millis(500))
        .with_factor(1.5)
        .with_max_times(4)
        .build()
        .map(|wait| wait + wait.mul_f64(fastrand::f64() * JITTER));
    let attempt = || {
        let asked = ask();
        async {
            place.turn().await.map_err(|Busy| None)?;
            asked.await.map_err(Some)
        }
    };
    let asking = attempt.retry(retries).when(|error| error.as_ref().is_some_and(is_passing));
    match tokio::time::timeout(budget, asking).await {
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(None)) => Err(ReviewError::Busy),
        Ok(Err(Some(error))) => Err(because(&error)),
        Err(_) => Err(ReviewError::Late(budget)),
    }
}

fn is_passing(error: &kube::Error) -> bool {
    match error {
        kube::Error::Api(status) => status.code == 429 || status.code >= 500,
        _ => true,
    }
}

fn because(error: &kube::Error) -> ReviewError {
    match error {
        kube::Error::Api(status) => {
            ReviewError::Refused { code: status.code, message: status.message.clone() }
        }
        other => ReviewError::NotAsked(other.to_string()),
    }
}

/// A cache of answers, bounded by their number and by what they hold.
pub(crate) fn cache<V>(lifetimes: Lifetimes, is_good: fn(&V) -> bool, bytes: fn(&V) -> usize) -> Cache<Key, V>
where
    V: Clone + Send + Sync + 'static,
{
    Cache::builder()
        .max_capacity(MOST_ANSWERS * USUAL_ANSWER)
        .weigher(move |_, answer| u32::try_from(bytes(answer)).unwrap_or(u32::MAX).max(USUAL_ANSWER as u32))
        .expire_after(ByAnswer { lifetimes, is_good })
        .build()
}

struct ByAnswer<V> {
    lifetimes: Lifetimes,
    is_good: fn(&V) -> bool,
}

impl<K, V> Expiry<K, V> for ByAnswer<V> {
    fn expire_after_create(&self, _: &K, answer: &V, _: Instant) -> Option<Duration> {
        Some(if (self.is_good)(answer) { self.lifetimes.good } else { self.lifetimes.bad })
    }
}

/// Callers that failed together do not come back together.
const JITTER: f64 = 0.2;
/// Enough for every caller that a cluster has, little enough to bound what strangers can fill.
const MOST_ANSWERS: u64 = 8192;
/// In bytes. Larger answers leave room for fewer: 8 MiB in all.
const USUAL_ANSWER: u64 = 1024;
