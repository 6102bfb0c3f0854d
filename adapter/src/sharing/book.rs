//! Which answers are there, for which scopes they were asked, and for which scopes to ask next.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// An answer that is under way or there.
pub(super) trait Answer: Clone {
    fn is_there(&self) -> bool;
}

/// A query without the scopes that it is limited to.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Key {
    pub(super) text: Arc<str>,
    pub(super) join_label: Arc<str>,
    /// The label by which samples say their scope.
    pub(super) scope_label: Option<Arc<str>>,
    /// The one scope of a query whose samples do not say theirs.
    pub(super) scope: Option<Arc<str>>,
}

/// What a request finds.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Found<A> {
    Answer(A),
    /// The scopes to ask for: the request's, and others that were asked for lately and have no answer.
    Nothing {
        ask_for: Vec<Arc<str>>,
    },
    /// The scope is not shared.
    Alone,
}

/// Answers by query and scope.
pub(super) struct Book<A> {
    keep: Duration,
    queries: HashMap<Key, Scopes<A>>,
}

struct Scopes<A> {
    by_name: HashMap<Arc<str>, Scope<A>>,
    /// Until when each scope is asked for by itself.
    apart_until: Option<Instant>,
}

struct Scope<A> {
    asked: Instant,
    /// Until when its requests are asked alone.
    alone_until: Option<Instant>,
    /// When its query began, and the answer.
    answer: Option<(Instant, A)>,
}

impl<A: Answer> Book<A> {
    pub(super) fn new(keep: Duration) -> Book<A> {
        Book { keep, queries: HashMap::new() }
    }

    pub(super) fn find(&mut self, key: &Key, scope: &str, now: Instant) -> Found<A> {
        let keep = self.keep;
        if !self.queries.contains_key(key) {
            if self.queries.len() >= MOST_QUERIES {
                return Found::Alone;
            }
            self.queries.insert(key.clone(), Scopes { by_name: HashMap::new(), apart_until: None });
        }
        let Some(scopes) = self.queries.get_mut(key) else { return Found::Alone };
        if let Some(known) = scopes.by_name.get_mut(scope) {
            known.asked = now;
            if known.alone_until.is_some_and(|until| now < until) {
                return Found::Alone;
            }
            if let Some(answer) = known.current(now, keep) {
                return Found::Answer(answer.clone());
            }
        } else if scopes.by_name.len() < MOST_SCOPES {
            let new = Scope { asked: now, alone_until: None, answer: None };
            scopes.by_name.insert(scope.into(), new);
        } else {
            return Found::Alone;
        }
        let mut ask_for: Vec<Arc<str>> = vec![scope.into()];
        if scopes.apart_until.is_none_or(|until| now >= until) {
            ask_for.extend(scopes.to_ask_for_with(scope, now, keep));
            // The same query for the same scopes, whichever was asked for first.
            ask_for.sort_unstable();
        }
        Found::Nothing { ask_for }
    }

    /// An answer for scopes is under way.
    pub(super) fn enter(&mut self, key: &Key, scopes: &[Arc<str>], began: Instant, answer: &A) {
        self.each(key, scopes, |scope| scope.answer = Some((began, answer.clone())));
    }

    /// An answer for scopes is not to be shared: for a while they are asked for one by one, or, if there was but one,
    /// its requests are asked alone.
    pub(super) fn refuse(&mut self, key: &Key, scopes: &[Arc<str>], now: Instant) {
        let until = Some(now + REFUSED_FOR);
        let is_one = scopes.len() == 1;
        if let Some(query) = self.queries.get_mut(key).filter(|_| !is_one) {
            query.apart_until = until;
        }
        self.each(key, scopes, |scope| {
            scope.answer = None;
            if is_one {
                scope.alone_until = until;
            }
        });
    }

    /// An answer for scopes is missing.
    pub(super) fn forget(&mut self, key: &Key, scopes: &[Arc<str>]) {
        self.each(key, scopes, |scope| scope.answer = None);
    }

    /// The query for a scope that is under way is not waited for.
    pub(super) fn forget_query(&mut self, key: &Key, scope: &str) {
        let scope = self.queries.get_mut(key).and_then(|query| query.by_name.get_mut(scope));
        if let Some(scope) = scope {
            scope.answer.take_if(|(_, answer)| !answer.is_there());
        }
    }

    /// Drops answers that are too old and scopes that were not asked for lately.
    pub(super) fn sweep(&mut self, now: Instant) {
        let keep = self.keep;
        self.queries.retain(|_, scopes| {
            scopes.by_name.retain(|_, scope| {
                if scope.current(now, keep).is_none() {
                    scope.answer = None;
                }
                scope.is_asked(now) || scope.answer.is_some()
            });
            !scopes.by_name.is_empty()
        });
    }

    fn each(&mut self, key: &Key, scopes: &[Arc<str>], change: impl Fn(&mut Scope<A>)) {
        let Some(query) = self.queries.get_mut(key) else { return };
        for scope in scopes {
            query.by_name.get_mut(scope).map(&change);
        }
    }
}

