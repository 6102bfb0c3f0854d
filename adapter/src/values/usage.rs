//! Samples of CPU and memory → what each container and node uses.

use std::collections::BTreeMap;

use apiservice::quantity::{Format, Quantity};
use apiservice::types::usage::Usage;
use rules::policy::OnNan;
use rules::usage::UsagePlan;

use super::{Dropped, quantity};
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
    /// Samples of CPU that no quantity can hold.
    pub dropped_cpu: Vec<Dropped>,
    /// Samples of memory that no quantity can hold.
    pub dropped_memory: Vec<Dropped>,
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

/// Joins the samples of the two queries by the labels that the plans name. Samples without an object's label are nobody's.
pub fn join(cpu: (&UsagePlan, &[Sample]), memory: (&UsagePlan, &[Sample])) -> Joined {
    let (cpu, dropped_cpu) = by_object(cpu);
    let (mut memory, dropped_memory) = by_object(memory);
    let objects = cpu
        .into_iter()
        .filter_map(|(object, cpu)| {
            let memory = memory.remove(object)?;
            let oldest_ms = cpu.oldest_ms.min(memory.oldest_ms);
            let mut containers: BTreeMap<String, Usage> = BTreeMap::new();
            for (name, cpu) in cpu.containers {
                containers.insert(name.to_owned(), Usage { cpu, memory: binary(Quantity::from_milli(0)) });
            }
            for (name, memory) in memory.containers {
                let zero = Usage { cpu: Quantity::from_milli(0), memory };
                containers.entry(name.to_owned()).or_insert(zero).memory = binary(memory);
            }
            Some((object.to_owned(), ObjectUsage { oldest_ms, containers }))
        })
        .collect();
    Joined { objects, dropped_cpu, dropped_memory }
}

struct OfOne<'a> {
    oldest_ms: i64,
    containers: BTreeMap<&'a str, Quantity>,
}

fn by_object<'a>(
    (plan, samples): (&'a UsagePlan, &'a [Sample]),
) -> (BTreeMap<&'a str, OfOne<'a>>, Vec<Dropped>) {
    let mut objects: BTreeMap<&str, OfOne<'_>> = BTreeMap::new();
    let mut dropped = Vec::new();
    for sample in samples {
        let Some(object) = sample.label(&plan.object_label) else { continue };
        let container =
            plan.container_label.as_deref().map_or("", |label| sample.label(label).unwrap_or_default());
        // Nothing uses less than nothing; a counter that was reset may say so for a moment.
        let value = if sample.value.is_nan() { 0.0 } else { sample.value };
        match quantity(if value < 0.0 { 0.0 } else { value }, OnNan::Zero) {
            Ok(quantity) => {
                let of_one = objects
                    .entry(object)
                    .or_insert(OfOne { oldest_ms: sample.timestamp_ms, containers: BTreeMap::new() });
                of_one.oldest_ms = of_one.oldest_ms.min(sample.timestamp_ms);
                of_one.containers.insert(container, quantity);
            }
            Err(reason) => {
                let object =
                    if container.is_empty() { object.to_owned() } else { format!("{object}/{container}") };
                dropped.push(Dropped { object, value: sample.value, reason });
            }
        }
    }
    (objects, dropped)
}

fn binary(quantity: Quantity) -> Quantity {
    quantity.with_format(Format::BinarySi)
}
