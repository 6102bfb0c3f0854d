//! The time that a connection may take for the head of its next request.
//!
//! hyper makes a timer for every head and drops it with the head's arrival. All timers of the runtime lie in one list, so each
//! is two turns at a lock that all connections share. An [`Alarm`] stays in the list and is set anew only when it rings.

use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use hyper::rt::{Sleep, Timer};

/// Makes the timers of one connection, which waits for one at a time.
#[derive(Clone)]
pub(super) struct Alarm(Arc<Mutex<Pin<Box<tokio::time::Sleep>>>>);

struct Until {
    deadline: Instant,
    alarm: Alarm,
}

impl Alarm {
    /// For waits that are usually so long.
    pub(super) fn new(usual: Duration) -> Alarm {
        Alarm(Arc::new(Mutex::new(Box::pin(tokio::time::sleep(usual)))))
    }
}

impl Timer for Alarm {
    fn sleep(&self, duration: Duration) -> Pin<Box<dyn Sleep>> {
        self.sleep_until(Instant::now() + duration)
    }

    fn sleep_until(&self, deadline: Instant) -> Pin<Box<dyn Sleep>> {
        Box::pin(Until { deadline, alarm: self.clone() })
    }
}

impl Sleep for Until {}

impl Future for Until {
    type Output = ();

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let mut sleep = self.alarm.0.lock().unwrap_or_else(PoisonError::into_inner);
        let deadline = self.deadline.into();
        if sleep.deadline() > deadline {
            sleep.as_mut().reset(deadline);
        }
        // It may ring for a head that came long ago.
        while sleep.as_mut().poll(context).is_ready() {
            if sleep.deadline() >= deadline {
                return Poll::Ready(());
            }
            sleep.as_mut().reset(deadline);
        }
        Poll::Pending
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn it_rings_at_the_deadline_of_the_last_wait() {
        let began = tokio::time::Instant::now();
        let at = |seconds| (began + Duration::from_secs(seconds)).into_std();
        let alarm = Alarm::new(Duration::from_secs(30));
        // The head came at 20 s, and the next one is waited for from there on.
        let first = tokio::time::timeout(Duration::from_secs(20), alarm.sleep_until(at(30)));
        assert!(first.await.is_err());
        alarm.sleep_until(at(50)).await;
        assert_eq!(began.elapsed(), Duration::from_secs(50));
        // Once it rang, and with a deadline before the one that it is set to.
        alarm.sleep_until(at(80)).await;
        assert_eq!(began.elapsed(), Duration::from_secs(80));
        assert!(tokio::time::timeout(Duration::from_secs(1), alarm.sleep_until(at(110))).await.is_err());
        alarm.sleep_until(at(90)).await;
        assert_eq!(began.elapsed(), Duration::from_secs(90));
    }
}
