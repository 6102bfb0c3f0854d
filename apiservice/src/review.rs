//! Questions to the cluster's own authority: TokenReview and SubjectAccessReview. Retries with a budget, and caches whose
//! entries live as long as their answer allows.

use std::hash::Hash;
use std::time::{Duration, Instant};

use backon::{BackoffBuilder as _, ExponentialBuilder, Retryable as _};
use moka::Expiry;
use moka::future::Cache;

/// The authority gave no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub(crate) struct ReviewError(String);

/// How long an answer is kept.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Lifetimes {
    /// If it is yes.
    pub(crate) good: Duration,
    /// If it is no.
    pub(crate) bad: Duration,
}

/// Asks, and asks again when the authority is away or busy, as upstream does
/// (`k8s.io/apiserver/pkg/util/webhook/webhook.go`): up to five times, waiting half a second and then half as long again
/// each time, up to a fifth more by chance, and never longer in all than `budget`.
pub(crate) async fn review<T, F: Future<Output = kube::Result<T>>>(
    budget: Duration,
    ask: impl FnMut() -> F,
) -> Result<T, ReviewError> {
    let retries = ExponentialBuilder::default()
        .with_min_delay(Duration::from_millis(500))
        .with_factor(1.5)
        .with_max_times(4)
        .build()
        .map(|wait| wait + wait.mul_f64(fastrand::f64() * JITTER));
    let asking = ask.retry(retries).when(is_passing);
    match tokio::time::timeout(budget, asking).await {
        Ok(answer) => answer.map_err(|error| ReviewError(describe(&error))),
        Err(_) => {
            Err(ReviewError(format!("the Kubernetes API did not answer within {} s", budget.as_secs())))
        }
    }
}

fn is_passing(error: &kube::Error) -> bool {
    match error {
        kube::Error::Api(status) => status.code == 429 || status.code >= 500,
        _ => true,
    }
}

/// What an operator needs: kube's own text repeats the whole Status.
fn describe(error: &kube::Error) -> String {
    match error {
        kube::Error::Api(status) => {
            format!("the Kubernetes API answered {}: {}", status.code, status.message)
        }
        other => format!("the Kubernetes API could not be asked: {other}"),
    }
}

/// A bounded cache of answers.
pub(crate) fn cache<K, V>(lifetimes: Lifetimes, is_good: fn(&V) -> bool) -> Cache<K, V>
where
    K: Hash + Eq + Send + Sync + 'static,
    V: Clone + Send + Sync + 'static,
{
    Cache::builder().max_capacity(MOST_ANSWERS).expire_after(ByAnswer { lifetimes, is_good }).build()
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
