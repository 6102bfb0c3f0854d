//! Samples of CPU and memory → what each container and node uses.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use apiservice::quantity::{Format, Quantity};
use apiservice::types::usage::Usage;
use rules::policy::OnNan;
use rules::usage::UsagePlan;

use super::nan_and_infinity::{Dropped, quantity};
use super::{Duplicates, Foreign, InNamespace};
use crate::source::Sample;

/// What one pod or node uses.
#[derive(Debug, Clone, PartialEq)]
pub struct ObjectUsage {
    /// When the oldest of its samples was taken, in milliseconds since the epoch.
    pub oldest_ms: i64,
    /// By container; a node has one without a name.
    pub containers: BTreeMap<String, Usage>,
}

/// Use by object.
#[derive(Debug, Default, PartialEq)]
pub struct Joined {
    /// Objects with samples of both; a container that has only one has zero of the other, as upstream
    /// (`pkg/resourceprovider/provider.go`).
    pub objects: BTreeMap<String, ObjectUsage>,
    /// Oddities of the samples of CPU.
    pub cpu: Oddities,
    /// Oddities of the samples of memory.
    pub memory: Oddities,
}

/// Oddities of the samples of one query.
#[derive(Debug, Default, PartialEq)]
pub struct Oddities {
    /// Samples that no quantity can hold.
    pub dropped: Vec<Dropped>,
    /// Samples beside the one that counts for a container or node.
    pub duplicates: Duplicates,
    /// Samples of objects in other namespaces than the one asked for.
    pub foreign: Foreign,
    /// A pod with a sample for no container beside those of its containers: such a sample is most often the sum of the
    /// others, and adds up with them, as upstream.
    pub sum_beside_parts: Option<String>,
}

impl ObjectUsage {
    /// What all containers use together.
    pub fn total(&self) -> Usage {
        let sum = |part: fn(&Usage) -> Quantity| {
            let milli = self.containers.values().map(|usage| part(usage).milli());
            Quantity::from_milli(milli.fold(0, i64::saturating_add))
        };
        Usage { cpu: sum(|usage| usage.cpu), memory: binary(sum(|usage| usage.memory)) }
    }
}

/// Joins the samples of the two queries by the labels that the plans name. Samples without an object's label belong to
/// no object.
pub fn join(cpu: (&UsagePlan, &[Sample]), memory: (&UsagePlan, &[Sample])) -> Joined {
    let (cpu, odd_cpu) = by_object(cpu);
    let (mut memory, odd_memory) = by_object(memory);
    let objects = cpu
        .into_iter()
        .filter_map(|(object, cpu)| {
            let memory = memory.remove(object)?;
            let oldest_ms = cpu.oldest_ms.min(memory.oldest_ms);
            let mut containers: BTreeMap<String, Usage> = BTreeMap::new();
            for (name, (cpu, _)) in cpu.containers {
                containers.insert(name.to_owned(), Usage { cpu, memory: binary(Quantity::from_milli(0)) });
            }
            for (name, (memory, _)) in memory.containers {
                let zero = Usage { cpu: Quantity::from_milli(0), memory };
                containers.entry(name.to_owned()).or_insert(zero).memory = binary(memory);
            }
            Some((object.to_owned(), ObjectUsage { oldest_ms, containers }))
        })
        .collect();
    Joined { objects, cpu: odd_cpu, memory: odd_memory }
}

struct OfOne<'a> {
    oldest_ms: i64,
    /// By container: what it uses, and whether that stands for NaN.
    containers: BTreeMap<&'a str, (Quantity, bool)>,
}

fn by_object<'a>((plan, samples): (&'a UsagePlan, &'a [Sample])) -> (BTreeMap<&'a str, OfOne<'a>>, Oddities) {
    let mut objects: BTreeMap<&str, OfOne<'_>> = BTreeMap::new();
    let mut odd = Oddities::default();
    let namespace = plan.namespace.as_ref().map(|(label, namespace)| InNamespace { label, namespace });
    for sample in samples {
        let Some(object) = sample.label(&plan.object_label) else { continue };
        if let Some(other) = namespace.and_then(|namespace| namespace.other(sample)) {
            odd.foreign.add(object, other);
            continue;
        }
        let container =
            plan.container_label.as_deref().map_or("", |label| sample.label(label).unwrap_or_default());
        let name = || if container.is_empty() { object.to_owned() } else { format!("{object}/{container}") };
        let is_nan = sample.value.is_nan();
        // Nothing uses less than nothing; a counter that was reset may say so for a moment. NaN is zero too.
        let quantity = match quantity(sample.value.max(0.0), OnNan::Zero) {
            Ok(quantity) => quantity,
            Err(reason) => {
                odd.dropped.push(Dropped { object: name(), value: sample.value, reason });
                continue;
            }
        };
        let of_one = objects
            .entry(object)
            .or_insert(OfOne { oldest_ms: sample.timestamp_ms, containers: BTreeMap::new() });
        of_one.oldest_ms = of_one.oldest_ms.min(sample.timestamp_ms);
        match of_one.containers.entry(container) {
            Entry::Vacant(entry) => {
                entry.insert((quantity, is_nan));
            }
            Entry::Occupied(mut entry) => {
                odd.duplicates.add(&name());
                if !is_nan || entry.get().1 {
                    entry.insert((quantity, is_nan));
                }
            }
        }
    }
    let has_both = |of_one: &OfOne<'_>| of_one.containers.len() > 1 && of_one.containers.contains_key("");
    odd.sum_beside_parts =
        objects.iter().find(|(_, of_one)| has_both(of_one)).map(|(object, _)| (*object).to_owned());
    (objects, odd)
}

fn binary(quantity: Quantity) -> Quantity {
    quantity.with_format(Format::BinarySi)
}
