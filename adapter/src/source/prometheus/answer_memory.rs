//! Memory for answers: what one may have, and what all that are under way may have together.
//!
//! The first bytes of an answer come from a part of the room that long answers cannot fill, so that short answers never
//! wait for long ones. More comes from the rest while there is some. When there is none, one answer after the other
//! gets the place that is kept for a whole one: it need not wait for any other, so there is always one that goes on.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Instant;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::settings::{AnswerLimits, LARGEST_ANSWER_FLAG, LARGEST_ANSWERS_FLAG};
use crate::source::{SourceError, SourceErrorClass};

/// What the metrics say of the room.
#[derive(Debug, Default)]
pub struct AnswerStats {
    /// Bytes of the answers under way.
    pub bytes: AtomicU64,
    /// Answers that were larger than one may be.
    pub too_large: AtomicU64,
    /// Answers that found no room in time.
    pub no_room: AtomicU64,
}

/// The room for all answers.
#[derive(Clone)]
pub(super) struct AnswerMemory {
    limits: AnswerLimits,
    /// For the first bytes of each answer.
    first: Arc<Semaphore>,
    more: Arc<Semaphore>,
    /// For one answer of any size that is allowed.
    whole: Arc<Semaphore>,
    waiting: Arc<AtomicUsize>,
    stats: Arc<AnswerStats>,
}

impl AnswerMemory {
    pub(super) fn new(limits: AnswerLimits) -> AnswerMemory {
        let AnswerLimits { one, all } = limits;
        let first = all / SHARE_OF_FIRST;
        AnswerMemory {
            limits,
            first: Arc::new(Semaphore::new(first)),
            more: Arc::new(Semaphore::new(all.saturating_sub(first + one))),
            whole: Arc::new(Semaphore::new(1)),
            waiting: Arc::default(),
            stats: Arc::default(),
        }
    }

    pub(super) fn stats(&self) -> Arc<AnswerStats> {
        Arc::clone(&self.stats)
    }

    /// A place for an answer of which nothing is read yet.
    pub(super) fn place(&self) -> Place {
        Place { room: self.clone(), size: 0, first: None, more: None, whole: None }
    }

    fn too_large(&self) -> SourceError {
        self.stats.too_large.fetch_add(1, Ordering::Relaxed);
        let one = self.limits.one;
        SourceError::new(
            SourceErrorClass::BadQuery,
            format!(
                "the answer of Prometheus is larger than {one} bytes: expected a query of fewer series, or a larger \
                 {LARGEST_ANSWER_FLAG}"
            ),
        )
    }

    fn no_room(&self) -> SourceError {
        self.stats.no_room.fetch_add(1, Ordering::Relaxed);
        let all = self.limits.all;
        SourceError::new(
            SourceErrorClass::Busy,
            format!(
                "no room for the answer of Prometheus in time: the answers to other queries take the {all} bytes of \
                 {LARGEST_ANSWERS_FLAG}"
            ),
        )
    }
}

/// What an answer has of the room. It is given back when this is dropped.
pub(super) struct Place {
    room: AnswerMemory,
    size: usize,
    first: Option<OwnedSemaphorePermit>,
    more: Option<OwnedSemaphorePermit>,
    whole: Option<OwnedSemaphorePermit>,
}

impl Place {
    /// The most bytes that an answer may have.
    pub(super) fn largest(&self) -> usize {
        self.room.limits.one
    }

    /// Makes the place large enough for an answer of `bytes` bytes, waiting for others until the deadline.
    ///
    /// # Errors
    /// More bytes than one answer may have, and no room in time.
    pub(super) async fn fit(&mut self, size: usize, deadline: Instant) -> Result<(), SourceError> {
        if size > self.room.limits.one {
            return Err(self.room.too_large());
        }
        if size <= self.size {
            return Ok(());
        }
        if self.first.is_none() {
            let first = Arc::clone(&self.room.first).acquire_many_owned(FIRST as u32);
            self.first = Some(self.in_time(first, deadline).await?);
            self.resize(FIRST);
            if size <= FIRST {
                return Ok(());
            }
        }
        // Twice as much at a time, so that the steps are few.
        let next = size.max(self.size * 2).min(self.room.limits.one);
        let wanted = u32::try_from(next - self.size).unwrap_or(u32::MAX);
        if self.whole.is_none() {
            match Arc::clone(&self.room.more).try_acquire_many_owned(wanted) {
                Ok(permit) => match &mut self.more {
                    Some(more) => more.merge(permit),
                    None => self.more = Some(permit),
                },
                Err(_) => self.wait(deadline).await?,
            }
        }
        self.resize(next);
        Ok(())
    }

