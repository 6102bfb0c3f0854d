//! One answer of the metric source for all requests that it can answer (D85). Autoscalers ask for the same metric of
//! different objects, and a rule whose query proves that objects do not depend on each other is asked once for all of
//! them.
//!
//! An answer is kept for a few seconds and cut to the objects of each request, by namespace and name. Access is checked
//! before, for each request. An answer that may lack something, the refusal of a query or an answer too large is not
//! shared: its requests are asked alone, as if nothing were shared. Where the source gives no answer, none of them is
//! asked again: it would have none either.

mod answer;
mod book;

use std::sync::atomic::AtomicUsize;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use rules::catalog::SharedQuery;
use tokio::sync::watch;

use self::answer::{Answer, Unusable};
use self::book::{Book, Found, Key};
use crate::source::guard::Flow;
use crate::source::guarded::Guarded;
use crate::source::{QueryResult, SourceError, SourceErrorClass};
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
    source: Arc<Guarded>,
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
    pub fn new(source: Arc<Guarded>, settings: SharingSettings, telemetry: Arc<Telemetry>) -> Sharing {
        let book = Arc::new(Mutex::new(Book::new(settings.keep)));
        Sharing { source, settings, telemetry, book, kept: Arc::default() }
    }

    /// Samples of the objects of a request; `None` when the request must be asked alone.
    ///
    /// # Errors
    /// The source gave no answer in time.
    pub async fn query(
        &self,
        query: &SharedQuery<'_>,
        wanted: Wanted<'_>,
        time: SystemTime,
        deadline: Instant,
    ) -> Option<Result<QueryResult, SourceError>> {
        let key = self.key(query, wanted.scope);
        // An answer for several scopes that is unusable is asked for again, for the one.
        for _ in 0..2 {
            let asked = self.find_or_ask(&key, query, wanted.scope, time);
            let Some((pending, outcome)) = asked else { break };
            let answer = match self.wait(pending, outcome, deadline).await {
                Ok(answer) => Ok(answer.pick(&key, wanted)),
                Err(Unusable::NoAnswer { error, .. }) => Err(error),
                Err(Unusable::ForNow) => break,
                Err(Unusable::Lasting) => continue,
            };
            self.telemetry.query_shared(outcome);
            return Some(answer);
        }
        self.telemetry.query_shared(SharingOutcome::Alone);
        None
    }

    /// Waits for an answer; for that to another's query no longer than the source is asked.
    async fn wait(&self, pending: Pending, outcome: SharingOutcome, deadline: Instant) -> Outcome {
        let no_answer = |error| Err(Unusable::NoAnswer { error, is_lasting: false });
        let refusal = async {
            match outcome {
                SharingOutcome::Shared => self.source.refusal().await,
                SharingOutcome::Sent | SharingOutcome::Alone => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            outcome = pending.outcome() => outcome,
            error = refusal => no_answer(error),
            () = tokio::time::sleep_until((deadline + LAST_WORD).into()) => {
                let message = "the query for this and other requests had no answer in time";
                no_answer(SourceError::new(SourceErrorClass::Silent, message))
            }
        }
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
    ) -> Option<(Pending, SharingOutcome)> {
        let began = Instant::now();
        // Not the first caller's: others, with more time, wait for the same answer.
        let deadline = self.source.until(began + LONGEST_QUERY);
        let mut book = lock(&self.book);
        if self.source.is_probe_due() {
            // The query under way may never be answered, and this request would wait for it instead of trying.
            book.forget_query(key, scope);
        }
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
        let (key, namespace) = (key.clone(), scope.to_owned());
        // A task of its own: a caller that goes away takes no answer from the others.
        tokio::spawn(async move {
            // One for each scope is the book's.
            let requests = || sender.receiver_count().saturating_sub(scopes.len());
            let flow = Flow::Namespace(&namespace);
            let result = source.ask_for(&requests, flow, &promql, time, deadline).await;
            let outcome = Answer::read(result, &key, scopes.len() == 1, &kept);
            match &outcome {
                Err(Unusable::Lasting | Unusable::NoAnswer { is_lasting: true, .. }) => {
                    lock(&book).refuse(&key, &scopes, Instant::now());
                }
                // The next request asks again.
                Err(Unusable::NoAnswer { .. }) => lock(&book).forget(&key, &scopes),
                Ok(_) | Err(Unusable::ForNow) => {}
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

/// Of a source without a timeout of its own: as long as a request has, if it does not say how long.
const LONGEST_QUERY: Duration = Duration::from_mins(1);
/// For the error of a query that ends at the deadline of its requests: it says more than the time.
const LAST_WORD: Duration = Duration::from_millis(100);

/// No code panics while it holds the lock.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
