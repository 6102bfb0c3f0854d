//! One answer of the metric source for all requests that it can answer (D85). Autoscalers ask for the same metric of
//! different objects, and a rule whose query proves that objects do not depend on each other is asked once for all of
//! them.
//!
//! An answer is kept for a few seconds and cut to the objects of each request, by namespace and name. Access is checked
//! before, for each request. An answer that may lack something, an error or one too large is not shared: its requests
//! are asked alone, as if nothing were shared.

mod answer;
mod book;

use std::sync::atomic::AtomicUsize;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use rules::catalog::SharedQuery;
use tokio::sync::watch;

use self::answer::{Answer, Unusable};
use self::book::{Book, Found, Key};
use crate::source::{MetricSource, QueryResult};
use crate::telemetry::{SharingOutcome, Telemetry};

pub use self::answer::Wanted;

/// How answers are shared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SharingSettings {
    /// How long an answer is kept, from when its query began.
    pub keep: Duration,
    /// Whether one query may be for several namespaces.
    pub across_namespaces: bool,
}

/// Shares the answers of a source.
pub struct Sharing {
    source: Arc<dyn MetricSource>,
    settings: SharingSettings,
    telemetry: Arc<Telemetry>,
    book: Arc<Mutex<Book<Pending>>>,
    /// Numbers in all answers that are kept.
    kept: Arc<AtomicUsize>,
}

/// An answer that is under way or there.
#[derive(Clone)]
struct Pending(watch::Receiver<Option<Outcome>>);

type Outcome = Result<Arc<Answer>, Unusable>;

impl Sharing {
    /// Shares what `source` answers.
    pub fn new(
        source: Arc<dyn MetricSource>,
        settings: SharingSettings,
        telemetry: Arc<Telemetry>,
    ) -> Sharing {
        let book = Arc::new(Mutex::new(Book::new(settings.keep)));
        Sharing { source, settings, telemetry, book, kept: Arc::default() }
    }

    /// Samples of the objects of a request; `None` when the request must be asked alone.
    pub async fn query(
        &self,
        query: &SharedQuery<'_>,
        wanted: Wanted<'_>,
        time: SystemTime,
        deadline: Instant,
    ) -> Option<QueryResult> {
        let key = self.key(query, wanted.scope);
        // An answer for several scopes that is unusable is asked for again, for the one.
        for _ in 0..2 {
            let asked = self.find_or_ask(&key, query, wanted.scope, time, deadline);
            let Some((pending, outcome)) = asked else { break };
            match tokio::time::timeout_at(deadline.into(), pending.outcome()).await {
                Ok(Ok(answer)) => {
                    self.telemetry.query_shared(outcome);
                    return Some(answer.pick(&key, wanted));
                }
                Ok(Err(Unusable::ForNow)) | Err(_) => break,
                Ok(Err(Unusable::Lasting)) => {}
            }
        }
        self.telemetry.query_shared(SharingOutcome::Alone);
        None
    }

    /// Drops what is too old, for as long as the program runs: answers take memory.
    pub async fn sweep(self: Arc<Sharing>) {
        loop {
            tokio::time::sleep(self.settings.keep).await;
            lock(&self.book).sweep(Instant::now());
        }
    }

    fn key(&self, query: &SharedQuery<'_>, scope: &str) -> Key {
        let scope_label = query.scope_label().filter(|_| self.settings.across_namespaces);
        Key {
            text: Arc::clone(query.text()),
            join_label: Arc::clone(query.join_label()),
            scope_label: scope_label.cloned(),
            scope: scope_label.is_none().then(|| scope.into()),
        }
    }

    /// The answer for a scope, asked for if there is none. `None` when the scope is not shared.
    fn find_or_ask(
        &self,
        key: &Key,
        query: &SharedQuery<'_>,
        scope: &str,
        time: SystemTime,
        deadline: Instant,
    ) -> Option<(Pending, SharingOutcome)> {
        let began = Instant::now();
        let mut book = lock(&self.book);
        let scopes = match book.find(key, scope, began) {
            Found::Answer(pending) => return Some((pending, SharingOutcome::Shared)),
            Found::Alone => return None,
            Found::Nothing { ask_for } => ask_for,
        };
        let names: Vec<&str> = scopes.iter().map(|scope| &**scope).collect();
        let promql = query.query(&names).ok()?.promql;
        let (sender, receiver) = watch::channel(None);
        let pending = Pending(receiver);
        book.enter(key, &scopes, began, &pending);
        drop(book);

        let (source, kept, book) = (Arc::clone(&self.source), Arc::clone(&self.kept), Arc::clone(&self.book));
        let key = key.clone();
        // A task of its own: a caller that goes away takes no answer from the others.
        tokio::spawn(async move {
            let result = source.query(&promql, time, deadline).await;
            let outcome = Answer::read(result, &key, scopes.len() == 1, &kept);
            if let Err(Unusable::Lasting) = outcome {
                lock(&book).refuse(&key, &scopes, Instant::now());
            }
            sender.send_replace(Some(outcome.map(Arc::new)));
        });
        Some((pending, SharingOutcome::Sent))
    }
}

impl Pending {
    async fn outcome(mut self) -> Outcome {
        match self.0.wait_for(Option::is_some).await {
            Ok(outcome) => outcome.clone().unwrap_or(Err(Unusable::ForNow)),
            // Its task panicked.
            Err(_) => Err(Unusable::ForNow),
        }
    }
}

impl book::Answer for Pending {
    fn is_there(&self) -> bool {
        self.0.borrow().is_some()
    }
}

/// No code panics while it holds the lock.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