    /// Waits for the place of a whole answer, in which there is room for what was read so far, too.
    async fn wait(&mut self, deadline: Instant) -> Result<(), SourceError> {
        let waiting = Waiting::new(&self.room);
        if waiting.before >= MOST_WAITING {
            return Err(self.room.no_room());
        }
        let whole = Arc::clone(&self.room.whole).acquire_owned();
        self.whole = Some(self.in_time(whole, deadline).await?);
        self.more = None;
        Ok(())
    }

    async fn in_time<E>(
        &self,
        permit: impl Future<Output = Result<OwnedSemaphorePermit, E>>,
        deadline: Instant,
    ) -> Result<OwnedSemaphorePermit, SourceError> {
        match tokio::time::timeout_at(deadline.into(), permit).await {
            Ok(Ok(permit)) => Ok(permit),
            // The room is never closed, so it is the time.
            _ => Err(self.room.no_room()),
        }
    }

    fn resize(&mut self, size: usize) {
        let stats = &self.room.stats;
        stats.bytes.fetch_add((size - self.size) as u64, Ordering::Relaxed);
        self.size = size;
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.room.stats.bytes.fetch_sub(self.size as u64, Ordering::Relaxed);
    }
}

/// Counts an answer that waits, as long as it does.
struct Waiting {
    count: Arc<AtomicUsize>,
    before: usize,
}

impl Waiting {
    fn new(room: &AnswerMemory) -> Waiting {
        let count = Arc::clone(&room.waiting);
        let before = count.fetch_add(1, Ordering::Relaxed);
        Waiting { count, before }
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.count.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Of the room for all answers, the part for their first bytes.
const SHARE_OF_FIRST: usize = 4;
/// What each answer has without waiting for longer ones: that of an autoscaler is shorter.
const FIRST: usize = 16 << 10;
/// Longer answers that wait for room. Each keeps its first bytes meanwhile, which must leave enough for short answers.
const MOST_WAITING: usize = 64;

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn room() -> AnswerMemory {
        // 1 MiB for first bytes, 1 MiB for more, and a whole answer of 2 MiB.
        AnswerMemory::new(AnswerLimits { one: 2 << 20, all: 4 << 20 })
    }

    fn soon() -> Instant {
        Instant::now() + Duration::from_millis(20)
    }

    fn later() -> Instant {
        Instant::now() + Duration::from_mins(1)
    }

    #[tokio::test]
    async fn an_answer_has_what_one_may_have_and_no_more() {
        let room = room();
        let mut place = room.place();
        for size in [1, FIRST, 1 << 20, 2 << 20] {
            place.fit(size, soon()).await.expect("room");
        }
        let error = place.fit((2 << 20) + 1, later()).await.expect_err("too large");
        assert_eq!(error.class, SourceErrorClass::BadQuery);
        assert!(error.message.contains("2097152 bytes") && error.message.contains(LARGEST_ANSWER_FLAG));
        drop(place);
        assert_eq!(room.stats.bytes.load(Ordering::Relaxed), 0);
        assert_eq!(room.stats.too_large.load(Ordering::Relaxed), 1);
    }

    #[tokio::test]
    async fn short_answers_never_wait_for_long_ones() {
        let room = room();
        let mut long = [room.place(), room.place()];
        long[0].fit(1 << 20, soon()).await.expect("room");
        long[1].fit(2 << 20, soon()).await.expect("the place of a whole answer");
        let error = room.place().fit(4 * FIRST, soon()).await.expect_err("no room");
        assert_eq!(error.class, SourceErrorClass::Busy);
        assert!(error.message.contains(LARGEST_ANSWERS_FLAG), "{error}");
        for _ in 0..50 {
            room.place().fit(FIRST, soon()).await.expect("room");
        }
        assert_eq!(room.stats.no_room.load(Ordering::Relaxed), 1);
    }

    #[tokio::test]
    async fn long_answers_get_their_turn() {
        let room = room();
        let answers = (0..20).map(|_| {
            let room = room.clone();
            tokio::spawn(async move {
                let mut place = room.place();
                for size in 1..=8 {
                    place.fit(size * (256 << 10), later()).await?;
                    tokio::task::yield_now().await;
                }
                Ok::<(), SourceError>(())
            })
        });
        for answer in answers.collect::<Vec<_>>() {
            answer.await.expect("no panic").expect("room in its turn");
        }
        assert_eq!(room.stats.bytes.load(Ordering::Relaxed), 0);
        assert_eq!(room.first.available_permits(), 1 << 20);
    }
}
