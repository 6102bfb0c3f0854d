//! Why a metric was not found: which step found nothing, and what exists instead. The answer's words are upstream's and
//! leave no room for it (`docs/contract.md#error-1`, `docs/contract.md#error-2`), so it goes to the log.

use std::fmt::Write as _;

use rules::resource::{GroupResource, ResourceMapper};

use crate::relist::Snapshot;
use crate::routes::{AskedResource, CustomRequest};
use crate::rule_report::why_barren;
use crate::telemetry::Step;

/// Whether it is the resource that is not there, or the metric.
pub(super) fn step(mapper: &dyn ResourceMapper, asked: &CustomRequest) -> Step {
    match mapper.kind_for(&asked.resource.resource, &asked.resource.group) {
        Some(kind) if kind.namespaced == asked.namespace.is_some() => Step::Metric,
        _ => Step::Resource,
    }
}

/// Steps 4 and 5 of a custom metric.
pub(super) fn custom(snapshot: &Snapshot, mapper: &dyn ResourceMapper, asked: &CustomRequest) -> String {
    let catalog = &snapshot.catalog;
    let (resource, metric) = (&asked.resource, asked.metric.as_str());
    let Some(kind) = mapper.kind_for(&resource.resource, &resource.group) else {
        let mut why = format!("resource {resource} not found");
        // Groups are renamed and split; old manifests keep the old name.
        match mapper.kind_for(&resource.resource, "") {
            Some(kind) if kind.group.is_empty() => {
                let _ = write!(why, "; {} are in the core group", kind.plural);
            }
            Some(kind) => {
                let _ = write!(why, "; {} are in {}", kind.plural, kind.group);
            }
            None => {
                let known = catalog.custom_resources().map(|known| known.resource);
                why.push_str(&near(&nearest_resources(resource, known)));
            }
        }
        return why;
    };
    if kind.namespaced != asked.namespace.is_some() {
        let (are, asked) = if kind.namespaced {
            ("are in namespaces", "at the root")
        } else {
            ("are in no namespace", "in a namespace")
        };
        return format!("{} {are}, and were asked for {asked}", kind.plural);
    }
    let wanted = kind.group_resource();
    let others: Vec<String> = catalog
        .custom_resources()
        .filter(|known| known.metric == metric)
        .map(|known| known.resource.to_string())
        .take(SHOWN)
        .collect();
    let mut why = format!("no rule produces {metric} for {wanted}");
    if others.is_empty() {
        let of_resource = catalog.metrics_of(&wanted).map(str::to_owned);
        why.push_str(&near(&nearest(metric, of_resource)));
        why.push_str(&barren(snapshot));
    } else {
        let _ = write!(why, "; there is one for {}", others.join(", "));
    }
    why
}

/// Step 5 of an external metric.
pub(super) fn external(snapshot: &Snapshot, metric: &str) -> String {
    let known = snapshot.catalog.external_metrics().map(str::to_owned);
    format!("no external rule produces {metric}{}{}", near(&nearest(metric, known)), barren(snapshot))
}

/// Names that may have been meant, in the order of likeness. Case makes no difference.
pub(super) fn nearest(wanted: &str, known: impl Iterator<Item = String>) -> Vec<String> {
    let distances = known.filter_map(|name| Some((distance(wanted, &name)?, name)));
    in_order(distances)
}

/// Resources that may have been meant: each part of their names is compared with the same part of what was asked for.
fn nearest_resources<'a>(
    wanted: &AskedResource,
    known: impl Iterator<Item = &'a GroupResource>,
) -> Vec<String> {
    let distances = known.filter_map(|known| {
        let resource = distance(&wanted.resource, &known.resource)?;
        let group = if wanted.group.is_empty() { 0 } else { distance(&wanted.group, &known.group)? };
        Some((resource + group, known.to_string()))
    });
    in_order(distances)
}

/// How many letters differ; `None` for names too different to be a slip.
fn distance(wanted: &str, known: &str) -> Option<usize> {
    if wanted.len() > LONGEST_COMPARED || known.len() > LONGEST_COMPARED {
        return None;
    }
    let close = (wanted.chars().count() / 3).max(1);
    let distance = strsim::osa_distance(&wanted.to_lowercase(), &known.to_lowercase());
    (distance <= close).then_some(distance)
}

fn in_order(distances: impl Iterator<Item = (usize, String)>) -> Vec<String> {
    let mut near: Vec<(usize, String)> = distances.collect();
    near.sort();
    near.dedup();
    near.into_iter().take(SHOWN).map(|(_, name)| name).collect()
}

fn near(names: &[String]) -> String {
    if names.is_empty() { String::new() } else { format!("; did you mean {}", names.join(", ")) }
}

/// Rules that make nothing, and why.
fn barren(snapshot: &Snapshot) -> String {
    let mut text = String::new();
    for (_, faults) in snapshot.rules.refused.iter().take(SHOWN) {
        if let Some(fault) = faults.iter().next() {
            let _ = write!(text, "; rule left out: {fault}");
        }
    }
    let stats = snapshot.catalog.rule_stats().iter();
    let barren = stats.filter_map(|(rule, counts)| Some((rule, why_barren(counts)?)));
    for (rule, why) in barren.take(SHOWN) {
        let _ = write!(text, "; {rule} produces no metric: {why}");
    }
    text
}

pub(super) const SHOWN: usize = 3;
/// Names are at most this long in Kubernetes; a longer one only costs time.
const LONGEST_COMPARED: usize = 253;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn near_names_come_in_order() {
        let known = ["queue_depth", "queue_depths", "queue_deth", "latency"].map(str::to_owned);
        let near = |wanted: &str| nearest(wanted, known.clone().into_iter());
        assert_eq!(near("queue_dept"), ["queue_depth", "queue_depths", "queue_deth"]);
        assert_eq!(near("Latencies"), ["latency"]);
        assert!(near("x").is_empty() && near(&"q".repeat(254)).is_empty());
        assert_eq!(nearest("aws_sqs", ["AWS_SQS".to_owned()].into_iter()), ["AWS_SQS"]);
    }

    #[test]
    fn each_part_of_a_resource_is_compared_for_itself() {
        let known = [GroupResource::new("", "pods"), GroupResource::new("networking.k8s.io", "ingresses")];
        let near = |resource: &str, group: &str| {
            let wanted = AskedResource { resource: resource.to_owned(), group: group.to_owned() };
            nearest_resources(&wanted, known.iter())
        };
        assert_eq!(near("podz", ""), ["pods"]);
        assert_eq!(near("Ingreses", "networking.k8s.oi"), ["ingresses.networking.k8s.io"]);
        assert_eq!(near("ingrezzes", ""), ["ingresses.networking.k8s.io"]);
        assert!(near("podz", "networking.k8s.io").is_empty());
    }
}
