//! Queries that are not evaluated: no PromQL, the wrong types, or something that the engine lacks and says so.

use engine::{Engine, EngineConfig, QueryError};

fn refusal(query: &str) -> QueryError {
    Engine::new(EngineConfig::default()).query(query, 0).expect_err(query)
}

#[test]
fn no_promql() {
    for query in [
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
    ] {
        let error = refusal(query);
        let QueryError::Parse { query: named, message } = &error else { panic!("{query}: {error:?}") };
        assert_eq!(named, query);
        assert!(!message.is_empty(), "{query}");
    }
}

#[test]
fn what_is_lacking_is_named() {
    for (query, name) in [
        ("histogram_count(m)", "the function histogram_count()"),
        ("histogram_fraction(0, 1, m)", "the function histogram_fraction()"),
    ] {
        assert_eq!(
            refusal(query).to_string(),
            format!("{name} is not supported by the embedded engine; ask a Prometheus instead"),
        );
    }
}

#[test]
fn limits() {
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
