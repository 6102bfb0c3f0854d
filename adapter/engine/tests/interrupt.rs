//! Evaluations that are stopped: at a deadline, and when their caller has gone.

use std::time::{Duration, Instant};

use engine::interrupt::Interrupt;
use engine::labels::Labels;
use engine::{Engine, EngineConfig, QueryError};

/// Two thousand series of a hundred samples each: enough for queries that take minutes.
fn engine() -> Engine {
    let engine = Engine::new(EngineConfig { retention: Duration::from_hours(1), ..EngineConfig::default() });
    for pod in 0..2_000 {
        let pod = format!("pod-{pod}");
        let labels = Labels::from_pairs([("__name__", "depth"), ("pod", &pod), ("le", "1")]);
        let series = engine.store().intern(&labels).expect("room");
        for second in 0..100 {
            series.append(second * 1_000, second as f64).expect("in the store");
        }
    }
    engine
}

/// Each kind of work, a thousand times over in the steps of a subquery.
const HEAVY: [&str; 9] = [
    "count_over_time(depth[90s:1ms])",
    "sum_over_time(rate(depth[90s])[90s:1ms])",
    "sum_over_time(sum(depth) by (pod)[90s:1ms])",
    "sum_over_time(topk(5, depth)[90s:1ms])",
    "sum_over_time((depth * on (pod) depth)[90s:1ms])",
    "sum_over_time((depth and on (pod) depth)[90s:1ms])",
    "sum_over_time(sort(depth)[90s:1ms])",
    "sum_over_time(label_replace(depth, \"x\", \"$1\", \"pod\", \"pod-(.*)\")[90s:1ms])",
    "sum_over_time(histogram_quantile(0.9, depth{pod=~\"(pod-.*|x.*y)+\"})[90s:1ms])",
];

#[test]
fn a_query_ends_at_its_deadline() {
    let engine = engine();
    for query in HEAVY {
        let deadline = Instant::now() + Duration::from_millis(30);
        let result = engine.query_until(query, 99_000, &Interrupt::at(deadline));
        assert_eq!(result, Err(QueryError::Interrupted), "{query}");
        assert!(Instant::now() >= deadline);
    }
    let listed = engine.series("depth", (0, 99_000), &Interrupt::at(Instant::now()));
    assert_eq!(listed, Err(QueryError::Interrupted));
}

#[test]
fn a_query_ends_when_its_caller_has_gone() {
    let engine = engine();
    let interrupt = Interrupt::never();
    let stop = interrupt.clone();
    let waiting = std::thread::spawn(move || engine.query_until(HEAVY[1], 99_000, &interrupt));
    stop.cancel();
    assert_eq!(waiting.join().expect("no panic"), Err(QueryError::Interrupted));
}

#[test]
fn a_query_in_time_has_its_value() {
    let engine = engine();
    let interrupt = Interrupt::at(Instant::now() + Duration::from_mins(10));
    assert_eq!(engine.query_until("sum(depth)", 99_000, &interrupt), engine.query("sum(depth)", 99_000));
}

#[test]
fn samples_are_counted_before_they_are_copied() {
    let config = EngineConfig { max_samples_per_query: 1_000, ..EngineConfig::default() };
    let engine = Engine::new(config);
    let series = engine.store().intern(&Labels::from_pairs([("__name__", "depth")])).expect("room");
    for second in 0..1_001 {
        series.append(second, 1.0).expect("in the store");
    }
    assert_eq!(engine.query("count_over_time(depth[5m])", 1_000), Err(QueryError::TooManySamples(1_000)));
}
