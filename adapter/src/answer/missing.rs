//! Why there is no such metric: which step found nothing, and what is there instead. The answer's words are upstream's and
//! leave no room for it (contract, section 6.1, rows 1 and 2), so it goes to the log.

use std::fmt::Write as _;

use rules::catalog::{Catalog, RuleYield};
use rules::resource::ResourceMapper;

use crate::routes::CustomRequest;
use crate::telemetry::Step;

/// Whether it is the resource that is not there, or the metric.
pub(super) fn step(mapper: &dyn ResourceMapper, asked: &CustomRequest) -> Step {
    match mapper.kind_for(&asked.resource.resource, &asked.resource.group) {
        Some(kind) if kind.namespaced == asked.namespace.is_some() => Step::Metric,
        _ => Step::Resource,
    }
}

/// Steps 4 and 5 of a custom metric.
pub(super) fn custom(catalog: &Catalog, mapper: &dyn ResourceMapper, asked: &CustomRequest) -> String {
    let (resource, metric) = (&asked.resource, asked.metric.as_str());
    let Some(kind) = mapper.kind_for(&resource.resource, &resource.group) else {
        let known = catalog.custom_resources().iter().map(|known| known.resource.to_string());
        return format!("there is no resource {resource}{}", nearest(&resource.to_string(), known));
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
        .iter()
        .filter(|known| &*known.metric == metric)
        .map(|known| known.resource.to_string())
        .take(SHOWN)
        .collect();
    let mut why = format!("no rule makes {metric} for {wanted}");
    if others.is_empty() {
        let of_resource = catalog.custom_resources().iter().filter(|known| known.resource == wanted);
        why.push_str(&nearest(metric, of_resource.map(|known| known.metric.to_string())));
        why.push_str(&barren(catalog));
    } else {
        let _ = write!(why, "; there is one for {}", others.join(", "));
    }
    why
}

/// Step 5 of an external metric.
pub(super) fn external(catalog: &Catalog, metric: &str) -> String {
    let known = catalog.external_metrics().map(str::to_owned);
    format!("no external rule makes {metric}{}{}", nearest(metric, known), barren(catalog))
}

/// Names that may have been meant, in the order of likeness.
fn nearest(wanted: &str, known: impl Iterator<Item = String>) -> String {
    if wanted.len() > LONGEST_COMPARED {
        return String::new();
    }
    let close = (wanted.chars().count() / 3).max(1);
    let mut near: Vec<(usize, String)> = known
        .filter(|name| name.len() <= LONGEST_COMPARED)
        .map(|name| (strsim::osa_distance(wanted, &name), name))
        .filter(|(distance, _)| *distance <= close)
        .collect();
    near.sort();
    near.dedup();
    let names: Vec<String> = near.into_iter().take(SHOWN).map(|(_, name)| name).collect();
    if names.is_empty() { String::new() } else { format!("; near are {}", names.join(", ")) }
}

/// Rules that make nothing, and at which point of discovery they stop.
fn barren(catalog: &Catalog) -> String {
    let mut text = String::new();
    let barren = catalog.yields().iter().filter(|(_, counts)| counts.metrics == 0);
    for (rule, RuleYield { series, dropped, unmapped, .. }) in barren.take(SHOWN) {
        let _ = if *series == 0 {
            write!(text, "; {rule} makes nothing: its series query finds no series")
        } else if *unmapped == 0 && *dropped > 0 {
            write!(text, "; {rule} makes nothing: its filters or its name drop all of {series} series")
        } else if *unmapped > 0 {
            write!(
                text,
                "; {rule} makes nothing: {unmapped} kinds of series have no label that names a resource"
            )
        } else {
            write!(text, "; {rule} makes nothing that an earlier rule does not make")
        };
    }
    text
}

const SHOWN: usize = 3;
/// Names are at most this long in Kubernetes; whoever sends more wants to keep us busy.
const LONGEST_COMPARED: usize = 253;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn near_names_in_order() {
        let known = ["queue_depth", "queue_depths", "queue_deth", "latency"].map(str::to_owned);
        let near = |wanted: &str| nearest(wanted, known.clone().into_iter());
        assert_eq!(near("queue_dept"), "; near are queue_depth, queue_depths, queue_deth");
        assert_eq!(near("latencies"), "; near are latency");
        assert_eq!(near("x"), "");
        assert_eq!(near(&"q".repeat(254)), "");
    }
}
