//! How a server ends: fail readiness, keep serving while the endpoint is taken out of use, stop accepting, finish what
//! is under way, exit. A second signal ends it immediately (D22).

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use tokio::sync::watch;

use crate::signals::Signals;

/// How far a server is on its way out. Only ever grows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Phase {
    /// Business as usual.
    Serving,
    /// Not ready any more, still serving: load balancers need time to notice.
    Leaving,
    /// No new connections; requests under way finish.
    Draining,
    /// Now.
    Aborting,
}

/// Moves the phase on.
#[derive(Debug, Clone)]
pub struct Trigger {
    changes: watch::Sender<Phase>,
    now: Arc<AtomicU8>,
}

/// Sees the phase. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Shutdown {
    changes: watch::Receiver<Phase>,
    /// The phase again: every answer looks at it, and the channel has a lock.
    now: Arc<AtomicU8>,
}

/// A trigger and what follows it.
pub fn lifecycle() -> (Trigger, Shutdown) {
    let (sender, receiver) = watch::channel(Phase::Serving);
    let now = Arc::new(AtomicU8::new(Phase::Serving as u8));
    (Trigger { changes: sender, now: Arc::clone(&now) }, Shutdown { changes: receiver, now })
}

impl Trigger {
    /// Moves on to a phase; going back is not possible.
    pub fn advance(&self, phase: Phase) {
        self.changes.send_if_modified(|current| {
            let later = phase > *current;
            *current = phase.max(*current);
            self.now.store(*current as u8, Ordering::Release);
            later
        });
    }

    /// The orderly way out: leave, wait for `delay`, drain.
    pub async fn leave(&self, delay: Duration) {
        self.advance(Phase::Leaving);
        tokio::time::sleep(delay).await;
        self.advance(Phase::Draining);
    }

    /// Waits for SIGTERM or SIGINT and leaves; a second signal aborts, also during the delay.
    ///
    /// # Errors
    /// When signals cannot be received.
    pub async fn follow_signals(self, delay: Duration) -> std::io::Result<()> {
        let mut signals = Signals::new()?;
        let first = signals.next().await;
        tracing::info!(
            signal = first,
            delay_seconds = delay.as_secs_f64(),
            "shutdown signal received; serving until the delay is over"
        );
        let second = tokio::select! {
            second = signals.next() => second,
            () = async { self.leave(delay).await; std::future::pending().await } => return Ok(()),
        };
        tracing::warn!(signal = second, "second signal received; exiting immediately");
        self.advance(Phase::Aborting);
        Ok(())
    }
}

impl Shutdown {
    /// Whether the phase is `phase` or a later one: from the moment in which [`Trigger::advance`] returns.
    pub fn has_reached(&self, phase: Phase) -> bool {
        self.now.load(Ordering::Acquire) >= phase as u8
    }

    /// Waits until the phase is at least `phase`. Without an end if nothing can move it any more.
    pub async fn reached(&self, phase: Phase) {
        let mut receiver = self.changes.clone();
        if receiver.wait_for(|current| *current >= phase).await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn phases_only_grow() {
        let (trigger, shutdown) = lifecycle();
        assert!(!shutdown.has_reached(Phase::Leaving));
        trigger.leave(Duration::ZERO).await;
        assert!(shutdown.has_reached(Phase::Draining));
        trigger.advance(Phase::Leaving);
        assert!(shutdown.has_reached(Phase::Draining) && !shutdown.has_reached(Phase::Aborting));
        shutdown.reached(Phase::Leaving).await;
        trigger.advance(Phase::Aborting);
        shutdown.reached(Phase::Aborting).await;
    }
}
