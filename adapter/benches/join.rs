//! Step 9 of a request: a hundred samples become the values of a hundred pods.

use std::hint::black_box;

use adapter::source::Sample;
use adapter::values::{InNamespace, join};
use criterion::{Criterion, criterion_group, criterion_main};
use rules::policy::Policy;

fn join_samples(criterion: &mut Criterion) {
    let names: Vec<String> = (0..100).map(|index| format!("model-server-7c9f8d6b5-{index:05}")).collect();
    let samples: Vec<Sample> = names
        .iter()
        .map(|name| Sample {
            labels: vec![("namespace".into(), "default".into()), ("pod".into(), name.as_str().into())],
            timestamp_ms: 1,
            value: 7.5,
        })
        .collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let namespace = Some(InNamespace { label: "namespace", namespace: "default" });
    criterion.bench_function("joining 100 samples", |bencher| {
        bencher.iter(|| join(black_box(&samples), "pod", (namespace, &names), Policy::default(), 1));
    });
}

criterion_group!(benches, join_samples);
criterion_main!(benches);
