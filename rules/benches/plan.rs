//! Steps 5 and 7 of a request: look the rule up and make the query, for one pod and for a hundred.

use std::collections::HashMap;
use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use rules::catalog::{Catalog, Objects, Series};
use rules::resource::{GroupResource, StaticMapper};
use selector::labels::Selector;

fn plan(criterion: &mut Criterion) {
    let rules = rules::load(include_str!("../tutorial.yaml")).expect("the shipped rules are valid");
    let names = ["inference_latency_seconds_sum", "request_queue_depth", "gpu_utilization_percent"];
    let series: Vec<Series> = names
        .iter()
        .map(|name| Series { name: (*name).into(), label_names: ["namespace".into(), "pod".into()].into() })
        .collect();
    let discovered: HashMap<&str, &[Series]> = rules
        .series_queries()
        .zip(&series)
        .map(|(query, one)| (&**query, std::slice::from_ref(one)))
        .collect();
    let catalog = Catalog::build(&rules, &discovered, &StaticMapper::built_in());
    let pods = GroupResource::new("", "pods");
    let all = Selector::everything();
    for count in [1, 100] {
        let names: Vec<String> =
            (0..count).map(|index| format!("model-server-7c9f8d6b5-{index:05}")).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let objects = Objects { namespace: Some("default"), names: &names };
        criterion.bench_function(&format!("rule lookup and plan, {count} pods"), |bencher| {
            bencher.iter(|| {
                let matched =
                    catalog.custom(&pods, black_box("inference_latency_seconds_avg")).expect("a metric");
                matched.plan(black_box(&objects), &all).expect("a plan")
            });
        });
    }
}

criterion_group!(benches, plan);
criterion_main!(benches);