impl<A: Answer> Scopes<A> {
    /// Others that go into a query for `scope`: those without an answer that is new enough, and of these the ones that
    /// were not asked for the longest. Autoscalers ask in turn, so they are the next.
    fn to_ask_for_with(&self, scope: &str, now: Instant, keep: Duration) -> impl Iterator<Item = Arc<str>> {
        let mut wanted: Vec<(Instant, &Arc<str>)> = self
            .by_name
            .iter()
            .filter(|(name, other)| ***name != *scope && other.is_wanted(now, keep))
            .map(|(name, other)| (other.asked, name))
            .collect();
        let most = SCOPES_OF_A_QUERY - 1;
        if wanted.len() > most {
            wanted.select_nth_unstable(most);
            wanted.truncate(most);
        }
        wanted.sort_unstable();
        let mut bytes = scope.len();
        wanted.into_iter().map_while(move |(_, name)| {
            bytes += name.len() + 1;
            (bytes <= BYTES_OF_A_QUERY).then(|| Arc::clone(name))
        })
    }
}

impl<A: Answer> Scope<A> {
    /// The answer, unless it is too old. One that is under way is as new as it can be.
    fn current(&self, now: Instant, keep: Duration) -> Option<&A> {
        let (began, answer) = self.answer.as_ref()?;
        (now.saturating_duration_since(*began) < keep || !answer.is_there()).then_some(answer)
    }

    fn is_asked(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.asked) < LATELY
    }

    /// Whether a query for others is to answer it, too. Before its answer is too old: scopes that were first asked for
    /// at different times would else always have queries of their own.
    fn is_wanted(&self, now: Instant, keep: Duration) -> bool {
        self.is_asked(now)
            && self.current(now, keep / 2).is_none()
            && self.alone_until.is_none_or(|until| now >= until)
    }
}

/// Autoscalers ask every fifteen seconds.
const LATELY: Duration = Duration::from_mins(1);
const REFUSED_FOR: Duration = Duration::from_mins(1);
/// URLs of 8 KiB pass every proxy.
const SCOPES_OF_A_QUERY: usize = 100;
const BYTES_OF_A_QUERY: usize = 4096;
const MOST_QUERIES: usize = 10_000;
const MOST_SCOPES: usize = 10_000;

#[cfg(test)]
mod tests {
    use testkit::rows::each_row;

    use super::*;

    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    struct Numbered(u32, bool);

    impl Answer for Numbered {
        fn is_there(&self) -> bool {
            self.1
        }
    }

    const KEEP: Duration = Duration::from_secs(5);

    fn key() -> Key {
        Key {
            text: "up".into(),
            join_label: "pod".into(),
            scope_label: Some("namespace".into()),
            scope: None,
        }
    }

    fn asks<A: Answer>(book: &mut Book<A>, scope: &str, now: Instant) -> Option<Vec<String>> {
        match book.find(&key(), scope, now) {
            Found::Nothing { ask_for } => Some(ask_for.iter().map(ToString::to_string).collect()),
            _ => None,
        }
    }

    fn scopes(names: &[&str]) -> Vec<Arc<str>> {
        names.iter().map(|&name| name.into()).collect()
    }

    fn book_with(names: &[&str], began: Instant, answer: Numbered) -> Book<Numbered> {
        let mut book = Book::new(KEEP);
        for name in names {
            asks(&mut book, name, began);
        }
        book.enter(&key(), &scopes(names), began, &answer);
        book
    }

    #[test]
    fn an_answer_serves_until_it_is_too_old() {
        let start = Instant::now();
        let mut book = book_with(&["a"], start, Numbered(1, true));
        let at = |seconds| start + Duration::from_secs_f64(seconds);
        assert_eq!(book.find(&key(), "a", at(4.9)), Found::Answer(Numbered(1, true)));
        assert_eq!(asks(&mut book, "a", at(5.0)), Some(vec!["a".to_owned()]));
        // Another query has answers of its own.
        let other = Key { join_label: "node".into(), ..key() };
        assert_eq!(book.find(&other, "a", at(1.0)), Found::Nothing { ask_for: scopes(&["a"]) });
    }

    #[test]
    fn an_answer_under_way_is_waited_for_however_long_it_takes() {
        let start = Instant::now();
        let mut book = book_with(&["a"], start, Numbered(1, false));
        let late = start + Duration::from_secs(20);
        book.sweep(late);
        assert_eq!(book.find(&key(), "a", late), Found::Answer(Numbered(1, false)));
    }

    #[test]
    fn scopes_asked_for_within_the_last_minute_are_asked_for_together() {
        let start = Instant::now();
        let mut book = book_with(&["c", "a"], start, Numbered(1, true));
        assert_eq!(asks(&mut book, "b", start + Duration::from_secs(1)), Some(vec!["b".to_owned()]));
        let later = start + Duration::from_secs(20);
        let all = ["a", "b", "c"].map(str::to_owned).to_vec();
        assert_eq!(asks(&mut book, "c", later), Some(all));
        // Nothing else was asked for lately.
        assert_eq!(asks(&mut book, "c", later + LATELY), Some(vec!["c".to_owned()]));
    }

