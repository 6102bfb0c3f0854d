use std::sync::Mutex;
use std::sync::atomic::AtomicUsize;

use apiservice::health::{Endpoint, Health, Scope};
use futures_util::future::join_all;
use rules::RuleSet;

use super::*;
use crate::source::recorded::vector;
use crate::source::scripted::{Script, hang};

/// What a source does with each question.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Does {
    Answer,
    /// After a second.
    AnswerSlowly,
    Hang,
    RefuseConnections,
    FindFault,
}

/// A source that does as it is told, and counts what it is asked.
struct Told {
    does: Mutex<Does>,
    asked: AtomicUsize,
}

impl Told {
    fn to(&self, does: Does) {
        *self.does.lock().expect("not poisoned") = does;
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::Relaxed)
    }

    async fn answer<T>(&self, answer: T, deadline: Instant) -> Result<T, SourceError> {
        self.asked.fetch_add(1, Ordering::Relaxed);
        let does = *self.does.lock().expect("not poisoned");
        match does {
            Does::Answer => Ok(answer),
            Does::AnswerSlowly => {
                tokio::time::sleep(Duration::from_secs(1)).await;
                Ok(answer)
            }
            Does::Hang => hang(deadline, "504 page about a query").await,
            Does::RefuseConnections => {
                Err(SourceError::new(SourceErrorClass::Unreachable, "connection refused"))
            }
            Does::FindFault => Err(SourceError::new(SourceErrorClass::BadQuery, "bad query")),
        }
    }
}

impl Script for Told {
    const NAME: &'static str = "told";

    async fn list(&self, _: &str, deadline: Instant) -> Result<Listing, SourceError> {
        self.answer(Listing::default(), deadline).await
    }

    async fn value(&self, _: &str, deadline: Instant) -> Result<QueryResult, SourceError> {
        self.answer(vector([], 0), deadline).await
    }
}

/// A guard before a source that does as it is told.
struct World {
    told: Arc<Told>,
    guarded: Guarded,
    telemetry: Arc<Telemetry>,
    health: Health,
}

const TIMEOUT: Duration = Duration::from_secs(10);

impl World {
    fn guarded_by(settings: GuardSettings, does: Does) -> World {
        let told = Arc::new(Told { does: Mutex::new(does), asked: AtomicUsize::default() });
        let telemetry = Arc::new(Telemetry::new(&RuleSet::default()));
        let health = Health::default();
        let check = health.check("source", Scope::Ready);
        let guarded = Guarded::new(Arc::clone(&told) as _, settings, Arc::clone(&telemetry), check);
        World { told, guarded, telemetry, health }
    }

    fn that(does: Does) -> World {
        World::guarded_by(GuardSettings::remote(20, TIMEOUT), does)
    }

    /// How long a query took, in whole seconds, and how it failed.
    async fn query_for(&self, namespace: &str, patience: Duration) -> (u64, Result<(), SourceError>) {
        let began = tokio::time::Instant::now();
        let deadline = (began + patience).into_std();
        let answer = self.guarded.ask(Flow::Namespace(namespace), "up", SystemTime::now(), deadline).await;
        (began.elapsed().as_secs(), answer.map(drop))
    }

    async fn query(&self) -> (u64, Result<(), SourceError>) {
        self.query_for("default", Duration::from_mins(1)).await
    }

    async fn list(&self) -> Result<(), SourceError> {
        let deadline = (tokio::time::Instant::now() + Duration::from_mins(1)).into_std();
        self.guarded.series("up", SystemTime::now(), deadline).await.map(drop)
    }

    /// Five queries at a time, as kube-controller-manager has workers.
    async fn break_it(&self) {
        for (took, answer) in join_all((0..5).map(|_| self.query())).await {
            assert_eq!((took, class(&answer)), (10, Some(SourceErrorClass::Silent)));
        }
    }

    fn remark(&self) -> String {
        self.health.report_one(Endpoint::Readyz, "source").expect("the check").body
    }

    fn metric(&self, series: &str) -> f64 {
        let text = self.telemetry.text();
        let line = text.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
        line.unwrap_or_else(|| panic!("no {series} in {text}")).parse().expect("a number")
    }
}

fn class(answer: &Result<(), SourceError>) -> Option<SourceErrorClass> {
    answer.as_ref().err().map(|error| error.class)
}

