//! Waiting for a condition. The limit only ends a test that would wait forever, so nothing depends on how fast a
//! machine is. With a paused clock, each look lets time go on.

use std::time::Duration;

use tokio::time::Instant;

/// Waits for a future.
///
/// # Panics
/// It is not ready within [`PATIENCE`].
pub async fn in_time<T>(what: &str, future: impl Future<Output = T>) -> T {
    let waited = tokio::time::timeout(PATIENCE, future).await;
    waited.unwrap_or_else(|_| panic!("expected {what} within {PATIENCE:?}"))
}

/// Waits until a condition holds, and says how long that took.
///
/// # Panics
/// It does not hold within [`PATIENCE`].
pub async fn until(what: &str, mut condition: impl FnMut() -> bool) -> Duration {
    until_async(what, async || condition()).await
}

/// As [`until`], for a condition that waits itself.
///
/// # Panics
/// As [`until`].
pub async fn until_async(what: &str, mut condition: impl AsyncFnMut() -> bool) -> Duration {
    let started = Instant::now();
    in_time(what, async {
        while !condition().await {
            tokio::time::sleep(BETWEEN_LOOKS).await;
        }
    })
    .await;
    started.elapsed()
}

/// How long a test waits for what must come.
pub const PATIENCE: Duration = Duration::from_mins(1);
const BETWEEN_LOOKS: Duration = Duration::from_millis(5);

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_condition_is_looked_at_until_it_holds() {
        let mut looks = 0;
        let took = until("the third look", || {
            looks += 1;
            looks == 3
        })
        .await;
        assert_eq!((looks, took), (3, BETWEEN_LOOKS * 2));
    }

    #[tokio::test(start_paused = true)]
    #[should_panic(expected = "expected the impossible within 60s")]
    async fn what_never_comes_fails_by_its_name() {
        until("the impossible", || false).await;
    }
}
