//! How a server ends: fail readiness, keep serving while the endpoint is taken out of use, stop accepting, finish what
//! is under way, exit. A second signal ends it at once (D22).

use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

/// How far a server is on its way out. Only ever grows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// Business as usual.
    Serving,
    /// Not ready any more, still serving: whoever routes to us needs time to notice.
    Leaving,
    /// No new connections; requests under way finish.
    Draining,
    /// Now.
    Aborting,
}

/// Moves the phase on.
#[derive(Debug, Clone)]
pub struct Trigger(watch::Sender<Phase>);

/// Sees the phase. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Shutdown(watch::Receiver<Phase>);

/// A trigger and what follows it.
pub fn lifecycle() -> (Trigger, Shutdown) {
    let (sender, receiver) = watch::channel(Phase::Serving);
    (Trigger(sender), Shutdown(receiver))
}

impl Trigger {
    /// Moves on to a phase; going back is not possible.
    pub fn advance(&self, phase: Phase) {
        self.0.send_if_modified(|current| {
            let later = phase > *current;
            *current = phase.max(*current);
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
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        let mut next = async || {
            tokio::select! {
                _ = terminate.recv() => "SIGTERM",
                _ = interrupt.recv() => "SIGINT",
            }
        };
        let first = next().await;
        tracing::info!(signal = first, delay_seconds = delay.as_secs_f64(), "leaving");
        let second = tokio::select! {
            second = next() => second,
            () = async { self.leave(delay).await; std::future::pending().await } => return Ok(()),
        };
        tracing::warn!(signal = second, "second signal: ending now");
        self.advance(Phase::Aborting);
        Ok(())
    }
}

impl Shutdown {
    /// The phase now.
    pub fn phase(&self) -> Phase {
        *self.0.borrow()
    }

    /// Waits until the phase is at least `phase`. Waits for ever if nobody can move it any more.
    pub async fn reached(&self, phase: Phase) {
        let mut receiver = self.0.clone();
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
        assert_eq!(shutdown.phase(), Phase::Serving);
        trigger.leave(Duration::ZERO).await;
        assert_eq!(shutdown.phase(), Phase::Draining);
        trigger.advance(Phase::Leaving);
        assert_eq!(shutdown.phase(), Phase::Draining);
        shutdown.reached(Phase::Leaving).await;
        trigger.advance(Phase::Aborting);
        shutdown.reached(Phase::Aborting).await;
    }
}