async fn seconds(seconds: f64) {
    tokio::time::sleep(Duration::from_secs_f64(seconds)).await;
}

#[tokio::test(start_paused = true)]
async fn a_source_that_hangs_costs_those_who_wait_their_timeout_and_the_others_nothing() {
    let world = World::that(Does::Hang);
    world.break_it().await;
    for _ in 0..100 {
        let (took, answer) = world.query().await;
        assert_eq!((took, class(&answer)), (0, Some(SourceErrorClass::Unreachable)));
        let message = answer.expect_err("not asked").message;
        assert!(
            message.starts_with("the metric source is not asked, as it has not answered since 20"),
            "{message}"
        );
        assert!(message.ends_with("Z: no answer in time"), "{message}");
    }
    assert_eq!(world.told.asked(), 5);
    assert_eq!(world.metric("adapter_source_breaker_open"), 1.0);
    assert_eq!(world.metric("adapter_source_breaker_openings_total"), 1.0);
    assert_eq!(world.metric(r#"adapter_source_queries_refused_total{reason="breaker_open"}"#), 100.0);
    let remark = world.remark();
    assert!(remark.starts_with("ok: no answer since 20"), "{remark}");
    assert!(remark.contains("queries fail without being sent, except one every 5 s"), "{remark}");
    assert_eq!(world.guarded.status().breaker.as_deref(), Some("open"));
}

#[tokio::test(start_paused = true)]
async fn one_query_tries_the_source_again_and_its_answer_lets_the_others_through() {
    let world = World::that(Does::Hang);
    let mut recoveries = world.guarded.recoveries();
    let mut recovers = || {
        let recovers = recoveries.has_changed().expect("the guard lives as long as the world");
        recoveries.mark_unchanged();
        recovers
    };
    world.break_it().await;
    seconds(5.0).await;
    // The first is the probe. While it hangs the others fail.
    let answers = join_all((0..10).map(|_| world.query())).await;
    let took: Vec<u64> = answers.iter().map(|(took, _)| *took).collect();
    assert_eq!(took.iter().filter(|took| **took == 10).count(), 1, "{took:?}");
    assert_eq!(took.iter().filter(|took| **took == 0).count(), 9, "{took:?}");
    assert_eq!(world.told.asked(), 6);
    world.told.to(Does::Answer);
    // It is not asked before the pause is over.
    assert_eq!(class(&world.query().await.1), Some(SourceErrorClass::Unreachable));
    seconds(5.0).await;
    assert!(!recovers());
    for is_first in [true, false] {
        assert_eq!(world.query().await, (0, Ok(())));
        assert_eq!(recovers(), is_first);
    }
    assert_eq!(world.remark(), "ok");
    assert_eq!(world.metric("adapter_source_breaker_open"), 0.0);
    assert_eq!(world.guarded.status().breaker.as_deref(), Some("closed"));
}

#[tokio::test(start_paused = true)]
async fn refused_connections_open_it_and_refused_queries_do_not() {
    let world = World::that(Does::FindFault);
    for _ in 0..20 {
        assert_eq!(class(&world.query().await.1), Some(SourceErrorClass::BadQuery));
    }
    world.told.to(Does::RefuseConnections);
    for _ in 0..20 {
        assert_eq!(class(&world.query().await.1), Some(SourceErrorClass::Unreachable));
    }
    assert_eq!(world.told.asked(), 23);
}

#[tokio::test(start_paused = true)]
async fn callers_with_little_time_do_not_open_it() {
    let world = World::that(Does::Hang);
    for _ in 0..20 {
        let (took, answer) = world.query_for("hasty", Duration::from_secs(1)).await;
        assert_eq!((took, class(&answer)), (1, Some(SourceErrorClass::Silent)));
    }
    assert_eq!(world.told.asked(), 20);
}

#[tokio::test(start_paused = true)]
async fn queries_that_are_given_up_do_not_open_it() {
    let world = World::that(Does::Hang);
    for _ in 0..20 {
        let given_up = tokio::time::timeout(Duration::from_secs(9), world.query()).await;
        given_up.expect_err("it hangs");
    }
    assert_eq!(world.told.asked(), 20);
    assert_eq!(world.guarded.status().queries_in_flight, 0);
}

#[tokio::test(start_paused = true)]
async fn queries_that_wait_for_their_turn_end_when_it_opens() {
    let world = World::guarded_by(GuardSettings::remote(5, TIMEOUT), Does::Hang);
    let names: Vec<String> = (0..5).map(|number| number.to_string()).collect();
    let first = join_all(names.iter().map(|name| world.query_for(name, Duration::from_mins(1))));
    let waits = async {
        seconds(3.0).await;
        world.query().await
    };
    let (_, (took, answer)) = tokio::join!(first, waits);
    assert_eq!((took, class(&answer)), (7, Some(SourceErrorClass::Unreachable)));
    assert_eq!(world.told.asked(), 5);
}

#[tokio::test(start_paused = true)]
async fn a_query_takes_its_timeout_at_most_with_its_turn() {
    let world = World::guarded_by(GuardSettings::remote(1, TIMEOUT), Does::AnswerSlowly);
    let answers = join_all((0..30).map(|_| world.query())).await;
    let classes: Vec<_> = answers.iter().map(|(_, answer)| class(answer)).collect();
    let count = |wanted| classes.iter().filter(|class| **class == wanted).count();
    assert_eq!((count(None), count(Some(SourceErrorClass::Busy))), (10, 20));
    assert_eq!(answers.iter().map(|(took, _)| *took).max(), Some(10));
    assert_eq!(world.metric(r#"adapter_source_queries_refused_total{reason="no_turn"}"#), 20.0);
    assert_eq!(world.metric("adapter_source_queue_duration_seconds_count"), world.told.asked() as f64);
}

#[tokio::test(start_paused = true)]
async fn more_than_a_thousand_waiting_queries_are_refused_immediately() {
    let world = World::guarded_by(GuardSettings::remote(1, TIMEOUT), Does::AnswerSlowly);
    let answers = join_all((0..1_500).map(|_| world.query())).await;
    let full =
        answers.iter().filter(|(took, answer)| *took == 0 && class(answer) == Some(SourceErrorClass::Busy));
    assert_eq!(full.count(), 1_500 - 1_000 - 1);
    assert_eq!(world.metric(r#"adapter_source_queries_refused_total{reason="queue_full"}"#), 499.0);
}

#[tokio::test(start_paused = true)]
async fn listings_wait_for_the_probe_instead_of_failing_with_it() {
    let world = World::that(Does::Hang);
    world.break_it().await;
    // While the breaker is open they fail like queries: a start without Prometheus is not delayed.
    assert!(world.list().await.is_err());
    seconds(5.0).await;
    world.told.to(Does::AnswerSlowly);
    let (probe, answers) = tokio::join!(world.query(), join_all((0..8).map(|_| world.list())));
    assert_eq!(probe, (1, Ok(())));
    assert!(answers.iter().all(Result::is_ok), "{answers:?}");
}

#[tokio::test(start_paused = true)]
async fn listings_neither_open_nor_close_it() {
    let world = World::that(Does::RefuseConnections);
    for _ in 0..10 {
        assert!(world.list().await.is_err());
    }
    assert_eq!(world.guarded.status().breaker.as_deref(), Some("closed"));
    world.told.to(Does::Hang);
    world.break_it().await;
    seconds(5.0).await;
    world.told.to(Does::Answer);
    assert_eq!(world.list().await, Ok(()), "the pause is over");
    assert_eq!(world.guarded.status().breaker.as_deref(), Some("open"));
    assert_eq!(world.query().await, (0, Ok(())), "the probe");
    assert_eq!(world.guarded.status().breaker.as_deref(), Some("closed"));
}

#[tokio::test(start_paused = true)]
async fn a_source_in_this_process_has_a_queue_and_no_breaker() {
    let world = World::guarded_by(GuardSettings::local(2), Does::Hang);
    for _ in 0..10 {
        let (took, answer) = world.query_for("default", Duration::from_secs(30)).await;
        assert_eq!((took, class(&answer)), (30, Some(SourceErrorClass::Silent)));
    }
    assert_eq!(world.guarded.status().breaker, None);
    world.told.to(Does::AnswerSlowly);
    let answers = join_all((0..10).map(|_| world.query())).await;
    assert_eq!(answers.iter().map(|(took, _)| *took).max(), Some(5));
}
