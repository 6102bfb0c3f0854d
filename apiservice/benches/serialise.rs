//! Step 10 of a request: a hundred values become bytes, in both versions.

use std::hint::black_box;

use apiservice::encode::encode;
use apiservice::negotiate::Form;
use apiservice::quantity::Quantity;
use apiservice::types::{MetricValue, MetricValueList, MetricsVersion, ObjectReference, Timestamp, Wire};
use criterion::{Criterion, criterion_group, criterion_main};

fn serialise(criterion: &mut Criterion) {
    let items = (0..100)
        .map(|index| MetricValue {
            described_object: ObjectReference {
                kind: "Pod".into(),
                namespace: Some("default".into()),
                name: format!("model-server-7c9f8d6b5-{index:05}").into(),
                api_version: "v1".into(),
            },
            metric_name: "request_queue_depth".into(),
            selector: None,
            timestamp: Timestamp::from_unix_ms(1_795_472_555_500),
            window_seconds: None,
            value: Quantity::from_milli(7500 + index),
        })
        .collect();
    let object = MetricValueList { items };
    for (name, version) in [("v1beta1", MetricsVersion::V1Beta1), ("v1beta2", MetricsVersion::V1Beta2)] {
        for (form_name, form) in [("", Form::Json { pretty: false }), (", protobuf", Form::Protobuf)] {
            criterion.bench_function(&format!("serialising 100 items, {name}{form_name}"), |bencher| {
                bencher.iter(|| encode(&Wire { object: black_box(&object), version }, form));
            });
        }
    }
}

criterion_group!(benches, serialise);
criterion_main!(benches);