    #[test]
    fn a_query_is_for_so_many_scopes_and_bytes_at_most() {
        let start = Instant::now();
        let mut book: Book<Numbered> = Book::new(KEEP);
        for number in 0..250 {
            asks(&mut book, &format!("namespace-{number}"), start);
        }
        let asked = asks(&mut book, "namespace-7", start).expect("scopes");
        assert_eq!(asked.len(), SCOPES_OF_A_QUERY);
        assert!(asked.contains(&"namespace-7".to_owned()));
        let long = "n".repeat(63);
        for number in 0..250 {
            asks(&mut book, &format!("{}{number:03}", &long[..60]), start);
        }
        let asked = asks(&mut book, "namespace-7", start).expect("scopes");
        assert!(asked.iter().map(String::len).sum::<usize>() <= BYTES_OF_A_QUERY);
    }

    #[test]
    fn a_query_takes_along_what_would_soon_be_too_old() {
        let start = Instant::now();
        let mut book = book_with(&["a"], start, Numbered(1, true));
        let at = |seconds| start + Duration::from_secs_f64(seconds);
        assert_eq!(asks(&mut book, "b", at(2.4)), Some(vec!["b".to_owned()]));
        assert_eq!(asks(&mut book, "b", at(2.5)), Some(["a", "b"].map(str::to_owned).to_vec()));
    }

    /// The reads of autoscalers, one for each namespace, over periods of 15 s; queries in the last period.
    fn queries_of_a_period(namespaces: u32) -> usize {
        let (start, period) = (Instant::now(), Duration::from_secs(15));
        let mut book: Book<Numbered> = Book::new(KEEP);
        let mut queries = 0;
        for number in 0..4 {
            queries = 0;
            for namespace in 0..namespaces {
                let now = start + period * number + period * namespace / namespaces;
                let namespace = format!("namespace-{namespace}");
                if let Found::Nothing { ask_for } = book.find(&key(), &namespace, now) {
                    book.enter(&key(), &ask_for, now, &Numbered(1, true));
                    queries += 1;
                }
            }
            book.sweep(start + period * (number + 1));
        }
        queries
    }

    #[test]
    fn many_namespaces_take_few_queries() {
        each_row([(1, 1), (50, 3), (1_000, 10), (3_000, 30)], |(namespaces, most)| {
            let queries = queries_of_a_period(namespaces);
            assert!(queries <= most, "{namespaces} namespaces took {queries} queries");
        });
    }

    #[test]
    fn a_refused_answer_for_several_scopes_leads_to_one_query_each_and_then_to_none() {
        let start = Instant::now();
        let mut book = book_with(&["a", "b"], start, Numbered(1, true));
        book.refuse(&key(), &scopes(&["a", "b"]), start);
        assert_eq!(asks(&mut book, "a", start), Some(vec!["a".to_owned()]));
        book.refuse(&key(), &scopes(&["a"]), start);
        assert_eq!(book.find(&key(), "a", start), Found::Alone);
        assert_eq!(asks(&mut book, "b", start), Some(vec!["b".to_owned()]));
        let later = start + REFUSED_FOR;
        asks(&mut book, "b", later);
        assert_eq!(asks(&mut book, "a", later), Some(["a", "b"].map(str::to_owned).to_vec()));
    }

    #[test]
    fn an_answer_that_is_forgotten_is_asked_for_again() {
        let start = Instant::now();
        let mut book = book_with(&["a", "b"], start, Numbered(1, true));
        book.forget(&key(), &scopes(&["a", "b"]));
        assert_eq!(asks(&mut book, "a", start), Some(["a", "b"].map(str::to_owned).to_vec()));
    }

    #[test]
    fn a_query_under_way_that_is_forgotten_is_asked_again_and_an_answer_stays() {
        let start = Instant::now();
        for (is_there, asks_again) in [(false, true), (true, false)] {
            let mut book = book_with(&["a"], start, Numbered(1, is_there));
            book.forget_query(&key(), "a");
            assert_eq!(asks(&mut book, "a", start).is_some(), asks_again);
        }
    }

    #[test]
    fn old_answers_and_scopes_are_dropped() {
        let start = Instant::now();
        let mut book = book_with(&["a"], start, Numbered(1, true));
        book.sweep(start + KEEP);
        assert!(book.queries[&key()].by_name["a"].answer.is_none());
        book.sweep(start + LATELY);
        assert!(book.queries.is_empty());
    }

    #[test]
    fn what_is_too_much_is_asked_alone() {
        let start = Instant::now();
        let mut book: Book<Numbered> = Book::new(KEEP);
        for number in 0..MOST_QUERIES {
            let key = Key { text: number.to_string().into(), ..key() };
            assert_ne!(book.find(&key, "a", start), Found::Alone);
        }
        assert_eq!(book.find(&key(), "a", start), Found::Alone);
    }
}
