//! Queries that are not evaluated: not PromQL, the wrong types, or something that the engine lacks and says so.

use engine::{Engine, EngineConfig, QueryError};
use testkit::rows::each_row;

fn refusal(query: &str) -> QueryError {
    Engine::new(EngineConfig::default()).query(query, 0).expect_err(query)
}

#[test]
fn texts_that_are_not_promql_are_refused() {
    let rows = [
        "",
        "sum(1)",
        "1 > 2",
        "m and 1",
        "rate(m)",
        "abs(m[1m])",
        "{}",
        "m{job=~\"(\"}",
        "sum by (job) (m{job=\"api\"}",
        "nosuch(m)",
        "m[1m] + 1",
        "-m[1m]",
        "sum(m[1m])",
        "custom_metric::pod::m::x=\"y\"::pod",
    ];
    each_row(rows, |query| {
        let error = refusal(query);
        let QueryError::Parse { query: named, message } = &error else { panic!("{query}: {error:?}") };
        assert_eq!(named, query);
        assert!(!message.is_empty(), "{query}");
    });
}

#[test]
fn what_is_lacking_is_named() {
    let rows = [
        ("histogram_count(m)", "the function histogram_count()"),
        ("histogram_fraction(0, 1, m)", "the function histogram_fraction()"),
        ("rate(m[5m] smoothed)", "the modifier smoothed"),
        ("rate(m[5m + step()])", "an expression of durations"),
        ("m </ 1", "an operator of native histograms"),
        ("vector(step())", "the function step()"),
    ];
    each_row(rows, |(query, name)| {
        assert_eq!(
            refusal(query).to_string(),
            format!("{name} is not supported by the embedded engine; ask a Prometheus instead"),
        );
    });
}

#[test]
fn queries_beyond_the_limits_are_refused() {
    let engine = Engine::new(EngineConfig { max_samples_per_query: 3, ..EngineConfig::default() });
    let labels = engine::labels::Labels::from_pairs([("__name__", "m")]);
    let series = engine.store().intern(&labels).expect("room");
    for time in 0..10 {
        series.append(time * 1000, 1.0).expect("in the store");
    }
    let error = engine.query("sum_over_time(m[1m])", 9_000).expect_err("too many samples");
    assert_eq!(error.to_string(), "the query looks at more than 3 samples, which is the limit");
    assert!(engine.query("m", 9_000).is_ok());
}

#[test]
fn extreme_times_have_a_value_or_an_error() {
    let engine = Engine::new(EngineConfig::default());
    let rows = [
        "rate(m[1e30])",
        "m[5m:1e30]",
        "m offset Inf",
        "m[99999999999999999999]",
        "m @ 1e30",
        "m[400y]",
        "m[0]",
    ];
    each_row(rows, |query| {
        assert!(matches!(refusal(query), QueryError::Parse { .. }), "{query}");
    });
    let rows = [
        "m offset 292y",
        "m offset -292y",
        "m @ 1e18 offset 292y",
        "m @ -9e18",
        "rate(m[292y] @ -9e18)",
        "m offset NaN",
    ];
    each_row(rows, |query| {
        assert!(engine.query(query, 0).is_ok(), "{query}");
    });
    let endless = "max_over_time(m[292y:1ms])";
    assert_eq!(
        engine.query(endless, 0).expect_err(endless).to_string(),
        "the query has more than 100000 steps, which is the limit",
    );
}

#[test]
fn deepest_tree_is_evaluated_on_a_small_stack() {
    let engine = Engine::new(EngineConfig::default());
    let wrapped = |before: &str, levels: usize, after: &str| {
        format!("{}vector(1){}", before.repeat(levels), after.repeat(levels))
    };
    // 150 levels, of which `vector(1)` has two.
    let rows = [
        wrapped("(", 148, ")"),
        wrapped("-", 148, ""),
        wrapped("abs(", 148, ")"),
        wrapped("sum(", 148, ")"),
        wrapped("", 148, " + 1"),
        wrapped("1 + (", 74, ")"),
        wrapped("topk(1, ", 148, ")"),
        wrapped("max_over_time(", 74, "[1m:1m])"),
        wrapped("label_replace(", 148, r#", "a", "$1", "b", "(.*)")"#),
    ];
    each_row(rows, |query| {
        let evaluated = std::thread::scope(|scope| {
            let evaluate = || engine.query(&query, 0).map(drop);
            let thread = std::thread::Builder::new().stack_size(2 << 20).spawn_scoped(scope, evaluate);
            thread.expect("a thread").join()
        });
        assert_eq!(evaluated.expect("no panic"), Ok(()), "{query:.40}");
        assert!(matches!(refusal(&format!("({query})")), QueryError::Unsupported(_)), "{query:.40}");
    });
}
