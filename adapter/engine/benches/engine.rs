//! The engine's hot steps: the tutorial's rate over rate on a thousand pods, and reading what a target exposes.

use std::hint::black_box;
use std::time::Duration;

use criterion::{Criterion, criterion_group, criterion_main};
use engine::exposition::{Format, samples};
use engine::labels::Labels;
use engine::{Engine, EngineConfig};

fn rate_over_rate(criterion: &mut Criterion) {
    let engine = Engine::new(EngineConfig { retention: Duration::from_hours(1), ..EngineConfig::default() });
    for pod in 0..500 {
        for name in ["latency_sum", "latency_count"] {
            let pod = format!("pod-{pod}");
            let labels = Labels::from_pairs([("__name__", name), ("namespace", "default"), ("pod", &pod)]);
            let series = engine.store().intern(&labels).expect("room");
            for second in 0..120 {
                series.append(second * 1000, second as f64).expect("in the store");
            }
        }
    }
    let query =
        "rate(latency_sum{namespace=\"default\"}[2m]) / rate(latency_count{namespace=\"default\"}[2m])";
    criterion.bench_function("PromQL rate/rate over 1,000 series", |bencher| {
        bencher.iter(|| engine.query(black_box(query), 119_000).expect("a value"));
    });
    let query = "max_over_time(latency_sum{pod=~\"pod-(1|2|3).*\"}[1m:5s])";
    criterion.bench_function("PromQL subquery of a pattern over 500 series", |bencher| {
        bencher.iter(|| engine.query(black_box(query), 119_000).expect("a value"));
    });
}

fn exposition(criterion: &mut Criterion) {
    let lines: Vec<String> = (0..1000)
        .map(|number| format!("requests_total{{code=\"200\",path=\"/p{number}\"}} {number}\n"))
        .collect();
    let text = lines.concat();
    criterion.bench_function("exposition of 1,000 samples", |bencher| {
        bencher.iter(|| samples(black_box(&text), Format::Text).flatten().count());
    });
}

criterion_group!(benches, rate_over_rate, exposition);
criterion_main!(benches);
